"""Our optimisers against torch's, step by step in float64.

Mutations that turn this red (each tried): `BETA_2 ** t` -> `BETA_1 ** t` in the root · decay of adamw after the step ·
velocity begun at (1 − momentum)·g · weight decay left out of sgd.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope import descent
from convscope.errors import UnknownName, UsageError
from convscope.optimizers import make_optimizer
from convscope.recipe import FitSettings

CASES = [
    {"optimizer": "sgd"}, {"optimizer": "SGD", "momentum": 0.9, "weight_decay": 0.1}, {"optimizer": "adam"},
    {"optimizer": "adam", "weight_decay": 0.1}, {"optimizer": "adamw", "weight_decay": 0.2}, {"optimizer": "AdamW"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps_are_torchs(case: dict) -> None:
    settings, rng = FitSettings(rate=0.1, **case), np.random.default_rng(0)
    first = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    theirs = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in first.items()}
    optimizer, ours, moving = make_optimizer(settings, theirs.values()), dict(first), descent.make(settings)
    for k in range(12):
        rate = 0.1 / (k + 1)
        gradients = {name: rng.normal(size=v.shape) for name, v in first.items() if not (name == "b" and k in (0, 5))}
        for name, p in theirs.items():
            p.grad = torch.tensor(gradients[name]) if name in gradients else None
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        ours = moving.step(ours, gradients, rate)
        for name, p in theirs.items():
            assert np.abs(ours[name] - p.detach().numpy()).max() < 1e-12, (name, k)


def test_precision_stays_and_nothing_given_changes() -> None:
    theta, g = {"w": np.ones(3, np.float32)}, {"w": np.ones(3, np.float32)}
    for name in descent.OPTIMIZERS:
        moving = descent.Descent(name, weight_decay=0.1, momentum=0.9)
        found = moving.step(moving.step(theta, g, 0.1), g, 0.1)
        assert found["w"].dtype == np.float32
    assert theta["w"].tolist() == g["w"].tolist() == [1, 1, 1]


def test_what_is_not_here() -> None:
    with pytest.raises(UnknownName, match=r"no optimiser of the NumPy engine named 'rmsprop'.*torch's engine has all"):
        descent.make(FitSettings(optimizer="rmsprop"))
    with pytest.raises(UsageError, match=r"adam has no momentum; got 0\.9; leave it out, or use sgd"):
        descent.make(FitSettings(optimizer="adam", momentum=0.9))
