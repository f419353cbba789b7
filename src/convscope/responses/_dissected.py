"""The pass over concept images: every unit's response to each concept, its threshold, and its overlap with the masks.

One forward pass an image, in batches; half of the images choose names and thresholds, the other half tests them.
"""

from __future__ import annotations

import dataclasses
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


def measure(study: Study, layer: str, concepts: ConceptSet, batch: int, resized: bool) -> Measured:
    """Run the concept images; `resized`: through the study's whole preprocessing, else they have the right size already."""
    found, net = study.net[layer], study.net
    size = (net.input_shape[2], net.input_shape[3])
    as_it_is = dataclasses.replace(study.preprocess, size=None, resize="none", resize_to=None)
    prepare = study.preprocess if resized else as_it_is
    sight, units = Sight.of(found, size), found.output_shape[found.unit_axis or 1]
    order = np.argsort(concepts.half, kind="stable")
    first = int((concepts.half == 0).sum())
    each = max(1, KEPT // (max(first, 1) * units))
    places = None if sight is None or each >= sight.map[0] * sight.map[1] else np.random.default_rng(first).permutation(
        sight.map[0] * sight.map[1])[:each]
    rows: list[tuple[int, int, Tensor]] = []
    sample: list[Tensor] = []
    overlap: Overlap | None = None
    threshold: Tensor | None = None
    low, high = torch.full((units,), torch.inf), torch.full((units,), -torch.inf)
    unseen = 0
    for start in range(0, len(order), batch):
        # A batch never mixes the halves: thresholds come from the first alone.
        for chosen in _same(order[start : start + batch], concepts.half):
            examples = [concepts[int(i)] for i in chosen]
            values = _values(net, layer, np.stack([prepare(e.pixels) for e in examples]))
            low, high = torch.minimum(low, values.amin((0, 2)).cpu()), torch.maximum(high, values.amax((0, 2)).cpu())
            if concepts.half[chosen[0]] == 0:
                sample.append(values if places is None else values[:, :, torch.from_numpy(places)])
            elif threshold is None:
                threshold = _threshold(sample)
                sample.clear()
                overlap = None if sight is None else Overlap(sight, threshold, len(concepts.concepts))
            for i, example, one in zip(chosen, examples, values, strict=True):
                answers = _answers(one, example, sight)
                unseen += len(example.masks or (-1,)) - len(answers)
                rows += [(c, int(i), value) for c, value in answers.items()]
                if overlap is not None and sight is not None:
                    overlap.add(one.reshape(units, *sight.map), example.masks)
    threshold = _threshold(sample) if threshold is None else threshold
    iou = np.full((units, len(concepts.concepts)), np.nan) if overlap is None else overlap.iou()
    image = np.array([i for _, i, _ in rows], np.int64)
    positions = 1 if sight is None else sight.map[0] * sight.map[1]
    return Measured(np.array([c for c, _, _ in rows], np.int64), image, concepts.half[image],
                    torch.stack([v for _, _, v in rows]).numpy(), threshold.double().numpy(), iou,
                    (high - low).double().numpy(), unseen, positions if places is None else len(places))


def _same(chosen: NDArray[np.int64], half: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [part for h in (0, 1) if len(part := chosen[half[chosen] == h])]


def _values(net: Network, layer: str, x: NDArray[np.float32]) -> Tensor:
    """(B, U, positions) float32; a network of fixed batch gets the last image again and again."""
    count = len(x)
    if net.batch is None:
        value = run.upto(net, net.check_input(x), layer)
    else:
        x = np.concatenate([x, np.repeat(x[-1:], -count % net.batch, 0)])
        value = torch.cat([run.upto(net, net.check_input(x[at : at + net.batch]), layer)
                           for at in range(0, len(x), net.batch)])[:count]
    value = value.movedim(net[layer].unit_axis or 1, 1)
    return value.reshape(*value.shape[:2], -1).float().cpu()


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
