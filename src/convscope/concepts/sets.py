"""What a set of concept images is, however it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.images import Pixels

NOTHING = "nothing"  # the category of images that are there to be told apart from concepts, and give no unit its name


@dataclass(frozen=True)
class Concept:
    """Something that a unit may answer to. Its name ends the sentence 'responds to …'."""

    name: str
    category: str

    @property
    def nameable(self) -> bool:
        return self.category != NOTHING


@dataclass(frozen=True)
class Example:
    """An image, and where the concepts on it are: masks (H, W) by the concept's number."""

    pixels: Pixels
    masks: dict[int, NDArray[np.bool_]]


@dataclass(frozen=True)
class ConceptSet:
    """Examples 0 … count − 1. `half` (N,) says who helps to choose a name (0) and who tests it (1)."""

    name: str
    concepts: tuple[Concept, ...]
    half: NDArray[np.int64]
    read: Callable[[int], Example]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.half)

    def __getitem__(self, i: int) -> Example:
        if not 0 <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        return self.read(i)
