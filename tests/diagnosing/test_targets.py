"""What labels say, in every coding.

Mutation that turns this red: in targets.py, `if bool((sums == 1).all())` → `if bool((sums != 1).all())`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.diagnosing.targets import look

CLASSES = torch.tensor([0, 1, 2, 2, 1, 0, 2, 2])


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        (CLASSES, "indices", 3),
        (CLASSES.float(), "indices", 3),
        (CLASSES.int()[:, None], "indices", 3),
        (F.one_hot(CLASSES).float(), "one-hot", 3),
        (F.one_hot(CLASSES), "one-hot", 3),
        (torch.tensor([[1.0, 1, 0], [0, 0, 0]]), "multi-hot", 3),
        (torch.tensor([0.0, 1, 1, 0]), "binary", 2),
        (torch.tensor([True, False]), "binary", 2),
        (torch.tensor([[0], [1]]), "binary", 2),
        (torch.tensor([[0.2, 0.8], [0.5, 0.5]]), "shares", 2),
        (torch.tensor([0.1, 2.7, -3.0]), "values", 0),
        (torch.tensor([-1, 5, 9]), "values", 0),
        (torch.tensor([0.0, 7.0, 30.0, 12.0]), "values", 0),
        (torch.arange(500) % 300, "values", 0),
        (torch.randint(0, 3, (4, 5, 5)), "indices", 3),
        (torch.full((3,), torch.nan), "values", 0),
    ],
)
def test_each_coding_is_known(y: Tensor, kind: str, classes: int) -> None:
    found = look(y)
    assert (found.kind, found.classes) == (kind, classes)
    assert found.shape == (() if kind == "values" and not found.finite else tuple(y.shape[1:]))


def test_none_at_all() -> None:
    assert look(None).kind == "none"


def test_counts_and_spread() -> None:
    found = look(CLASSES)
    assert found.counts is not None
    np.testing.assert_array_equal(found.counts, [2, 2, 4])
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    spread = look(values)
    assert (spread.low, spread.high, spread.mean, spread.distinct) == (1.0, 6.0, 3.0, 4)
    assert spread.std == pytest.approx(float(values.numpy().std()))
    assert spread.numbers == 2


def test_exclusive_means_one_class_an_example() -> None:
    assert look(CLASSES).exclusive
    assert look(F.one_hot(CLASSES)).exclusive
    assert look(torch.tensor([0.0, 1.0])).exclusive
    assert not look(torch.tensor([[1.0, 1, 0], [0, 0, 0]])).exclusive
    assert not look(torch.tensor([0.5, 1.7])).exclusive


def test_a_missing_value_is_told() -> None:
    found = look(torch.tensor([0.5, torch.nan, 2.5]))
    assert not found.finite
    assert (found.kind, found.mean) == ("values", 1.5)
