"""torch's own optimisers by name: which there are, and one made from the settings of a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from convscope.errors import UsageError, unknown
from convscope.recipe import FitSettings

SPECIAL = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}  # need a closure, sparse gradients, matrices only
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    name.lower(): cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name not in SPECIAL
}


def make_optimizer(settings: FitSettings, parameters: Iterable[nn.Parameter | dict[str, Any]]) -> torch.optim.Optimizer:
    """torch's optimiser, of parameters or groups. Weight decay is said to it even when 0: some (AdamW) decay by default.

    Errors: UnknownName (no such optimiser), UsageError (one without momentum or weight decay, where that is asked for).
    """
    if settings.optimizer.lower() not in OPTIMIZERS:
        raise unknown("optimiser", settings.optimizer, OPTIMIZERS)
    made: Any = OPTIMIZERS[settings.optimizer.lower()]
    known = inspect.signature(made).parameters
    for name, given in (("momentum", settings.momentum is not None), ("weight_decay", settings.weight_decay > 0)):
        if given and name not in known:
            raise UsageError(f"{settings.optimizer} has no {name}", f"got {getattr(settings, name)}",
                             "leave it out, or use sgd")
    options = {"lr": settings.rate, "momentum": settings.momentum, "weight_decay": settings.weight_decay}
    return made(parameters, **{k: v for k, v in options.items() if k in known and v is not None})
