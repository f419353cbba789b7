"""The same numbers in row order under another shape: reshape (view), flatten, unflatten, unsqueeze, squeeze.

    y.ravel() = x.ravel()

so the backward pass is the same in reverse. Exported graphs spell flatten and unflatten as `view`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from convscope.errors import ShapeError
from convscope.operators._operator import Operator, Shape
from convscope.operators._rearrange import Rearrange


@dataclass(frozen=True)
class Reshape(Rearrange):
    """Which shape do the same numbers get?

    Formula: y.ravel() = x.ravel(). Shapes: x any, y `shape`; one −1 is what is left over. In graphs with free sizes an
    entry may be the name of a symbol ('s0'): in the first place it is the batch, elsewhere it counts as −1. Units: no
    parameters, no macs. Raises ShapeError where the sizes do not multiply to x's, or too many are unknown. Source:
    elementary.

    >>> Reshape((-1, 400)).output_shape((8, 16, 5, 5)), Reshape((1, 400)).windows((1, 16, 5, 5))
    ((8, 400), ('whole', 'whole'))
    """

    shape: tuple[int | str, ...]

    aten: ClassVar = ("view", "_unsafe_view", "reshape")
    formula: ClassVar = "y.ravel() = x.ravel()"

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """aten.view calls it 'size', aten.reshape 'shape'."""
        del name, shapes
        return cls(tuple(settings["shape"] if "shape" in settings else settings["size"]))

    def output_shape(self, x: Shape) -> Shape:
        wanted = [-1 if isinstance(n, str) else n for n in self.shape]
        if wanted.count(-1) > 1 and isinstance(self.shape[0], str):
            wanted[0] = x[0]
        known = prod(n for n in wanted if n != -1)
        total, free = prod(x), wanted.count(-1)
        fits = (free == 0 and known == total) or (free == 1 and known > 0 and total % known == 0)
        if not fits:
            raise ShapeError(f"{total} numbers of shape {x} do not fit into shape {self.shape}",
                             f"{free} sizes are left open", "sizes must multiply to the same number")
        return tuple(total // known if n == -1 else n for n in wanted)


@dataclass(frozen=True)
class Flatten(Rearrange):
    """What is a map as one row of numbers?

    Formula: y.ravel() = x.ravel(), axes start_dim … end_dim merged. Shapes: x (B, C, H, W), y (B, C·H·W) with start_dim 1.
    Units: no parameters, no macs. Misleads: neighbours in space are no longer neighbours. Source: elementary.

    >>> Flatten(1).output_shape((8, 16, 5, 5))
    (8, 400)
    """

    start_dim: int = 0
    end_dim: int = -1

    aten: ClassVar = ("flatten",)
    formula: ClassVar = "y.ravel() = x.ravel()"

    def output_shape(self, x: Shape) -> Shape:
        if not x:
            return (1,)
        first, last = self.start_dim % len(x), self.end_dim % len(x)
        return (*x[:first], prod(x[first:last + 1]), *x[last + 1:])


@dataclass(frozen=True)
class Unflatten(Rearrange):
    """Into which axes is one axis cut?

    Formula: y.ravel() = x.ravel(), axis `dim` becomes `sizes` (one may be −1). Units: no parameters, no macs.
    Raises ShapeError where sizes do not multiply to the axis. Source: elementary.

    >>> Unflatten(1, (16, -1)).output_shape((8, 400))
    (8, 16, 25)
    """

    dim: int
    sizes: tuple[int | str, ...]

    aten: ClassVar = ("unflatten",)
    formula: ClassVar = "y.ravel() = x.ravel()"

    def output_shape(self, x: Shape) -> Shape:
        axis = self.dim % len(x)
        return (*x[:axis], *Reshape(self.sizes).output_shape((x[axis],)), *x[axis + 1:])


@dataclass(frozen=True)
class Unsqueeze(Rearrange):
    """Where is a new axis of size 1 put?

    Formula: y.ravel() = x.ravel(). Shapes: x any, y with an axis of size 1 at `dim`. Units: no parameters, no macs.
    Source: elementary.

    >>> Unsqueeze(-1).output_shape((2, 3))
    (2, 3, 1)
    """

    dim: int

    aten: ClassVar = ("unsqueeze",)
    formula: ClassVar = "y.ravel() = x.ravel()"

    def output_shape(self, x: Shape) -> Shape:
        axis = self.dim % (len(x) + 1)
        return (*x[:axis], 1, *x[axis:])


@dataclass(frozen=True)
class Squeeze(Rearrange):
    """Which axes of size 1 are dropped?

    Formula: y.ravel() = x.ravel(). Shapes: x any; y without the axes of size 1 among `dim` (among all if None).
    Units: no parameters, no macs. Misleads: without `dim` a batch of 1 is dropped too. Source: elementary.

    >>> Squeeze().output_shape((1, 10, 1, 1)), Squeeze((2, 3)).output_shape((1, 10, 1, 1))
    ((10,), (1, 10))
    """

    dim: int | tuple[int, ...] | None = None

    aten: ClassVar = ("squeeze",)
    formula: ClassVar = "y.ravel() = x.ravel()"

    def output_shape(self, x: Shape) -> Shape:
        dims = range(len(x)) if self.dim is None else (self.dim,) if isinstance(self.dim, int) else self.dim
        chosen = {d % len(x) for d in dims}
        return tuple(n for a, n in enumerate(x) if n != 1 or a not in chosen)
