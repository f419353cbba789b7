"""An axis cut into pieces, of which each is a slice.

    y = x[…, start … start + sizes[piece] − 1, …]        start = Σ of the sizes before it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators._moves import Move
from convscope.operators._operator import Operator, Shape
from convscope.operators.slice import Slice, axis_of
from convscope.results import Line


@dataclass(frozen=True)
class Split(Move):
    """Which piece of one axis is this?

    Formula: y = x[…, start … start + sizes[piece] − 1, …]. Shapes: x any; y as x with the piece's size along `dim`. `sizes`
    is one size for all pieces (the last may be smaller) or a list; an exported graph makes all pieces at once and is read
    as piece 0. Units: no parameters, no macs. windows as `Slice`. Raises ShapeError where there is no such piece, or sizes
    do not sum to the axis. Source: elementary.

    >>> Split(2, 1, piece=1).output_shape((1, 5, 8, 8)), Split((1, 4), 1, piece=1).output_shape((1, 5, 8, 8))
    ((1, 2, 8, 8), (1, 4, 8, 8))
    """

    sizes: int | tuple[int, ...]
    dim: int = 0
    piece: int = 0

    aten: ClassVar = ("split", "split_with_sizes", "chunk")
    formula: ClassVar = "y = x[…,start + i,…], start = Σ of the sizes before this piece"
    backward_formula: ClassVar = "∂L/∂x[…,start + i,…] = δ[…,i,…], 0 elsewhere; the pieces' shares are added up"
    back: ClassVar = "δ of this piece written to where it was cut out, 0 elsewhere; the other pieces write the rest"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """aten.split calls it 'split_size', aten.split_with_sizes 'split_sizes'; aten.chunk gives the number of pieces."""
        dim = settings.get("dim", 0)
        if name == "chunk":
            return cls(-(-shapes[0][dim] // settings["chunks"]), dim)
        sizes = settings["split_size"] if "split_size" in settings else settings["split_sizes"]
        return cls(tuple(sizes) if isinstance(sizes, (list, tuple)) else sizes, dim)

    def output_shape(self, x: Shape) -> Shape:
        return self._slice(x).output_shape(x)

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        return self._slice(x).windows(x)

    def forward(self, x: Any) -> Any:
        return self._slice(x.shape).forward(x)

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return self._slice(x.shape).backward(delta, x)

    def way(self, which: int, at: Shape, here: Shape, *shapes: Shape) -> tuple[Line, ...]:
        axis = axis_of(self.dim, shapes[0])
        start = at[axis] - here[axis]
        text = f"piece {self.piece} starts at {start} of axis {axis}: {start} + {here[axis]} = {at[axis]}"
        return (Line(text, float(at[axis])),)

    def _slice(self, x: Shape) -> Slice:
        n = x[axis_of(self.dim, x)]
        sizes = self.sizes if isinstance(self.sizes, tuple) else (self.sizes,) * -(-n // self.sizes)
        if not 0 <= self.piece < len(sizes) or (isinstance(self.sizes, tuple) and sum(sizes) != n):
            raise ShapeError(f"no piece {self.piece} in a split of {n} into {self.sizes}", f"there are {len(sizes)}",
                             "sizes must sum to the axis")
        start = sum(sizes[:self.piece])
        return Slice(self.dim, start, start + sizes[self.piece])
