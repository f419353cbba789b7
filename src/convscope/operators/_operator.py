"""The protocol that every operation follows. See the folder's docstring for the sentences it speaks.

A leaf writes the methods with the names of its arrays, `forward(self, x, weight, bias=None)`; the protocol's own signatures
(`*arrays: Any, **named: Any`) are the widest that a type checker lets every leaf narrow.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from convscope.geometry import Window
from convscope.operators._working import Working
from convscope.results import Gradient

Shape = tuple[int, ...]
Array = Any  # numpy.ndarray of any size and floating type


@dataclass(frozen=True)
class Operator:
    """An operation; unless it says otherwise, without learned numbers, of its input's size, reading position by position.

    Arrays come in the order of `arrays`; an optional one may be missing or None. Sizes are whole shapes, batch included.
    No method changes an array that it is given.
    """

    aten: ClassVar[tuple[str, ...]] = ()  # names in an exported graph: 'conv2d' for aten.conv2d.default
    arrays: ClassVar[tuple[str, ...]] = ("x",)  # what forward takes; 'x' is the data, the rest are parameters or more data
    learned: ClassVar[tuple[str, ...]] = ()  # which of them are parameters
    formula: ClassVar[str] = ""  # y in terms of x, in one line
    backward_formula: ClassVar[str] = ""  # ∂L/∂x in terms of δ = ∂L/∂y, in one line

    @classmethod
    def speaks_for(cls, name: str, settings: dict[str, Any]) -> bool:
        """Is this form of the operation meant? Not so for a power whose exponent is an array, say."""
        del name, settings
        return True

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """Build from a node of an exported graph: the fields that share a name with an ATen argument are taken over."""
        del name, shapes
        wanted = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k in wanted})

    def output_shape(self, *shapes: Any, **named: Any) -> Shape:
        """The size of y, from the sizes of the arrays."""
        del named
        return shapes[0]

    def parameters(self, *shapes: Shape | None) -> int:
        """How many learned numbers there are among arrays of these sizes."""
        named = zip(self.arrays, shapes, strict=False)
        return sum(prod(shape) for name, shape in named if name in self.learned and shape is not None)

    def macs(self, *shapes: Any, **named: Any) -> int:
        """Multiply-accumulates of one forward pass: products added up in convolutions and matrix products."""
        del shapes, named
        return 0

    def windows(self, *shapes: Any, **named: Any) -> tuple[Window | str, ...]:
        """One entry per spatial axis (axes 2, 3, … of x): what one output position reads along it."""
        del named
        return (Window(),) * max(len(shapes[0]) - 2, 0)

    def forward(self, *arrays: Any, **named: Any) -> Any:
        """y."""
        raise NotImplementedError

    def backward(self, delta: Any, *arrays: Any, **named: Any) -> tuple[Any, ...]:
        """∂L/∂array for every array given, from delta = ∂L/∂y; None for one that is None or not differentiable."""
        raise NotImplementedError

    def backward_for(self, needed: Any, delta: Any, *arrays: Any, **named: Any) -> tuple[Any, ...]:
        """`backward`, where the gradients of some arrays are not asked for (`needed` False): these may be left as None."""
        del needed
        return self.backward(delta, *arrays, **named)

    def gradients(self, *shapes: Any, **named: Any) -> tuple[Gradient, ...]:
        """How the backward pass gets the gradient of each array, with its sizes; unless it says otherwise, δ by position."""
        del named
        return tuple(
            Gradient(name, shape, self.backward_formula)
            for name, shape in zip(self.arrays, shapes, strict=False)
            if shape is not None
        )

    def explain_value(self, at: tuple[int, ...], *arrays: Any, **named: Any) -> Working:
        """y[at] (of several results, the first), worked out."""
        raise NotImplementedError

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any, **named: Any) -> Working:
        """∂L/∂(number `at` of array `which`), worked out, from delta = ∂L/∂y."""
        raise NotImplementedError
