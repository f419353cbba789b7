"""What does autograd really do, layer by layer? Shapes of all gradients and multiply-accumulates, measured.

Every layer of a graph is run again by itself on the values that it reads, each a leaf of its own, and autograd goes back
through it, so that nothing of the whole network's backward pass is kept. Multiply-accumulates are half the operations that
torch's `FlopCounterMode` counts in that one operation, forward and backward.

    python -m tests.mechanics.autograd_sizes              a row for each network of the zoo, as in benchmarks/RESULTS.md
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from convscope import layers, registry
from convscope.mechanics.backward import backward_of
from convscope.mechanics.reading import Reader
from convscope.network import Network
from convscope.operators.conv import Conv
from convscope.operators.local_response_norm import LocalResponseNorm
from convscope.results import Layer

ZEROS = ("zeros", "new_zeros", "zeros_like")  # states that start at zero: our operators take None for them


@dataclass
class Measured:
    """One layer as autograd sees it."""

    delta: tuple[int, ...]  # shape of the gradient that arrives at its output
    gradients: list[tuple[int, ...]]  # shape of the gradient of every array that it reads and that has one
    forward: int  # multiply-accumulates
    backward: int


def measured(net: Network) -> dict[str, Measured]:
    """Every layer of `net` by address, measured on one image of noise."""
    walker = _Walker(net)
    shape = (net.batch or 1, *net.input_shape[1:])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        image = torch.randn(shape, dtype=net.dtype) if net.dtype.is_floating_point else torch.zeros(shape, dtype=net.dtype)
        given = (net.tensors.get(n.name, image) for n in net.program.graph.nodes if n.op == "placeholder")
        walker.run(*given)
    return walker.found


class _Walker(torch.fx.Interpreter):
    """Runs a graph; does every layer again by itself, with gradients."""

    def __init__(self, net: Network) -> None:
        super().__init__(net.program.graph_module, garbage_collect_values=False)
        self.reader = Reader(net)
        self.calls = {call.address: call for call in self.reader.calls if call.address}
        self.layers = {layer.node: layer for layer in net.layers}
        self.fixed = set(net.program.graph_signature.inputs_to_buffers)
        self.found: dict[str, Measured] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        layer = self.layers.get(n.name)
        if layer is not None:
            self.found[layer.address] = self._again(n, layer)
        return value

    def _again(self, node: Node, layer: Layer) -> Measured:
        leaves: list[Tensor] = []
        starts: list[Tensor] = []  # a recurrent layer goes back to them, although nobody asks for their gradient
        arrived: list[tuple[int, ...]] = []

        def leaf(n: Node) -> Any:
            value = self.env[n]
            if not isinstance(value, Tensor):
                return value
            value = value.detach()
            if value.is_floating_point() and n.name not in self.fixed:
                (starts if layers.op_name(n) in ZEROS else leaves).append(value.requires_grad_())
            return value

        with torch.enable_grad():
            with FlopCounterMode(display=False) as ahead:
                value = self._value(node, layer, leaf)
            made = [v for v in (value if isinstance(value, (tuple, list)) else [value]) if v.requires_grad]
            made[0].register_hook(lambda delta: arrived.append(tuple(delta.shape)))
            loss = torch.stack([v.sum() for v in made]).sum()
            with FlopCounterMode(display=False) as back:
                found = torch.autograd.grad(loss, [*leaves, *starts])[:len(leaves)]
        macs = [counter.get_total_flops() // 2 for counter in (ahead, back)]
        return Measured(arrived[0], [tuple(g.shape) for g in found], *macs)

    def _value(self, node: Node, layer: Layer, leaf: Any) -> Any:
        call = self.calls.get(layer.address)
        if call is not None and isinstance(call.operator, LocalResponseNorm):  # several nodes, one layer
            o = call.operator
            source = next(n for n, name in self.reader.names.items() if name == call.reads[0])
            return F.local_response_norm(leaf(source), o.size, o.alpha, o.beta, o.k)
        target: Any = node.target
        return target(*torch.fx.node.map_arg(node.args, leaf), **torch.fx.node.map_arg(node.kwargs, leaf))


def counted_backward(layer: Layer, groups: int) -> int:
    """What torch's counter makes of our own count: it counts a grouped convolution's ∂L/∂weight once for each group.

    (`conv_backward_flop` multiplies all input with all output channels; only those of one group meet. What a grouped
    convolution really multiplies is counted in the test.)
    """
    assert layer.backward is not None
    return sum(g.macs * (groups if g.of == "weight" else 1) for g in layer.backward)


def groups_of(net: Network) -> dict[str, int]:
    """The groups of every grouped convolution, by address."""
    calls = Reader(net).calls
    return {c.address: c.operator.groups for c in calls if isinstance(c.operator, Conv) and c.operator.groups > 1}


def equations(sizes: str) -> Iterator[tuple[str, float, int]]:
    """The equations printed in a formula of sizes: left side, what it comes to, right side.

    >>> list(equations("(112 − 1)·2 + 1 = 223; 229 + 1 unread = 230"))
    [('(112 − 1)·2 + 1', 223, 223), ('229 + 1', 230, 230)]
    >>> list(equations("dilation 3: every 3rd of 7 = 3"))
    [('⌈7/3⌉', 3, 3)]
    """
    plain = re.sub(r"every (\d+)\w\w of (\d+) =", r"⌈\2/\1⌉ =", sizes.replace(" unread", ""))
    for left, right in re.findall(r"([\d(⌊⌈][\d()⌊⌋⌈⌉+−·/ ]*?) = (\d+)", plain):
        plain = left.replace("−", "-").replace("·", "*")
        for opening, closing, name in (("⌊", "⌋", "floor"), ("⌈", "⌉", "ceil")):
            plain = plain.replace(opening, f"{name}(").replace(closing, ")")
        value = eval(plain, {"floor": math.floor, "ceil": math.ceil})  # noqa: S307 (digits and signs only, see the pattern)
        yield left, value, int(right)


@dataclass
class Agreement:
    """How much was compared. What does not agree is listed."""

    layers: int = 0
    arrays: int = 0
    equations: int = 0
    macs: int = 0
    backward_macs: int = 0
    wrong: tuple[str, ...] = ()


def compare(net: Network) -> Agreement:
    """Every layer of `net`: what the operators say against what autograd does."""
    seen, groups, made, wrong = measured(net), groups_of(net), Agreement(), list[str]()
    for layer in backward_of(net):
        here, where = seen[layer.address], f"{net.name} {layer.address} ({layer.operator})"
        if layer.backward is None:
            wrong.append(f"{where}: nobody speaks for it")
            continue
        said = [g.shape for g in layer.backward]
        if said != here.gradients:
            wrong.append(f"{where}: gradients {[(g.of, g.shape) for g in layer.backward]}, autograd {here.gradients}")
        if layer.output_shape != here.delta:
            wrong.append(f"{where}: δ {layer.output_shape}, autograd {here.delta}")
        if layer.macs != here.forward:
            wrong.append(f"{where}: {layer.macs} MACs forward, counted {here.forward}")
        back = counted_backward(layer, groups.get(layer.address, 1))
        if back != here.backward:
            wrong.append(f"{where}: {back} MACs backward, counted {here.backward}")
        for gradient in layer.backward:
            for left, value, right in equations(gradient.sizes):
                made.equations += 1
                if value != right:
                    wrong.append(f"{where}: {left} = {value}, not {right}")
        made.layers, made.arrays = made.layers + 1, made.arrays + len(said)
        made.macs, made.backward_macs = made.macs + layer.macs, made.backward_macs + (layer.backward_macs or 0)
    made.wrong = tuple(wrong)
    return made


def row(name: str, made: Agreement) -> str:
    """One row of the table in benchmarks/RESULTS.md."""
    counts = (made.layers, made.arrays, made.equations, made.macs, made.backward_macs, len(made.wrong))
    return f"| {name} | " + " | ".join(f"{n:,}" for n in counts) + " |"


def main(names: list[str]) -> None:
    """Print a table, and every disagreement to standard error."""
    print("| network | layers | gradients | equations | MACs forward | MACs backward | disagreements |")
    print("|---|---|---|---|---|---|---|")
    total = Agreement()
    for name in names or registry.factories():
        found = compare(cs.open(f"zoo:{name}"))
        print(row(name, found), flush=True)
        for line in found.wrong:
            print(line, file=sys.stderr)
        for of in ("layers", "arrays", "equations", "macs", "backward_macs", "wrong"):
            setattr(total, of, getattr(total, of) + getattr(found, of))
    print(row("**all**", total))


if __name__ == "__main__":
    main(sys.argv[1:])
