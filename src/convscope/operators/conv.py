"""Convolution: every output is the same weighted sum, taken at another place.

    y[b, k, i] = bias[k] + Σ_c Σ_t weight[k, c, t] · x[b, c, i·stride − padding + t·dilation]

(one spatial axis written; two or three work alike). With G groups, output channel k reads only the C/G input channels of its
group. It is a cross-correlation: the kernel is not flipped.

Sources: LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition"; sizes after Dumoulin and Visin
2016; dilation after Yu and Koltun 2016; groups after Krizhevsky et al. 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import Window, output_size
from convscope.operators._lines import count
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import at_places, axis_by_axis, fed_by, under, window_grid, window_of, with_channel
from convscope.operators._windows import Numbers, add_back, cropped, cut, padded, per_axis, require_rank
from convscope.operators._working import Working, many, ordinal, sum_lines, terms
from convscope.results import Gradient, Grid


@dataclass(frozen=True)
class Conv(Operator):
    """Which weighted sum of its neighbourhood does each position compute?

    Shapes: x (B, C, H, W), weight (K, C/groups, kh, kw), bias (K,), y (B, K, h, w); 1 to 3 spatial axes.
    Units: macs counts B·K·h·w·(C/groups)·kh·kw products; adding the bias is not counted, windows over padding are.
    `padding` is a number of pixels on both sides, 'valid' (none) or 'same' (with stride 1 the size stays; an odd rest goes
    to the end). Raises ShapeError where channels, groups or sizes do not fit. Misleads: near the border zeros are read as
    if they were image. Source: LeCun et al. 1989.

    >>> Conv(stride=4, padding=2).output_shape((1, 3, 224, 224), (64, 3, 11, 11))
    (1, 64, 55, 55)
    """

    stride: Numbers = 1
    padding: Numbers | str = 0
    dilation: Numbers = 1
    groups: int = 1

    aten: ClassVar = ("conv1d", "conv2d", "conv3d")  # and 'convolution', which ConvTranspose reads for both
    arrays: ClassVar = ("x", "weight", "bias")
    learned: ClassVar = ("weight", "bias")
    formula: ClassVar = "y[b,k,i] = bias[k] + Σ_c Σ_t weight[k,c,t] · x[b,c,i·stride − padding + t·dilation]"
    backward_formula: ClassVar = "∂L/∂x[b,c,p] = Σ_k Σ_{i,t: i·stride − padding + t·dilation = p} δ[b,k,i] · weight[k,c,t]"

    def output_shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        self._check(x, weight, bias)
        _, end = self._paddings(weight)
        sizes = (output_size(n, w.kernel, w.stride, w.padding, w.dilation, padding_end=q)
                 for n, w, q in zip(x[2:], self.windows(x, weight), end, strict=True))
        return (x[0], weight[0], *sizes)

    def parameters_without_sharing(self, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
        """How many learned numbers would there be if every position had weights (and a bias) of its own?

        >>> Conv(stride=4).parameters_without_sharing((1, 3, 227, 227), (96, 3, 11, 11), (96,))
        105705600
        """
        neurons = prod(self.output_shape(x, weight, bias)[1:])
        return neurons * (prod(weight[1:]) + (bias is not None))

    def macs(self, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
        return prod(self.output_shape(x, weight, bias)) * prod(weight[1:])

    def windows(self, x: Shape, weight: Shape, bias: Shape | None = None) -> tuple[Window | Any, ...]:
        del x, bias
        rank = len(weight) - 2
        strides, dilations = per_axis(self.stride, rank, "stride"), per_axis(self.dilation, rank, "dilation")
        facts = zip(weight[2:], strides, self._paddings(weight)[0], dilations, strict=True)
        return tuple(Window(*each) for each in facts)

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        out = self.output_shape(x.shape, weight.shape, None if bias is None else bias.shape)
        # (G, K/G, C/G·kernel) @ (B, G, C/G·kernel, positions): one matrix product an image and group
        y = (self._matrices(weight) @ self._columns(x, weight.shape, out[2:])).reshape(out)
        return y if bias is None else y + bias.reshape(-1, *(1,) * (len(out) - 2))

    def backward(self, delta: Any, x: Any, weight: Any, *bias: Any) -> tuple[Any, ...]:
        return self.backward_for((True,), delta, x, weight, *bias)

    def backward_for(self, needed: Any, delta: Any, x: Any, weight: Any, *bias: Any) -> tuple[Any, ...]:
        """Nobody asks for the gradient of the image itself: the first layer's dearest part."""
        to_x = self.input_gradient(delta, weight, x.shape[2:]) if needed[0] else None
        sums = tuple(None if b is None else delta.sum(axis=(0, *range(2, delta.ndim))) for b in bias)
        return (to_x, self.weight_gradient(delta, x, weight.shape), *sums)

    def input_gradient(self, delta: Any, weight: Any, sizes: Shape) -> Any:
        """∂L/∂x of spatial size `sizes`: delta · weight, added back to each window's pixels (a transposed convolution)."""
        rank, positions, kernel = len(sizes), delta.shape[2:], weight.shape[2:]
        columns = self._matrices(weight).transpose(0, 2, 1) @ self._by_group(delta)
        columns = columns.reshape(delta.shape[0], self.groups * weight.shape[1], *kernel, *positions)
        columns = columns.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
        start, end = self._paddings(weight.shape)
        full = tuple(n + p + q for n, p, q in zip(sizes, start, end, strict=True))
        return cropped(add_back(columns, full, per_axis(self.stride, rank), per_axis(self.dilation, rank)), start, sizes)

    def weight_gradient(self, delta: Any, x: Any, weight: Shape) -> Any:
        """∂L/∂weight: delta · window, summed over images and positions."""
        gradient = np.zeros((self.groups, weight[0] // self.groups, prod(weight[1:])), delta.dtype)
        for one, columns in zip(self._by_group(delta), self._columns(x, weight, delta.shape[2:]), strict=True):
            gradient += one @ columns.transpose(0, 2, 1)  # summed over positions by the product, over images by the loop
        return gradient.reshape(weight)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, weight: Shape, bias: Shape | None = None) -> tuple[Gradient, ...]:
        out, macs, windows = self.output_shape(x, weight, bias), self.macs(x, weight), self.windows(x, weight)
        axes = tuple(zip(x[2:], out[2:], windows, *self._paddings(weight), strict=True))
        back, sums = (axis_by_axis([text(*each) for each in axes]) for text in (_back_sizes, _weight_sizes))
        spread = ", stride − 1 zeros put between its numbers," if any(w.stride > 1 for w in windows) else ""
        apart = " with dilation − 1 zeros put between their weights," if any(w.dilation > 1 for w in windows) else ""
        flipped = "flipped" + ("", " in both axes", " in all axes")[len(windows) - 1]
        group = f", in {self.groups} groups" if self.groups > 1 else ""
        to_x = f"δ{spread} correlated in full with the kernels,{apart} {flipped}, in/out channels swapped{group}"
        to_x += "; what no window read gets 0" if "unread" in back else ""
        to_x += "; then the padding is cropped" if "crop" in back else ""
        to_weight = f"x{', padded,' if any(p or q for *_, p, q in axes) else ''} correlated (valid) with δ{spread}"
        summed = f"{to_weight.rstrip(',')}{group}; summed over positions and over the batch"
        found = [Gradient("x", x, to_x, back, macs), Gradient("weight", weight, summed, sums, macs)]
        if bias is not None:
            found.append(Gradient("bias", bias, "δ summed over positions and over the batch",
                                  f"{count(out[2:])} positions an image, {many(x[0], 'image')}"))
        return tuple(found)

    def explain_value(self, at: tuple[int, ...], x: Any, weight: Any, bias: Any = None) -> Working:
        (b, k, *i), windows = at, self.windows(x.shape, weight.shape)
        first, width = self._channels(k, weight)
        taps, places = window_of(i, windows)
        channels = np.repeat(np.arange(width), len(taps))
        values = at_places(x[b, first:first + width], places).reshape(-1)
        many = np.tile(places, (width, 1)), np.tile(taps, (width, 1))
        made = terms((f"x[{b}]", with_channel(first + channels, many[0]), values),
                     (f"weight[{k}]", with_channel(channels, many[1]), weight[k].reshape(-1)))
        lines = sum_lines(made, "y", 0.0 if bias is None else float(bias[k]), parts=first + channels)
        grids = (window_grid("window of x", x[b, first:first + width], i, windows, first), Grid(f"kernel {k}", weight[k]))
        return Working(self.formula, lines, made, grids)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        x, weight = arrays[0], arrays[1]
        windows, out = self.windows(x.shape, weight.shape), delta.shape[2:]
        if which == 0:
            (b, c, *p), each = at, weight.shape[0] // self.groups
            places, taps = fed_by(p, windows, out)
            first, n = c // weight.shape[1] * each, len(places)  # the filters of this channel's group
            filters = np.repeat(np.arange(first, first + each), n)
            many, under_taps = np.tile(places, (each, 1)), np.tile(taps, (each, 1))
            factors = weight[(filters, c % weight.shape[1], *under_taps.T)]
            made = terms((f"δ[{b}]", with_channel(filters, many), delta[(b, filters, *many.T)]),
                         ("weight", np.concatenate([filters[:, None], np.full((len(filters), 1), c % weight.shape[1]),
                                                    under_taps], axis=1), factors))
            grid = Grid(f"δ[{b}]", delta[b, first:first + each], (first, *(0,) * len(out)),
                        marked=tuple((0, *map(int, place)) for place in places))
            return Working(self.backward_formula, sum_lines(made, "∂L/∂x", parts=filters, part="filter"), made, (grid,))
        if which == 1:
            k, c, *t = at
            places, pixels = under(t, windows, out)
            first, _ = self._channels(k, weight)
            batch = np.repeat(np.arange(len(x)), len(places))
            values = at_places(x[:, first + c], np.asarray(pixels)).reshape(-1)
            many, read = np.tile(places, (len(x), 1)), np.tile(pixels, (len(x), 1))
            made = terms(("δ", np.column_stack([batch, np.full(len(batch), k), many]), delta[:, k].reshape(-1)),
                         ("x", np.column_stack([batch, np.full(len(batch), first + c), read]), values))
            return Working("∂L/∂weight[k,c,t] = Σ_b Σ_i δ[b,k,i] · x[b,c,i·stride − padding + t·dilation]",
                           sum_lines(made, "∂L/∂weight", parts=batch, part="image"), made)
        batch = np.argwhere(np.ones((len(x), *out), bool))
        places = np.column_stack([batch[:, 0], np.full(len(batch), at[0]), batch[:, 1:]])
        made = terms(("δ", places, delta[:, at[0]].reshape(-1)), ("1", places, np.ones(len(places))))
        return Working("∂L/∂bias[k] = Σ_b Σ_i δ[b,k,i]", sum_lines(made, "∂L/∂bias", parts=batch[:, 0], part="image"), made)

    def _channels(self, k: int, weight: Any) -> tuple[int, int]:
        """The first input channel that output channel k reads, and how many."""
        width = weight.shape[1]
        return k // (weight.shape[0] // self.groups) * width, width

    # --- how it is laid out --------------------------------------------------------------------------------------------

    def _columns(self, x: Any, weight: Shape, positions: Shape) -> Any:
        """im2col: (B, G, C/G·kernel, positions), one column per window."""
        rank, b = len(positions), x.shape[0]
        full = padded(x, *self._paddings(weight))
        view = cut(full, weight[2:], per_axis(self.stride, rank), per_axis(self.dilation, rank))
        view = view[(..., *(slice(n) for n in positions), *(slice(None),) * rank)]
        view = view.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))  # rows of a map stay in one piece
        return view.reshape(b, self.groups, prod(weight[1:]), prod(positions))

    def _by_group(self, delta: Any) -> Any:
        """(B, K, h, w) -> (B, G, K/G, positions), as in `_columns`."""
        return delta.reshape(delta.shape[0], self.groups, -1, prod(delta.shape[2:]))

    def _matrices(self, weight: Any) -> Any:
        """The kernels as one matrix per group: (G, K/G, C/G·kernel)."""
        return weight.reshape(self.groups, weight.shape[0] // self.groups, prod(weight.shape[1:]))

    def _paddings(self, weight: Shape) -> tuple[Shape, Shape]:
        """Pixels before and after, per spatial axis."""
        rank = len(weight) - 2
        if not isinstance(self.padding, str):
            both = per_axis(self.padding, rank, "padding")
            return both, both
        if self.padding not in ("same", "valid"):
            raise ShapeError(f"padding {self.padding!r} is not known", "a word must be 'same' or 'valid'",
                             "or give a number of pixels")
        dilation = per_axis(self.dilation, rank, "dilation")
        spans = [d * (k - 1) if self.padding == "same" else 0 for k, d in zip(weight[2:], dilation, strict=True)]
        return tuple(n // 2 for n in spans), tuple(n - n // 2 for n in spans)

    def _check(self, x: Shape, weight: Shape, bias: Shape | None) -> None:
        rank = require_rank(x, "a convolution")
        if len(weight) - 2 != rank:
            raise ShapeError(f"a kernel of shape {weight} does not fit an input of shape {x}",
                             f"{len(weight) - 2} spatial axes against {rank}", "use a kernel of the input's rank")
        if x[1] != weight[1] * self.groups or weight[0] % self.groups:
            raise ShapeError(f"a kernel of shape {weight} in {self.groups} groups does not fit {x[1]} channels",
                             f"it reads {weight[1] * self.groups} channels and makes {weight[0]}",
                             "match channels and groups")
        if bias is not None and bias != (weight[0],):
            raise ShapeError(f"a bias of shape {bias} does not fit {weight[0]} output channels", "",
                             f"use a bias of shape ({weight[0]},)")


def _back_sizes(n: int, h: int, w: Window, before: int, after: int) -> str:
    """One axis of ∂L/∂x: δ with its zeros, the full convolution, rows that no window read, the crop. n from h."""
    spread, reach = (h - 1) * w.stride + 1, w.dilation * (w.kernel - 1) + 1
    full = spread + reach - 1
    unread = n + before + after - full
    parts = [f"δ: ({h} − 1)·{w.stride} + 1 = {spread}"] if w.stride > 1 else []
    parts += [f"kernel: {w.dilation}·({w.kernel} − 1) + 1 = {reach}"] if w.dilation > 1 else []
    parts.append(f"full: {spread} + {reach} − 1 = {full}")
    parts += [f"{unread} unread: {full} + {unread} = {full + unread}"] if unread else []
    parts += [f"crop: {full + unread} − {before} − {after} = {n}"] if before or after else []
    return "; ".join(parts)


def _weight_sizes(n: int, h: int, w: Window, before: int, after: int) -> str:
    """One axis of ∂L/∂weight: x with its padding, less what no window read, δ with its zeros, what is left."""
    spread, reach = (h - 1) * w.stride + 1, w.dilation * (w.kernel - 1) + 1
    full, used = n + before + after, spread + reach - 1
    parts = [f"x: {n} + {before} + {after} = {full}"] if before or after else []
    parts += [f"{full - used} unread: {full} − {full - used} = {used}"] if full > used else []
    parts += [f"δ: ({h} − 1)·{w.stride} + 1 = {spread}"] if w.stride > 1 else []
    parts.append(f"valid: {used} − {spread} + 1 = {reach}")
    parts += [f"dilation {w.dilation}: every {ordinal(w.dilation)} of {reach} = {w.kernel}"] if w.dilation > 1 else []
    return "; ".join(parts)
