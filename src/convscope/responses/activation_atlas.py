"""A map of what a layer holds, drawn by the layer itself (Carter, Armstrong, Schubert, Johnson, Olah 2019).

    a_m (U,) at random positions of many images → points in the plane → cells c of a grid
    μ_c = mean of a_m in c,   v_c = S μ_c      S: inverse second moments (`_patches`)
    x_c = argmax_x ⟨a, v_c⟩·cos(a, v_c)²       a: the layer at the middle of the picture x
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import DataError, UsageError
from convscope.fields import param, validate
from convscope.network import units_of
from convscope.responses._canvas import Canvas, canvas_of
from convscope.responses._components import components
from convscope.responses._embedded import cells, embedded, spread
from convscope.responses._patches import Array, answering, argued, nearest, sampled, whitening
from convscope.responses._study import Study
from convscope.results import Picture
from convscope.synthesis.loop import Ascent, Progress, Wanted
from convscope.synthesis.objective import Direction
from convscope.synthesis.response import tiles
from convscope.synthesis.shake import LUCID

COMPONENTS, PERPLEXITY = 50, 30.0
FEWEST = 5  # vectors


@dataclass(frozen=True)
class ActivationAtlas:
    """Which kinds of things does a layer tell apart, and what do they look like to it?

    Tiles (grid², H, W, 3) uint8, row by row from the top, each a picture made for the mean of the vectors in its cell; white
    where there are fewer than `least`. Units: 'row,column'. `values`: 'count' of vectors in the cell; 'density', their
    share of all; 'class' whose score rises most, to first order, when one position holds this mean instead of the mean of
    all vectors, and 'argues', by how much more than the mean class's; 'cosine' between the mean and what the picture
    brings about, at best 1; 'image' and 'position' of the vector nearest to the mean. Empty cells: −1, NaN, no words.

    Misleads: the means of a cell need not occur on any image; neighbours are alike, but far cells may be too; a class argued
    for is no class decided on. Errors: UsageError, DataError, UnknownName. Source: Carter et al. 2019.

    >>> ActivationAtlas(grid=8, layout="pca").steps
    128
    """

    grid: int = param(12, "cells along each side", low=1, high=64)
    most: int = param(1000, "images at most; of more, a random sample is taken", low=1)
    positions: int = param(4, "positions of each image at most, at random", low=1)
    least: int = param(2, "vectors that a cell must have to be drawn", low=1)
    layout: str = param("tsne", "how the plane comes about: t-SNE, or the first two principal components, which is quick",
                        choices=("tsne", "pca"))
    iterations: int = param(500, "steps of t-SNE", low=1)
    ridge: float = param(0.05, "what is added to each second moment, as a share of their mean", low=1e-6)
    judged: int = param(64, "images over which the slopes of the class scores are averaged", low=1)
    size: int = param(0, "side of the pictures; 0: what a position sees, at most 96; or all", unit="px", low=0)
    steps: int = param(128, "steps of the ascent", low=1)
    rate: float = param(0.05, "learning rate of Adam", low=1e-6)
    together: int = param(8, "pictures computed together", low=1)
    seed: int = param(0, "seed of the sample, of t-SNE and of the pictures", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str, progress: Progress | None = None) -> Picture:
        """The atlas of the layer at this address; `progress(done, total, of what)` may raise to stop."""
        layer = study.net[layer].address
        if units_of(study.net[layer]) is None:
            raise UsageError(f"{layer} has no units", f"its output is {study.net[layer].output_shape}",
                             "choose a layer with channels")
        area = canvas_of(study, layer, self.size, self.seed)
        images, told = self._images(study)
        found, dead = answering(sampled(study, layer, images, self.positions, self.seed))
        points, how = self._points(found.vectors, layer, progress)
        where = cells(points, self.grid)
        count = np.bincount(where, minlength=self.grid**2)
        drawn = np.flatnonzero(count >= self.least)
        if not len(drawn):
            raise DataError(f"no cell of {self.grid}×{self.grid} has {self.least} of {len(where):,} vectors",
                            f"the fullest has {count.max()}", "use a smaller grid, more images or positions, or least=1")
        means = np.stack([found.vectors[where == c].mean(0) for c in drawn])
        directions = means @ whitening(found.vectors, self.ridge)
        pictures, notes = self._pictures(study, layer, area, drawn, directions, progress)
        made = tiles(pictures)
        sheet = np.full((self.grid**2, *made.shape[1:]), 255, np.uint8)
        sheet[drawn] = made
        values: dict[str, Any] = {"count": count, "density": count / len(where)}
        looked = np.sort(np.random.default_rng(self.seed).permutation(images)[: self.judged])
        said, judged = argued(study, layer, looked, means - found.vectors.mean(0))
        said |= {"cosine": area.cosine(pictures, means)} | nearest(found, where, drawn, means)
        values |= {name: spread(drawn, len(count), v) for name, v in said.items()}
        few, none = int(((count > 0) & (count < self.least)).sum()), int((count == 0).sum())
        left = int(count[count < self.least].sum())
        notes = (told, f"{len(where):,} vectors, {len(where) / len(np.unique(found.image)):.3g} positions an image, "
                 f"seed {self.seed}", dead, how, f"{len(drawn)} of {self.grid**2} cells drawn; empty: {none}"
                 + (f"; fewer than {self.least} vectors: {few} (with {left} vectors)" if few else ""),
                 judged, area.said, area.colours.source, *notes)
        rows, columns = np.divmod(np.arange(self.grid**2), self.grid)
        return Picture(tiles=sheet, units=tuple(f"{r},{c}" for r, c in zip(rows, columns, strict=True)), scale="rgb",
                       title=f"activation atlas of {layer}", values=values, notes=tuple(n for n in notes if n),
                       columns=self.grid, origin=study.origin(self, self.seed))

    def _images(self, study: Study) -> tuple[NDArray[np.int64], str]:
        """Numbers of the images that are looked at, and what was left out."""
        usable = np.flatnonzero(study.record.predictions()["seen"])
        if len(usable) <= self.most:
            return usable, f"all {len(usable):,} images"
        chosen = np.sort(np.random.default_rng(self.seed).choice(usable, self.most, replace=False))
        return chosen, f"sampled: {self.most:,} of {len(usable):,} images"

    def _points(self, vectors: Array, layer: str, progress: Progress | None) -> tuple[Array, str]:
        """(M, 2), from the directions of the vectors; and how."""
        if len(vectors) < FEWEST:
            raise DataError(f"an atlas of {len(vectors)} vectors says nothing", f"{layer} must answer at {FEWEST} positions",
                            "take more images or positions")
        reduced, shares = components(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), COMPONENTS)
        if not shares.sum():
            raise DataError(f"{layer} has one direction only", "its vectors cannot be told apart", "choose another layer")
        if self.layout == "pca":
            return reduced[:, :2], f"laid out by two principal components of directions ({shares[:2].sum():.0%} of variance)"
        perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
        return (embedded(reduced, perplexity, self.iterations, self.seed, progress),
                f"laid out by t-SNE of directions, perplexity {perplexity:.3g}, {self.iterations} iterations")

    def _pictures(
        self, study: Study, layer: str, area: Canvas, drawn: NDArray[np.int64], directions: Array, progress: Progress | None
    ) -> tuple[torch.Tensor, tuple[str, ...]]:
        wanted = [Wanted(f"{layer}:{c}", Direction(layer, v / np.linalg.norm(v), power=2.0, centred=True))
                  for c, v in zip(drawn.tolist(), directions, strict=True)]
        ascent = Ascent((study.net,), area.image, area.read, LUCID, self.steps, self.rate, self.seed, self.together)
        found = ascent(wanted, progress)
        blocked = f"no gradient ever reached {len(found.blocked)} of {len(wanted)} pictures" if found.blocked else ""
        return found.images, (f"pictures of {self.steps} steps", blocked)
