"""The best windows that do not overlap (greedy non-maximum suppression), and their frames on a picture.

    take the window of the highest score; drop all whose intersection over union with it is above the limit; repeat

Source: Neubeck, Van Gool 2006, "Efficient non-maximum suppression".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.images import Pixels

COLOURS = ((255, 64, 32), (32, 160, 255))  # of the best frame, of the others


@dataclass(frozen=True)
class Boxes:
    """Windows on the image, of any scales, one row each."""

    score: NDArray[np.float64]
    box: NDArray[np.float64]  # (N, 4) left, top, width, height in pixels of the image
    scale: NDArray[np.float64]
    kind: NDArray[np.int64]  # index of the class

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: NDArray[np.int64]) -> Boxes:
        return Boxes(self.score[index], self.box[index], self.scale[index], self.kind[index])


def joined(several: list[Boxes]) -> Boxes:
    """All of them in one."""
    columns = [np.concatenate([getattr(one, name) for one in several]) for name in ("score", "box", "scale", "kind")]
    return Boxes(*columns)


def best(boxes: Boxes, top: int, overlap: float, threshold: float | None = None) -> Boxes:
    """The `top` highest that do not overlap by more than `overlap` (intersection over union); of equal ones the first.

    >>> left = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 10, 10]], float)
    >>> found = best(Boxes(np.array([1., 3., 2.]), left, np.ones(3), np.zeros(3, int)), 5, 0.3)
    >>> found.score.tolist(), found.box[:, 0].tolist()
    ([3.0, 2.0], [1.0, 20.0])
    """
    score = np.where(np.isfinite(boxes.score), boxes.score, -np.inf)
    low = -np.inf if threshold is None else threshold
    chosen: list[int] = []
    while len(chosen) < top and len(score):
        at = int(score.argmax())
        if score[at] == -np.inf or score[at] < low:
            break
        chosen.append(at)
        score[overlaps(boxes.box[at], boxes.box) > overlap] = -np.inf
        score[at] = -np.inf
    return boxes.take(np.array(chosen, np.int64))


def overlaps(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) intersection over union of one box with many.

    >>> overlaps(np.array([0., 0., 2., 2.]), np.array([[1., 0., 2., 2.], [5., 5., 1., 1.]])).round(3).tolist()
    [0.333, 0.0]
    """
    low = np.maximum(one[:2], many[:, :2])
    high = np.minimum(one[:2] + one[2:], many[:, :2] + many[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    return shared / (one[2:].prod() + many[:, 2:].prod(axis=1) - shared)


def framed(image: Pixels, boxes: Boxes) -> Pixels:
    """A copy of (H, W, 3) with the frames on it, the best one last and in its own colour."""
    found = image.copy()
    height, width = image.shape[:2]
    thick = max(1, round(min(height, width) / 200))
    for at in reversed(range(len(boxes))):
        left, top, wide, high = boxes.box[at]
        x0, y0 = max(round(left), 0), max(round(top), 0)
        x1, y1 = min(round(left + wide), width), min(round(top + high), height)
        colour = COLOURS[min(at, 1)]
        for rows, columns in ((slice(y0, y0 + thick), slice(x0, x1)), (slice(max(y1 - thick, 0), y1), slice(x0, x1)),
                              (slice(y0, y1), slice(x0, x0 + thick)), (slice(y0, y1), slice(max(x1 - thick, 0), x1))):
            found[rows, columns] = colour
    return found
