"""Integrated gradients (Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks").

    A = (x − x') · ∫₀¹ ∂S/∂x (x' + α(x − x')) dα  ≈  (x − x') · Σₖ wₖ ∂S/∂x (x' + αₖ(x − x'))

αₖ, wₖ: Gauss–Legendre on [0, 1] (Σw = 1; exact where the gradient is a polynomial in α of degree below 2·steps).
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
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

Progress = Callable[[int, int, str], None]
FIRST = 16  # steps of the first try


@dataclass(frozen=True)
class IntegratedGradients:
    """How much does each pixel add to the score on the straight way from an image without evidence to this one?

    A = (x − x')·∫ ∂S/∂x dα along the way from the baseline x' to x, values (B, C, H, W), signed, in units of the score.
    Without `steps` each image starts with 16 gradients and doubles them, all taken afresh, until its completeness error is
    within `tolerance`.

    Proof: completeness error |ΣA − (S(x) − S(x'))| / max(|S(x) − S(x')|, 1 % of ∫|dS/dα|dα), the largest of the batch; the
    second term keeps it meaningful where both ends score the same.

    Misleads: pixels like the baseline's get nothing, and everything is relative to it. Errors: UsageError (a baseline in
    pixels for a network opened without preprocessing), ShapeError, DataError. Source: Sundararajan et al. 2017.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> IntegratedGradients()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["gradients taken"]
    '16'
    """

    steps: int | None = param(None, "gradients along the way; by default as many as the tolerance needs", low=1, high=4096)
    baseline: str = param("zero", "zeros in the network's units, black or mid-grey pixels, the image's own mean colour, or "
                                  "the image blurred", choices=("zero", "black", "grey", "mean", "blur"))
    tolerance: float = param(0.01, "completeness error to reach", unit="share of the difference in score", low=0)
    most: int = param(1024, "steps to stop at, reached or not", low=1, high=4096)
    batch: int = param(16, "images per pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'gradients')` counts each try anew."""
        at, x = _map.prepared(net, x)
        start, said = baseline(net, x, self.baseline)
        scores, empty = (_map.scores(at, images, target, len(x)) for images in (x, start))
        maps, errors, taken = [], [], []
        for image, away, difference in zip(x, start, (scores.double() - empty.double()).tolist(), strict=True):
            steps = self.steps or min(FIRST, self.most)
            while True:
                values, error = self.along(at, (image, away), target, steps, difference, progress)
                if self.steps or error <= self.tolerance or steps >= self.most:
                    break
                steps = min(2 * steps, self.most)
            maps.append(values)
            errors.append(error)
            taken.append(steps)
        few = f"{min(taken)} … {max(taken)}" if min(taken) < max(taken) else str(taken[0])
        proof: dict[str, float | str] = {"completeness error": max(errors), "gradients taken": few}
        notes = [f"from {said}"]
        if max(errors) > self.tolerance:
            remedy = "take more steps" if self.steps else "raise `most`"
            notes.insert(0, f"the promise fails: after {taken[int(np.argmax(errors))]} steps the sum is still "
                            f"{max(errors):.1%} off the difference in score; {remedy}")
        return _map.heatmap(net, self, x, target, torch.stack(maps).to(x.dtype), scores, unit="score", proof=proof,
                            notes=tuple(notes))

    def along(self, net: Network, ends: tuple[Tensor, Tensor], target: Target, steps: int, difference: float,
              progress: Progress | None) -> tuple[Tensor, float]:
        """The map (C, H, W) with this many steps, and its completeness error."""
        image, start = ends
        alphas, weights = (torch.from_numpy(v).to(image.device) for v in gauss_legendre(steps))
        way = (image - start).double()
        mean, moved = torch.zeros_like(way), 0.0
        for at in range(0, steps, self.batch):
            places, w = alphas[at : at + self.batch, None, None, None], weights[at : at + self.batch]
            slopes = _map.gradient(net, (start + places * way).to(image.dtype), target)[0].double()
            mean += (w[:, None, None, None] * slopes).sum(0)
            moved += float((w * (slopes * way).sum((1, 2, 3)).abs()).sum())
            if progress is not None:
                progress(at + len(w), steps, "gradients")
        values = way * mean
        scale = max(abs(difference), 0.01 * moved)
        return values, abs(float(values.sum()) - difference) / scale if scale > 0 else 0.0


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
