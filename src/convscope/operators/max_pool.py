"""Max pooling: the largest value of every window, channel by channel.

    y[b, c, i] = max_t x[b, c, i·stride − padding + t·dilation]

The backward pass gives all of delta to the pixel that won. Of equal pixels the first in row order wins, as in PyTorch.

Sources: Riesenhuber and Poggio 1999, "Hierarchical models of object recognition in cortex"; Scherer, Müller, Behnke 2010,
"Evaluation of Pooling Operations in Convolutional Architectures for Object Recognition".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import fed_by
from convscope.operators._windows import Numbers, padded, pooled_shape, pooling_windows, taps
from convscope.operators._winners import Lengths, gradient_of_winner, value_of_winner, winners_back
from convscope.operators._working import Working
from convscope.results import Gradient


@dataclass(frozen=True)
class MaxPool(Operator):
    """Which is the largest value in each window, and where does it stand?

    Shapes: x (B, C, H, W), y (B, C, h, w); 1 to 3 spatial axes. Units: no parameters, no macs (comparisons are no products).
    `stride` None or empty means the kernel's size. `ceil_mode` lets a last window hang over the end. Padding never wins.
    `forward` gives y; `forward_with_indices` also the winners, counted in row order over one channel's map, as PyTorch does.
    Raises ShapeError where a window does not fit or holds no pixel at all. Misleads: NaN beats every number.
    Source: Riesenhuber and Poggio 1999.

    >>> MaxPool(2).forward(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    kernel_size: Numbers
    stride: Numbers | None = None
    padding: Numbers = 0
    dilation: Numbers = 1
    ceil_mode: bool = False

    aten: ClassVar = ("max_pool1d", "max_pool2d", "max_pool3d",
                      "max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
    formula: ClassVar = "y[b,c,i] = max_t x[b,c,i·stride − padding + t·dilation]"
    backward_formula: ClassVar = "∂L/∂x[b,c,p] = Σ_{i: p won window i} δ[b,c,i]"

    def output_shape(self, x: Shape) -> Shape:
        return pooled_shape(x, self.windows(x), self.ceil_mode)

    def windows(self, x: Shape) -> tuple[Window | Any, ...]:
        return pooling_windows(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def forward(self, x: Any) -> Any:
        return self.forward_with_indices(x)[0]

    def forward_with_indices(self, x: Any) -> tuple[Any, Any]:
        """y and the winners (B, C, h, w): flat positions within a map (H, W)."""
        out, sizes = self.output_shape(x.shape), x.shape[2:]
        pixels = self._framed(x, out, -np.inf)
        places = self._framed(np.arange(prod(sizes)).reshape(1, 1, *sizes), out, -1)
        windows = self.windows(x.shape)
        kernel, stride, dilation = zip(*((w.kernel, w.stride, w.dilation) for w in windows), strict=True)
        y, winner = np.full(out, -np.inf, x.dtype), np.full(out, -1)
        for _, under in taps(kernel, out[2:], stride, dilation):  # in row order, so the first of equal pixels stays
            value, place = pixels[under], places[under]
            # A first pixel wins even where it is −∞, as the padding is; NaN beats every number.
            better = (value > y) | ((winner < 0) & (place >= 0)) | (np.isnan(value) & ~np.isnan(y))
            np.copyto(y, value, where=better)
            np.copyto(winner, place, where=better)
        if (winner < 0).any():
            raise ShapeError(f"a max-pooling window over {sizes} holds no pixel", "it lies in the padding altogether",
                             "use less padding or dilation")
        return y, winner

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        _, winners = self.forward_with_indices(x)
        b, c, n = *x.shape[:2], prod(x.shape[2:])
        first = n * np.arange(b * c).reshape(b, c, *(1,) * (x.ndim - 2))  # where each map begins when all lie in a row
        grad = np.bincount((first + winners).reshape(-1), delta.reshape(-1), minlength=b * c * n)
        return (grad.reshape(x.shape).astype(delta.dtype, copy=False),)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        how = "each δ goes to the pixel that won its window, all others get 0; a pixel that won several adds them up"
        return (Gradient("x", x, how, winners_back(tuple(w.kernel for w in self.windows(x)), self.output_shape(x)[2:])),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        (b, c, *i), windows = at, self.windows(x.shape)
        _, winners = self.forward_with_indices(x[b:b + 1, c:c + 1])
        window: Lengths = []
        for position, n, w in zip(i, x.shape[2:], windows, strict=True):
            inside = [q for q in (position * w.stride - w.padding + t * w.dilation for t in range(w.kernel)) if 0 <= q < n]
            window.append((inside[0], inside[-1] + 1, w.dilation))
        return value_of_winner(at, x, int(winners[(0, 0, *i)]), window, prod(w.kernel for w in windows))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        b, c, *p = at
        holding, _ = fed_by(p, self.windows(x.shape), delta.shape[2:])
        _, winners = self.forward_with_indices(x[b:b + 1, c:c + 1])
        return gradient_of_winner(at, delta, winners[0, 0], holding, x.shape[2:])

    def _framed(self, x: Any, out: Shape, value: float) -> Any:
        """x in a frame of `value`, so large that every window lies in it."""
        windows = self.windows(x.shape)
        before = tuple(w.padding for w in windows)
        # In ceil mode the last window may end beyond the padding; in floor mode pixels may be left over.
        ends = ((o - 1) * w.stride + w.dilation * (w.kernel - 1) + 1 for o, w in zip(out[2:], windows, strict=True))
        after = tuple(max(end - n - p, 0) for end, n, p in zip(ends, x.shape[2:], before, strict=True))
        return padded(x, before, after, value)
