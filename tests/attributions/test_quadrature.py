"""The nested rule against weights written out one by one: sums to one, completeness, nearness, what is cut.

Turns red: in `attributions/_quadrature.py`, `(a + b) / 2 + c` -> `a + b + c` (ends count whole), `-1.0 / lowest` -> `1.0`,
or `SPIKE = 0.3` -> `SPIKE = 3.0`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attributions._quadrature import FIRST, Nested

WAY = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64).reshape(1, 2, 2)
GENERATOR = torch.Generator().manual_seed(0)
BENDS = torch.rand(40, generator=GENERATOR, dtype=torch.float64)
JUMPS = torch.randn(40, 1, 2, 2, generator=GENERATOR, dtype=torch.float64)


def jumping(places: Tensor) -> Tensor:
    """A gradient that jumps at 40 places, as that of a network with ReLUs does."""
    return torch.stack([1 + JUMPS[place > BENDS].sum(0) / 6 for place in places])


def cubic(places: Tensor) -> Tensor:
    return (1 - places**2 + 4 * places**3)[:, None, None, None] * WAY.abs()[None]


def slopes(function: object, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) along the way."""
    return (function(torch.from_numpy(places)) * WAY).sum((1, 2, 3)).numpy()  # type: ignore[operator]


def jumped() -> float:
    """The difference in score: the exact integral of `jumping` along the way."""
    return float(WAY.sum() + ((1 - BENDS)[:, None, None, None] * JUMPS * WAY).sum() / 6)


def twin(function: object, parts: int, difference: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The trapezoid's map (1, 2, 2) with fitted weights, and the weights, by a general solver.

    The smallest Σ d²/w with Σ d = 0 and Σ d g = difference − Σ w g, from its normal equations (two multipliers).
    """
    places = np.linspace(0, 1, parts + 1)
    w = np.full(parts + 1, 1 / parts)
    w[[0, -1]] /= 2
    g = slopes(function, places)
    a = np.stack([np.ones_like(g), g])
    d = w * (a.T @ np.linalg.solve((a * w) @ a.T, np.array([0, difference - float(w @ g)])))
    gradients = function(torch.from_numpy(places)).numpy()  # type: ignore[operator]
    return WAY.numpy() * np.einsum("n,nchw->chw", w + d, gradients), w + d


@pytest.mark.parametrize("doublings", [0, 1, 3, 5])
def test_the_fitted_trapezoid_is_the_nearest_that_is_complete(doublings: int) -> None:
    rule = Nested(WAY, jumping, jumped(), batch=5)
    for _ in range(doublings):
        rule.double()
    parts = 2 * FIRST << doublings
    found = rule.estimate()
    assert rule.taken == parts + 1
    if found.rule == "trapezoid":
        wanted, weights = twin(jumping, parts, jumped())
        assert weights.min() > 0
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(found.values, wanted, rtol=0, atol=1e-12)
    assert found.error < 1e-12
    assert float(found.values.sum()) == pytest.approx(jumped(), rel=1e-12)
    unfitted = slopes(jumping, np.linspace(0, 1, parts + 1))
    if found.rule == "trapezoid":
        plain = np.trapezoid(unfitted, dx=1 / parts)
        sizes = np.trapezoid(np.abs(unfitted), dx=1 / parts)
        assert found.unfitted == pytest.approx(abs(plain - jumped()) / max(abs(jumped()), 0.01 * sizes))


def test_jumps_are_met_by_the_trapezoid_and_cubics_by_simpson() -> None:
    mean = 1 - 1 / 3 + 1  # ∫ 1 − α² + 4α³ dα
    jumps, smooth = (Nested(WAY, f, d) for f, d in ((jumping, jumped()), (cubic, mean * float((WAY.abs() * WAY).sum()))))
    for rule in (jumps, smooth):
        rule.double()
        rule.double()
    assert jumps.estimate().rule == "trapezoid"
    found = smooth.estimate()
    assert found.rule == "Simpson"
    np.testing.assert_allclose(found.values, mean * WAY * WAY.abs(), rtol=1e-13)
    assert max(found.error, found.unfitted, found.change) < 1e-13


def test_a_gradient_that_is_missing_at_the_start_does_no_harm() -> None:
    """A network of ReLUs without biases has no gradient on zeros, and the same one everywhere else on the way."""
    def ray(places: Tensor) -> Tensor:
        return (places > 0).double()[:, None, None, None] * WAY.abs()

    found = Nested(WAY, ray, float((WAY.abs() * WAY).sum())).estimate()
    assert max(found.change, found.unfitted) < 1e-12


def test_what_happens_next_to_the_start_is_found() -> None:
    """S = arsinh(α/10⁻⁶): a hundred-thousandth of the way holds nearly all; equal steps would need a million of them."""
    def near(places: Tensor) -> Tensor:
        return (1 / torch.sqrt(places**2 + 1e-12))[:, None, None, None] * WAY.abs()

    total = float(np.arcsinh(1e6)) * float((WAY.abs() * WAY).sum())
    rule = Nested(WAY, near, total)
    while rule.taken + rule.next < 400:
        rule.double()
    found = rule.estimate()
    assert len(rule.parts) > 4
    assert found.unfitted < 1e-3
    assert found.change < 1e-2
    np.testing.assert_allclose(found.values, WAY * WAY.abs() * np.arcsinh(1e6), rtol=1e-3)
    assert len(Nested(WAY, jumping, jumped()).parts) == 1


def test_no_gradient_is_taken_twice() -> None:
    asked: list[float] = []

    def told(places: Tensor) -> Tensor:
        asked.extend(places.tolist())
        return jumping(places)

    rule = Nested(WAY, told, 1.0)
    rule.double()
    rule.double()
    assert len(asked) == len(set(asked)) == rule.taken == 33
    np.testing.assert_allclose(sorted(asked), np.linspace(0, 1, 33), atol=1e-11)


def test_weights_never_get_negative_then_it_is_not_complete() -> None:
    """No weights of 0 … 1 on slopes below 10 make a difference of 1000."""
    found = Nested(WAY, jumping, 1000.0).estimate()
    assert found.error > 0.9
    assert float(found.values.sum()) <= slopes(jumping, np.linspace(0, 1, 9)).max()
    assert abs(float(found.values.sum()) - 1000) < found.unfitted * 1000, "nearer, as far as weights go"


def test_the_same_slope_everywhere_has_nothing_to_fit() -> None:
    def constant(places: Tensor) -> Tensor:
        return WAY.abs()[None].expand(len(places), 1, 2, 2)

    total = float((WAY.abs() * WAY).sum())
    exact = Nested(WAY, constant, total).estimate()
    np.testing.assert_allclose(exact.values, WAY.abs() * WAY, rtol=1e-14)
    assert exact.change < 1e-14
    other = Nested(WAY, constant, 2 * total).estimate()
    np.testing.assert_allclose(other.values, WAY.abs() * WAY, rtol=1e-14)
    assert other.error == pytest.approx(0.5)
    nothing = Nested(torch.zeros_like(WAY), constant, 0.0).estimate()
    assert (nothing.error, nothing.unfitted, nothing.change) == (0, 0, 0)
