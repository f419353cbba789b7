"""Occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks").

    A[i, j] = 1/|R(i, j)| · Σ_{r ∈ R(i, j)} (S(x) − S(x with window r filled))

R(i, j): the windows that cover pixel (i, j). Each covered image is computed only where it differs from the clean one
(`incremental`), which changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attributions import _fill, _map
from convscope.attributions._covered import TRIED, Covered, Progress, Window
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

TRIED_FAST = 32  # windows also computed by full passes, where the fast mode must say how well it agrees
SMALL_GAIN = 1.3  # below it, why so little can be saved is said


@dataclass(frozen=True)
class Occlusion:
    """How much does the score drop when a square of the image is covered?

    A window slides over the image; a pixel's value is the mean drop S(clean) − S(covered) over the windows that cover it.
    The last windows are cut at the border, so that every pixel is covered. Values (B, 1, H, W), in units of the score;
    positive where the square held evidence for the target.

    Proof: the largest difference to full passes of the network itself, on three windows; the share of a full pass's MACs
    that a window can change. Misleads where evidence is there twice (covering one copy changes nothing) and where the fill
    is evidence itself: try another. Errors: UsageError, ShapeError, DataError. Source: Zeiler and Fergus 2014.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4))
    >>> Occlusion(window=2, fill="zero")(net, torch.ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    window: int | None = param(None, "side of the square; by default a fourteenth of the image's shorter side, at least 3",
                               unit="px", low=1)
    stride: int | None = param(None, "step from square to square; by default half the window", unit="px", low=1)
    fill: str = param("mean", "mean, grey, zero, blur, noise, or a colour in pixel units such as #808080 or 128,128,128")
    batch: int = param(32, "most covered images computed together", low=1)
    memory: int = param(2048, "most memory for them, about; fewer are computed together where they need more", unit="MiB",
                        low=1)
    fast: bool = param(False, "carry differences in bfloat16: approximate, about twice as fast or more")
    seed: int = param(0, "seed of the noise", low=0)

    def __post_init__(self) -> None:
        validate(self)
        _fill.check(self.fill)
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise too_far(self.window, self.stride)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'windows')` may raise to stop."""
        return self.several(net, x, (target,), progress)[0]

    def several(self, net: Network, x: Tensor, targets: Sequence[Target], progress: Progress | None = None
                ) -> tuple[Heatmap, ...]:
        """One result a target, at the cost of one (of one for each layer, where units are asked about)."""
        at, x = _map.prepared(net, x)
        window, stride = self.sizes(x.shape[2], x.shape[3])
        places = windows(x.shape[2], x.shape[3], window, stride)
        fills = _fill.filled(net, x, self.fill, self.seed)
        layers = [t.unit.layer if t.unit is not None else None for t in targets]
        drops, clean = np.zeros((len(targets), len(x), len(places))), torch.zeros(len(targets), len(x), dtype=x.dtype)
        pairs: list[tuple[Tensor, Tensor]] = []
        share, where, jobs = 1.0, "", list(dict.fromkeys(layers))
        # Image by image, so that an image's map does not depend on the batch it came in: same sizes, same rounding.
        for number, (layer, b) in enumerate((layer, b) for layer in jobs for b in range(len(x))):
            mine = [k for k, of in enumerate(layers) if of == layer]
            told = None if progress is None else _shifted(progress, number * len(places), len(jobs) * drops[0].size)
            asked = Covered(at, x[b : b + 1], [targets[k] for k in mine], self.batch, self.fast)
            asked.memory = self.memory << 20
            found = asked.scores(places, fills[b : b + 1], told)
            clean[mine, b], drops[mine, b] = asked.clean.to(x.dtype), (asked.clean[:, None] - found.T).numpy()
            pairs += [asked.against_full(places, fills[b : b + 1], found, TRIED_FAST if self.fast else TRIED)]
            share, where = asked.share(places)
        notes = [f"{len(places):,} windows of {window}×{window} px, {stride} px apart, "
                 f"filled with {_fill.said(net, x, self.fill, self.seed)}"]
        if share > 1 / SMALL_GAIN:
            notes.append(f"a window changes {share:.0%} of a pass's work, so that little can be left out"
                         + (f": from {where} on it changes everything" if where else ""))
        proof = self._proof(pairs) | {"share of a pass that can change": share}
        if self.fast:
            notes.append("approximate: differences to the clean pass were carried in bfloat16")
        values = np.stack([spread(d, places, (x.shape[2], x.shape[3])) for d in drops])
        kept = values.astype(np.float64 if x.dtype == torch.float64 else np.float32)
        return tuple(_map.heatmap(net, self, x, target, kept[k], clean[k], unit="drop of the score", proof=proof,
                                  notes=tuple(notes)) for k, target in enumerate(targets))

    def _proof(self, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, float | str]:
        """How far from full passes, on a few windows; of the fast mode also the correlation with them."""
        mine, full = (torch.cat([p[i].flatten() for p in pairs]) for i in (0, 1))
        proof: dict[str, float | str] = {"largest difference to full passes": float((mine - full).abs().max())}
        if self.fast and len(mine) > 1 and full.std() > 0:
            proof["correlation with full passes"] = float(torch.corrcoef(torch.stack([mine, full]))[0, 1])
        return proof

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


def too_far(window: int, stride: int) -> UsageError:
    return UsageError(f"Occlusion.stride {stride} is larger than the window {window}",
                      "pixels between would never be covered", "use a stride of at most the window")


def windows(height: int, width: int, window: int, stride: int) -> list[Window]:
    """All windows, row by row; the last of a row and of a column are cut at the border."""
    tops, lefts = (range(0, -(-(n - window) // stride) * stride + 1, stride) for n in (height, width))
    return [(y, min(y + window, height), x, min(x + window, width)) for y in tops for x in lefts]


def spread(drops: NDArray[np.float64], places: Sequence[Window], size: tuple[int, int]) -> NDArray[np.float64]:
    """(B, 1, H, W): each pixel's mean over the windows that cover it, from drops (B, N)."""
    values, cover = np.zeros((len(drops), 1, *size)), np.zeros(size)
    for drop, (y0, y1, x0, x1) in zip(drops.T, places, strict=True):
        values[:, 0, y0:y1, x0:x1] += drop[:, None, None]
        cover[y0:y1, x0:x1] += 1
    return values / cover


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one part, told as that of the whole."""
    return lambda done, _, what: progress(before + done, total, what)
