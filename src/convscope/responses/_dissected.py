"""The pass over concept images: every unit's response to each concept, its threshold, and its overlap with the masks.

One forward pass an image, in batches, for any number of layers; half of the images choose names and thresholds, the other
half tests them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import run
from convscope.concepts import ConceptSet, Example
from convscope.network import Network
from convscope.responses._naming import Overlap, Sight, auc
from convscope.responses._study import Study
from convscope.results import Layer

QUANTILE = 0.995  # the threshold leaves 0.5 % of a unit's responses above it, as in the paper
KEPT = 1 << 24  # responses kept at once to find the thresholds


@dataclass(frozen=True)
class Measured:
    """What one layer made of a concept set. A row is an image and one concept on it, or an image without any."""

    concept: NDArray[np.int64]  # (R,) −1: none
    image: NDArray[np.int64]  # (R,)
    half: NDArray[np.int64]  # (R,)
    response: NDArray[np.float32]  # (R, U) the largest among the positions that see the concept
    threshold: NDArray[np.float64]  # (U,)
    iou: NDArray[np.float64]  # (U, concepts); NaN for a layer without maps
    spread: NDArray[np.float64]  # (U,) largest less smallest response anywhere
    unseen: int  # rows left out because no position sees the mask
    sampled: int  # positions of each image from which the threshold was taken

    def aucs(self, half: int, concepts: int) -> NDArray[np.float64]:
        """(concepts, U): each concept's rows against those of the images that do not show it."""
        from scipy.stats import rankdata

        rows = np.flatnonzero(self.half == half)
        concept, image = self.concept[rows], self.image[rows]
        whole = rankdata(self.response[rows], axis=0)
        several = len(np.unique(image)) < len(image)
        found = np.full((concepts, self.response.shape[1]), np.nan)
        for c in range(concepts):
            shown = concept == c
            beside = np.isin(image, image[shown]) & ~shown if several else np.zeros_like(shown)
            ranks = rankdata(self.response[rows[~beside]], axis=0) if beside.any() else whole
            found[c] = auc(ranks, shown[~beside])
        return found


def measure(study: Study, layers: Sequence[str], concepts: ConceptSet, batch: int, resized: bool) -> dict[str, Measured]:
    """Run the concept images once for all these layers; `resized`: through the study's whole preprocessing, else they
    have the right size already."""
    net = study.net
    as_it_is = dataclasses.replace(study.preprocess, size=None, resize="none", resize_to=None)
    prepare = study.preprocess if resized else as_it_is
    tallies = {layer: _Tally(net[layer], concepts, net.input_shape[2:], KEPT // len(layers)) for layer in layers}
    order = np.argsort(concepts.half, kind="stable")  # the choosing half first: the other one needs its thresholds
    for start in range(0, len(order), batch):
        for chosen in _same(order[start : start + batch], concepts.half):
            examples = [concepts[int(i)] for i in chosen]
            values = _values(net, layers, np.stack([prepare(e.pixels) for e in examples]))
            for layer, tally in tallies.items():
                tally.add(values[layer], chosen, examples)
    return {layer: tally.measured() for layer, tally in tallies.items()}


class _Tally:
    """What one layer did so far."""

    def __init__(self, layer: Layer, concepts: ConceptSet, size: tuple[int, ...], kept: int) -> None:
        self.concepts, self.units = concepts, layer.output_shape[layer.unit_axis or 1]
        self.sight = Sight.of(layer, (size[0], size[1]))
        self.positions = 1 if self.sight is None else self.sight.map[0] * self.sight.map[1]
        first = int((concepts.half == 0).sum())
        self.sampled = min(self.positions, max(1, kept // (max(first, 1) * self.units)))
        drawn = np.random.default_rng(first).permutation(self.positions)[: self.sampled]
        self.places = torch.from_numpy(np.sort(drawn))
        self.rows: list[tuple[int, int, Tensor]] = []
        self.sample: list[Tensor] = []
        self.threshold: Tensor | None = None
        self.overlap: Overlap | None = None
        self.low, self.high = torch.full((self.units,), torch.inf), torch.full((self.units,), -torch.inf)
        self.unseen = 0

    def add(self, values: Tensor, chosen: NDArray[np.int64], examples: list[Example]) -> None:
        """Images of one half: (B, U, positions)."""
        self.low = torch.minimum(self.low, values.amin((0, 2)))
        self.high = torch.maximum(self.high, values.amax((0, 2)))
        if self.concepts.half[chosen[0]] == 0:
            self.sample.append(values[:, :, self.places])
        elif self.threshold is None:
            self._close()
        for i, example, one in zip(chosen, examples, values, strict=True):
            answers = _answers(one, example, self.sight)
            self.unseen += len(example.masks or (-1,)) - len(answers)
            self.rows += [(c, int(i), value) for c, value in answers.items()]
            if self.overlap is not None and self.sight is not None:
                self.overlap.add(one.reshape(self.units, *self.sight.map), example.masks)

    def _close(self) -> None:
        """The choosing half is through."""
        self.threshold = _threshold(self.sample)
        self.sample.clear()
        self.overlap = None if self.sight is None else Overlap(self.sight, self.threshold, len(self.concepts.concepts))

    def measured(self) -> Measured:
        assert self.threshold is not None
        iou = np.full((self.units, len(self.concepts.concepts)), np.nan) if self.overlap is None else self.overlap.iou()
        image = np.array([i for _, i, _ in self.rows], np.int64)
        return Measured(np.array([c for c, _, _ in self.rows], np.int64), image, self.concepts.half[image],
                        torch.stack([v for _, _, v in self.rows]).numpy(), self.threshold.double().numpy(), iou,
                        (self.high - self.low).double().numpy(), self.unseen, self.sampled)


def _same(chosen: NDArray[np.int64], half: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [part for h in (0, 1) if len(part := chosen[half[chosen] == h])]


def _values(net: Network, layers: Sequence[str], x: NDArray[np.float32]) -> dict[str, Tensor]:
    """(B, U, positions) float32 of each layer; a network of fixed batch gets the last image again and again."""
    count, size = len(x), net.batch or len(x)
    x = np.concatenate([x, np.repeat(x[-1:], -count % size, 0)])
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for at in range(0, len(x), size):
        part = net.check_input(x[at : at + size])
        kept = {layers[0]: run.upto(net, part, layers[0])} if len(layers) == 1 else run.run(net, part, keep=layers).kept
        for layer, value in kept.items():
            value = value.movedim(net[layer].unit_axis or 1, 1)
            found[layer].append(value.reshape(*value.shape[:2], -1).float().cpu())
    return {layer: torch.cat(parts)[:count] for layer, parts in found.items()}


def _answers(values: Tensor, example: Example, sight: Sight | None) -> dict[int, Tensor]:
    """(U,) by concept: the largest response where the concept is; anywhere, for an image without one."""
    if sight is None or not example.masks:
        return dict.fromkeys(example.masks or (-1,), values.amax(1))
    places = {c: torch.from_numpy(sight.at_mask(mask).reshape(-1)) for c, mask in example.masks.items()}
    return {c: values[:, there].amax(1) for c, there in places.items() if there.any()}


def _threshold(sample: list[Tensor]) -> Tensor:
    """(U,) the 99.5 % quantile of the kept responses: the largest value that at most 0.5 % exceed."""
    kept = torch.cat([s.movedim(1, 0).flatten(1) for s in sample], 1)
    return kept.kthvalue(max(1, int(np.ceil(QUANTILE * kept.shape[1]))), 1).values
