"""Insertion on a linear network, where every order can be tried, and against a loop written from the paper.

Turns red: in `evaluations/insertion.py`, `pixels - counts` -> `counts`.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from convscope.evaluations import _fill
from convscope.evaluations._case import Case
from convscope.evaluations.insertion import Insertion
from convscope.run import Target
from tests.contracts.leaves import opened
from tests.evaluations.linear import EXACT, case, heat, sigma, six
from tests.evaluations.test_case import twin_curve


def test_the_exact_map_gets_the_best_score_and_its_negative_the_worst() -> None:
    _, net, x = six()
    measure = Insertion(steps=6, fill="zero")
    every = []
    for order in itertools.permutations(range(6)):
        values = np.empty(6)
        values[list(order)] = np.arange(6, 0, -1)
        every.append(measure(case(net, x, values.reshape(2, 3))).columns["insertion"][0])
    best, worst = (measure(case(net, x, sign * EXACT)).columns["insertion"][0] for sign in (1, -1))
    assert worst == min(every) < max(every) == best


def test_the_curve_by_hand() -> None:
    _, net, x = six()
    found = Insertion(steps=6, fill="zero")(case(net, x, EXACT)).columns["curve"][0]
    np.testing.assert_allclose(found, [sigma(s) for s in (0, 1.5, 2.25, 2.75, 3.125, 2.125, 1.125)], rtol=1e-6)


def test_same_as_the_loop_of_the_paper_from_a_blurred_image() -> None:
    model, x, net = opened("plain")
    maps = np.random.default_rng(0).standard_normal((2, 16, 16))
    found = Insertion(steps=8, sigma=3.0)(Case(net, x, Target("2", 2), heat(maps)))
    start = _fill.blurred(x, 3.0)
    for b in range(2):
        np.testing.assert_allclose(found.columns["curve"][b], twin_curve(model, start[b], x[b], maps[b], 8, 2), atol=1e-5)
    assert found.notes[0].endswith("at first the image blurred by a Gaussian of σ = 3 px, cut at 6 px")


def test_it_ends_with_the_whole_image() -> None:
    model, x, net = opened("grey")
    found = Insertion()(Case(net, x, Target("2", 2), heat(np.zeros((2, *x.shape[2:])))))
    with torch.no_grad():
        np.testing.assert_allclose(found.columns["curve"][:, -1], model(x).softmax(1)[:, 2], atol=1e-6)
