"""How does a gradient move a weight? Gradient descent and two of its relatives, in NumPy, as torch does them.

With g = ∂L/∂θ, rate η, weight decay λ, everything element by element:

    sgd     g ← g + λθ;  v ← μv + g (v = g at first);  θ ← θ − ηv                               momentum μ
    adam    g ← g + λθ;  m ← β₁m + (1 − β₁)g;  s ← β₂s + (1 − β₂)g²;  θ ← θ − η·m̂/(√ŝ + ε)
    adamw   θ ← θ − ηλθ;  then as adam without λ                                                decay apart from the gradient

where m̂ = m/(1 − β₁ᵗ) and ŝ = s/(1 − β₂ᵗ) at the t-th step of that weight; β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸.

Sources: Robbins and Monro 1951; momentum: Polyak 1964; Adam: Kingma and Ba 2015; AdamW: Loshchilov and Hutter 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convscope.errors import UsageError, unknown
from convscope.recipe import FitSettings

Array = Any
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(eq=False)
class Descent:
    """Moves weights; `memory` is what it carries from step to step: arrays by 'what/weight', and counts of steps.

    `step` returns new arrays and changes none that it is given. A weight without a gradient stays as it is.

    >>> descent = Descent("sgd", momentum=0.5)
    >>> theta = {"w": np.array([1.0])}
    >>> for _ in range(2):
    ...     theta = descent.step(theta, {"w": np.array([1.0])}, rate=0.1)
    >>> theta["w"].round(6).tolist()  # 1 − 0.1·1 − 0.1·(0.5·1 + 1)
    [0.75]
    """

    name: str
    momentum: float = 0.0
    weight_decay: float = 0.0
    memory: dict[str, Array] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise unknown("optimiser of the NumPy engine", self.name, OPTIMIZERS, "torch's engine has all of torch.optim")

    def step(self, weights: Mapping[str, Array], gradients: Mapping[str, Array], rate: float) -> dict[str, Array]:
        """The weights after one step against the gradients."""
        move = getattr(self, f"_{self.name}")
        return {name: theta if gradients.get(name) is None else move(name, theta, gradients[name], rate)
                for name, theta in weights.items()}

    def _sgd(self, name: str, theta: Array, g: Array, rate: float) -> Array:
        g = self._decayed(g, theta)
        if self.momentum:
            before = self.memory.get(f"velocity/{name}")
            g = self.memory[f"velocity/{name}"] = g if before is None else self.momentum * before + g
        return theta - rate * g

    def _adam(self, name: str, theta: Array, g: Array, rate: float) -> Array:
        return self._moments(name, theta, self._decayed(g, theta), rate)

    def _adamw(self, name: str, theta: Array, g: Array, rate: float) -> Array:
        return self._moments(name, theta * (1 - rate * self.weight_decay), g, rate)

    def _moments(self, name: str, theta: Array, g: Array, rate: float) -> Array:
        t = int(self.memory.get(f"steps/{name}", 0)) + 1
        m = BETA_1 * self.memory.get(f"mean/{name}", 0.0) + (1 - BETA_1) * g
        s = BETA_2 * self.memory.get(f"square/{name}", 0.0) + (1 - BETA_2) * g * g
        self.memory |= {f"steps/{name}": np.asarray(t), f"mean/{name}": m, f"square/{name}": s}
        return theta - (rate / (1 - BETA_1 ** t)) * m / (np.sqrt(s) / (1 - BETA_2 ** t) ** 0.5 + EPSILON)

    def _decayed(self, g: Array, theta: Array) -> Array:
        return g + self.weight_decay * theta if self.weight_decay else g


OPTIMIZERS = ("sgd", "adam", "adamw")


def make(settings: FitSettings) -> Descent:
    """The optimiser of a run. Errors: UnknownName (one that is not here), UsageError (momentum, for one without)."""
    name = settings.optimizer.lower()
    if settings.momentum is not None and name in ("adam", "adamw"):
        raise UsageError(f"{settings.optimizer} has no momentum", f"got {settings.momentum}", "leave it out, or use sgd")
    return Descent(name, settings.momentum or 0.0, settings.weight_decay)


__all__ = ["OPTIMIZERS", "Descent", "make"]
