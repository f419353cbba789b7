"""Window arithmetic against PyTorch and against counting.

Turns red: in `output_size`, drop `out - 1 if … else` (ceil mode); in `reach`, `window.padding - span` -> `window.padding`.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Field, Window, output_size, reach, size_formula, transposed_output_size

small = st.integers(1, 5)


@given(
    n=st.integers(1, 20),
    kernel=small,
    stride=small,
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    ceil=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_output_size_is_pytorchs(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> None:
    assume(padding <= kernel // 2)  # PyTorch's own limit for pooling
    assume(n + 2 * padding >= dilation * (kernel - 1) + 1)
    got = F.max_pool1d(torch.zeros(1, 1, n), kernel, stride, padding, dilation, ceil_mode=ceil).shape[-1]
    assert output_size(n, kernel, stride, padding, dilation, ceil) == got


@given(
    n=st.integers(1, 9),
    kernel=small,
    stride=small,
    padding=st.integers(0, 2),
    dilation=st.integers(1, 3),
    extra=st.integers(0, 2),
)
@settings(max_examples=80, deadline=None)
def test_transposed_size_is_pytorchs(n: int, kernel: int, stride: int, padding: int, dilation: int, extra: int) -> None:
    assume(extra < max(stride, dilation))
    assume((n - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1 > 0)
    got = F.conv_transpose1d(
        torch.zeros(1, 1, n), torch.zeros(1, 1, kernel), None, stride, padding, extra, 1, dilation
    ).shape[-1]
    assert transposed_output_size(n, kernel, stride, padding, dilation, extra) == got


def test_padding_at_one_end() -> None:
    assert output_size(10, 3, padding=1, padding_end=0) == 9


def test_windows_that_do_not_fit_say_how_much() -> None:
    with pytest.raises(
        ShapeError, match=r"a window of 5 pixels does not fit into 3 \+ 0 \+ 0; it is 2 too large; use a larger image"
    ):
        output_size(3, 5)
    with pytest.raises(ShapeError, match="a transposed window over 1 pixels has -1 outputs; padding 2 takes all away"):
        transposed_output_size(1, 3, padding=2)


def test_the_formula_shows_its_numbers() -> None:
    assert size_formula(224, 7, 2, 3, 1, 112) == "⌊(224 + 2·3 − 7)/2⌋ + 1 = 112"
    assert size_formula(7, 3, 2, 0, 2, 2, ceil_mode=True) == "⌈(7 + 2·0 − 5)/2⌉ + 1 = 2"


@given(
    kernel=small,
    stride=small,
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    first=st.integers(0, 8),
    width=st.integers(0, 3),
    transposed=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_reach_is_what_a_change_reaches(
    kernel: int, stride: int, padding: int, dilation: int, first: int, width: int, transposed: bool
) -> None:
    """The hull of all outputs that read a changed input, by counting."""
    n, out = 12, 20
    last = min(first + width, n - 1)
    hits = set()
    for i in range(out):
        for j in range(n):
            reads = (
                any(j * stride - padding + t * dilation == i for t in range(kernel))
                if transposed
                else any(i * stride - padding + t * dilation == j for t in range(kernel))
            )
            if reads and first <= j <= last:
                hits.add(i)
    got = reach(first, last, Window(kernel, stride, padding, dilation, transposed), out)
    if got is None:
        assert not hits
    else:
        assert hits <= set(range(got[0], got[1] + 1))
        if dilation == 1 and hits and (not transposed or kernel >= stride) and (transposed or stride <= kernel):
            assert got == (min(hits), max(hits))


def test_fields_go_through_windows() -> None:
    field = Field().through(Window(kernel=7, stride=2, padding=3)).through(Window(kernel=3, stride=2, padding=1))
    assert field == Field(11, Fraction(4), Fraction(-5))
    assert field.centre == 0
    assert field.span(0, 100) == (0, 6)
    assert field.span(40, 100) == (100, 100)  # beyond the image: nothing
    assert field.coverage(22) == 0.5
    assert field.coverage(5) == 1.0


def test_whole_stays_whole() -> None:
    field = Field().through(WHOLE).through(Window(3))
    assert (field.size, field.centre, field.span(5, 9), field.coverage(9)) == (None, None, (0, 9), 1.0)


def test_enlarging_makes_a_hull() -> None:
    """Nearest-neighbour ×2 after a pooling of 2: position 1 still sees the two pixels of the first pool."""
    field = Field().through(Window(2, 2)).through(Window(2, 2, transposed=True))
    assert not field.aligned
    assert field.stride == 1
    first, stop = field.span(1, 8)
    assert first <= 0
    assert stop >= 2


def test_branches_meet_in_their_hull() -> None:
    a, b = Field(3, Fraction(2), Fraction(-1)), Field(1, Fraction(2), Fraction(4))
    assert a.merge(b) == b.merge(a) == Field(6, Fraction(2), Fraction(-1))
    assert not a.merge(Field(1, Fraction(1))).aligned
    assert a.merge(Field(None)).size is None
