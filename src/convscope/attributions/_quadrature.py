"""The mean gradient along a straight way, from gradients that are all used again when their number is doubled.

    T_N = (G₀/2 + G₁ + … + G_{N−1} + G_N/2)/N        Simpson: (4·T_N − T_{N/2})/3        Gₖ = ∂S/∂x at α = k/N

Of the two the one that moved less by the last doubling is taken: Simpson's rule where S is smooth (it is exact where G is a
cubic in α), the trapezoid where ReLUs make G jump. How far it moved says how far it may still be off.

Completeness asks for Σₖ wₖ gₖ = S(x) − S(x'), gₖ = Gₖ·(x − x'). That difference may be a hundredth of what single pixels add
and take away, so that a map may be right to 1 % and complete to no more than 100 %. So the weights are fitted: of all that
sum to one and are complete, those nearest to the rule's, as survey samplers fit theirs to totals that they know (Deville
and Särndal 1992, "Calibration Estimators in Survey Sampling"):

    wₖ ← wₖ·(1 + λ·(gₖ − ḡ)),   ḡ = Σ w g,   λ = (S(x) − S(x') − ḡ) / Σ w (g − ḡ)²

λ is cut where a weight would get negative; then completeness fails, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Slopes = Callable[[Tensor], Tensor]  # places (n,) on the way -> ∂S/∂x there (n, C, H, W)
FIRST = 4  # parts of the way at first
START = 1e-12  # not 0: on zeros a network without biases has no gradient at all, at any distance from them it has one


@dataclass(frozen=True)
class Estimate:
    """What is known of the way after so many gradients."""

    values: Tensor  # (C, H, W): (x − x')·Σ w G
    error: float  # of completeness: |ΣA − (S(x) − S(x'))| over the scale
    unfitted: float  # the same with the rule's own weights
    change: float  # of the map by the last doubling: ‖A − A before‖/‖A‖
    rule: str


class Nested:
    """Sums over the places k/N of a way; `double` adds those between them. `way` (C, H, W) is x − x', float64."""

    def __init__(self, way: Tensor, slopes: Slopes, difference: float, batch: int = 16) -> None:
        self.way, self.slopes, self.difference, self.batch = way, slopes, difference, batch
        self.count = FIRST
        self.low, self.high = float("inf"), -float("inf")
        ends = self._sums(torch.tensor([START, 1.0], dtype=torch.float64))
        inner = self._sums(torch.arange(1, FIRST, dtype=torch.float64) / FIRST)
        self.levels = [tuple(a / 2 + b for a, b in zip(ends, inner, strict=True))]  # Σ G, Σ g·G and Σ |g|, ends halved
        self.double()

    @property
    def taken(self) -> int:
        """Gradients so far."""
        return self.count + 1

    def double(self) -> None:
        """As many places again, halfway between those that are there."""
        places = (2 * torch.arange(self.count, dtype=torch.float64) + 1) / (2 * self.count)
        new = self._sums(places)
        self.levels = [*self.levels[-2:], tuple(a + b for a, b in zip(self.levels[-1], new, strict=True))]
        self.count *= 2

    def estimate(self) -> Estimate:
        """The rule that moved less, its weights fitted."""
        means = [tuple(s / (self.count >> back) for s in level) for back, level in enumerate(reversed(self.levels))]
        rules = {"trapezoid": means[:2]}
        if len(means) == 3:
            simpson = [tuple((4 * a - b) / 3 for a, b in zip(means[k], means[k + 1], strict=True)) for k in (0, 1)]
            rules["Simpson"] = simpson
        moved = {name: self._change(now[0], before[0]) for name, (now, before) in rules.items()}
        rule = min(moved, key=lambda name: moved[name])
        mean, product, _ = rules[rule][0]
        scale = max(abs(self.difference), 0.01 * float(means[0][2]))
        fitted = self._fitted(mean, product)
        errors = [abs(float((self.way * m).sum()) - self.difference) / scale if scale > 0 else 0.0 for m in (fitted, mean)]
        return Estimate(self.way * fitted, errors[0], errors[1], moved[rule], rule)

    def _fitted(self, mean: Tensor, product: Tensor) -> Tensor:
        """Σ w G with the fitted weights. `mean`: Σ w G, `product`: Σ w g G with the rule's."""
        centre = float((mean * self.way).sum())
        spread = float((product * self.way).sum()) - centre**2
        if spread <= 1e-12 * max(centre**2, 1e-300):  # every slope is the same: the rule is exact but for rounding
            return mean
        strength = (self.difference - centre) / spread
        lowest = min(strength * (self.low - centre), strength * (self.high - centre))
        strength *= min(1.0, -1.0 / lowest) if lowest < 0 else 1.0
        return mean + strength * (product - centre * mean)

    def _change(self, now: Tensor, before: Tensor) -> float:
        size = float((self.way * now).norm())
        return float((self.way * (now - before)).norm()) / size if size > 0 else 0.0

    def _sums(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Σ G, Σ g·G (C, H, W) and Σ |g| over some places."""
        total, product, size = torch.zeros_like(self.way), torch.zeros_like(self.way), torch.zeros((), dtype=torch.float64)
        for part in places.split(self.batch):
            slopes = self.slopes(part.to(self.way.device)).double()
            along = (slopes * self.way).sum((1, 2, 3))
            total += slopes.sum(0)
            product += (along[:, None, None, None] * slopes).sum(0)
            size = size + along.abs().sum().cpu()
            self.low, self.high = min(self.low, float(along.min())), max(self.high, float(along.max()))
        return total, product, size
