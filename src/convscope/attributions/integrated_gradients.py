"""Integrated gradients (Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks").

    A = (x − x') · ∫₀¹ ∂S/∂x (x' + α(x − x')) dα  ≈  (x − x') · Σₖ wₖ ∂S/∂x (x' + αₖ(x − x'))

αₖ, wₖ with `steps`: Gauss–Legendre on [0, 1] (Σw = 1; exact where the gradient is a polynomial in α of degree < 2·steps);
without: a rule whose gradients are all used again when their number is doubled (`_quadrature`; Σw = 1, exact for cubics).
Completeness: ΣA = S(x) − S(x').
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attributions import _map
from convscope.attributions._baseline import baseline
from convscope.attributions._quadrature import Estimate, Nested
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

Progress = Callable[[int, int, str], None]
FIRST = 16  # steps, at least


@dataclass(frozen=True)
class IntegratedGradients:
    """How much does each pixel add to the score on the straight way from an image without evidence to this one?

    A = (x − x')·∫ ∂S/∂x dα along the way from the baseline x' to x, values (B, C, H, W), signed, in units of the score.
    Without `steps` each image starts with 17 gradients, which are doubled until the map has settled: until its last change
    is within `settled`, and its completeness error within `tolerance`. The weights of the gradients are fitted to the scores
    of both ends, which moves the map by much less than that.

    Proof: completeness error |ΣA − (S(x) − S(x'))| / max(|S(x) − S(x')|, 1 % of ∫|dS/dα|dα), the largest of the batch; the
    second term keeps it meaningful where both ends score the same. Without `steps` also that error before the weights were
    fitted, and the change of the map by the last doubling, ‖change‖/‖A‖, which tells how good the map itself is.

    Misleads: pixels like the baseline's get nothing, and everything is relative to it. Errors: UsageError (a baseline in
    pixels for a network opened without preprocessing), ShapeError, DataError. Source: Sundararajan et al. 2017.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> IntegratedGradients()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["gradients taken"]
    '17'
    """

    steps: int | None = param(None, "gradients along the way; by default as many as it takes for the map to settle", low=1,
                              high=4096)
    baseline: str = param("zero", "zeros in the network's units, black or mid-grey pixels, the image's own mean colour, or "
                                  "the image blurred", choices=("zero", "black", "grey", "mean", "blur"))
    tolerance: float = param(0.01, "completeness error to reach", unit="share of the difference in score", low=0)
    settled: float = param(0.1, "change of the map by the last doubling to reach", unit="share of its size", low=0)
    most: int = param(1024, "steps to stop at, settled or not", low=8, high=65536)
    batch: int = param(16, "images per pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'gradients')` counts each try anew."""
        at, x = _map.prepared(net, x)
        start, said = baseline(net, x, self.baseline)
        scores, empty = (_map.scores(at, images, target, len(x)) for images in (x, start))
        found: list[Tensor] = []
        taken: list[int] = []
        facts: list[Estimate] = []
        for image, away, difference in zip(x, start, (scores.double() - empty.double()).tolist(), strict=True):
            way = _Way(at, (image, away), target, difference)
            estimate, count = self._fixed(way, progress) if self.steps else self._nested(way, progress)
            found.append(estimate.values)
            facts.append(estimate)
            taken.append(count)
        few = f"{min(taken)} … {max(taken)}" if min(taken) < max(taken) else str(taken[0])
        proof: dict[str, float | str] = {"completeness error": max(f.error for f in facts), "gradients taken": few}
        notes = [f"from {said}"]
        if not self.steps:
            proof |= {"change of the map by the last doubling": max(f.change for f in facts),
                      "completeness error before the weights were fitted": max(f.unfitted for f in facts)}
            notes.append("rule: " + ", ".join(dict.fromkeys(f.rule for f in facts)))
        worst = max(range(len(facts)), key=lambda b: facts[b].error)
        if facts[worst].error > self.tolerance:
            remedy = "take more steps" if self.steps else "raise `most`"
            notes.insert(0, f"the promise fails: after {taken[worst]} gradients the sum is still "
                            f"{facts[worst].error:.1%} off the difference in score; {remedy}")
        unsettled = max(range(len(facts)), key=lambda b: facts[b].change)
        if facts[unsettled].change > self.settled:
            notes.insert(0, f"not settled: the last doubling, to {taken[unsettled]} gradients, still moved the map by "
                            f"{facts[unsettled].change:.0%}; raise `most`")
        return _map.heatmap(net, self, x, target, torch.stack(found).to(x.dtype), scores, unit="score", proof=proof,
                            notes=tuple(notes))

    def _fixed(self, way: _Way, progress: Progress | None) -> tuple[Estimate, int]:
        """`steps` gradients with Gauss–Legendre weights."""
        assert self.steps is not None
        alphas, weights = (torch.from_numpy(v).to(way.along.device) for v in gauss_legendre(self.steps))
        mean, moved = torch.zeros_like(way.along), 0.0
        for at in range(0, self.steps, self.batch):
            w = weights[at : at + self.batch]
            slopes = way.slopes(alphas[at : at + self.batch]).double()
            mean += (w[:, None, None, None] * slopes).sum(0)
            moved += float((w * (slopes * way.along).sum((1, 2, 3)).abs()).sum())
            if progress is not None:
                progress(at + len(w), self.steps, "gradients")
        values, scale = way.along * mean, max(abs(way.difference), 0.01 * moved)
        error = abs(float(values.sum()) - way.difference) / scale if scale > 0 else 0.0
        return Estimate(values, error, error, 0.0, "Gauss–Legendre"), self.steps

    def _nested(self, way: _Way, progress: Progress | None) -> tuple[Estimate, int]:
        """As many gradients as it takes."""
        sums = Nested(way.along, way.slopes, way.difference, self.batch)
        while True:
            if progress is not None:
                progress(sums.taken, sums.taken, "gradients")
            estimate = sums.estimate()
            good = sums.taken > FIRST and estimate.error <= self.tolerance and estimate.change <= self.settled
            if good or sums.taken + sums.next > self.most + 1:
                return estimate, sums.taken
            sums.double()


class _Way:
    """From the baseline to the image, and how much the score differs."""

    def __init__(self, net: Network, ends: tuple[Tensor, Tensor], target: Target, difference: float) -> None:
        self.net, self.target, self.difference = net, target, difference
        self.image, self.start = ends
        self.along = (self.image - self.start).double()

    def slopes(self, places: Tensor) -> Tensor:
        """∂S/∂x (n, C, H, W) at places (n,) between 0 and 1."""
        images = (self.start + places[:, None, None, None] * self.along).to(self.image.dtype)
        return _map.gradient(self.net, images, self.target)[0]


@functools.lru_cache(maxsize=32)
def gauss_legendre(steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places and weights on [0, 1]. Errors: UsageError.

    >>> places, weights = gauss_legendre(2)
    >>> round(float(weights @ places**3), 15)
    0.25
    """
    if steps < 1:
        raise UsageError("a quadrature needs at least one step", f"got {steps}", "use 1 or more")
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / weights.sum()
