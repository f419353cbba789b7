"""Linear layers with nothing between them are one linear layer: this is why every layer needs an activation function.

    dense after dense           W = W₂·W₁                                                    b = W₂·b₁ + b₂
    batch norm after either     W = s·W₁,  s = weight/√(running variance + eps)              b = s·(b₁ − running mean) + bias
    convolution after conv      w[k,c,u] = Σ_m Σ_t w₂[k,m,t] · w₁[m,c,v],  u = v·d₁ + t·d₂·s₁    b = Σ w₂·b₁ + b₂

(s stride, d dilation; the second convolution must not pad, or it reads zeros that no single layer can know of).

Source: Minsky and Papert 1969, "Perceptrons"; folding of batch norm: Jacob et al. 2018, "Quantization and Training of Neural
Networks", section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.equivalences._proof import Row, asked, before, by, table
from convscope.fields import validate
from convscope.glass import Call
from convscope.mechanics.capture import Capture
from convscope.operators import Operator
from convscope.operators._windows import per_axis
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.conv import Conv
from convscope.operators.dropout import Dropout
from convscope.operators.linear import Linear
from convscope.results import Layer, Table


@dataclass(frozen=True)
class CollapsedLinear:
    """Do this layer and the next one come to a single linear layer?

    Where a dense layer or a convolution is read by another, or by a batch norm (in evaluation), and by nothing else, the
    collapsed weights are computed and the one layer's output is held against the second's, as torch computed it; float64.
    The layer asked for may be either of the two. Weights are counted on both sides.

    Misleads: in training, two layers and their product do not learn in the same way. Errors: UsageError where no such pair
    is found; the reason says what stands between. Source: Minsky and Papert 1969; Jacob et al. 2018.

    >>> import convscope as cs, torch
    >>> net = cs.open(torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.Linear(5, 3)), torch.zeros(1, 8))
    >>> CollapsedLinear()(Capture(net, torch.ones(1, 8)), net["0"]).title
    '0 and 1: nothing between them, so they are one dense layer, 3×8'
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        found = _pair(kept, layer)
        return found if isinstance(found, str) else ""

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        asked(self, kept, layer)
        found = _pair(kept, layer)
        assert not isinstance(found, str)
        first, second = found
        x, w1, *rest = kept.arrays(first)
        operator, weight, bias = _collapsed(kept, first, second)
        b1 = rest[0] if rest else None
        count = w1.size + (0 if b1 is None else b1.size) + sum(kept.value(n).size for n in second.reads[1:3] if n)
        after = weight.size + bias.size
        kind = "dense layer" if isinstance(operator, Linear) else "convolution"
        rows = (
            Row("output", f"{second.address}({first.address}(x))", f"one {kind}, {by(*weight.shape)}",
                (kept.value(second.name), operator.forward(x, weight, bias))),
            Row("weights and biases", f"two layers: {count:,}", f"one layer: {after:,}"),
            Row("largest weight", f"first: {np.abs(w1).max():.6g}", f"collapsed: {np.abs(weight).max():.6g}"),
        )
        title = f"{first.address} and {second.address}: nothing between them, so they are one {kind}, {by(*weight.shape)}"
        return table(self, kept, title, rows)


def _pair(kept: Capture, layer: Layer) -> tuple[Call, Call] | str:
    """The layer and the linear one that alone reads it, or the one that it alone reads; or why there is none."""
    call = next((c for c in kept.reader.calls if c.address == layer.address), None)
    if call is None or not isinstance(call.operator, (Linear, Conv, BatchNorm)):
        return f"{layer.address} is a {layer.operator}, not linear with weights of its own"
    found = _followed(kept, call)
    previous = before(kept, call.reads[0])
    if isinstance(found, str) and previous is not None:
        other = _followed(kept, previous)
        return found if isinstance(other, str) else other
    return found


