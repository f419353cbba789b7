"""Padding against torch.

Turns red if in pad.py the reflection `(n - 1) - np.abs(…)` becomes `n - np.abs(…)` (the edge pixel repeated).
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, UsageError
from convscope.geometry import Window
from convscope.operators.pad import Pad
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["constant", "reflect", "replicate", "circular"]), st.integers(1, 3), st.data())
def test_forward_and_gradient_equal_torch(mode, rank, data):
    size = tuple(data.draw(st.lists(st.integers(2, 5), min_size=rank, max_size=rank)))
    low, most = (-1, {"reflect": -1, "circular": 0}.get(mode, 1))
    each = [st.integers(low, min(n + most, 4)) for n in reversed(size)]
    sides = [(data.draw(side), data.draw(side)) for side in each]
    pad = tuple(side for pair in sides for side in pair)
    if mode != "constant":
        assume(min(pad) >= 0)  # torch refuses to crop in some of these modes
    assume(all(n + sum(pair) > 0 for n, pair in zip(reversed(size), sides, strict=True)))
    value = data.draw(st.sampled_from([None, 2.5])) if mode == "constant" else None
    hold(Pad(pad, mode, value), lambda x: F.pad(x, pad, mode, value), numbers(1, 2, 2, *size))


def test_leading_axes_can_be_padded_with_a_constant():
    pad = (1, -1, 0, 1, 1, 1, 0, 2)
    hold(Pad(pad, value=1.0), lambda x: F.pad(x, pad, value=1.0), numbers(1, 2, 3, 4, 4))


def test_windows_shift():
    assert Pad((1, 2, 0, 3)).windows((1, 2, 5, 5)) == (Window(padding=0), Window(padding=1))
    supported(Pad((1, 2, -1, 3)), numbers(1, 1, 2, 5, 5))


def test_read_older_names():
    assert Pad.read("reflection_pad2d", {"padding": [1, 1, 2, 2]}, ()) == Pad((1, 1, 2, 2), "reflect")
    assert Pad.read("replication_pad1d", {"padding": [1, 1]}, ()) == Pad((1, 1), "replicate")
    assert Pad.read("constant_pad_nd", {"pad": [1, 1], "value": 3.0}, ()) == Pad((1, 1), "constant", 3.0)


@pytest.mark.parametrize(("pad", "shape", "message"), [
    (Pad((5, 0), "reflect"), (1, 1, 5), "mode 'reflect' cannot pad 5 pixels by 5; at most 4"),
    (Pad((6, 0), "circular"), (1, 1, 5), "mode 'circular' cannot pad 5 pixels by 6; at most 5"),
    (Pad((-3, -2)), (1, 1, 5), "leaves nothing"),
    (Pad((1, 1) * 4), (1, 1, 5), "padding .* is for 4 axes"),
])
def test_what_does_not_fit_is_said(pad, shape, message):
    with pytest.raises(ShapeError, match=message):
        pad.forward(numbers(1, *shape))


def test_an_unknown_mode_is_said():
    with pytest.raises(UsageError, match="modes are constant, reflect, replicate, circular"):
        Pad((1, 1), "mirror")


def test_copies_add_up_and_constants_are_dropped():
    x, delta = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0, 100.0, 1000.0, 10000.0]]])
    mirrored = Pad((1, 1), "reflect").explain_gradient(0, (0, 0, 1), delta, x)
    assert texts(mirrored)[0] == "x[0, 0, 1] was copied to 3 places of y"
    assert mirrored.value == 1 + 100 + 10000
    assert texts(Pad((1, 1), value=2.0).explain_value((0, 0, 0), x)) == ["y[0, 0, 0] was not in x: it is filled with 2"]
    assert texts(Pad((1, 1), value=-np.inf).explain_value((0, 0, 1), x)) == ["y[0, 0, 1] = x[0, 0, 0] = 1"]
    assert Pad((1, 2, 0, 0)).gradients((1, 1, 4, 5))[0].sizes == "8 − 1 − 2 = 5"
