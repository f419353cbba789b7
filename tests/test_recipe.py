"""Learning rates against torch's own schedulers; settings that make no sense.

Mutations that turn this red (each tried): cosine over steps − 1 · `step < top` · 3/4 -> 2/3 · weight_decay not passed on
when 0 (AdamW then decays by its default) · the order without the epoch · `images % batch_size == 0`.
"""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from convscope.errors import UnknownName, UsageError
from convscope.optimizers import OPTIMIZERS, make_optimizer
from convscope.recipe import FitSettings, images_used, order_of, rate_at

STEPS = 40


@pytest.mark.parametrize("schedule", ["cosine", "step", "one-cycle", "constant"])
def test_schedules_are_torchs(schedule: str) -> None:
    settings = FitSettings(rate=0.3, schedule=schedule)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
        "step": lambda: lr_scheduler.MultiStepLR(optimizer, [STEPS // 2, STEPS * 3 // 4]),
        "one-cycle": lambda: lr_scheduler.OneCycleLR(optimizer, 0.3, STEPS, cycle_momentum=False),
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1.0),
    }[schedule]()
    for step in range(STEPS):
        assert rate_at(settings, step, STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("schedule", ["cosine", "step", "one-cycle", "constant"])
def test_short_runs_have_rates(schedule: str) -> None:
    for steps in range(1, 12):
        rates = [rate_at(FitSettings(rate=1.0, schedule=schedule), step, steps) for step in range(steps)]
        assert all(0 < r <= 1 for r in rates)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_steps_downhill(name: str) -> None:
    weight = torch.nn.Parameter(torch.full((2, 2), 3.0))
    optimizer = make_optimizer(FitSettings(optimizer=name.upper(), rate=0.01), [weight])
    for _ in range(20):
        optimizer.zero_grad()
        (weight ** 2).sum().backward()
        optimizer.step()
    assert (weight < 3).all()


def test_what_is_said_arrives() -> None:
    weight = [torch.nn.Parameter(torch.zeros(1))]
    sgd = make_optimizer(FitSettings(optimizer="SGD", momentum=0.9, weight_decay=0.1, rate=0.5), weight)
    assert [sgd.defaults[k] for k in ("lr", "momentum", "weight_decay")] == [0.5, 0.9, 0.1]
    assert make_optimizer(FitSettings(optimizer="adamw"), weight).defaults["weight_decay"] == 0
    assert make_optimizer(FitSettings(optimizer="rmsprop", momentum=0.5), weight).defaults["momentum"] == 0.5


@pytest.mark.parametrize(("fields", "message"), [
    ({"optimizer": "adamm"}, "no optimiser named 'adamm'; closest: 'adam'"),
    ({"optimizer": "lbfgs"}, "no optimiser named 'lbfgs'"),
    ({"optimizer": "adam", "momentum": 0.9}, "adam has no momentum; got 0.9; leave it out, or use sgd"),
    ({"optimizer": "rprop", "weight_decay": 0.1}, "rprop has no weight_decay"),
    ({"epochs": 0}, "FitSettings.epochs must be in"),
    ({"schedule": "linear"}, "FitSettings.schedule must be one of constant, cosine, step, one-cycle; got 'linear'"),
    ({"rate": float("nan")}, "FitSettings.rate must be a finite number; got nan"),
    ({"batch_size": 2.5}, "FitSettings.batch_size must be int"),
])
def test_settings_that_make_no_sense(fields: dict, message: str) -> None:
    with pytest.raises((UsageError, UnknownName), match=message):
        make_optimizer(FitSettings(**fields), [torch.nn.Parameter(torch.zeros(1))])


def test_each_epoch_has_an_order_of_its_own() -> None:
    first, second = order_of(3, 0, 50, 49), order_of(3, 1, 50, 49)
    assert len(set(first.tolist())) == len(first) == 49
    assert first.tolist() == order_of(3, 0, 50, 49).tolist()
    assert first.tolist() != second.tolist()
    assert first.tolist() != order_of(4, 0, 50, 49).tolist()


def test_a_last_batch_of_one_image_is_left_out() -> None:
    assert [images_used(n, 8) for n in (1, 8, 9, 10, 17)] == [1, 8, 8, 10, 16]
