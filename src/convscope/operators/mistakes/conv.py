"""Mistakes in a convolution's gradient by its input.

    ∂L/∂x[b,c,p] = Σ_k Σ_{i,t: i·stride − padding + t·dilation = p} δ[b,k,i] · weight[k,c,t]

as people write it: put stride − 1 zeros between the δ, convolve in full with the kernels flipped in both axes and in/out
channels swapped, crop the padding. Each step can be left out.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from convscope.operators._windows import per_axis
from convscope.operators.conv import Conv
from convscope.operators.mistakes._mistake import backward

FULL = "use the full convolution: pad δ (spread by the stride) with dilation·(kernel − 1) zeros on every side"
CROP = "cut `padding` pixels off on every side: grad[:, :, p:p + H, p:p + W]"


def flipped(weight: Any, axes: tuple[int, ...]) -> Any:
    """The kernels turned around along some spatial axes."""
    return np.flip(weight, tuple(2 + a for a in axes))


def uncropped(op: Any, delta: Any, x: Any, weight: Any) -> tuple[Any, tuple[int, ...]]:
    """∂L/∂(x with its padding), and how many pixels come before x."""
    start, end = op._paddings(weight.shape)
    sizes = tuple(n + p + q for n, p, q in zip(x.shape[2:], start, end, strict=True))
    return replace(op, padding=0).input_gradient(delta, weight, sizes), start


def _spatial(*slices: Any) -> tuple[Any, ...]:
    return (slice(None), slice(None), *slices)


@backward(Conv, "the kernel was not flipped", "flip the kernel in both axes: weight[:, :, ::-1, ::-1]")
def kernel_not_flipped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (op.input_gradient(delta, flipped(weight, tuple(range(weight.ndim - 2))), x.shape[2:]),)


@backward(Conv, "the kernel was flipped up-down only", "flip the kernel in both axes: weight[:, :, ::-1, ::-1]")
def kernel_flipped_in_rows_only(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    # Flipping what flips by itself: the axis that was left out is the one that comes out turned.
    return (op.input_gradient(delta, flipped(weight, (weight.ndim - 3,)), x.shape[2:]),) if weight.ndim > 3 else None


@backward(Conv, "the kernel was flipped left-right only", "flip the kernel in both axes: weight[:, :, ::-1, ::-1]")
def kernel_flipped_in_columns_only(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (op.input_gradient(delta, flipped(weight, (0,)), x.shape[2:]),) if weight.ndim > 3 else None


@backward(
    Conv, "the kernel's rows and columns were swapped", "flip the kernel, do not transpose it: weight[:, :, ::-1, ::-1]"
)
def kernel_transposed(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    return (op.input_gradient(delta, weight.swapaxes(2, 3), x.shape[2:]),)


@backward(Conv, "the kernel was turned by a quarter, not by a half", "turn it twice: np.rot90(weight, 2, axes=(2, 3))")
def kernel_turned_by_a_quarter(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    return (op.input_gradient(delta, np.rot90(weight, 1, axes=(2, 3)), x.shape[2:]),)


def _channels_kept(op: Any, weight: Any) -> Any:
    """The kernels as if (K, C, …) held input channels first."""
    if op.groups != 1:
        return None
    k, c = weight.shape[:2]
    return weight.reshape(c, k, *weight.shape[2:]).swapaxes(0, 1)


@backward(Conv, "input and output channels were not swapped", "sum over the filters: weight.transpose(1, 0, 2, 3)")
def channels_not_swapped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    w = _channels_kept(op, weight)
    return None if w is None else (op.input_gradient(delta, w, x.shape[2:]),)


@backward(Conv, "channels were not swapped and the kernel not flipped", "weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]")
def channels_not_swapped_and_kernel_not_flipped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    w = _channels_kept(op, weight)
    return None if w is None else (op.input_gradient(delta, flipped(w, tuple(range(w.ndim - 2))), x.shape[2:]),)


def _one_filter(which: int) -> Any:
    def make(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
        alone = np.zeros_like(delta)
        step = delta.shape[1] // op.groups
        start = which % step
        alone[:, start::step] = delta[:, start::step]
        return (op.input_gradient(alone, weight, x.shape[2:]),)

    return make


_EVERY = "add the contributions of all filters: grad += …, not grad = …"
backward(Conv, "each filter overwrote the one before", _EVERY, key="only the last filter")(_one_filter(-1))
backward(Conv, "only the first filter was used", _EVERY, key="only the first filter")(_one_filter(0))


# --- which part of the full convolution ----------------------------------------------------------------------------------


def _spread_full(op: Any, delta: Any, x: Any, weight: Any) -> tuple[Any, list[tuple[int, int]]]:
    """The full convolution, and per axis the sizes of the spread δ and of the kernel's reach."""
    facts = [
        ((h - 1) * w.stride + 1, w.dilation * (w.kernel - 1))
        for h, w in zip(delta.shape[2:], op.windows(x.shape, weight.shape), strict=True)
    ]
    return replace(op, padding=0).input_gradient(delta, weight, tuple(s + r for s, r in facts)), facts


