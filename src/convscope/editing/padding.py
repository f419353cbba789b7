"""Which layers of a draft add zeros, or anything else, around their map?"""

from __future__ import annotations

from torch.fx import Node

from convscope.editing import kinds
from convscope.editing.draft import Draft

PADS = {"ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "pad", "constant_pad_nd",
        "reflection_pad2d", "replication_pad2d"}  # fmt: skip
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
    kernel, dilation = pair(kinds.setting(draft, node, "kernel_size")), pair(kinds.setting(draft, node, "dilation", 1))
    return dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2


def padded(draft: Draft) -> list[str]:
    """The addresses of the layers that pad, in order."""
    found = []
    for node in draft.nodes:
        name = kinds.base(draft, node)
        if name in PADS or (name in WINDOWS and padding(draft, node) != (0, 0)):
            found.append(draft.address(node))
    return found
