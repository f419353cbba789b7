"""Mistakes in the forward pass of a convolution.

y[b,k,i] = bias[k] + Σ_c Σ_t weight[k,c,t] · x[b,c,i·stride − padding + t·dilation]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from convscope.operators._windows import per_axis
from convscope.operators.conv import Conv
from convscope.operators.mistakes._mistake import forward
from convscope.operators.mistakes.conv import flipped


@forward(Conv, "the bias was forgotten", "add bias[k] to every position of map k")
def bias_forgotten(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return op.forward(x, weight) if bias else None


@forward(
    Conv,
    "the kernel was flipped: a true convolution instead of a cross-correlation",
    "slide the kernel as it is; scipy.signal.correlate2d does, convolve2d flips",
)
def kernel_flipped(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return op.forward(x, flipped(weight, tuple(range(weight.ndim - 2))), *bias)


@forward(Conv, "the kernel's rows and columns were swapped", "weight is (filter, channel, row, column)")
def kernel_transposed(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    return op.forward(x, weight.swapaxes(2, 3), *bias)


@forward(Conv, "the padding was forgotten", "pad x with zeros on every side first")
def padding_forgotten(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    start, _ = op._paddings(weight.shape)
    fits = all(n > w.dilation * (w.kernel - 1) for n, w in zip(x.shape[2:], op.windows(x.shape, weight.shape), strict=True))
    return replace(op, padding=0).forward(x, weight, *bias) if any(start) and fits else None


def _one_sided(before: bool) -> Any:
    def make(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
        start, end = op._paddings(weight.shape)
        both = [(p + q, 0) if before else (0, p + q) for p, q in zip(start, end, strict=True)]
        return replace(op, padding=0).forward(np.pad(x, ((0, 0), (0, 0), *both)), weight, *bias)

    return make


forward(Conv, "x was padded at the end only", "pad on both sides", key="padding at the end only")(_one_sided(False))
forward(Conv, "x was padded at the start only", "pad on both sides", key="padding at the start only")(_one_sided(True))


@forward(Conv, "the border was repeated instead of padded with zeros", "pad with zeros: np.pad(x, …) with mode 'constant'")
def border_repeated(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    both = tuple(zip(*op._paddings(weight.shape), strict=True))
    return replace(op, padding=0).forward(np.pad(x, ((0, 0), (0, 0), *both), mode="edge"), weight, *bias)


@forward(Conv, "the stride was forgotten", "move the window by `stride` pixels")
def stride_forgotten(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return replace(op, stride=1).forward(x, weight, *bias) if _matters(op.stride, x) else None


@forward(Conv, "the dilation was forgotten", "taps are `dilation` pixels apart")
def dilation_forgotten(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return replace(op, dilation=1).forward(x, weight, *bias) if _matters(op.dilation, x) else None


@forward(Conv, "the groups were ignored: every filter read the first channels", "a group's filters read its own channels")
def groups_ignored(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return replace(op, groups=1).forward(x[:, : weight.shape[1]], weight, *bias) if op.groups > 1 else None


def _one_channel(which: int) -> Any:
    def make(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
        alone = np.zeros_like(weight)
        alone[:, which] = weight[:, which]
        return op.forward(x, alone, *bias)

    return make


_SUM = "add up over the input channels: y += …"
forward(Conv, "only the last input channel was read", _SUM, key="only the last channel")(_one_channel(-1))
forward(Conv, "only the first input channel was read", _SUM, key="only the first channel")(_one_channel(0))


@forward(Conv, "the bias was added once for each input channel", "add the bias once, after the sum over channels")
def bias_added_for_each_channel(op: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return op.forward(x, weight, bias[0] * weight.shape[1]) if bias else None


def _matters(numbers: Any, x: Any) -> bool:
    return any(n != 1 for n in per_axis(numbers, x.ndim - 2))
