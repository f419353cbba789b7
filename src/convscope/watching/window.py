"""What was seen between two steps of the optimiser: samples first, their numbers later, many windows at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass(eq=False)
class Window:
    """What lies between two steps of the optimiser."""

    deep: bool = False
    losses: list[Tensor] = field(default_factory=list[Tensor])
    scale: float = 1.0  # of the loss, by a gradient scaler
    values: dict[str, Tensor] = field(default_factory=dict[str, Tensor])  # layer -> sample (u, m)
    gradients: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    words: dict[str, str] = field(default_factory=dict[str, str])  # layer -> activation, '' for others
    weights: dict[str, int] = field(default_factory=dict[str, int])  # layer -> id of the parameter that it uses
    norms: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # by parameter: of weight, of gradient, update ratio
    gradient_norm: float = float("nan")
    halves: set[int] = field(default_factory=set[int])  # parameters whose layer computed in half precision
    backwards: int = 0
    waiting: int = 0  # training forward passes since the last backward pass
    weights_before: Tensor | None = None  # samples of an optimiser's weights before its step
    weights_after: Tensor | None = None
    gradients_before: Tensor | None = None  # and of their gradients
    after_backward: list[Tensor] = field(default_factory=list[Tensor])  # by optimiser: right after the backward pass
    behind: Tensor | None = None  # the one of the optimiser that steps
    same: bool = False  # no weight was written to by the step
    half_gradients: list[int] = field(default_factory=list[int])  # parameters with a gradient that was computed in half
