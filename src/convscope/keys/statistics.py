"""Find a permutation of the pixels in blocks, or of the blocks, from statistics alone: neighbouring pixels correlate.

    maximise over p   Σ_m Σ_ij R_m[i, j]·S_m[p(i), p(j)]  +  Σ_i ℓ[i, p(i)]

R_m: correlations of the keyed numbers, within a block and with the blocks right and below (moments.py). S_m: the same of the
attacker's own images; without any, S = exp(−d/8 px) with d the distance of two pixels: natural images are like that.
ℓ rewards like means and deviations, with own images only. A quadratic assignment, by Frank and Wolfe's method from several
starts (Vogelstein et al. 2015, "Fast approximate quadratic programming for graph matching"), then exchanges of two.
Without own images nothing tells one channel from another. Of shuffled blocks each goes where the attacker's own images have
blocks of the most like mean, deviation and correlation with the others, pixel by pixel: centred things give themselves away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from convscope.errors import UsageError
from convscope.keys import blocks
from convscope.keys.known import Images, Known, Progress, Rebuilt
from convscope.keys.moments import Matrix, correlations, moments

LENGTH = 8.0  # px over which correlation falls to 1/e, where nothing is known
OTHER_CHANNEL = 0.9  # correlation of two channels of one pixel, where nothing is known
STARTS = 12
ROUNDS = 40
EXCHANGED = 120  # numbers: for more, exchanges take too long
Permutation = NDArray[np.int64]


def from_correlations(keyed: Images, known: Known, progress: Progress | None = None) -> Rebuilt:
    """The images with the likeliest permutation undone. Errors: UsageError for another kind of key."""
    if known.kind == "orthogonal":
        raise UsageError("correlations tell which pixel went where", "an orthogonal key mixes pixels",
                         "it is an attack on permutations and shuffles")
    if known.kind == "shuffle":
        return _placed(keyed, known, progress)
    seen = moments(keyed, known.block)
    here, channels = correlations(seen), keyed.shape[1]
    if len(known.own):
        own = moments(known.own, known.block)
        there = correlations(own)
        linear = _likeness(seen.mean, own.mean) + _likeness(_spread(seen.within), _spread(own.within))
        source = f"{len(known.own)} images of the attacker's own"
    else:
        there = _model(channels, known.block, (seen.right is not None, seen.below is not None))
        linear = np.zeros_like(here[0])
        source = "no image of the attacker's own, only that near pixels correlate"
    found, score = match(here, there, linear, known.seed, progress)
    rows = blocks.split(keyed, known.block)
    plain = np.empty_like(rows)
    plain[..., found] = rows
    notes = (f"statistics: correlations over {len(keyed)} images, and {source}; score {score:.4g}",)
    return Rebuilt(blocks.join(plain, known.block, keyed.shape[1:]), notes)


def _placed(keyed: Images, known: Known, progress: Progress | None) -> Rebuilt:
    """Shuffled blocks, each where its like is in the attacker's own images."""
    if not len(known.own):
        raise UsageError("which block belongs where", "without plain images nothing tells", "reassemble them as a jigsaw")
    rows, own = blocks.split(keyed, known.block), blocks.split(known.own, known.block)
    here, there = ([_together(v.mean(-1))] for v in (rows, own))
    a, b = (np.concatenate([v.mean(0), v.std(0)], axis=1) for v in (rows, own))
    linear = -((a[:, None] - b) ** 2).mean(-1) / (b.var() + 1e-9) * len(a)
    found, score = match(here, there, linear, known.seed, progress)
    plain = np.empty_like(rows)
    plain[:, found] = rows
    return Rebuilt(blocks.join(plain, known.block, keyed.shape[1:]), (
        f"statistics: each of {len(a)} blocks where its like is in {len(known.own)} own images; score {score:.4g}",))


