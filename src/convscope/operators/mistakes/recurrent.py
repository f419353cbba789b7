"""Mistakes in backpropagation through time.

∂L/∂h[t−1] = ∂r · W_hh + (what the cell hands on directly)        ∂L/∂W_hh = Σ_t ∂r[t]ᵀ · h[t−1]
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from convscope.operators._recurrent import Moment, Recurrent
from convscope.operators.gru import GRU
from convscope.operators.lstm import LSTM
from convscope.operators.mistakes._mistake import BOTH, PARAMETERS, backward, forward
from convscope.operators.rnn import RNN

TIME = "walk back through all times, handing ∂L/∂h (and ∂L/∂c) to the step before, and add up the gradients"


def other(op: Any, **methods: Any) -> Any:
    """The same operation with some of its methods replaced."""
    fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    return type(type(op).__name__, (type(op),), methods)(**fields)


def _with(change: Any) -> Any:
    """Backpropagation through time whose cell's backward step is changed: (δ, memory, state, own step) -> its results."""

    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        def cell_back(self: Any, d: Any, memory: Any, state: Any) -> Any:
            return change(self, d, memory, state, type(op).cell_back)

        return other(op, cell_back=cell_back).backward(delta, *arrays)

    return make


def _scan(keep: Any) -> Any:
    """Backpropagation through time whose carried ∂L/∂state is changed at every step: `keep((∂r, W_hh), direct)` -> state."""

    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        def scan_back(self: Any, x: Any, d: Any, carried: Any, tape: Any, weights: Any) -> list[Moment]:
            w_hh, w_hr = self.named(weights)[1], self.named(weights)[4]
            found: list[Moment] = []
            for t in reversed(range(len(x))):
                state, memory, _ = tape[t]
                dh = carried[0] + d[t]
                wide = dh if w_hr is None else dh @ w_hr
                da, dr, direct = self.cell_back((wide, *carried[1:]), memory, state)
                found.append(Moment(d[t], carried, wide, da, dr, direct))
                carried = keep((dr, w_hh), direct)
            return found[::-1]

        return other(op, _scan_back=scan_back).backward(delta, *arrays)

    return make


def _zero(state: Any) -> Any:
    return tuple(np.zeros_like(s) for s in state)


backward(
    Recurrent,
    "the gradient was truncated at one step: nothing was handed to the time before",
    TIME,
    BOTH,
    "truncated at one step",
)(_scan(lambda r, direct: _zero((r[0] @ r[1], *direct[1:]))))
backward((LSTM, GRU), "the way back through W_hh was left out", TIME, BOTH, "recurrent weights left out of the way back")(
    _scan(lambda r, direct: direct)
)
backward(
    Recurrent, "W_hh was not transposed on the way back", "∂L/∂h[t−1] = ∂r @ W_hh", BOTH, "recurrent weights not transposed"
)(_scan(lambda r, direct: ((r[0] @ r[1].T if r[1].shape[0] == r[1].shape[1] else r[0] @ r[1]) + direct[0], *direct[1:])))
backward(
    Recurrent,
    "W_hh was left out on the way back: δ itself was handed on",
    "∂L/∂h[t−1] = ∂r @ W_hh",
    BOTH,
    "delta handed on without the recurrent weights",
)(_scan(lambda r, direct: ((r[0] if r[0].shape == direct[0].shape else r[0] @ r[1]) + direct[0], *direct[1:])))
backward(
    LSTM,
    "the way through the forget gate is missing: ∂L/∂c was not handed to the step before",
    "∂L/∂c[t−1] = ∂L/∂c[t] · f",
    BOTH,
    "forget gate's path missing",
)(_scan(lambda r, direct: (r[0] @ r[1] + direct[0], np.zeros_like(direct[1]))))
backward(
    LSTM,
    "∂L/∂c went back without being multiplied with the forget gate",
    "∂L/∂c[t−1] = ∂L/∂c[t] · f",
    BOTH,
    "forget gate not multiplied",
)(_with(lambda op, d, m, s, own: (*own(op, d, m, s)[:2], (own(op, d, m, s)[2][0], d[1] + d[0] * m[3] * (1 - m[4] ** 2)))))
backward(
    LSTM, "the derivative of tanh(c) was forgotten", "∂L/∂c += ∂L/∂h · o · (1 − tanh²c)", BOTH, "tanh of the cell forgotten"
)(_with(lambda op, d, m, s, own: _untanh(op, d, m, s)))
backward(GRU, "the way z · h[t−1] is missing", "∂L/∂h[t−1] has ∂L/∂h · z in it", BOTH, "update gate's path missing")(
    _scan(lambda r, direct: (r[0] @ r[1],))
)
backward(
    GRU,
    "the reset gate was not multiplied into the way back",
    "the candidate's share of r is ∂n · u",
    BOTH,
    "reset gate not multiplied",
)(_with(lambda op, d, m, s, own: _unreset(own(op, d, m, s))))
backward(
    RNN,
    "the derivative of the activation was forgotten at every step",
    "∂a = ∂L/∂h · (1 − h²)",
    BOTH,
    "derivative forgotten",
)(_with(lambda op, d, m, s, own: (d[0], d[0], _zero(s))))


