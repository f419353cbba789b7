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

Where a network divides by its input's own size (layer norm, say), nearly all may happen next to a baseline of zeros. Then
the way is divided there, again and again, each part about sixteen times as long as the one before it; the worst is doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Slopes = Callable[[Tensor], Tensor]  # places (n,) on the way -> ∂S/∂x there (n, C, H, W)
FIRST = 4  # steps of a part at first
SPIKE = 0.3  # share of Σ |g| at the first place (of 9, even steps give it 0.06) from which a part is divided
RATIO, NEAREST = 16, 1e-17  # into what, and down to what
START = 1e-20  # not 0: on zeros a network without biases has no gradient at all, at any distance from them it has one


@dataclass(frozen=True)
class Estimate:
    """What is known of the way after so many gradients."""

    values: Tensor  # (C, H, W): (x − x')·Σ w G
    error: float  # of completeness: |ΣA − (S(x) − S(x'))| over the scale
    unfitted: float  # the same with the rule's own weights
    change: float  # of the map by the last doubling: ‖A − A before‖/‖A‖
    rule: str


class Part:
    """A part a … b of the way in equal steps: sums over their ends, to which `double` adds the places between.

    `way` (C, H, W) is x − x', float64.
    """

    def __init__(self, way: Tensor, slopes: Slopes, ends: tuple[float, float], batch: int) -> None:
        self.way, self.slopes, self.batch = way, slopes, batch
        self.start, self.length = ends[0], ends[1] - ends[0]
        self.count, self.taken = FIRST, 0
        self.low, self.high = float("inf"), -float("inf")
        first, last = (self._sums(torch.tensor([place], dtype=torch.float64)) for place in (0.0, 1.0))
        inner = self._sums(torch.arange(1, FIRST, dtype=torch.float64) / FIRST)
        self.first = float(first[2]) / 2
        self.levels = [tuple((a + b) / 2 + c for a, b, c in zip(first, last, inner, strict=True))]  # Σ G, Σ g·G, Σ |g|
        self.double()

    def double(self) -> None:
        """As many places again, halfway between those that are there."""
        new = self._sums((2 * torch.arange(self.count, dtype=torch.float64) + 1) / (2 * self.count))
        self.levels = [*self.levels[-2:], tuple(a + b for a, b in zip(self.levels[-1], new, strict=True))]
        self.count *= 2
        self.rule, self.now, self.moved = self._chosen()

    @property
    def spiked(self) -> bool:
        """Is most of what happens next to its start?"""
        return self.first > SPIKE * float(self.levels[-1][2])

    def _chosen(self) -> tuple[str, tuple[Tensor, ...], Tensor]:
        """Of the rules the one that moved less: its integrals of G, g·G and |g|, and by how much the map moved."""
        means = [tuple(self.length * s / (self.count >> back) for s in level)
                 for back, level in enumerate(reversed(self.levels))]
        rules = {"trapezoid": means[:2]}
        if len(means) == 3:
            rules["Simpson"] = [tuple((4 * a - b) / 3 for a, b in zip(means[k], means[k + 1], strict=True)) for k in (0, 1)]
        moved = {name: self.way * (now[0] - before[0]) for name, (now, before) in rules.items()}
        rule = min(moved, key=lambda name: float(moved[name].norm()))
        return rule, (*rules[rule][0][:2], means[0][2]), moved[rule]

    def _sums(self, places: Tensor) -> tuple[Tensor, ...]:
        """Σ G, Σ g·G (C, H, W) and Σ |g| over some places, 0 … 1 along the part."""
        total, product, size = torch.zeros_like(self.way), torch.zeros_like(self.way), torch.zeros((), dtype=torch.float64)
        for some in (self.start + self.length * places).clamp_min(START).split(self.batch):
            slopes = self.slopes(some.to(self.way.device)).double()
            along = (slopes * self.way).sum((1, 2, 3))
            total += slopes.sum(0)
            product += (along[:, None, None, None] * slopes).sum(0)
            size = size + along.abs().sum().cpu()
            self.low, self.high = min(self.low, float(along.min())), max(self.high, float(along.max()))
        self.taken += len(places)
        return total, product, size


class Nested:
    """The whole way, in one part or, where it has to be, in several; better with every `double`."""

    def __init__(self, way: Tensor, slopes: Slopes, difference: float, batch: int = 16) -> None:
        self.way, self.slopes, self.difference, self.batch = way, slopes, difference, batch
        self.parts = [self._part(0.0, 1.0)]
        self.dropped = 0  # gradients of parts that were divided

    @property
    def taken(self) -> int:
        """Gradients so far."""
        return self.dropped + sum(part.taken for part in self.parts)

    @property
    def next(self) -> int:
        """Gradients that `double` will take."""
        return 2 * (2 * FIRST + 1) if self._divides() else self._worst().count

    def double(self) -> None:
        """Divides the first part, where all happens next to its start; else doubles the part that moved most."""
        if not self._divides():
            self._worst().double()
            return
        first = self.parts[0]
        self.dropped += first.taken
        self.parts[:1] = [self._part(0.0, first.length / RATIO), self._part(first.length / RATIO, first.length)]

    def estimate(self) -> Estimate:
        """The rule that moved less, its weights fitted."""
        mean, product, size = (torch.stack(sums).sum(0) for sums in zip(*(part.now for part in self.parts), strict=True))
        scale = max(abs(self.difference), 0.01 * float(size))
        fitted = self._fitted(mean, product)
        errors = [abs(float((self.way * m).sum()) - self.difference) / scale if scale > 0 else 0.0 for m in (fitted, mean)]
        whole = float((self.way * mean).norm())
        change = sum(float(part.moved.norm()) for part in self.parts) / whole if whole > 0 else 0.0
        rules = "/".join(dict.fromkeys(part.rule for part in self.parts))
        return Estimate(self.way * fitted, errors[0], errors[1], change,
                        rules + (f" in {len(self.parts)} parts" if len(self.parts) > 1 else ""))

    def _fitted(self, mean: Tensor, product: Tensor) -> Tensor:
        """Σ w G with the fitted weights. `mean`: Σ w G, `product`: Σ w g G with the rule's."""
        centre = float((mean * self.way).sum())
        spread = float((product * self.way).sum()) - centre**2
        if spread <= 1e-12 * max(centre**2, 1e-300):  # every slope is the same: the rule is exact but for rounding
            return mean
        strength = (self.difference - centre) / spread
        low, high = min(part.low for part in self.parts), max(part.high for part in self.parts)
        lowest = min(strength * (low - centre), strength * (high - centre))
        strength *= min(1.0, -1.0 / lowest) if lowest < 0 else 1.0
        return mean + strength * (product - centre * mean)

    def _part(self, start: float, end: float) -> Part:
        return Part(self.way, self.slopes, (start, end), self.batch)

    def _divides(self) -> bool:
        return self.parts[0].spiked and self.parts[0].length > NEAREST

    def _worst(self) -> Part:
        return max(self.parts, key=lambda part: float(part.moved.norm()))
