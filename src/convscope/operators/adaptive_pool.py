"""Adaptive pooling: windows are stretched so that the output has a given size.

Of n pixels and m outputs, output i reads the pixels  ⌊i·n/m⌋ … ⌈(i + 1)·n/m⌉ − 1  (neighbouring windows may overlap by one).

Source: the rule is PyTorch's (Torch 7's SpatialAdaptiveMaxPooling); a relative of He et al. 2014, "Spatial Pyramid Pooling".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.geometry import WHOLE, Window
from convscope.operators import _separable
from convscope.operators._lines import count
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import axis_by_axis
from convscope.operators._windows import Numbers, per_axis, require_rank
from convscope.operators._winners import Lengths, gradient_of_winner, value_of_winner
from convscope.operators._working import Working, number
from convscope.results import Gradient, Grid, Line


def spans(n: int, m: int) -> list[tuple[int, int]]:
    """The pixels [start, stop) of each of m outputs along an axis of n.

    >>> spans(5, 3)
    [(0, 2), (1, 4), (3, 5)]
    """
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def window_of(n: int, m: int) -> Window | str:
    """One window for all outputs where n is a multiple of m; otherwise windows differ, and WHOLE is the safe answer."""
    return Window(n // m, n // m) if m > 1 and n % m == 0 else WHOLE


def tile_of(at: Shape, x: Shape, out: Shape) -> Lengths:
    """First pixel, the one behind the last, and step 1, per axis, of the tile that y[at] reads."""
    return [(*spans(n, m)[i], 1) for i, n, m in zip(at[2:], x[2:], out[2:], strict=True)]


def _tile_sizes(sizes: Shape, out: Shape) -> str:
    """'6·6 = 36 δ a map; rows: tiles of 2 … 3 of 13 pixels; …'."""
    each = []
    for n, m in zip(sizes, out, strict=True):
        lengths = {stop - start for start, stop in spans(n, m)}
        few, many = min(lengths), max(lengths)
        each.append(f"tiles of {few if few == many else f'{few} or {many}'} of {n} pixels")
    return f"{count(out)} δ a map; {axis_by_axis(each)}"


@dataclass(frozen=True)
class AdaptiveAvgPool(Operator):
    """What is the mean of each of m×m tiles of the image?

    Formula: y[b,c,i] = mean of x[b,c,⌊i·n/m⌋ … ⌈(i+1)·n/m⌉ − 1]. Shapes: x (B, C, H, W), y (B, C, *output_size); 1 to 3
    axes. Units: no parameters, no macs. Raises ShapeError where output_size does not fit the rank. Misleads: unless n is a
    multiple of m, pixels in overlaps count more than others, and `windows` answers WHOLE, which is more than a tile reads.
    Source: PyTorch's rule (see the file's docstring).

    >>> AdaptiveAvgPool(2).forward(np.array([[[1.0, 2.0, 6.0]]])).tolist()
    [[[1.5, 4.0]]]
    """

    output_size: Numbers

    aten: ClassVar = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
                      "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
    formula: ClassVar = "y[b,c,i] = mean x[b,c,⌊i·n/m⌋ … ⌈(i+1)·n/m⌉−1]"
    backward_formula: ClassVar = "∂L/∂x[b,c,p] = Σ_{i: tile i holds p} δ[b,c,i]/size of tile i"

    def output_shape(self, x: Shape) -> Shape:
        return (*x[:2], *per_axis(self.output_size, require_rank(x, "adaptive pooling"), "output_size"))

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return tuple(window_of(n, m) for n, m in zip(x[2:], self.output_shape(x)[2:], strict=True))

    def forward(self, x: Any) -> Any:
        return _separable.apply(x, self._matrices(x.shape))

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (_separable.apply_transposed(delta, self._matrices(x.shape)),)

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        return (Gradient("x", x, "each δ is divided by its tile's size and given to all its pixels; shares of tiles that "
                         "overlap add up", _tile_sizes(x[2:], self.output_shape(x)[2:])),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        (b, c, *_), tile = at, tile_of(at, x.shape, self.output_shape(x.shape))
        made = _separable.value_terms(at, x, self._matrices(x.shape))
        pixels = x[(b, c, *(slice(*length) for length in tile))]
        total, value = float(pixels.sum()), float(made.products.sum())
        counts = "·".join(map(str, pixels.shape))
        lines = (Line(f"Σ of the tile's {counts} number{'' if counts == '1' else 's'} = {number(total)}", total),
                 Line(f"y = {number(total)} / {pixels.size} = {number(value)}", value))
        grid = Grid(f"tile of x[{b}]", pixels[None], (c, *(first for first, _, _ in tile)))
        return Working(self.formula, lines, made, (grid,))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        lines, made = _separable.gradient_terms(at, delta, self._matrices(x.shape))
        marked = tuple((0, *map(int, q[1:])) for q in made.left_at)
        grid = Grid(f"δ[{at[0]}]", delta[at[:2]][None], (at[1], *(0,) * (x.ndim - 2)), marked=marked)
        return Working(self.backward_formula, lines, made, (grid,))

    def _matrices(self, x: Shape) -> list[Any]:
        """(m, n) per axis: row i is 1/size on the pixels of output i. A tile's mean is the mean of its columns' means."""
        matrices = []
        for n, m in zip(x[2:], self.output_shape(x)[2:], strict=True):
            matrix = np.zeros((m, n))
            for i, (start, stop) in enumerate(spans(n, m)):
                matrix[i, start:stop] = 1 / (stop - start)
            matrices.append(matrix)
        return matrices


@dataclass(frozen=True)
class AdaptiveMaxPool(Operator):
    """Which is the largest value of each of m×m tiles of the image?

    Formula: y[b,c,i] = max of x[b,c,⌊i·n/m⌋ … ⌈(i+1)·n/m⌉ − 1]. Shapes: x (B, C, H, W), y (B, C, *output_size); 1 to 3 axes.
    Units: no parameters, no macs. Of equal pixels the first in row order wins. Raises ShapeError where output_size does not
    fit. Misleads: as `AdaptiveAvgPool`. Source: PyTorch's rule (see the file's docstring).

    >>> AdaptiveMaxPool(2).forward_with_indices(np.array([[[1.0, 2.0, 6.0]]]))[1].tolist()
    [[[1, 2]]]
    """

    output_size: Numbers

    aten: ClassVar = ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
    formula: ClassVar = "y[b,c,i] = max x[b,c,⌊i·n/m⌋ … ⌈(i+1)·n/m⌉−1]"
    backward_formula: ClassVar = "∂L/∂x[b,c,p] = Σ_{i: p won tile i} δ[b,c,i]"

    def output_shape(self, x: Shape) -> Shape:
        return (*x[:2], *per_axis(self.output_size, require_rank(x, "adaptive pooling"), "output_size"))

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return tuple(window_of(n, m) for n, m in zip(x[2:], self.output_shape(x)[2:], strict=True))

    def forward(self, x: Any) -> Any:
        return self.forward_with_indices(x)[0]

    def forward_with_indices(self, x: Any) -> tuple[Any, Any]:
        """y and the winners (B, C, h, w): flat positions within a map (H, W)."""
        out, sizes = self.output_shape(x.shape), x.shape[2:]
        y, winners = np.empty(out, x.dtype), np.empty(out, np.int64)
        places = np.arange(prod(sizes)).reshape(sizes)
        tiles = product(*(list(enumerate(spans(n, m))) for n, m in zip(sizes, out[2:], strict=True)))
        for tile in tiles:
            where, what = tuple(i for i, _ in tile), tuple(slice(*span) for _, span in tile)
            values = x[(..., *what)].reshape(*x.shape[:2], -1)
            winner = values.argmax(axis=-1)
            y[(..., *where)] = np.take_along_axis(values, winner[..., None], axis=-1)[..., 0]
            winners[(..., *where)] = places[what].reshape(-1)[winner]
        return y, winners

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        _, winners = self.forward_with_indices(x)
        b, c, n = *x.shape[:2], prod(x.shape[2:])
        grad = np.zeros((b * c, n), delta.dtype)
        np.add.at(grad, (np.arange(b * c)[:, None], winners.reshape(b * c, -1)), delta.reshape(b * c, -1))
        return (grad.reshape(x.shape),)

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        return (Gradient("x", x, "each δ goes to the pixel that won its tile; a pixel that won several adds them up",
                         _tile_sizes(x[2:], self.output_shape(x)[2:])),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        b, c, *i = at
        _, winners = self.forward_with_indices(x[b:b + 1, c:c + 1])
        tile = tile_of(at, x.shape, self.output_shape(x.shape))
        return value_of_winner(at, x, int(winners[(0, 0, *i)]), tile, prod(stop - start for start, stop, _ in tile))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        b, c, *p = at
        _, winners = self.forward_with_indices(x[b:b + 1, c:c + 1])
        axes = [[i for i, (start, stop) in enumerate(spans(n, m)) if start <= q < stop]
                for q, n, m in zip(p, x.shape[2:], delta.shape[2:], strict=True)]
        holding = np.array(list(product(*axes)), np.int64).reshape(-1, len(p))
        return gradient_of_winner(at, delta, winners[0, 0], holding, x.shape[2:])
