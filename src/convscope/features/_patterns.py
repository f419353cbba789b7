"""Patterns that a filter may be, as functions of a few numbers, and how they are fitted to many filters at once.

With x to the right and y up, in px from the kernel's middle; u = x·cosθ + y·sinθ, v = y·cosθ − x·sinθ, after moving to the
centre (x₀, y₀):

    gabor            (a·cos(2πu/λ) + b·sin(2πu/λ)) · exp(−(u² + γ²v²)/2σ²)       Daugman 1985
    edge             (a·x + b·y) · exp(−r²/2σ²)                                   derivative of a Gaussian; Sobel at σ = 0.85
    line             a·(1 − u²/σ²) · exp(−r²/2σ²)                                 second derivative across the line
    blob             a·exp(−r²/2σ²)
    centre-surround  a·exp(−r²/2σ²) + b·exp(−r²/2(1.6σ)²)                         Marr and Hildreth 1980
    checker          a·(−1)^(i+j)

each plus a constant c. a, b, c are linear: for given θ, λ, … they follow in closed form, so only the others are searched
(variable projection, Golub and Pereyra 1973): over a grid, for all filters at once, then by least squares from the best
points.

A pattern may have at most half as many parameters as the kernel has weights; where it has more, its centre is the kernel's
middle, and where that does not help it is left out. Otherwise a 3×3 kernel would be a Gabor whatever it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]
RIDGE = 1e-9  # keeps a column that is zero but for rounding from explaining anything
EXACT = 1e-8  # a share of squares below this is no better than zero
CELLS = 2_000_000  # numbers of a grid's patterns held at a time
SURROUND = 1.6  # its width over the centre's


@dataclass(frozen=True)
class Pattern:
    """One kind: its searched parameters, how many linear ones it has, and its columns."""

    name: str
    searched: tuple[str, ...]  # 'x' and 'y' last, where the centre is free
    linear: int  # without the constant
    columns: Callable[[dict[str, Array], Array, Array], list[Array]]

    @property
    def parameters(self) -> int:
        return len(self.searched) + self.linear + 1

    def basis(self, points: Array, size: tuple[int, int]) -> Array:
        """(G, n, linear + 1) columns for the parameters (G, P), the constant last."""
        x, y = coordinates(size)
        p = dict(zip(self.searched, points.T[:, :, None], strict=True))
        x, y = x - p["x"] if "x" in p else x[None], y - p["y"] if "y" in p else y[None]
        columns = self.columns(p, x, y)
        return np.stack([np.broadcast_to(c, (len(points), x.shape[1])) for c in (*columns, np.ones_like(x))], 2)


def coordinates(size: tuple[int, int]) -> tuple[Array, Array]:
    """(n,) x to the right and y up, from the kernel's middle, row by row."""
    i, j = np.indices(size).reshape(2, -1).astype(np.float64)
    return j - (size[1] - 1) / 2, (size[0] - 1) / 2 - i


def _bell(p: dict[str, Array], x: Array, y: Array, wider: float = 1.0) -> Array:
    return np.exp(-(x**2 + y**2) / (2 * (wider * p["sigma"]) ** 2))


