"""From an exported graph to the layers that a person knows.

A layer is one *call* that computes on the input: a node of the graph, less the plumbing (tuple access, copies, symbolic
sizes, constants, permutations that cancel). Nothing is removed from the graph that runs; plumbing is only left out of
the list.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from convscope import operators, receptive
from convscope.errors import ExportError
from convscope.export import short
from convscope.operators.conv import Conv
from convscope.results import Layer

Shape = tuple[int, ...]
_PLUMBING = {
    "getitem",
    "clone",
    "alias",
    "detach",
    "contiguous",
    "lift_fresh_copy",
    "_to_copy",
    "to",
    "sym_size",
    "_assert_tensor_metadata",
}
_COPIES = _PLUMBING - {"sym_size", "_assert_tensor_metadata"}  # plumbing whose value is its input's value


def op_name(node: Node) -> str:
    """'conv2d' for aten.conv2d.default; 'getitem' for Python's own."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(node.target, "__name__", str(node.target))


# Modules that people know as one layer and that fall into many operations (they hold no other module).
_WHOLE = {"LocalResponseNorm": "local_response_norm", "BatchNormalization": "batch_norm", "RMSNorm": "rms_norm"}
_EVERYDAY = {
    "view": "reshape",
    "_unsafe_view": "reshape",
    "hardtanh": "clip",
    "cat": "concat",
    "clone": "dropout",  # the only copies that are shown are those of a dropout module
    "max_pool2d_with_indices": "max_pool2d",
}


def shown_name(node: Node) -> str:
    """The operation as a person knows it: 'batch_norm' for _native_batch_norm_legit_no_training, 'flatten' for a view."""
    name = op_name(node)
    if "batch_norm" in name:
        return "batch_norm"
    name = _EVERYDAY.get(name, name).strip("_")
    if name == "reshape" and len(shape_of(node.meta["val"])) == 2:
        return "flatten"
    if name == "clip" and node.args[1:3] == (0.0, 6.0):
        return "relu6"
    return name


def shape_of(value: Any, batch: int = 1) -> Shape:
    """The shape of a fake tensor with its free batch axis set to `batch`; of a tuple of tensors, that of the first."""
    if isinstance(value, (tuple, list)):
        return shape_of(value[0], batch)
    return tuple(_size(n, batch) for n in value.shape)


def _size(n: Any, batch: int) -> int:
    if isinstance(n, int):
        return n
    expression = n.node.expr
    return int(expression.subs(dict.fromkeys(expression.free_symbols, batch)))


def tensor_arguments(node: Node) -> tuple[list[Node | None], dict[str, Any]]:
    """The tensor arguments of a call in the order of its schema (lists flattened), and the plain settings by name."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return [a for a in node.args if isinstance(a, Node)], {}
    named: dict[str, Any] = {a.name: value for a, value in zip(schema.arguments, node.args, strict=False)}
    named |= {a.name: node.kwargs[a.name] for a in schema.arguments if a.name in node.kwargs}
    tensors: list[Node | None] = []
    settings: dict[str, Any] = {}
    for key, value in named.items():
        if isinstance(value, Node) and is_tensor(value):
            tensors.append(value)
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, Node) and is_tensor(v) for v in value):
            tensors += value
        else:
            settings[key] = _plain(value)
    return tensors, settings


def is_tensor(node: Node) -> bool:
    """Is this node's value a tensor, or several, rather than a size?"""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) or (
        isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        symbol = value.meta.get("val")
        return symbol if isinstance(symbol, (int, float, bool)) else str(symbol)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


def layers_of(program: ExportedProgram, sizes: dict[str, int], buffers: set[str]) -> tuple[Layer, ...]:
    """All layers of a graph, in the order in which they run.

    `sizes` gives the number of elements of each parameter placeholder by node name; `buffers` names those that are not
    learned.
    """
    reading = _Reading(program, sizes, buffers)
    addresses = _addresses([node for node in program.graph.nodes if reading.is_layer(node)])
    where: dict[Node, str] = {}
    counted: set[str] = set()
    return tuple(reading.layer(node, address, where, counted) for node, address in addresses.items())


def addresses_of(program: ExportedProgram) -> dict[str, str]:
    """The address of each layer by its node's name, of a graph that need not be decomposed."""
    reading = _Reading(program, {}, set())
    return {n.name: at for n, at in _addresses([n for n in program.graph.nodes if reading.is_layer(n)]).items()}


