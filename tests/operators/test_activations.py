"""All elementwise activations, each file of `operators/` by name, against torch.

Mutations that turn this red: in relu.py `x > 0` to `x >= 0` (kinks); in gelu.py drop `x * share * (1 - share) * steep`;
in elu.py `expm1` to `exp`; in silu.py `1 + x` to `x`; in hardswish.py `x / 3` to `x / 6`; in prelu.py `axis != 1` to
`axis != 0`.
"""

from __future__ import annotations

from collections.abc import Callable

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
from convscope.operators.clamp import Clamp
from convscope.operators.elu import ELU
from convscope.operators.exp import Exp
from convscope.operators.gelu import GELU
from convscope.operators.hardsigmoid import Hardsigmoid
from convscope.operators.hardswish import Hardswish
from convscope.operators.leaky_relu import LeakyReLU
from convscope.operators.mish import Mish
from convscope.operators.neg import Neg
from convscope.operators.power import Power
from convscope.operators.prelu import PReLU
from convscope.operators.relu import ReLU
from convscope.operators.relu6 import ReLU6
from convscope.operators.sigmoid import Sigmoid
from convscope.operators.silu import SiLU
from convscope.operators.softplus import Softplus
from convscope.operators.sqrt import Sqrt
from convscope.operators.tanh import Tanh
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


class Calling(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def within(name: str, x: np.ndarray) -> np.ndarray:
    return np.asarray(DOMAIN.get(name, np.asarray)(x))


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
    "softplus": (Softplus(), F.softplus, nn.Softplus()),
    "softplus steep": (Softplus(2.0, 1.0), lambda x: F.softplus(x, 2.0, 1.0), nn.Softplus(2.0, 1.0)),
    "mish": (Mish(), F.mish, nn.Mish()),
    "clamp": (Clamp(-1.0, 3.0), lambda x: x.clamp(-1.0, 3.0), Calling(lambda x: x.clamp(-1.0, 3.0))),
    "clamp min": (Clamp(min=0.0), lambda x: x.clamp(min=0.0), Calling(lambda x: torch.clamp_min(x, 0.0))),
    "clamp max": (Clamp(max=1.0), lambda x: x.clamp(max=1.0), Calling(lambda x: torch.clamp_max(x, 1.0))),
    "pow": (Power(3.0), lambda x: x**3, Calling(lambda x: x**3)),
    "pow 0": (Power(0.0), lambda x: x**0, Calling(lambda x: torch.pow(x, 0.0))),
    "square": (Power(2.0), torch.square, Calling(torch.square)),
    "reciprocal": (Power(-1.0), torch.reciprocal, Calling(torch.reciprocal)),
    "rsqrt": (Power(-0.5), torch.rsqrt, Calling(torch.rsqrt)),
    "sqrt": (Sqrt(), torch.sqrt, Calling(torch.sqrt)),
    "exp": (Exp(), torch.exp, Calling(torch.exp)),
    "neg": (Neg(), torch.neg, Calling(torch.neg)),
}
DOMAIN = {  # where an operation is defined, and its numbers stay ones that float32 can hold
    "reciprocal": lambda x: np.where(x < 0, -1, 1) * (np.abs(x) + 0.1),
    "rsqrt": lambda x: np.abs(x) + 0.1,
    "sqrt": lambda x: np.abs(x) + 1e-3,
    "exp": lambda x: np.clip(x, -20, 20),
}
UNBOUNDED = (Power, Sqrt, Exp)  # infinite or not a number somewhere, as in PyTorch
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
        hold(operator, function, within(name, numbers(seed, *shape, scale=scale)), tolerance=LOOSE.get(name, 1e-10))

    agrees()


@pytest.mark.parametrize("name", CASES)
def test_takes_torchs_slope_at_a_kink(name: str) -> None:
    operator, function, _ = CASES[name]
    hold(operator, function, within(name, KINKS), tolerance=LOOSE.get(name, 1e-10))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_difference_quotients(name: str) -> None:
    hold_differences(CASES[name][0], within(name, numbers(3, 2, 5)))


