"""Pixel flipping against a loop written from the papers, on a linear network by hand.

Turns red: in `evaluations/pixel_flipping.py`, `curves[:, :1] - curves` -> `curves - curves[:, :1]`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.errors import UsageError
from convscope.evaluations._case import Case
from convscope.evaluations.pixel_flipping import PixelFlipping
from convscope.run import Target
from tests.contracts.leaves import opened
from tests.evaluations.linear import EXACT, WEIGHTS, case, heat, linear, sigma, six


def test_of_an_even_image_nothing_changes() -> None:
    """Random pixels lie between the least and the greatest value: of an even image there is but one."""
    _, net = linear([1.0] * 6, 2, 3)
    found = PixelFlipping(region=1, share=1.0)(case(net, torch.ones(1, 1, 2, 3), EXACT))
    assert found.columns["pixel_flipping"].tolist() == [0.0]
    assert found.columns["curve"].shape == (1, 7)


def test_the_exact_map_beats_its_negative() -> None:
    """Every pixel is all for the class: 1 where its weight is positive, else 0. A random one loses |w|/2 on average."""
    weights = np.array(WEIGHTS)
    _, net = linear(WEIGHTS, 2, 3)
    x = torch.from_numpy((weights > 0).astype(np.float32)).reshape(1, 1, 2, 3)
    losses = [PixelFlipping(region=1, share=1.0, repeats=20)(case(net, x, sign * abs(weights).reshape(2, 3)))
              for sign in (1, -1)]
    assert losses[0].columns["pixel_flipping"][0] > losses[1].columns["pixel_flipping"][0] > 0


def test_same_as_the_loop_of_the_papers() -> None:
    model, x, net = opened("plain")
    maps = np.random.default_rng(1).standard_normal((2, 16, 16))
    made = Case(net, x, Target("2", 2), heat(maps), seed=5)
    measure = PixelFlipping(region=3, share=0.2, repeats=2)
    found = measure(made)
    for b in range(2):
        losses = []
        for n in range(2):
            low, high = (v.double().numpy() for v in (x[b].amin((1, 2), True), x[b].amax((1, 2), True)))
            noise = torch.from_numpy(low + (high - low) * made.draws(b, n).random((3, 16, 16))).float()
            squares = [(i, j) for i in range(0, 16, 3) for j in range(0, 16, 3)]
            squares.sort(key=lambda at: -maps[b][at[0] : at[0] + 3, at[1] : at[1] + 3].sum())
            image, scores = x[b].clone(), []
            for k in range(8):  # 0.2 of 36 regions is 7
                if k:
                    i, j = squares[k - 1]
                    image[:, i : i + 3, j : j + 3] = noise[:, i : i + 3, j : j + 3]
                with torch.no_grad():
                    scores.append(float(model(image[None])[0].softmax(0)[2]))
            losses.append(scores[0] - np.mean(scores))
        np.testing.assert_allclose(found.columns["pixel_flipping"][b], np.mean(losses), atol=1e-5)
    assert found.notes == ("pixel flipping: 7 of 36 regions of 3×3 px, random pixels, 2 draws",)


def test_the_first_point_is_the_image_itself() -> None:
    _, net, x = six()
    assert PixelFlipping(region=1)(case(net, x, EXACT)).columns["curve"][0, 0] == pytest.approx(sigma(1.125))


def test_a_region_larger_than_the_image_is_refused() -> None:
    _, net, x = six()
    with pytest.raises(UsageError, match="regions of 3 px do not fit into 2×3; they are larger than the image; use at"):
        PixelFlipping(region=3)(case(net, x, EXACT))
