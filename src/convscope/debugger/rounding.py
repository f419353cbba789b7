"""How far may an array be from ours through rounding alone?

A sum of n products in another order differs by about eps · Σ|products|, whatever is left of the sum: the size of the *terms*
counts, not that of the result (Higham 2002, "Accuracy and Stability of Numerical Algorithms", chapter 4). So for every call

    noise(y)  =  (noise(x)/max|x|) · max|y|  +  16 · eps · max Σ|terms of y|

forward, from layer to layer; backward likewise, beginning with eps/B at the loss (there p and q, numbers of size 1, are
subtracted, so a sure network's small deltas are coarse). eps is that of the arrays' precision: 1.2e-7 for float32, 2.2e-16
for float64. Float32 arrays saved as float64 count as float32. Measured: the noise of float32 arrays stays 5 to 50 times
below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from convscope.debugger.replay import LOSS, Replay
from convscope.glass import INPUT, Call
from convscope.operators import Operator
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.conv import Conv
from convscope.operators.conv_transpose import ConvTranspose
from convscope.operators.linear import AddMM, Linear

SLACK = 16
_SUMS = (Conv, ConvTranspose, Linear, AddMM)


def precision(arrays: Iterable[Any]) -> float:
    """The unit of rounding of the coarsest floating-point array; 2.2e-16 if all hold integers.

    >>> precision([np.float64([0.5, 0.25])]) > 1e-8, precision([np.float64([0.1])]) < 1e-15
    (True, True)
    """
    found = [float(np.finfo(np.float64).eps)]
    for a in arrays:
        if a.dtype.kind == "f" and a.size:
            kinds = [
                np.dtype(k) for k in (np.float16, np.float32) if k != a.dtype and np.dtype(k).itemsize < a.dtype.itemsize
            ]
            with np.errstate(over="ignore"):
                held = next(
                    (k for k in kinds[::-1] if np.array_equal(a.astype(k).astype(a.dtype), a) and np.any(a)), a.dtype
                )
            found.append(float(np.finfo(held if held != np.float16 or a.dtype == np.float16 else np.float32).eps))
    return max(found)


def allowances(replay: Replay, eps: float) -> dict[Any, float]:
    """The noise allowed: by value name (activations), ('delta', value name), ('part', call name, which), and 'loss'."""
    run, box = replay.right, replay.box
    noise: dict[Any, float] = {INPUT: eps * _size(run.values[INPUT])}
    for name in box.parameters:
        noise[name] = eps * _size(run.values[name])
    for call in box.calls:
        arrays = box.read(call, run.values)
        coarse = _relative(noise, run.values, call)
        y = run.values[call.name]
        terms = max(_size(y), _terms(call.operator, arrays))
        noise[call.name] = coarse * _size(y) + SLACK * eps * terms
    output = noise[box.output]
    noise[LOSS] = SLACK * eps * (1 + abs(run.loss)) + 2 * output * (
        1.0 if replay.target.dtype.kind == "i" else _size(run.values[box.output])
    )
    start = run.deltas[box.output]
    share = 1 / len(replay.x) if getattr(replay.operator, "reduction", "") == "mean" else 1.0
    noise["delta", box.output] = SLACK * eps * (share + _size(start)) + 2 * output * max(_size(start), share * 1e-3)
    for call in reversed(box.calls):
        delta = run.deltas.get(call.name)
        if delta is None or call.operator is None:
            if delta is not None and call.reads[0] is not None:
                noise["delta", call.reads[0]] = noise["delta", call.name]
            continue
        arrays = box.read(call, run.values)
        size = _size(delta)
        coarse = (noise["delta", call.name] / size if size else 0.0) + _relative(noise, run.values, call)
        terms = _back_terms(call.operator, delta, arrays)
        for at, name in enumerate(call.reads):
            gradient = run.parts[call.name][at]
            if name is None or gradient is None:
                continue
            whole = max(_size(gradient), terms[at])
            learned = name in box.parameters
            mine = coarse * (whole if learned else _size(gradient)) + SLACK * eps * whole
            noise["part", call.name, at] = mine
            noise["delta", name] = noise.get(("delta", name), 0.0) + mine
    return noise


def _size(value: Any) -> float:
    if isinstance(value, tuple):
        return max((_size(v) for v in value if v is not None), default=0.0)
    return float(np.abs(value).max()) if np.size(value) else 0.0


def _relative(noise: dict[Any, float], values: Any, call: Call) -> float:
    """The largest relative noise among the data that a call reads."""
    sizes = [(noise[n], _size(values[n])) for n in call.reads if n is not None and n in noise]
    return max((a / b for a, b in sizes if b), default=0.0)


def _terms(operator: Operator | None, arrays: Sequence[Any]) -> float:
    """The largest Σ|terms| of an output."""
    if isinstance(operator, _SUMS):
        return _size(operator.forward(*(None if a is None else np.abs(a) for a in arrays)))
    if isinstance(operator, BatchNorm):
        x, weight = arrays[0], arrays[1] if len(arrays) > 1 else None
        _, sigma = operator._standardised(x, *arrays[3:5])
        return 2 * _size(x) / float(sigma.min()) * (1.0 if weight is None else _size(weight))
    return 0.0


def _back_terms(operator: Operator, delta: Any, arrays: Sequence[Any]) -> tuple[float, ...]:
    """The largest Σ|terms| of every gradient."""
    if isinstance(operator, _SUMS):
        found = operator.backward(np.abs(delta), *(None if a is None else np.abs(a) for a in arrays))
        return tuple(0.0 if g is None else _size(g) for g in found)
    if isinstance(operator, BatchNorm):
        weight = arrays[1] if len(arrays) > 1 else None
        x_hat, sigma = operator._standardised(arrays[0], *arrays[3:5])
        d = _size(delta) * (1.0 if weight is None else _size(weight))
        sums = np.abs(delta).sum(axis=(0, *range(2, delta.ndim))).max()
        return (3 * d / float(sigma.min()), _size(x_hat) * float(sums), float(sums), *(0.0,) * (len(arrays) - 3))
    return (0.0,) * len(arrays)
