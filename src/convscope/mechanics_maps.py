"""The numbers from which the mechanics page works out a layer: a channel of the input, one kernel, a channel of the output.

A page that has these few maps can write out every output value, every delta and every weight's gradient by itself, and hold
it against autograd's map of the same thing. With K filters and C channels it shows filter k and channel c; what the others
add is one map each, worked out by our own operators:

    y[k, i]    = bias[k] + Σ_t x[c, i·s − p + t·d] · w[k, c, t] + others[i]        (others: the channels that are not shown)
    ∂L/∂x[c, p] = Σ_i δ[k, i] · w[k, c, t(i, p)] + others[p]                       (others: the filters that are not shown)
    ∂L/∂w[k, c, t] = Σ_i δ[k, i] · x[c, i·s − p + t·d]

Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.errors import UnknownName
from convscope.glass import Call
from convscope.operators import Operator
from convscope.operators.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, spans
from convscope.operators.avg_pool import AvgPool
from convscope.operators.conv import Conv
from convscope.operators.linear import Linear
from convscope.operators.max_pool import MaxPool

Array = Any
WHOLE_MATRIX = 100_000  # weights of a dense layer that are sent all together; of more, one row and one column


@dataclass(frozen=True)
class Worked:
    """One layer of one run: what it read, what it wrote, and autograd's derivatives, as float64 arrays with B = 1."""

    address: str
    call: Call
    arrays: tuple[Any, ...]  # None where an optional one is missing
    y: Array
    delta: Array  # ∂L/∂y
    gradients: tuple[Any, ...]  # ∂L/∂array through this one operation

    @property
    def operator(self) -> Operator:
        assert self.call.operator is not None
        return self.call.operator


def layer_maps(worked: Worked, channel: int | None, inner: int | None) -> dict[str, Any]:
    """The maps of a layer for output channel `channel` and input channel `inner`; None: the strongest.

    'kind' says how the page is to work with them: 'conv', 'pool', 'dense', or 'lines' where it asks for each number.
    'prefix' holds, for each direction, the indices before a position in the shown map.
    """
    operator, x = worked.operator, worked.arrays[0]
    if isinstance(operator, Conv) and x.ndim == 4:
        return _conv(worked, operator, channel, inner)
    if isinstance(operator, (MaxPool, AvgPool, AdaptiveMaxPool, AdaptiveAvgPool)) and x.ndim == 4:
        return _pool(worked, operator, channel)
    if isinstance(operator, Linear) and x.ndim == 2:
        return _dense(worked, channel, inner)
    return _lines(worked, channel, inner)


def encode(array: Array, single: bool = False) -> dict[str, Any]:
    """An array for the browser: its shape, and its numbers as base64 of little-endian floats.

    >>> encode(np.array([1.0, 2.0]), single=True)
    {'shape': [2], 'type': 'f4', 'data': 'AACAPwAAAEA='}
    """
    kind = "f4" if single else "f8"
    content = np.ascontiguousarray(array, f"<{kind}").tobytes()
    return {"shape": list(np.shape(array)), "type": kind, "data": base64.b64encode(content).decode()}


def chosen(asked: int | None, strengths: Array, what: str, where: str) -> int:
    """The asked index if it exists, or the strongest one."""
    if asked is None:
        return int(np.argmax(strengths))
    if not 0 <= asked < len(strengths):
        raise UnknownName(f"no {what} {asked} in {where}", f"there are {len(strengths)}", f"use 0 … {len(strengths) - 1}")
    return asked


