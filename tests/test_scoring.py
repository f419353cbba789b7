"""Accuracy and loss of a classifier, against NumPy; the network stays as it was.

Mutations that turn this red (each tried): mean of batch means · forget `model.eval()` · do not restore modes · unlabelled
images counted.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.data import open_collection
from convscope.errors import DataError, ShapeError
from convscope.images import PRESETS
from convscope.scoring import evaluate

DIGITS = open_collection("digits").take(range(101))
UNIT = PRESETS["digits"]


def test_against_numpy_whatever_the_batch_size() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    x = np.stack([UNIT(DIGITS[i]).ravel() for i in range(101)]).astype(np.float64)
    z = x @ net[1].weight.detach().double().numpy().T + net[1].bias.detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    accuracy, loss = (z.argmax(1) == DIGITS.labels).mean(), -np.log(p[np.arange(101), DIGITS.labels]).mean()
    for size in (1, 7, 256):
        found = evaluate(net, DIGITS, UNIT, size)
        assert found.accuracy == accuracy
        assert found.loss == pytest.approx(loss, abs=1e-6)
        assert found.images == 101


def test_leaves_no_trace() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(), nn.Linear(64, 10))
    net[2].eval()
    net[3].weight.grad = torch.ones(10, 64)
    before, rng = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    assert evaluate(net, DIGITS, UNIT) == evaluate(net, DIGITS, UNIT)  # dropout is off
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net] == [True, True, False, True]
    assert torch.equal(net[3].weight.grad, torch.ones(10, 64))
    assert torch.equal(rng, torch.get_rng_state())


def test_unknown_labels_do_not_count() -> None:
    half = DIGITS.take(range(101))
    half.labels = np.where(np.arange(101) < 50, half.labels, -1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert evaluate(net, half, UNIT) == evaluate(net, DIGITS.take(range(50)), UNIT)
    half.labels = np.full(101, -1)
    with pytest.raises(DataError, match="digits has no labels; 101 images, all unknown; use a folder of class folders"):
        evaluate(net, half, UNIT)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@pytest.mark.parametrize(("net", "message"), [
    (nn.Identity(), r"logits of shape \(B, K\); got shape \(101, 1, 8, 8\) for 101 images; wrap the network"),
    (Pair(), r"logits of shape \(B, K\); got tuple for 101 images"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), "tells 9 classes apart; a label is 9; give it one output a class"),
])
def test_outputs_that_are_no_logits(net: nn.Module, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        evaluate(net, DIGITS, UNIT)


def test_nothing_that_can_be_used() -> None:
    with pytest.raises(DataError, match="none of the 1 images of list can be used"):
        evaluate(nn.Flatten(), open_collection([(np.zeros((5, 5, 9)), 0)]), PRESETS["unit"])
