"""The best windows, and their frames.

Turns red: `> overlap` → `>= 1` in `best`; `score[at] < low` → `>`; `- shared)` → `)` in `overlaps`; `reversed(` left out of
`framed`.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.dense.peaks import COLOURS, Boxes, best, framed, overlaps


def boxes(score: list[float], box: list[list[float]]) -> Boxes:
    return Boxes(np.array(score), np.array(box, float), np.ones(len(score)), np.arange(len(score)))


def slow(found: Boxes, top: int, limit: float) -> list[int]:
    """Sorted by score; one is taken if it overlaps none that was taken."""
    taken: list[int] = []
    for at in sorted(range(len(found)), key=lambda k: (-found.score[k], k)):
        if len(taken) < top and all(float(overlaps(found.box[at], found.box[k : k + 1])[0]) <= limit for k in taken):
            taken.append(at)
    return taken


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_the_greedy_choice(seed: int, top: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    box = np.concatenate([rng.integers(0, 20, (15, 2)), rng.integers(1, 12, (15, 2))], 1).astype(float)
    found = Boxes(rng.integers(0, 8, 15).astype(float), box, np.ones(15), np.arange(15))
    assert best(found, top, limit).kind.tolist() == slow(found, top, limit)


def test_scores_below_the_threshold_and_no_numbers_are_left_out() -> None:
    found = boxes([1.0, np.nan, 5.0, 2.0], [[0, 0, 2, 2], [10, 0, 2, 2], [20, 0, 2, 2], [30, 0, 2, 2]])
    assert best(found, 9, 0.5, 2.0).score.tolist() == [5.0, 2.0]
    assert len(best(found, 9, 0.5)) == 3


def test_overlap_of_known_boxes() -> None:
    one = np.array([0.0, 0.0, 4.0, 2.0])
    many = np.array([[2.0, 0.0, 4.0, 2.0], [0.0, 0.0, 4.0, 2.0], [4.0, 0.0, 1.0, 1.0]])
    assert overlaps(one, many).tolist() == [4 / 12, 1, 0]


def test_frames_are_drawn_on_a_copy_the_best_on_top() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    made = framed(image, boxes([2.0, 1.0], [[5.0, 4.0, 10.0, 8.0], [5.0, 4.0, 20.0, 30.0]]))
    assert not image.any()
    assert tuple(made[4, 5]) == COLOURS[0]
    assert tuple(made[11, 14]) == COLOURS[0]
    assert tuple(made[19, 10]) == COLOURS[1]  # the other reaches beyond the picture and is cut
    assert not made[8, 10].any()
