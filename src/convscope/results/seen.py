"""What is seen: heat-maps, pictures, tables, clouds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from convscope.results.base import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Heatmap(Result):
    """Which pixels decided? A signed map on each image of a batch."""

    kind: ClassVar[str] = "heatmap"
    values: NDArray[np.floating]  # (B, C, H, W); C is 1 where a method speaks of pixels only
    images: NDArray[np.uint8]  # (B, H, W, 3) what the network saw, to draw beneath
    targets: tuple[str, ...]  # what each image was asked about: '281 tabby'
    scores: NDArray[np.floating]  # (B,) the target's value
    unit: str = "score per input unit"
    proof: dict[str, float | str] = field(default_factory=dict[str, "float | str"])
    notes: tuple[str, ...] = ()
    seconds: float | None = None  # how long it took; None: nobody looked at the clock

    @property
    def map(self) -> NDArray[np.floating]:
        """(B, H, W): summed over input channels, signed."""
        return self.values.sum(axis=1)


@dataclass(frozen=True, kw_only=True)
class Picture(Result):
    """Images made for units: filters, activation maps, syntheses, top images. One tile a unit."""

    kind: ClassVar[str] = "picture"
    tiles: NDArray[Any]  # (U, h, w) float with a signed or sequential scale, or (U, h, w, 3) uint8
    units: tuple[str, ...]  # one address or caption a tile
    title: str = ""
    scale: str = "shared"  # 'shared': all tiles have one colour scale; 'each': its own; 'rgb': tiles are colours already
    signed: bool = False  # a diverging scale around zero
    values: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # numbers a tile, e.g. {'max': (U,)}
    notes: tuple[str, ...] = ()
    columns: int = 0  # tiles a row, where a row means something; 0: as many as fit


@dataclass(frozen=True, kw_only=True)
class Table(Result):
    """Rows. A column is an array whose first axis counts the rows; more axes are allowed (top-k ids: (U, k))."""

    kind: ClassVar[str] = "table"
    columns: dict[str, NDArray[Any]]
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column means, with its unit
    title: str = ""
    notes: tuple[str, ...] = ()
    chart: tuple[str, ...] = ()  # columns (value, low, high) whose intervals a figure draws beside the rows

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True, kw_only=True)
class Cloud(Result):
    """Points with ids: a map of a collection."""

    kind: ClassVar[str] = "cloud"
    points: NDArray[np.floating]  # (N, 2)
    ids: tuple[str, ...]
    labels: NDArray[np.integer] | None = None  # (N,) class indices, -1 unknown
    classes: tuple[str, ...] = ()
    title: str = ""
    axes: tuple[str, str] = ("", "")  # what the axes mean, e.g. 'component 1 (31 % of variance)'
    notes: tuple[str, ...] = ()  # 'sampled: 2,000 of 60,000 images, seed 0'
