"""Layers that die, saturate, stand still or jump, in records with known numbers and in a loop.

Mutation that turns this red: in layers_seen.py, `first / last < self.depth` → `last / first < self.depth`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.checks.layers_seen import LayersSeen
from convscope.results import Run
from tests.checks import watched

LAYERS = ("a", "a>relu", "b", "b>relu", "c", "d")


def _run(loop: Any = None, **health: list[list[float]]) -> Run:
    """Six layers at three moments; NaN where nothing is given."""
    columns = {"step": np.array([0, 50, 100]), **{k: np.array(v) for k, v in health.items()}}
    return Run(steps={"loss": np.ones(5)}, epochs={}, layers=LAYERS, health=columns, loop=loop or {})


NAN = [float("nan")] * 3


def test_the_first_layer_that_dies_is_named_with_its_step() -> None:
    (one,) = watched.said(LayersSeen(), _run(dead=[NAN, [0.1, 0.95, 1.0], NAN, [0.2, 0.3, 0.97], NAN, NAN]))
    assert (one.fault, one.strength, one.where) == ("A2", 0.8, "a>relu")
    assert (one.evidence["from step"], one.evidence["dead share"], one.evidence["layers affected"]) == (50.0, 1.0, 1.0)


def test_a_layer_that_came_back_is_not_dead() -> None:
    assert watched.said(LayersSeen(), _run(dead=[NAN, [1.0, 1.0, 0.1], NAN, [0.0, 0.0, 0.0], NAN, NAN])) == []


def test_one_dead_layer_of_three_is_a_hint() -> None:
    (one,) = watched.said(LayersSeen(), _run(dead=[NAN, [1.0] * 3, [0.0] * 3, [0.0] * 3, NAN, NAN]))
    assert (one.fault, one.strength) == ("A2", 0.3)


def test_saturated_layers() -> None:
    (one,) = watched.said(LayersSeen(), _run(saturated=[NAN, [0.95] * 3, NAN, [0.99] * 3, NAN, NAN]))
    assert (one.fault, one.strength, one.where) == ("A3", 0.6, "a>relu")


def test_gradients_that_vanish_with_depth() -> None:
    steep = [[s] * 3 for s in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-1)]
    (one,) = watched.said(LayersSeen(), _run(gradient_std=steep))
    assert (one.fault, one.where) == ("A4", "a")
    assert one.evidence["first over last"] == pytest.approx(1e-6)
    assert watched.said(LayersSeen(), _run(gradient_std=[[1e-3] * 3] * 6)) == []


def test_updates_as_large_as_the_weights() -> None:
    (one,) = watched.said(LayersSeen(), _run(update_ratio=[[0.1, 0.9, 1.2]] * 6))
    assert (one.fault, one.strength) == ("P1", 0.8)
    assert one.evidence["update over weight, median"] == pytest.approx(1.05)
    assert watched.said(LayersSeen(), _run(update_ratio=[[5.0, 0.01, 0.01]] * 6)) == []  # the first step of Adam is large


def test_the_first_value_that_is_no_number() -> None:
    found = watched.said(LayersSeen(), _run({"first_nonfinite": {"what": "activation", "layer": "b", "step": 7}}))
    assert [(s.fault, s.where, s.evidence["step"]) for s in found] == [("A5", "b", 7.0)]


def test_a_loop_whose_units_die_of_one_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=50.0)
    x = torch.rand(32, 4)
    with cs.watch(net, optimizer, full=True) as run:
        for _ in range(6):
            optimizer.zero_grad()
            (net(x) + 100).square().mean().backward()  # the gradient pushes every hidden unit down
            optimizer.step()
    found = [s for s in watched.said(LayersSeen(), run.result()) if s.fault == "A2"]
    assert [s.where for s in found] == ["0>relu"]


def test_healthy_loops_are_left_alone() -> None:
    watched.assert_healthy_is_left_alone(LayersSeen())
