"""The deconvnet against a slow twin (unpool, rectify, transposed filters, by loops), PyTorch's MaxUnpool, and by hand.

Turns red: in `attributions/_switches.py`, `"amax"` -> `"amin"` (the first value stays, not the last).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.attributions import _switches
from convscope.attributions.deconvnet import Deconvnet
from convscope.attributions.relu_deconvnet import ReLUDeconvnet
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests import oracles
from tests.attributions.swapped import WITH_RELU, WITHOUT_RELU, architecture
from tests.contracts.leaves import opened

POOLS, SHARED = "max poolings with switches", "switches that share their place"
overlaps = pytest.mark.parametrize("overlap", ["add", "overwrite"])


@pytest.fixture(scope="module")
def small() -> tuple[nn.Sequential, torch.Tensor, Network]:
    """conv, ReLU, overlapping pooling, twice; batch norm in the second; float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(OrderedDict(
            conv1=nn.Conv2d(2, 4, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(3, 1),
            conv2=nn.Conv2d(4, 3, 3, stride=2, padding=1), bn2=nn.BatchNorm2d(3), relu2=nn.ReLU(), pool2=nn.MaxPool2d(3, 1),
            flatten=nn.Flatten(), fc=nn.Linear(27, 2))).double().eval()
        bn: Any = model.bn2
        bn.running_mean.normal_(0, 0.1)
        bn.running_var.uniform_(0.5, 2)
        nn.init.uniform_(bn.weight, -1, 1.5)
        x = torch.randn(2, 2, 11, 11, dtype=torch.float64)
    return model, x, Network.open(model, x)


def unpooled(r: Any, winners: Any, shape: tuple[int, ...], overlap: str) -> Any:
    """Each value to its switch, in reading order."""
    out = np.zeros((*shape[:2], shape[2] * shape[3]))
    for b, c, i, j in np.ndindex(r.shape):
        at = (b, c, winners[b, c, i, j])
        out[at] = out[at] + r[b, c, i, j] if overlap == "add" else r[b, c, i, j]
    return out.reshape(shape)


def twin(model: nn.Sequential, image: torch.Tensor, channel: int, overlap: str) -> tuple[Any, float, tuple[int, int]]:
    """Projection of the strongest activation of a channel of pool2 (Zeiler and Fergus 2014, section 2.1)."""
    m: Any = model
    w1, w2 = (layer.weight.detach().numpy() for layer in (m.conv1, m.conv2))
    bn = {k: v.detach().numpy() for k, v in m.bn2.state_dict().items()}
    scale = bn["weight"] / np.sqrt(bn["running_var"] + m.bn2.eps)
    y1, _ = oracles.convolution(image.numpy(), w1, m.conv1.bias.detach().numpy(), 1, 1, 1, 1)
    p1, winners1 = oracles.max_pooling(np.maximum(y1, 0), 3, 1, 0)
    y2, _ = oracles.convolution(p1, w2, m.conv2.bias.detach().numpy(), 2, 1, 1, 1)
    n2 = (y2 - bn["running_mean"][:, None, None]) * scale[:, None, None] + bn["bias"][:, None, None]
    p2, winners2 = oracles.max_pooling(np.maximum(n2, 0), 3, 1, 0)
    row, column = np.unravel_index(p2[0, channel].argmax(), p2.shape[2:])
    r = np.zeros_like(p2)
    r[0, channel, row, column] = p2[0, channel, row, column]
    value = float(r.sum())
    r = np.maximum(unpooled(r, winners2, y2.shape, overlap), 0)
    r, _ = oracles.transposed_convolution(r * scale[:, None, None], w2, 2, 1, 0)
    r = np.maximum(unpooled(r, winners1, y1.shape, overlap), 0)
    r, _ = oracles.transposed_convolution(r, w1, 1, 1, 0)
    return r[0], value, (int(row), int(column))


@overlaps
@pytest.mark.parametrize("channel", range(3))
def test_same_as_the_slow_twin(small: Any, channel: int, overlap: str) -> None:
    model, x, net = small
    found = Deconvnet(overlap=overlap)(net, x, target(net, f"pool2/{channel}", x))
    for b in range(2):
        wanted, value, at = twin(model, x[b : b + 1], channel, overlap)
        assert found.scores[b] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(found.values[b], wanted, rtol=0, atol=1e-12 * max(np.abs(wanted).max(), 1e-300))
        assert f"{at[0]},{at[1]}" in found.notes[0]
    assert found.proof["rectifiers that the rule reached"] == "2 of 2"
    assert found.proof[POOLS] == "2 of 2"
    assert 0.2 < found.proof[SHARED] < 0.9  # type: ignore[operator]


def test_the_two_ways_differ_where_windows_overlap(small: Any) -> None:
    _, x, net = small
    add, overwrite = (Deconvnet(overlap=o)(net, x, target(net, "fc/0", x)) for o in ("add", "overwrite"))
    assert np.abs(add.values - overwrite.values).max() > 0.1 * np.abs(add.values).max()
    assert any("added, as autograd does" in note for note in add.notes)
    assert any("overwritten by the last, as MaxUnpool does" in note for note in overwrite.notes)
    _, x, net = opened("plain")  # windows side by side
    add, overwrite = (Deconvnet(overlap=o)(net, x, Target("0", 0)) for o in ("add", "overwrite"))
    np.testing.assert_array_equal(add.values, overwrite.values)
    assert add.proof[SHARED] == 0


def test_unpooling_is_autograds_or_maxunpools() -> None:
    """A 3×3/2 pool of random 55×55 maps: 35.6 % of switches are not the only ones of their place or not the first."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 55, 55, generator=g, dtype=torch.float64).requires_grad_()
    y, places = F.max_pool2d(x, 3, 2, return_indices=True)
    r = torch.randn(y.shape, generator=g, dtype=torch.float64)
    added, kept = (_switches.unpool(r, places, x.shape, o) for o in ("add", "overwrite"))
    torch.testing.assert_close(added, torch.autograd.grad(y, x, r)[0], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(kept, F.max_unpool2d(r, places, 3, 2, output_size=[55, 55]))
    assert float(added.sum()) == pytest.approx(float(r.sum()))
    counts = _switches.unpool(torch.ones_like(r), places, x.shape, "add")
    assert float((counts.flatten(2).gather(2, places.flatten(2)) > 1).double().mean()) == pytest.approx(0.356, abs=0.02) or (
        1 - float(_switches.used(places, x.shape).double().sum()) / places.numel()) == pytest.approx(0.356, abs=0.02)


def test_without_pooling_it_is_the_activation_times_the_relu_rule() -> None:
    _, x, net = opened("dilated")
    asked = target(net, 2, x)
    found, rule = Deconvnet()(net, x, asked), ReLUDeconvnet()(net, x, asked)
    positive = found.scores > 0
    wanted = np.maximum(found.scores, 0)[:, None, None, None] * rule.values
    np.testing.assert_allclose(found.values[positive], wanted[positive], rtol=1e-4, atol=1e-6 * np.abs(wanted).max())
    assert POOLS not in found.proof
    assert any("2 average poolings have no switches" in note for note in found.notes)


def test_bias_plays_no_part_on_the_way_back(small: Any) -> None:
    """With one activation 2 of a 1×1 filter without anything above, what comes back is 2·w."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    conv: Any = model[0]
    conv.weight.data.fill_(3.0)
    conv.bias.data.fill_(-1.0)
    net, x = Network.open(model, (1, 2, 2)), torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]])
    found = Deconvnet()(net, x, target(net, "1/0", x))
    assert found.scores.tolist() == [2]
    assert found.values[0, 0].tolist() == [[6, 0], [0, 0]]
    assert found.notes[0] == "starts at the strongest position, 0,0"
    asked = Deconvnet()(net, x, target(net, "1/0@1,0", x))
    assert asked.values[0, 0].tolist() == [[0, 0], [1.5, 0]]


