"""ROAD: remove and debias (Rong, Leemann, Borisov, Kasneci, Kasneci 2022, "A consistent and efficient evaluation strategy
for attribution methods").

    x̂ᵢ = Σ_{j ∈ N(i)} wᵢⱼ x̂ⱼ + ε,   ε ~ N(0, noise²)        w: 1/6 for the four direct neighbours, 1/12 for the diagonal ones
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from convscope.evaluations._case import Case, Floats
from convscope.fields import param, validate
from convscope.results import Table

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # of the pixels that are removed
NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # and the same backwards


@dataclass(frozen=True)
class Road:
    """Does the answer depend on the pixels that the map calls important, once holes no longer show where they were?

    Removed pixels become the weighted mean of their neighbours, removed ones included (one sparse linear system), and a
    little noise: so the outline of a hole says little. The target's probability after removing 10, 20, 30, 40, 50, 70, 90 %
    of the pixels, most relevant first (MoRF) and least relevant first (LeRF). Columns: road (B,) = mean LeRF − mean MoRF,
    morf, lerf (B,), morf_curve, lerf_curve (B, 7). Higher is better; 0 is what a random order gets.

    At the image's border the weights of the neighbours that are there are scaled to add up to 1.

    Misleads where evidence survives in what its neighbours tell. Errors: UsageError. Source: Rong et al. 2022.

    >>> Road()
    Road(noise=0.01)
    """

    name: ClassVar[str] = "road"
    better: ClassVar[str] = "higher"
    ranks: ClassVar[bool] = True
    also: ClassVar[tuple[str, ...]] = ()
    noise: float = param(0.01, "deviation of the noise, as a share of the image's own deviation", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, case: Case) -> Table:
        """One row an image."""
        pixels = case.x[0, 0].numel()
        counts = [round(share * pixels) for share in SHARES]
        curves: dict[str, Floats] = {}
        for order, ranks in (("morf", case.ranks), ("lerf", pixels - 1 - case.ranks)):
            curves[order] = np.stack([self._curve(case, b, ranks[b], counts) for b in range(len(case.x))])
        morf, lerf = (curves[order].mean(1) for order in ("morf", "lerf"))
        return case.table(
            self, {"road": lerf - morf, "morf": morf, "lerf": lerf, "morf_curve": curves["morf"],
                   "lerf_curve": curves["lerf"]},
            {"road": f"mean {case.read_as} with the least relevant pixels removed, less that with the most relevant; higher "
                     "is better", "morf": "most relevant removed first", "lerf": "least relevant removed first"},
            (f"ROAD: noisy linear imputation, noise {self.noise:g} of the image's deviation, {len(SHARES)} shares",))

    def _curve(self, case: Case, b: int, ranks: NDArray[np.int64], counts: list[int]) -> Floats:
        x = case.x[b].double().cpu().numpy()
        noise = self.noise * x.std() * case.draws(b).standard_normal(x.shape)
        filled = [impute(x, ranks < count) + noise * (ranks < count) for count in counts]
        return case.chances(torch.from_numpy(np.stack(filled)).to(case.x))


def impute(x: Floats, removed: NDArray[np.bool_]) -> Floats:
    """(C, H, W) with each removed pixel (H, W) the weighted mean of its neighbours. Nothing known: the mean colour."""
    if not removed.any():
        return x
    if removed.all():
        return np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape).copy()
    height, width = removed.shape
    at = np.arange(height * width).reshape(height, width)
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64], float]] = []
    for (down, right), weight in NEIGHBOURS.items():
        one = at[: height - down, max(0, -right) : width - max(0, right)].reshape(-1)
        other = at[down:, max(0, right) : width - max(0, -right)].reshape(-1)
        pairs += [(one, other, weight), (other, one, weight)]
    rows, columns = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    weights = sparse.csr_matrix((np.repeat([p[2] for p in pairs], [len(p[0]) for p in pairs]), (rows, columns)))
    # D − W: the weights of the neighbours that are there, less the neighbours. Symmetric, and regular once a pixel is known.
    system = (sparse.diags(np.asarray(weights.sum(1)).reshape(-1)) - weights).tocsr()
    gone, known = np.flatnonzero(removed), np.flatnonzero(~removed)
    flat = x.reshape(len(x), -1)
    done = flat.copy()
    right_side = -(system[gone][:, known] @ flat[:, known].T)
    done[:, gone] = splu(system[gone][:, gone].tocsc(), permc_spec="MMD_AT_PLUS_A").solve(right_side).T
    return done.reshape(x.shape)
