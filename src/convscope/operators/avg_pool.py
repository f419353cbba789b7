"""Average pooling: the mean of every window, channel by channel.

    y[b, c, i] = 1/n_i · Σ_t x[b, c, i·stride − padding + t]

n_i counts the window's pixels: with `count_include_pad` those of the padding too (but never what hangs over the padding in
`ceil_mode`), otherwise real pixels only; `divisor_override` replaces it.

Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition" (subsampling).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.geometry import Window
from convscope.operators._lines import count
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import fed_by, window_grid, window_of, with_channel
from convscope.operators._windows import Numbers, add_back, cropped, cut, padded, pooled_shape, pooling_windows
from convscope.operators._working import Working, many, number, place, sum_lines, taken, terms
from convscope.results import Gradient, Grid, Line


@dataclass(frozen=True)
class AvgPool(Operator):
    """What is the mean of each window?

    Shapes: x (B, C, H, W), y (B, C, h, w); 1 to 3 spatial axes. Units: no parameters, no macs (sums, no learned products).
    `stride` None or empty means the kernel's size. Raises ShapeError where a window does not fit, UsageError for a divisor
    of 0. Misleads: with count_include_pad (the default) means near the border are drawn towards 0. Source: LeCun et al.
    1998.

    >>> AvgPool(2).forward(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    aten: ClassVar = ("avg_pool1d", "avg_pool2d", "avg_pool3d")
    formula: ClassVar = "y[b,c,i] = 1/n_i · Σ_t x[b,c,i·stride − padding + t]"
    backward_formula: ClassVar = "∂L/∂x[b,c,p] = Σ_{i: window i holds p} δ[b,c,i]/n_i"

    def __post_init__(self) -> None:
        if self.divisor_override == 0:
            raise UsageError("divisor_override must not be 0", "got 0", "leave it out to divide by the window's size")

    def output_shape(self, x: Shape) -> Shape:
        return pooled_shape(x, self.windows(x), self.ceil_mode)

    def windows(self, x: Shape) -> tuple[Window | Any, ...]:
        return pooling_windows(x, self.kernel_size, self.stride, self.padding)

    def forward(self, x: Any) -> Any:
        kernel, stride, before, after = self._layout(x.shape)
        view = cut(padded(x, before, after), kernel, stride, (1,) * len(kernel))
        return view.sum(axis=tuple(range(x.ndim, view.ndim))) / self._divisors(x.shape).astype(x.dtype)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        """Every pixel of a window gets the same share of its delta."""
        kernel, stride, before, after = self._layout(x.shape)
        share = delta / self._divisors(x.shape).astype(delta.dtype)
        windows = np.broadcast_to(share[(..., *(None,) * len(kernel))], (*delta.shape, *kernel))
        full = tuple(n + p + q for n, p, q in zip(x.shape[2:], before, after, strict=True))
        return (cropped(add_back(windows, full, stride, (1,) * len(kernel)), before, x.shape[2:]),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        windows, out = self.windows(x), self.output_shape(x)[2:]
        divisors = self._divisors(x)
        least, most = int(divisors.min()), int(divisors.max())
        share = f"δ/{most}" if least == most else f"δ/{least} … δ/{most} (fewer pixels at the border)"
        sizes = (f"{count(out)} δ a map, {share} to each of "
                 f"{'·'.join(str(w.kernel) for w in windows)} pixels")
        return (Gradient("x", x, "each δ is divided by its window's count and given to all its pixels; shares of windows "
                         "that overlap add up", sizes),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        (b, c, *i), windows = at, self.windows(x.shape)
        divisor = float(self._divisors(x.shape)[tuple(i)])
        _, places = window_of(i, windows)
        inside = ((places >= 0) & (places < np.array(x.shape[2:]))).all(axis=1)
        values = taken(x[b, c], places[inside])
        made = terms((f"x[{b}]", with_channel(c, places[inside]), values),
                     ("1/n", places[inside] - places[0], np.full(len(values), 1 / divisor)))
        total, value = float(values.sum()), float(made.products.sum())
        lines = (Line(f"Σ of the window's {many(len(values), 'number')} = {number(total)}", total),
                 Line(f"n = {self._counted(len(places), len(values), divisor)}", divisor),
                 Line(f"y = {number(total)} / {number(divisor)} = {number(value)}", value))
        return Working(self.formula, lines, made, (window_grid(f"window of x[{b}]", x[b, c:c + 1], i, windows, c),))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        b, c, *p = at
        places, _ = fed_by(p, self.windows(x.shape), delta.shape[2:])
        factors = 1 / taken(self._divisors(x.shape), places)
        made = terms((f"δ[{b}]", with_channel(c, places), taken(delta[b, c], places)), ("1/n", places, factors))
        held = Line(f"{place('x', at)} lies in {many(len(places), 'window')}", float(len(places)))
        grid = Grid(f"δ[{b}]", delta[b, c][None], (c, *(0,) * len(p)), marked=tuple((0, *map(int, q)) for q in places))
        return Working(self.backward_formula, (held, *sum_lines(made, f"∂L/∂{place('x', at)}")), made, (grid,))

    def _counted(self, cells: int, pixels: int, divisor: float) -> str:
        """Why the divisor is what it is."""
        if self.divisor_override is not None:
            return f"{number(divisor)} (divisor_override)"
        if pixels == cells:
            return many(int(divisor), "pixel")
        if not self.count_include_pad:
            return f"{number(divisor)}: real pixels only (count_include_pad is off), {cells - pixels} of {cells} are padding"
        over = cells - int(divisor)
        beyond = f"; {over} more hang over the padding (ceil_mode) and do not count" if over else ""
        return f"{number(divisor)}: {many(pixels, 'pixel')} and {many(int(divisor) - pixels, 'zero')} of the padding{beyond}"

    def _layout(self, x: Shape) -> tuple[Shape, Shape, Shape, Shape]:
        """Kernel, stride, pixels before and after: just as many that all windows, and no more, fit."""
        windows, out = self.windows(x), self.output_shape(x)
        ends = ((o - 1) * w.stride + w.kernel for o, w in zip(out[2:], windows, strict=True))
        after = tuple(max(end - n - w.padding, 0) for end, n, w in zip(ends, x[2:], windows, strict=True))
        return tuple(w.kernel for w in windows), tuple(w.stride for w in windows), tuple(w.padding for w in windows), after

    def _divisors(self, x: Shape) -> Any:
        """n_i for every position: (h, w), the product of the counts along each axis."""
        counts: Any = np.ones(())
        for n, o, w in zip(x[2:], self.output_shape(x)[2:], self.windows(x), strict=True):
            start = np.arange(o) * w.stride - w.padding
            stop = np.minimum(start + w.kernel, n + w.padding)
            along = stop - start if self.count_include_pad else np.minimum(stop, n) - np.maximum(start, 0)
            counts = counts[..., None] * along
        return counts if self.divisor_override is None else np.full_like(counts, self.divisor_override)
