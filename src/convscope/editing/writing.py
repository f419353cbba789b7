"""A draft as a Python file that needs torch only. The edited network is that very file, run: what is saved was tried.

    class Edited(Group):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, kernel_size=3, padding=1)
            …
        def forward(self, x):
            x = self.conv1(x)
            x = F.relu(x)
            …

Parts keep the paths that they had in the original, so that its weights fit. Values are called x, y, z, … and a name is used
again as soon as its value is no longer needed.
"""

from __future__ import annotations

import inspect
import itertools
import json
import keyword
import linecache
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from convscope.editing import parts
from convscope.editing.calls import call_text, literal, target_name
from convscope.editing.modules import constructor
from convscope.errors import ExportError

__all__ = ["build", "source", "target_name"]

_LETTERS = ("x", "y", "z", "u", "v", "w")

_GROUP = '''class Group(nn.Module):
    """Parts by name: group["conv1"], and group.conv1 where that is a name in Python."""

    def __getitem__(self, name):
        return getattr(self, str(name))

    def __setitem__(self, name, part):
        setattr(self, str(name), part)
'''

_LOADER = '''def network(weights="weights.safetensors"):
    """This network with its weights, which lie beside this file."""
    from safetensors.torch import load_model

    net = Edited()
    load_model(net, str(Path(__file__).with_name(weights)))
    return net.eval()
'''


def source(root: GraphModule, name: str, input_shape: tuple[int, ...] = ()) -> str:
    """The whole file."""
    modules = {str(n.target): root.get_submodule(str(n.target)) for n in root.graph.nodes if n.op == "call_module"}
    own = sorted({type(m).__name__ for m in modules.values() if type(m).__module__ == parts.__name__})
    size = f"INPUT = {input_shape!r}  # (C, H, W)\n" if input_shape else ""
    pieces = [
        f'"""{_plain_name(name)}, written by convscope. It needs torch only; the weights lie beside it."""\n',
        "from pathlib import Path\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n" + size,
        _GROUP,
        *(inspect.getsource(getattr(parts, each)) for each in own),
        "class Edited(Group):\n    def __init__(self):\n        super().__init__()\n"
        + "".join(f"        {line}\n" for line in _init(root, modules))
        + "\n"
        + "".join(f"    {line}\n" for line in _forward(root)),
        _LOADER,
    ]
    return "\n\n".join(piece.strip("\n") + "\n" for piece in pieces)


def _plain_name(name: str) -> str:
    """A name that is nothing but words inside a docstring: names come from files, and a file must not speak Python."""
    return "".join(c if c.isprintable() and c not in "\\\"" else "·" for c in name)


def build(text: str, root: GraphModule) -> nn.Module:
    """Run the file and give its network the tensors of the draft, shared ones shared."""
    name = f"<edited {abs(hash(text)):x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # so that layers can show their line
    space: dict[str, Any] = {"__name__": "convscope_edited"}
    exec(compile(text, name, "exec"), space)
    with torch.device("meta"):
        module: nn.Module = space["Edited"]()
    memo: dict[int, Tensor] = {}
    trained = dict(root.named_parameters(remove_duplicate=False))
    held = dict(root.named_buffers(remove_duplicate=False))
    missing = [key for key, _ in _named(module) if key not in trained and key not in held]
    if missing:
        raise ExportError(f"{name} has tensors that the draft has not", ", ".join(missing[:3]), "report it with the network")
    for key, _ in list(_named(module)):
        old = trained.get(key, held.get(key))
        assert old is not None
        if id(old) not in memo:
            copied = old.detach().clone()
            memo[id(old)] = nn.Parameter(copied, old.requires_grad) if key in trained else copied
        path, _, last = key.rpartition(".")
        owner = module.get_submodule(path)
        (owner._parameters if key in trained else owner._buffers)[last] = memo[id(old)]  # type: ignore[index]
    return module.eval()


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]


# ---- __init__ ------------------------------------------------------------------------------------------------------------


