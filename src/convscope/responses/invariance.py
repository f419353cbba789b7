"""What remains of a layer's response when the image is moved, turned or enlarged (Goodfellow et al. 2009; Lenc and Vedaldi
2015).

    invariance     s(φ(g x), φ(x))                 of the channels' means and of the whole maps
    equivariance   s(g⁻¹ φ(g x), φ(x))             of the maps moved back by shift / stride; s: cosine or correlation
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import run
from convscope.errors import DataError, UsageError
from convscope.fields import param, validate
from convscope.network import map_of
from convscope.responses import _alike
from convscope.responses._study import Study
from convscope.responses._warp import Move, scaled, shifts, turned, warp
from convscope.results import Layer, Table

BLOCK = 8  # images at a time
OTHER = {"reflect": "zero", "circular": "zero", "zero": "reflect"}  # the second fill, to see what the fill does
Found = dict[str, list[NDArray[np.float64]]]


@dataclass(frozen=True)
class Invariance:
    """How much of a layer's response remains when the image is moved, turned or enlarged?

    One row a transformation and amount (pixels, degrees counter-clockwise, factor); similarity to the clean image's
    responses, −1 … 1, mean over the sampled images and quartiles beside it: 'channels' (U,) the maps' means; 'maps'
    (U, h, w); 'back' the maps moved back by shift/stride where they overlap (shifts by multiples of the layer's stride
    only); 'inner' the same at positions that see neither padding nor what entered: 1 for convolutions. 'entered': share of
    the image from beyond the border. 'fill': similarity of the channels' means under another fill; far from 1, the border
    decides. The first row holds another image of the sample against each: what "nothing in common" comes to.

    Misleads after a ReLU, where even strangers are alike: read against the first row, or use correlation. Transformed
    images are resampled (bilinear, in the network's input), which blurs. A U-Net's stride hides the strides inside it.
    Errors: UnknownName, UsageError, DataError. Source: Goodfellow, Le, Saxe, Lee, Ng 2009; Lenc, Vedaldi 2015.

    >>> Invariance(steps=4, angle=180.0).border
    'reflect'
    """

    most: int = param(16, "how many images, drawn at random", low=2)
    steps: int = param(6, "amounts of each transformation", low=1)
    shift: int | None = param(None, "largest shift; default: a quarter of the side", unit="px", low=1)
    direction: str = param("right", "where the shift goes", choices=("right", "down"))
    angle: float = param(90.0, "largest rotation", unit="degrees", low=0.1, high=360)
    scale: float = param(2.0, "largest enlargement; as far down too", unit="times", low=1.01, high=16)
    border: str = param("reflect", "what lies beyond the image", choices=("reflect", "circular", "zero"))
    similarity: str = param("cosine", "similarity of two responses", choices=("cosine", "correlation"))
    seed: int = param(0, "seed of the sample of images", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The curves of the layer at this address."""
        found, net = study.net[layer], study.net
        if found.unit_axis is None or len(net.input_shape) != 4:
            raise UsageError(f"{layer} has no channels to compare on images", f"its output is {found.output_shape}, the "
                             f"input {net.input_shape}", "choose a layer with units, of a network that reads images")
        usable = np.flatnonzero(study.record.predictions()["seen"])
        if len(usable) < 2:
            raise DataError(f"too few images of {study.collection.name}", f"{len(usable)} were measured",
                            "sweep at least two images")
        count = min(self.most, len(usable))
        chosen = np.sort(np.random.default_rng(self.seed).choice(usable, count, replace=False))
        moves = self._moves(found, net.input_shape[2 + self._axis])
        rows: list[Found] = [{} for _ in range(len(moves) + 1)]
        entered = np.full(len(rows), np.nan)
        ends: list[Tensor] = []
        for at in range(0, count, BLOCK):
            x = net.check_input(np.stack([study.preprocess(study.collection[int(i)]) for i in chosen[at : at + BLOCK]]))
            clean = _response(study, found, x)
            around = torch.cat([*ends[1:], clean])  # the image before each, and at the end the last before the first
            self._compare(rows[0], around[1:], around[:-1])
            ends = [*ends[:1], clean[-1:]] if ends else [clean[:1], clean[-1:]]
            for r, move in enumerate(moves, 1):
                image, entered[r] = warp(x, move, self.border)
                moved = _response(study, found, image)
                self._compare(rows[r], clean, moved)
                self._equivariance(rows[r], (clean, moved), found, move, tuple(x.shape[2:]))
                filled = _response(study, found, warp(x, move, OTHER[self.border])[0])
                _add(rows[r], "fill", _alike.alike(_alike.means(moved), _alike.means(filled), self.similarity))
        self._compare(rows[0], *ends)
        columns = {"transformation": np.array(["another image", *(m.name for m in moves)], np.str_),
                   "amount": np.array([np.nan, *(m.amount for m in moves)])}
        columns |= {"entered": entered} | _alike.curves(rows, _COLUMNS)
        return Table(columns=columns, units=_UNITS, title=f"invariance of {layer}", origin=study.origin(self, self.seed),
                     notes=self._notes(found, count, len(usable), rows))

    @property
    def _axis(self) -> int:
        return 1 if self.direction == "right" else 0

    def _moves(self, layer: Layer, side: int) -> list[Move]:
        """Shifts evenly spaced and at the nearest multiples of the stride; rotations; factors below and above 1."""
        stride = _alike.stride(layer, self._axis)
        whole = int(stride) if stride is not None and stride.denominator == 1 else None
        pixels = shifts(side, self.shift or max(side // 4, 1), self.steps, whole)
        moves = [Move("shift", d, shift=(0, d) if self._axis else (d, 0)) for d in pixels]
        moves += [turned(float(a)) for a in np.linspace(0, self.angle, self.steps + 1)[1:]]
        half = -(-self.steps // 2)
        return moves + [scaled(self.scale ** (k / half)) for k in range(-half, half + 1) if k]

    def _compare(self, row: Found, clean: Tensor, moved: Tensor) -> None:
        _add(row, "channels", _alike.alike(_alike.means(clean), _alike.means(moved), self.similarity))
        if clean.ndim > 2:
            _add(row, "maps", _alike.alike(clean, moved, self.similarity))

    def _equivariance(self, row: Found, maps: tuple[Tensor, Tensor], layer: Layer, move: Move, image: Any) -> None:
        stride = _alike.stride(layer, self._axis)
        pixels, n = max(move.shift), maps[0].shape[-1] if self._axis else maps[0].shape[-2]
        if move.name != "shift" or stride is None or (pixels / stride).denominator != 1:
            return
        steps, around = int(pixels / stride), self.border == "circular" and n * stride == image[self._axis]
        if steps >= n and not around:
            return
        _add(row, "back", _alike.alike(*_alike.moved_back(*maps, self._axis, steps, around), self.similarity))
        where = _alike.inner(layer, image, self._axis, pixels)
        if where is not None:
            clean, moved = _alike.moved_back(*maps, self._axis, steps, False)
            inner = [values[:, :, where[0], where[1]] for values in (clean, moved)]
            _add(row, "inner", _alike.alike(inner[0], inner[1], self.similarity))

    def _notes(self, layer: Layer, count: int, usable: int, rows: list[Found]) -> tuple[str, ...]:
        stride = _alike.stride(layer, self._axis)
        none = sum(int(np.isnan(v).sum()) for row in rows for v in row["channels"])
        notes = [f"sampled: {count} of {usable:,} images, seed {self.seed}" if count < usable else f"all {count} images",
                 f"{self.similarity}; beyond the border: {self.border}; 'fill' compares with {OTHER[self.border]}"]
        if map_of(layer) is None:
            notes.append("the layer is a vector: it has no maps to compare")
        elif stride is not None:
            notes.append(f"one step on its map is {stride} px: shifts by multiples of that can be moved back")
        return (*notes, *([f"left out: {none} comparisons in which all responses were zero"] if none else []))


def _response(study: Study, layer: Layer, x: Tensor) -> Tensor:
    """(B, U, …) the layer's values, in the batches that the network takes."""
    parts = [run.upto(study.net, part, layer.address) for part in x.split(study.net.batch or len(x))]
    return torch.cat(parts).movedim(layer.unit_axis or 1, 1).cpu()


def _add(row: Found, name: str, values: NDArray[np.float64]) -> None:
    row.setdefault(name, []).append(values)


_COLUMNS = {"channels": True, "maps": True, "back": True, "inner": False, "fill": False}  # and whether with quartiles
_UNITS = {
    "amount": "shift in pixels, rotation in degrees counter-clockwise, scale as a factor",
    "channels": "similarity of the maps' means to the clean image's, mean over images; quartiles beside it",
    "maps": "similarity of the whole maps, position by position",
    "back": "the same after the maps are moved back by shift/stride, where they overlap",
    "inner": "the same at positions that see neither padding nor what entered",
    "fill": "similarity of the maps' means under two fills beyond the border: far from 1, the border decides",
    "entered": "share of the image's area that comes from beyond the border, 0 … 1",
}
