"""Hold arithmetic that is written out against the numbers it explains: those of forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convscope.operators import Operator
from convscope.operators._working import Working
from tests.operators import against_torch
from tests.operators.against_torch import close, numbers, several


def hold(operator: Operator, function: Callable[..., Any], *arrays: Any) -> None:
    """As `against_torch.hold`, and the arithmetic that is written out comes to the same numbers."""
    against_torch.hold(operator, function, *arrays)
    hold_explained(operator, *arrays)


def positions(shape: tuple[int, ...], seed: int, places: int) -> list[tuple[int, ...]]:
    """A few random places of an array of `shape`, the last one among them."""
    total = int(np.prod(shape))
    if total == 0:
        return []
    flat = np.random.default_rng(seed).choice(total, size=min(places, total), replace=False)
    return [tuple(map(int, np.unravel_index(i, shape))) for i in {*flat.tolist(), total - 1}]


def deltas_for(operator: Operator, arrays: Any) -> Any:
    """δ for every result, alone where there is one."""
    found = tuple(numbers(i + 5, *np.shape(y)) for i, y in enumerate(several(operator.forward(*arrays))))
    return found if len(found) > 1 else found[0]


def hold_working(working: Working, value: Any, what: str) -> None:
    """The working comes to `value`, and what it lists adds up to what its lines say."""
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


def hold_values(operator: Operator, *arrays: Any, places: int = 2) -> None:
    """explain_value against forward, at random places."""
    y = np.asarray(several(operator.forward(*arrays))[0])
    for at in positions(y.shape, 1, places):
        hold_working(operator.explain_value(at, *arrays), y[at], f"{operator} at {at}")


def hold_gradients(operator: Operator, *arrays: Any, places: int = 2) -> None:
    """explain_gradient against backward, for every array that has a gradient, at random places."""
    delta = deltas_for(operator, arrays)
    for which, gradient in enumerate(operator.backward(delta, *arrays)):
        if gradient is None:
            continue
        for at in positions(gradient.shape, which, places):
            working = operator.explain_gradient(which, at, delta, *arrays)
            hold_working(working, gradient[at], f"{operator}, array {which} at {at}")


def hold_explained(operator: Operator, *arrays: Any, places: int = 2) -> None:
    """Both."""
    hold_values(operator, *arrays, places=places)
    hold_gradients(operator, *arrays, places=places)


def texts(working: Working) -> list[str]:
    return [line.text for line in working.lines]
