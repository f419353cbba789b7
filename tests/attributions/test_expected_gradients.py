"""Expected gradients: exact on linear networks, a loop over the same draws, and completeness with an honest standard error.

Turns red: in `attributions/expected_gradients.py`, `(image - away).double() * slopes` -> `image.double() * slopes`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attributions.expected_gradients import ExpectedGradients, completeness
from convscope.attributions.integrated_gradients import IntegratedGradients
from convscope.errors import ShapeError, UsageError
from convscope.images import PRESETS
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened, same
from tests.nets import NETS
from tests.traces import unchanged

OFF, ERROR = "completeness difference", "its standard error"


def linear() -> tuple[torch.Tensor, torch.Tensor, Network]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 1)).double()
    x = torch.linspace(-1, 2, 8, dtype=torch.float64).reshape(1, 2, 2, 2)
    return model[1].weight.detach().reshape(2, 2, 2), x, Network.open(model, x)


def test_of_a_linear_network_it_is_the_weight_times_the_distance_to_the_mean_draw() -> None:
    weights, x, net = linear()
    given = torch.stack([torch.zeros_like(x[0]), torch.full_like(x[0], 2.0)])
    found = ExpectedGradients(n=64)(net, x, Target("0", 0), baselines=given)
    share = 1 - (found.values[0] / weights.numpy() - x[0].numpy() + 2) / 2  # of draws that were the second image
    np.testing.assert_allclose(share, share.flat[0], atol=1e-12)
    assert 0.3 < 1 - share.flat[0] < 0.7
    assert abs(found.proof[OFF]) < 1e-12  # type: ignore[arg-type]
    assert found.proof[ERROR] < 1e-12  # type: ignore[operator]


def test_same_as_a_loop_over_the_draws() -> None:
    model, x, net = opened("in_place")
    given = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = ExpectedGradients(n=9, seed=4, batch=4)(net, x, target(net, 1, x), baselines=given)
    for b in range(2):
        generator, terms = torch.Generator().manual_seed(4), []
        for _ in range(9):
            away = given[int(torch.randint(5, (), generator=generator))]
            alpha = float(torch.rand((), generator=generator, dtype=torch.float64))
            own = (away + alpha * (x[b] - away))[None].requires_grad_()
            terms.append(((x[b] - away) * torch.autograd.grad(model(own + 0)[0, 1], own)[0][0]).double().numpy())
        wanted = np.mean(terms, 0)
        np.testing.assert_allclose(found.values[b], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_with_one_baseline_it_goes_to_integrated_gradients() -> None:
    _, x, net = opened("plain")
    asked, x = target(net, 1, x), x[:1]
    exact = IntegratedGradients(settled=2e-3)(net, x, asked).values
    few, many = (ExpectedGradients(n=n)(net, x, asked, baselines=torch.zeros_like(x)).values for n in (32, 2048))
    far, near = (np.linalg.norm(v - exact) / np.linalg.norm(exact) for v in (few, many))
    assert near < 0.05
    assert near < far / 3  # √64 = 8 times nearer, but for luck


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("draw", ["gaussian", "uniform"])
def test_completeness_holds_within_its_standard_error(name: str, draw: str) -> None:
    _, x, net = opened(name)
    found = ExpectedGradients(n=64, draw=draw)(net, x, target(net, 1, x))
    assert abs(found.proof[OFF]) <= 4 * found.proof[ERROR] + 1e-4  # type: ignore[arg-type,operator]
    assert not any("the promise fails" in note for note in found.notes)
    assert found.notes[0].startswith("baselines: ")


def test_a_promise_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.attributions import _map

    right = _map.gradient
    monkeypatch.setattr(_map, "gradient", lambda *a: (1.5 * right(*a)[0], right(*a)[1]))
    weights, x, net = linear()
    found = ExpectedGradients(n=32)(net, x, Target("0", 0), baselines=torch.zeros_like(x))
    assert found.proof[OFF] == pytest.approx(0.5 * np.sign(float((weights * x).sum())))
    assert not any("fails" in n for n in ExpectedGradients(n=2)(net, x, Target("0", 0), baselines=0 * x).notes)  # too few
    assert found.notes[0].startswith("the promise fails: the sum is ")


def test_the_standard_error_is_that_of_a_mean() -> None:
    off, error = completeness(np.array([1.0, 3.0, 2.0]), np.array([0.0, 4.0, 1.0]))
    assert off == pytest.approx(1 / 3 / 4)
    assert error == pytest.approx(np.std([1, -1, 1], ddof=1) / 3**0.5 / 4)
    assert completeness(np.zeros(2), np.zeros(2)) == (0, 0)


def test_noise_stays_within_the_range_of_pixels() -> None:
    model, x, _ = opened("plain")
    net = Network.open(model, x, preprocess=PRESETS["imagenet"])
    low, high = ((v - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225]) for v in (0, 1))
    for draw in ("gaussian", "uniform"):
        method = ExpectedGradients(draw=draw, noise=2.0)
        made, said = method.source(net, x, None)
        away = made(x[0], torch.Generator().manual_seed(0))
        torch.testing.assert_close(away.amax((1, 2)), high, rtol=0.02, atol=0.1)
        torch.testing.assert_close(away.amin((1, 2)), low, rtol=0.02, atol=0.1)
        assert (away <= high[:, None, None] + 1e-5).all()
        assert "the pixel range" in said
    _, said = ExpectedGradients().source(opened("plain")[2], x, None)
    assert "the image's own range" in said


def test_baselines_from_a_collection() -> None:
    found = ExpectedGradients(n=8, images="digits")(Network.open(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)), (1, 8, 8)),
        torch.zeros(1, 1, 8, 8), Target("0", 0))
    assert "baselines: images of digits (1797, drawn with replacement)" in found.notes


def test_given_images_must_fit_and_are_named() -> None:
    model, x, net = opened("plain")
    found = ExpectedGradients(n=2)(net, x, Target("0", 0), baselines=torch.zeros(3, 3, 16, 16))
    assert "baselines: 3 given images (" in found.notes[0]
    with unchanged(model, x), pytest.raises(ShapeError, match="baselines must be as large as the images, 3×16×16; got"):
        ExpectedGradients()(net, x, Target("0", 0), baselines=torch.zeros(3, 3, 18, 16))
    with pytest.raises(UsageError, match=r"ExpectedGradients\.draw must be one of gaussian, uniform"):
        ExpectedGradients(draw="none")


def test_the_seed_decides_and_progress_is_told() -> None:
    model, x, net = opened("plain")
    asked, told = target(net, 0, x), list[tuple[int, int, str]]()
    one = ExpectedGradients(n=5, seed=1, batch=3)(net, x, asked, lambda *a: told.append(a))
    assert told == [(3, 10, "gradients"), (5, 10, "gradients"), (8, 10, "gradients"), (10, 10, "gradients")]
    with unchanged(model, x):
        assert same(ExpectedGradients(n=5, seed=1, batch=3)(net, x, asked), one)
    assert np.abs(ExpectedGradients(n=5, seed=2)(net, x, asked).values - one.values).max() > 0
