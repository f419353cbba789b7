"""Gradient ascent on a whole photograph, scale by scale (Mordvintsev, Olah, Tyka 2015).

    s ← clip(s + δ · g / mean|g|, 0, 1)        g = ∂ score(network(roll(s))) / ∂s, rolled back; δ: so many levels of 255
    s₀ the photograph, s₁ = zoom(s₀, 1/1.4), …; from the smallest on, what was added is enlarged and laid on the next

A large image is looked at in tiles whose borders fall elsewhere at each step, so that memory depends on the tile alone.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import ShapeError
from convscope.images import Pixels, Preprocess
from convscope.network import Network
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Reading
from convscope.synthesis.objective import Objective, Place, Seen

Size = tuple[int, int]
REFERENCE = 224  # px: a scale whose shorter side is smaller is moved less, in proportion; else its borders come far inside


@dataclass(frozen=True)
class View:
    """How networks look at an image that is larger, or smaller, than they can take at once."""

    nets: tuple[Network, ...]
    objective: Objective
    read: Reading
    tile: int  # longest side that is looked at in one piece

    @functools.cached_property
    def cuts(self) -> dict[int, Cut]:
        """Each network as far as it is needed."""
        places = self.objective.places()
        numbers = sorted({place.network for place in places})
        return {n: Cut(self.nets[n], sorted(p.layer for p in places if p.network == n)) for n in numbers}

    @functools.cached_property
    def own(self) -> Size | None:
        """(H, W) that a network insists on; None where it takes any."""
        found = next((cut for cut in self.cuts.values() if not cut.any_size), None)
        return None if found is None else (found.net.input_shape[2], found.net.input_shape[3])

    def windows(self, size: Size) -> list[tuple[slice, slice]]:
        """The pieces of an image of `size`: tiles beside each other, or overlapping windows of the network's own size."""
        along = [_tiles(n, self.tile) if self.own is None else _covering(n, self.own[axis]) for axis, n in enumerate(size)]
        return [(y, x) for y in along[0] for x in along[1]]

    def pieces(self, size: Size) -> int:
        """How many pieces one step looks at."""
        return len(self.windows(self._seen(size)))

    def score(self, image: Tensor) -> float:
        """The objective on an image (C, H, W) within 0 … 1: the mean over its pieces, by their area."""
        with torch.no_grad():
            big = self._enlarged(image)
            return sum(share * float(self._of(big[:, y, x])) for (y, x), share in self._shares(big))

    def gradient(self, image: Tensor, report: Callable[[int], None]) -> tuple[float, Tensor]:
        """The score, and its gradient (C, H, W). `report` is told how many pixels were done."""
        with torch.enable_grad():
            leaf = image.detach().requires_grad_()
            big = self._enlarged(leaf)
            total, slope, often = 0.0, torch.zeros_like(big), torch.zeros_like(big[0])
            for (y, x), share in self._shares(big):
                piece = big[:, y, x].detach().requires_grad_()
                score = self._of(piece)
                (g,) = torch.autograd.grad(score, piece)
                slope[:, y, x] += share * g.detach()
                often[y, x] += 1
                total += share * float(score.detach())
                report(piece[0].numel())
            slope /= often  # where windows overlap, their mean
            if big is not leaf:
                (slope,) = torch.autograd.grad(big, leaf, slope)
        return total, slope.detach()

    def check(self, size: Size) -> str:
        """Empty if an image of `size` leaves something at every layer that is needed; else what the network says."""
        y, x = min(self.windows(self._seen(size)), key=_area)
        try:
            with torch.no_grad():
                self._of(torch.full((self.nets[0].input_shape[1], y.stop - y.start, x.stop - x.start), 0.5))
        except RuntimeError as problem:  # an empty map, in the words of the operation that would make it
            return str(problem).strip().splitlines()[0]
        return ""

    def _seen(self, size: Size) -> Size:
        own = self.own or (0, 0)
        return max(size[0], own[0]), max(size[1], own[1])

    def _enlarged(self, image: Tensor) -> Tensor:
        """The image, enlarged to what the network insists on where it is smaller."""
        size = (image.shape[1], image.shape[2])
        return image if self._seen(size) == size else zoom(image, self._seen(size))

    def _shares(self, big: Tensor) -> list[tuple[tuple[slice, slice], float]]:
        windows = self.windows((big.shape[1], big.shape[2]))
        total = sum(map(_area, windows))
        return [(window, _area(window) / total) for window in windows]

    def _of(self, piece: Tensor) -> Tensor:
        x = self.read(piece[None])
        values = {Place(n, k): v for n, cut in self.cuts.items()
                  for k, v in cut(x.to(cut.net.device, cut.net.dtype)).items()}
        return self.objective.score(Seen(self.nets, values, (piece.shape[1], piece.shape[2])))[0]


