"""What the user gives becomes a program; what cannot is said.

Mutation that turns this red: in given.py, `name = loss.lower().replace("_", "-")` → `name = loss`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.diagnosing import given
from convscope.errors import UnknownName, UsageError

X, Y = torch.randn(12, 3), torch.arange(12) % 2


def test_every_named_loss_is_torchs_own() -> None:
    assert given.program(nn.Linear(3, 2), (X, Y), "Cross_Entropy").loss is F.cross_entropy
    assert given.program(nn.Linear(3, 2), (X, Y), "nll").loss is F.nll_loss
    assert set(given.LOSSES) >= {
        "cross-entropy",
        "nll",
        "bce",
        "bce-logits",
        "mse",
        "mae",
        "huber",
        "hinge",
        "kl",
        "poisson",
    }


def test_words_are_kept() -> None:
    program = given.program(nn.Linear(3, 2), (X, Y), "cross-entropy", "adam:0.1", batch_size=5, epochs=7, shuffle=False,
                            held_out=(X[:4], Y[:4]), metric=len)  # fmt: skip
    assert (program.examples.batch, program.epochs, program.examples.shuffled, program.metric) == (5, 7, False, len)
    assert program.held_out is not None
    assert len(program.held_out) == 4
    assert (program.name, program.framework, program.optimizer.rate) == ("Linear", "torch", 0.1)


def test_objectives_read_outputs_alone() -> None:
    assert given.program(nn.Linear(3, 2), X, lambda o: o.mean()).objective
    assert given.program(nn.Linear(3, 2), (X, Y), lambda o: o.mean()).objective
    assert not given.program(nn.Linear(3, 2), (X, Y), F.cross_entropy).objective


def test_a_schedule_is_read_on_a_copy() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)
    program = given.program(model, (X, Y), "cross-entropy", optimizer, epochs=4, scheduler=schedule)
    assert program.rates == pytest.approx((1.0, 1.0, 0.1, 0.1))
    assert (optimizer.param_groups[0]["lr"], schedule.last_epoch) == (0.4, 0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    assert given.program(model, (X, Y), "cross-entropy", optimizer, scheduler=plateau).rates == ()


@pytest.mark.parametrize(
    ("model", "loss", "kind", "words"),
    [
        (len, "mse", UsageError, "got builtin_function_or_method"),
        (nn.Linear(3, 2), None, UsageError, "a loss"),
        (nn.Linear(3, 2), "crossentropy", UnknownName, "crossentropy"),
    ],
)
def test_what_is_missing_is_said(model: Any, loss: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        given.program(model, (X, Y), loss)
