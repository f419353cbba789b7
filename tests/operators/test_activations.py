"""All elementwise activations, each file of `operators/` by name, against torch.

Mutations that turn this red: in relu.py `x > 0` to `x >= 0` (kinks); in gelu.py drop `x * share * (1 - share) * steep`;
in elu.py `expm1` to `exp`; in silu.py `1 + x` to `x`; in hardswish.py `x / 3` to `x / 6`; in prelu.py `axis != 1` to
`axis != 0`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope import operators
from convscope.errors import ShapeError, UsageError
from convscope.operators._elementwise import Elementwise
from convscope.operators.elu import ELU
from convscope.operators.gelu import GELU
from convscope.operators.hardsigmoid import Hardsigmoid
from convscope.operators.hardswish import Hardswish
from convscope.operators.leaky_relu import LeakyReLU
from convscope.operators.prelu import PReLU
from convscope.operators.relu import ReLU
from convscope.operators.relu6 import ReLU6
from convscope.operators.sigmoid import Sigmoid
from convscope.operators.silu import SiLU
from convscope.operators.tanh import Tanh
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded

CASES = {  # name: (operator, torch's function, torch's module)
    "relu": (ReLU(), F.relu, nn.ReLU()),
    "relu in place": (ReLU(), F.relu, nn.Sequential(nn.Tanh(), nn.ReLU(inplace=True))),
    "leaky_relu": (LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2), nn.LeakyReLU(0.2)),
    "relu6": (ReLU6(), F.relu6, nn.ReLU6()),
    "hardtanh": (ReLU6(-1.0, 1.0), F.hardtanh, nn.Hardtanh()),
    "elu": (ELU(0.7), lambda x: F.elu(x, 0.7), nn.ELU(0.7)),
    "selu": (ELU(1.6732632423543772, 1.0507009873554805), F.selu, nn.SELU()),
    "celu": (ELU(0.5, 1.0, 2.0), lambda x: F.celu(x, 0.5), nn.CELU(0.5)),
    "gelu": (GELU(), F.gelu, nn.GELU()),
    "gelu tanh": (GELU("tanh"), lambda x: F.gelu(x, approximate="tanh"), nn.GELU("tanh")),
    "silu": (SiLU(), F.silu, nn.SiLU()),
    "hardswish": (Hardswish(), F.hardswish, nn.Hardswish()),
    "hardsigmoid": (Hardsigmoid(), F.hardsigmoid, nn.Hardsigmoid()),
    "sigmoid": (Sigmoid(), F.sigmoid, nn.Sigmoid()),
    "tanh": (Tanh(), F.tanh, nn.Tanh()),
}
LOOSE = {"hardsigmoid": 1e-7}  # in float64 too, torch's backward multiplies by 1/6 rounded to float32; ours is exact
KINKS = np.array([-6.0, -3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0])


def test_every_elementwise_file_is_listed_here() -> None:
    found = {cls for cls in operators.all_operators() if issubclass(cls, Elementwise)}
    assert found == {type(operator) for operator, _, _ in CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch(name: str) -> None:
    operator, function, _ = CASES[name]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=0, max_size=4), SEEDS, st.sampled_from([0.1, 1.0, 10.0, 200.0]))
    def agrees(shape: list[int], seed: int, scale: float) -> None:
        hold(operator, function, numbers(seed, *shape, scale=scale), tolerance=LOOSE.get(name, 1e-10))

    agrees()


@pytest.mark.parametrize("name", CASES)
def test_takes_torchs_slope_at_a_kink(name: str) -> None:
    operator, function, _ = CASES[name]
    hold(operator, function, KINKS, tolerance=LOOSE.get(name, 1e-10))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_difference_quotients(name: str) -> None:
    hold_differences(CASES[name][0], numbers(3, 2, 5))


@pytest.mark.parametrize("name", CASES)
def test_is_read_from_an_exported_graph(name: str) -> None:
    operator, _, module = CASES[name]
    read = recorded(module, torch.from_numpy(numbers(0, 2, 3, 4)), kind=type(operator))
    assert read == operator


def test_arguments_that_the_graph_leaves_out() -> None:
    assert operators.read("hardtanh", {}, ((2, 3),)) == ReLU6(-1.0, 1.0)  # ATen's defaults, not those of ReLU6
    assert operators.read("elu", {}, ((2, 3),)) == ELU()


@pytest.mark.parametrize("name", CASES)
def test_costs_nothing_and_looks_at_one_position(name: str) -> None:
    operator = CASES[name][0]
    assert operator.macs((2, 3, 4, 5)) == operator.parameters((2, 3, 4, 5)) == 0
    assert [w.kernel for w in operator.windows((2, 3, 4, 5))] == [1, 1]


def test_integers_become_floats() -> None:
    assert Sigmoid().forward(np.array([0, 1])).dtype == np.float64


@pytest.mark.parametrize("operator", [operator for operator, _, _ in CASES.values()])
def test_far_values_raise_no_warning(operator: Elementwise) -> None:
    far = np.array([-1e4, 1e4])
    assert np.isfinite(operator.forward(far)).all()
    assert np.isfinite(operator.backward(np.ones(2), far)[0]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(1, 4), st.lists(st.integers(1, 3), max_size=3), st.booleans(), SEEDS)
def test_prelu(batch: int, channels: int, rest: list[int], single: bool, seed: int) -> None:
    hold(PReLU(), F.prelu, numbers(seed, batch, channels, *rest), numbers(seed, 1 if single else channels))


def test_prelu_elsewhere() -> None:
    hold(PReLU(), F.prelu, KINKS.reshape(1, 8), np.full(8, 0.3))
    hold_differences(PReLU(), numbers(1, 2, 3, 2), numbers(2, 3))
    assert PReLU().parameters((2, 3, 4, 5), (3,)) == 3
    recorded(nn.PReLU(3), torch.from_numpy(numbers(0, 2, 3, 4)), kind=PReLU)
    with pytest.raises(ShapeError, match=r"2 slopes for 3 channels.*one slope, or one a channel"):
        PReLU().forward(numbers(0, 1, 3), np.ones(2))


def test_unknown_gelu() -> None:
    with pytest.raises(UsageError, match=r"no GELU named 'erf'.*'none' or 'tanh'"):
        GELU("erf")
