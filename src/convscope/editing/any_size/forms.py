"""What each axis of a value is made of: batch, channels, rows, columns. So a flattened map is still known as the map it was.

    value of the network         axes                            held in the fully convolutional copy
    map          (B, 8, 4, 4)    [B] [C] [h] [w]                 [B] [C] [h] [w]
    .flatten(1)  (B, 128)        [B] [C·h·w]                     [B] [C] [h] [w]     nothing is done
    Linear       (B, 10)         [B] [C]                         [B] [C] [h] [w]     h = w = 1 at the training size

`axes` says what the network's own value is, `held` what stands in the copy in its place; an axis is a product of atoms, the
outer one first. An atom of size 1 is left out of `axes`: such an axis can be added and dropped at will. It stays in `held`,
where it grows with the image. Channels may be split into several atoms (the groups of a channel shuffle).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

IMAGE = "BChw"
LAST = "BhwC"


@dataclass(frozen=True)
class Atom:
    """`kind`: B, C, h or w. `size`: at the training size. `part`: which of the channels' atoms."""

    kind: str
    size: int
    part: int = 0


Axis = tuple[Atom, ...]


class Unclear(Exception):
    """Axes are joined or cut in a way that has no meaning on a larger map; the text says which."""


@dataclass(frozen=True)
class Form:
    """The axes of a value, and those of what stands in its place."""

    axes: tuple[Axis, ...]
    held: tuple[Axis, ...]

    @classmethod
    def of(cls, shape: Sequence[int], order: str = IMAGE) -> Form:
        """A value as it is: one atom an axis, in this order."""
        held = tuple((Atom(kind, n),) for kind, n in zip(order, shape, strict=True))
        return cls(tuple(map(_visible, held)), held)

    @property
    def natural(self) -> bool:
        """Is what stands in the copy the network's own value?"""
        return len(self.axes) == len(self.held) and all(_visible(h) == a for h, a in zip(self.held, self.axes, strict=True))

    @property
    def order(self) -> str:
        """'BChw': the axes that are held."""
        return "".join(axis[0].kind for axis in self.held)

    def atom(self, kind: str) -> Atom:
        """The (only) atom of h, w or B."""
        return next((axis[0] for axis in self.held if axis[0].kind == kind), Atom(kind, 1))

    @property
    def map(self) -> tuple[int, int]:
        return self.atom("h").size, self.atom("w").size

    @property
    def channels(self) -> Axis:
        """The atoms of the channels as they are held, outer first."""
        return next((axis for axis in self.held if axis[0].kind == "C"), ())

    @property
    def width(self) -> int:
        """How many channels."""
        return math.prod(a.size for a in self.channels)

    @property
    def named(self) -> Axis:
        """The channels' atoms in the order of the network's own value."""
        return tuple(a for axis in self.axes for a in axis if a.kind == "C")

    def kinds(self, axis: int) -> set[str]:
        """What an axis of the network's own value is made of."""
        return {a.kind for a in self.axes[axis]}

    def over(self, axes: Sequence[int]) -> set[str]:
        return {kind for axis in axes for kind in self.kinds(axis)}

    def permuted(self, order: Sequence[int], both: bool) -> Form:
        """`both`: the call stays, so that what is held is permuted too."""
        axes = tuple(self.axes[i] for i in order)
        return Form(axes, tuple(self.held[i] for i in order) if both else self.held)

    def regrouped(self, shape: Sequence[int]) -> Form:
        """The network's value in another shape: the same atoms in the same order, joined and split anew.

        >>> flat = Form.of((2, 8, 4, 4)).regrouped((2, 128))
        >>> [[a.kind for a in axis] for axis in flat.axes]
        [['B'], ['C', 'h', 'w']]
        """
        atoms = [a for axis in self.axes for a in axis]
        split: dict[Atom, tuple[Atom, Atom]] = {}
        made: list[Axis] = []
        for size in shape:
            taken: list[Atom] = []
            need = size
            while need > 1:
                atom = atoms.pop(0)
                if need % atom.size:
                    if atom.kind != "C" or atom.size % need:
                        raise Unclear(f"it cuts {_NAMES[atom.kind]} of {atom.size} into pieces of {need}")
                    inner = Atom("C", atom.size // need, atom.part * 100 + 1)
                    outer = Atom("C", need, atom.part * 100)
                    split[atom] = (outer, inner)
                    atoms.insert(0, inner)
                    atom = outer
                taken.append(atom)
                need //= atom.size
            made.append(tuple(taken))
        held = self.held
        for atom, parts in split.items():
            held = tuple(_exchange(axis, atom, parts) for axis in held)
        return Form(tuple(made), held)

    def merges(self, shape: Sequence[int]) -> bool:
        """Would a value of this shape have rows or columns in one axis with anything else?"""
        return any(len(axis) > 1 and {"h", "w"} & {a.kind for a in axis} for axis in self.regrouped(shape).axes)

    def resized(self, shape: Sequence[int]) -> Form:
        """Of a natural value: the same axes with other sizes."""
        return Form.of(shape, self.order)

    def arranged(self, order: str, channels: Axis) -> Form:
        """The same value, held in another order of axes and channels (a single channel has no order)."""
        held = tuple((channels or self.channels) if kind == "C" else (self.atom(kind),) for kind in order)
        return Form(self.axes, held)

    def text(self) -> str:
        """'4×(8·4·4)' of the network's own value, without the batch."""
        return "×".join("·".join(str(a.size) for a in axis) or "1" for axis in self.axes[1:])


_NAMES = {"B": "the batch", "C": "the channels", "h": "the rows", "w": "the columns"}


def _visible(axis: Axis) -> Axis:
    return tuple(a for a in axis if a.size > 1)


def _exchange(axis: Axis, atom: Atom, parts: tuple[Atom, Atom]) -> Axis:
    return tuple(p for a in axis for p in (parts if a == atom else (a,)))
