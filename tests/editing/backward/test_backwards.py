"""Every call backwards equals autograd's vector–Jacobian product in float64, to 1e-10; the other readings by hand.

Turns red: in `editing/backward/backwards.py`, `(size + 2 * p - span - 1) % s` -> `0`; in `_window(node, ratio,
(behind, before), …)`
swap the two; in `editing/parts.py`, `scatter_add(2, at, values)` -> `scatter(2, at, values)`.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import Interpreter, Node

import convscope as cs
from convscope.editing import Draft, parts
from convscope.editing.backward.backwards import Backwards, ways
from convscope.editing.backward.derivatives import SLOPES
from convscope.errors import UsageError
from convscope.network import Network
from tests.nets import NETS


class Watched(Interpreter):
    """Runs a draft and cuts it at `source`, so that autograd can be asked."""

    def __init__(self, draft: Draft, source: Node, end: Node) -> None:
        super().__init__(draft.root)
        self.source, self.end = source, end
        self.leaf = self.last = torch.zeros(())

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n is self.source:
            value = self.leaf = value.detach().requires_grad_()
        if n is self.end:
            self.last = value
        return value


def gradient(draft: Draft, source: Node, end: Node, x: Tensor) -> Tensor:
    """Autograd's vᵀ·∂y/∂x̃ with v = y."""
    watched = Watched(draft, source, end)
    watched.run(x)
    return torch.autograd.grad(watched.last, watched.leaf, watched.last.detach())[0]


def back(draft: Draft, source: Node, end: Node, x: Tensor, **how: Any) -> Tensor:
    """What the graph gives, the draft changed into its own way back."""
    way = Backwards(draft, **how)
    way.at = end
    found = way.through(source, end, end)
    next(n for n in draft.root.graph.nodes if n.op == "output").args = (found,)
    draft.measure()
    assert draft.shape(found) == draft.shape(source)
    return draft.run(x)


def network(*layers: nn.Module, size: tuple[int, ...]) -> Network:
    model = nn.Sequential(*layers).double().eval()
    return cs.open(model, example=torch.randn(2, *size, dtype=torch.float64))


