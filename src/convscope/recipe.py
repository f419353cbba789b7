"""How to train, in nine numbers and words: optimiser, learning rate and its schedule.

The rate is a function of the step alone, so nothing about it needs to be kept to go on later.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convscope.errors import UsageError, unknown
from convscope.fields import param, validate

SPECIAL = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}  # need a closure, sparse gradients, matrices only
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    name.lower(): cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name not in SPECIAL
}


@dataclass(frozen=True)
class FitSettings:
    """How is the network trained? `optimizer` is any of torch.optim that steps from gradients alone.

    >>> FitSettings(optimizer="sgd", rate=0.1, momentum=0.9).schedule
    'constant'
    """

    epochs: int = param(10, "passes over the training images", low=1)
    batch_size: int = param(64, "images a step, over all processes together", unit="images", low=1)
    optimizer: str = param("adamw", "an optimiser of torch.optim: sgd, adam, adamw, rmsprop, …")
    rate: float = param(0.003, "learning rate; with a schedule the largest one", low=0)
    momentum: float | None = param(None, "momentum, for optimisers that have it; none: torch's default", low=0, high=1)
    weight_decay: float = param(0.0, "weight decay", low=0)
    schedule: str = param("constant", "how the rate falls", choices=("constant", "cosine", "step", "one-cycle"))
    seed: int = param(0, "seed of the order of images and of dropout", low=0)

    def __post_init__(self) -> None:
        validate(self)
        if self.optimizer.lower() not in OPTIMIZERS:
            raise unknown("optimiser", self.optimizer, OPTIMIZERS)
        known = inspect.signature(OPTIMIZERS[self.optimizer.lower()]).parameters
        for name, given in (("momentum", self.momentum is not None), ("weight_decay", self.weight_decay > 0)):
            if given and name not in known:
                raise UsageError(f"{self.optimizer} has no {name}", f"got {getattr(self, name)}", "leave it out, or use sgd")


def make_optimizer(settings: FitSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's optimiser. Weight decay is said to it even when 0: some (AdamW) decay by default."""
    made: Any = OPTIMIZERS[settings.optimizer.lower()]
    known = inspect.signature(made).parameters
    options = {"lr": settings.rate, "momentum": settings.momentum, "weight_decay": settings.weight_decay}
    return made(parameters, **{k: v for k, v in options.items() if k in known and v is not None})


def rate_at(settings: FitSettings, step: int, steps: int) -> float:
    """The learning rate of a step, 0 … steps − 1.

    constant; cosine: ½·(1 + cos(π·step/steps)) (Loshchilov and Hutter 2017); step: a tenth after 1/2 and again after 3/4 of
    the steps (He et al. 2016); one-cycle: from 1/25 up during 30 %, then down to 1/250,000, along cosines (Smith 2018).

    >>> [rate_at(FitSettings(rate=1.0, schedule="step"), step, 8) for step in (0, 4, 6)]
    [1.0, 0.1, 0.01]
    """
    rate = settings.rate
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * step / steps)) / 2
    if settings.schedule == "step":
        return rate / 10 ** ((step >= steps // 2) + (step >= 3 * steps // 4))
    if settings.schedule == "one-cycle":
        top = 0.3 * steps - 1
        if step <= top:
            first, last, share = rate / 25, rate, step / top
        else:
            first, last, share = rate, rate / 250_000, (step - top) / (steps - 1 - top)
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
    return rate
