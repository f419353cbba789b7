"""From the exported graph back to modules: what `torch.nn` has a name for becomes that module, the rest stays a call.

    aten.conv2d(x, p_layer1_0_conv1_weight, None, [1, 1], [1, 1])   →   layer1.0.conv1 = nn.Conv2d(64, 64, 3, padding=1, …)
    aten.batch_norm(x, …, training=False, …)                        →   nn.BatchNorm2d: `train()` and `eval()` work again
    aten.add(x, y)                                                  →   a call

The graph is the one *before* decomposition, where batch norm and dropout still are; in-place operations are made functional
here. Parameters keep their names, so weights of the original load into the copy. Three ways, in this order:

1. all calls that a leaf module of `torch.nn` made in one go become a copy of that module;
2. a call whose weights have the usual names becomes the module that computes it (conv, dense, batch norm, dropout);
3. anything else stays the ATen call it is, its weights read as attributes.
"""

from __future__ import annotations

import copy
import itertools
import keyword
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from convscope import layers
from convscope.editing.modules import computing, fixed, joining, same_settings
from convscope.errors import ExportError

_VIEWS = {"view", "reshape", "flatten", "getitem", "slice", "select", "transpose", "permute", "squeeze", "unsqueeze",
          "expand", "chunk", "split", "narrow", "t", "unflatten", "alias", "detach"}


