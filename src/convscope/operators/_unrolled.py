"""A recurrent layer written out: one number of y followed through time, one gradient followed back through it.

    y[t]             the gates and the state of one unit at every time up to t; at t itself the sums behind the gates
    ∂L/∂x[t]         δh of one unit from the last time back to t: what comes from above, what from the next time; then
                     Σ over gates and units of ∂a[t] · W_ih
    ∂L/∂W            one product for every time and example: ∂a[t] · x[t], ∂r[t] · h[t−1]; time by time

Where there are several layers, what the layer below handed on and what the layer above sent back are taken as computed.

Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.operators._lines import at_text, largest, require_gradient
from convscope.operators._working import Working, number, plus, sum_lines, terms
from convscope.results import Gradient, Grid, Line

if TYPE_CHECKING:
    from convscope.operators._recurrent import Passes, Recurrent

Shape = tuple[int, ...]
Array = Any
TIMES = 32  # times that are written one by one


@dataclass(frozen=True)
class GateSum:
    """What goes into one gate of one unit: x[t]·W_ih[row], h[t−1]·W_hh[row] and the biases (None where there are none)."""

    x: float
    h: float
    b_ih: float | None = None
    b_hh: float | None = None

    @property
    def of_x(self) -> float:
        return self.x + (self.b_ih or 0.0)

    @property
    def of_h(self) -> float:
        return self.h + (self.b_hh or 0.0)

    @property
    def total(self) -> float:
        return self.of_x + self.of_h

    @property
    def text(self) -> str:
        """'0.3 + 0.1 − 0.2 + 0.05': x's product, its bias, h's product, its bias."""
        numbers = (v for v in (self.b_ih, self.h, self.b_hh) if v is not None)
        return number(self.x) + "".join(plus(v) for v in numbers)


# --- sizes -----------------------------------------------------------------------------------------------------------------


def names(layer: Recurrent, count: int) -> tuple[str, ...]:
    """What the weights are called, in the order of the arrays: weight_ih_l0, weight_hh_l0, bias_ih_l0, …, as in PyTorch."""
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.has_biases else ()), "weight_hr")
    per = 2 if layer.bidirectional else 1
    return tuple(f"{kind}_l{row // per}" + "_reverse" * (row % per) for row in range(rows) for kind in kinds[:count // rows])


def gradients(layer: Recurrent, *shapes: Shape | None) -> tuple[Gradient, ...]:
    """The backward pass in words; () for a packed sequence, whose rows are of different lengths."""
    x, weights = shapes[0], [s for s in shapes[1 + layer.states:] if s is not None]
    if x is None or len(x) != 3:
        return ()
    times, batch = (x[1], x[0]) if layer.batch_first else x[:2]
    wide = weights[0][0]
    found = [Gradient("x", x, f"∂a·W_ih at each of the {times} times; ∂a[t] from δh[t] = δy[t] + ∂r[t+1]·W_hh, from the "
                      "last time to the first (backpropagation through time)",
                      f"{times} × ({batch}×{wide}) · ({wide}×{x[-1]})", layer.macs(x, *shapes[1:]))]
    for name, shape in zip(("h0", "c0"), shapes[1:1 + layer.states], strict=False):
        if shape is not None:
            found.append(Gradient(name, shape, f"what is left of δ{name[0]} after all {times} times"))
    for name, shape in zip(names(layer, len(weights)), weights, strict=True):
        left, right = _factors(name)
        if right:
            how, macs = f"Σ over the {times} times of {left}ᵀ·{right}", times * batch * shape[0] * shape[1]
            sizes = f"{times} × ({shape[0]}×{batch}) · ({batch}×{shape[1]})"
        else:
            how, macs = f"Σ over the {times} times and the batch of {left}", 0
            sizes = f"{times}·{batch} = {times * batch} terms"
        found.append(Gradient(name, shape, how, sizes, macs))
    return tuple(found)


def _factors(name: str) -> tuple[str, str]:
    """What the gradient of a weight multiplies: ('∂a', 'x_t')."""
    kind = name.rsplit("_l", 1)[0]
    return {"weight_ih": ("∂a", "x_t"), "weight_hh": ("∂r", "h_{t−1}"), "weight_hr": ("δh", "o·tanh(c)"),
            "bias_ih": ("∂a", ""), "bias_hh": ("∂r", "")}[kind]


# --- forward ---------------------------------------------------------------------------------------------------------------


def explain_value(layer: Recurrent, at: tuple[int, ...], *arrays: Array) -> Working:
    """One number of y."""
    made = layer.ahead(arrays[0], arrays[1:])
    t, b, u = (at[1], at[0], at[2]) if layer.batch_first else at
    per = 2 if layer.bidirectional else 1
    width = made.weights[0][1].shape[1]
    i, j = (layer.num_layers - 1) * per + u // width, u % width
    tape, (w_ih, w_hh, b_ih, b_hh, w_hr) = made.tapes[i], layer.named(made.weights[i])
    step = _own(t, i, made, per)
    unit = j if w_hr is None else int(np.abs(w_hr[j] * tape[step][2][b]).argmax())
    lines = [_given(layer, i, unit)]
    lines.append(_before(layer, float(made.starts[i][-1][b, unit]), step))
    for k in _shown(step):
        text, h = layer.time_text(tape[k][1], float(tape[k][0][-1][b, unit]), (b, unit))
        lines.append(Line(f"t = {_own(k, i, made, per)}: {text}", h))
    x_t, h_before = layer.in_order(made.inputs[-2], i)[step][b], tape[step][0][0][b]
    rows = [g * (len(w_ih) // layer.gates) + unit for g in range(layer.gates)]
    sums = [GateSum(float(w_ih[r] @ x_t), float(w_hh[r] @ h_before), *((float(b_ih[r]), float(b_hh[r]))
                                                                        if layer.has_biases else ())) for r in rows]
    length = float(np.linalg.norm(h_before))
    lines.append(Line(f"t = {t} worked out; the length of h[t−1], {width} units, is {number(length)}", length))
    for name, row, s in zip(layer.gate_names, rows, sums, strict=True):
        lines += [Line(f"{name}: x[t]·W_ih[{row}] = Σ of {len(x_t)} products = {number(s.x)}", s.x),
                  Line(f"{name}: h[t−1]·W_hh[{row}] = Σ of {width} products = {number(s.h)}", s.h)]
    lines += layer.gate_lines(sums, float(tape[step][0][-1][b, unit]))
    grids = (Grid("x[t]", x_t), Grid("W_ih, a row for each gate", w_ih[rows]), Grid("h[t−1]", h_before),
             Grid("W_hh, a row for each gate", w_hh[rows]))
    if w_hr is None:
        places = np.column_stack([np.full(len(x_t), t), np.full(len(x_t), b), np.arange(len(x_t))])
        row = rows[min(2, layer.gates - 1)]  # the gate that proposes: g of an LSTM, n of a GRU
        products = terms(("x" if i < per else "layer below", _turned(layer, places) if i < per else places, x_t),
                         ("W_ih", np.column_stack([np.full(len(x_t), row), np.arange(len(x_t))]), w_ih[row]))
        lines.append(Line(f"y{at_text(at)} = h = {number(lines[-1].value)}", lines[-1].value))
        return Working(layer.formula, tuple(lines), products, grids)
    wide = tape[step][2][b]
    n, units = len(wide), np.arange(len(wide))
    products = terms(("o·tanh(c)", np.column_stack([np.full(n, t), np.full(n, b), units]), wide),
                     ("W_hr", np.column_stack([np.full(n, j), units]), w_hr[j]))
    return Working(f"{layer.formula},  y = W_hr·h", (*lines, *sum_lines(products, f"y{at_text(at)}")), products, grids)


# --- backward --------------------------------------------------------------------------------------------------------------


def explain_gradient(layer: Recurrent, which: int, at: tuple[int, ...], delta: Any, *arrays: Array) -> Working:
    """The gradient of one number of x, of an initial state or of a weight."""
    require_gradient(layer, which, [k for k, a in enumerate(arrays) if a is not None])
    made = layer.passes(delta, arrays[0], arrays[1:])
    if which == 0:
        return _of_x(layer, at, made)
    if which <= layer.states:
        return _of_start(layer, which - 1, at, made)
    flat = len(arrays) - 1 - layer.states
    each = flat // len(made.weights)
    i, kind = divmod(which - 1 - layer.states, each)
    return _of_weight(layer, names(layer, flat)[i * each + kind], i, at, made)


def _of_x(layer: Recurrent, at: tuple[int, ...], made: Passes) -> Working:
    t, b, column = (at[1], at[0], at[2]) if layer.batch_first else at
    per = 2 if layer.bidirectional else 1
    parts: list[Array] = []
    for i in range(per):
        parts.append(made.moments[i][_own(t, i, made, per)].da[b] * made.weights[i][0][:, column])
    by_unit = np.abs(np.stack([p.reshape(layer.gates, -1).sum(axis=0) for p in parts]))
    i, unit = (int(n) for n in np.unravel_index(by_unit.argmax(), by_unit.shape))
    lines = [_given(layer, i, unit, "the one through which most comes back"),
             *_chain(layer, i, made, (b, unit), _own(t, i, made, per))]
    rows = np.concatenate([np.arange(len(p)) for p in parts])
    direction = np.repeat(np.arange(per), len(parts[0]))
    left = np.concatenate([made.moments[k][_own(t, k, made, per)].da[b] for k in range(per)])
    right = np.concatenate([made.weights[k][0][:, column] for k in range(per)])
    products = terms(("∂a", np.column_stack([np.full(len(rows), t), np.full(len(rows), b), rows]), left),
                     ("W_ih", np.column_stack([rows, np.full(len(rows), column)]), right))
    lines += sum_lines(products, f"∂L/∂x{at_text(at)}", parts=direction, part="direction")
    return Working(layer.backward_formula, tuple(lines), products)


def _of_start(layer: Recurrent, state: int, at: tuple[int, ...], made: Passes) -> Working:
    i, b, j = at
    first, w_hh, w_hr = made.moments[i][0], made.weights[i][1], layer.named(made.weights[i])[4]
    unit = j if w_hr is None or state else int(np.abs(first.delta[b]).argmax())
    what = f"∂L/∂{'hc'[state]}0{at_text(at)}"
    lines = [_given(layer, i, unit, "the largest δh" if unit != j else "its own"), *_chain(layer, i, made, (b, unit), 0)]
    if state:
        value = float(first.direct[1][b, j])
        f = float(made.tapes[i][0][1][1][b, j])
        lines += [Line(f"f at the first time = {number(f)}", f), Line(f"{what} = δc·f = {number(value)}", value)]
        return Working("∂L/∂c[0] = δc[1] · f[1],  δc[t] = δh[t]·o·(1 − tanh²c) + δc[t+1]·f[t+1]", tuple(lines))
    rows = np.arange(len(w_hh))
    products = terms(("∂r", np.column_stack([np.full(len(rows), b), rows]), first.dr[b]),
                     ("W_hh", np.column_stack([rows, np.full(len(rows), j)]), w_hh[:, j]))
    kept = float(first.direct[0][b, j])
    lines += sum_lines(products, what, kept, "kept by the cell itself")
    return Working("∂L/∂h[0] = ∂r[1] · W_hh + what the cell itself keeps of δh", tuple(lines), products)


def _of_weight(layer: Recurrent, name: str, i: int, at: tuple[int, ...], made: Passes) -> Working:
    moments, tape, per = made.moments[i], made.tapes[i], 2 if layer.bidirectional else 1
    x = layer.in_order(made.inputs[i // per], i)
    times, batch = x.shape[:2]
    kind, (left, right) = name.rsplit("_l", 1)[0], _factors(name)
    row, column = at[0], at[1] if len(at) > 1 else 0
    if kind == "weight_hr":
        lefts = np.array([(m.above + m.later[0])[:, row] for m in moments])
        rights = np.array([wide[:, column] for _, _, wide in tape])
    else:
        lefts = np.array([(m.da if left == "∂a" else m.dr)[:, row] for m in moments])
        rights = {"x_t": lambda: x[:, :, column], "h_{t−1}": lambda: np.array([s[0][:, column] for s, _, _ in tape]),
                  "": lambda: np.ones((times, batch))}[right]()
    own = np.array([_own(k, i, made, per) for k in range(times)])
    before = own + (1 if per == 2 and i % 2 else -1) if right == "h_{t−1}" else own
    t, b = np.repeat(own, batch), np.tile(np.arange(batch), times)
    products = terms((left, np.column_stack([t, b, np.full(len(t), row)]), lefts.reshape(-1)),
                     (right or "1", np.column_stack([np.repeat(before, batch), b, np.full(len(t), column)]),
                      rights.reshape(-1)))
    each = (lefts * rights).sum(axis=1)

    def text(k: int) -> str:
        return f"t = {own[k]}: " + (f"{number(lefts[k, 0])}·({number(rights[k, 0])})" if batch == 1 else
                                    f"Σ of {batch} examples") + f" = {number(each[k])}"

    total = f"∂L/∂{name}{at_text(at)}"
    lines = [*largest(each, text, "times"), *sum_lines(products, total)]
    formula = f"∂L/∂{name} = Σ_t Σ_b {left}[t,b]" + (f" · {right}[b]" if right else "")
    return Working(formula, tuple(lines), products)


def _chain(layer: Recurrent, i: int, made: Passes, at: tuple[int, int], until: int) -> list[Line]:
    """δh of one unit from the last time that its direction reads back to `until` (in the direction's own order)."""
    moments, per, (b, unit) = made.moments[i], 2 if layer.bidirectional else 1, at
    w_hr, last = layer.named(made.weights[i])[4], len(made.moments[i]) - 1
    hidden, lines = max(0, last - until + 1 - TIMES), list[Line]()
    for k in range(last - hidden, until - 1, -1):
        m = moments[k]
        above, later = (float((d if w_hr is None else d @ w_hr)[b, unit]) for d in (m.above, m.later[0]))
        source = f"from t = {_own(k + 1, i, made, per)}" if k < last else "from the last state"
        if k < last and not lines:
            source += f", {hidden} times on the way from the end not written out"
        text = f"t = {_own(k, i, made, per)}: δh = {number(above)} (from above){plus(later)} ({source}) = " \
               f"{number(m.delta[b, unit])}"
        text += f"; c brings {number(m.later[1][b, unit])} besides" if layer.states > 1 else ""
        each = m.da[b].reshape(layer.gates, -1)[:, unit] + 0.0  # no −0
        text += "; " + ", ".join(f"∂a_{n} = {number(v)}" for n, v in zip(layer.gate_names, each, strict=True))
        lines.append(Line(text, float(m.delta[b, unit])))
    return lines


def _given(layer: Recurrent, i: int, unit: int, back: str = "") -> Line:
    """Which layer, direction and unit this is, and what is taken as computed; `back`: why this unit is followed back."""
    row = i // (2 if layer.bidirectional else 1)
    turned = "read from the last time to the first, " if layer.bidirectional and i % 2 else ""
    text = f"layer {row}, {turned}unit {unit}"
    if back:
        text += f" ({back})"
        text += f"; from above comes the δ of layer {row + 1}, taken as computed" if row + 1 < layer.num_layers else ""
    elif row:
        text += f"; x[t] is what layer {row - 1} gave, taken as computed"
    return Line(text, float(unit))


def _before(layer: Recurrent, start: float, step: int) -> Line:
    """What the unit remembered before the first time."""
    hidden = max(0, step + 1 - TIMES)
    text = f"before the first time {'c' if layer.states > 1 else 'h'} = {number(start)}"
    return Line(text + (f"; {hidden} times from there on are not written out" if hidden else ""), start)


def _shown(step: int) -> range:
    """The last of the times up to `step`, as many as are written one by one."""
    return range(max(0, step + 1 - TIMES), step + 1)


def _own(t: int, i: int, made: Passes, per: int) -> int:
    """The time's number in the direction's own order, and back."""
    return len(made.inputs[0]) - 1 - t if per == 2 and i % 2 else t


def _turned(layer: Recurrent, places: Array) -> Array:
    """(t, b, feature) as x has its axes."""
    return places[:, [1, 0, 2]] if layer.batch_first else places


__all__ = ["GateSum", "explain_gradient", "explain_value", "gradients", "names"]