def behind(program: ExportedProgram, at: int, by_node: dict[str, Layer]) -> Layer:
    """The layer that the graph's output number `at` comes from, through plumbing."""
    node = next(n for n in program.graph.nodes if n.op == "output").args[0][at]
    while node.name not in by_node:
        before = [n for n in node.all_input_nodes if n.op == "call_function"]
        if not before:
            raise ExportError(
                "the network returns its input", "no layer computes its first output", "let forward return what it computes"
            )
        node = before[0]
    return by_node[node.name]


class _Reading:
    """One pass over a graph: what every node depends on, sees, and is."""

    def __init__(self, program: ExportedProgram, sizes: dict[str, int], buffers: set[str]) -> None:
        self.inputs = set(program.graph_signature.user_inputs)
        self.sizes, self.buffers = sizes, buffers
        self.live: set[Node] = set()  # nodes that depend on the input
        self.sights: dict[Node, receptive.Sight | None] = {}
        self.cancelled: set[Node] = set()
        for node in program.graph.nodes:
            self._visit(node)
        self._cancel_permutations(program.graph.nodes)
        self.groups = self._whole_modules(program.graph.nodes)
        self.inside = {node for last, nodes in self.groups.items() for node in nodes if node is not last}

    def _visit(self, node: Node) -> None:
        if node.op == "placeholder":
            if node.name in self.inputs and is_tensor(node):
                self.live.add(node)
                self.sights[node] = receptive.of_image(shape_of(node.meta["val"]))
            return
        if node.op != "call_function" or not any(a in self.live for a in node.all_input_nodes) or not is_tensor(node):
            return
        self.live.add(node)
        name = op_name(node)
        if name in _COPIES:
            self.sights[node] = self.sights.get(node.all_input_nodes[0])
            return
        tensors, settings = tensor_arguments(node)
        shapes = _shapes(tensors, 1009)  # a large prime for the batch, so that no reshape can take it for something else
        operator = operators.read(name, settings, _shapes(tensors, 1))
        seen = tuple(self.sights.get(t) if t is not None else None for t in tensors)
        if any(t in self.live and s is None for t, s in zip(tensors, seen, strict=True)):
            self.sights[node] = None  # one unknown input makes the whole unknown
            return
        call = receptive.Call(name, operator, settings, shapes, shape_of(node.meta["val"], 1009), _is_pointwise(node))
        self.sights[node] = receptive.after(call, seen)

    def _cancel_permutations(self, nodes: Iterable[Node]) -> None:
        """Two permutations in a row that undo each other (channels-last frameworks leave many) are plumbing."""
        for node in nodes:
            if op_name(node) != "permute" or node not in self.live:
                continue
            before = node.all_input_nodes[0]
            if op_name(before) == "permute" and before in self.live and before not in self.cancelled:
                first, second = before.args[1], node.args[1]
                if [first[i] for i in second] == list(range(len(first))):  # type: ignore[index,union-attr,arg-type]
                    self.cancelled.add(node)
                    if len(before.users) == 1:
                        self.cancelled.add(before)

    def _whole_modules(self, nodes: Iterable[Node]) -> dict[Node, list[Node]]:
        """Calls of a module that is one layer to a person, by their last operation, where only that one is used outside."""
        calls: dict[str, list[Node]] = {}
        for node in nodes:
            path, kind = module_of(node)
            if node in self.live and node.op == "call_function" and kind.rsplit(".", 1)[-1] in _WHOLE:
                calls.setdefault(path, []).append(node)
        return {
            made[-1]: made
            for made in calls.values()
            if len(made) > 1 and all(user in made for node in made[:-1] for user in node.users if user in self.live)
        }

    def is_layer(self, node: Node) -> bool:
        if node not in self.live or node.op != "call_function" or node in self.cancelled or node in self.inside:
            return False
        if node in self.groups:
            return True
        if op_name(node) in ("slice", "expand") and shape_of(node.meta["val"]) == shape_of(
            node.all_input_nodes[0].meta["val"]
        ):
            return False  # x[:, 3:] also slices the batch, and takes all of it
        return op_name(node) not in _PLUMBING or (op_name(node) == "clone" and "Dropout" in module_of(node)[1])

    def layer(self, node: Node, address: str, where: dict[Node, str], counted: set[str]) -> Layer:
        where[node] = address
        tensors, settings = tensor_arguments(node)
        shapes = _shapes(tensors, 1)
        out = shape_of(node.meta["val"])
        operator = operators.read(op_name(node), settings, shapes)
        calls = self.groups.get(node, [node])
        if len(calls) > 1:
            operator, settings = None, {}
            tensors = [a for call in calls for a in call.all_input_nodes if a not in calls and a in self.live]
        mine = [t for call in calls for t in _parameters(call, self.live) if t.name not in counted]
        kernel = operator is not None and "weight" in operator.arrays and op_name(node).startswith("conv")
        if kernel:
            settings["kernel_size"] = list(shapes[1][2:])
        counted |= {t.name for t in mine}
        sight = self.sights.get(node)
        path, kind = module_of(node)
        data = [t for t in tensors if t in self.live]
        return Layer(
            address=address,
            operator=shown_name(node) if len(calls) == 1 else _WHOLE[kind.rsplit(".", 1)[-1]],
            input_shapes=_shapes(data, 1),
            output_shape=out,
            parents=tuple(dict.fromkeys(self._parent(t, where) for t in data if t is not None)),
            parameters=sum(self.sizes.get(t.name, 0) for t in mine if t.name not in self.buffers),
            unshared=operator.parameters_without_sharing(*shapes) if isinstance(operator, Conv) else None,
            buffers=sum(self.sizes.get(t.name, 0) for t in mine if t.name in self.buffers),
            macs=operator.macs(*shapes) if operator is not None else 0,
            fields=None if sight is None else sight.shown,
            settings={k: v for k, v in settings.items() if v not in (None, [])},
            module=path,
            module_type=kind.rsplit(".", 1)[-1],
            source=_source(node),
            node=node.name,
            unit_axis=sight.unit_dim if sight is not None else (1 if len(out) > 1 else None),
        )

    def _parent(self, node: Node, where: dict[Node, str]) -> str:
        """The layer that a value comes from, through plumbing."""
        while node not in where and node.op == "call_function":
            node = next(a for a in node.all_input_nodes if a in self.live)
        return where.get(node, "input")


