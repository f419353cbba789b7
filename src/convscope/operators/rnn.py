"""The simple recurrent layer: a memory that is rewritten at every time.

    h_t = tanh(x_t · W_ihᵀ + b_ih + h_{t−1} · W_hhᵀ + b_hh)        (or relu in the place of tanh)

Source: Elman 1990, "Finding Structure in Time".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.operators._operator import Array, Shape
from convscope.operators._recurrent import Recurrent, State
from convscope.operators._unrolled import GateSum
from convscope.operators._working import number
from convscope.results import Line


@dataclass(frozen=True)
class RNN(Recurrent):
    """What has the sequence said so far, in H numbers?

    Shapes: x (T, B, I) or (B, T, I), h0 (layers·directions, B, H) or None, then W_ih (H, I), W_hh (H, H), b_ih, b_hh (H,)
    per layer and direction; forward returns (y (T, B, directions·H), last h).
    Units: macs are T·B·H·(I + H) per layer and direction.
    Raises UsageError for an unknown nonlinearity or random dropout, ShapeError where arrays do not fit.
    Misleads: gradients shrink or grow by a factor at every step back in time.

    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> y, h = RNN(has_biases=False, nonlinearity="relu").forward(np.ones((3, 1, 1)), None, one, one)
    >>> y.ravel()
    array([1., 2., 3.])
    """

    nonlinearity: str = "tanh"

    aten: ClassVar = ("rnn_tanh", "rnn_relu")
    arrays: ClassVar = ("x", "h0")  # then the weights
    formula: ClassVar = "h[t] = tanh(W_ih·x[t] + b_ih + W_hh·h[t−1] + b_hh)"

    def __post_init__(self) -> None:
        if self.nonlinearity not in ("tanh", "relu"):
            raise UsageError(f"no recurrent layer with {self.nonlinearity!r}", "", "nonlinearity must be 'tanh' or 'relu'")

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Any:
        return super().read(name, settings | {"nonlinearity": name.removeprefix("rnn_")}, shapes)

    def time_text(self, memory: Any, kept: float, at: tuple[int, int]) -> tuple[str, float]:
        del kept
        return f"h = {number(memory[at])}", float(memory[at])

    def gate_lines(self, sums: list[GateSum], kept: float) -> list[Line]:
        del kept
        total = sums[0].total
        h = float(np.tanh(total)) if self.nonlinearity == "tanh" else max(total, 0.0)
        text = f"tanh({sums[0].text})" if self.nonlinearity == "tanh" else f"max({sums[0].text}, 0)"
        return [Line(f"h = {text} = {number(h)}", h)]

    def cell(self, a: Array, r: Array, state: State) -> tuple[State, Any]:
        del state
        h = np.tanh(a + r) if self.nonlinearity == "tanh" else np.maximum(a + r, 0)
        return (h,), h

    def cell_back(self, delta: State, memory: Any, state: State) -> tuple[Array, Array, State]:
        d = delta[0] * (1 - memory**2 if self.nonlinearity == "tanh" else memory > 0)
        return d, d, (np.zeros_like(state[0]),)
