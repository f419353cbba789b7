"""What every operation promises when its arithmetic is written out, over all of them by discovery.

A number worked out is the number that forward or backward gives; the products that are listed add up to a line; the
gradients that are announced are those that backward returns.

Mutation that turns this red: in operators/_window_terms.py `room // w.stride, t` to `room // w.stride, w.kernel - 1 - t`
(a kernel flipped where it must not be).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convscope import operators
from convscope.errors import UsageError
from convscope.operators import Operator
from convscope.operators._working import Working
from tests.contracts.test_operators import example
from tests.operators.against_torch import close, numbers, several

ALL = operators.all_operators()
PLACES = 4  # random numbers looked at per array


def positions(shape: tuple[int, ...], seed: int) -> list[tuple[int, ...]]:
    """A few places of an array of `shape`, the last among them."""
    flat = np.random.default_rng(seed).choice(int(np.prod(shape)), size=min(PLACES, int(np.prod(shape))), replace=False)
    return [tuple(map(int, np.unravel_index(i, shape))) for i in {*flat.tolist(), int(np.prod(shape)) - 1}]


def deltas_for(operator: Operator, arrays: list[Any]) -> Any:
    """δ for every result, alone where there is one."""
    found = tuple(numbers(i + 5, *np.shape(y)) for i, y in enumerate(several(operator.forward(*arrays))))
    return found if len(found) > 1 else found[0]


def hold(working: Working, value: Any, what: str) -> None:
    """The working comes to `value`, step by step."""
    assert working.formula, what
    assert working.lines, what
    assert all(isinstance(line.value, float) for line in working.lines), f"{what}: {working.lines}"
    close(working.value, value, what)
    assert working.lines[-1].value == working.value
    if working.terms is not None:
        made = working.terms
        assert len(made.left_at) == len(made.right_at) == len(made.left_values) == len(made.right_values), what
        total = float(made.products.sum())
        gaps = [abs(line.value - total) for line in working.lines]
        assert min(gaps) <= 1e-10 * max(1.0, abs(total)), f"{what}: no line claims the terms' sum {total}: {working.lines}"
    for grid in working.grids:
        assert np.ndim(grid.values) >= 1, what
        assert len(grid.start) in (0, np.ndim(grid.values)), f"{what}: {grid.name} starts at {grid.start}"
        assert len(grid.step) in (0, np.ndim(grid.values)), what
        for cell in grid.marked:
            assert len(cell) == np.ndim(grid.values), f"{what}: cell {cell} of {grid.name}"
            assert all(0 <= i < n for i, n in zip(cell, np.shape(grid.values), strict=True)), what


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_value_worked_out_is_the_value(cls):
    operator, arrays = example(cls)
    y = several(operator.forward(*arrays))[0]
    for at in positions(np.shape(y), 1):
        hold(operator.explain_value(at, *arrays), np.asarray(y)[at], f"{operator} at {at}")


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_gradient_worked_out_is_the_gradient(cls):
    operator, arrays = example(cls)
    delta = deltas_for(operator, arrays)
    for which, gradient in enumerate(operator.backward(delta, *arrays)):
        if gradient is None:
            with pytest.raises(UsageError, match="has no gradient"):
                operator.explain_gradient(which, (0,) * arrays[which].ndim, delta, *arrays)
            continue
        for at in positions(gradient.shape, which):
            working = operator.explain_gradient(which, at, delta, *arrays)
            hold(working, gradient[at], f"{operator}, array {which} at {at}")


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_gradient_is_announced_with_its_size(cls):
    operator, arrays = example(cls)
    gradients = operator.backward(deltas_for(operator, arrays), *arrays)
    announced = operator.gradients(*(a.shape for a in arrays))
    assert cls.backward_formula
    assert [g.shape for g in announced] == [g.shape for g in gradients if g is not None]
    names = [g.of for g in announced]
    assert len(set(names)) == len(names)
    known = [n for n, g in zip(cls.arrays, gradients, strict=False) if g is not None and n != "…"]
    assert [n for n in names if n in cls.arrays] == known
    assert all(g.how for g in announced)
    assert all(isinstance(g.macs, int) and g.macs >= 0 for g in announced)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_nothing_that_is_given_is_changed(cls):
    operator, arrays = example(cls)
    delta = deltas_for(operator, arrays)
    for each in several(delta):
        each.flags.writeable = False  # as the arrays are: whoever writes into them raises
    y = several(operator.forward(*arrays))[0]
    operator.explain_value((0,) * np.ndim(y), *arrays)
    operator.explain_gradient(0, (0,) * arrays[0].ndim, delta, *arrays)
