"""What the user gives → a `Program`: a module or a compiled Keras model, arrays or a loader, a loss by name or function."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from convscope import export
from convscope.diagnosing import keras_program
from convscope.diagnosing.examples import read
from convscope.diagnosing.program import Program, Recipe, left_alone, reads_output_alone
from convscope.errors import UsageError, unknown

LOSSES: dict[str, Callable[..., Any]] = {
    "cross-entropy": F.cross_entropy, "nll": F.nll_loss, "bce": F.binary_cross_entropy,
    "bce-logits": F.binary_cross_entropy_with_logits, "mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss,
    "hinge": F.multi_margin_loss, "kl": F.kl_div, "poisson": F.poisson_nll_loss,
}  # fmt: skip


WORDS = ("held_out", "batch_size", "epochs", "shuffle", "metric", "scheduler")


@left_alone()  # reading draws from the user's generators
def program(model: Any, data: Any, loss: Any = None, optimizer: Any = None, **words: Any) -> Program:
    """`words`: held_out, batch_size, epochs, shuffle, metric, scheduler. Errors: UsageError, UnknownName, DataError.

    >>> import numpy as np
    >>> found = program(nn.Linear(3, 2), (np.zeros((8, 3)), np.arange(8) % 2), "cross-entropy", "sgd:0.1")
    >>> str(found.optimizer), len(found.examples)
    ('SGD(lr=0.1, momentum=0, weight_decay=0)', 8)
    """
    for word in words:
        if word not in WORDS:
            raise unknown("option of check", word, WORDS)
    for word in ("batch_size", "epochs"):
        if words.get(word) is not None and not (isinstance(words[word], int) and words[word] >= 1):
            raise UsageError(f"{word} of at least 1", f"got {words[word]!r}", "leave it out, or give a whole number")
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError("a module whose calls can be seen", "it is scripted", "give the module that it was made from")
    if isinstance(model, nn.Module) and not keras_program.is_keras(model):
        model = export.bare(model)
        _ready(model)
        data = _wide(data, model)
    examples = read(data, words.get("batch_size"), words.get("shuffle"))
    held = words.get("held_out")
    held_out = None if held is None else read(held, words.get("batch_size"), False)
    facts: dict[str, Any] = {"examples": examples, "held_out": held_out, "epochs": words.get("epochs"),
                             "metric": words.get("metric"), "notes": examples.notes,
                             "name": type(model).__name__}  # fmt: skip
    if keras_program.is_keras(model):
        module, made, recipe = keras_program.parts(model, loss, optimizer)
        return Program(module, made, recipe, framework="keras", **facts)
    if not isinstance(model, nn.Module):
        raise UsageError(
            "a module to train", f"got {type(model).__name__}", "give a torch.nn.Module or a compiled Keras model"
        )
    if loss is None:
        raise UsageError(
            "a loss", "none was given", "loss=nn.CrossEntropyLoss(), a name (cross-entropy, mse, …) or a function"
        )
    if isinstance(loss, str):
        name = loss.lower().replace("_", "-")
        if name not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        loss = LOSSES[name]
    return Program(model, loss, Recipe.of(optimizer, model), objective=examples.y is None or reads_output_alone(loss),
                   rates=_rates(words.get("scheduler"), words.get("epochs")), **facts)  # fmt: skip


def _ready(model: nn.Module) -> None:
    """Can it be trained on a batch of one tensor? Errors: UsageError."""
    lazy = [n for n, p in model.named_parameters() if isinstance(p, nn.UninitializedParameter)]
    if lazy:
        raise UsageError("a model whose sizes are known", f"{lazy[0]} is not initialised yet (a lazy layer)",
                         "run one batch through it first, then make the optimiser: model(x[:1])")  # fmt: skip
    given = inspect.signature(model.forward).parameters.values()
    needed = [p.name for p in given if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise UsageError(
            "a model that takes one tensor", f"forward of {type(model).__name__} needs {', '.join(needed)}",
            "check a module that takes them out of one tensor: model(x[:, :3], x[:, 3:])")  # fmt: skip


def _wide(data: Any, model: nn.Module) -> Any:
    """Arrays become float32 unless the model computes in float64: then float64 arrays stay."""
    wide = any(p.dtype == torch.float64 for p in model.parameters())
    if not wide or not isinstance(data, (tuple, list, np.ndarray)):
        return data
    parts = [data] if isinstance(data, np.ndarray) else data
    kept = [torch.from_numpy(v) if isinstance(v, np.ndarray) and v.dtype == np.float64 else v for v in parts]
    return kept[0] if isinstance(data, np.ndarray) else type(data)(kept)


def _rates(scheduler: Any, epochs: int | None) -> tuple[float, ...]:
    """The rate at the begin of each epoch relative to the first, if the schedule is stepped once an epoch. On a copy."""
    if scheduler is None:
        return ()
    twin = copy.deepcopy(scheduler)
    found: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(min(epochs or 50, 200)):
            found.append(float(twin.optimizer.param_groups[0]["lr"]))
            try:
                twin.step()
            except TypeError:  # a plateau schedule wants a measure
                return ()
    return tuple(r / found[0] for r in found) if found and found[0] else ()
