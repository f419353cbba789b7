"""Batch normalisation: bring every channel to mean 0 and deviation 1, then learn what is best instead.

    y = weight · (x − μ)/√(σ² + eps) + bias        per channel

While training, μ and σ² are those of the batch (over B, H, W); afterwards, running averages that training left.

Source: Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from convscope.errors import DataError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators._operator import Array, Shape
from convscope.operators._standardise import learned_gradients, per_channel, require_channels, scaled, through_statistics
from convscope.operators._standardise_terms import Standardising, Statistics
from convscope.operators._working import number
from convscope.results import Line


@dataclass(frozen=True)
class BatchNorm(Standardising):
    """What is left of a channel when its level and its spread are taken out?

    Shapes: x and y (B, C) or (B, C, H, W), any number of spatial axes; weight, bias, running_mean, running_var (C,).
    Units: y is in deviations of the channel, times weight. No MACs by our definition. `parameters` counts weight and bias;
    running statistics are buffers: their gradient is None.
    Raises UsageError without running statistics outside training, DataError when training on one value a channel.
    Misleads: `training` makes every output depend on every image of the batch, and gives other values than evaluation.

    >>> import numpy as np
    >>> BatchNorm(eps=0.0, training=True).forward(np.array([[1.0], [3.0]])).ravel()
    array([-1.,  1.])
    """

    eps: float = 1e-5
    momentum: float = 0.1
    training: bool = False

    aten: ClassVar = ("_native_batch_norm_legit_no_training", "_native_batch_norm_legit",
                      "_native_batch_norm_legit_functional", "native_batch_norm", "batch_norm")
    arrays: ClassVar = ("x", "weight", "bias", "running_mean", "running_var")
    formula: ClassVar = "y = weight[c] · (x − μ[c])/√(σ²[c] + eps) + bias[c]"

    def windows(self, x: Shape, *_: Shape | None) -> tuple[Window | str, ...]:
        return ((WHOLE if self.training else Window()),) * (len(x) - 2)

    def forward(self, x: Array, weight: Array = None, bias: Array = None, running_mean: Array = None,
                running_var: Array = None) -> Array:
        x_hat, _ = self._standardised(x, running_mean, running_var)
        return scaled(x_hat, weight, bias)

    def backward(self, delta: Array, x: Array, *given: Array) -> tuple[Array, ...]:
        weight, _, mean, var = (*given, *(None,) * (4 - len(given)))
        x_hat, sigma = self._standardised(x, mean, var)
        d = delta if weight is None else delta * per_channel(weight, x)
        grad_x = through_statistics(d, x_hat, sigma, _others(x)) if self.training else d / sigma
        return (grad_x, *learned_gradients(delta, x_hat, given))

    def statistics(self, x: Array, running_mean: Array = None, running_var: Array = None) -> tuple[Array, Array]:
        """μ and σ² (C,) that this mode uses: those of the batch (σ² divided by n) when training, else the running ones."""
        require_channels(x, "batch normalisation")
        if not self.training:
            if running_mean is None or running_var is None:
                raise UsageError("batch normalisation outside training needs running statistics", "none were given",
                                 "pass running_mean and running_var, or use training=True")
            return running_mean, running_var
        if prod(x.shape) == x.shape[1]:
            raise DataError("cannot take the deviation of one value a channel", f"x has the shape {x.shape}",
                            "train on more than one image, or evaluate with running statistics")
        return x.mean(axis=_others(x)), x.var(axis=_others(x))

    def updated_statistics(self, x: Array, running_mean: Array, running_var: Array) -> tuple[Array, Array]:
        """The running statistics after training saw x: r ← (1 − momentum)·r + momentum·(that of x), σ² divided by n − 1."""
        if not self.training:
            return running_mean, running_var
        mean, var = self.statistics(x)
        n, m = prod(x.shape) // x.shape[1], self.momentum
        return (1 - m) * running_mean + m * mean, (1 - m) * running_var + m * var * (n / (n - 1))

    # --- written out ---------------------------------------------------------------------------------------------------

    def statistics_at(self, at: tuple[int, ...], x: Array, *given: Array) -> Statistics:
        mean, var = self.statistics(x, *(*given, *(None,) * (4 - len(given)))[2:])
        over = f"channel {at[1]}" + f" ({x.shape[0]} images × {prod(x.shape[2:])} positions)" * self.training
        return Statistics((slice(None), at[1]), over, float(mean[at[1]]), float(var[at[1]]), self.eps, self.training)

    def shared_size(self, x: Shape) -> tuple[int, ...]:
        return (x[0], *x[2:]) if self.training else ()

    def remarks(self, at: tuple[int, ...], delta: Array | None, x: Array, *given: Array) -> list[Line]:
        """The same number in the other mode, where that mode has its statistics."""
        running = (*given, *(None,) * (4 - len(given)))[2:]
        if any(a is None for a in running) if self.training else prod(x.shape) == x.shape[1]:
            return []
        other = dataclasses.replace(self, training=not self.training)
        where = "evaluation" if self.training else "training"
        whose = "the running" if self.training else "the batch's own"
        s = other.statistics_at(at, x, *given)
        value = float((other.forward(x, *given) if delta is None else other.backward(delta, x, *given)[0])[at])
        return [Line(f"in {where} it would be {number(value)}, with {whose} μ = {number(s.mean)} and "
                     f"σ² = {number(s.variance)}", value)]

    # --- how it is laid out --------------------------------------------------------------------------------------------

    def _standardised(self, x: Array, running_mean: Array, running_var: Array) -> tuple[Array, Array]:
        mean, var = self.statistics(x, running_mean, running_var)
        sigma = np.sqrt(per_channel(var, x) + self.eps)
        return (x - per_channel(mean, x)) / sigma, sigma


def _others(x: Array) -> tuple[int, ...]:
    """All axes but the channel's."""
    return (0, *range(2, x.ndim))
