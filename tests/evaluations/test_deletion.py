"""Deletion on a linear network, where every order can be tried, and against a loop written from the paper.

Turns red: in `evaluations/deletion.py`, `area(c, …)` -> `c.mean()` · in `evaluations/_case.rank`, `-flat` -> `flat`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from convscope import images
from convscope.errors import UsageError
from convscope.evaluations._case import Case, rank
from convscope.evaluations.deletion import Deletion
from convscope.network import Network
from convscope.run import Target
from tests.contracts.leaves import opened
from tests.evaluations.linear import EXACT, case, heat, sigma, six
from tests.evaluations.test_case import twin_curve


def test_the_exact_map_gets_the_best_score_and_its_negative_the_worst() -> None:
    _, net, x = six()
    measure = Deletion(steps=6, fill="zero")
    every = {}
    for order in itertools.permutations(range(6)):
        values = np.empty(6)
        values[list(order)] = np.arange(6, 0, -1)
        every[order] = measure(case(net, x, values.reshape(2, 3))).columns["deletion"][0]
    best, worst = (measure(case(net, x, sign * EXACT)).columns["deletion"][0] for sign in (1, -1))
    assert best == min(every.values()) < max(every.values()) == worst


def test_the_curve_by_hand() -> None:
    """Most evidence first: 1.5, 0.75, 0.5, 0.375, −1, −1; the score is 1.125 at first and 0 in the end."""
    _, net, x = six()
    found = Deletion(steps=6, fill="zero")(case(net, x, EXACT))
    expected = [sigma(s) for s in (1.125, -0.375, -1.125, -1.625, -2.0, -1.0, 0.0)]
    np.testing.assert_allclose(found.columns["curve"][0], expected, rtol=1e-6)
    by_hand = (sum(expected) - (expected[0] + expected[-1]) / 2) / 6
    np.testing.assert_allclose(found.columns["deletion"], [by_hand], rtol=1e-6)


@pytest.mark.parametrize("how", ["mean", "zero", "black"])
def test_same_as_the_loop_of_the_paper(how: str) -> None:
    model, x, net = opened("plain")
    net = Network.open(model, x, preprocess=images.PRESETS["imagenet"])
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, 16, 16))
    found = Deletion(steps=10, fill=how)(Case(net, x, Target("2", 2), heat(maps)))
    for b in range(2):
        fills: dict[str, Any] = {
            "mean": x[b].mean((1, 2)), "zero": torch.zeros(3),
            "black": torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])}
        steps = twin_curve(model, x[b], fills[how][:, None, None].expand(3, 16, 16), maps[b], 10, 2)
        np.testing.assert_allclose(found.columns["curve"][b], steps, atol=1e-5)
        shares = np.rint(np.linspace(0, 256, 11)) / 256
        np.testing.assert_allclose(found.columns["deletion"][b], np.trapezoid(steps, shares), atol=1e-5)


def test_ties_are_drawn_and_the_same_for_every_map() -> None:
    flat = rank(np.zeros((8, 8)), 0)
    assert sorted(flat.reshape(-1)) == list(range(64))
    assert not np.array_equal(flat.reshape(-1), np.arange(64))
    assert np.array_equal(flat, rank(np.ones((8, 8)), 0))
    assert not np.array_equal(flat, rank(np.zeros((8, 8)), 1))


def test_a_unit_is_measured_by_its_value_and_the_fill_is_said() -> None:
    _, x, net = opened("plain")
    found = Deletion(steps=2)(Case(net, x, Target("u", unit=net.unit("conv1/2@3,4")), heat(np.zeros((2, 16, 16)))))
    values = net.run(x, keep=["conv1"])["conv1"][:, 2, 3, 4]
    np.testing.assert_allclose(found.columns["curve"][:, 0], values, atol=1e-5)
    assert "value of the unit" in found.units["deletion"]
    assert found.notes == ("deletion: 2 steps, removed pixels become each image's own mean colour",)


def test_black_needs_a_pixel_range() -> None:
    _, x, net = opened("plain")
    with pytest.raises(UsageError, match="fill='black' needs to know the pixel range; plain was opened without"):
        Deletion(fill="black")(Case(net, x, Target("2", 2), heat(np.zeros((2, 16, 16)))))