def _untanh(op: Any, d: Any, memory: Any, state: Any) -> Any:
    i, f, g, o, said = memory
    dc = d[1] + d[0] * o
    gates = np.concatenate(
        [dc * g * i * (1 - i), dc * state[1] * f * (1 - f), dc * i * (1 - g**2), d[0] * said * o * (1 - o)], axis=-1
    )
    return gates, gates, (np.zeros_like(state[0]), dc * f)


def _unreset(found: Any) -> Any:
    da, _, direct = found
    return da, da, direct


def _gate_slopes_forgotten(op: Any, d: Any, memory: Any, state: Any) -> Any:
    i, f, g, o, said = memory
    dc = d[1] + d[0] * o * (1 - said**2)
    gates = np.concatenate([dc * g, dc * state[1], dc * i, d[0] * said], axis=-1)
    return gates, gates, (np.zeros_like(state[0]), dc * f)


backward(
    LSTM,
    "the derivatives of the gates were forgotten",
    "sigmoid gates: · y(1 − y); the candidate: · (1 − g²)",
    BOTH,
    "derivative forgotten",
)(_with(lambda op, d, m, s, own: _gate_slopes_forgotten(op, d, m, s)))


def _summed(change: Any) -> Any:
    """The walk back is right; `change(moments, tape)` -> what is added up into the weights' gradients instead."""

    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        def summed(self: Any, x: Any, moments: Any, tape: Any, weights: Any) -> Any:
            dx, start, _ = type(op)._summed(self, x, moments, tape, weights)
            return dx, start, type(op)._summed(self, x, *change(moments, tape), weights)[2]

        return other(op, _summed=summed).backward(delta, *arrays)

    return make


def _only(time: int) -> Any:
    """δ of all other times set to zero."""

    def change(moments: Any, tape: Any) -> Any:
        keep = time % len(moments)
        return [
            m if t == keep else dataclasses.replace(m, above=m.above * 0, later=_zero(m.later), da=m.da * 0, dr=m.dr * 0)
            for t, m in enumerate(moments)
        ], tape

    return change


_ADD = "add up over all times: dW += …"
backward(Recurrent, "the weights' gradient is that of the last time only", _ADD, PARAMETERS, "only the last time")(
    _summed(_only(-1))
)
backward(
    Recurrent,
    "each time overwrote the weights' gradient: that of the first time is left",
    _ADD,
    PARAMETERS,
    "only the first time",
)(_summed(_only(0)))


def _averaged(count: Any) -> Any:
    def make(op: Any, delta: Any, x: Any, *rest: Any) -> Any:
        found, n = op.backward(delta, x, *rest), count(op, x)
        return (*(None,) * (1 + op.states), *(None if g is None else g / n for g in found[1 + op.states :]))

    return make


backward(
    Recurrent,
    "the weights' gradient was divided by the number of times",
    _ADD,
    PARAMETERS,
    "mean over times instead of the sum",
)(_averaged(lambda op, x: x.shape[1 if op.batch_first else 0]))
backward(
    Recurrent,
    "the weights' gradient was divided by the number of examples once more",
    _ADD,
    PARAMETERS,
    "mean over the batch instead of the sum",
)(_averaged(lambda op, x: x.shape[0 if op.batch_first else 1]))


def _states_after(moments: Any, tape: Any) -> Any:
    """The tape with h[t] where h[t−1] belongs."""
    return moments, [
        ((new, *state[1:]) if new.shape == state[0].shape else state, memory, new) for state, memory, new in tape
    ]


backward(
    Recurrent,
    "W_hh's gradient was taken with h[t] instead of h[t−1]",
    "∂L/∂W_hh = Σ_t ∂r[t]ᵀ · h[t−1]",
    PARAMETERS,
    "state of the wrong time",
)(_summed(_states_after))


@backward(Recurrent, "the recurrent bias got no gradient", "b_ih and b_hh get the same sum over times and batch", PARAMETERS)
def recurrent_bias_forgotten(op: Any, delta: Any, x: Any, *rest: Any) -> Any:
    found = list(op.backward(delta, x, *rest))
    if not op.has_biases:
        return None
    found[4 + op.states] = np.zeros_like(found[4 + op.states])
    return found


def _gates(order: tuple[int, ...]) -> Any:
    """The gates of an LSTM read in another order."""

    def make(op: Any, x: Any, *rest: Any) -> Any:
        def turned(w: Any) -> Any:
            return None if w is None else np.concatenate([np.split(w, 4)[i] for i in order])

        return op.forward(x, *rest[:2], *map(turned, rest[2:])) if len(rest) == 2 + (4 if op.has_biases else 2) else None

    return make


for _order, _said in (((0, 1, 3, 2), "i, f, o, g"), ((1, 0, 2, 3), "f, i, g, o"), ((1, 0, 3, 2), "f, i, o, g")):
    forward(
        LSTM, f"the gates were read in the order {_said}", "PyTorch's order is i, f, g, o", key=f"gates in the order {_said}"
    )(_gates(_order))