def check(net: Network, address: str = "", whole: bool = True) -> None:
    """To the input of the network, or of the layer `address` alone."""
    draft = Draft.of(net)
    end = draft[address] if address else draft.output
    source = draft.input if whole else end.all_input_nodes[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        x = torch.randn(3, *net.input_shape[1:], dtype=torch.float64)
    want = gradient(draft, source, end, x)
    assert want.abs().max() > 0
    got = back(draft, source, end, x)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@functools.cache
def opened(name: str) -> Network:
    model, x = NETS[name]()
    return cs.open(model.double(), example=x.double())


ALL = sorted(set(NETS) - {"rows_lstm"})
QUICK = ("non_square",)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ALL])
def test_whole_nets(name: str) -> None:
    check(opened(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_each_call_of_each_net(name: str) -> None:
    for node in Draft.of(opened(name)).nodes:
        check(opened(name), node.meta["address"], whole=False)
        check(opened(name), node.meta["address"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet5", "alexnet", "squeezenet1_1", "googlenet", "resnet18"])
def test_the_zoo(name: str) -> None:
    net = cs.open(f"zoo:{name}")
    assert net.module is not None
    check(cs.open(net.module.double(), example=torch.zeros(1, *net.input_shape[1:], dtype=torch.float64)))


class Beside(nn.Module):
    """Layers side by side, all on the same value: one export for many of them."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([m(x).flatten(1) for m in self.each], 1)


def check_beside(layers: list[nn.Module], size: tuple[int, ...]) -> None:
    draft = Draft.of(network(Beside(layers), size=size))
    x = torch.randn(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for i in range(len(layers)):
        one = draft.copy()
        end = one[f"0.each.{i}"]
        want = gradient(one, one.input, end, x)
        torch.testing.assert_close(back(one, one.input, end, x), want, rtol=1e-10, atol=1e-12, msg=str(layers[i]))


SIDE = st.integers(1, 4)
CONVS = st.builds(lambda k, s, p, d, g: nn.Conv2d(2, 4, k, s, p, d, g), st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE),
                  st.integers(0, 3), st.integers(1, 3), st.sampled_from([1, 2]))
MAXIMA = st.builds(lambda k, s, p, ceil: nn.MaxPool2d(k, s, min(p, k // 2), ceil_mode=ceil), SIDE, SIDE, st.integers(0, 2),
                   st.booleans())
MEANS = st.builds(lambda k, s, p, ceil, pad: nn.AvgPool2d(k, s, min(p, k // 2), ceil, pad), SIDE, SIDE, st.integers(0, 2),
                  st.booleans(), st.booleans())


@settings(max_examples=2, deadline=None, derandomize=True)
@given(layers=st.lists(CONVS | MAXIMA | MEANS, min_size=8, max_size=8), height=st.integers(10, 13),
       width=st.integers(10, 13))
def test_convolutions_and_pools_of_random_sizes(layers: list[nn.Module], height: int, width: int) -> None:
    check_beside(layers, (2, height, width))


@pytest.mark.parametrize(("layers", "size"), [
    ((nn.Conv1d(2, 3, 3, 2), nn.MaxPool1d(2, 1), nn.AdaptiveMaxPool1d(2)), (2, 12)),
    ((nn.Conv3d(1, 2, 2), nn.AvgPool3d(2, 1), nn.MaxPool3d(2, 1)), (1, 5, 4, 5)),
    ((nn.Conv2d(1, 3, 1), nn.AdaptiveMaxPool2d((3, 2)), nn.AdaptiveAvgPool2d((2, 2))), (1, 7, 7)),
    ((nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5, affine=False), nn.Softmax(1)), (2, 2, 2)),
    ((nn.Linear(4, 5), nn.LogSoftmax(-1)), (3, 4)),
    ((nn.Conv2d(1, 4, 1), nn.Flatten(2), nn.Unflatten(1, (2, 2)), nn.Identity()), (1, 3, 3)),
], ids=str)  # fmt: skip
def test_other_layers(layers: tuple[nn.Module, ...], size: tuple[int, ...]) -> None:
    check(network(*layers, size=size))


def test_unusual_layers() -> None:
    check_beside([nn.Conv2d(6, 3, (2, 4), padding="same", dilation=(1, 2)), nn.Conv2d(6, 2, 3, padding="valid"),
                  nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1, groups=2), nn.ConvTranspose2d(6, 2, 3, dilation=2),
                  nn.LocalResponseNorm(4, alpha=0.5, beta=0.6, k=1.5), nn.LocalResponseNorm(3, alpha=2.0)], (6, 5, 6))


@pytest.mark.slow
def test_nonlinearities() -> None:
    check_beside([nn.LeakyReLU(0.2), nn.ELU(0.7), nn.GELU("tanh"), nn.Softplus(2.0, 3.0), nn.Hardtanh(-0.5, 0.8), nn.ReLU(),
                  *(kind() for kind in SLOPES)], (3, 5, 5))


class Plain(nn.Module):
    """The same as functions and methods, and what joins values: + − × ÷, with broadcasting, and means."""

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x.mean((2, 3), keepdim=True))
        y = F.leaky_relu(x, 0.3) * gate - F.gelu(x) / 3 + torch.add(F.elu(x, 0.5), F.silu(x), alpha=2)
        y = torch.cat([y, F.avg_pool2d(F.hardtanh(x), 3, 1, 1), x - 1], dim=-3) + F.softplus(x).mean(1, keepdim=True)
        y = F.log_softmax(F.max_pool2d(y, 2), 1) * F.softmax(F.adaptive_avg_pool2d(torch.tanh(y), (3, 3)), 1)
        return y.reshape(-1, 9 * 9).mean(1)


def test_functions_and_what_joins() -> None:
    check(cs.open(Plain(), example=torch.randn(2, 3, 6, 6, dtype=torch.float64)))


def test_the_other_readings_of_a_nonlinearity() -> None:
    """x = −1, 2 through ReLU and v = y: the derivative gives 0, 2; of v = −3, 4 apply gives 0, 4, and pass −3, 4."""
    x = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    dense = nn.Linear(2, 2, bias=False)
    dense.weight.data = torch.tensor([[-3.0, 0.0], [0.0, 2.0]])
    net = network(nn.ReLU(), dense, size=(2,))
    for how, want in (("derivative", [0.0, 8.0]), ("apply", [0.0, 8.0]), ("pass", [0.0, 8.0])):
        draft = Draft.of(net)
        assert back(draft, draft.input, draft.output, x, nonlinear=how).tolist() == [want]
    net = network(dense.double(), nn.Tanh(), size=(2,))
    for how, bent in (("derivative", lambda y: y * (1 - y**2)), ("apply", torch.tanh), ("pass", lambda y: y)):
        draft = Draft.of(net)
        y = net.run(x).output
        torch.testing.assert_close(back(draft, draft.input, draft.output, x, nonlinear=how), bent(y) @ dense.weight.detach())


def test_two_ways_to_unpool_where_windows_overlap() -> None:
    """Row 0 5 0 4 1 in windows of 3, step 1: the maxima 5, 5, 4 stand at 1, 1, 3. Together 10, or the last alone 5."""
    x = torch.tensor([[[[0.0, 5.0, 0.0, 4.0, 1.0]]]], dtype=torch.float64)
    net = network(nn.MaxPool2d((1, 3), 1), size=(1, 1, 5))
    for overlap, want in (("add", [0.0, 10.0, 0.0, 4.0, 0.0]), ("overwrite", [0.0, 5.0, 0.0, 4.0, 0.0])):
        draft = Draft.of(net)
        assert back(draft, draft.input, draft.output, x, overlap=overlap).flatten().tolist() == want


@settings(max_examples=20, deadline=None)
@given(kernel=SIDE, stride=SIDE, height=st.integers(4, 9), width=st.integers(4, 9), seed=st.integers(0, 99))
def test_unpooling_is_torchs_own(kernel: int, stride: int, height: int, width: int, seed: int) -> None:
    """Overwriting against F.max_unpool2d, adding against autograd."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, height, width, generator=made).requires_grad_()
    y, switches = F.max_pool2d(x, kernel, stride, return_indices=True)
    v = torch.randn(y.shape, generator=made)
    torch.testing.assert_close(parts.Unpool("overwrite")(v, switches, x), last_wins(v, switches, x))
    torch.testing.assert_close(parts.Unpool("add")(v, switches, x), torch.autograd.grad(y, x, v)[0])


def last_wins(v: Tensor, switches: Tensor, x: Tensor) -> Tensor:
    """One value after the other, in reading order: the slow twin."""
    out = torch.zeros(x.shape).flatten(2)
    for b in range(v.shape[0]):
        for c in range(v.shape[1]):
            for value, at in zip(v[b, c].flatten(), switches[b, c].flatten(), strict=True):
                out[b, c, at] = value
    return out.reshape(x.shape)


@pytest.mark.parametrize(("layers", "size", "found"), [
    ((nn.GroupNorm(1, 2),), (2, 4, 4), "no way back through GroupNorm"),
    ((nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),), (2, 5, 5), "it pads by circular"),
    ((nn.BatchNorm2d(2, track_running_stats=False),), (2, 5, 5), "no way back through BatchNorm2d"),
    ((nn.LPPool2d(2, 2),), (2, 4, 4), "no way back through"),
], ids=str)  # fmt: skip
def test_what_has_no_way_back_is_said(layers: tuple[nn.Module, ...], size: tuple[int, ...], found: str) -> None:
    draft = Draft.of(network(*layers, size=size))
    with pytest.raises(UsageError) as refusal:
        back(draft, draft.input, draft.output, torch.zeros(1, *size, dtype=torch.float64))
    assert refusal.value.asked.endswith("backwards")
    assert found in refusal.value.found
    assert refusal.value.remedy


def test_ways_leave_out_what_is_not_between() -> None:
    draft = Draft.of(opened("concat"))
    found = [draft.address(n) for n in ways(draft, draft["stem.1"], draft["branch2.3"])]
    assert found == ["branch2.0", "branch2.1", "branch2.2", "branch2.3"]
