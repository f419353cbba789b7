"""Values, deltas and gradients of one run, as torch and autograd compute them in float64: what ours are held against.

The graph runs on double-precision copies of the network's tensors; nothing of the user's model is touched. `training`
lets batch norm use the statistics of the batch, as in a training step (dropout stays off: it would be random).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from convscope import layers
from convscope.errors import UnknownName, UsageError
from convscope.glass import INPUT, Call
from convscope.mechanics.loss import Loss
from convscope.mechanics.reading import Reader
from convscope.network import Network
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.local_response_norm import LocalResponseNorm
from convscope.results import Layer

BATCH_NORM = "_native_batch_norm_legit_no_training"


class Capture:
    """One batch through `net`, forward and backward. Values and deltas go by the names of `Reader` (layer addresses).

    >>> import convscope as cs
    >>> net = cs.open("zoo:lenet5")
    >>> kept = Capture(net, torch.zeros(1, 1, 28, 28), Loss(labels=(3,)))
    >>> kept.value("conv1").shape, kept.delta("conv1").shape
    ((1, 6, 28, 28), (1, 6, 28, 28))
    """

    def __init__(self, net: Network, x: Tensor, loss: Loss | None = None, training: bool = False) -> None:
        self.net, self.training = net, training
        self.reader = Reader(net)
        self.loss = loss
        recorder = _Recorder(net, training)
        inputs = {n.name for n in net.inputs}
        fixed = set(net.program.graph_signature.inputs_to_buffers)  # running statistics have no gradient
        self.fixed = {net.parameter_names.get(name, name) for name in fixed}
        first = x.detach().double().requires_grad_() if x.is_floating_point() else x
        given: list[Any] = []
        for node in net.program.graph.nodes:
            if node.op == "placeholder":
                if node.name in net.tensors:
                    value = net.tensors[node.name].detach()
                    value = value.double() if value.is_floating_point() else value
                    given.append(value.requires_grad_() if value.is_floating_point() and node.name not in fixed else value)
                elif node.name in inputs and all(v is not first for v in given):
                    given.append(first)
                else:
                    raise UsageError(f"{net.name} takes {len(net.inputs)} inputs", "one was given",
                                     "wrap it in a module that fixes the others")
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            output = recorder.run(*given)
            self._seen = recorder.seen
            self.output: Tensor = _first(output[net.output_at])
            self._loss = None if loss is None else loss.of(net, self.output)

    # ---- by name ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _nodes(self) -> dict[str, Node]:
        """The first node whose value has each name."""
        found: dict[str, Node] = {}
        for node, name in self.reader.names.items():
            found.setdefault(name, node)
        return found

    def tensor(self, name: str) -> Tensor:
        """The tensor behind a value's name, still tied to autograd's graph."""
        node = self._nodes.get(name)
        if node is None or node.name not in self._seen:
            raise UnknownName(f"no value named {name!r} in {self.net.name}", "",
                              "values go by layer addresses and parameter names")
        return _first(self._seen[node.name])

    def value(self, name: str) -> Any:
        """A value as a NumPy array: 'input', a layer's output by address, a parameter by name."""
        return self.tensor(name).detach().numpy()

    def deltas(self, names: Iterable[str]) -> dict[str, Any]:
        """∂L/∂value for each name: zeros where the loss does not depend on it."""
        wanted = list(names)
        if self._loss is None:
            raise UsageError("there are no deltas without a loss", "", "give labels")
        tensors = [self.tensor(name) for name in wanted]
        found = torch.autograd.grad(self._loss, tensors, retain_graph=True, allow_unused=True)
        return {n: _array(g, t) for n, t, g in zip(wanted, tensors, found, strict=True)}

    def delta(self, name: str) -> Any:
        """∂L/∂value of one name."""
        return self.deltas([name])[name]

    @property
    def loss_value(self) -> float:
        return float("nan") if self._loss is None else float(self._loss.detach())

    # ---- by layer ---------------------------------------------------------------------------------------------------

    def call(self, layer: Layer) -> Call:
        """The operator of a layer, with the names that it reads."""
        found = next((c for c in self.reader.calls if c.address == layer.address), None)
        if found is None:
            raise UsageError(f"{layer.address} cannot be worked out", f"no operator speaks for {layer.operator}",
                             "`convscope trace` shows its sizes")
        if self.training and isinstance(found.operator, BatchNorm):
            return Call(found.name, BatchNorm(found.operator.eps, found.operator.momentum, True), found.reads, found.address)
        return found

    def arrays(self, call: Call) -> tuple[Any, ...]:
        """What a call read, as NumPy arrays; None for what is not there."""
        return tuple(None if name is None else self.value(name) for name in call.reads)

    def output_delta(self, call: Call) -> Any:
        """∂L/∂(what the call wrote): an array, or for a recurrent layer a tuple, one for each of its results."""
        items = [c for c in self.reader.calls if c.item is not None and c.reads[0] == call.name]
        if not items:
            return self.delta(call.name)
        count = len(self._seen[self._nodes[call.name].name])
        by_item = {c.item: self.delta(c.name) for c in items}
        return tuple(by_item.get(i) for i in range(count))

    def autograd(self, call: Call, delta: Any) -> tuple[Tensor, tuple[Any, ...]]:
        """This one operation done again by torch: its value, and autograd's gradient of each array that it reads."""
        arrays = self.arrays(call)
        leaves = [None if a is None else torch.from_numpy(a.copy()) for a in arrays]
        for leaf, name in zip(leaves, call.reads, strict=True):
            if leaf is not None and leaf.is_floating_point() and name not in self.fixed:
                leaf.requires_grad_()
        with torch.enable_grad():
            value = self._again(call, leaves)
        results, deltas = _pairs(value, delta)
        wanted = [t for t in leaves if t is not None and t.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, deltas, allow_unused=True))
        gradients = tuple(None if t is None or not t.requires_grad else _array(next(found), t) for t in leaves)
        return _first(value), gradients

    def _again(self, call: Call, leaves: list[Any]) -> Any:
        if isinstance(call.operator, LocalResponseNorm):
            o = call.operator
            return F.local_response_norm(leaves[0], o.size, o.alpha, o.beta, o.k)
        node = self._nodes[call.name]
        by_name = {name: leaf for name, leaf in zip(call.reads, leaves, strict=True) if name is not None}
        seen = self._seen

        def of(n: Node) -> Any:
            name = self.reader.names.get(n)
            return by_name[name] if name in by_name else seen[n.name]

        item = layers.op_name(node) == "getitem"  # a piece of a split: split again, take the piece
        source = node.all_input_nodes[0] if item else node
        target: Any = source.target
        if self.training and layers.op_name(source) == BATCH_NORM:
            target = _batch_norm_in_training
        made = target(*map_arg(source.args, of), **map_arg(source.kwargs, of))
        return made[node.args[1]] if item else made