def _part(full: Any, facts: list[tuple[int, int]], kind: str) -> Any:
    """What 'valid' or 'same' would have kept of the full convolution; None where nothing is left."""
    first = [(r, s) if kind == "valid" else (r // 2, r // 2 + s) for s, r in facts]
    return full[_spatial(*(slice(a, b) for a, b in first))] if all(b > a for a, b in first) else None


def _fitted(part: Any, sizes: tuple[int, ...], where: str) -> Any:
    """A smaller map put into zeros of the right size: in the 'middle' or at the 'start'; cropped where it is larger."""
    out = np.zeros((*part.shape[:2], *sizes), part.dtype)
    for_out, for_part = [], []
    for n, m in zip(sizes, part.shape[2:], strict=True):
        room = abs(n - m) // 2 if where == "middle" else 0
        for_out.append(slice(room if n > m else 0, (room if n > m else 0) + min(n, m)))
        for_part.append(slice(room if m > n else 0, (room if m > n else 0) + min(n, m)))
    out[_spatial(*for_out)] = part[_spatial(*for_part)]
    return out


def _kind(kind: str, where: str) -> Any:
    def make(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
        part = _part(*_spread_full(op, delta, x, weight), kind)
        if part is None:  # nothing is left of it
            return None if where == "" else (np.zeros_like(x),)
        return (part if where == "" else _fitted(part, x.shape[2:], where),)

    return make


for _what in ("valid", "same"):
    backward(
        Conv,
        f"a '{_what}' convolution was used, which makes a map of another size",
        FULL,
        key=f"{_what} where full is needed",
    )(_kind(_what, ""))
    for _where, _said in (("middle", "around"), ("start", "at the end")):
        backward(
            Conv,
            f"a '{_what}' convolution was used, and fitted with zeros {_said}",
            FULL,
            key=f"{_what} where full is needed, zeros {_said}",
        )(_kind(_what, _where))


# --- stride, dilation, padding, overlap, groups ---------------------------------------------------------------------------


def _undone(where: str, name: str, repeat: bool = False, crop_first: bool = True) -> Any:
    """The backward pass with stride (or dilation) 1, put into a map of the right size."""

    def make(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
        numbers = per_axis(getattr(op, name), x.ndim - 2)
        if all(n == 1 for n in numbers):
            return None
        d = delta
        for axis, n in enumerate(numbers, 2):
            d = np.repeat(d, n, axis) if repeat else d
        plain = replace(op, **{name: 1}, padding=0)
        reach = [w.dilation * (w.kernel - 1) for w in plain.windows(x.shape, weight.shape)]
        steps = [w.stride for w in plain.windows(x.shape, weight.shape)]
        full = plain.input_gradient(
            d, weight, tuple((n - 1) * s + r + 1 for n, s, r in zip(d.shape[2:], steps, reach, strict=True))
        )
        start, _ = op._paddings(weight.shape)
        # People crop the padding before they fill up with zeros, or after it: then the end is not cropped.
        ends = [max(n - p if crop_first else n, p) for p, n in zip(start, full.shape[2:], strict=True)]
        cut = full[_spatial(*(slice(p, end) for p, end in zip(start, ends, strict=True)))]
        return (cut if where == "" else _fitted(cut, x.shape[2:], where),)

    return make


_SPREAD = "put stride − 1 zeros between the δ before the full convolution: spread[:, :, ::s, ::s] = δ"
backward(
    Conv,
    "the stride was forgotten: δ was not spread, zeros fill the end, then the padding was cropped",
    _SPREAD,
    key="stride not dilated, zeros at the end",
)(_undone("start", "stride", crop_first=False))
backward(Conv, "the stride was forgotten, which makes a map of another size", _SPREAD, key="stride not dilated")(
    _undone("", "stride")
)
backward(
    Conv,
    "the stride was forgotten: δ was not spread, zeros fill the end",
    _SPREAD,
    key="stride not dilated, zeros at the end",
)(_undone("start", "stride"))
backward(
    Conv, "the stride was forgotten: δ was not spread, zeros fill the sides", _SPREAD, key="stride not dilated, zeros around"
)(_undone("middle", "stride"))
backward(Conv, "δ was repeated over the stride instead of being spread with zeros", _SPREAD, key="stride repeated")(
    _undone("start", "stride", repeat=True)
)
backward(
    Conv,
    "the kernel's dilation was forgotten",
    "spread the kernel too: p = i·stride − padding + t·dilation",
    key="dilation forgotten",
)(_undone("start", "dilation"))


@backward(Conv, "the padding was not cropped", CROP)
def padding_not_cropped(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (uncropped(op, delta, x, weight)[0],)


@backward(Conv, "the padding was cropped at the end only", CROP)
def padding_cropped_at_the_end_only(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    full, _ = uncropped(op, delta, x, weight)
    return (full[_spatial(*(slice(0, n) for n in x.shape[2:]))],)


@backward(Conv, "the padding was cropped at the start only", CROP)
def padding_cropped_at_the_start_only(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    full, _ = uncropped(op, delta, x, weight)
    return (full[_spatial(*(slice(m - n, m) for n, m in zip(x.shape[2:], full.shape[2:], strict=True)))],)


@backward(Conv, "the padding was forgotten: δ went to pixels further on", CROP)
def padding_cropped_twice(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    full, start = uncropped(op, delta, x, weight)
    rolled = np.roll(full, [-2 * p for p in start], tuple(range(2, full.ndim)))
    return (rolled[_spatial(*(slice(0, n) for n in x.shape[2:]))],)


def overwritten(op: Any, delta: Any, x: Any, weight: Any, backwards: bool = False) -> Any:
    """∂L/∂x where each window's share replaces what overlapping windows had left there."""
    windows = op.windows(x.shape, weight.shape)
    full, start = uncropped(op, delta, x, weight)
    out, one = np.zeros_like(full), replace(op, padding=0)
    places = list(product(*map(range, delta.shape[2:])))
    for i in reversed(places) if backwards else places:
        alone = delta[_spatial(*(slice(a, a + 1) for a in i))]
        reach = tuple(w.dilation * (w.kernel - 1) + 1 for w in windows)
        here = _spatial(
            *(slice(a * w.stride, a * w.stride + r, w.dilation) for a, w, r in zip(i, windows, reach, strict=True))
        )
        patch = one.input_gradient(alone, weight, reach)
        out[here] = patch[_spatial(*(slice(None, None, w.dilation) for w in windows))]
    return out[_spatial(*(slice(p, p + n) for p, n in zip(start, x.shape[2:], strict=True)))]


@backward(Conv, "overlapping windows overwrote each other", "add: grad[window] += δ·weight, not grad[window] = δ·weight")
def overlapping_windows_overwritten(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return (overwritten(op, delta, x, weight),)


@backward(Conv, "overlapping windows, and filters, overwrote each other", "add: grad[window] += …, for every filter")
def overlapping_windows_and_filters_overwritten(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    alone = np.zeros_like(delta)
    step = delta.shape[1] // op.groups
    alone[:, step - 1 :: step] = delta[:, step - 1 :: step]
    return (overwritten(op, alone, x, weight),)


@backward(Conv, "the groups were ignored: every filter gave to the first channels", "δ of a group goes to its own channels")
def groups_ignored(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if op.groups == 1:
        return None
    part = replace(op, groups=1).input_gradient(delta, weight, x.shape[2:])
    gx = np.zeros_like(x)
    gx[:, : part.shape[1]] = part
    return (gx,)


@backward(Conv, "the groups were ignored: every filter gave to every channel", "δ of a group goes to its own channels")
def groups_ignored_every_channel_gets_all(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if op.groups == 1:
        return None
    return (np.concatenate([replace(op, groups=1).input_gradient(delta, weight, x.shape[2:])] * op.groups, axis=1),)


@backward(Conv, "channels were dealt to the groups in turn", "a group reads C/groups channels that follow each other")
def groups_interleaved(op: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if op.groups == 1:
        return None
    order = np.arange(x.shape[1]).reshape(op.groups, -1).T.reshape(-1)
    return (op.input_gradient(delta, weight, x.shape[2:])[:, order],)
