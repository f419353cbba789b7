"""Integrated gradients: the quadrature, closed forms, completeness on every net, captum with the same steps.

Turns red: in `attributions/integrated_gradients.py`, `(places + 1) / 2` -> `places`; in its `_nested`, `and
estimate.change <= self.settled` left out.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as Peer
from torch import nn

from convscope.attributions.integrated_gradients import IntegratedGradients, gauss_legendre
from convscope.draw import promises
from convscope.errors import UsageError
from convscope.images import PRESETS
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.swapped import WITH_RELU, WITHOUT_RELU, architecture
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged

OFF, STEPS = "completeness error", "gradients taken"
MOVED = "change of the map by the last doubling"


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 50, 200, 1024])
def test_the_quadrature(steps: int) -> None:
    """Weights sum to one, places lie inside, and powers up to 2·steps − 1 are exact: ∫ αᵖ dα = 1/(p + 1)."""
    places, weights = gauss_legendre(steps)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert 0 < places.min() <= places.max() < 1
    for power in {0, 1, steps, 2 * steps - 1}:
        assert weights @ places**power == pytest.approx(1 / (power + 1), abs=1e-12)
    assert abs(weights @ places ** (2 * steps) - 1 / (2 * steps + 1)) > (1e-6 if steps < 8 else -1)


def test_a_quadrature_without_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="a quadrature needs at least one step; got 0"):
        gauss_legendre(0)
    with pytest.raises(UsageError, match=r"IntegratedGradients\.steps must be in"):
        IntegratedGradients(steps=0)
    with pytest.raises(UsageError, match=r"IntegratedGradients\.baseline must be one of zero, black, grey, mean, blur"):
        IntegratedGradients(baseline="white")


class Polynomial(nn.Module):
    """S₀ = Σ x³, S₁ = x₀₀·x₁₁, S₂ = 1, S₃ = x₀₀ − x₀₀ = 0 along any way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x[:, 0, 0, 0] * x[:, 0, 1, 1]
        return torch.stack([x.pow(3).sum((1, 2, 3)), product, torch.ones_like(product)], 1)


def test_of_polynomials_it_is_exact() -> None:
    """From x' = 0: x³ gives x³ a pixel, a product is halved between its factors; two steps are enough."""
    x = torch.tensor([[[[2.0, -1.0], [0.5, 3.0]]]], dtype=torch.float64)
    net = Network.open(Polynomial(), x)
    for steps in (2, 5, None):
        cubes, product, one = (IntegratedGradients(steps=steps)(net, x, Target(str(k), k)) for k in range(3))
        np.testing.assert_allclose(cubes.values, x**3, rtol=1e-13)
        np.testing.assert_allclose(product.values, [[[[3, 0], [0, 3]]]], rtol=1e-13)
        assert cubes.proof[OFF] < 1e-13  # type: ignore[operator]
        assert not one.values.any()
        assert one.proof[OFF] == 0
    assert IntegratedGradients()(net, x, Target("0", 0)).proof[STEPS] == "17"


@pytest.mark.parametrize("name", NETS)
def test_same_as_captum_with_the_same_steps(name: str) -> None:
    model, x = NETS[name]()
    model, x = model.double(), x.double()
    net = Network.open(model, x)
    for kind, start in (("zero", torch.zeros_like(x)), ("mean", x.mean((2, 3), keepdim=True).expand_as(x))):
        peer = Peer(model).attribute(x, start.contiguous(), target=3, n_steps=20, method="gausslegendre").detach().numpy()
        found = IntegratedGradients(steps=20, baseline=kind)(net, x, target(net, 3, x))
        # 1e-6: captum keeps its places and weights in float32 even then.
        np.testing.assert_allclose(found.values, peer, rtol=0, atol=1e-6 * np.abs(peer).max())


@pytest.mark.parametrize("name", NETS)
def test_complete_to_one_percent_with_steps_chosen_by_itself(name: str) -> None:
    model, x, net = opened(name)
    found = IntegratedGradients()(net, x, target(net, 1, x))
    assert found.proof[OFF] <= 0.01  # type: ignore[operator]
    with torch.no_grad():
        gains = (model(x) - model(torch.zeros_like(x)))[:, 1].numpy()
    assert found.values.sum((1, 2, 3)) == pytest.approx(gains, abs=float(0.0101 * np.abs(gains).max() + 1e-3))
    assert found.notes[0] == "from zeros in the network's units"


