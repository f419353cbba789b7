"""What a loss is found to be, for each known family; against closed forms.

Mutation that turns this red: in losses.py, `line[1] == 0` → `line[1] != 0` · `3 * torch.randn` in `_shift_free` → `0 *`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import given, targets
from convscope.diagnosing.losses import FAMILIES, LossFacts, facts

N, K = 24, 5
G = torch.Generator().manual_seed(0)
CLASSES = torch.randint(0, K, (N,), generator=G)
HOT = F.one_hot(CLASSES, K).float()
BITS = torch.randint(0, 2, (N, K), generator=G).float()
VALUES = torch.randn(N, K, generator=G)
COUNTS = torch.randint(1, 6, (N, K), generator=G).float()
SHARES = torch.rand(N, K, generator=G).softmax(1)
TARGETS: dict[str, Tensor] = {
    "cross-entropy": CLASSES, "cross-entropy (last axis)": HOT, "nll": CLASSES, "probability cross-entropy": CLASSES,
    "clipped cross-entropy": HOT, "normalised cross-entropy": HOT, "bce": BITS, "bce logits": BITS, "mse": VALUES,
    "mse one-hot": CLASSES, "mae": VALUES, "huber": VALUES, "rmse": VALUES, "hinge": CLASSES, "binary hinge": BITS,
    "poisson": COUNTS, "kl": SHARES, "msle": COUNTS, "mape": VALUES, "mse of softmax": CLASSES,
    "cross-entropy smoothed": CLASSES,
}  # fmt: skip
SAME = {
    "cross-entropy (last axis)": "cross-entropy",
    "clipped cross-entropy": "probability cross-entropy",
    "kl": "nll",
}  # one


def _asked(loss: Callable[..., Any], y: Tensor | None, out: Tensor | None = None) -> LossFacts:
    out = torch.randn(N, K, generator=torch.Generator().manual_seed(1)) if out is None else out
    x = torch.zeros(len(out), 1)
    program = given.program(nn.Linear(1, 1), x if y is None else (x, y), loss, "sgd:0.1")
    return facts(program, out, y, targets.look(y))


@pytest.mark.parametrize("how", ["mean", "sum", "climbed", "penalty"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_recognised(family: str, how: str) -> None:
    f = FAMILIES[family][1]
    factor, penalty = {"mean": (1.0, 0.0), "sum": (float(N), 0.0), "climbed": (-1.0, 0.0), "penalty": (1.0, 0.7)}[how]
    found = _asked(lambda o, t: factor * f(o, t) + penalty, TARGETS[family])
    assert found.family in (family, SAME.get(family, family)), found
    assert found.factor == pytest.approx(factor, rel=1e-3)
    if found.family == family:  # else they are the same but for a number: kl of fixed shares is nll minus their entropy
        assert found.penalty == pytest.approx(penalty, abs=1e-3)
    assert found.reads == FAMILIES[found.family][0]


@pytest.mark.parametrize(
    ("loss", "y", "family"),
    [
        (nn.CrossEntropyLoss(), CLASSES, "cross-entropy"),
        (nn.NLLLoss(), CLASSES, "nll"),
        (nn.BCEWithLogitsLoss(), BITS, "bce logits"),
        (nn.BCELoss(), BITS, "bce"),
        (nn.MSELoss(), VALUES, "mse"),
        (nn.L1Loss(), VALUES, "mae"),
        (nn.SmoothL1Loss(), VALUES, "huber"),
        (nn.MultiMarginLoss(), CLASSES, "hinge"),
        (nn.PoissonNLLLoss(), COUNTS, "poisson"),
        (nn.KLDivLoss(reduction="batchmean"), SHARES, "kl"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES, "cross-entropy smoothed"),
    ],
)
def test_torchs_own_losses(loss: nn.Module, y: Tensor, family: str) -> None:
    assert _asked(loss, y, torch.rand(N, K, generator=G).clamp(0.1, 0.9)).family == family


def test_unknown_losses_stay_unknown() -> None:
    found = _asked(lambda o, t: (o - t).abs().pow(3).mean(), VALUES)
    assert (found.family, found.factor) == ("", 1.0)
    assert _asked(lambda o: o.square().mean(), None).family == ""


def test_a_loss_that_applies_softmax() -> None:
    assert _asked(F.cross_entropy, CLASSES).applies_softmax
    assert not _asked(F.mse_loss, VALUES).applies_softmax
    assert not _asked(lambda o, t: F.nll_loss(o, t), CLASSES).applies_softmax
    maps = torch.randn(4, 3, 5, 5, generator=G)
    assert _asked(F.cross_entropy, maps.argmax(1), maps).applies_softmax


def test_examples_that_hang_on_their_batch_mates() -> None:
    assert _asked(F.cross_entropy, CLASSES).coupled < 1e-5
    over_batch = _asked(lambda o, t: F.nll_loss(o.log_softmax(0), t), CLASSES)
    assert over_batch.coupled > 0.01


def test_losses_that_grow_with_the_batch() -> None:
    assert _asked(F.cross_entropy, CLASSES).grows == pytest.approx(1.0)
    assert _asked(lambda o, t: F.cross_entropy(o, t, reduction="sum"), CLASSES).grows == pytest.approx(2.0)


def test_broadcasting() -> None:
    column, row = torch.randn(N, 1, generator=G), torch.randn(N, generator=G)
    found = _asked(F.mse_loss, row, column)
    assert found.broadcast > 0.01
    assert any("target size" in w for w in found.warnings)
    assert _asked(F.mse_loss, row[:, None], column).broadcast == 0.0


def test_the_best_constant_answer_against_closed_forms() -> None:
    p = np.bincount(CLASSES, minlength=K) / N
    entropy = float(-(p[p > 0] * np.log(p[p > 0])).sum())
    assert _asked(F.cross_entropy, CLASSES).constant == pytest.approx(entropy, abs=1e-6)
    assert _asked(F.mse_loss, VALUES).constant == pytest.approx(float(VALUES.numpy().var(0).mean()), abs=1e-5)
    q = BITS.numpy().mean(0)
    binary = float(-(q * np.log(q) + (1 - q) * np.log(1 - q)).mean())
    assert _asked(F.binary_cross_entropy_with_logits, BITS).constant == pytest.approx(binary, abs=1e-5)
    assert _asked(F.cross_entropy, CLASSES).floor == 0.0


def test_constants_by_descent_are_close_to_closed_forms() -> None:
    """|o − t|: the median; a family without formula."""
    best = float((VALUES - VALUES.median(0).values).abs().mean())
    assert best - 1e-5 <= _asked(F.l1_loss, VALUES).constant <= 1.15 * best
    cubic = _asked(lambda o: (o.mean() - 2).square() + 1, None)
    assert cubic.floor == pytest.approx(1.0, abs=0.05)


def test_a_class_for_each_position() -> None:
    maps = torch.randn(4, 3, 5, 5, generator=G)
    y = maps.argmax(1)
    found = _asked(F.cross_entropy, y, maps)
    p = F.one_hot(y, 3).double().mean(0)
    assert found.family == "cross-entropy"
    assert found.constant == pytest.approx(float(-torch.xlogy(p, p).sum(-1).mean()), abs=1e-5)


def test_what_a_loss_raises_is_kept() -> None:
    def fails(o: Tensor, t: Tensor) -> Tensor:
        raise ValueError("not today")

    assert _asked(fails, CLASSES).problem == "ValueError: not today"
    several = _asked(lambda o, t: F.cross_entropy(o, t, reduction="none"), CLASSES)
    assert not several.scalar
    assert "shape (24,)" in several.problem


def test_the_gradient_at_the_start() -> None:
    out = torch.randn(N, K, generator=G)
    assert _asked(F.mse_loss, VALUES, out).gradient == pytest.approx(
        float((2 * (out - VALUES) / out.numel()).norm()), rel=1e-5
    )
    assert math.isnan(_asked(lambda o, t: torch.zeros(()), CLASSES).gradient)
