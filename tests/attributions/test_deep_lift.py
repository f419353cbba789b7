"""DeepLIFT against its promise (the parts add up to the difference), cases by hand, and captum where that is right.

Turns red: in `attributions/_secant.py`, `(u.x.detach() + u.base) / 2` -> `u.x.detach()`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift as Peer
from torch import Tensor, nn

from convscope.attributions import _secant as secant
from convscope.attributions.deep_lift import DeepLIFT
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.test_lrp import FAMILIES, UNIT_RANGE, Gates, family, within_range
from tests.contracts.leaves import opened
from tests.nets import NETS

PROOF = "Σ A − (S(x) − S(x')), relative"


@pytest.mark.parametrize("name", NETS)
def test_the_parts_add_up(name: str) -> None:
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    net = Network.open(model, x)
    _, single, other = opened(name)
    for baseline in ("zero", "mean", "blur"):
        assert DeepLIFT(baseline)(net, x, target(net, 1, x)).proof[PROOF] < 1e-10  # type: ignore[operator]
        assert DeepLIFT(baseline)(other, single, target(net, 1, x)).proof[PROOF] < 1e-4  # type: ignore[operator]


def test_the_proof_is_what_it_says() -> None:
    model, x, _ = opened("plain")
    net = Network.open(model, x, preprocess=UNIT_RANGE)
    found = DeepLIFT("black")(net, x, Target("1", 1))
    black = -torch.tensor(UNIT_RANGE.mean) / torch.tensor(UNIT_RANGE.std)
    before = model(black[:, None, None].expand_as(x))[:, 1].detach()
    np.testing.assert_allclose(found.values.sum((1, 2, 3)), model(x)[:, 1].detach() - before, rtol=1e-4)
    assert found.proof["S(x'), first image"] == pytest.approx(float(before[0]))
    assert found.notes[0].startswith("baseline: black pixels (-2.5, -1.6, -1 in")


def test_the_proof_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tangents instead of chords do not add up, and it is said."""
    monkeypatch.setattr(secant, "elementwise", lambda f, u, smooth=False: secant.Pair(f(u.x), f(u.base)))
    _, x, net = opened("plain")
    found = DeepLIFT()(net, x, Target("1", 1))
    assert found.proof[PROOF] > 1e-3  # type: ignore[operator]
    assert any(note.startswith("the parts do not add up: ") for note in found.notes)