def _conv(worked: Worked, operator: Conv, channel: int | None, inner: int | None) -> dict[str, Any]:
    x, weight, *rest = worked.arrays
    bias = rest[0] if rest else None
    k = chosen(channel, np.abs(worked.y[0]).max((1, 2)), "filter", worked.address)
    width = weight.shape[1]
    per_group = weight.shape[0] // operator.groups
    first = k // per_group * width
    strength = np.abs(weight[k]).sum((1, 2)) * np.abs(x[0, first : first + width]).sum((1, 2))
    c = chosen(inner, strength, "input channel", f"filter {k} of {worked.address}")
    alone = dataclasses.replace(operator, groups=1)
    rest_of_filter = weight[k : k + 1].copy()
    rest_of_filter[:, c] = 0
    others = alone.forward(x[:, first : first + width], rest_of_filter)[0, 0] if width > 1 else None
    filters = [f for f in range(k // per_group * per_group, (k // per_group + 1) * per_group) if f != k]
    delta, slices = worked.delta[:, filters], weight[filters, c : c + 1]
    back = alone.input_gradient(delta, slices, x.shape[2:])[0, 0] if filters else None
    windows = operator.windows(x.shape, weight.shape)
    taps = [[[i * w.stride - w.padding + t * w.dilation for t in range(w.kernel)] for i in range(n)]
            for w, n in zip(windows, worked.y.shape[2:], strict=True)]
    return {
        "kind": "conv", "rows": taps[0], "columns": taps[1], "channel": k, "channels": weight.shape[0], "inner": c,
        "inners": width, "first": first, "bias": None if bias is None else float(bias[k]),
        "prefix": {"forward": [0, k], "input": [0, first + c], "weights": [k, c]},
        "maps": {"x": x[0, first + c], "kernel": weight[k, c], "y": worked.y[0, k], "delta": worked.delta[0, k],
                 "dx": worked.gradients[0][0, first + c], "dw": worked.gradients[1][k, c], "others": others,
                 "others_back": back},
    }  # fmt: skip


def _pool(worked: Worked, operator: Any, channel: int | None) -> dict[str, Any]:
    x = worked.arrays[0]
    k = chosen(channel, np.abs(worked.y[0]).max((1, 2)), "channel", worked.address)
    sizes, out = x.shape[2:], worked.y.shape[2:]
    if isinstance(operator, (AdaptiveMaxPool, AdaptiveAvgPool)):
        taps = [[list(range(*span)) for span in spans(n, m)] for n, m in zip(sizes, out, strict=True)]
        divisor: Any = np.outer(*(np.array([len(t) for t in axis], float) for axis in taps))
    else:
        taps = [[[i * w.stride - w.padding + t * w.dilation for t in range(w.kernel)] for i in range(n)]
                for w, n in zip(operator.windows(x.shape), out, strict=True)]
        divisor = operator._divisors(x.shape) if isinstance(operator, AvgPool) else None
    mean = isinstance(operator, (AvgPool, AdaptiveAvgPool))
    return {
        "kind": "pool", "mean": mean, "rows": taps[0], "columns": taps[1], "channel": k, "channels": x.shape[1],
        "prefix": {"forward": [0, k], "input": [0, k], "weights": None},
        "maps": {"x": x[0, k], "y": worked.y[0, k], "delta": worked.delta[0, k], "dx": worked.gradients[0][0, k],
                 "divisor": divisor if mean else None},
    }  # fmt: skip


def _dense(worked: Worked, channel: int | None, inner: int | None) -> dict[str, Any]:
    x, weight, *rest = worked.arrays
    bias = rest[0] if rest else None
    j = chosen(channel, np.abs(worked.y[0]), "output", worked.address)
    i = chosen(inner, np.abs(worked.gradients[0][0]), "input", worked.address)
    return {
        "kind": "dense", "channel": j, "channels": weight.shape[0], "inner": i, "inners": weight.shape[1],
        "prefix": {"forward": [0], "input": [0], "weights": [j]},
        "maps": {"x": x[0], "y": worked.y[0], "delta": worked.delta[0], "dx": worked.gradients[0][0],
                 "dw": worked.gradients[1][j], "row": weight[j], "column": weight[:, i], "biases": bias,
                 "weight": weight if weight.size <= WHOLE_MATRIX else None},
    }  # fmt: skip


def _lines(worked: Worked, channel: int | None, inner: int | None) -> dict[str, Any]:
    """Any other operation: maps to choose a number from; its arithmetic is asked for number by number."""
    read = next((n for n, g in enumerate(worked.gradients) if g is not None), 0)
    x = worked.arrays[read]
    learned = [n for n, name in enumerate(worked.operator.arrays) if name in worked.operator.learned]
    weights = [worked.gradients[n] for n in learned if n < len(worked.gradients) and worked.gradients[n] is not None]
    y, k, channels = _shown(worked.y, channel, worked.address)
    dx, c, inners = _shown(worked.gradients[read] if worked.gradients[read] is not None else np.zeros(np.shape(x)),
                           inner if inner is not None else k, worked.address)
    dw = weights[0] if weights and weights[0].ndim <= 2 else None
    return {
        "kind": "lines", "channel": k, "channels": channels, "inner": c,
        "inners": None if inners == channels else inners,  # the page then shows one channel of both
        "prefix": {"forward": _before(worked.y, k), "input": _before(x, c), "weights": None if dw is None else []},
        "maps": {"x": _slice(x, c), "y": y, "delta": _slice(worked.delta, k), "dx": dx, "dw": dw},
    }  # fmt: skip


def _shown(array: Array, channel: int | None, where: str) -> tuple[Any, int | None, int | None]:
    """What can be drawn of (1, …): a vector, a map, or one channel's map; which channel, and of how many."""
    if np.ndim(array) != 4:
        return _slice(array, None), None, None
    inside = channel if channel is None or channel < array.shape[1] else None
    k = chosen(inside, np.abs(array[0]).max((1, 2)), "channel", where)
    return array[0, k], k, array.shape[1]


def _slice(array: Array, channel: int | None) -> Any:
    if isinstance(array, tuple) or np.ndim(array) not in (2, 3, 4):
        return None
    return array[0] if np.ndim(array) < 4 else array[0, channel or 0]


def _before(array: Array, channel: int | None) -> list[int] | None:
    if isinstance(array, tuple) or np.ndim(array) not in (2, 3, 4):
        return None
    return [0] if np.ndim(array) < 4 else [0, channel or 0]
