"""Moving numbers between channels and space, without arithmetic.

    pixel shuffle     y[b, c, h·r + i, w·r + j] = x[b, c·r² + i·r + j, h, w]       (unshuffle is its inverse)
    channel shuffle   y[b, j·G + g, …] = x[b, g·(C/G) + j, …]

Sources: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network"; Zhang et al. 2018, "ShuffleNet".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators._moves import Move
from convscope.operators._operator import Shape


@dataclass(frozen=True)
class PixelShuffle(Move):
    """Which channel becomes which sub-pixel?

    Formula: y[b,c,h·r+i,w·r+j] = x[b,c·r²+i·r+j,h,w]. Shapes: x (B, C·r², h, w), y (B, C, h·r, w·r). Units: no parameters,
    no macs. Raises ShapeError where channels are no multiple of r². Source: Shi et al. 2016.

    >>> PixelShuffle(2).output_shape((1, 12, 5, 5))
    (1, 3, 10, 10)
    """

    upscale_factor: int

    aten: ClassVar = ("pixel_shuffle",)
    formula: ClassVar = "y[b,c,h·r+i,w·r+j] = x[b,c·r²+i·r+j,h,w]"
    backward_formula: ClassVar = "∂L/∂x[b,c·r²+i·r+j,h,w] = δ[b,c,h·r+i,w·r+j]"
    back: ClassVar = "δ with every r×r tile put back into r² channels (pixel unshuffle)"

    def output_shape(self, x: Shape) -> Shape:
        r = self.upscale_factor
        if len(x) != 4 or x[1] % (r * r):
            raise ShapeError(f"pixel shuffle by {r} does not fit {x}", f"channels must be a multiple of {r * r}, axes 4",
                             "use another factor")
        return (x[0], x[1] // (r * r), x[2] * r, x[3] * r)

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return (Window(self.upscale_factor, self.upscale_factor, transposed=True),) * 2

    def forward(self, x: Any) -> Any:
        r, (b, c, h, w) = self.upscale_factor, self.output_shape(x.shape)
        return x.reshape(b, c, r, r, h // r, w // r).transpose(0, 1, 4, 2, 5, 3).reshape(b, c, h, w)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (PixelUnshuffle(self.upscale_factor).forward(delta),)


@dataclass(frozen=True)
class PixelUnshuffle(Move):
    """Which sub-pixel becomes which channel?

    Formula: y[b,c·r²+i·r+j,h,w] = x[b,c,h·r+i,w·r+j]. Shapes: x (B, C, h·r, w·r), y (B, C·r², h, w). Units: no parameters,
    no macs. windows: the r pixels that all channels of a position read together (each channel reads one of them). Raises
    ShapeError where sizes are no multiple of r. Source: Shi et al. 2016, reversed.

    >>> PixelUnshuffle(2).output_shape((1, 3, 10, 10))
    (1, 12, 5, 5)
    """

    downscale_factor: int

    aten: ClassVar = ("pixel_unshuffle",)
    formula: ClassVar = "y[b,c·r²+i·r+j,h,w] = x[b,c,h·r+i,w·r+j]"
    backward_formula: ClassVar = "∂L/∂x[b,c,h·r+i,w·r+j] = δ[b,c·r²+i·r+j,h,w]"
    back: ClassVar = "δ with every r² channels put back into an r×r tile (pixel shuffle)"

    def output_shape(self, x: Shape) -> Shape:
        r = self.downscale_factor
        if len(x) != 4 or x[2] % r or x[3] % r:
            raise ShapeError(f"pixel unshuffle by {r} does not fit {x}", f"height and width must be multiples of {r}",
                             "crop or pad first")
        return (x[0], x[1] * r * r, x[2] // r, x[3] // r)

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return (Window(self.downscale_factor, self.downscale_factor),) * 2

    def forward(self, x: Any) -> Any:
        r, out, (b, c, h, w) = self.downscale_factor, self.output_shape(x.shape), x.shape
        return x.reshape(b, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4).reshape(out)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (PixelShuffle(self.downscale_factor).forward(delta),)


@dataclass(frozen=True)
class ChannelShuffle(Move):
    """Which channel goes where, so that groups exchange what they know?

    Formula: y[b,j·G+g] = x[b,g·(C/G)+j]. Shapes: x and y (B, C, …). Units: no parameters, no macs. Raises ShapeError where
    C is no multiple of G. Source: Zhang et al. 2018. (Networks that spell it as view, transpose, view are three layers.)

    >>> import numpy as np
    >>> ChannelShuffle(2).forward(np.arange(4.0).reshape(1, 4, 1)).ravel().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """

    groups: int

    aten: ClassVar = ("channel_shuffle",)
    formula: ClassVar = "y[b,j·G+g] = x[b,g·(C/G)+j]"
    backward_formula: ClassVar = "∂L/∂x[b,g·(C/G)+j] = δ[b,j·G+g]"
    back: ClassVar = "δ with its channels put back in their order: a shuffle by C/G groups"

    def output_shape(self, x: Shape) -> Shape:
        if len(x) < 2 or x[1] % self.groups:
            raise ShapeError(f"{self.groups} groups do not divide the channels of {x}", "C must be a multiple of groups",
                             "use other groups")
        return x

    def forward(self, x: Any) -> Any:
        return self._swapped(x, self.groups)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (self._swapped(delta, x.shape[1] // self.groups),)

    def _swapped(self, x: Any, rows: int) -> Any:
        """Channels read as a matrix (rows, C/rows) and transposed."""
        b, c = self.output_shape(x.shape)[:2]
        return x.reshape(b, rows, c // rows, -1).swapaxes(1, 2).reshape(x.shape)
