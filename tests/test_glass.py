"""Glass-box networks: values and gradients by name, shared readers, calls replaced, only what is wanted.

Mutations that turn this red (each tried): in glass.py `found[name] + gradient` -> `gradient` · `_on_the_way_to` returns
`set(wanted)` · `astype` casts whole numbers too.
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import UsageError
from convscope.glass import INPUT, Call, GlassBox
from convscope.operators.add import Add
from convscope.operators.conv import Conv
from convscope.operators.linear import Linear
from convscope.operators.relu import ReLU

W, V = np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([[2.0, 1.0]])
CALLS = (
    Call("fc1", Linear(), (INPUT, "w", None)),
    Call("relu", ReLU(), ("fc1",)),
    Call("sum", Add(), ("relu", "fc1")),  # fc1 is read twice
    Call("fc2", Linear(), ("sum", "v")),
)
BOX = GlassBox("skip", CALLS, {"w": W, "v": V, "steps": np.array(3)}, "fc2", frozenset({"w", "v"}))
X = np.array([[3.0, 1.0], [-1.0, 2.0]])


def test_a_value_that_is_read_twice_gets_both_gradients() -> None:
    values = BOX.forward(X)
    found = BOX.backward(values, {"fc2": np.ones((2, 1))})
    fc1 = X @ W.T
    assert np.allclose(values["fc2"], (np.maximum(fc1, 0) + fc1) @ V.T)
    to_fc1 = V * (1 + (fc1 > 0))
    assert np.allclose(found["fc1"], to_fc1)
    assert np.allclose(found["w"], to_fc1.T @ X)
    assert np.allclose(found[INPUT], to_fc1 @ W)


def test_what_nobody_wants_is_left_out() -> None:
    values, delta = BOX.forward(X), {"fc2": np.ones((2, 1))}
    whole = BOX.backward(values, delta)
    assert "fc1" not in BOX.backward(values, delta, wanted={"v"})  # the call that reads v is the last: nothing before it
    some = BOX.backward(values, delta, wanted=BOX.learned)
    assert all(np.array_equal(some[name], whole[name]) for name in ("w", "v"))


def test_a_first_convolution_skips_the_image() -> None:
    x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    box = GlassBox("conv", (Call("conv", Conv(), (INPUT, "k")),), {"k": weight}, "conv", frozenset({"k"}))
    found = box.backward(box.forward(x), {"conv": np.ones((1, 1, 2, 2))}, wanted={"k"})
    assert INPUT not in found
    assert found["k"].tolist() == [[[[4.0, 4.0], [4.0, 4.0]]]]
    assert INPUT in box.backward(box.forward(x), {"conv": np.ones((1, 1, 2, 2))}, wanted={INPUT})


def test_one_call_may_go_backward_in_another_way() -> None:
    values, delta = BOX.forward(X), {"fc2": np.ones((2, 1))}
    found = BOX.backward(values, delta, {"relu": lambda operator, delta, x: (delta,)})
    assert np.allclose(found["fc1"], 2 * V * np.ones((2, 1)))  # the derivative of ReLU forgotten


def test_other_precisions_leave_counts_alone() -> None:
    single = BOX.astype(np.float32)
    assert single.parameters["w"].dtype == np.float32
    assert single.parameters["steps"].dtype == BOX.parameters["steps"].dtype
    assert single.forward(X.astype(np.float32))["fc2"].dtype == np.float32
    assert BOX.parameters["w"].dtype == np.float64


def test_calls_by_name() -> None:
    assert BOX.call("relu") is CALLS[1]
    with pytest.raises(UsageError, match="no call writes 'relu2' in skip; it has 4 calls; use `calls`"):
        BOX.call("relu2")
