"""A fitted pattern as numbers that a person reads: degrees and pixels, in a table of one row a filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.features._patterns import Array, Pattern

MEANINGS = {
    "r2": "share of the variance about the mean that the pattern explains, 0 … 1",
    "adjusted": "R² less what as many free parameters explain by chance",
    "raw": "share of the squares, mean included, that pattern and offset explain",
    "orientation": "degrees counterclockwise from the x axis: normal of the stripes, 0 … 180; edge: dark to bright, 0 … 360",
    "wavelength": "px",
    "phase": "degrees at the centre; 0: bright stripe",
    "sigma": "px, width across the stripes; twice the kernel's side, its limit: wider than can be told",
    "aspect": "sigma over that along the stripes",
    "right": "px, centre from the kernel's middle",
    "down": "px, centre from the kernel's middle",
    "polarity": "of a line, blob, centre or a checker's first cell",
    "amplitude": "half of the pattern's range, in weights",
    "offset": "in weights",
    "share": "of the filter's squared weights that lie in the plane",
    "channel": "input channel that is the plane",
}
_NUMBERS = ("orientation", "wavelength", "phase", "sigma", "aspect", "right", "down", "amplitude", "offset")


@dataclass(frozen=True)
class Fit:
    """One filter's best pattern."""

    pattern: Pattern
    point: Array  # (P,) the searched parameters
    linear: Array  # (m,) the linear ones, the constant last
    r2: float
    adjusted: float
    size: tuple[int, int]

    def drawn(self) -> Array:
        """(n,) the pattern without its offset."""
        return self.pattern.basis(self.point[None], self.size)[0, :, :-1] @ self.linear[:-1]

    def numbers(self) -> dict[str, float]:
        """The columns that mean something for this kind."""
        p = dict(zip(self.pattern.searched, (float(v) for v in self.point), strict=True))
        drawn = self.drawn()
        found = {"amplitude": float(drawn.max() - drawn.min()) / 2, "offset": float(self.linear[-1])}
        if self.pattern.name != "checker":
            found["sigma"] = p["sigma"]
        if "x" in p:
            found |= {"right": p["x"], "down": -p["y"]}
        if self.pattern.name == "gabor":
            found |= {"wavelength": p["wavelength"], "aspect": p["aspect"]} | self._wave(p["theta"])
        elif self.pattern.name == "edge":
            found["orientation"] = float(np.degrees(np.arctan2(self.linear[1], self.linear[0])) % 360)
        elif self.pattern.name == "line":
            found["orientation"] = float(np.degrees(p["theta"]) % 180)
        return found

    def polarity(self) -> str:
        """Of centre and surround the sum decides: it is what stands in the middle."""
        if self.pattern.name in ("gabor", "edge"):
            return ""
        return "bright" if self.linear[:-1].sum() > 0 else "dark"

    def _wave(self, theta: float) -> dict[str, float]:
        """Orientation in 0 … 180 and the phase of A·cos(2πu/λ + φ); turned by half a turn, u and with it φ change sign."""
        phase = np.arctan2(-self.linear[1], self.linear[0])
        turned = np.floor(theta / np.pi) % 2 == 1
        return {"orientation": float(np.degrees(theta % np.pi)), "phase": float(np.degrees(-phase if turned else phase))}


def columns(fits: list[Fit | None], uniform: NDArray[np.bool_], flat: Array,
            quality: float) -> tuple[dict[str, NDArray[Any]], NDArray[np.str_]]:
    """The table's columns, less those that mean nothing here, and each filter's name.

    `uniform`: filters that are a constant, whatever else fits. A filter without a name still has the nearest pattern's R².
    """
    count = len(flat)
    found: dict[str, Array] = {name: np.full(count, np.nan) for name in ("r2", "adjusted", "raw", *_NUMBERS)}
    names, polarity = ["none"] * count, [""] * count
    total, mean = (flat**2).sum(1), flat.mean(1)
    for u, fit in enumerate(fits):
        if uniform[u]:
            names[u], found["offset"][u], found["r2"][u] = "uniform", mean[u], 0.0
            found["raw"][u] = mean[u] ** 2 * flat.shape[1] / total[u]
            continue
        if fit is None:
            continue
        left = (1 - fit.r2) * ((flat[u] - mean[u]) ** 2).sum()
        found["r2"][u], found["adjusted"][u], found["raw"][u] = fit.r2, fit.adjusted, 1 - left / total[u]
        if fit.adjusted < quality:
            continue
        names[u], polarity[u] = fit.pattern.name, fit.polarity()
        for name, value in fit.numbers().items():
            found[name][u] = value
    kept: dict[str, NDArray[Any]] = {k: v for k, v in found.items() if k not in _NUMBERS or not np.isnan(v).all()}
    if any(polarity):
        kept["polarity"] = np.array(polarity, np.str_)
    return kept, np.array(names, np.str_)
