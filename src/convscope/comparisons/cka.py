"""Which layers of two networks represent images alike? Linear CKA (Kornblith, Norouzi, Lee, Hinton 2019).

    CKA(X, Y) = HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) · HSIC(YYᵀ, YYᵀ))             X (n, p), Y (n, q): responses to n images

each HSIC by its unbiased estimator HSIC₁ (or the biased HSIC₀), averaged over minibatches before the quotient (Nguyen,
Raghu, Kornblith 2021). The formulas are in `convscope.similarity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import record, run, similarity
from convscope.comparisons._images import Images, exactly_two, names, origin, wanted
from convscope.errors import DataError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Layer, Table

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CKA:
    """Which layers of two networks represent the images alike?

    One row a layer of the first network (or the one that is named), one column a layer of the second; 'most alike' is the
    column of the largest value. At most 1, reached by equal representations up to rotation (so, up to the order of units),
    scale and shift; 0 is expected of independent ones, by the unbiased estimator, which can fall below. NaN: a layer gave
    the same for all images. X holds every position of every unit, as in the papers, or with `values="mean"` each map's mean,
    as sweeps keep.

    Misleads: a few directions with large variance decide; random networks reach high values in early layers, which all
    still hold the image; compare with that. Errors: UsageError (no images, more than two networks), UnknownName, DataError
    (fewer than 4 images). Source: Kornblith et al. 2019; Nguyen et al. 2021.

    >>> CKA(estimator="biased").batch
    64
    """

    estimator: str = param("unbiased", "HSIC's estimator; the biased one grows with features per image",
                           choices=("unbiased", "biased"))
    values: str = param("all", "every position of every unit, or the mean of each unit's map", choices=("all", "mean"))
    most: int = param(512, "images at most; of more, a random sample is taken", unit="images", low=4)
    batch: int = param(64, "images a minibatch; HSIC is averaged over minibatches", unit="images", low=8)
    seed: int = param(0, "seed of the sample and of what images share a minibatch", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, networks: Sequence[Network], layer: str = "", images: Images | None = None) -> Table:
        """All measurable layers of the first (or one) against all of the second."""
        notes = list(exactly_two(networks, "CKA"))
        given = wanted(networks, images, "CKA")
        every = [record.measurable(net.layers) for net in networks]
        layers = [(networks[0][layer],) if layer else every[0], every[1]]
        between = np.zeros((len(layers[0]), len(layers[1])))
        itself = [np.zeros(len(some)) for some in layers]
        order, said = given.chosen(self.most, self.seed)
        order = np.random.default_rng(self.seed).permutation(order)  # collections are often sorted by class
        sizes: list[int] = []
        small = 0
        for inputs in given.batches(networks, order, self.batch):
            n = len(inputs[0])
            if n < similarity.FEWEST[self.estimator]:
                small += n
                continue
            sizes.append(n)
            a, b = (self._kernels(net, x, some) for net, x, some in zip(networks, inputs, layers, strict=True))
            between += a @ b.T / similarity.scale(n, self.estimator)
            for total, kernels in zip(itself, (a, b), strict=True):
                total += (kernels**2).sum(1) / similarity.scale(n, self.estimator)
        if not sizes:
            raise DataError(f"{small} images are too few to compare representations",
                            f"the {self.estimator} estimator needs {similarity.FEWEST[self.estimator]} in a minibatch",
                            "give more images")
        notes += [self._said(sizes), *said, *given.left_out()]
        if small:
            notes.append(f"left out: {small} images whose minibatch was too small")
        found = similarity.quotient(between, *itself)
        return self._table(found, layers, networks, notes, given)

    def _kernels(self, net: Network, x: Tensor, layers: Sequence[Layer]) -> Array:
        """(L, n²) the centred Gram matrix of each layer, flat. No map outlives its layer's turn."""
        wanted_at = {one.address: i for i, one in enumerate(layers)}
        found = np.zeros((len(layers), len(x) ** 2))

        def see(layer: Layer, value: Tensor) -> None:
            if layer.address not in wanted_at:
                return
            if self.values == "mean" and value.ndim > 2:
                value = value.movedim(layer.unit_axis or 1, 1).flatten(2).double().mean(2)
            kernel = similarity.gram(value.to(torch.promote_types(value.dtype, torch.float32)).cpu().numpy())
            found[wanted_at[layer.address]] = similarity.centred(kernel, self.estimator).reshape(-1)

        run.run(net, x, visit=see)
        return found

    def _said(self, sizes: list[int]) -> str:
        size = f"{min(sizes)} … {max(sizes)}" if min(sizes) < max(sizes) else str(sizes[0])
        batches = f"{len(sizes)} minibatches of {size} images" if len(sizes) > 1 else f"{size} images at once"
        bias = "unbiased HSIC₁" if self.estimator == "unbiased" else "biased HSIC₀, which grows with features per image"
        return f"{bias}; {batches}; {'every position' if self.values == 'all' else 'the mean of each map'}"

    def _table(self, found: Array, layers: Sequence[Sequence[Layer]], networks: Sequence[Network], notes: list[str],
               images: Images) -> Table:
        rows, across = ([one.address for one in some] for some in layers)
        called = names(networks)
        known = np.nan_to_num(found, nan=-np.inf)
        best = np.where(np.isfinite(known).any(1), np.array(across)[known.argmax(1)], "")
        columns: dict[str, NDArray[np.generic]] = {f"layer of {called[0]}": np.array(rows), "most alike": best}
        columns |= {address: found[:, i] for i, address in enumerate(across)}
        units = {"most alike": f"layer of {called[1]} with the largest CKA",
                 across[0]: f"this and the columns after it: CKA with that layer of {called[1]}, at most 1"}
        return Table(columns=columns, units=units, title=f"CKA of {called[0]} and {called[1]}", notes=tuple(notes),
                     origin=origin(networks, self, images, self.seed))
