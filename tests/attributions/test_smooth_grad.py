"""SmoothGrad: an average of gradients at known points, exact on polynomials, and an honest standard error.

Turns red: in `attributions/smooth_grad.py`, `variance / self.n` -> `variance`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attributions.gradient import Gradient
from convscope.attributions.smooth_grad import SmoothGrad
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened, same
from tests.traces import unchanged

ERROR = "standard error, share of the map"


class Cubes(nn.Module):
    """S₀ = Σ x³: E[3(x + σε)²] = 3x² + 3σ²."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.pow(3).sum((1, 2, 3))[:, None]


def test_same_as_a_loop_over_the_noisy_images() -> None:
    model, x, net = opened("functional_relu")
    found = SmoothGrad(n=7, noise=0.2, seed=5, batch=3)(net, x, target(net, 1, x))
    for b in range(2):
        generator = torch.Generator().manual_seed(5)
        sigma, slopes = 0.2 * (x[b].max() - x[b].min()), []
        for _ in range(7):
            noise = torch.randn(x[b].shape, generator=generator, dtype=torch.float64).float()
            own = (x[b] + sigma * noise)[None].requires_grad_()
            slopes.append(torch.autograd.grad(model(own)[0, 1], own)[0][0].double().numpy())
        wanted = np.mean(slopes, 0)
        np.testing.assert_allclose(found.values[b], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
        if b == 0:
            first = float(np.linalg.norm(np.std(slopes, 0, ddof=1)) / 7**0.5 / np.linalg.norm(wanted))
        else:
            second = float(np.linalg.norm(np.std(slopes, 0, ddof=1)) / 7**0.5 / np.linalg.norm(wanted))
    assert found.proof[ERROR] == pytest.approx(max(first, second), rel=1e-4)


def test_of_cubes_it_is_the_expectation_within_its_standard_error() -> None:
    net = Network.open(Cubes(), torch.zeros(1, 1, 20, 20, dtype=torch.float64))
    x = torch.linspace(-1, 1, 400, dtype=torch.float64).reshape(1, 1, 20, 20)
    found = SmoothGrad(n=400, noise=0.1)(net, x, Target("0", 0))
    wanted = 3 * x.numpy() ** 2 + 3 * (0.1 * 2) ** 2
    off = float(np.linalg.norm(found.values - wanted) / np.linalg.norm(found.values))
    assert 0.7 < off / found.proof[ERROR] < 1.4  # type: ignore[operator]  # 400 pixels' errors, all independent
    fewer = SmoothGrad(n=100, noise=0.1)(net, x, Target("0", 0))
    assert fewer.proof[ERROR] / found.proof[ERROR] == pytest.approx(2, rel=0.1)  # type: ignore[operator]


def test_without_noise_it_is_the_gradient() -> None:
    _, x, net = opened("residual")
    found, plain = (m(net, x, target(net, 1, x)) for m in (SmoothGrad(n=3, noise=0.0), Gradient()))
    np.testing.assert_allclose(found.values, plain.values, rtol=0, atol=1e-6 * np.abs(plain.values).max())
    assert found.proof[ERROR] == pytest.approx(0, abs=1e-6)


def test_the_seed_decides_and_nothing_else() -> None:
    model, x, net = opened("plain")
    asked = target(net, 0, x)
    one = SmoothGrad(n=5, seed=1)(net, x, asked)
    torch.manual_seed(99)
    with unchanged(model, x):
        assert same(SmoothGrad(n=5, seed=1)(net, x, asked), one)
    assert np.abs(SmoothGrad(n=5, seed=2)(net, x, asked).values - one.values).max() > 0
    other = SmoothGrad(n=5, seed=1, batch=2)(net, x, asked)
    np.testing.assert_allclose(other.values, one.values, rtol=0, atol=1e-5 * np.abs(one.values).max())


def test_a_flat_image_and_a_few_samples_are_said() -> None:
    _, _, net = opened("plain")
    flat = SmoothGrad(n=2)(net, torch.full((1, 3, 16, 16), 0.5), Target("0", 0))
    assert flat.notes[0] == "image 0 has one value only: its range is zero, and no noise was added"
    _, x, _ = opened("plain")
    rough = SmoothGrad(n=2, noise=5.0)(net, x, Target("0", 0))
    assert rough.proof[ERROR] > 0.5  # type: ignore[operator]
    assert rough.notes[0].startswith("the mean of 2 is still uncertain by ")


def test_progress_and_errors() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    SmoothGrad(n=5, batch=3)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert told == [(3, 10, "gradients"), (5, 10, "gradients"), (8, 10, "gradients"), (10, 10, "gradients")]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        SmoothGrad()(net, x, Target("0", 0), stop)
    with pytest.raises(UsageError, match=r"SmoothGrad\.n must be in \[2, ∞\]"):
        SmoothGrad(n=1)
