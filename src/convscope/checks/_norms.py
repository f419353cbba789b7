"""The batch norms of a network that keep running statistics, in torch and in Keras."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from convscope.diagnosing.changes import rewritten
from convscope.diagnosing.keras_program import KerasModule
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import Change


def norms_of(program: Program) -> list[tuple[str, nn.Module, float, bool]]:
    """(name, module, momentum as torch counts it, is its axis wrong) of every batch norm that keeps running statistics."""
    found: list[tuple[str, nn.Module, float, bool]] = []
    if isinstance(program.model, KerasModule):
        for layer in cast("Any", program.model.inner)._flatten_layers():
            if type(layer).__name__ == "BatchNormalization":
                axis, dims = layer.axis, len(layer.input.shape) if hasattr(layer, "input") else 0
                axis = axis[0] if isinstance(axis, (list, tuple)) else axis
                found.append((layer.name, layer, 1 - float(layer.momentum), dims == 4 and axis not in (-1, 3)))
        return found
    for name, module in program.model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            # None: the mean over all batches, which keeps up by itself
            found.append((name, module, 1.0 if module.momentum is None else float(module.momentum), False))
    return found


def quicker() -> Change:
    """A momentum that keeps up: 0.1 as torch counts it."""

    def apply(program: Program) -> Program:
        for _, module, _, _ in norms_of(program):
            cast("Any", module).momentum = 0.1 if program.framework == "torch" else 0.9
        return program

    return rewritten(apply, "running statistics that keep up")
