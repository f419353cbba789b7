"""One look at maps equals what float64 says of them, in any memory layout and rank, and after a ReLU without looking again.

Turns red: in `glance.position`, take the last best row; in `glance.look`, leave out `clamp_min(0)`; drop a `split(1)`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope import glance

SHAPES = [(3, 4), (2, 3, 7), (3, 5, 6, 4), (2, 70, 40, 30), (2, 3, 4, 3, 5), (1, 2, 1, 1)]


def maps(shape: tuple[int, ...], last: bool, levels: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    x = (x * levels).round() / levels if levels else x
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 2])
def test_everything_that_is_seen(shape: tuple[int, ...], last: bool, levels: int) -> None:
    x = maps(shape, last, levels)
    seen = glance.look(x)
    flat = x.double().flatten(2) if x.ndim > 2 else x.double()[:, :, None]
    assert torch.equal(seen.rows.amax(1).double(), flat.amax(2))
    assert seen.lows is not None
    assert torch.equal(seen.lows.double(), flat.amin(2))
    np.testing.assert_allclose(seen.means, flat.mean(2).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen.variances, flat.var(2, unbiased=False).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [0, 2])
def test_first_place_of_the_largest_value(shape: tuple[int, ...], last: bool, levels: int) -> None:
    x = maps(shape, last, levels)
    b, u = (a.flatten() for a in np.meshgrid(range(shape[0]), range(shape[1]), indexing="ij"))
    flat = (x.flatten(2) if x.ndim > 2 else x[:, :, None]).numpy()
    found = glance.position(x, glance.look(x), b, u)
    assert np.array_equal(found, flat[b, u].argmax(1))  # NumPy's argmax is the first by definition


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 3])
def test_a_relu_needs_no_second_look(shape: tuple[int, ...], last: bool) -> None:
    x = maps(shape, last)
    x[:, 0] = -x[:, 0].abs() - 1  # a unit that never fires: its largest value is zero, everywhere
    y = x.relu()
    known, fresh = glance.look(y, before=glance.look(x)), glance.look(y)
    assert torch.equal(known.rows, fresh.rows)
    assert known.lows is not None
    assert fresh.lows is not None
    assert torch.equal(known.lows, fresh.lows)
    np.testing.assert_array_equal(known.variances, fresh.variances)
    b, u = (a.flatten() for a in np.meshgrid(range(shape[0]), range(shape[1]), indexing="ij"))
    assert np.array_equal(glance.position(y, known, b, u), glance.position(y, fresh, b, u))


def test_moments_of_a_spread_far_from_zero() -> None:
    x = maps((4, 3, 9, 9), False) + 1000
    seen, wide = glance.look(x), x.double()
    assert np.allclose(seen.means, wide.mean((2, 3)), rtol=1e-7)
    assert np.allclose(seen.variances, wide.var((2, 3), unbiased=False), rtol=1e-3)


def test_only_what_is_asked() -> None:
    seen = glance.look(maps((2, 3, 4, 4), True), moments=False, low=False)
    assert (seen.means, seen.variances, seen.lows) == (None, None, None)


def test_map_means_are_means() -> None:
    x = maps((2, 3, 4, 5), True)
    assert np.allclose(glance.map_means(x), x.mean((2, 3)), atol=1e-6)
