"""Dropout with a given mask, against torch's own draw.

Mutation that turns this red: in dropout.py `1 / (1 - self.p)` to `1 / self.p` (not seen at p = 0.5);
`>= self.p` to `< self.p` in `mask`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope import operators
from convscope.errors import ShapeError, UsageError
from convscope.operators.dropout import Dropout
from tests.operators.against_torch import SEEDS, close, hold_differences, numbers
from tests.operators.explained import hold_explained, texts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), SEEDS)
def test_agrees_with_torchs_draw(shape: list[int], p: float, seed: int) -> None:
    x, delta = numbers(seed, *shape), numbers(seed + 1, *shape)
    generator_state = torch.random.get_rng_state()
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    y, mask = torch.ops.aten.native_dropout(tensor, p, True)
    y.backward(torch.from_numpy(delta))
    torch.random.set_rng_state(generator_state)
    close(Dropout(p).forward(x, mask.numpy()), y.detach().numpy())
    grad, none = Dropout(p).backward(delta, x, mask.numpy())
    close(grad, tensor.grad.numpy())
    assert none is None


def test_evaluation_hands_on_a_copy() -> None:
    x = numbers(0, 3)
    y = Dropout(train=False).forward(x)
    assert (y == x).all()
    assert y is not x
    assert (Dropout(train=False).backward(x, x)[0] == x).all()


def test_keeps_float32_and_agrees_with_difference_quotients() -> None:
    mask = Dropout(0.3).mask((4, 5), seed=0)
    assert Dropout(0.3).forward(np.ones((4, 5), np.float32), mask).dtype == np.float32
    hold_differences(Dropout(0.3), numbers(0, 4, 5), mask)


def test_a_mask_keeps_the_share_it_should() -> None:
    mask = Dropout(0.2).mask((100, 100), seed=1)
    assert abs(mask.mean() - 0.8) < 0.02
    assert (mask == Dropout(0.2).mask((100, 100), seed=1)).all()


def test_is_read_from_exported_graphs() -> None:
    x = torch.ones(2, 3)
    for mode, wanted in ((True, Dropout(0.3)), (False, Dropout(0.3, train=False))):
        graph = torch.export.export(nn.Dropout(0.3).train(mode), (x,), strict=False).graph
        node = next(n for n in graph.nodes if n.target is torch.ops.aten.dropout.default)
        assert operators.read("dropout", {"p": node.args[1], "train": node.args[2]}, ((2, 3),)) == wanted
    assert operators.read("native_dropout", {"p": 0.3, "train": None}, ((2, 3),)) == Dropout(0.3)


def test_errors() -> None:
    with pytest.raises(UsageError, match=r"in training is random.*no mask was given.*Dropout\(p\)\.mask"):
        Dropout().forward(np.ones(3))
    with pytest.raises(ShapeError, match=r"a mask of shape \(2,\) for an input of shape \(3,\).*must be equal"):
        Dropout().forward(np.ones(3), np.ones(2))
    with pytest.raises(UsageError, match=r"a share p = 1\.5.*must lie in 0 … 1"):
        Dropout(1.5)


def test_worked_out() -> None:
    x, mask = np.array([3.0, 5.0]), np.array([True, False])
    assert texts(Dropout(0.25).explain_value((0,), x, mask)) == ["kept: y = x[0] / (1 − p) = 3 / 0.75 = 4"]
    assert texts(Dropout(0.25).explain_gradient(0, (1,), x, x, mask)) == ["∂L/∂x[1] = 0: this unit is silent"]
    outside = Dropout(train=False).explain_value((1,), x)
    assert texts(outside) == ["y = x[1] = 5: outside training dropout hands everything on"]
    hold_explained(Dropout(0.3), numbers(0, 3, 4), Dropout(0.3).mask((3, 4), seed=0))
    assert Dropout(0.2).gradients((3, 4), (3, 4))[0].sizes == "factor 1/(1 − 0.2) = 1.25"
