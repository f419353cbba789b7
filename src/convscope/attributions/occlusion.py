"""Occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks").

    A[i, j] = 1/|R(i, j)| · Σ_{r ∈ R(i, j)} (S(x) − S(x with window r filled))

R(i, j): the windows that cover pixel (i, j).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.attributions import _map
from convscope.errors import UsageError
from convscope.fast import fast
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

Progress = Callable[[int, int, str], None]
Window = tuple[int, int, int, int]  # y0, y1, x0, x1


@dataclass(frozen=True)
class Occlusion:
    """How much does the score drop when a square of the image is covered?

    A window slides over the image; a pixel's value is the mean drop S(clean) − S(covered) over the windows that cover it.
    The last windows are cut at the border, so that every pixel is covered. Values (B, 1, H, W), in units of the score;
    positive where the square held evidence for the target.

    Misleads where evidence is there twice (covering one copy changes nothing) and where the fill is evidence itself: try
    another. Errors: UsageError, ShapeError, DataError. Source: Zeiler and Fergus 2014.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4))
    >>> Occlusion(window=2, fill="zero")(net, torch.ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    window: int | None = param(None, "side of the square; by default a fourteenth of the image's shorter side, at least 3",
                               unit="px", low=1)
    stride: int | None = param(None, "step from square to square; by default half the window", unit="px", low=1)
    fill: str = param("mean", "the image's own mean colour, mid-grey of the pixel range, or zero in the network's units",
                      choices=("mean", "grey", "zero"))
    batch: int = param(32, "covered images per forward pass", low=1)

    def __post_init__(self) -> None:
        validate(self)
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise too_far(self.window, self.stride)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'windows')` may raise to stop."""
        at, x = _map.prepared(net, x)
        window, stride = self.sizes(x.shape[2], x.shape[3])
        places = windows(x.shape[2], x.shape[3], window, stride)
        score = scorer(at, target, self.batch)
        fills = self.colours(net, x)
        values, clean = np.zeros((len(x), 1, *x.shape[2:])), torch.zeros(len(x), dtype=x.dtype)
        cover = np.zeros(x.shape[2:])
        for y0, y1, x0, x1 in places:
            cover[y0:y1, x0:x1] += 1
        # Image by image, so that an image's map does not depend on the batch it came in: same sizes, same rounding.
        for b, image in enumerate(x):
            clean[b] = score(image[None])[0]
            for start in range(0, len(places), self.batch):
                chunk = places[start : start + self.batch]
                drops = clean[b].double() - score(covered(image, chunk, fills[b])).double().cpu()
                for (y0, y1, x0, x1), drop in zip(chunk, drops.tolist(), strict=True):
                    values[b, 0, y0:y1, x0:x1] += drop
                if progress is not None:
                    progress(b * len(places) + start + len(chunk), len(x) * len(places), "windows")
        notes = (f"{len(places):,} windows of {window}×{window} px, {stride} px apart, filled with {self.said(fills)}",)
        proof: dict[str, float | str] = {"windows over a pixel": f"{int(cover.min())} … {int(cover.max())}"}
        kept = np.float64 if x.dtype == torch.float64 else np.float32
        return _map.heatmap(net, self, x, target, (values / cover).astype(kept), clean, unit="drop of the score",
                            proof=proof, notes=notes)

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        """Window and stride in pixels for an image of this size."""
        shorter = min(height, width)
        window = self.window or min(max(3, round(shorter / 14)), shorter)
        if window > shorter:
            raise UsageError(f"a window of {window} px does not fit into {height}×{width}", "it is larger than the image",
                             f"use at most {shorter}")
        stride = self.stride or max(1, window // 2)
        if stride > window:
            raise too_far(window, stride)
        return window, stride

    def colours(self, net: Network, x: Tensor) -> Tensor:
        """(B, C) what each image is covered with, in the network's units."""
        if self.fill == "mean":
            return x.double().mean((2, 3)).to(x.dtype)
        if self.fill == "zero":
            return x.new_zeros(x.shape[:2])
        if net.preprocess is None:
            raise UsageError("fill='grey' needs to know the pixel range", f"{net.name} was opened without preprocessing",
                             "open it with preprocess=…, or use fill='mean'")
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device) for v in (net.preprocess.mean, net.preprocess.std))
        return ((net.preprocess.range / 2 - mean) / std).expand(x.shape[:2])

    def said(self, fills: Tensor) -> str:
        """The fill in words; of several images the first one's numbers."""
        numbers = ", ".join(f"{v:.3g}" for v in fills[0, :4].tolist()) + (", …" if fills.shape[1] > 4 else "")
        name = {"mean": "each image's own mean colour" if len(fills) > 1 else "its own mean colour",
                "grey": "mid-grey", "zero": "zeros"}[self.fill]
        return f"{name} ({numbers} in the network's units)" if self.fill != "zero" else "zeros in the network's units"


def too_far(window: int, stride: int) -> UsageError:
    return UsageError(f"Occlusion.stride {stride} is larger than the window {window}",
                      "pixels between would never be covered", "use a stride of at most the window")


def windows(height: int, width: int, window: int, stride: int) -> list[Window]:
    """All windows, row by row; the last of a row and of a column are cut at the border."""
    tops, lefts = (range(0, -(-(n - window) // stride) * stride + 1, stride) for n in (height, width))
    return [(y, min(y + window, height), x, min(x + window, width)) for y in tops for x in lefts]


def covered(image: Tensor, places: list[Window], fill: Tensor) -> Tensor:
    """(P, C, H, W): the image with each of the windows filled."""
    batch = image.repeat(len(places), 1, 1, 1)
    for one, (y0, y1, x0, x1) in zip(batch, places, strict=True):
        one[:, y0:y1, x0:x1] = fill[:, None, None]
    return batch


def scorer(net: Network, target: Target, size: int) -> Callable[[Tensor], Tensor]:
    """Image batch -> scores. A class: by a fast private copy of the network; a unit: by running up to its layer only."""
    if target.unit is not None:
        return lambda batch: _map.scores(net, batch, target, size)
    quick = fast(net, ())

    def score(batch: Tensor) -> Tensor:
        return torch.cat([quick.run(part).flatten(1)[:n, target.index] for part, n in _map.pieces(net, batch, size)])

    return score