class Product(nn.Module):
    """x₀·x₁ + max(x₂, x₃) + x₄/x₅."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        top = F.max_pool1d(x[:, None, 2:4], 2)[:, 0]
        return x[:, :1] * x[:, 1:2] + top + (x[:, 4:5] + 2) / (x[:, 5:6] + 3)


def test_by_hand() -> None:
    """From 0: x₀·x₁ is shared in halves; the larger of x₂, x₃ wins; (x₄ + 2)/(x₅ + 3) goes from 2/3 to 6/5.

    Of the last, x₄ gets ½(1/3 + 1/5)·4 and x₅ ½(2 + 6)·(1/5 − 1/3).
    """
    net = Network.open(Product().double(), torch.zeros(1, 1, 2, 3, dtype=torch.float64))
    x = torch.tensor([[[[2.0, 3.0, -1.0], [5.0, 4.0, 2.0]]]], dtype=torch.float64)
    found = DeepLIFT()(net, x, Target("0", 0))
    wanted = [3, 3, 0, 5, 0.5 * (1 / 3 + 1 / 5) * 4, 0.5 * 8 * (1 / 5 - 1 / 3)]
    np.testing.assert_allclose(found.values.ravel(), wanted, rtol=1e-12)
    # Where the maximum falls, the baseline's winner has the change; of equals the first: from 0 to −1, a third of x₂'s −3.
    down = torch.tensor([[[[0.0, 0.0, -3.0], [-1.0, 0.0, 0.0]]]], dtype=torch.float64)
    np.testing.assert_allclose(DeepLIFT()(net, down, Target("0", 0)).values.ravel(), [0, 0, -1, 0, 0, 0], atol=1e-15)


def test_on_the_baseline_itself_multipliers_are_the_gradient() -> None:
    u = secant.Pair(torch.tensor([0.5, -0.5], requires_grad=True), torch.tensor([0.5, -0.5]))
    slope = torch.autograd.grad(secant.elementwise(torch.tanh, u).x.sum(), u.x)[0]
    np.testing.assert_allclose(slope, 1 - np.tanh([0.5, -0.5]) ** 2, rtol=1e-6)


@pytest.mark.parametrize("build", [
    lambda u, v: secant.product(torch.matmul, u, v), lambda u, v: secant.quotient(u, secant.elementwise(torch.exp, v)),
    lambda u, v: secant.softmax(u, -1), lambda u, v: secant.log_softmax(v, 0), lambda u, v: secant.standardised(u, 1e-5),
    lambda u, v: secant.attention(u, v, u, None, None)],
    ids=["matmul", "quotient", "softmax", "log_softmax", "standardised", "attention"])
def test_differences_are_exact(build: object) -> None:
    g = torch.Generator().manual_seed(0)
    u, v = (secant.Pair(torch.randn(4, 4, generator=g, dtype=torch.float64).requires_grad_(),
                        torch.randn(4, 4, generator=g, dtype=torch.float64)) for _ in range(2))
    made = build(u, v)  # type: ignore[operator]
    weights = torch.randn(made.base.shape, generator=g, dtype=torch.float64)
    slopes = torch.autograd.grad((made.x * weights).sum(), (u.x, v.x), allow_unused=True)
    total = sum((s * p.change).sum() for s, p in zip(slopes, (u, v), strict=True) if s is not None)
    torch.testing.assert_close(total, (weights * (made.x.detach() - made.base)).sum(), rtol=1e-12, atol=1e-12)


def test_values_are_those_of_the_operation() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 8, generator=g, dtype=torch.float64)
    u = secant.Pair(x, torch.zeros_like(x))
    torch.testing.assert_close(secant.softmax(u, 1).x, torch.softmax(x, 1))
    torch.testing.assert_close(secant.log_softmax(u, -1).x, torch.log_softmax(x, -1))
    torch.testing.assert_close(secant.standardised(u, 1e-5).x, F.layer_norm(x, (8,)))
    torch.testing.assert_close(secant.attention(u, u, u, None, None).x, F.scaled_dot_product_attention(x, x, x))


def test_gates_normalisers_and_attention_add_up() -> None:
    torch.manual_seed(0)
    model, x = Gates().double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    found = DeepLIFT("mean")(Network.open(model, x), x, Target("1", 1))
    np.testing.assert_allclose(found.scores, model(x)[:, 1].detach(), rtol=1e-12)
    assert found.proof[PROOF] < 1e-9  # type: ignore[operator]


@pytest.mark.parametrize("name", ["grey", "dilated", "non_square", "no_bias"])
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")
def test_same_as_captum_on_plain_networks(name: str) -> None:
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    found = DeepLIFT()(Network.open(model, x), x, Target("1", 1)).values
    wanted = Peer(model).attribute(x.clone().requires_grad_(), torch.zeros_like(x), target=1).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")
@pytest.mark.parametrize(("name", "missing"), [("functional_relu", 0.01), ("plain", 0.01), ("ceil_pool", 0.3)])
def test_captum_misses_its_sum(name: str, missing: float) -> None:
    """With functional rectifiers, with ties in max pooling on the baseline, and with windows that overlap."""
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    net = Network.open(model, x)
    ours = DeepLIFT()(net, x, Target("1", 1))
    theirs = Peer(model).attribute(x.clone().requires_grad_(), torch.zeros_like(x), target=1).detach().numpy()
    change = (model(x) - model(torch.zeros_like(x)))[:, 1].detach().numpy()
    np.testing.assert_allclose(ours.values.sum((1, 2, 3)), change, rtol=1e-10)
    assert np.abs(theirs.sum((1, 2, 3)) - change).max() > missing * np.abs(change).max()


def test_what_does_not_apply_is_refused() -> None:
    class Sines(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.atan2(x, x + 1).flatten(1)

    with pytest.raises(UsageError, match=r"DeepLIFT does not apply to Sines; it has no rule for 'atan2' \(atan2\)"):
        DeepLIFT()(Network.open(Sines(), (1, 2, 2)), torch.ones(1, 1, 2, 2), Target("0", 0))
    with pytest.raises(UsageError, match=r"DeepLIFT\.baseline must be one of zero, black, grey, mean, blur"):
        DeepLIFT("noise")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_parts_add_up_on_torchvision(name: str) -> None:
    model = family(name)
    x = within_range(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    net = Network.open(model, x)
    assert DeepLIFT("mean")(net, x, target(net, None, x)).proof[PROOF] < 1e-4  # type: ignore[operator]