@dataclass(eq=False)
class _Recorder:
    """Runs the graph and keeps every value."""

    net: Network
    training: bool
    seen: dict[str, Any] = field(default_factory=dict[str, Any])

    def run(self, *given: Any) -> Any:
        outer = self

        class Interpreter(torch.fx.Interpreter):
            def run_node(self, n: Node) -> Any:
                value = super().run_node(n)
                outer.seen[n.name] = value
                return value

            def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
                schema = getattr(target, "_schema", None)
                name = schema.name.split("::")[-1] if schema is not None else ""
                if name == "_assert_tensor_metadata":
                    return None  # the graph was exported in another precision
                if name == BATCH_NORM and outer.training:
                    return _batch_norm_in_training(*args, **kwargs)
                if kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
                    kwargs = {**kwargs, "dtype": torch.float64}  # everything is worked out in double precision
                return target(*args, **kwargs)

        return Interpreter(self.net.program.graph_module, garbage_collect_values=False).run(*given)


def _batch_norm_in_training(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float) -> Any:
    """Batch norm with the statistics of the batch; the running ones are not touched."""
    del mean, var, momentum
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps), None, None


def _pairs(value: Any, delta: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The results that have a delta, and these deltas."""
    if not isinstance(delta, tuple):
        return [_first(value)], [torch.from_numpy(np.ascontiguousarray(delta))]
    pairs = [(v, torch.from_numpy(np.ascontiguousarray(d))) for v, d in zip(value, delta, strict=True) if d is not None]
    return [v for v, _ in pairs], [d for _, d in pairs]


def _array(gradient: Tensor | None, like: Tensor) -> Any:
    return np.zeros(tuple(like.shape)) if gradient is None else gradient.numpy()


def _first(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else _first(value[0])


__all__ = ["INPUT", "Capture"]
