"""One look at a batch of maps (B, U, …): the largest value of every row, mean and variance and minimum of every map.

Everything is one pass at memory speed. A large map is taken image by image, so that the second and third question about it
are answered from the processor's cache; and what a ReLU makes of maps that were looked at just before follows from their
rows: max relu(v) = relu(max v), min relu(v) = relu(min v).

`torch.batch_norm_update_stats` gives mean and variance in one read, where `var_mean` takes twenty times as long; called
image by image its float32 sums stay short, so that the result is good to 1e-5 of the spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGE = 1 << 18  # bytes of one image's maps: beyond, a batch does not stay in the cache from one question to the next


@dataclass(frozen=True)
class Glance:
    """What was seen. A row is the last axis of a map; a vector is a map of one row with one value."""

    rows: Tensor  # (B, R, U): the largest value of every row
    means: NDArray[np.float64] | None = None  # (B, U)
    variances: NDArray[np.float64] | None = None  # (B, U), biased
    lows: Tensor | None = None  # (B, U): the smallest value of every map


def look(maps: Tensor, moments: bool = True, low: bool = True, before: Glance | None = None) -> Glance:
    """Look at `maps` (B, U, …). `before`: what was seen of the maps that these are the ReLU of."""
    if maps.ndim == 2:
        maps = maps[:, :, None]
    parts = [maps] if not moments or maps[0].numel() * maps.element_size() < _LARGE else list(maps.split(1))
    rows, lows, stats = list[Tensor](), list[Tensor](), list[tuple[Tensor, Tensor]]()
    for part in parts:
        if moments:
            stats += [_stats(image) for image in part.split(1)]
        if before is None:
            rows.append(_rows(part))
        if low and (before is None or before.lows is None):
            lows.append(_lows(part))
    if before is not None:
        rows = [before.rows.clamp_min(0)]
        lows = [before.lows.clamp_min(0)] if low and before.lows is not None else lows
    means, variances = (
        (torch.stack(list(each)).double().numpy() for each in zip(*stats, strict=True)) if moments else (None, None)
    )
    return Glance(torch.cat(rows), means, variances, torch.cat(lows) if lows else None)


def position(maps: Tensor, glance: Glance, images: NDArray[Any], units: NDArray[Any]) -> NDArray[np.int64]:
    """The first flat position of the largest value of each map maps[images[i], units[i]]: its first best row, then there."""
    b, u = torch.from_numpy(images), torch.from_numpy(units)
    rows = glance.rows[b, :, u]  # (P, R)
    row = rows.argmax(1)
    width = maps.shape[-1] if maps.ndim > 2 else 1
    if maps.ndim == 2:
        return row.numpy()
    last = maps.movedim(1, -1)
    if last.is_contiguous():
        values = last.reshape(len(maps), -1, width, maps.shape[1])[b, row, :, u]
    else:
        values = maps.reshape(*maps.shape[:2], -1, width)[b, u, row]
    return (row * width + values.argmax(1)).numpy()


def map_means(maps: Tensor) -> NDArray[np.float64]:
    """(B, U): the mean of every map."""
    return (maps.flatten(2).mean(2) if maps.ndim > 2 else maps).double().numpy()


def _rows(maps: Tensor) -> Tensor:
    last = maps.movedim(1, -1)
    if last.is_contiguous():  # channels-last: reduce along the memory, not across it
        return last.amax(-2).flatten(1, -2) if last.ndim > 3 else last.amax(-2, keepdim=True)
    found = maps.amax(-1) if maps.ndim > 3 else maps.amax(-1, keepdim=True)
    return found.flatten(2).transpose(1, 2)


def _lows(maps: Tensor) -> Tensor:
    return maps.amin(tuple(range(2, maps.ndim)))


def _stats(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the maps of one image (1, U, …)."""
    if image[0, 0].numel() == 1:
        return image.reshape(-1), torch.zeros(image.shape[1], dtype=image.dtype)
    image = image if image.dtype in (torch.float32, torch.float64) else image.float()
    running = torch.zeros(image.shape[1], dtype=image.dtype), torch.ones(image.shape[1], dtype=image.dtype)
    return torch.batch_norm_update_stats(image, *running, 0.0)
