"""Fans against counted ones, gains by what follows, inputs of a layer, unit variance.

Mutations that turn this red (each tried): fan_out not divided by the groups · the transposed fans not exchanged · `_PASSING`
without 'Norm' · `weight.data.div_(variance)`.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convscope.editing import Draft
from convscope.editing.weights import starting
from convscope.network import Network
from tests.nets import NETS


def draft(model: nn.Module, *shape: int) -> Draft:
    return Draft.of(Network.open(model.eval(), torch.zeros(1, *shape)))


@pytest.mark.parametrize("module", [
    nn.Conv2d(4, 6, 3), nn.Conv2d(4, 8, (2, 3), groups=4), nn.Linear(7, 5), nn.Conv1d(4, 6, 3, groups=2),
    nn.ConvTranspose2d(4, 6, 4, stride=2), nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
])
def test_fans_are_what_one_output_reads_and_what_reads_one_input(module: nn.Module) -> None:
    """Counted by gradients: of an output far from the border, and of an input."""
    size = () if isinstance(module, nn.Linear) else (12,) if isinstance(module, nn.Conv1d) else (12, 12)
    inputs = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    nn.init.ones_(module.weight)
    x = torch.zeros(1, inputs, *size, requires_grad=True)
    y = module(x)
    middle = tuple(n // 2 for n in y.shape[2:])
    reads = torch.autograd.grad(y[(0, 0, *middle)], x, retain_graph=True)[0].count_nonzero().item()
    x.data.zero_()
    at = (0, 0, *(n // 2 for n in x.shape[2:]))
    read = sum(torch.autograd.grad(y.flatten(), x, torch.eye(y.numel()), is_grads_batched=True)[0][(slice(None), *at)] != 0)
    assert starting.fans(module) == (reads, int(read))


def test_the_gain_is_that_of_the_next_nonlinearity() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.5), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2),
                          nn.Tanh(), nn.Conv2d(4, 4, 1), nn.GELU(), nn.Flatten(), nn.Linear(4 * 16, 5), nn.Linear(5, 3))
    found = draft(model, 1, 12, 12)
    gains = {found.address(n): starting.gain(found, n) for n in found.find(*starting.WEIGHTS)}
    assert gains == {"0": (math.sqrt(2 / 1.25), "LeakyReLU"), "3": (5 / 3, "Tanh"), "6": (math.sqrt(2), "GELU"),
                     "9": (1.0, ""), "10": (1.0, "")}
    assert starting.assumed("GELU")
    assert not starting.assumed("Tanh")
    net, x = NETS["residual"]()
    found = Draft.of(Network.open(net, x))
    assert starting.gain(found, found["block1.conv2"])[1].lower() == "relu"  # behind batch norm and the sum


@pytest.mark.parametrize("name", ["plain", "residual", "concat", "shared_module"])
def test_what_a_layer_reads(name: str) -> None:
    model, x = NETS[name]()
    found = Draft.of(Network.open(model, x))
    seen = []
    for node in found.find(nn.Conv2d)[1:]:
        part = model.get_submodule(str(node.target))
        handle = part.register_forward_pre_hook(lambda m, given: seen.append(given[0].clone()))
        with torch.no_grad():
            model(torch.cat([x, 2 * x]))
        handle.remove()
        kept = starting.inputs_of(found, node, [x, 2 * x])
        assert any(torch.allclose(kept, one, atol=1e-5) for one in seen if one.shape == kept.shape), found.address(node)
        seen.clear()


def test_every_output_gets_unit_variance_in_one_pass() -> None:
    model, x = NETS["concat"]()
    found = Draft.of(Network.open(model, x))
    nodes = found.find(*starting.WEIGHTS)
    for node in nodes:
        nn.init.zeros_(found.module(node).bias)
    told: list[str] = []
    runner = starting.UnitVariance(found, nodes, lambda done, total, what: told.append(f"{done}/{total} {what}"))
    with torch.no_grad():
        runner.run(x)
    assert len(told) == len(nodes)
    assert told[0] == "1/8 stem.0"
    net, _ = found.finish()
    values = net.run(x, keep=[found.address(n) for n in nodes])
    for node in nodes:
        assert abs(float(values[found.address(node)].var()) - 1) < 0.02
