"""RISE (Petsiuk, Das, Saenko 2018, "Randomized Input Sampling for Explanation of Black-box Models").

    A[λ] = 1/(N·p) · Σ_i (S(x ⊙ M_i + x̄ ⊙ (1 − M_i)) − S̄) · M_i(λ)

M_i: a grid of s×s cells, each open with probability p, enlarged bilinearly and shifted at random; S̄: the mean of the N
scores (zero in the paper: `centred=False`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.attributions import _baseline, _map, _masked
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class RISE:
    """How much higher is the score when a pixel is seen, other pixels being shown or hidden at random?

    The mean of the scores of N randomly masked images, each counted by how open its mask is at the pixel. Values
    (B, 1, H, W), signed, in units of the score: with `centred` (default) the estimate of E[S | pixel open] − E[S], without
    it the paper's E[S | pixel open]. Every image of a batch meets the same masks.

    Proof: the Monte-Carlo standard error of a pixel, averaged over the pixels, and relative to the spread of the map (near
    1: the map is noise, take more masks); the mean openness, which should be p.

    Misleads with few masks, and by what a mask fades to: in a normalised image zero is the mean colour, not black. Errors:
    UsageError, ShapeError, DataError. Source: Petsiuk, Das, Saenko 2018.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4))
    >>> RISE(masks=10)(net, ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    masks: int = param(1000, "how many random masks", low=2)
    grid: int = param(7, "cells along each side of a mask", low=1)
    open: float = param(0.5, "probability that a cell is open", low=0.01, high=0.99)
    centred: bool = param(True, "subtract the mean score; without it all values carry the score's offset, as in the paper")
    baseline: str = param("zero", "what a mask fades to: zeros in the network's units, black, grey, the mean colour, blur",
                          choices=("zero", "black", "grey", "mean", "blur"))
    seed: int = param(0, "seed of the masks", low=0)
    batch: int = param(32, "masked images per forward pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: _masked.Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'masks')` may raise to stop."""
        at, x = _map.prepared(net, x)
        score = _masked.scorer(at, target, self.batch)
        faded, words = _baseline.baseline(at, x, self.baseline)
        values, clean = torch.zeros((len(x), 1, *x.shape[2:]), dtype=torch.float64), x.new_zeros(len(x))
        errors, openness = torch.zeros_like(values), 0.0
        for b, image in enumerate(x):
            clean[b] = score(image[None])[0]
            sums = Sums(x.shape[2:])
            for some, scores in _masked.through(score, image, faded[b], self.drawn(x)):
                sums.add(some[:, 0].double().cpu(), scores)
                if progress is not None:
                    progress(b * self.masks + sums.count, len(x) * self.masks, "masks")
            values[b, 0], errors[b, 0] = sums.estimate(self.open, self.centred)
            openness = float(sums.moments[0, 1].mean() / sums.count)
        spread = values.flatten(1).std(1)
        error = errors.square().flatten(1).mean(1).sqrt()
        relative = torch.where(spread > 0, error / spread.clamp_min(1e-300), torch.zeros_like(error))
        proof: dict[str, float | str] = {"Monte-Carlo standard error of a pixel": float(error.max()),
                                         "relative to the spread of the map": float(relative.max()),
                                         "mean openness of the masks": openness}
        noisy = ("the map is mostly noise: its standard error is over half of its spread; take more masks",)
        what = f"{self.masks:,} masks of {self.grid}×{self.grid} cells, each open with {self.open:.0%}, seed {self.seed}"
        notes = (what, f"masks fade to {words}",
                 *(noisy if float(relative.max()) > 0.5 else ()))
        return _map.heatmap(at, self, x, target, values.to(clean.dtype), clean, unit="score", proof=proof, notes=notes)

    def drawn(self, x: Tensor) -> Iterator[Tensor]:
        """The masks (n, 1, H, W), a batch at a time; the same for every image of this size, whatever the batch."""
        generator = torch.Generator().manual_seed(self.seed)
        height, width = x.shape[2:]
        cell = math.ceil(height / self.grid), math.ceil(width / self.grid)
        cells = (torch.rand((self.masks, 1, self.grid, self.grid), generator=generator) < self.open).to(x)
        shifts = torch.stack([torch.randint(n, (self.masks,), generator=generator) for n in cell], 1).tolist()
        size = (self.grid + 1) * cell[0], (self.grid + 1) * cell[1]
        for start in range(0, self.masks, self.batch):
            large = F.interpolate(cells[start : start + self.batch], size=size, mode="bilinear", align_corners=False)
            yield torch.stack([one[:, i : i + height, j : j + width]
                               for one, (i, j) in zip(large, shifts[start : start + self.batch], strict=True)])


class Sums:
    """Running sums Σ S^p·M^q over masks, for p and q of 0, 1, 2, in float64: all that the estimate and its error need."""

    def __init__(self, size: tuple[int, ...]) -> None:
        self.count = 0
        self.moments = torch.zeros(3, 3, *size, dtype=torch.float64)

    def add(self, masks: Tensor, scores: Tensor) -> None:
        """`masks` (n, H, W), `scores` (n,)."""
        self.count += len(scores)
        powers = torch.stack([torch.ones_like(scores), scores, scores.square()])
        for q in range(3):
            self.moments[:, q] += torch.einsum("pn,nhw->phw", powers, masks**q)

    def estimate(self, probability: float, centred: bool) -> tuple[Tensor, Tensor]:
        """The map (H, W) and the standard error of each of its pixels.

        Subtracting the mean score is the same as subtracting the mean mask: one mask's part is (S − S̄)·(M − M̄) / p.
        """
        means = self.moments / self.count
        score, open = (means[1, 0], means[0, 1]) if centred else (torch.zeros_like(means[1, 0]),) * 2
        values = (means[1, 1] - score * open) / probability
        of_scores = torch.stack([score.square(), -2 * score, torch.ones_like(score)])
        of_masks = torch.stack([open.square(), -2 * open, torch.ones_like(open)])
        second = torch.einsum("phw,qhw,pqhw->hw", of_scores, of_masks, means) / probability**2
        return values, ((second - values.square()).clamp_min(0) / (self.count - 1)).sqrt()
