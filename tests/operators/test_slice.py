"""Slices and single entries against torch.

Turns red if in slice.py `padding=-slice(self.start, None).indices(x[axis])[0]` loses its minus.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError
from convscope.geometry import Window
from convscope.operators.slice import Select, Slice
from tests.operators.against_torch import numbers
from tests.operators.explained import hold
from tests.operators.support import supported

BOUND = st.one_of(st.none(), st.integers(-8, 8))


@settings(max_examples=150, deadline=None)
@given(st.integers(-3, 2), BOUND, BOUND, st.integers(1, 3))
def test_slice_equals_torch(dim, start, end, step):
    part = (slice(None),) * (dim % 3) + (slice(start, end, step),)
    hold(Slice(dim, start, end, step), lambda x: x[part], numbers(1, 4, 5, 6))


@pytest.mark.parametrize(("dim", "index"), [(0, 0), (1, -1), (-1, 3), (2, -6)])
def test_select_equals_torch(dim, index):
    hold(Select(dim, index), lambda x: x.select(dim, index), numbers(1, 4, 5, 6))


@pytest.mark.parametrize("op", [Slice(2, 1, None, 2), Slice(3, -3, None), Slice(2, 2, 4), Slice(1, 1)])
def test_windows_are_where_the_gradient_is(op):
    supported(op, numbers(1, 1, 3, 6, 5))


def test_read_as_graphs_write_it():
    read = Slice.read("slice", {"dim": 1, "start": 1, "end": 9223372036854775807}, ((1, 4),))
    assert read.output_shape((1, 4)) == (1, 3)
    assert Select.read("select", {"dim": 1, "index": 2}, ((1, 4),)) == Select(1, 2)
    assert Select(3, -1).windows((1, 2, 4, 5)) == (Window(), Window(padding=-4))


def test_a_symbol_of_the_graph_stays_unknown():
    assert Slice(2, 0, "s1//2").windows((1, 2, 8)) == (Window(),)
    assert Slice(2, "s1//2").windows((1, 2, 8)) == ("whole",)
    with pytest.raises(ShapeError, match="its ends are symbols of the graph"):
        Slice(2, 0, "s1//2").output_shape((1, 2, 8))


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match=r"no axis 3 in \(1, 2, 8\)"):
        Slice(3).output_shape((1, 2, 8))
    with pytest.raises(ShapeError, match="no entry 2 along axis 1"):
        Select(1, 2).forward(numbers(1, 1, 2, 8))