def _gabor(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    u, v = x * np.cos(p["theta"]) + y * np.sin(p["theta"]), y * np.cos(p["theta"]) - x * np.sin(p["theta"])
    bell = np.exp(-(u**2 + (p["aspect"] * v) ** 2) / (2 * p["sigma"] ** 2))
    return [bell * np.cos(2 * np.pi * u / p["wavelength"]), bell * np.sin(2 * np.pi * u / p["wavelength"])]


def _edge(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    return [x * _bell(p, x, y), y * _bell(p, x, y)]


def _line(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    u = x * np.cos(p["theta"]) + y * np.sin(p["theta"])
    return [(1 - (u / p["sigma"]) ** 2) * _bell(p, x, y)]


def _blob(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    return [_bell(p, x, y)]


def _surround(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    return [_bell(p, x, y), _bell(p, x, y, SURROUND)]


def _checker(p: dict[str, Array], x: Array, y: Array) -> list[Array]:
    del p
    return [1.0 - 2.0 * (np.rint(x - x.min() + y.max() - y) % 2)]


KINDS = (
    Pattern("gabor", ("theta", "wavelength", "sigma", "aspect", "x", "y"), 2, _gabor),
    Pattern("edge", ("sigma", "x", "y"), 2, _edge),
    Pattern("line", ("theta", "sigma", "x", "y"), 1, _line),
    Pattern("blob", ("sigma", "x", "y"), 1, _blob),
    Pattern("centre-surround", ("sigma", "x", "y"), 2, _surround),
    Pattern("checker", (), 1, _checker),
)


def patterns(size: tuple[int, int]) -> tuple[Pattern, ...]:
    """The kinds that a kernel of this size can tell apart, with a fixed centre where it is too small for a free one."""
    found: list[Pattern] = []
    for kind in KINDS:
        fixed = Pattern(kind.name, tuple(s for s in kind.searched if s not in ("x", "y")), kind.linear, kind.columns)
        found += [one for one in (kind, fixed) if 2 * one.parameters <= size[0] * size[1] and _told(one, size)][:1]
    return tuple(found)


def _told(pattern: Pattern, size: tuple[int, int]) -> bool:
    """A round pattern in the middle is a function of the radius alone: it needs as many radii as parameters."""
    if "x" in pattern.searched or pattern.name not in ("blob", "centre-surround"):
        return True
    x, y = coordinates(size)
    return pattern.parameters <= len(np.unique(np.round(x**2 + y**2, 6)))


def grid(pattern: Pattern, size: tuple[int, int]) -> Array:
    """(G, P) where the search starts."""
    side = max(size)
    many = pattern.name == "gabor"
    values = {"theta": np.arange(12) * np.pi / 12, "wavelength": np.geomspace(2, 2 * side, 7),
              "sigma": np.geomspace(0.6, 0.6 * side, 4 if many else 6), "aspect": np.array([0.5, 1.0]),
              "x": np.linspace(-1, 1, 3 if many else 5) * (size[1] - 1) / 3,
              "y": np.linspace(-1, 1, 3 if many else 5) * (size[0] - 1) / 3}
    return np.array(list(itertools.product(*(values[name] for name in pattern.searched))))


def limits(pattern: Pattern, size: tuple[int, int]) -> tuple[Array, Array]:
    """Lowest and highest value of each searched parameter."""
    side = float(max(size))
    ends = {"theta": (-np.inf, np.inf), "wavelength": (2.0, 4 * side), "sigma": (0.3, 2 * side), "aspect": (0.2, 4.0),
            "x": (-(size[1] - 1) / 2, (size[1] - 1) / 2), "y": (-(size[0] - 1) / 2, (size[0] - 1) / 2)}
    low, high = np.array([ends[name] for name in pattern.searched]).reshape(-1, 2).T
    return low, high


def search(pattern: Pattern, planes: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """For filters (U, n): the grid's best parameters (U, P) and the squares left over (U,)."""
    points = grid(pattern, size)
    best, where = np.full(len(planes), np.inf), np.zeros(len(planes), np.int64)
    total = (planes**2).sum(1)
    rows = max(1, CELLS // (planes.shape[1] * (pattern.linear + 1)))
    for at in range(0, len(points), rows):
        basis = pattern.basis(points[at : at + rows], size)
        crossed = np.swapaxes(basis, 1, 2) @ planes.T  # (G, m, U)
        gram = np.swapaxes(basis, 1, 2) @ basis
        gram += RIDGE * planes.shape[1] * np.eye(gram.shape[1])
        left = total - (crossed * np.linalg.solve(gram, crossed)).sum(1)
        first = left.argmin(0)
        lowest = left[first, np.arange(len(planes))]
        where, best = np.where(lowest < best, at + first, where), np.minimum(lowest, best)
    return points[where], np.maximum(best, 0)


def solve(pattern: Pattern, point: Array, plane: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """The linear parameters (m,) of one filter (n,), the constant last, and what is left of it (n,)."""
    basis = pattern.basis(point[None], size)[0]
    gram = basis.T @ basis + RIDGE * len(plane) * np.eye(basis.shape[1])
    found = np.linalg.solve(gram, basis.T @ plane)
    return found, plane - basis @ found


def refine(pattern: Pattern, start: Array, plane: Array, size: tuple[int, int]) -> tuple[Array, Array, float]:
    """Least squares from `start`: searched parameters, linear ones, squares left over. Never worse than the start."""
    point = start
    if pattern.searched:
        low, high = limits(pattern, size)
        scale = np.sqrt((plane**2).sum()) or 1.0
        found = least_squares(lambda p: solve(pattern, p, plane / scale, size)[1], np.clip(start, low, high),
                              bounds=(low, high), x_scale=np.maximum(np.abs(start), 0.5), max_nfev=60)
        before = (solve(pattern, start, plane, size)[1] ** 2).sum()
        point = found.x if (solve(pattern, found.x, plane, size)[1] ** 2).sum() <= before else start
    linear, left = solve(pattern, point, plane, size)
    return point, linear, float((left**2).sum())
