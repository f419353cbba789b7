"""Average drop on a linear network by hand.

Turns red: in `evaluations/average_drop.py`, `np.maximum(0, before - after)` -> `before - after`.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import UsageError
from convscope.evaluations._case import Case
from convscope.evaluations.average_drop import AverageDrop
from convscope.run import Target
from tests.contracts.leaves import opened
from tests.evaluations.linear import EXACT, PIXELS, WEIGHTS, case, heat, sigma, six


def test_by_hand() -> None:
    _, net, x = six()
    for values in (EXACT, -EXACT, np.ones((2, 3))):
        found = AverageDrop(fill="zero")(case(net, x, values))
        mask = np.maximum(values, 0) / np.maximum(values, 0).max()
        before, after = sigma(1.125), sigma(float((mask.reshape(-1) * WEIGHTS * np.array(PIXELS)).sum()))
        np.testing.assert_allclose(found.columns["average_drop"], [max(0.0, (before - after) / before)], atol=1e-6)
        assert found.columns["increase"].tolist() == [float(after > before + 1e-9)]


def test_faded_to_the_mean_colour() -> None:
    _, net, x = six()
    found = AverageDrop()(case(net, x, np.zeros((2, 3))))  # nothing is left: the mean colour everywhere
    after = sigma(float(np.mean(PIXELS) * np.sum(WEIGHTS)))
    np.testing.assert_allclose(found.columns["average_drop"], [max(0.0, 1 - after / sigma(1.125))], atol=1e-6)
    assert found.notes == ("average drop: the image is faded to each image's own mean colour",)


def test_a_unit_is_refused() -> None:
    _, x, net = opened("plain")
    with pytest.raises(UsageError, match="average drop needs a class; conv1/2 is a unit; ask about a class"):
        AverageDrop()(Case(net, x, Target("conv1/2", unit=net.unit("conv1/2")), heat(np.zeros((2, 16, 16)))))
