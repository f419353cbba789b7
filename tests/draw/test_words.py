"""words: numbers keep their meaning when they are shortened, and no word can steer a terminal.

Mutations that turn it red: `0.9995` -> `1` in `short`; `isprintable` test removed in `clean`; the exception for tiny numbers
removed in `aligned`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.draw import words
from convscope.results import Origin

SIZES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@given(st.integers(0, 10**17))
def test_short_is_within_half_a_percent_and_never_writes_1000(n: int) -> None:
    number, _, prefix = words.short(n).partition(" ")
    assert float(number.replace(",", "")) * SIZES.get(prefix, 1) == pytest.approx(n, rel=0.0051)
    assert float(number.replace(",", "")) < 1000 or prefix == "P"


@pytest.mark.parametrize(("n", "said"), [(999_499, "999 k"), (999_500, "1.00 M"), (9_995, "10.0 k"), (99_950, "100 k")])
def test_short_at_the_edges(n: int, said: str) -> None:
    assert words.short(n) == said


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=8))
def test_aligned_numbers_never_turn_to_zero_and_stay_close(values: list[float]) -> None:
    largest = max((abs(v) for v in values if np.isfinite(v)), default=0.0)
    for v, said in zip(values, words.aligned(np.array(values)), strict=True):
        if not np.isfinite(v):
            continue
        back = float(said.replace("−", "-").replace(",", ""))
        assert back == pytest.approx(v, rel=2e-3, abs=1e-3 * largest)
        assert (back == 0) == (v == 0)


def test_clean_leaves_nothing_that_steers() -> None:
    assert words.clean("a\x1b[2Jb\x07\x9b\u202ec\u2028\n") == "a�[2Jb���c� "


def test_values_of_every_sort() -> None:
    assert words.value(np.arange(3)) == "0 1 2"
    assert words.value(np.zeros((4, 5))) == "0 0 0 0 0 0 … (4×5)"
    assert words.value(np.array("x")) == "x"
    assert words.value(np.float32(-0.5)) == "−0.5"
    assert words.value(float("nan")) == "nan"
    assert words.value(np.bool_(False)) == "no"


def test_origin_says_what_is_known_and_no_more() -> None:
    assert words.origin(Origin()) == ""
    assert words.origin(Origin("Grad()", "ab", "", 0, {"torch": "2.13"})) == "Grad() · network ab · seed 0 · torch 2.13"
    assert words.shown(3, 3, "images") == ""
    assert words.shown(8, 2000, "images") == "8 of 2,000 images drawn"
