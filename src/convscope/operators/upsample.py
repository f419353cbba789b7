"""Interpolation: a map of another size, by copying the nearest pixel or by mixing the two nearest along each axis.

Output i looks at the real position u of the source axis; r = n/m, or 1/scale where a scale factor was given:

    nearest        u = ⌊i·r⌋                       nearest-exact   u = ⌊(i + ½)·r⌋
    linear         u = (i + ½)·r − ½ (not below 0)      align_corners   u = i·(n − 1)/(m − 1)

and linear mixes x[⌊u⌋] and x[⌊u⌋ + 1] with weights 1 − (u − ⌊u⌋) and u − ⌊u⌋. Bilinear and trilinear do so axis by axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any, ClassVar

import numpy as np

from convscope.errors import UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators import _separable
from convscope.operators._operator import Operator, Shape
from convscope.operators._window_terms import axis_by_axis, axis_names
from convscope.operators._windows import per_axis, require_rank
from convscope.operators._working import Working, number, sum_lines
from convscope.results import Gradient, Line

MODES = ("nearest", "nearest-exact", "linear")


@dataclass(frozen=True)
class Upsample(Operator):
    """Which source pixels does each pixel of the resized map mix?

    Shapes: x (B, C, h, w), y (B, C, *output_size), or ⌊size · scale_factor⌋ per axis; 1 to 3 spatial axes. 'linear' stands
    for bilinear and trilinear too. Units: no parameters, macs 0 by our definition (the weights are fixed). windows: for an
    integer factor a transposed window (nearest f wide, linear up to 2f), for nearest by 1/f a stride; otherwise no single
    window describes it and WHOLE is the safe answer. Raises UsageError for an unknown mode or no size. Misleads: without
    align_corners pixels are areas, with it they are points and the map is stretched. Source: as PyTorch's
    `torch.nn.functional.interpolate`; nearest computes positions in single precision as it does.

    >>> Upsample(scale_factors=2.0).forward(np.array([[[1.0, 3.0]]])).tolist()
    [[[1.0, 1.0, 3.0, 3.0]]]
    >>> Upsample(scale_factors=2.0, mode="linear").forward(np.array([[[1.0, 3.0]]])).tolist()
    [[[1.0, 1.5, 2.5, 3.0]]]
    """

    output_size: tuple[int, ...] | None = None
    scale_factors: float | tuple[float, ...] | None = None
    mode: str = "nearest"
    align_corners: bool = False

    aten: ClassVar = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
                      "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
                      "upsample_trilinear3d")
    formula: ClassVar = "y[…,i] = (1 − λ) · x[…,⌊u⌋] + λ · x[…,⌊u⌋+1],  u = (i + ½)·n/m − ½"
    backward_formula: ClassVar = "∂L/∂x[…,p] = Σ_i δ[…,i] · (the factor with which output i read x[…,p])"

    def __post_init__(self) -> None:
        if self.mode not in MODES or (self.output_size is None and self.scale_factors is None):
            raise UsageError(f"interpolation of mode {self.mode!r} to size {self.output_size} is not known",
                             f"modes are {', '.join(MODES)}", "give output_size or scale_factors")

    @classmethod
    def read(cls, name: str, settings: dict[str, Any], shapes: tuple[Shape, ...]) -> Operator:
        """The mode is in the ATen name; scales come as one list or as scales_d, scales_h, scales_w (scales in 1-D)."""
        del shapes
        mode = "nearest-exact" if "exact" in name else "nearest" if "nearest" in name else "linear"
        scales = settings.get("scale_factors")
        if scales is None:
            single = [settings[k] for k in ("scales", "scales_d", "scales_h", "scales_w") if settings.get(k) is not None]
            scales = single or None
        size = settings.get("output_size")
        return cls(None if size is None else tuple(size), None if scales is None else tuple(scales), mode,
                   bool(settings.get("align_corners", False)))

    def output_shape(self, x: Shape) -> Shape:
        rank = require_rank(x, "interpolation")
        if self.output_size is not None:
            return (*x[:2], *per_axis(self.output_size, rank, "output_size"))
        return (*x[:2], *(floor(n * f) for n, f in zip(x[2:], self._factors(rank), strict=True)))

    def windows(self, x: Shape) -> tuple[Window | str, ...]:
        out, rank = self.output_shape(x)[2:], len(x) - 2
        return tuple(self._window(n, m, f) for n, m, f in zip(x[2:], out, self._factors(rank), strict=True))

    def forward(self, x: Any) -> Any:
        return _separable.apply(x, self._matrices(x.shape))

    def backward(self, delta: Any, x: Any) -> tuple[Any, ...]:
        return (_separable.apply_transposed(delta, self._matrices(x.shape)),)

    def gradients(self, x: Shape) -> tuple[Gradient, ...]:
        sizes = axis_by_axis([f"{m} → {n}" for n, m in zip(x[2:], self.output_shape(x)[2:], strict=True)])
        how = "each pixel adds up the δ of the outputs that read it, with the same factors (the transposed interpolation)"
        return (Gradient("x", x, how, sizes),)

    def explain_value(self, at: tuple[int, ...], x: Any) -> Working:
        matrices = self._matrices(x.shape)
        made = _separable.value_terms(at, x, matrices)
        lines: list[Line] = []
        for name, matrix, i in zip(axis_names(x.ndim - 2), matrices, at[2:], strict=True):
            read = [(int(p), float(matrix[i, p])) for p in np.flatnonzero(matrix[i])]
            looks = sum(p * f for p, f in read)
            mixed = " + ".join(f"{number(f)}·{p}" for p, f in read) + " = " if len(read) > 1 else ""
            lines.append(Line(f"{name}: {i} of y looks at {mixed}{number(looks)} of x", looks))
        return Working(self.formula, (*lines, *sum_lines(made, "y")), made)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, x: Any) -> Working:
        lines, made = _separable.gradient_terms(at, delta, self._matrices(x.shape))
        return Working(self.backward_formula, lines, made)

    def _factors(self, rank: int) -> tuple[Any, ...]:
        if self.scale_factors is None:
            return (None,) * rank
        return per_axis(self.scale_factors, rank, "scale_factors")

    def _matrices(self, x: Shape) -> list[Any]:
        """(m, n) per axis: row i holds the weights of output i."""
        out, matrices = self.output_shape(x)[2:], []
        for n, m, factor in zip(x[2:], out, self._factors(len(out)), strict=True):
            low, weight = self._positions(n, m, factor)
            matrix = np.zeros((m, n))
            np.add.at(matrix, (np.arange(m), low), 1 - weight)
            np.add.at(matrix, (np.arange(m), np.minimum(low + 1, n - 1)), weight)
            matrices.append(matrix)
        return matrices

    def _positions(self, n: int, m: int, factor: float | None) -> tuple[Any, Any]:
        """⌊u⌋ and u − ⌊u⌋ for every output along one axis."""
        i = np.arange(m)
        if self.mode == "linear" and n == m:
            return i, np.zeros(m)  # PyTorch copies here, even if a fractional scale led to this size
        if self.mode == "linear":
            ratio = n / m if factor is None else 1 / factor
            u = np.maximum((i + 0.5) * ratio - 0.5, 0)
            if self.align_corners:
                u = i * ((n - 1) / (m - 1) if m > 1 else 0.0)
            low = np.minimum(u.astype(int), n - 1)
            return low, np.clip(u - low, 0, 1)
        ratio = np.float32(n) / np.float32(m) if factor is None else np.float32(1 / factor)
        offset = np.float32(0.5 if self.mode == "nearest-exact" else 0)
        u = (i.astype(np.float32) + offset) * ratio
        return np.minimum(u.astype(int), n - 1), np.zeros(m)

    def _window(self, n: int, m: int, factor: Any) -> Window | str:
        ratio = m / n if factor is None else factor
        if n == m and (ratio == 1 or self.mode == "linear"):
            return Window()
        if self.mode == "linear" and self.align_corners:
            f = (m - 1) // (n - 1) if n > 1 and m > 1 and (m - 1) % (n - 1) == 0 else 0
            return Window(2 * f - 1, f, f - 1, transposed=True) if f else WHOLE
        if ratio == int(ratio) and m == n * ratio:
            f = int(ratio)
            if self.mode != "linear":
                return Window(f, f, transposed=True)
            # Pixel j has weight where |u − j| < 1: between f·j − f/2 − ½ and f·j + 3f/2 − ½, both excluded.
            return Window(2 * f - f % 2, f, f // 2, transposed=True)
        if self.mode == "nearest" and n % m == 0 and ratio == m / n:
            return Window(1, n // m)
        return WHOLE
