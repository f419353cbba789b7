"""Class dependence on a linear network, where maps of different classes are known.

Turns red: in `evaluations/class_dependence.py`, `min(signed[b], …)` -> `max(signed[b], …)`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.evaluations._case import Case
from convscope.evaluations.class_dependence import ClassDependence
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target
from tests.contracts.test_evaluations import case_of
from tests.evaluations.linear import EXACT, case, heat, six

MAPS = {0: EXACT, 1: 2 * EXACT + 1, 2: -EXACT, 3: np.zeros((2, 3))}


def ask(biases: list[float], others: int) -> dict[str, float]:
    """Class 0 is asked about; the map of class k is MAPS[k], its score biases[k]."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    model[1].weight.data.zero_()  # type: ignore[union-attr,operator]
    model[1].bias.data = torch.tensor(biases)  # type: ignore[union-attr]

    def method(net: Network, x: torch.Tensor, target: Target) -> Heatmap:
        return heat(MAPS[target.index or 0])

    found = ClassDependence(others)(case(Network.open(model, (1, 2, 3)), torch.ones(1, 1, 2, 3), EXACT, method=method))
    return {k: v[0] for k, v in found.columns.items()}


def test_the_smallest_correlation_with_the_next_classes() -> None:
    assert ask([4.0, 3.0, 2.0, 1.0], 1)["class_dependence"] == pytest.approx(1)
    assert ask([4.0, 3.0, 2.0, 1.0], 2)["class_dependence"] == pytest.approx(-1)
    assert ask([0.0, 3.0, 1.0, 2.0], 2)["class_dependence"] == 0  # a constant map correlates with nothing
    assert ask([4.0, 1.0, 3.0, 2.0], 1)["absolute"] == pytest.approx(1)


def test_it_is_refused_without_classes_or_a_method() -> None:
    _, net, x = six()
    with pytest.raises(UsageError, match="class dependence needs a class and a method to ask again; only its map was given"):
        ClassDependence()(case(net, x, EXACT))
    unit = case_of("plain")
    with pytest.raises(UsageError, match="conv1/2 is a unit; ask about a class"):
        ClassDependence()(dataclasses.replace(unit, target=Target("conv1/2", unit=unit.net.unit("conv1/2"))))
    alone = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(6, 1)), (1, 2, 3))
    with pytest.raises(UsageError, match="class dependence needs another class; the network has one output; leave it out"):
        ClassDependence()(Case(alone, x, Target("0", 0), heat(EXACT), lambda net, x, target: heat(EXACT)))