def match(here: Sequence[Matrix], there: Sequence[Matrix], linear: Matrix, seed: int = 0,
          progress: Progress | None = None) -> tuple[Permutation, float]:
    """p (n,) with here[i, j] like there[p(i), p(j)] for every pair of matrices, and its score."""
    n, rng = len(linear), np.random.default_rng(seed)
    best, top = np.arange(n), -np.inf
    for start in range(STARTS):
        share = np.full((n, n), 1 / n)
        if start:
            share = (share + np.eye(n)[rng.permutation(n)]) / 2
        found = _relaxed(here, there, linear, share)
        found, score = _exchanged(found, here, there, linear)
        if score > top:
            best, top = found, score
        if progress is not None:
            progress(start + 1, STARTS, "statistics, starts")
    return best, top


def _relaxed(here: Sequence[Matrix], there: Sequence[Matrix], linear: Matrix, share: Matrix) -> Permutation:
    """Frank and Wolfe: towards the best permutation of the gradient, by the step that is best along the way."""
    def score(p: Matrix) -> float:
        return float(sum((a @ p * (p @ b)).sum() for a, b in zip(here, there, strict=True)) + (linear * p).sum())

    now = score(share)
    for _ in range(ROUNDS):
        slope = linear + sum(a @ share @ b.T + a.T @ share @ b for a, b in zip(here, there, strict=True))
        end = np.zeros_like(share)
        end[linear_sum_assignment(slope, maximize=True)] = 1
        then, rise = score(end), float((slope * (end - share)).sum())
        bend = then - now - rise  # score(t) = now + rise·t + bend·t²
        step = min(1.0, -rise / (2 * bend)) if bend < 0 else 1.0
        if rise <= 1e-9 * max(1.0, abs(now)):
            break
        share = share + step * (end - share)
        now = score(share)
    return linear_sum_assignment(share, maximize=True)[1].astype(np.int64)


def _exchanged(p: Permutation, here: Sequence[Matrix], there: Sequence[Matrix], linear: Matrix) -> tuple[Permutation, float]:
    """Exchange two places while that raises the score."""
    rows = np.arange(len(p))

    def score(q: Permutation) -> float:
        return float(sum((a * b[np.ix_(q, q)]).sum() for a, b in zip(here, there, strict=True)) + linear[rows, q].sum())

    best, better = score(p), len(p) <= EXCHANGED
    while better:
        better = False
        for i in range(len(p)):
            for j in range(i + 1, len(p)):
                q = p.copy()
                q[i], q[j] = p[j], p[i]
                if score(q) > best + 1e-9:
                    p, best, better = q, score(q), True
    return p, best


def _together(values: Matrix) -> Matrix:
    """(N, T) → (T, T) correlations over the images; 0 where a block never changes."""
    centred = values - values.mean(0)
    length = np.sqrt((centred**2).sum(0))
    scaled = centred / np.where(length > 1e-9, length, np.inf)
    return scaled.T @ scaled


def _spread(within: Matrix) -> Matrix:
    return np.sqrt(np.diagonal(within))


def _likeness(a: Matrix, b: Matrix) -> Matrix:
    """(n, n): minus the squared distance of two numbers, in units of their spread."""
    scale = b.std() + 1e-9
    return -(((a[:, None] - b) / scale) ** 2)


def _model(channels: int, side: int, neighbours: tuple[bool, bool]) -> list[Matrix]:
    """exp(−distance/LENGTH) of the pixels of a block, and of two blocks side by side."""
    row, column = (v.reshape(-1) for v in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    row, column = np.tile(row, channels), np.tile(column, channels)
    channel = np.repeat(np.arange(channels), side * side)
    other = np.where(channel[:, None] == channel, 1.0, OTHER_CHANNEL)
    shifts = [(0, 0), *([(0, side)] if neighbours[0] else []), *([(side, 0)] if neighbours[1] else [])]
    return [other * np.exp(-np.hypot(row + down - row[:, None], column + along - column[:, None]) / LENGTH)
            for down, along in shifts]
