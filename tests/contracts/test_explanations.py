"""What every operation promises when its arithmetic is written out, over all of them by discovery.

A number worked out is the number that forward or backward gives; the products that are listed add up to a line; the
gradients that are announced are those that backward returns.

Mutation that turns this red: in operators/_window_terms.py `[(room // w.stride, t) for` to
`[(room // w.stride, w.kernel - 1 - t) for` (a kernel flipped where it must not be).
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope import operators
from convscope.errors import UsageError
from tests.contracts.test_operators import example
from tests.operators.against_torch import several
from tests.operators.explained import deltas_for, hold_gradients, hold_values

ALL = operators.all_operators()


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_value_worked_out_is_the_value(cls):
    operator, arrays = example(cls)
    hold_values(operator, *arrays, places=4)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_gradient_worked_out_is_the_gradient(cls):
    operator, arrays = example(cls)
    hold_gradients(operator, *arrays, places=4)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_what_has_no_gradient_is_said(cls):
    operator, arrays = example(cls)
    delta = deltas_for(operator, arrays)
    for which, gradient in enumerate(operator.backward(delta, *arrays)):
        if gradient is None:
            with pytest.raises(UsageError, match="has no gradient"):
                operator.explain_gradient(which, (0,) * arrays[which].ndim, delta, *arrays)


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
        if isinstance(each, np.ndarray):
            each.flags.writeable = False  # as the arrays are: whoever writes into them raises
    y = several(operator.forward(*arrays))[0]
    operator.explain_value((0,) * np.ndim(y), *arrays)
    operator.explain_gradient(0, (0,) * arrays[0].ndim, delta, *arrays)
