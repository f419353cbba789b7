"""Two layers as one: by hand, over random sizes, its lines of PyTorch too; and the reason where it would differ.

Turns red: in `editing/weights/folding.py`, `(norm.running_var.double() + norm.eps).rsqrt()` ->
`norm.running_var.double().rsqrt()`;
or drop the check `pads(b) and b.padding_mode == "zeros"` of the norm before a convolution.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.editing.weights.folding import Folded, folded


def live(*layers: nn.Module) -> nn.Sequential:
    """In eval, float64, every norm with statistics that do something."""
    for m in layers:
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            assert m.running_mean is not None
            assert m.running_var is not None
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.01, 2)
            if m.affine:
                nn.init.uniform_(m.weight, -1.5, 1.5)
                nn.init.normal_(m.bias)
    return nn.Sequential(*layers).double().eval()


def one_of(a: nn.Module, b: nn.Module, x: Tensor) -> Folded:
    """The two as one, held against the two, and so are the lines of PyTorch that it says."""
    with torch.no_grad():
        between = a(x)
        found = folded(a, b, tuple(between.shape[1:]))
        assert isinstance(found, Folded), found
        want = b(between)
        torch.testing.assert_close(found.module(x), want, rtol=1e-10, atol=1e-10)
        one = copy.deepcopy(found.module)
        for p in one.parameters():
            p.zero_()
        space: dict[str, Any] = {"a": a, "b": b, "one": one, "torch": torch}
        exec("\n".join(found.code), space)
        torch.testing.assert_close(one(x), want, rtol=1e-10, atol=1e-10)
    return found


def test_by_hand() -> None:
    """W = 2, b = 1, then (y − 3)/√(15 + 1)·8 + 5 = 2·y − 1: the one is 4·x + 1."""
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)
    for tensor, value in ((conv.weight, 2.0), (conv.bias, 1.0), (norm.running_mean, 3.0), (norm.running_var, 15.0),
                          (norm.weight, 8.0), (norm.bias, 5.0)):
        assert tensor is not None
        nn.init.constant_(tensor, value)
    found = folded(conv, norm.eval(), (1, 4, 4))
    assert isinstance(found, Folded)
    assert (found.module.weight.item(), found.module.bias.item()) == (4.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(groups=st.sampled_from([1, 2, 4]), kernel=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2),
       bias=st.booleans(), affine=st.booleans(), transposed=st.booleans(), seed=st.integers(0, 99))
def test_norm_after_any_convolution(groups: int, kernel: int, stride: int, padding: int, bias: bool, affine: bool,
                                    transposed: bool, seed: int) -> None:
    torch.manual_seed(seed)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(4, 8, kernel, stride, padding, groups=groups, bias=bias)
    a, b = live(conv, nn.BatchNorm2d(8, affine=affine, eps=0.1))
    one_of(a, b, torch.randn(2, 4, 7, 6).double())


@pytest.mark.parametrize(("first", "second", "size"), [
    (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, 2, groups=2), (4, 7, 6)),
    (nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 6, 3, bias=False), (4, 7, 6)),
    (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 7, 6)),
    (nn.BatchNorm1d(4), nn.Linear(4, 3), (4,)),
    (nn.Linear(4, 3), nn.BatchNorm1d(3), (4,)),
    (nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3, affine=False), (4,)),
    (nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), (2, 9)),
    (nn.Conv3d(2, 3, 2, bias=False), nn.BatchNorm3d(3), (2, 4, 5, 4)),
    (nn.Linear(5, 4), nn.Linear(4, 3), (5,)),
    (nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False), (2, 5)),
    (nn.Linear(5, 4), nn.Linear(4, 3, bias=False), (5,)),
    (nn.Conv2d(2, 5, 3, 2, 1), nn.Conv2d(5, 3, 1, 2), (2, 10, 9)),
    (nn.Conv2d(2, 5, 3, padding="same"), nn.Conv2d(5, 3, 1, bias=False), (2, 10, 9)),
    (nn.Conv2d(2, 5, 1), nn.Conv2d(5, 3, 3, 2), (2, 10, 9)),
    (nn.Conv2d(2, 5, 1, bias=False), nn.Conv2d(5, 3, 3, 2, 1, dilation=2), (2, 10, 9)),
    (nn.Conv2d(2, 5, 1), nn.Conv2d(5, 3, 3, padding=1, padding_mode="circular"), (2, 10, 9)),
    (nn.Conv1d(2, 5, 1), nn.Conv1d(5, 3, 1), (2, 6)),
], ids=str)  # fmt: skip
def test_two_as_one(first: nn.Module, second: nn.Module, size: tuple[int, ...]) -> None:
    a, b = live(first, second)
    one_of(a, b, torch.randn(2, *size).double())


@pytest.mark.parametrize(("first", "second", "size", "why"), [
    (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1), (4, 7, 6), "one bias is not enough"),
    (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding="same"), (4, 7, 6), "one bias is not enough"),
    (nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3), (4, 7, 6), "transposed"),
    (nn.BatchNorm2d(4), nn.BatchNorm2d(4), (4, 7, 6), "both are batch norms"),
    (nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4, track_running_stats=False), (4, 7, 6), "no running statistics"),
    (nn.Linear(5, 4), nn.BatchNorm1d(3), (3, 4), "over channels"),
    (nn.Conv2d(2, 5, 1), nn.Conv2d(5, 3, 3, padding=1), (5, 10, 9), "one bias is not enough"),
    (nn.Conv2d(2, 5, 1, 2), nn.Conv2d(5, 3, 3), (5, 10, 9), "strides"),
    (nn.Conv2d(2, 5, 3, padding="same"), nn.Conv2d(5, 3, 1, 2), (5, 10, 9), "has no stride"),
    (nn.Conv2d(2, 5, 3), nn.Conv2d(5, 3, 3), (5, 10, 9), "neither is 1×1"),
    (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1), (4, 5, 5), "groups"),
    (nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 6, 1), (4, 5, 5), "no layer that has a name"),
], ids=str)  # fmt: skip
def test_not_where_it_would_differ(first: nn.Module, second: nn.Module, size: tuple[int, ...], why: str) -> None:
    found = folded(first, second, size)
    assert isinstance(found, str)
    assert why in found
