"""Long short-term memory: a line c that is added to instead of rewritten, so that a gradient can travel far.

    i, f, o = σ(…), g = tanh(…)            each of x_t · W_ihᵀ + b_ih + h_{t−1} · W_hhᵀ + b_hh, in the order i, f, g, o
    c_t = f·c_{t−1} + i·g        h_t = o·tanh(c_t), or W_hr · (o·tanh(c_t)) where h is projected

Sources: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory"; forget gate: Gers, Schmidhuber, Cummins 2000;
projection: Sak, Senior, Beaufays 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.operators._elementwise import logistic
from convscope.operators._lines import factor
from convscope.operators._operator import Array
from convscope.operators._recurrent import Recurrent, State
from convscope.operators._unrolled import GateSum
from convscope.operators._working import number
from convscope.results import Line


@dataclass(frozen=True)
class LSTM(Recurrent):
    """What of the sequence is worth keeping, and what of that is worth saying now?

    Shapes: x (T, B, I) or (B, T, I), h0 and c0 (layers·directions, B, H) or None, then per layer and direction W_ih (4H, I),
    W_hh (4H, H), b_ih and b_hh (4H,). Where h is projected to P numbers, W_hr (P, H) follows, W_hh is (4H, P) and h0 P wide.
    forward returns (y (T, B, directions·H), last h, last c).
    Units: macs are T·B·4H·(I + H) per layer and direction; the gates' own products are elementwise and not counted.
    Raises UsageError for random dropout, ShapeError where arrays do not fit.

    >>> import numpy as np
    >>> y, h, c = LSTM(has_biases=False).forward(np.ones((2, 1, 1)), None, None, np.zeros((4, 1)), np.zeros((4, 1)))
    >>> LSTM().macs((2, 1, 1), (1, 1, 1), (1, 1, 1), (4, 1), (4, 1))
    16
    """

    aten: ClassVar = ("lstm",)
    arrays: ClassVar = ("x", "h0", "c0")  # then the weights
    formula: ClassVar = "c[t] = f·c[t−1] + i·g,  h[t] = o·tanh(c[t])"
    states: ClassVar = 2
    gates: ClassVar = 4
    gate_names: ClassVar = ("i", "f", "g", "o")

    def time_text(self, memory: Any, kept: float, at: tuple[int, int]) -> tuple[str, float]:
        i, f, g, o, _ = (float(m[at]) for m in memory)
        c = f * kept + i * g
        h = o * float(np.tanh(c))
        gates = ", ".join(f"{name} = {number(v)}" for name, v in zip(self.gate_names, (i, f, g, o), strict=True))
        return (f"{gates}; c = f·c + i·g = {number(f)}·{factor(kept)} + {number(i)}·{factor(g)} = {number(c)}; "
                f"h = o·tanh(c) = {number(h)}", h)

    def gate_lines(self, sums: list[GateSum], kept: float) -> list[Line]:
        i, f, o = (float(logistic(np.asarray(sums[k].total))) for k in (0, 1, 3))
        g = float(np.tanh(sums[2].total))
        c = f * kept + i * g
        h = o * float(np.tanh(c))
        return [
            *(Line(f"{name} = {'tanh' if name == 'g' else 'σ'}({s.text}) = {number(v)}", v)
              for name, s, v in zip(self.gate_names, sums, (i, f, g, o), strict=True)),
            Line(f"c = f·c + i·g = {number(f)}·{factor(kept)} + {number(i)}·{factor(g)} = {number(c)}", c),
            Line(f"h = o·tanh(c) = {number(o)}·{factor(float(np.tanh(c)))} = {number(h)}", h),
        ]

    def cell(self, a: Array, r: Array, state: State) -> tuple[State, Any]:
        i, f, g, o = np.split(a + r, 4, axis=-1)
        i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
        c = f * state[1] + i * g
        return (o * np.tanh(c), c), (i, f, g, o, np.tanh(c))

    def cell_back(self, delta: State, memory: Any, state: State) -> tuple[Array, Array, State]:
        i, f, g, o, said = memory
        dh, dc = delta
        dc = dc + dh * o * (1 - said**2)
        d = np.concatenate([dc * g * i * (1 - i), dc * state[1] * f * (1 - f), dc * i * (1 - g**2), dh * said * o * (1 - o)],
                           axis=-1)
        return d, d, (np.zeros_like(state[0]), dc * f)