def _followed(kept: Capture, call: Call) -> tuple[Call, Call] | str:
    """A call and the one that alone reads it, dropout passed over."""
    where = call.address or call.name
    if not isinstance(call.operator, (Linear, Conv)):
        return f"before it comes nothing linear, and {where} cannot be the first of two"
    name = call.name
    while True:
        readers = [c for c in kept.reader.calls if name in c.reads]
        if not readers:
            return f"no layer comes after {where}"
        if len(readers) > 1:
            return f"{where} is read by {len(readers)} layers"
        if not isinstance(readers[0].operator, Dropout):
            return _unfit(call.operator, readers[0], kept) or (call, readers[0])
        name = readers[0].name


def _unfit(first: Operator, second: Call, kept: Capture) -> str:
    """Why these two do not collapse."""
    operator, where = second.operator, second.address or second.name
    if isinstance(operator, BatchNorm):
        channels_first = isinstance(first, Conv) or kept.value(second.name).ndim == 2
        return f"{where} uses the batch's statistics in training" if kept.training else "" if channels_first else \
            f"{where} normalises another axis than the features"
    if type(operator) is not type(first):
        name = type(operator).__name__ if operator is not None else "operation"
        return f"{where} ({name}) comes next: the two are not one linear layer"
    if isinstance(operator, Conv) and any(np.atleast_1d(0 if operator.padding == "valid" else operator.padding) != 0):
        return f"{where} pads with zeros between the two: at the border they are not one convolution"
    return ""


def _collapsed(kept: Capture, first: Call, second: Call) -> tuple[Any, Any, Any]:
    """The single operator, its weights and bias."""
    _, w1, *rest = kept.arrays(first)
    b1 = rest[0] if rest and rest[0] is not None else np.zeros(len(w1))
    _, *others = kept.arrays(second)
    if isinstance(second.operator, BatchNorm):
        gamma, beta, mean, variance = others
        scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + second.operator.eps)
        bias = scale * (b1 - mean) + (0.0 if beta is None else beta)
        return first.operator, w1 * scale.reshape(-1, *(1,) * (w1.ndim - 1)), bias
    w2, b2 = others[0], others[1] if len(others) > 1 and others[1] is not None else 0.0
    if isinstance(first.operator, Linear):
        return first.operator, w2 @ w1, w2 @ b1 + b2
    assert isinstance(first.operator, Conv)
    assert isinstance(second.operator, Conv)
    return _convolutions(first.operator, second.operator, (w1, b1), (w2, b2))


def _convolutions(one: Conv, two: Conv, first: tuple[Any, Any], second: tuple[Any, Any]) -> tuple[Any, Any, Any]:
    (w1, b1), (w2, b2) = (_ungrouped(one, first[0]), first[1]), (_ungrouped(two, second[0]), second[1])
    rank = w1.ndim - 2
    steps = [np.array(per_axis(v, rank)) for v in (one.stride, one.dilation, two.stride, two.dilation)]
    s1, d1, s2, d2 = steps
    k1, k2 = np.array(w1.shape[2:]), np.array(w2.shape[2:])
    size = d1 * (k1 - 1) + d2 * s1 * (k2 - 1) + 1
    weight = np.zeros((len(w2), w1.shape[1], *size))
    for t in np.ndindex(*w2.shape[2:]):
        start = np.array(t) * d2 * s1
        at = tuple(slice(a, a + d * (k - 1) + 1, d) for a, d, k in zip(start, d1, k1, strict=True))
        weight[(slice(None), slice(None), *at)] += np.einsum("km,mc...->kc...", w2[(..., *t)], w1)
    bias = w2.sum(axis=tuple(range(2, w2.ndim))) @ b1 + b2
    return Conv(tuple((s1 * s2).tolist()), one.padding), weight, bias


def _ungrouped(conv: Conv, weight: Any) -> Any:
    """The kernels with zeros where a group does not look."""
    k, each = weight.shape[:2]
    full = np.zeros((k, each * conv.groups, *weight.shape[2:]))
    for filter_ in range(k):
        first = filter_ // (k // conv.groups) * each
        full[filter_, first:first + each] = weight[filter_]
    return full
