"""panels: the terms of a sum lie where their indices say, and the largest parts come first.

Mutations that turn it red: `sorted(found, key=lambda part: -part.weight)` -> `found`; `np.lexsort` replaced by
`np.arange(len(of))` (terms in another order); `at < 0` -> `at <= 0` in `_outside`; `len(np.unique(places, axis=0))` dropped
in `_rectangle` (a place that comes twice).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convscope.draw import panels
from convscope.results import Grid, Steps, Terms


def lattice(channels: int, h: int, w: int, seed: int) -> Terms:
    """Terms on a lattice, in a random order."""
    rng = np.random.default_rng(seed)
    at = np.indices((channels, h, w)).reshape(3, -1).T[rng.permutation(channels * h * w)]
    x, weight = rng.normal(size=(2, channels, h, w))
    return Terms("x", "w", at - [0, 1, 1], at * [1, -1, 1] + [0, h - 1, 0], x[tuple(at.T)], weight[tuple(at.T)])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 4), st.integers(0, 99))
def test_products_lie_under_their_factors_and_add_up(channels: int, h: int, w: int, seed: int) -> None:
    terms = lattice(channels, h, w, seed)
    found = panels.parts(terms)
    assert len(found) == channels
    weights = [part.weight for part in found]
    assert weights == sorted(weights, reverse=True)
    assert np.isclose(sum(part.total for part in found), terms.products.sum())
    numbers = dict(zip(map(tuple, terms.left_at.tolist()), terms.left_values.tolist(), strict=True))
    for part in found:
        left, right, product = part.panels
        assert np.array_equal(left.values * right.values, product.values)
        c = int(left.name[2:].split(",")[0])
        assert [[numbers[c, y - 1, x - 1] for x in range(w)] for y in range(h)] == left.values.tolist()
        assert np.array_equal(left.outside, (np.arange(h)[:, None] == 0) | (np.arange(w) == 0))


def test_names_are_indices_into_the_whole_arrays() -> None:
    part = panels.parts(lattice(1, 3, 2, 0))[0]
    assert [p.name for p in part.panels] == ["x[0, −1…1, −1…0]", "w[0, 2…0, 0…1]", "products"]
    terms = lattice(1, 3, 2, 0)
    spread = replace(terms, left_at=terms.left_at * [1, 3, 1])
    assert panels.parts(spread)[0].panels[0].name == "x[0, −3…3 by 3, −1…0]"


def test_terms_that_fill_no_rectangle_have_no_parts() -> None:
    terms = lattice(2, 3, 3, 0)
    missing = Terms("x", "w", terms.left_at[1:], terms.right_at[1:], terms.left_values[1:], terms.right_values[1:])
    assert panels.parts(missing) == []
    at = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert panels.parts(Terms("x", "w", at, at, np.ones(4), np.ones(4))) == []  # every place twice
    apart = np.arange(6).reshape(-1, 1).repeat(3, axis=1)
    assert panels.parts(Terms("x", "w", apart, apart, np.ones(6), np.ones(6))) == []  # one term a part
    assert panels.parts(None) == []


def test_what_is_counted_is_named() -> None:
    def terms(left: str, at: list[list[int]]) -> Terms:
        return Terms(left, "w", np.array(at), np.array(at), np.ones(2), np.ones(2))

    assert panels.counted(terms("x[0]", [[0, 1, 1], [1, 1, 1]])) == "channels"
    assert panels.counted(terms("x", [[0, 1, 1], [1, 1, 1]])) == "parts"
    assert panels.counted(terms("δ", [[0, 3, 1, 1], [1, 3, 1, 1]])) == "images"
    assert panels.counted(terms("δ", [[0, 3, 1, 1], [0, 4, 1, 1]])) == "channels"
    assert panels.counted(terms("δ", [[0, 3, 1, 1], [1, 4, 1, 1]])) == "maps"


def test_a_cut_lies_around_the_largest_product_and_says_of_what() -> None:
    at = np.indices((9, 9)).reshape(2, -1).T
    values = np.ones(81)
    values[4 * 9 + 7] = -50
    terms = Terms("x", "w", np.insert(at, 0, 0, axis=1), np.insert(at, 0, 0, axis=1), values, np.ones(81))
    product = panels.parts(terms)[0].cut(3, 3).panels[2]
    assert product.values[1, 1] == -50
    assert product.part == "rows 4–6 of 9, columns 7–9 of 9"
    assert panels.parts(terms)[0].cut(9, 9).panels[2].part == ""


def test_the_channel_with_most_in_play_comes_first() -> None:
    map_ = np.arange(48.0).reshape(3, 4, 4)
    at = np.array([[1, 2, 2], [1, 2, 3], [2, 0, 0]])
    terms = Terms("δ", "w", at, at, map_[tuple(at.T)], np.array([5.0, 5.0, 1.0]))
    first, second, third = panels.channels(Grid("δ", map_, (0, 0, 0)), terms)
    assert (first.name, second.name, third.name) == tuple(f"δ[{c}, 0…3, 0…3]" for c in (1, 2, 0))
    assert np.argwhere(first.marked).tolist() == [[2, 2], [2, 3]]
    assert not third.marked.any()


def test_padding_behind_the_last_pixel_needs_the_size_of_the_whole() -> None:
    grid = Grid("window", np.zeros((1, 3, 3)), (0, 3, 3), whole=(1, 5, 4))
    assert panels.channels(grid)[0].outside.tolist() == [[False, True, True], [False, True, True], [True] * 3]
    assert not panels.channels(replace(grid, whole=()))[0].outside.any()


def test_grids_that_the_sum_shows_are_not_shown_again() -> None:
    terms = lattice(1, 2, 2, 0)
    order = np.lexsort(terms.left_at.T[::-1])
    terms = Terms("x", "w", terms.left_at[order], terms.right_at[order], terms.left_values[order], terms.right_values[order])
    grids = (Grid("x", terms.left_values.reshape(1, 2, 2)), Grid("y", np.zeros(3)))
    result = Steps(title="", layer="", operator="", direction="forward", at=(), formula="", lines=(), value=0.0, check=0.0,
                   terms=terms, grids=grids)
    assert [g.name for g in panels.other_grids(result)] == ["y"]
    assert [g.name for g in panels.other_grids(replace(result, terms=None))] == ["x", "y"]
