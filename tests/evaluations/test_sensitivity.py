"""Max-sensitivity by hand, and against captum with the same draws.

Turns red: in `evaluations/sensitivity.py`, `np.maximum(worst, …)` -> the last one alone · without `/ norm`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max

from convscope.errors import UsageError
from convscope.evaluations.sensitivity import Sensitivity
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target
from tests.contracts.test_evaluations import case_of, slope
from tests.evaluations.linear import EXACT, case, heat, six


def image_itself(net: Network, x: torch.Tensor, target: Target) -> Heatmap:
    return heat(x[:, 0].double().numpy())


def test_of_a_map_that_is_the_image_it_is_the_noise() -> None:
    _, net, x = six()
    asked = case(net, x, x[0, 0].numpy(), method=image_itself)
    measure = Sensitivity(samples=5, radius=0.1)
    noise = measure.noise(asked, 0)
    assert np.abs(noise).max() <= 0.1 * 2.75  # the image's range is 0.25 … 3
    expected = np.sqrt((noise**2).sum((1, 2, 3))).max() / float(x.norm())
    np.testing.assert_allclose(measure(asked).columns["sensitivity"], [expected], rtol=1e-5)


def test_same_as_captum_with_the_same_draws() -> None:
    asked = case_of("plain")
    measure = Sensitivity(samples=4, radius=0.05)
    noise = [torch.from_numpy(measure.noise(asked, b)).float() for b in range(2)]
    used = 0

    def perturb(inputs: Any) -> torch.Tensor:  # captum repeats every image, for some of the draws at a time
        nonlocal used
        repeated = inputs[0] if isinstance(inputs, tuple) else inputs
        draws = len(repeated) // 2
        used += draws
        return repeated + torch.cat([noise[b][used - draws : used] for b in range(2)])

    def explain(inputs: Any, **more: Any) -> tuple[torch.Tensor]:
        x = inputs[0] if isinstance(inputs, tuple) else inputs
        return (torch.from_numpy(slope(asked.net, x, asked.target).values),)

    peer = sensitivity_max(explain, asked.x, perturb_func=perturb, n_perturb_samples=4, max_examples_per_batch=2)
    np.testing.assert_allclose(measure(asked).columns["sensitivity"], peer, rtol=1e-4)


def test_a_map_that_never_changes_is_not_sensitive() -> None:
    _, net, x = six()
    still = case(net, x, np.zeros((2, 3)), method=lambda net, x, target: heat(np.zeros((2, 3))))
    assert Sensitivity()(still).columns["sensitivity"].tolist() == [0.0]
    woken = dataclasses.replace(still, method=image_itself)
    assert np.isinf(Sensitivity()(woken).columns["sensitivity"][0])


def test_without_a_method_it_is_refused() -> None:
    _, net, x = six()
    with pytest.raises(UsageError, match="sensitivity needs the method, to ask it again; only its map was given; give Case"):
        Sensitivity()(case(net, x, EXACT))
