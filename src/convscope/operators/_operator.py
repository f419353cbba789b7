"""The protocol that every operation follows. See the folder's docstring for the sentences it speaks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.geometry import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Array = "NDArray[Any]"


@dataclass(frozen=True)
class Operator:
    """An operation without learned numbers that keeps its input's size and reads position by position, unless it says otherwise.

    Arrays come in the order of `arrays`; an optional one may be missing or None. Sizes are whole shapes, batch included.
    """

    aten: ClassVar[tuple[str, ...]] = ()  # names in an exported graph: 'conv2d' for aten.conv2d.default
    arrays: ClassVar[tuple[str, ...]] = ("x",)  # what forward takes; 'x' is the data, the rest are parameters or more data
    learned: ClassVar[tuple[str, ...]] = ()  # which of them are parameters
    formula: ClassVar[str] = ""  # y in terms of x, in one line

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Self:
        """Build from a node of an exported graph: the fields that share a name with an ATen argument are taken over."""
        del name, shapes
        wanted = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k in wanted})

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def parameters(self, *shapes: Shape | None) -> int:
        named = zip(self.arrays, shapes, strict=False)
        return sum(prod(shape) for name, shape in named if name in self.learned and shape is not None)

    def macs(self, *shapes: Shape) -> int:
        del shapes
        return 0

    def windows(self, *shapes: Shape) -> tuple[Window | str, ...]:
        """One entry per spatial axis (axes 2, 3, … of x)."""
        return (Window(),) * max(len(shapes[0]) - 2, 0)

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError

    def backward(self, delta: Any, *arrays: Any) -> tuple[Any, ...]:
        raise NotImplementedError