def test_a_silent_unit_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    net, x = Network.open(model, (1, 2, 2)), torch.zeros(1, 1, 2, 2)
    found = Deconvnet()(net, x, target(net, "1/0", x))
    assert not found.values.any()
    assert "the activation of image 0 is not positive" in found.notes[1]


class WithNorm(nn.Module):
    """AlexNet's beginning: local response normalisation between ReLU and the next layer."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv2d(1, 6, 3), norm, nn.Conv2d(6, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv2(self.norm(F.relu(self.conv1(x)))))


class WrittenOut(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.local_response_norm(x, 3, alpha=0.5)


@pytest.mark.parametrize("norm", [nn.LocalResponseNorm(3, alpha=0.5), WrittenOut()])
def test_response_normalisation_is_not_undone(norm: nn.Module) -> None:
    """As if it were not there, but for the activation it starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = WithNorm(norm), torch.randn(1, 1, 9, 9)
    net = Network.open(model, x)
    found = Deconvnet()(net, x, target(net, "relu:1/1@2,2", x))
    w1, w2 = model.conv1.weight, model.conv2.weight
    r = torch.zeros(1, 2, 5, 5)
    r[0, 1, 2, 2] = float(found.scores[0])
    wanted = F.conv_transpose2d(F.relu(F.conv_transpose2d(r, w2)), w1).detach()
    assert found.scores[0] > 0
    np.testing.assert_allclose(found.values, wanted, rtol=1e-5, atol=1e-6)
    assert any("1 local response normalisations are not undone" in note for note in found.notes)


