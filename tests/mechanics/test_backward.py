"""The sizes of the backward pass against autograd: every gradient's shape, δ's shape, MACs, and the printed equations.

Mutations that turn it red: in `backward.backward_of`, `net.layers` in the order of `reader.calls` reversed; in
`backward.shapes_of`, `shape_of(…, batch=2)`; in `Conv.gradients`, `macs` of "x" doubled; in `backward._split`, the shape of
the node itself; in `backward.notes`, `layer.backward is not None` for the mute ones.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope import registry
from convscope.mechanics import backward
from convscope.network import Network
from convscope.operators.conv import Conv
from tests import nets
from tests.mechanics import autograd_sizes
from tests.mechanics.autograd_sizes import compare, equations

AXES = "; (?=rows:|columns:)"  # between the equations of one axis and those of the next, where they differ
SMALL = ("lenet5", "digits", "mlp", "perceptron", "squeezenet1_1")


def agrees(net: Network) -> autograd_sizes.Agreement:
    found = compare(net)
    assert not found.wrong, "\n".join(found.wrong[:5])
    assert found.layers == len(net.layers)
    return found


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_of_the_zoo_go_back_as_autograd_does(name: str) -> None:
    found = agrees(cs.open(f"zoo:{name}"))
    assert found.arrays >= found.layers
    assert found.backward_macs == 2 * found.macs > 0  # nothing but convolutions and matrix products multiplies


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(registry.factories()) - set(SMALL)))
def test_every_network_of_the_zoo_goes_back_as_autograd_does(name: str) -> None:
    assert agrees(cs.open(f"zoo:{name}")).equations > 0


@pytest.mark.parametrize("name", sorted(nets.NETS))
def test_networks_with_a_trait_go_back_as_autograd_does(name: str) -> None:
    module, x = nets.NETS[name]()
    agrees(Network.open(module.double(), x[:1].double()))  # torch's counter sees through an LSTM in this precision only


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rows = kind(8, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_shapes_of_recurrent_layers(kind: type[nn.RNNBase]) -> None:
    net = Network.open(Recurrent(kind), torch.zeros(1, 5, 8))
    seen = autograd_sizes.measured(net)
    layer = next(k for k in backward.backward_of(net) if k.operator == kind.__name__.lower())
    assert layer.backward is not None
    assert [g.shape for g in layer.backward] == seen[layer.address].gradients
    assert layer.output_shape == seen[layer.address].delta == (1, 5, 6)


SETTINGS = [(1, 1, 0, 1), (2, 2, 1, 1), (4, 1, 2, 2), (4, 3, 0, 1)]


@pytest.mark.parametrize(("groups", "stride", "padding", "dilation"), SETTINGS)
def test_what_a_convolution_multiplies_going_back(groups: int, stride: int, padding: int, dilation: int) -> None:
    """Products counted while our own im2col runs: torch's counter is wrong where there are groups."""
    operator = Conv(stride, padding, dilation, groups)
    x, weight = np.ones((1, 4, 9, 11)), np.ones((8, 4 // groups, 3, 2))
    delta = np.ones(operator.output_shape(x.shape, weight.shape))
    by_name = {g.of: g.macs for g in operator.gradients(x.shape, weight.shape)}
    Counted.products = 0
    operator.input_gradient(delta.view(Counted), weight, x.shape[2:])
    assert Counted.products == by_name["x"] > 0
    Counted.products = 0
    operator.weight_gradient(delta.view(Counted), x, weight.shape)
    assert Counted.products == by_name["weight"] > 0


class Counted(np.ndarray):
    """An array that counts the products of every matrix product."""

    products = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        plain = [np.asarray(i) for i in inputs]
        made = getattr(ufunc, method)(*plain, **named)
        if ufunc is np.matmul:
            Counted.products += made.size * plain[0].shape[-1]
        return made


def test_two_filters_of_one_network_by_hand() -> None:
    """28×28 -> 24×24 -> 20×20 with 5×5 kernels: full convolutions lead back up, valid correlations to the kernels."""
    net = Network.open(nn.Sequential(nn.Conv2d(1, 1, 5), nn.Conv2d(1, 1, 5)), torch.zeros(1, 1, 28, 28))
    first, second = backward.backward_of(net)
    assert first.backward is not None
    assert second.backward is not None
    assert [(g.of, g.shape, g.macs) for g in second.backward] == [
        ("x", (1, 1, 24, 24), 20 * 20 * 25), ("weight", (1, 1, 5, 5), 20 * 20 * 25), ("bias", (1,), 0)]
    assert "20 + 5 − 1 = 24" in second.backward[0].sizes
    assert "24 − 20 + 1 = 5" in second.backward[1].sizes
    assert "24 + 5 − 1 = 28" in first.backward[0].sizes
    assert (first.backward_macs, second.backward_macs) == (2 * 24 * 24 * 25, 2 * 20 * 20 * 25)


@pytest.mark.parametrize("name", ["plain", "grouped", "dilated", "no_bias", "non_square"])
def test_the_last_number_of_a_convolutions_equations_is_its_size(name: str) -> None:
    module, x = nets.NETS[name]()
    found = 0
    for layer in backward.backward_of(Network.open(module, x[:1])):
        for gradient in layer.backward or ():
            if layer.operator == "conv2d" and gradient.of in ("x", "weight"):
                last = {list(equations(axis))[-1][2] for axis in re.split(AXES, gradient.sizes)}
                ends = {int(n) for n in last}
                assert ends == set(gradient.shape[2:]), gradient
                found += 1
    assert found >= 2


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first, second = x.split(2, dim=1)
        return first * second


def test_pieces_of_a_split_go_back_to_the_whole() -> None:
    split = backward.backward_of(Network.open(Halves(), torch.zeros(1, 4, 3, 3)))[0]
    assert split.backward is not None
    assert [(g.of, g.shape) for g in split.backward] == [("x", (1, 4, 3, 3))]
    assert split.output_shape == (1, 2, 3, 3)


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x.tanh())


def test_what_nobody_speaks_for_is_said() -> None:
    net = Network.open(Strange(), torch.zeros(1, 4))
    trace = net.trace(backward=True)
    assert [layer.backward is None for layer in trace.layers] == [False, True]
    assert "backward pass not shown for: erfinv" in trace.notes
    assert trace.layers[1].backward_macs is None
    assert net.trace().backward_macs is None


def test_a_trace_says_what_training_spares() -> None:
    module, x = nets.NETS["plain"]()
    net = Network.open(module, x[:1])
    trace = net.trace(backward=True)
    first = trace.layers[0].backward
    assert first is not None
    assert f"training does not need it and spares {first[0].macs:,} MACs" in " ".join(trace.notes)
    assert trace.backward_macs == sum(g.macs for layer in trace.layers for g in layer.backward or ())
    assert all(layer.backward is None for layer in net.trace().layers)
    assert all(layer.saved is not None for layer in trace.layers)
    assert all(layer.saved is None and layer.backward for layer in net.trace(measure=False, backward=True).layers)


def test_batch_norm_is_said_to_be_fixed() -> None:
    net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval(), torch.zeros(1, 1, 5, 5))
    assert "batch norm with fixed statistics" in " ".join(net.trace(backward=True).notes)