class Lifted:
    """One pass over an exported graph. `root` is the copy; `addresses` names each of its nodes as the layers are named."""

    def __init__(self, program: ExportedProgram, module: nn.Module | None) -> None:
        self.program = program
        self.held = {} if module is None else dict(module.named_modules(remove_duplicate=False))
        self.root = nn.Module()
        self.graph = Graph()
        self.made: dict[str, nn.Module] = {}  # by path: modules that stand in the copy
        self.now: dict[Node, Any] = {}  # what each old node is in the copy; changes where something is written in place
        self.whole: set[Node] = set()  # calls of several values that became modules of one
        self.tensors, self.names = _tensors(program)
        addresses = layers.addresses_of(program)
        self.addresses = {node: addresses[node.name] for node in program.graph.nodes if node.name in addresses}
        self.calls = _calls(program)
        self.memo: dict[int, Any] = {}  # one for all copies, so that shared tensors stay shared

    def run(self) -> GraphModule:
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name not in self.tensors:
                self.now[node] = self._meta(self.graph.placeholder(node.name), node)
            elif node.op == "output":
                kept = [n for n in node.args[0] if isinstance(n, Node)]
                self.graph.output(self._of(kept[-1] if len(kept) == 1 else tuple(kept)))
            elif node.op == "call_function" and node not in self.now:
                self._call(node)
        self.graph.lint()
        made = GraphModule(self.root, self.graph, "Edited")
        made.eval()
        made.graph.eliminate_dead_code()
        made.recompile()
        return made

    def _call(self, node: Node) -> None:
        whole = self._whole_module(node)
        if whole is not None:
            last, path, module, value = whole
            self.now[last] = self._meta(self._module(path, module, (self._of(value),)), last)
            return
        name = layers.op_name(node)
        if name == "to" and _same_kind(node, node.args[0]):  # a cast to what it is already
            self.now[node] = self._of(node.args[0])
            return
        if name == "getitem" and node.args[0] in self.whole:  # the first of batch norm's values is what its module gives
            self.now[node] = self.now[node.args[0]]  # type: ignore[index]
            return
        found = computing(node, name, self.names)
        if found is not None and type(self.held.get(found.path)).__name__.startswith("FixedBatchNorm"):
            found = replace(found, module=fixed(found.module))  # of a network that was edited before
        if found is not None and (found.path == "" or self._free(found.path, found.module)):
            path = found.path or self._path(node)
            self._take(found.module, found.tensors)
            self.now[node] = self._meta(self._module(path, found.module, (self._of(found.value),)), node)
            if not isinstance(node.meta.get("val"), Tensor):
                self.whole.add(node)
            return
        target: Any = node.target
        if _writes(name):
            target = _functional(node)
            self._refuse_written_view(node)
        args, kwargs = self._of(node.args), self._of(dict(node.kwargs))
        call = self._nested(node, args, kwargs) or self.graph.call_function(target, args, kwargs)
        self._meta(call, node)
        self.now[node] = call
        if _writes(name):
            self._written(node.args[0], call)

    # ---- modules -----------------------------------------------------------------------------------------------------

    def _whole_module(self, node: Node) -> tuple[Node, str, nn.Module, Node] | None:
        """The calls that a leaf module of torch.nn made in one go, where they begin here: last call, path, module, input."""
        key = _call_of(node)
        nodes = self.calls.get(key, [])
        path = key.split("@")[0]
        module = self.held.get(path)
        if not nodes or nodes[0] is not node or module is None or not _plain(module):
            return None
        inside = set(nodes)
        coming = {a for n in nodes for a in n.all_input_nodes if a not in inside and a.name not in self.tensors and _data(a)}
        leaving = [n for n in nodes if any(u not in inside for u in n.users)]
        if len(coming) != 1 or leaving != [nodes[-1]] or not isinstance(nodes[-1].meta.get("val"), Tensor):
            return None
        read = {a for n in nodes for a in n.all_input_nodes if a not in inside}
        if any(a not in self.now and a.name not in self.tensors for a in read):
            return None  # it reads something that is computed later on
        twin = self.made.get(path)
        if twin is None:
            twin = copy.deepcopy(module, self.memo).eval()
            if getattr(twin, "inplace", False):
                twin.inplace = False  # type: ignore[assignment]
            if not same_settings(twin):
                return None
        for n in nodes[:-1]:
            self.now[n] = None  # never read from outside
        return nodes[-1], path, twin, next(iter(coming))

    def _nested(self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node | None:
        """A plain call inside a block becomes a module of that block, so that it keeps its address (layer1.0.add)."""
        path = self.addresses.get(node, "").split(":")[0]
        found = joining(layers.op_name(node).rstrip("_"), args, kwargs)
        if "." not in path or found is None or not self._free(path, found[0]):
            return None
        return self._module(path, *found)

    def _free(self, path: str, module: nn.Module) -> bool:
        """May this module stand at this path? Yes if nothing does, or the same module with the same tensors and settings."""
        there = self.made.get(path)
        return there is None or (type(there) is type(module) and repr(there) == repr(module))

    def _module(self, path: str, module: nn.Module, values: tuple[Any, ...]) -> Node:
        if path not in self.made:
            self.made[path] = module
            place(self.root, path, module)
        return self.graph.call_module(path, values)

    def _path(self, node: Node) -> str:
        """Where a module without weights goes: under the address of its layer."""
        wanted = self.addresses.get(node, node.name).replace(":", "_")
        taken = {*self.made, *(name for name, _ in self.root.named_modules())}
        return next(p for i in itertools.count() if (p := wanted if i == 0 else f"{wanted}_{i}") not in taken)

    def _take(self, module: nn.Module, tensors: dict[str, str]) -> None:
        """Give a module the tensors of the original, copied once."""
        for own, placeholder in tensors.items():
            kind: Any = module._parameters if own in module._parameters else module._buffers
            kind[own] = self._copied(placeholder)

    def _copied(self, placeholder: str) -> Tensor:
        return copy.deepcopy(self.tensors[placeholder], self.memo)

    # ---- values ------------------------------------------------------------------------------------------------------

    def _of(self, value: Any) -> Any:
        """Arguments of the old graph as arguments of the new one."""
        return map_arg(value, self._node)

    def _node(self, old: Node) -> Any:
        if old.name in self.tensors:
            path = self.names[old.name]
            if not _has(self.root, path):
                place(self.root, path, self._copied(old.name))
            node = self.graph.get_attr(path)
            node.meta["address"] = path
            return node
        return self.now[old]

    def _meta(self, new: Node, old: Node) -> Node:
        new.meta |= {"val": old.meta.get("val"), "address": self.addresses.get(old, "")}
        return new

    def _written(self, old: Any, new: Node) -> None:
        """From here on, who reads `old`, or what it was written over, reads the new value."""
        while isinstance(old, Node):
            self.now[old] = new
            old = old.args[0] if _writes(layers.op_name(old)) else None

    def _refuse_written_view(self, node: Node) -> None:
        """A part that is written in place changes the whole that it is a part of: right only if nobody reads that again."""
        order = {n: i for i, n in enumerate(self.program.graph.nodes)}
        part: Any = node.args[0]
        while isinstance(part, Node) and layers.op_name(part) in _VIEWS:
            whole: Any = part.args[0]
            if isinstance(whole, Node) and any(order[u] > order[node] for u in whole.users if u is not part):
                raise ExportError(
                    f"{node.name} writes into a part of {whole.name} that is read again",
                    "such a network cannot be taken apart with its modes",
                    "write the part to a new tensor and join with torch.cat",
                )
            part = whole


def place(root: nn.Module, path: str, thing: nn.Module | Tensor) -> None:
    """Put a module, parameter or buffer at a dotted path, making what is missing on the way.

    Names come from files too, and torch writes them into code that it runs: those that could end a string are refused.
    """
    if not path.isprintable() or any(c in path for c in "\"'\\") or any(map(keyword.iskeyword, path.split("."))):
        raise ExportError(f"a part named {path!r} cannot be written out",
                          "its name is a word of Python, or holds quotes or control characters", "rename it")
    *way, name = path.split(".")
    for part in way:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    if isinstance(thing, nn.Module):
        before = root._modules.get(name)
        for key, child in () if before is None else before._modules.items():
            thing.add_module(key, child)
        root.add_module(name, thing)
    elif isinstance(thing, nn.Parameter):
        root.register_parameter(name, thing)
    else:
        root.register_buffer(name, thing)


def _has(root: nn.Module, path: str) -> bool:
    *way, name = path.split(".")
    for part in way:
        if part not in root._modules:
            return False
        root = root._modules[part]  # type: ignore[assignment]
    return name in root._parameters or name in root._buffers


def _tensors(program: ExportedProgram) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parameters, buffers and constants by placeholder, and their names in the module."""
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            assert spec.target is not None
            kept = program.state_dict if spec.target in program.state_dict else program.constants
            value = kept[spec.target]
            assert isinstance(value, Tensor)
            tensors[spec.arg.name], names[spec.arg.name] = value, spec.target
    return tensors, names


def _call_of(node: Node) -> str:
    """Path of the innermost module that made a call, '@n' on its n-th call."""
    return layers.module_of(node)[0]


def _calls(program: ExportedProgram) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function":
            found.setdefault(_call_of(node), []).append(node)
    return found


def _plain(module: nn.Module) -> bool:
    """A leaf of torch.nn that computes what its class says: no hooks, no parametrisation."""
    return (
        type(module).__module__.startswith("torch.nn.modules.")
        and not module._modules
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and isinstance(module, nn.Module)
    )


def _data(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (Tensor, tuple, list))


def _same_kind(node: Node, value: Any) -> bool:
    """Do two values agree in type and place?"""
    a, b = node.meta.get("val"), value.meta.get("val") if isinstance(value, Node) else None
    return isinstance(a, Tensor) and isinstance(b, Tensor) and (a.dtype, a.device) == (b.dtype, b.device)


def _writes(name: str) -> bool:
    """'relu_' writes in place; '_softmax' does not."""
    return name.endswith("_") and not name.startswith("__")


def _functional(node: Node) -> Any:
    """aten.relu for aten.relu_."""
    target: Any = node.target
    name, overload = target._schema.name.split("::")[-1].rstrip("_"), target._overloadname
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or overload not in packet.overloads():
        raise ExportError(f"{node.name} writes in place", f"there is no {name} that does not", "replace it in forward")
    return getattr(packet, overload)