@dataclass(frozen=True)
class Octaves:
    """The ascent: at how many scales, how far apart, how many steps of which size."""

    count: int
    ratio: float
    steps: int
    step_size: float  # levels of 255 that a pixel is changed by on average
    jitter: int  # px at scales of 224 px and more

    def sizes(self, size: Size) -> list[Size]:
        """The sizes of the scales, the largest first, each rounded from the one before."""
        found = [size]
        for _ in range(self.count - 1):
            found.append((max(1, round(found[-1][0] / self.ratio)), max(1, round(found[-1][1] / self.ratio))))
        return found

    def __call__(self, view: View, image: Tensor, generator: torch.Generator, frames: int = 0,
                 report: Callable[[int, int, str], None] | None = None) -> Dreamed:
        """`image` (C, H, W) within 0 … 1; `frames`: so many pictures, evenly spread over the steps, the last one
        included."""
        full = (image.shape[1], image.shape[2])
        sizes = self.sizes(full)
        fitting = [size for size in dict.fromkeys(sizes) if not view.check(size)]
        if full not in fitting:
            raise ShapeError(f"a dream on {full[0]}×{full[1]} px", view.check(full), "give a larger image, or --size")
        bases = [image]
        for size in fitting[1:]:
            bases.append(zoom(bases[-1], size))
        clock = _Clock(sum(self.steps * math.prod(view._seen(s)) for s in fitting), report)
        detail = torch.zeros_like(bases[-1])
        found, total = Dreamed(image, left=len(sizes) - len(fitting)), self.steps * len(fitting)
        wanted = {round(i * total / frames) for i in range(1, frames)} - {0, total}
        at, s = 0, image
        for octave, base in enumerate(reversed(bases), 1):
            size = (base.shape[1], base.shape[2])
            s = base + zoom(detail, size)
            for step in range(1, self.steps + 1):
                at += 1
                clock.text = f"dream: scale {octave} of {len(bases)} ({size[0]}×{size[1]} px), step {step} of {self.steps}"
                s, score = self._step(view, s, generator, clock)
                found.scores.append(score)
                found.blocked += math.isnan(score)
                if at in wanted:
                    shown = s if size == full else (image + zoom(s - base, full)).clamp(0, 1)
                    found.frames[at] = (shown * 255).round().to(torch.uint8)
            detail = s - base
        return dataclasses.replace(found, image=s)

    def _step(self, view: View, s: Tensor, generator: torch.Generator, clock: _Clock) -> tuple[Tensor, float]:
        """One step; where no gradient comes back the image stays and the score is NaN."""
        size = (s.shape[1], s.shape[2])
        reach = round(self.jitter * min(1.0, min(size) / REFERENCE))
        if view.own is None and view.pieces(size) > 1:
            reach = max(reach, view.tile // 2)
        shift = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        score, g = view.gradient(torch.roll(s, shift, (1, 2)), clock.add)
        mean = g.abs().mean()
        if not mean > 0:
            return s.clamp(0, 1), math.nan
        g = torch.roll(g, (-shift[0], -shift[1]), (1, 2))
        return (s + self.step_size / 255 / mean * g).clamp(0, 1), score


@dataclass
class Dreamed:
    """What became of an image (C, H, W); frames on the way, by step, uint8; the score at each step, on the shifted image."""

    image: Tensor
    frames: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    scores: list[float] = field(default_factory=list[float])
    blocked: int = 0  # steps at which no gradient came back
    left: int = 0  # scales left out: too small for the network


@dataclass
class _Clock:
    """Progress by pixels, so that the time left is right although scales differ in size. Told in thousandths."""

    total: int
    report: Callable[[int, int, str], None] | None
    done: int = 0
    text: str = ""

    def add(self, pixels: int) -> None:
        self.done += pixels
        if self.report is not None:
            self.report(min(1000, round(1000 * self.done / self.total)), 1000, self.text)


def zoom(image: Tensor, size: Size) -> Tensor:
    """(C, h, w) → (C, *size): linear, corner pixels on corner pixels."""
    return F.interpolate(image[None], size, mode="bilinear", align_corners=True)[0]


def levels(preprocess: Preprocess, pixels: Pixels, longest: int = 0) -> Tensor:
    """uint8 (H, W, C) → (C, H, W) within 0 … 1 in the channels that the network reads, at the image's own size.

    `longest`: px of its longer side instead.
    """
    h, w = pixels.shape[:2]
    if longest:
        h, w = (max(1, round(n * longest / max(pixels.shape[:2]))) for n in (h, w))
    own = dataclasses.replace(preprocess, size=(h, w), resize="stretch", resize_to=None)
    return shown(own, own(pixels))


def shown(preprocess: Preprocess, x: NDArray[np.float32]) -> Tensor:
    """What a network reads (C, H, W) as values within 0 … 1, in the order red, green, blue."""
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (preprocess.mean, preprocess.std))
    s = (x * std + mean) / np.float32(preprocess.range)
    return torch.from_numpy(np.ascontiguousarray(s[::-1] if preprocess.channels == "BGR" else s)).clamp(0, 1)


def _area(window: tuple[slice, slice]) -> int:
    return (window[0].stop - window[0].start) * (window[1].stop - window[1].start)


def _tiles(n: int, most: int) -> list[slice]:
    """0 … n in as few equal parts as are not longer than `most`."""
    count = -(-n // most)
    edges = [round(i * n / count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _covering(n: int, side: int) -> list[slice]:
    """As few windows of `side` as cover 0 … n, evenly spread."""
    count = -(-n // side)
    starts = [round(i * (n - side) / max(count - 1, 1)) for i in range(count)]
    return [slice(a, a + side) for a in starts]
