"""FullGrad: the terms add up to the score on every net; a hand-made case; the paper's map by a slow twin.

Turns red: in `attributions/_bias.py`, `return y - linear` -> `return y`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attributions import _bias, _forward
from convscope.attributions.full_grad import FullGrad
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.cams import LARGE, enlarged, large
from tests.contracts.leaves import opened
from tests.nets import NETS

ERROR = "completeness error"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("asked", [0, 3])
def test_input_and_bias_terms_are_the_score(name: str, asked: int) -> None:
    model, x, net = opened(name)
    found = FullGrad("signed")(net, x, target(net, asked, x))
    assert found.proof[ERROR] < 1e-4  # type: ignore[operator]
    parts = [found.proof[k] for k in ("input term", "bias terms on maps", "bias terms of layers without maps")]
    assert sum(map(float, parts)) == pytest.approx(float(model(x).detach()[:, asked].mean()), rel=1e-4)
    # The map holds all but what no pixel can carry.
    np.testing.assert_allclose(found.values.sum((1, 2, 3)).mean(), float(parts[0]) + float(parts[1]), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LARGE, "swin_t", "vit_b_16"])
def test_on_large_networks_too(name: str) -> None:
    _, x, net = large(name)
    assert FullGrad()(net, x, target(net, 7, x)).proof[ERROR] < 1e-4  # type: ignore[operator]


class Hand(nn.Module):
    """S = Σ a·max(w·x + b, 0) + c, with every weight written down."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([(3 * torch.relu(2 * x - 1)).sum((1, 2, 3)) + 5, x.sum((1, 2, 3))], 1)


def test_by_hand() -> None:
    """x = (1, −1, 2, 0): open where x > 1/2; input term 3·2·(1 + 2) = 18, bias terms 3·(−1)·2 = −6, and 5."""
    x = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])
    found = FullGrad("signed")(Network.open(Hand(), x), x, Target("0", 0))
    assert found.scores[0] == 17
    assert found.proof["input term"] == 18
    assert found.proof["bias terms on maps"] == -6
    assert found.proof["bias terms of layers without maps"] == 5
    np.testing.assert_allclose(found.map[0], [[6 - 3, 0], [12 - 3, 0]], atol=1e-6)


def test_the_papers_map() -> None:
    """ψ = bilinear(rescale(|·|)) of the input term and of each convolution's bias term, summed (equation 7)."""
    model, x, net = opened("plain")
    own = x[:1].clone().requires_grad_()
    kept = net.run(own, keep=["conv1", "conv2"], grad=True)
    conv1, conv2 = kept["conv1"], kept["conv2"]
    slopes = torch.autograd.grad(kept.output[0, 1], [own, conv1, conv2])
    biases = [model.conv1.bias.detach(), model.conv2.bias.detach()]  # type: ignore[union-attr]
    terms: list[Any] = [(slopes[0] * own.detach())[0].double().numpy()]
    terms += [(d[0] * b[:, None, None]).double().numpy() for d, b in zip(slopes[1:], biases, strict=True)]
    wanted = np.zeros((16, 16))
    for term in terms:
        strength = np.abs(term)
        strength = (strength - strength.min()) / (strength.max() - strength.min())
        for one in strength:
            wanted += enlarged(one, 16, 16)
    found = FullGrad()(net, x[:1], target(net, 1, x))
    np.testing.assert_allclose(found.map[0], wanted, rtol=1e-4)
    assert found.unit == "sum of maps scaled to 0 … 1"


class Everything(nn.Module):
    """Layers whose implicit bias has a way of its own: norms, gates, curves, attention, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.group = nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm([8, 8, 8]), nn.GroupNorm(2, 8)
        self.gate, self.out = nn.Conv2d(8, 8, 1), nn.Linear(8, 3)
        self.attention, self.lrn = nn.MultiheadAttention(8, 2), nn.LocalResponseNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn(torch.nn.functional.gelu(self.norm(self.conv(x))))
        x = self.group(x) * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))) + 0.3
        x = torch.nn.functional.hardswish(x).flatten(2).permute(2, 0, 1)  # positions before the batch
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.out(x.softmax(-1).mean(0))


def everything() -> tuple[Network, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Everything().eval()
        for p in model.parameters():
            nn.init.normal_(p, 0, 0.4)
        x = torch.randn(2, 3, 8, 8)
    return Network.open(model, x), x


def test_on_norms_gates_curves_and_attention() -> None:
    """Also where the batch is not the first axis: then image by image."""
    net, x = everything()
    assert not _bias.keeps_images_apart(net)
    found = FullGrad("signed")(net, x, Target("2", 2))
    assert found.proof[ERROR] < 1e-4  # type: ignore[operator]
    for b in range(2):
        alone = FullGrad("signed")(net, x[b : b + 1], Target("2", 2))
        np.testing.assert_allclose(alone.values[0], found.values[b], rtol=0, atol=1e-6 * np.abs(alone.values).max())
    bound = dataclasses.replace(net, batch=2, _at={})
    with pytest.raises(UsageError, match="FullGrad does not apply to batches of 2 in Everything; its layers mix the batch"):
        FullGrad()(bound, x, Target("2", 2))


def test_each_terms_share_is_the_difference_of_delta_y_and_delta_x() -> None:
    """Whatever way b was found: Σ δ·b = Σ δ·y − Σ (Jᵀδ)·x of that node alone."""
    net, x = everything()
    ready = _forward.Forward.of(net, x[:1])
    nodes = {n.name: n for n in net.program.graph.nodes}
    found = list(_bias.terms(ready, Target("1", 1)))
    assert len(found) > 8
    for term in found:
        call = _bias._replay(nodes[term.node], ready)
        ys = _bias._live(ready.values[term.node])
        share = _bias._share(call, ready.gradients(Target("1", 1), ys), 1)
        np.testing.assert_allclose(term.share, share, rtol=1e-3, atol=1e-5)


def test_a_promise_that_fails_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, net = opened("grey")
    monkeypatch.setattr(_bias, "HOMOGENEOUS", _bias.HOMOGENEOUS | {"tanh"})
    found = FullGrad()(net, x, target(net, 0, x))
    assert found.notes[0] == "the promise fails: the terms do not sum to the score"
    assert found.proof[ERROR] > 1e-3  # type: ignore[operator]


@pytest.mark.parametrize("aggregate", ["paper", "signed"])
def test_units_and_dead_networks(aggregate: str) -> None:
    _, x, net = opened("residual")
    found = FullGrad(aggregate)(net, x, target(net, "block1.bn2/3@2,5", x))
    assert found.proof[ERROR] < 1e-4  # type: ignore[operator]
    dead = dataclasses.replace(net, tensors={k: torch.zeros_like(v) for k, v in net.tensors.items()}, _at={})
    nothing = FullGrad(aggregate)(dead, x, Target("1", 1))
    assert not nothing.values.any()
    assert nothing.proof[ERROR] == 0
