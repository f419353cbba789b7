"""Interpolation against torch, for sizes and for scale factors.

Turns red if in upsample.py `n / m if factor is None else 1 / factor` becomes `n / m` (a fractional scale is ignored).
"""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscope.errors import UsageError
from convscope.geometry import Window
from convscope.operators.upsample import Upsample
from tests.operators.against_torch import numbers
from tests.operators.explained import hold, texts
from tests.operators.support import supported

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["nearest", "nearest-exact", "linear", "aligned"]), st.integers(1, 3), st.data())
def test_forward_and_gradient_equal_torch(mode, rank, data):
    size = tuple(data.draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank)))
    x = numbers(1, 2, 2, *size)
    linear = mode in ("linear", "aligned")
    named = {"mode": LINEAR[rank] if linear else mode} | ({"align_corners": mode == "aligned"} if linear else {})
    ours = {"mode": "linear" if linear else mode, "align_corners": mode == "aligned"}
    if data.draw(st.booleans()):
        out = tuple(data.draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank)))
        hold(Upsample(out, **ours), lambda x: F.interpolate(x, size=out, **named), x)
    else:
        each = st.sampled_from([1.0, 1.3, 1.7, 2.0, 2.2, 2.4, 2.5, 3.0])
        factors = tuple(data.draw(st.lists(each, min_size=rank, max_size=rank)))
        # torch's nearest kernels (chosen by layout) contradict each other where a fraction gives the size n or 2n
        sane = (f == int(f) or int(n * f) not in (n, 2 * n) for n, f in zip(size, factors, strict=True))
        assume(mode != "nearest" or all(sane))
        hold(Upsample(None, factors, **ours), lambda x: F.interpolate(x, scale_factor=factors, **named), x)


@pytest.mark.parametrize("op", [Upsample(None, 2.0), Upsample(None, 3.0), Upsample((10, 12)),
                                Upsample(None, 2.0, "nearest-exact")])
def test_windows_of_nearest_are_where_the_gradient_is(op):
    supported(op, numbers(1, 1, 2, 5, 6))


@pytest.mark.parametrize("op", [Upsample(None, 2.0, "linear"), Upsample(None, 3.0, "linear"), Upsample(None, 4.0, "linear"),
                                Upsample((9, 11), None, "linear", True), Upsample((13, 16), None, "linear", True)])
def test_windows_of_linear_are_where_the_gradient_is(op):
    x = numbers(1, 1, 2, 5, 6)
    supported(op, x, exact=False)
    # Near the border positions are cut off; a pixel in the middle must write to all of its window.
    window = op.windows(x.shape)[0]
    matrix = op._matrices(x.shape)[0]
    middle = x.shape[2] // 2
    written = [i for i in range(matrix.shape[0]) if matrix[i, middle] != 0]
    first = middle * window.stride - window.padding
    assert written == list(range(first, first + window.kernel))


def test_downscaling_and_odd_ratios():
    assert Upsample((2, 6)).windows((1, 1, 4, 6)) == (Window(1, 2), Window())
    supported(Upsample((2, 3)), numbers(1, 1, 1, 4, 6))
    assert Upsample((7,)).windows((1, 1, 4)) == Upsample((2,), mode="linear").windows((1, 1, 4)) == ("whole",)


def test_read_from_the_names_in_graphs():
    read = Upsample.read
    assert read("upsample_nearest2d", {"output_size": None, "scale_factors": [2.0, 2.0]}, ()) == Upsample(None, (2.0, 2.0))
    plain = {"output_size": [4, 4], "align_corners": True, "scales_h": None}
    assert read("upsample_bilinear2d", plain, ()) == Upsample((4, 4), None, "linear", True)
    exact = {"output_size": [4], "scales": 2.0}
    assert read("_upsample_nearest_exact1d", exact, ()) == Upsample((4,), (2.0,), "nearest-exact")


def test_an_unknown_mode_or_no_size_is_said():
    with pytest.raises(UsageError, match="modes are nearest, nearest-exact, linear"):
        Upsample((2, 2), mode="bicubic")
    with pytest.raises(UsageError, match="give output_size or scale_factors"):
        Upsample()


def test_where_an_output_looks():
    value = Upsample((4,), mode="linear").explain_value((0, 0, 1), np.array([[[1.0, 3.0]]]))
    assert texts(value) == ["positions: 1 of y looks at 0.75·0 + 0.25·1 = 0.25 of x", "Σ of 2 products = 1.5", "y = 1.5"]
    assert Upsample((4, 2)).gradients((1, 1, 2, 2))[0].sizes == "rows: 4 → 2; columns: 2 → 2"
