"""Which map position of which window stands where in a shared map? Integers only, one axis at a time.

Windows begin at the pixels g·y, y = 0 … P − 1. Position i of a layer's map lies d·i pixels into its window (d: all strides
so far, multiplied). Wherever the window's frame is not felt, a value depends on the pixel g·y + d·i alone, so all windows
share one row of values; only every e-th pixel is ever asked for, e = gcd(g, d):

    shared[(g/e)·y + (d/e)·(i − a)]        for positions a ≤ i < b                        (dense)

With g = 1 that is e = 1: strides become dilations (à trous). With g a multiple of d it is e = d: the network's own strides.
Positions that feel zeros beyond the frame belong to one window each; they are kept window by window (unrolled):

    own[y, i − a]                          for positions a ≤ i < b                        (not dense)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convscope.errors import UsageError


@dataclass(frozen=True)
class Part:
    """Positions [first, stop) of a map along one axis, shared by all windows (`dense`) or kept for each."""

    dense: bool
    first: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True)
class Axis:
    """One axis of a layer's map: `n` positions, `d` pixels apart; the first `before` and last `after` feel the frame."""

    n: int
    d: int = 1
    before: int = 0
    after: int = 0
    overhang: int = 0  # pixels beyond the window that are read where real context takes the place of padding

    @property
    def parts(self) -> tuple[Part, ...]:
        """
        >>> Axis(6, before=1, after=1).parts
        (Part(dense=False, first=0, stop=1), Part(dense=True, first=1, stop=5), Part(dense=False, first=5, stop=6))
        """
        if self.before + self.after >= self.n:
            return (Part(False, 0, self.n),)
        cut = self.n - self.after
        made = (Part(False, 0, self.before), Part(True, self.before, cut), Part(False, cut, self.n))
        return tuple(part for part in made if part.count)

    @property
    def filled(self) -> bool:
        """Does every position feel the frame?"""
        return self.before + self.after >= self.n


@dataclass(frozen=True)
class Tap:
    """What a window operation reads along one axis: output i reads i·stride − pad + t·dilation, t = 0 … kernel − 1."""

    kernel: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        return self.dilation * (self.kernel - 1)

    def read(self, first: int, stop: int) -> tuple[int, int]:
        """The input positions [first, stop) that outputs [first, stop) read; beyond the map they are padding."""
        return first * self.stride - self.pad, (stop - 1) * self.stride - self.pad + self.span + 1


def after(axis: Axis, tap: Tap, n: int, context: bool = False) -> Axis:
    """The axis of an operation's output, `n` positions long. `context`: padding is real pixels, so no frame is felt.

    >>> after(Axis(8), Tap(3, pad=1), 8)
    Axis(n=8, d=1, before=1, after=1, overhang=1)
    """
    first, stop = tap.read(0, n)
    beyond = max(-first, stop - axis.n, 0)
    overhang = axis.overhang + beyond * axis.d
    d = axis.d * tap.stride if n > 1 else 0  # a single position: how far apart they lie means nothing
    if context:
        return Axis(n, d, 0, 0, overhang)
    before = -(-(axis.before + tap.pad) // tap.stride)
    last = (axis.n - axis.after - 1 + tap.pad - tap.span) // tap.stride
    before, behind = max(before, 0), n - 1 - last
    if before + behind >= n:
        before, behind = n, 0
    return Axis(n, d, before, max(behind, 0), overhang)


def joined(several: list[Axis]) -> Axis | None:
    """The axis on which maps meet in a sum or concatenation; None if their positions do not lie at the same pixels."""
    if len({(one.n, one.d) for one in several}) > 1:
        return None
    before, behind = max(one.before for one in several), max(one.after for one in several)
    n = several[0].n
    if before + behind >= n:
        before, behind = n, 0
    return Axis(n, several[0].d, before, behind, max(one.overhang for one in several))


@dataclass(frozen=True)
class Grid:
    """The windows along one axis: `count` of them, `stride` pixels apart."""

    count: int
    stride: int = 1

    def step(self, axis: Axis) -> int:
        """e: every e-th pixel of the shared row is kept."""
        return math.gcd(self.stride, axis.d)

    def hop(self, axis: Axis) -> int:
        """From one window to the next, in kept values."""
        return self.stride // self.step(axis)

    def spread(self, axis: Axis) -> int:
        """From one position to the next, in kept values."""
        return axis.d // self.step(axis)

    def length(self, axis: Axis, positions: int) -> int:
        """How many values a dense part of so many positions has.

        >>> Grid(10).length(Axis(4, d=2), 4)
        16
        """
        return self.hop(axis) * (self.count - 1) + self.spread(axis) * (positions - 1) + 1

    def size(self, axis: Axis, part: Part) -> int:
        """How many values a part has, for all windows."""
        return self.length(axis, part.count) if part.dense else self.count * part.count


def windows(size: int, window: int, stride: int) -> int:
    """How many windows fit?

    >>> windows(512, 28, 1)
    485
    """
    if stride < 1:
        raise UsageError("stride must be at least 1", f"got {stride}", "1 scores the window around every pixel")
    return 0 if size < window else (size - window) // stride + 1
