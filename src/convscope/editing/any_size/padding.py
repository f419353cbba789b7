"""Which layers of a draft add zeros, or anything else, around their map?"""

from __future__ import annotations

from torch.fx import Node

from convscope.editing.any_size import kinds
from convscope.editing.draft import Draft
from convscope.errors import UsageError

PADS = {"ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "pad", "constant_pad_nd",
        "reflection_pad2d", "replication_pad2d"}  # fmt: skip
_NONE = (0, (0, 0), [0, 0], [0], (0,), "valid")
WINDOWS = {"Conv2d", "conv2d", "MaxPool2d", "max_pool2d", "AvgPool2d", "avg_pool2d"}


def pair(value: object) -> tuple[int, int]:
    """One number for both axes, or one each."""
    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    first, last = (found[0], found[0]) if len(found) == 1 else (found[0], found[1])
    return int(str(first)), int(str(last))


def padding(draft: Draft, node: Node) -> tuple[int, int]:
    """Rows and columns that a window operation adds on each side."""
    given = kinds.setting(draft, node, "padding", 0)
    if not isinstance(given, str):
        return pair(given)
    if given == "valid":
        return 0, 0
    kernel, dilation = kernel_size(draft, node), pair(kinds.setting(draft, node, "dilation", 1))
    total = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    if total[0] % 2 or total[1] % 2:
        raise UsageError(f"{draft.address(node)} pads one side more than the other",
                         f"padding='same', kernel {kernel[0]}×{kernel[1]}",
                         "use an odd kernel, or pad by a layer of its own")
    return total[0] // 2, total[1] // 2


def kernel_size(draft: Draft, node: Node) -> tuple[int, int]:
    """Of a module, or of a call: there the weights tell it."""
    if node.op == "call_function" and kinds.base(draft, node) == "conv2d":
        weight = node.args[1]
        assert isinstance(weight, Node)
        return pair(weight.meta["shape"][2:])
    return pair(kinds.setting(draft, node, "kernel_size"))


def padded(draft: Draft) -> list[str]:
    """The addresses of the layers that pad, in order."""
    found = []
    for node in draft.nodes:
        name = kinds.base(draft, node)
        if name in PADS or (name in WINDOWS and kinds.setting(draft, node, "padding", 0) not in _NONE):
            found.append(draft.address(node))
    return found


def told(pads: list[str]) -> str:
    """'2 layers pad (conv1, conv2)'."""
    shown = ", ".join(pads[:3]) + (" …" if len(pads) > 3 else "")
    return f"{len(pads)} layers pad ({shown})" if len(pads) > 1 else f"{shown} pads"
