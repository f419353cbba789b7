"""Mistakes in a convolution's gradient by its weights, other than sums left out (those are in parameters.py).

∂L/∂weight[k,c,t] = Σ_b Σ_i δ[b,k,i] · x[b,c,i·stride − padding + t·dilation]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from convscope.operators._windows import per_axis
from convscope.operators.conv import Conv
from convscope.operators.mistakes._mistake import PARAMETERS, backward

CORRELATE = "correlate x with δ as it is: nothing is flipped in the gradient of the weights"


@backward(Conv, "the gradient of the weights came out flipped in both axes", CORRELATE, PARAMETERS)
def weight_gradient_flipped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (None, np.flip(op.weight_gradient(delta, x, weight.shape), tuple(range(2, weight.ndim))))


@backward(Conv, "the gradient of the weights has rows and columns swapped", CORRELATE, PARAMETERS)
def weight_gradient_transposed(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    return (None, op.weight_gradient(delta, x, weight.shape).swapaxes(2, 3))


@backward(
    Conv,
    "filters and input channels of the weight gradient were swapped",
    "its axes are (filter, channel, row, column)",
    PARAMETERS,
)
def weight_gradient_channels_swapped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    gradient = op.weight_gradient(delta, x, weight.shape).swapaxes(0, 1)
    return (None, gradient.reshape(weight.shape))


def _shifted(before: bool) -> Any:
    """x padded on one side only: what the weights met is shifted by the padding."""

    def make(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
        start, end = op._paddings(weight.shape)
        if not any(start) and not any(end):
            return None
        both = [(p + q, 0) if before else (0, p + q) for p, q in zip(start, end, strict=True)]
        wide = np.pad(x, ((0, 0), (0, 0), *both))
        return (None, replace(op, padding=0).weight_gradient(delta, wide, weight.shape))

    return make


_PAD = "pad x on both sides, as in the forward pass, before it is correlated with δ"
backward(Conv, "x was padded at the end only", _PAD, PARAMETERS, "weight gradient: padding forgotten")(_shifted(False))
backward(Conv, "x was padded at the start only", _PAD, PARAMETERS, "weight gradient: padding at the start only")(
    _shifted(True)
)


@backward(Conv, "windows over the padding were left out", _PAD, PARAMETERS)
def weight_gradient_without_the_border(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    """Only windows that lie inside x."""
    inside = np.zeros_like(delta)
    windows = op.windows(x.shape, weight.shape)
    whole = []
    for n, h, w in zip(x.shape[2:], delta.shape[2:], windows, strict=True):
        first = np.arange(h) * w.stride - w.padding
        whole.append(np.flatnonzero((first >= 0) & (first + w.dilation * (w.kernel - 1) < n)))
    where = (slice(None), slice(None), *np.ix_(*whole))
    inside[where] = delta[where]
    return (None, op.weight_gradient(inside, x, weight.shape))


@backward(
    Conv,
    "the stride was forgotten: δ was laid over neighbouring pixels",
    "put stride − 1 zeros between the δ first",
    PARAMETERS,
)
def weight_gradient_without_the_stride(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if all(s == 1 for s in per_axis(op.stride, x.ndim - 2)):
        return None
    return (None, replace(op, stride=1).weight_gradient(delta, x, weight.shape))


@backward(
    Conv, "the groups were ignored: every filter met the first channels", "a group's δ meets its own channels", PARAMETERS
)
def weight_gradient_without_groups(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if op.groups == 1:
        return None
    return (None, replace(op, groups=1).weight_gradient(delta, x[:, : weight.shape[1]], weight.shape))


@backward(Conv, "the weights' values were mixed in: δ · x · weight", CORRELATE, PARAMETERS)
def weight_gradient_times_the_weights(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (None, op.weight_gradient(delta, x, weight.shape) * weight)


@backward(Conv, "all channels got the gradient of their sum", "keep the channels of x apart", PARAMETERS)
def weight_gradient_channels_summed(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    gradient = op.weight_gradient(delta, x, weight.shape)
    return (None, np.broadcast_to(gradient.sum(axis=1, keepdims=True), gradient.shape))
