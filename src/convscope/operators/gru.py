"""Gated recurrent unit: at every time the memory is a mixture of what it was and a new proposal.

    u, z = σ(a + r) in their thirds        n = tanh(a_n + u·r_n)        h_t = (1 − z)·n + z·h_{t−1}

with a = x_t · W_ihᵀ + b_ih and r = h_{t−1} · W_hhᵀ + b_hh, in the order u (reset), z (update), n (new). As in PyTorch, the
reset gate u acts after the product with W_hh; in the paper it acts before.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder".
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
class GRU(Recurrent):
    """How much of the memory should the present replace?

    Shapes: x (T, B, I) or (B, T, I), h0 (layers·directions, B, H) or None, then W_ih (3H, I), W_hh (3H, H), b_ih, b_hh (3H,)
    per layer and direction; forward returns (y (T, B, directions·H), last h).
    Units: macs are T·B·3H·(I + H) per layer and direction; the gates' own products are elementwise and not counted.
    Raises UsageError for random dropout, ShapeError where arrays do not fit.

    >>> import numpy as np
    >>> y, h = GRU(has_biases=False).forward(np.ones((2, 1, 1)), np.ones((1, 1, 1)), np.zeros((3, 1)), np.zeros((3, 1)))
    >>> y.ravel()
    array([0.5 , 0.25])
    """

    aten: ClassVar = ("gru",)
    arrays: ClassVar = ("x", "h0")  # then the weights
    formula: ClassVar = "h[t] = (1 − z)·n + z·h[t−1]"
    gates: ClassVar = 3
    gate_names: ClassVar = ("u", "z", "n")

    def time_text(self, memory: Any, kept: float, at: tuple[int, int]) -> tuple[str, float]:
        u, z, n = (float(m[at]) for m in memory[:3])
        h = (1 - z) * n + z * kept
        return (f"u = {number(u)}, z = {number(z)}, n = {number(n)}; h = (1 − z)·n + z·h = "
                f"{number(1 - z)}·{factor(n)} + {number(z)}·{factor(kept)} = {number(h)}", h)

    def gate_lines(self, sums: list[GateSum], kept: float) -> list[Line]:
        u, z = (float(logistic(np.asarray(s.total))) for s in sums[:2])
        n = float(np.tanh(sums[2].of_x + u * sums[2].of_h))
        h = (1 - z) * n + z * kept
        return [
            Line(f"u = σ({sums[0].text}) = {number(u)}", u),
            Line(f"z = σ({sums[1].text}) = {number(z)}", z),
            Line(f"n = tanh({number(sums[2].of_x)} + u·{factor(sums[2].of_h)}) = {number(n)}", n),
            Line(f"h = (1 − z)·n + z·h = {number(1 - z)}·{factor(n)} + {number(z)}·{factor(kept)} = {number(h)}", h),
        ]

    def cell(self, a: Array, r: Array, state: State) -> tuple[State, Any]:
        a_u, a_z, a_n = np.split(a, 3, axis=-1)
        r_u, r_z, r_n = np.split(r, 3, axis=-1)
        u, z = logistic(a_u + r_u), logistic(a_z + r_z)
        n = np.tanh(a_n + u * r_n)
        return ((1 - z) * n + z * state[0],), (u, z, n, r_n)

    def cell_back(self, delta: State, memory: Any, state: State) -> tuple[Array, Array, State]:
        u, z, n, r_n = memory
        dn = delta[0] * (1 - z) * (1 - n**2)
        dz = delta[0] * (state[0] - n) * z * (1 - z)
        du = dn * r_n * u * (1 - u)
        return np.concatenate([du, dz, dn], axis=-1), np.concatenate([du, dz, dn * u], axis=-1), (delta[0] * z,)