def test_a_promise_that_fails_is_said() -> None:
    _, x, net = opened("residual")
    asked = target(net, 1, x)
    fixed = IntegratedGradients(steps=1)(net, x, asked)
    assert fixed.proof[STEPS] == "1"
    assert fixed.proof[OFF] > 0.01  # type: ignore[operator]
    assert fixed.notes[0].startswith("the promise fails: after 1 gradients the sum is still ")
    assert fixed.notes[0].endswith("% off the difference in score; take more steps")
    short = IntegratedGradients(most=24, settled=1e-9)(net, x, asked)
    assert short.proof[STEPS] == "17"
    assert short.notes[0].startswith("not settled: the last doubling, to 17 gradients, still moved the map by ")
    assert short.notes[0].endswith("%; raise `most`")


def test_a_map_that_has_not_settled_is_uncertain() -> None:
    _, x, net = opened("plain")
    found = IntegratedGradients(most=8)(net, x, target(net, 1, x))
    assert found.proof[MOVED] > 0.1  # type: ignore[operator]
    assert promises.verdict(found).state == "uncertain"
    long = IntegratedGradients(settled=0.02)(net, x, target(net, 1, x))
    assert long.proof[MOVED] <= 0.02  # type: ignore[operator]
    assert promises.verdict(long).state == "kept"


def test_the_change_bounds_the_error() -> None:
    """What the last doubling moved is more than what is still wrong, for ReLUs: that falls with every doubling."""
    _, x, net = opened("residual")
    asked = target(net, 1, x)
    right = IntegratedGradients(steps=2000)(net, x, asked).values
    for most in (16, 64, 256):
        found = IntegratedGradients(most=most, settled=0)(net, x, asked)
        off = np.sqrt(((found.values - right) ** 2).sum((1, 2, 3)) / (right**2).sum((1, 2, 3)))
        assert off.max() < 1.2 * float(found.proof[MOVED])
        assert found.proof[OFF] < 1e-5  # type: ignore[operator]


def test_each_image_takes_the_steps_it_needs() -> None:
    """A straight way needs 17; the same in a batch as alone."""
    _, x, net = opened("residual")
    asked, several = target(net, 1, x), torch.cat([x[:1], torch.zeros_like(x[:1])])
    method = IntegratedGradients(settled=1e-2)
    together = method(net, several, asked)
    assert str(together.proof[STEPS]).startswith("17 … ")
    assert not together.values[1].any()
    alone = method(net, several[:1], asked)
    np.testing.assert_allclose(alone.values[0], together.values[0], rtol=0, atol=1e-5 * np.abs(alone.values).max())


def test_targets_of_any_kind_and_baselines_in_pixels() -> None:
    model, x, net = opened("residual")
    unit = IntegratedGradients()(net, x, target(net, "block1.conv2/3@4,4", x))
    assert unit.proof[OFF] <= 0.01  # type: ignore[operator]
    known = Network.open(model, x, preprocess=PRESETS["imagenet"])
    for name, said in (("black", "from black pixels (-2.12"), ("grey", "from grey pixels"), ("blur", "from the image bl")):
        found = IntegratedGradients(baseline=name)(known, x[:1], Target("1", 1))
        assert any(note.startswith(said) for note in found.notes)
        assert found.proof[OFF] <= 0.01  # type: ignore[operator]
    with pytest.raises(UsageError, match="baseline='black' needs to know the pixel range"):
        IntegratedGradients(baseline="black")(net, x, Target("1", 1))


def test_progress_may_stop_it() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    IntegratedGradients(steps=20)(net, x[:1], Target("0", 0), lambda *a: told.append(a))
    assert told == [(16, 20, "gradients"), (20, 20, "gradients")]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        IntegratedGradients()(net, x, Target("0", 0), stop)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WITH_RELU, *WITHOUT_RELU])
def test_torchvision_complete_and_settled(name: str) -> None:
    """Untrained deep networks with batch norm change their gradient at every step of the way: some need a thousand."""
    model, x, _ = architecture(name)
    model, x = copy.deepcopy(model).float(), x.float()
    net = Network.open(model, x, name)
    found = IntegratedGradients()(net, x, target(net, None, x))
    assert found.proof[OFF] <= 1e-4  # type: ignore[operator]
    assert found.proof[MOVED] <= 0.1  # type: ignore[operator]
    assert promises.verdict(found).state == "kept"
