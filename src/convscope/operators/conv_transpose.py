"""Transposed convolution: every input writes a weighted kernel into the output; overlaps add up.

    y[b, k, o] = bias[k] + Σ_c Σ_i Σ_t  x[b, c, i] · weight[c, k, t]   over all i, t with  o = i·stride − padding +
    t·dilation

It is the backward pass of a convolution run forwards, and is computed as such here: forward is `Conv.input_gradient`, its
gradient is `Conv.forward`. It undoes a convolution's *size*, not its values ("deconvolution" is a misnomer).

Sources: Zeiler et al. 2010, "Deconvolutional Networks"; Dumoulin and Visin 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError
from convscope.geometry import Window, output_size, size_formula, transposed_output_size
from convscope.operators._lines import count
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import axis_by_axis
from convscope.operators._windows import Numbers, per_axis, require_rank
from convscope.operators._working import Working, many, ordinal, place, sum_lines, taken, terms
from convscope.operators.conv import Conv
from convscope.results import Gradient, Grid, Line, Terms


@dataclass(frozen=True)
class ConvTranspose(Operator):
    """Where does each input pixel write, and what?

    Shapes: x (B, C, h, w), weight (C, K/groups, kh, kw), bias (K,), y (B, K, H, W); 1 to 3 spatial axes.
    Units: macs counts B·C·h·w·(K/groups)·kh·kw products, also those that land in the padding cut away; the bias is not
    counted. `output_padding` adds rows at the end that no kernel needs, to pick one of the sizes that a strided convolution
    maps to the same size. Raises ShapeError where channels, groups or sizes do not fit. Misleads: with a kernel that is no
    multiple of the stride, overlaps differ from pixel to pixel (checkerboards). Source: Zeiler et al. 2010.

    >>> ConvTranspose(stride=2, padding=1).output_shape((1, 8, 7, 7), (8, 4, 4, 4))
    (1, 4, 14, 14)
    """

    stride: Numbers = 1
    padding: Numbers = 0
    output_padding: Numbers = 0
    dilation: Numbers = 1
    groups: int = 1

    aten: ClassVar = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
    arrays: ClassVar = ("x", "weight", "bias")
    learned: ClassVar = ("weight", "bias")
    formula: ClassVar = "y[b,k,i·stride − padding + t·dilation] += weight[c,k,t] · x[b,c,i], plus bias[k]"
    backward_formula: ClassVar = "∂L/∂x[b,c,i] = Σ_k Σ_t weight[c,k,t] · δ[b,k,i·stride − padding + t·dilation]"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """aten.convolution says by a flag whether it is transposed."""
        if name == "convolution" and not settings.get("transposed", False):
            return Conv.read(name, settings, shapes)
        return super().read(name, settings, shapes)

    def output_shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        rank = require_rank(x, "a transposed convolution")
        out = weight[1] * self.groups
        if len(weight) - 2 != rank or x[1] != weight[0] or weight[0] % self.groups or (bias is not None and bias != (out,)):
            raise ShapeError(f"a transposed kernel of shape {weight} in {self.groups} groups does not fit an input {x}",
                             f"it reads {weight[0]} channels and makes {out}, bias {bias}",
                             "match rank, channels, groups and bias")
        facts = zip(x[2:], self.windows(x, weight), per_axis(self.output_padding, rank, "output_padding"), strict=True)
        sizes = (transposed_output_size(n, w.kernel, w.stride, w.padding, w.dilation, more) for n, w, more in facts)
        return (x[0], out, *sizes)

    def macs(self, x: Shape, weight: Shape, bias: Shape | None = None) -> int:
        self.output_shape(x, weight, bias)
        return prod(x) * prod(weight[1:])

    def windows(self, x: Shape, weight: Shape, bias: Shape | None = None) -> tuple[Window | Any, ...]:
        return tuple(replace(window, transposed=True) for window in self._conv.windows(x, weight))

    def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
        out = self.output_shape(x.shape, weight.shape, None if bias is None else bias.shape)
        y = self._conv.input_gradient(x, weight, out[2:])
        return y if bias is None else y + bias.reshape(-1, *(1,) * (len(out) - 2))

    def backward(self, delta: Any, x: Any, weight: Any, *bias: Any) -> tuple[Any, ...]:
        grad_x = self._conv.forward(delta, weight)
        # An output_padding beyond the stride lets more windows fit than there are inputs; no input wrote to those.
        grad_x = grad_x[(..., *map(slice, x.shape[2:]))]
        sums = tuple(None if b is None else delta.sum(axis=(0, *range(2, delta.ndim))) for b in bias)
        return (grad_x, self._conv.weight_gradient(x, delta, weight.shape), *sums)

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, x: Shape, weight: Shape, bias: Shape | None = None) -> tuple[Gradient, ...]:
        out, macs = self.output_shape(x, weight, bias), self.macs(x, weight)
        axes = tuple(zip(x[2:], out[2:], self.windows(x, weight), strict=True))
        back, sums = (axis_by_axis([text(*each) for each in axes]) for text in (_back_sizes, _weight_sizes))
        found = [
            Gradient("x", x, "an ordinary convolution of δ with the same kernels, stride, padding and dilation", back, macs),
            Gradient("weight", weight, "δ, padded, correlated (valid) with x, stride − 1 zeros put between its numbers; "
                     "summed over positions and over the batch", sums, macs)]
        if bias is not None:
            found.append(Gradient("bias", bias, "δ summed over positions and over the batch",
                                  f"{count(out[2:])} positions an image, {many(x[0], 'image')}"))
        return tuple(found)

    def explain_value(self, at: tuple[int, ...], x: Any, weight: Any, bias: Any = None) -> Working:
        b, k, *o = at
        out = self.output_shape(x.shape, weight.shape)
        # What writes into an output is what an input of the convolution would get its delta from.
        found = self._conv.explain_gradient(0, at, x, np.empty(out), weight).terms
        assert found is not None
        made = replace(found, left=f"x[{b}]", right="weight")
        marked = tuple(dict.fromkeys(tuple(map(int, q)) for q in made.left_at))
        first = int(made.left_at[:, 0].min()) if len(marked) else 0
        rows = slice(first, int(made.left_at[:, 0].max()) + 1) if len(marked) else slice(0, 1)
        grid = Grid(f"x[{b}]", x[b, rows], (first, *(0,) * len(o)), marked=tuple((c - first, *q) for c, *q in marked))
        wrote = Line(f"{len(made.products)} numbers of x wrote into {place('y', at)}", float(len(made.products)))
        lines = sum_lines(made, "y", 0.0 if bias is None else float(bias[k]), parts=made.left_at[:, 0])
        return Working(self.formula, (wrote, *lines), made, (grid,))

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        x, weight = arrays[0], arrays[1]
        if which == 0:
            found = self._conv.explain_value(at, delta, weight)
            assert found.terms is not None
            made = replace(found.terms, left=f"δ[{at[0]}]")
            grids = tuple(replace(grid, name=grid.name.replace("window of x", f"δ[{at[0]}]")) for grid in found.grids)
            return Working(self.backward_formula, sum_lines(made, "∂L/∂x", parts=made.left_at[:, 0]), made, grids)
        if which == 1:
            found = self._conv.explain_gradient(1, at, x, delta, weight).terms  # δ and x in each other's place
            assert found is not None
            made = Terms("δ", "x", found.right_at, found.left_at, found.right_values, found.left_values)
            return Working("∂L/∂weight[c,k,t] = Σ_b Σ_i x[b,c,i] · δ[b,k,i·stride − padding + t·dilation]",
                           sum_lines(made, "∂L/∂weight", parts=made.left_at[:, 0], part="image"), made)
        places = np.array([(b, at[0], *q) for b, *q in np.ndindex(len(delta), *delta.shape[2:])], np.int64)
        made = terms(("δ", places, taken(delta, places)), ("1", places, np.ones(len(places))))
        return Working("∂L/∂bias[k] = Σ_b Σ_o δ[b,k,o]", sum_lines(made, "∂L/∂bias", parts=places[:, 0], part="image"), made)

    @property
    def _conv(self) -> Conv:
        """The convolution of which this is the transpose: from y to x."""
        return Conv(self.stride, self.padding, self.dilation, self.groups)


def _back_sizes(n: int, h: int, w: Window) -> str:
    """One axis of ∂L/∂x: the convolution's size, and what an output_padding beyond the stride adds to it."""
    made = output_size(h, w.kernel, w.stride, w.padding, w.dilation)
    cut = f"; the first {n} of them" if made > n else ""
    return size_formula(h, w.kernel, w.stride, w.padding, w.dilation, made) + cut


def _weight_sizes(n: int, h: int, w: Window) -> str:
    """One axis of ∂L/∂weight: δ with its padding, less what nothing wrote to, x with its zeros, what is left."""
    spread, reach = (n - 1) * w.stride + 1, w.dilation * (w.kernel - 1) + 1
    full, used = h + 2 * w.padding, spread + reach - 1
    parts = [f"δ: {h} + 2·{w.padding} = {full}"] if w.padding else []
    parts += [f"{full - used} not written to: {full} − {full - used} = {used}"] if full > used else []
    parts += [f"x: ({n} − 1)·{w.stride} + 1 = {spread}"] if w.stride > 1 else []
    parts.append(f"valid: {used} − {spread} + 1 = {reach}")
    parts += [f"dilation {w.dilation}: every {ordinal(w.dilation)} of {reach} = {w.kernel}"] if w.dilation > 1 else []
    return "; ".join(parts)