def _init(root: GraphModule, modules: dict[str, nn.Module]) -> list[str]:
    """One line a part, in the order of first use; groups before what is in them."""
    lines: list[str] = []
    made: set[str] = set()

    def groups(path: str) -> None:
        for depth in range(1, path.count(".") + 1):
            group = ".".join(path.split(".")[:depth])
            if group not in made:
                made.add(group)
                lines.append(f"{place(group)} = Group()")

    for node in root.graph.nodes:
        path = str(node.target)
        if node.op not in ("call_module", "get_attr") or path in made:
            continue
        groups(path)
        if node.op == "call_module":
            text = constructor(modules[path])
            if text is None:
                found = f"{type(modules[path]).__name__} does not keep its settings"
                raise ExportError(f"{path} cannot be written out", found, "use a module of torch.nn")
            made.add(path)
            lines.append(f"{place(path)} = {text}")
        elif path.rpartition(".")[0] not in modules:  # else the module has it already
            made.add(path)
            lines += _tensor(path, getattr(root.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]))
    return lines + _ties(root) + frozen(root)


def _tensor(path: str, value: Tensor) -> list[str]:
    size = ", ".join(map(str, value.shape)) or "()"
    empty = f"torch.empty({size}" + ("" if value.dtype == torch.float32 else f", dtype={value.dtype}") + ")"
    if isinstance(value, nn.Parameter):
        return [f"{place(path)} = nn.Parameter({empty})"]
    owner, _, last = path.rpartition(".")
    return [f"{place(owner)}.register_buffer({last!r}, {empty})"]


def _ties(root: GraphModule) -> list[str]:
    """Parameters that are one and the same under several names."""
    first: dict[int, str] = {}
    lines = []
    for name, value in root.named_parameters(remove_duplicate=False):
        if id(value) in first:
            lines.append(f"{place(name)} = {place(first[id(value)])}")
        first.setdefault(id(value), name)
    return lines


def frozen(root: GraphModule) -> list[str]:
    """The parameters that an edit has frozen, by the largest groups that are wholly so."""
    state = {name: p.requires_grad for name, p in root.named_parameters()}
    lines: list[str] = []
    done: list[str] = []
    paths = [p for p, _ in root.named_modules() if p]
    for path in [*sorted(paths, key=lambda p: p.count(".")), *state]:
        mine = [name for name in state if name == path or name.startswith(f"{path}.")]
        if any(path == d or path.startswith(f"{d}.") for d in done) or not mine or any(state[name] for name in mine):
            continue
        done.append(path)
        lines.append(f"{place(path)}.requires_grad_(False)")
    return lines


def place(path: str) -> str:
    """'self.layer1["0"].conv1' for 'layer1.0.conv1'."""
    said = "self"
    for part in path.split(".") if path else ():
        said += f".{part}" if part.isidentifier() and not keyword.iskeyword(part) else f"[{json.dumps(part)}]"
    return said


# ---- forward -------------------------------------------------------------------------------------------------------------


def _forward(root: GraphModule) -> list[str]:
    nodes = list(root.graph.nodes)
    last: dict[Node, int] = {}
    for i, node in enumerate(nodes):
        for used in node.all_input_nodes:
            last[used] = i
    names: dict[Node, str] = {}
    free: list[str] = []
    fresh = itertools.chain(_LETTERS, (f"x{i}" for i in itertools.count(1)))

    def name() -> str:
        if free:
            free.sort(key=lambda n: (len(n), _LETTERS.index(n) if n in _LETTERS else 0, n))
            return free.pop(0)
        return next(fresh)

    lines: list[str] = []
    inputs: list[str] = []
    for i, node in enumerate(nodes):
        if node.op == "placeholder":
            names[node] = name()
            inputs.append(names[node])
            continue
        if node.op == "get_attr":
            names[node] = place(str(node.target))
            continue
        if node.op == "output":
            lines.append(f"    return {literal(node.args[0], names)}")
            continue
        text = (f"{place(str(node.target))}({', '.join(literal(a, names) for a in node.args)})"
                if node.op == "call_module" else call_text(node, names))
        free += {names[a] for a in node.all_input_nodes if last[a] == i and a.op != "get_attr"}
        names[node] = name()
        lines.append(f"    {names[node]} = {text}")
    return [f"def forward(self, {', '.join(inputs)}):", *lines]
