"""Find an orthogonal key without a single pair: keyed images keep the moments of plain ones, turned by Q.

    within_y = Q·within_x·Qᵀ   ⟹   Q = V_y·S·V_xᵀ           V: eigenvectors of the covariance; S: a sign each

The signs come from what else is turned alike: s_i·s_j = sign(right_y[i, j]·right_x[i, j]) in the eigenvectors' axes, and the
mean fixes the sign of all; read off the leading eigenvector of the products (spectral synchronisation). Then the two clouds
of blocks are laid on each other: each keyed block gets a plain one (optimal assignment), Q is fitted to these pairs
(Procrustes), and again: Grave, Joulin, Berthet 2019, "Unsupervised alignment of embeddings with Wasserstein Procrustes". The
best fit counts. `own` are the attacker's own plain images; the more they are like the keyed ones, the closer. Eigenvalues
that nearly meet leave their eigenvectors undetermined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from convscope.errors import UsageError
from convscope.keys import blocks
from convscope.keys.known import Images, Known, Progress, Rebuilt
from convscope.keys.known_pairs import procrustes
from convscope.keys.moments import Matrix, Moments, moments

SAMPLE = 600  # blocks laid on each other in a round
ROUNDS = 24
LOOKED = 4  # rounds between two looks at how far the clouds lie apart
Rows = NDArray[np.float64]


def from_moments(keyed: Images, known: Known, progress: Progress | None = None) -> Rebuilt:
    """The images with the likeliest Q undone. Errors: UsageError for another kind of key, or without own images."""
    if known.kind != "orthogonal":
        raise UsageError("moments tell how the axes of a block were turned", f"a {known.kind} turns nothing",
                         "it is an attack on orthogonal keys")
    if not len(known.own):
        raise UsageError("moments are compared with those of plain images", "none was given",
                         "give the attacker images of the same sort")
    seen, own = moments(keyed, known.block), moments(known.own, known.block)
    q = aligned(seen, own)
    n = len(seen.mean)
    y, x = (blocks.split(v, known.block).reshape(-1, n) for v in (keyed, known.own))
    rng = np.random.default_rng(known.seed)
    best, least = q, _distance(x, y, q, np.random.default_rng(known.seed))
    first = least
    for step in range(ROUNDS):
        a, b = _drawn(x, rng), _drawn(y, rng)
        count = min(len(a), len(b))
        pairs = linear_sum_assignment(_squares(b[:count] @ q, a[:count]))
        q = procrustes(a[:count][pairs[1]], b[:count][pairs[0]])
        if (step + 1) % LOOKED == 0:
            distance = _distance(x, y, q, np.random.default_rng(known.seed))
            if distance < least:
                best, least = q, distance
        if progress is not None:
            progress(step + 1, ROUNDS, f"unpaired, distance of the clouds {least:.4f}")
    notes = (f"no pair: moments of {len(keyed)} keyed and {len(known.own)} own images; mean distance of a block to its "
             f"partner {first:.4f}, after {ROUNDS} rounds {least:.4f}; {min(SAMPLE, len(x), len(y))} blocks a round, "
             f"seed {known.seed}",)
    plain = blocks.split(keyed, known.block) @ best
    return Rebuilt(blocks.join(plain, known.block, keyed.shape[1:]), notes)


def aligned(seen: Moments, own: Moments) -> Matrix:
    """(n, n) Q̂ from moments alone: eigenvectors, and their signs from the neighbours' covariances and the mean."""
    v_y, v_x = np.linalg.eigh(seen.within)[1], np.linalg.eigh(own.within)[1]
    n = len(seen.mean)
    votes = np.zeros((n + 1, n + 1))
    for a, b in zip(seen.matrices[1:], own.matrices[1:], strict=True):
        votes[1:, 1:] += _symmetric((v_y.T @ a @ v_y) * (v_x.T @ b @ v_x))
    mean = (v_y.T @ seen.mean) * (v_x.T @ own.mean)
    votes[0, 1:] = votes[1:, 0] = mean * (np.abs(votes).max() or 1) / (np.abs(mean).max() or 1)
    leading = np.linalg.eigh(votes)[1][:, -1]
    signs = np.where(leading[1:] * (leading[0] or 1) >= 0, 1.0, -1.0)
    return v_y * signs @ v_x.T


def _symmetric(m: Matrix) -> Matrix:
    return (m + m.T) / 2


def _drawn(rows: Rows, rng: np.random.Generator) -> Rows:
    return rows[rng.permutation(len(rows))[:SAMPLE]]


def _squares(a: Rows, b: Rows) -> Matrix:
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


def _distance(x: Rows, y: Rows, q: Matrix, rng: np.random.Generator) -> float:
    """The mean distance of blocks to their partners in the best assignment: how far the two clouds lie apart."""
    a, b = _drawn(x, rng), _drawn(y, rng)
    count = min(len(a), len(b))
    cost = _squares(b[:count] @ q, a[:count])
    return float(np.sqrt(np.maximum(cost[linear_sum_assignment(cost)], 0)).mean())
