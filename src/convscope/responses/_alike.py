"""How alike two responses are, image by image; and how alike two maps are once one is moved back over the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.network import map_of
from convscope.results import Layer

Array = NDArray[np.float64]
MEASURES = ("cosine", "correlation")


def alike(a: Tensor, b: Tensor, measure: str) -> Array:
    """(B,) cosine or Pearson's correlation of a[n], b[n] (B, …), −1 … 1; NaN where one of them has no direction.

    >>> alike(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), "cosine").round(4).tolist()
    [0.7071]
    """
    a, b = a.double().flatten(1), b.double().flatten(1)
    least = 1e-12 * torch.stack([a.norm(dim=1), b.norm(dim=1)])  # what is left of a constant is rounding
    if measure == "correlation":
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    lengths = torch.stack([a.norm(dim=1), b.norm(dim=1)])
    found = ((a / lengths[0][:, None]) * (b / lengths[1][:, None])).sum(1).clamp(-1, 1)
    found[(lengths <= least).any(0)] = torch.nan
    return found.numpy()


def means(values: Tensor) -> Tensor:
    """(B, U) the mean of every map of (B, U, …)."""
    return values.flatten(2).mean(2) if values.ndim > 2 else values


def stride(layer: Layer, axis: int) -> Fraction | None:
    """How many pixels of the image a step on the layer's map is, along rows (0) or columns (1); None: it has no map."""
    size, fields = map_of(layer), layer.fields
    if size is None or len(size) != 2 or fields is None or len(fields) != 2 or size[axis] < 2:
        return None
    return fields[axis].stride


def moved_back(clean: Tensor, moved: Tensor, axis: int, steps: int, around: bool) -> tuple[Tensor, Tensor]:
    """Both maps (B, U, h, w) where they show the same things: those of the moved image lie `steps` further along the axis.

    `around`: what leaves on one side comes in on the other, so that all positions can be compared.
    """
    dim, n = 2 + axis, clean.shape[2 + axis]
    if around:
        return clean, moved.roll(-steps, dim)
    return clean.narrow(dim, 0, n - steps), moved.narrow(dim, steps, n - steps)


def inner(layer: Layer, image: tuple[int, int], axis: int, pixels: int) -> tuple[slice, slice] | None:
    """The positions of the clean map whose receptive field lies inside the image, and still does after the move.

    There neither the padding nor what enters plays a part: a layer that is equivariant answers the same. None: no such.
    """
    size, fields = map_of(layer), layer.fields
    if size is None or len(size) != 2 or fields is None or len(fields) != 2:
        return None
    found: list[slice] = []
    for a, (n, f) in enumerate(zip(image, fields, strict=True)):
        if f.size is None:
            return None
        reach = pixels if a == axis else 0
        good = [i for i in range(size[a]) if f.start + i * f.stride >= 0 and f.start + i * f.stride + f.size + reach <= n]
        if not good:
            return None
        found.append(slice(good[0], good[-1] + 1))
    return found[0], found[1]


def curves(rows: list[dict[str, list[Array]]], names: dict[str, bool]) -> dict[str, Array]:
    """Of every row (R) the mean over images of each named similarity, and its quartiles (R, 3) where asked; or NaN."""
    found, quartiles = dict[str, Array](), dict[str, Array]()
    for name, spread in names.items():
        values = [np.concatenate(row.get(name, [np.zeros(0)])) for row in rows]
        there = [v[np.isfinite(v)] for v in values]
        found[name] = np.array([v.mean() if len(v) else np.nan for v in there])
        if spread:
            ends = [np.percentile(v, (25, 50, 75)) if len(v) else np.full(3, np.nan) for v in there]
            quartiles[f"{name}_quartiles"] = np.array(ends)
    return found | quartiles
