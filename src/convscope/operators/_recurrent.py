"""What RNN, LSTM and GRU share: layers, directions, and backpropagation through time.

At each time t, a cell sees two affine forms and its state, and makes the next state:

    a = x_t · W_ihᵀ + b_ih        r = h_{t−1} · W_hhᵀ + b_hh        state_t = cell(a, r, state_{t−1})

Backward walks the times from the last to the first. At each, ∂L/∂state_t turns into ∂L/∂a and ∂L/∂r (the cell's own
formulas), then

    ∂L/∂x_t = ∂a · W_ih        ∂L/∂W_ih += ∂aᵀ · x_t        ∂L/∂b_ih += Σ_B ∂a

and likewise for r, with h_{t−1} in the place of x_t. A leaf gives the cell and its two formulas.

Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError, UsageError
from convscope.geometry import WHOLE
from convscope.operators import _unrolled
from convscope.operators._operator import Array, Operator, Shape
from convscope.operators._unrolled import GateSum
from convscope.operators._working import Working
from convscope.results import Gradient, Line

State = tuple[Array, ...]  # h, and c for an LSTM: each (B, H)


@dataclass(frozen=True)
class Moment:
    """One time of one direction of one layer, on the way back."""

    above: Array  # ∂L/∂h_t from what reads y, (B, width of h)
    later: State  # ∂L/∂(state_t) from the next time, or from the last state that is returned
    delta: Array  # δh_t of the cell itself, both together (B, H)
    da: Array  # ∂L/∂a, (B, G·H)
    dr: Array  # ∂L/∂r, (B, G·H)
    direct: State  # what reaches the previous state other than through r


@dataclass
class Passes:
    """Everything that a forward and a backward pass met; lists and rows are per layer and direction."""

    inputs: list[Array]  # what each layer reads, (T, B, features); then y
    starts: list[State]
    weights: list[State]
    tapes: dict[int, list[Any]] = field(default_factory=dict[int, list[Any]])  # per time: state before, memory, h made
    moments: dict[int, list[Moment]] = field(default_factory=dict[int, list[Moment]])
    of_start: dict[int, State] = field(default_factory=dict[int, State])
    of_weights: dict[int, list[Array]] = field(default_factory=dict[int, list[Array]])
    of_x: Array = None


@dataclass(frozen=True)
class Recurrent(Operator):
    """A cell run over a sequence. Never made by itself.

    Arrays: x (T, B, I), or (B, T, I) with batch_first; then each initial state (layers·directions, B, H), None for zeros;
    then per layer and direction W_ih (G·H, I), W_hh (G·H, H), and with has_biases b_ih and b_hh (G·H,), as PyTorch orders
    them. forward returns (y, last h[, last c]), y (T, B, directions·H); delta is ∂L/∂y, or a tuple with one entry (or None)
    for each of these.
    """

    has_biases: bool = True
    num_layers: int = 1
    dropout: float = 0.0
    train: bool = False
    bidirectional: bool = False
    batch_first: bool = False

    states: ClassVar[int] = 1  # how many arrays make up a state
    gates: ClassVar[int] = 1  # G: how many affine forms of width H a cell needs
    gate_names: ClassVar[tuple[str, ...]] = ("h",)
    backward_formula: ClassVar[str] = "∂L/∂x[t] = ∂a[t] · W_ih,  ∂a[t] from δh[t] = δy[t] + ∂r[t+1] · W_hh, last time first"

    def cell(self, a: Array, r: Array, state: State) -> tuple[State, Any]:
        """The next state, and what its backward step wants to remember."""
        raise NotImplementedError

    def cell_back(self, delta: State, memory: Any, state: State) -> tuple[Array, Array, State]:
        """∂L/∂a, ∂L/∂r, and what reaches the previous state other than through r; from delta = ∂L/∂(next state)."""
        raise NotImplementedError

    # --- what it costs -------------------------------------------------------------------------------------------------

    def output_shape(self, x: Shape, *rest: Shape) -> Shape:
        return (*x[:-1], rest[self.states + 1][1] * self._directions)  # W_hh is (G·H, width of h)

    def parameters(self, *shapes: Shape | None) -> int:
        return sum(prod(s) for s in shapes[1 + self.states:] if s is not None)

    def macs(self, x: Shape, *rest: Shape | None) -> int:
        """Every matrix of weights meets every time of every sequence once; the gates' own products are elementwise."""
        return prod(x[:-1]) * sum(prod(s) for s in rest if s is not None and len(s) == 2)

    def windows(self, x: Shape, *_: Shape | None) -> tuple[str, ...]:
        return (WHOLE,) * (len(x) - 2)

    # --- what it computes ----------------------------------------------------------------------------------------------

    def forward(self, x: Array, *rest: Array) -> tuple[Array, ...]:
        seen, lasts = x, [list[Array]() for _ in range(self.states)]
        x, starts, weights = self._sorted(x, rest)
        for layer in range(self.num_layers):
            outs: list[Array] = []
            for i in self._of_layer(layer):
                y, state, _ = self._scan(self.in_order(x, i), starts[i], weights[i])
                outs.append(self.in_order(y, i))
                for kept, last in zip(lasts, state, strict=True):
                    kept.append(last)
            x = np.concatenate(outs, axis=-1)
        y = x.swapaxes(0, 1) if self.batch_first else x
        return (y.astype(seen.dtype, copy=False), *map(np.stack, lasts))

    def backward(self, delta: Array, x: Array, *rest: Array) -> tuple[Array, ...]:
        back = self.passes(delta, x, rest)
        count = range(len(back.weights))
        stacked = [None if rest[s] is None else np.stack([back.of_start[i][s] for i in count]) for s in range(self.states)]
        d = back.of_x.swapaxes(0, 1) if self.batch_first else back.of_x
        return (d, *stacked, *(g for i in count for g in back.of_weights[i]))

    def ahead(self, x: Array, rest: tuple[Array, ...]) -> Passes:
        """Forward, remembering everything."""
        x, starts, weights = self._sorted(x, rest)
        made = Passes([x], starts, weights)
        for layer in range(self.num_layers):
            outs: list[Array] = []
            for i in self._of_layer(layer):
                y, _, made.tapes[i] = self._scan(self.in_order(made.inputs[-1], i), starts[i], weights[i])
                outs.append(self.in_order(y, i))
            made.inputs.append(np.concatenate(outs, axis=-1))
        return made

    def passes(self, delta: Any, x: Array, rest: tuple[Array, ...]) -> Passes:
        """Forward and backward, remembering everything."""
        made = self.ahead(x, rest)
        d, ends = self._deltas(delta, made.inputs[-1], made.starts)
        for layer in reversed(range(self.num_layers)):
            parts = np.split(d, self._directions, axis=-1)
            d = np.zeros_like(made.inputs[layer])
            for i, part in zip(self._of_layer(layer), parts, strict=True):
                ordered = self.in_order(made.inputs[layer], i), self.in_order(part, i)
                made.moments[i] = self._scan_back(*ordered, ends[i], made.tapes[i], made.weights[i])
                through, made.of_start[i], made.of_weights[i] = self._summed(ordered[0], made.moments[i], made.tapes[i],
                                                                             made.weights[i])
                d = d + self.in_order(through, i)
        made.of_x = d
        return made

    def _scan(self, x: Array, state: State, weights: State) -> tuple[Array, State, list[Any]]:
        """One direction of one layer: all h (T, B, H), the last state, and the tape of (previous state, memory)."""
        w_ih, w_hh, b_ih, b_hh, w_hr = self.named(weights)
        outs, tape = [], []
        for x_t in x:
            new, memory = self.cell(x_t @ w_ih.T + b_ih, state[0] @ w_hh.T + b_hh, state)
            tape.append((state, memory, new[0]))
            state = new if w_hr is None else (new[0] @ w_hr.T, *new[1:])  # a projected LSTM hands on a narrower h
            outs.append(state[0])
        return np.stack(outs), state, tape

    def _scan_back(self, x: Array, d: Array, carried: State, tape: list[Any], weights: State) -> list[Moment]:
        """What happens at each time, from d = ∂L/∂y and `carried` = ∂L/∂(last state); in the order of the times."""
        _, w_hh, _, _, w_hr = self.named(weights)
        found: list[Moment] = []
        for t in reversed(range(len(x))):
            state, memory, _ = tape[t]
            dh = carried[0] + d[t]
            wide = dh if w_hr is None else dh @ w_hr
            da, dr, direct = self.cell_back((wide, *carried[1:]), memory, state)
            found.append(Moment(d[t], carried, wide, da, dr, direct))
            carried = (dr @ w_hh + direct[0], *direct[1:])
        return found[::-1]

    def _summed(self, x: Array, moments: list[Moment], tape: list[Any], weights: State) -> tuple[Array, State, list[Array]]:
        """∂L/∂x, ∂L/∂(initial state) and ∂L/∂weights from what happened at each time."""
        w_ih, w_hh, _, _, w_hr = self.named(weights)
        dx, sums = np.zeros_like(x), [np.zeros_like(w) for w in weights]
        for t, at in reversed(list(enumerate(moments))):
            dx[t] = at.da @ w_ih
            sums[0] += at.da.T @ x[t]
            sums[1] += at.dr.T @ tape[t][0][0]
            if self.has_biases:
                sums[2] += at.da.sum(axis=0)
                sums[3] += at.dr.sum(axis=0)
            if w_hr is not None:
                sums[-1] += (at.above + at.later[0]).T @ tape[t][2]
        first = moments[0]
        return dx, (first.dr @ w_hh + first.direct[0], *first.direct[1:]), sums

    # --- written out (see _unrolled.py) --------------------------------------------------------------------------------

    def gradients(self, *shapes: Shape | None) -> tuple[Gradient, ...]:
        return _unrolled.gradients(self, *shapes)

    def explain_value(self, at: tuple[int, ...], *arrays: Array) -> Working:
        return _unrolled.explain_value(self, at, *arrays)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Array) -> Working:
        return _unrolled.explain_gradient(self, which, at, delta, *arrays)

    def time_text(self, memory: Any, kept: float, at: tuple[int, int]) -> tuple[str, float]:
        """The gates and the state of one unit at one time, in numbers, and its h; `at` is (example, unit)."""
        raise NotImplementedError

    def gate_lines(self, sums: list[GateSum], kept: float) -> list[Line]:
        """From the gates' sums to h, in numbers; `kept` is what the unit remembered (c for an LSTM, else h)."""
        raise NotImplementedError

    # --- how the arrays are laid out -----------------------------------------------------------------------------------

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _of_layer(self, layer: int) -> range:
        """Rows of the states (and sets of weights) of a layer: forward, then backward in time."""
        return range(layer * self._directions, (layer + 1) * self._directions)

    def in_order(self, x: Array, i: int) -> Array:
        """Reversed in time for the backward direction. Its own inverse."""
        return x[::-1] if self.bidirectional and i % 2 else x

    def named(self, weights: State) -> tuple[Any, ...]:
        """W_ih, W_hh, b_ih, b_hh (0 where there are none), W_hr (None where h is not projected)."""
        biases = weights[2:4] if self.has_biases else (0, 0)
        rest = weights[4 if self.has_biases else 2:]
        return (*weights[:2], *biases, rest[0] if rest else None)

    def _sorted(self, x: Array, rest: tuple[Array, ...]) -> tuple[Array, list[State], list[State]]:
        """x as (T, B, I), the initial states and the weights, the latter two per layer and direction."""
        if self.train and self.dropout and self.num_layers > 1:
            raise UsageError("dropout between recurrent layers is random", f"dropout is {self.dropout} in training",
                             "use the evaluation graph, or dropout=0")
        if x.ndim != 3 or not x.shape[0] * x.shape[1]:
            raise ShapeError(f"a sequence of shape {x.shape}", "", "use three axes, none empty: time, batch, features")
        x = x.swapaxes(0, 1) if self.batch_first else x
        rows, flat = self.num_layers * self._directions, rest[self.states:]
        each, least = len(flat) // rows, 4 if self.has_biases else 2
        if len(flat) % rows or each not in (least, least + (self.states > 1)):
            raise ShapeError(f"{len(flat)} arrays of weights for {rows} layers and directions", "",
                             f"give {least} for each: W_ih, W_hh" + (", b_ih, b_hh" if self.has_biases else ""))
        weights = [flat[i * each:(i + 1) * each] for i in range(rows)]
        if weights[0][0].shape[1] != x.shape[2]:
            raise ShapeError(f"weights for {weights[0][0].shape[1]} features", f"x has {x.shape[2]}",
                             "match the last axis of x")
        widths = (weights[0][1].shape[1], weights[0][1].shape[0] // self.gates)  # of h, of c
        wanted = [(rows, x.shape[1], n) for n in widths[:self.states]]
        for given, shape in zip(rest, wanted, strict=False):
            if given is not None and given.shape != shape:
                raise ShapeError(f"an initial state of shape {given.shape}", f"{shape} is needed",
                                 "its axes are layers·directions, batch, width")
        full = [np.zeros(shape, x.dtype) if a is None else a for a, shape in zip(rest, wanted, strict=False)]
        return x, [tuple(s[i] for s in full) for i in range(rows)], weights

    def _deltas(self, delta: Any, y: Array, starts: list[State]) -> tuple[Array, list[State]]:
        """∂L/∂y in time order, and ∂L/∂(last state) per layer and direction; zeros where none was given."""
        parts = delta if isinstance(delta, tuple) else (delta,)
        parts = (*parts, *(None,) * (1 + self.states - len(parts)))
        d = np.zeros_like(y) if parts[0] is None else (parts[0].swapaxes(0, 1) if self.batch_first else parts[0])
        ends = [tuple(np.zeros_like(s) if p is None else p[i] for s, p in zip(start, parts[1:], strict=True))
                for i, start in enumerate(starts)]
        return d, ends
