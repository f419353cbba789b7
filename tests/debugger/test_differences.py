"""Finite differences: right backward passes pass, kinks accuse nobody, wrong ones are shown number by number.

Mutation: leave out `* weights` of the loss (`(o.double()).sum()`) and a softmax's gradient is zero everywhere: this file
turns red. So it does where `_slopes` always answers that there is no kink.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.debugger.differences import differences
from convscope.errors import DataError, UsageError


class Square(torch.autograd.Function):
    """x², with a factor in the backward pass."""

    factor = 2.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return Square.factor * ctx.saved_tensors[0] * grads[0]


class Sloppy(torch.autograd.Function):
    """x · w, whose gradient by w forgets one number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, w = ctx.saved_tensors
        by_w = x * grads[0]
        by_w[1, 2] = 0
        return w * grads[0], by_w


@pytest.mark.parametrize(
    "function",
    [
        torch.tanh,
        torch.relu,
        torch.nn.Softmax(1),
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.MaxPool2d(2),
        nn.GELU(),
        nn.LeakyReLU(),
    ],
    ids=lambda f: getattr(f, "__name__", type(f).__name__),
)
def test_what_torch_derives_is_right(function: Any) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    found = differences(function, x)
    assert [f.severity for f in found.findings] == ["fine"]
    assert found.checked["relative"].max() < 1e-6


def test_a_kink_accuses_nobody() -> None:
    found = differences(torch.relu, torch.tensor([0.0, 2.0, -2.0, 0.0]))
    assert found.findings[0].severity == "fine"
    assert found.checked["kinks"].tolist() == [2]


def test_a_wrong_factor_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert differences(Square, x).findings[0].severity == "fine"
    monkeypatch.setattr(Square, "factor", -2.0)
    found = cs.verify(Square, x).findings[0]
    assert (found.severity, found.where) == ("error", "input 0")
    assert found.cause == "it is -1 times what finite differences give: the sign is flipped"
    assert found.evidence["relative difference"] == pytest.approx(2, abs=1e-6)
    assert float(found.evidence["backward pass"]) == pytest.approx(-float(found.evidence["finite differences"]), rel=1e-6)


def test_the_number_that_is_off_is_named() -> None:
    made = torch.Generator().manual_seed(0)
    found = differences(Sloppy, (torch.randn(3, 4, generator=made), torch.randn(3, 4, generator=made)))
    assert [(f.where, f.evidence["at"], f.evidence["numbers that are off"]) for f in found.findings] == [
        ("input 1", "1, 2", 1)
    ]
    assert found.checked["verdict"].tolist() == ["right", "wrong"]


def test_the_module_and_its_input_stay_as_they_are() -> None:
    module, x = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.randn(4, 3)
    before = {k: v.clone() for k, v in module.state_dict().items()} | {"x": x.clone()}
    state = torch.random.get_rng_state()
    differences(module, x)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in (module.state_dict() | {"x": x}).items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in module.parameters())


def test_what_cannot_be_checked_is_explained() -> None:
    with pytest.raises(UsageError, match="3 cannot be checked"):
        differences(3, torch.ones(2))
    with pytest.raises(UsageError, match="has no gradient; its output does not depend on its inputs"):
        differences(lambda x: x.detach() * 2, torch.ones(2))
    with pytest.raises(DataError, match="input 0 is not finite"):
        differences(torch.tanh, torch.tensor([float("nan")]))
    with pytest.raises(DataError, match="its output is not finite"):
        differences(torch.log, torch.tensor([0.0]))
