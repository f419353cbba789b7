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

from convscope.errors import ShapeError
from convscope.geometry import Window, transposed_output_size
from convscope.operators._operator import Operator, Shape
from convscope.operators._windows import Numbers, per_axis, require_rank
from convscope.operators.conv import Conv


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

    @property
    def _conv(self) -> Conv:
        """The convolution of which this is the transpose: from y to x."""
        return Conv(self.stride, self.padding, self.dilation, self.groups)