@pytest.mark.parametrize("name", CASES)
def test_is_read_from_an_exported_graph(name: str) -> None:
    operator, _, module = CASES[name]
    read = recorded(module, torch.from_numpy(within(name, numbers(0, 2, 3, 4))), kind=type(operator))
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


@pytest.mark.parametrize("operator", [o for o, _, _ in CASES.values() if not isinstance(o, UNBOUNDED)])
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


def test_forms_that_nobody_speaks_for() -> None:
    assert operators.read("pow", {"self": 2}, ((3,),)) is None  # 2^x
    assert operators.read("clamp", {}, ((3,), (3,))) is None  # bounds that are arrays
    assert operators.read("clamp", {"min": None, "max": 1}, ((3,),)) == Clamp(max=1)
    with pytest.raises(UsageError, match=r"a clamp without bounds.*both None.*at least one"):
        Clamp()


def test_infinities_are_those_of_torch() -> None:
    for operator, function, x in ((Sqrt(), torch.sqrt, [0.0, -1.0]), (Exp(), torch.exp, [800.0]),
                                  (Power(-1.0), torch.reciprocal, [0.0]), (Power(0.5), lambda x: x**0.5, [0.0, -1.0])):
        hold(operator, function, np.array(x))


# --- written out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name != "hardsigmoid"])  # torch's own 1/6 is rounded to float32
def test_written_out_as_autograd_has_it(name: str) -> None:
    operator, function, _ = CASES[name]
    hold_written(operator, function, within(name, numbers(5, 2, 3, 4, scale=2.0)))
    hold_written(operator, function, within(name, np.array(0.7)))


def test_prelu_written_out() -> None:
    hold_written(PReLU(), F.prelu, numbers(5, 2, 3, 4), numbers(6, 3))
    hold_written(PReLU(), F.prelu, numbers(5, 2, 3), numbers(6, 1))
    working = PReLU().explain_value((0, 0), np.array([[-2.0]]), np.array([0.25]))
    assert texts(working) == ["x = −2 ≤ 0: y = weight · x = 0.25 · (−2) = −0.5"]
    assert PReLU().gradients((2, 3, 4), (3,))[1].sizes == "24/3 = 8 values meet each slope"


def test_a_blocked_relu_says_so() -> None:
    x, delta = np.array([-0.3, 2.0, 0.0]), np.array([5.0, 5.0, 5.0])
    blocked, passed, kink = (ReLU().explain_gradient(0, (i,), delta, x) for i in range(3))
    assert texts(blocked) == ["dy/dx = 1 if −0.3 > 0 else 0 = 0 (x = −0.3 ≤ 0: blocked)", "∂L/∂x = δ · dy/dx = 5 · 0 = 0"]
    assert texts(passed)[0] == "dy/dx = 1 if 2 > 0 else 0 = 1 (x = 2 > 0: δ passes unchanged)"
    assert texts(kink)[0].endswith("(x = 0 ≤ 0: blocked)")
    assert texts(ReLU6().explain_gradient(0, (0,), delta, x + 9))[0].endswith("= 0 (x = 8.7: blocked)")


def test_formulas_hold_the_numbers() -> None:
    x = np.array([-0.5])
    assert texts(ReLU().explain_value((0,), x)) == ["x = −0.5", "y = max(−0.5, 0) = 0"]
    assert texts(LeakyReLU(0.1).explain_value((0,), x))[1] == "y = −0.5 if −0.5 > 0 else 0.1 · (−0.5) = −0.05"
    assert texts(Clamp(-1, 1).explain_value((0,), x))[1] == "y = min(max(−0.5, −1), 1) = −0.5"
    assert texts(Power(2.0).explain_value((0,), x))[1] == "y = (−0.5)^2 = 0.25"
    assert "tanh(√(2/π)" in texts(GELU("tanh").explain_value((0,), x))[1]
    assert "erf(−0.5/√2)" in texts(GELU().explain_value((0,), x))[1]
    assert ReLU().gradients((2, 3))[0].sizes == "2·3 = 6 slopes"
