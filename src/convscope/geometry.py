"""Integer arithmetic of windows: output size, receptive field, reach. One axis at a time, no arrays.

Output size of a window operation (Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning"):

    out = ⌊(n + p₀ + p₁ − d·(k − 1) − 1) / s⌋ + 1

Receptive field (Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks"): output position
`i` of a layer sees the input pixels `start + i·stride … start + i·stride + size − 1`. Going one operation deeper,

    size' = size + d·(k − 1)·stride        stride' = stride·s        start' = start − p₀·stride
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from convscope.errors import ShapeError


def output_size(
    n: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    padding_end: int | None = None,
) -> int:
    """How many positions does a window have along an axis of `n` pixels? (`ceil_mode` as in PyTorch's pooling.)

    >>> output_size(224, kernel=11, stride=4, padding=2)
    55
    """
    end = padding if padding_end is None else padding_end
    room = n + padding + end - dilation * (kernel - 1) - 1
    if room < 0:
        reach = dilation * (kernel - 1) + 1
        raise ShapeError(
            f"a window of {reach} pixels does not fit into {n} + {padding} + {end}",
            f"it is {-room} too large",
            "use a larger image, a smaller kernel or more padding",
        )
    if not ceil_mode:
        return room // stride + 1
    out = -(-room // stride) + 1
    # PyTorch drops a last window that would start beyond the input and its left padding.
    return out - 1 if (out - 1) * stride >= n + padding else out


def transposed_output_size(
    n: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """The size that a transposed convolution makes: (n − 1)·s − 2p + d·(k − 1) + output_padding + 1.

    >>> transposed_output_size(7, kernel=4, stride=2, padding=1)
    14
    """
    out = (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    if out <= 0:
        raise ShapeError(
            f"a transposed window over {n} pixels has {out} outputs",
            f"padding {padding} takes all away",
            "use less padding or a larger kernel",
        )
    return out


def size_formula(n: int, kernel: int, stride: int, padding: int, dilation: int, out: int, ceil_mode: bool = False) -> str:
    """The output size as a formula with its numbers filled in.

    >>> size_formula(224, 11, 4, 2, 1, 55)
    '⌊(224 + 2·2 − 11)/4⌋ + 1 = 55'
    """
    reach = dilation * (kernel - 1) + 1
    left, right = ("⌈", "⌉") if ceil_mode else ("⌊", "⌋")
    return f"{left}({n} + 2·{padding} − {reach})/{stride}{right} + 1 = {out}"


@dataclass(frozen=True)
class Window:
    """A window operation along one axis: what an output position reads of the layer before it.

    Position `i` reads `i·stride − padding + j·dilation`, `j = 0 … kernel − 1`. A transposed window (`transposed=True`)
    is the same sentence read from the other side: input position `j` *writes* there.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False


WHOLE = "whole"  # what an operator answers for an axis on which every output reads every input (global pooling, dense)


@dataclass(frozen=True)
class Field:
    """Receptive field along one axis, in input pixels: position `i` sees `start + i·stride … + size − 1`.

    `size` None means the whole axis, whatever its length. `stride` and `start` are fractions below an upsampling.
    `aligned` is False where branches of unequal stride met or a map was enlarged: the field is then a hull, and
    positions see parts of it. Padding counts as nothing: under mirrored or circular padding a border position also sees
    pixels inside.
    """

    size: int | None = 1
    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)
    aligned: bool = True

    @property
    def centre(self) -> Fraction | None:
        """Where position 0 looks: the middle of its field (may lie outside the image), None if it sees everything."""
        return None if self.size is None else self.start + Fraction(self.size - 1, 2)

    def through(self, window: Window | str) -> Field:
        """The field after one more operation."""
        if self.size is None or window == WHOLE:
            return Field(None, self.stride, self.start, self.aligned)
        assert isinstance(window, Window)
        span = window.dilation * (window.kernel - 1)
        if window.transposed:
            # Output i hears the inputs j with i = j·s − p + t·d, hence (i + p − span)/s ≤ j ≤ (i + p)/s: a hull, as j is
            # whole.
            first = Fraction(window.padding - span, window.stride)
            return Field(
                self._wider(Fraction(span, window.stride)),
                self.stride / window.stride,
                self.start + first * self.stride,
                False,
            )
        return Field(
            self._wider(Fraction(span)), self.stride * window.stride, self.start - window.padding * self.stride, self.aligned
        )

    def _wider(self, steps: Fraction) -> int:
        """The size in whole pixels after looking `steps` positions further."""
        assert self.size is not None
        return self.size + math.ceil(steps * self.stride)

    def merge(self, other: Field) -> Field:
        """The hull of two fields that meet in an addition or a concatenation."""
        if self.size is None or other.size is None:
            return Field(None, max(self.stride, other.stride), min(self.start, other.start), self.aligned and other.aligned)
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        same = self.stride == other.stride
        return Field(math.ceil(end - start), max(self.stride, other.stride), start, same and self.aligned and other.aligned)

    def span(self, position: int, n: int) -> tuple[int, int]:
        """The pixels `[first, stop)` that output `position` sees of an axis of `n` pixels, clipped to it.

        >>> Field(size=3, stride=Fraction(2), start=Fraction(-1)).span(0, n=10)
        (0, 2)
        """
        if self.size is None:
            return 0, n
        first = math.floor(self.start + position * self.stride)
        stop = math.ceil(self.start + position * self.stride + self.size)
        return min(max(first, 0), n), min(max(stop, 0), n)

    def coverage(self, n: int) -> float:
        """How much of an axis of `n` pixels one position sees at most, 0 … 1."""
        return 1.0 if self.size is None else min(self.size, n) / n


def reach(first: int, last: int, window: Window, out: int) -> tuple[int, int] | None:
    """Which outputs `[a, b]` change when the inputs `first … last` change? None if no output reads them.

    >>> reach(5, 6, Window(kernel=3, padding=1), out=10)
    (4, 7)
    """
    span = window.dilation * (window.kernel - 1)
    if window.transposed:
        a, b = first * window.stride - window.padding, last * window.stride - window.padding + span
    else:
        a = -(-(first + window.padding - span) // window.stride)
        b = (last + window.padding) // window.stride
    a, b = max(a, 0), min(b, out - 1)
    return (a, b) if a <= b else None