@overlaps
@pytest.mark.parametrize("name", ["residual", "concat", "in_place", "grouped", "norm_first", "shared_module"])
def test_every_position_sums_to_the_target(name: str, overlap: str) -> None:
    """Of a unit, the strongest position is the one whose own answer is the same map."""
    _, x, net = opened(name)
    layer = next(a.address for a in net.layers if a.operator in ("relu", "relu6", "batch_norm") and len(a.output_shape) == 4)
    asked = target(net, f"{layer}/1", x)
    strongest = Deconvnet(overlap=overlap)(net, x[:1], asked)
    value = net.run(x[:1], keep=[layer])[layer][0, 1]
    row, column = np.unravel_index(int(value.argmax()), value.shape)
    one = Deconvnet(overlap=overlap)(net, x[:1], target(net, f"{layer}/1@{row},{column}", x))
    np.testing.assert_array_equal(strongest.values, one.values)
    np.testing.assert_allclose(strongest.scores, value.max())


def test_without_relu_it_does_not_apply() -> None:
    _, x, net = opened("grey")
    with pytest.raises(UsageError, match="deconvnet does not apply to grey: it has no ReLU"):
        Deconvnet()(net, x, Target("0", 0))
    with pytest.raises(UsageError, match=r"Deconvnet\.overlap must be one of add, overwrite"):
        Deconvnet(overlap="max")


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RELU)
def test_torchvision(name: str) -> None:
    """Every rule ran, and up to the start 'add' is the ReLU rule: autograd's max pooling has the same switches."""
    _, x, net = architecture(name)
    asked = target(net, None, x)
    found, rule = Deconvnet()(net, x, asked), ReLUDeconvnet()(net, x, asked)
    reached, of = str(found.proof["rectifiers that the rule reached"]).split(" of ")
    assert reached == of != "0"
    assert found.scores[0] > 0
    np.testing.assert_allclose(found.values, found.scores[0] * rule.values, rtol=0, atol=1e-9 * np.abs(found.values).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_RELU)
def test_torchvision_without_relu(name: str) -> None:
    _, x, net = architecture(name)
    with pytest.raises(UsageError, match=f"deconvnet does not apply to {name}"):
        Deconvnet()(net, x, Target("0", 0))
