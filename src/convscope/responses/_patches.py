"""What a layer holds at single positions of many images, and which classes a direction in it argues for.

    a[n, p] (U,)            p drawn at random, each image by a generator of its own: `seed` and the image's number
    S = (C + λI)⁻¹          C = mean a aᵀ, λ = ridge · mean eigenvalue of C: takes away what directions have in common
    G[k] = mean_{n, p} ∂z_k/∂a[n, p];   ⟨v, G[k]⟩: what v at one position adds to the score of class k, to first order

Sources: Olah et al. 2018 (linear attribution); Carter et al. 2019 (vectors of random positions, directions whitened).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import run
from convscope.network import Network
from convscope.responses._study import Study
from convscope.synthesis.objective import before

Numbers = NDArray[np.int64]
Array = NDArray[np.float64]
BATCH = 16  # images a pass; a network may fix one
NAMED = 40  # classes that are asked about at most


@dataclass(frozen=True)
class Patches:
    """Vectors (M, U) with their images (M,) and flat positions (M,), by image and position."""

    vectors: Array
    image: Numbers
    position: Numbers


def sampled(study: Study, layer: str, images: Numbers, positions: int, seed: int) -> Patches:
    """At most `positions` of the positions of each of these images."""
    vectors: list[Array] = []
    numbers: list[Numbers] = []
    places: list[Numbers] = []
    for index, x in _batches(study, images):
        for n, one in zip(index.tolist(), _units_first(study.net, layer, run.upto(study.net, x, layer)), strict=True):
            # A generator for every image: what is drawn from one does not depend on which others are looked at.
            chosen = np.sort(np.random.default_rng((seed, n)).permutation(one.shape[1])[:positions])
            vectors.append(one[:, chosen].T.double().cpu().numpy())
            numbers.append(np.full(len(chosen), n))
            places.append(chosen)
    return Patches(np.concatenate(vectors), np.concatenate(numbers), np.concatenate(places))


def answering(found: Patches) -> tuple[Patches, str]:
    """Without the vectors that are zero everywhere, which have no direction; and how many those are."""
    there: NDArray[np.bool_] = (found.vectors != 0).any(axis=1)
    note = "" if there.all() else f"left out: {int((~there).sum()):,} of {len(there):,} vectors, which are zero"
    return Patches(found.vectors[there], found.image[there], found.position[there]), note


def nearest(found: Patches, cell: Numbers, drawn: Numbers, means: Array) -> dict[str, Numbers]:
    """'image' and 'position' of the vector in each drawn cell that is nearest to the cell's mean; of equals the first."""
    best: list[int] = []
    for c, mean in zip(drawn.tolist(), means, strict=True):
        members = np.flatnonzero(cell == c)
        best.append(int(members[((found.vectors[members] - mean) ** 2).sum(1).argmin()]))
    return {"image": found.image[best], "position": found.position[best]}


def whitening(vectors: Array, ridge: float) -> Array:
    """(U, U): S."""
    second = vectors.T @ vectors / len(vectors)
    return np.linalg.inv(second + ridge * np.trace(second) / len(second) * np.eye(len(second)))


def frequent(study: Study, images: Numbers) -> tuple[Numbers, str]:
    """The classes to ask about: all, or of many those that are most often among the answers; and what was left out."""
    count = int(np.prod(study.net.output.output_shape[1:]))
    if count <= NAMED:
        return np.arange(count), ""
    answers = study.record.predictions()["index"][images]
    often = np.bincount(answers[answers >= 0], minlength=count)
    chosen = np.sort(np.argsort(-often, kind="stable")[:NAMED])
    return chosen, f"classes: the {NAMED} of {count:,} that are most often among the five best answers"


def slopes(study: Study, layer: str, images: Numbers, classes: Numbers) -> Array | None:
    """(K, U): G over these images, of the scores before any softmax; None if they do not depend on the layer."""
    net = study.net
    scores = net.output.address if layer == net.output.address else before(net, net.output.address)
    total, count = torch.zeros(len(classes), net[layer].output_shape[net[layer].unit_axis or 1], dtype=torch.float64), 0
    for _, x in _batches(study, images):
        with torch.enable_grad():
            found = run.run(net, x.requires_grad_(), keep=(layer, scores), grad=True)
            value, z = found[layer], found[scores].flatten(1)
            for row, k in enumerate(classes.tolist()):
                (slope,) = torch.autograd.grad(z[:, k].sum(), value, retain_graph=True, allow_unused=True)
                if slope is None:
                    return None
                total[row] += _units_first(net, layer, slope).double().mean(2).sum(0).cpu()
        count += len(x)
    return (total / count).numpy()


def argued(study: Study, layer: str, images: Numbers, directions: Array) -> tuple[dict[str, NDArray[Any]], str]:
    """'class' that each direction (M, U) argues for, 'argues': how much more than for the mean class; and how."""
    classes, left = frequent(study, images)
    slope = slopes(study, layer, images, classes)
    if slope is None:
        return {}, f"the output does not depend on {layer}: no classes"
    scores = directions @ slope.T
    names = np.array([run.class_name(study.net, int(k)) for k in classes], np.str_)
    said = f"classes by slopes averaged over {len(images):,} images and all positions" + (f"; {left}" if left else "")
    return {"class": names[scores.argmax(1)], "argues": scores.max(1) - scores.mean(1)}, said


def _batches(study: Study, images: Numbers) -> Generator[tuple[Numbers, Tensor], None, None]:
    """Numbers and inputs; images that cannot be read any more are left out."""
    for batch in study.collection.batches(study.preprocess, study.net.batch or BATCH, order=images):
        yield batch.index, study.net.check_input(batch.x)


def _units_first(net: Network, layer: str, value: Tensor) -> Tensor:
    """(B, U, P) with all positions in one axis; P is 1 where there are no maps."""
    value = value.movedim(net[layer].unit_axis or 1, 1)
    return value.reshape(*value.shape[:2], -1)
