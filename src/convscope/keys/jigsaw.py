"""Put shuffled blocks back in order: a jigsaw with square pieces of known orientation and a known frame.

    right(i, j) = Σ |2·x_i[:, −1] − x_i[:, −2] − x_j[:, 0]|^p + |2·x_j[:, 0] − x_j[:, 1] − x_i[:, −1]|^p            p = 0.3
    minimise  Σ over neighbours in the frame of right and below

Each side predicts the other across the border (Pomeranz, Shemesh, Ben-Shahar 2011, "A fully automated greedy square jigsaw
puzzle solver"). One shuffle serves all images, so their costs are added up: many images give it away that one would not.
Placed greedily, the surest piece first (two pieces each of which likes the other best, "best buddies"), from several starts;
then improved by exchanging two pieces and by shifting rows or columns, as long as that lowers the cost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError
from convscope.keys import blocks
from convscope.keys.known import Images, Known, Progress, Rebuilt

POWER = 0.3
STARTS = 12
EXCHANGED = 150  # pieces: more are placed greedily only
IMPROVED = 3  # the best starts are improved
Cost = NDArray[np.float64]  # (T, T)
Grid = NDArray[np.int64]  # (h, w) the piece at each place


def reassemble(keyed: Images, known: Known, progress: Progress | None = None) -> Rebuilt:
    """The images with their blocks put in the order of the least cost. Errors: UsageError for another kind of key."""
    if known.kind != "shuffle":
        raise UsageError(f"a jigsaw needs whole pieces, a {known.kind} key changes what is in them",
                         "borders of its blocks do not continue", "it is an attack on shuffles")
    _, channels, height, width = keyed.shape
    h, w = height // known.block, width // known.block
    pieces = blocks.split(keyed, known.block).reshape(len(keyed), h * w, channels, known.block, known.block)
    right, below = dissimilarity(pieces), dissimilarity(pieces.swapaxes(3, 4))
    starts = np.random.default_rng(known.seed).permutation(h * w)[:STARTS]
    found: list[Grid] = []
    for number, start in enumerate(starts):
        found.append(_greedy(right, below, (h, w), int(start)))
        if progress is not None:
            progress(number + 1, len(starts), "jigsaw, starts")
    found.sort(key=lambda grid: total(grid, right, below))
    found = [_improved(grid, right, below) for grid in found[:IMPROVED]] + found[IMPROVED:]
    best = min(found, key=lambda grid: total(grid, right, below))
    ordered = blocks.split(keyed, known.block)[:, best.reshape(-1)]
    agree = sum(bool((g == best).all()) for g in found)
    notes = (f"jigsaw: {h * w} pieces, borders of {len(keyed)} images together; {agree} of {len(found)} starts agree",
             *((f"more than {EXCHANGED} pieces: placed greedily, not improved",) if h * w > EXCHANGED else ()))
    return Rebuilt(blocks.join(ordered, known.block, keyed.shape[1:]), notes)


def dissimilarity(pieces: NDArray[np.float64]) -> Cost:
    """(N, T, C, k, k) → (T, T): how badly piece j continues piece i on its right; ∞ for i = j."""
    first, last = pieces[..., 0], pieces[..., -1]  # (N, T, C, k)
    inner = (pieces[..., 1], pieces[..., -2]) if pieces.shape[-1] > 1 else (first, last)
    ahead, back = 2 * last - inner[1], 2 * first - inner[0]
    count = pieces.shape[1]
    found = np.zeros((count, count))
    for i in range(count):
        gap = np.abs(ahead[:, i, None] - first) ** POWER + np.abs(back - last[:, i, None]) ** POWER
        found[i] = gap.sum((0, 2, 3))
    np.fill_diagonal(found, np.inf)
    return found


def total(grid: Grid, right: Cost, below: Cost) -> float:
    """The cost of a whole arrangement."""
    return float(right[grid[:, :-1], grid[:, 1:]].sum() + below[grid[:-1], grid[1:]].sum())


def _greedy(right: Cost, below: Cost, size: tuple[int, int], start: int) -> Grid:
    """Grow from one piece, unbound but for the frame's size, always the placing that is surest."""
    sides = [((0, 1), right), ((0, -1), right.T), ((1, 0), below), ((-1, 0), below.T)]  # cost[i, j]: j lies there of i
    sure = []  # each side's cost against the second best: below 1 where piece j is clearly the one
    for _, cost in sides:
        second = np.sort(cost, axis=1)[:, min(1, len(cost) - 1)]
        scaled = cost / np.where(np.isfinite(second) & (second > 0), second, 1)[:, None]
        best = cost == cost.min(1, keepdims=True)
        sure.append(scaled - (best & (cost == cost.min(0, keepdims=True))))  # best buddies first
    place: dict[tuple[int, int], int] = {(0, 0): start}
    free = np.ones(len(right), bool)
    free[start] = False
    while free.any():
        rows, columns = [r for r, _ in place], [c for _, c in place]
        frontier = {(r + dr, c + dc) for r, c in place for (dr, dc), _ in sides} - place.keys()
        choice: tuple[float, tuple[int, int], int] | None = None
        for r, c in sorted(frontier):
            if max(*rows, r) - min(*rows, r) >= size[0] or max(*columns, c) - min(*columns, c) >= size[1]:
                continue
            costs = [sure[k][place[r - dr, c - dc]] for k, ((dr, dc), _) in enumerate(sides) if (r - dr, c - dc) in place]
            # One more neighbour that agrees counts for much: a piece in a corner is surer than one at an end.
            mean = np.where(free, np.mean(costs, axis=0) - 0.5 * (len(costs) - 1), np.inf)
            at = int(mean.argmin())
            if choice is None or mean[at] < choice[0]:
                choice = (float(mean[at]), (r, c), at)
        assert choice is not None  # a frame that is not full has a free place beside a filled one
        place[choice[1]] = choice[2]
        free[choice[2]] = False
    top, left = min(r for r, _ in place), min(c for _, c in place)
    grid = np.zeros(size, np.int64)
    for (r, c), piece in place.items():
        grid[r - top, c - left] = piece
    return grid


def _improved(grid: Grid, right: Cost, below: Cost) -> Grid:
    """Exchange two pieces, or shift all rows or columns round, while the cost falls."""
    best = total(grid, right, below)
    if grid.size > EXCHANGED:
        return grid
    while True:
        before = best
        for axis in (0, 1):
            shifted = [np.roll(grid, k, axis) for k in range(1, grid.shape[axis])]
            for other in shifted:
                cost = total(other, right, below)
                if cost < best:
                    grid, best = other, cost
        flat = grid.reshape(-1)
        for a in range(flat.size):
            for b in range(a + 1, flat.size):
                other = flat.copy()
                other[a], other[b] = flat[b], flat[a]
                cost = total(other.reshape(grid.shape), right, below)
                if cost < best - 1e-9:
                    flat, best = other, cost
        grid = flat.reshape(grid.shape)
        if best >= before - 1e-9:
            return grid