def _shapes(nodes: Iterable[Node | None], batch: int) -> tuple[Shape, ...]:
    return tuple(shape_of(n.meta["val"], batch) for n in nodes if n is not None)


def _is_pointwise(node: Node) -> bool:
    """PyTorch marks the operations whose every output element reads one element of each argument."""
    return torch.Tag.pointwise in getattr(node.target, "tags", ())


def _parameters(node: Node, live: set[Node]) -> list[Node]:
    """The placeholders that reach this call without passing through the input (weight norm computes on the way)."""
    found: list[Node] = []
    for argument in node.all_input_nodes:
        if argument in live:
            continue
        found += [argument] if argument.op == "placeholder" else _parameters(argument, live)
    return list(dict.fromkeys(found))


def module_of(node: Node) -> tuple[str, str]:
    """Path (with '@n' on the n-th call of a reused module) and class of the innermost module that made this call."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    key, (path, kind) = list(stack.items())[-1]
    call = re.search(r"@(\d+)$", key)
    return path + (f"@{call[1]}" if call and "@" not in path else ""), kind if isinstance(kind, str) else kind.__name__


def _addresses(nodes: list[Node]) -> dict[Node, str]:
    """A module that made one call lends it its path; several calls in one are told apart by operation, then by number."""
    made = collections.Counter(module_of(node)[0] for node in nodes)
    parents = {path.rsplit("@")[0].rsplit(".", i + 1)[0] for path in made for i in range(path.count("."))}
    taken: collections.Counter[str] = collections.Counter()
    addresses: dict[Node, str] = {}
    for node in nodes:
        full, _ = module_of(node)
        path = full.split("@")[0]
        name = shown_name(node)
        alone = made[full] == 1 and path != "" and path not in parents
        address = path if alone else (f"{path}.{name}" if path else name)
        addresses[node] = f"{address}:{taken[address]}" if taken[address] else address
        taken[address] += 1
    return addresses


def _source(node: Node) -> str:
    """'net.py:12 in forward: return F.relu(x)': the innermost line outside torch that made this call."""
    lines = (node.meta.get("stack_trace") or "").strip().splitlines()
    found = ""
    for at, line in enumerate(lines):
        where = re.match(r'\s*File "(.+)", line (\d+), in (\w+)', line)
        if where is None or re.search(r"[\\/]torch[\\/]", where[1]) or where[1].startswith("torch/"):
            continue
        code = lines[at + 1].strip() if at + 1 < len(lines) and not lines[at + 1].lstrip().startswith('File "') else ""
        found = f"{short(where[1])}:{where[2]} in {where[3]}" + (f": {code}" if code else "")
    return found
