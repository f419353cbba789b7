"""Layer normalisation. Mutation that turns this red: in layer_norm.py `x.ndim - rank` to `x.ndim - rank + 1` in `_axes`;
`delta * weight` to `delta` in backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import ShapeError
from convscope.geometry import WHOLE, Window
from convscope.operators.layer_norm import LayerNorm
from tests.operators.against_torch import SEEDS, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4), st.sampled_from(["both", "weight", "none"]),
       st.sampled_from([1e-5, 0.5]), SEEDS)
def test_agrees_with_torch(shape: list[int], rank: int, learned: str, eps: float, seed: int) -> None:
    last = tuple(shape[-rank:])
    weight = None if learned == "none" else numbers(seed + 1, *last)
    bias = numbers(seed + 2, *last) if learned == "both" else None
    hold(LayerNorm(last, eps), lambda x, w, b: F.layer_norm(x, last, w, b, eps), numbers(seed, *shape, scale=2.0), weight,
         bias)


def test_agrees_with_difference_quotients() -> None:
    hold_differences(LayerNorm((3, 2)), numbers(0, 2, 3, 2), numbers(1, 3, 2), numbers(2, 3, 2))


def test_is_read_from_an_exported_graph() -> None:
    x = torch.from_numpy(numbers(0, 2, 3, 4, 5))
    assert recorded(nn.LayerNorm([4, 5], eps=1e-6), x, kind=LayerNorm) == LayerNorm((4, 5), 1e-6)
    assert recorded(nn.LayerNorm(5, elementwise_affine=False), x, kind=LayerNorm) == LayerNorm((5,))


def test_costs_and_windows() -> None:
    assert LayerNorm((96,)).parameters((1, 7, 7, 96), (96,), (96,)) == 192
    assert LayerNorm((96,)).macs((1, 7, 7, 96)) == 0
    assert LayerNorm((96,)).windows((1, 7, 7, 96)) == (Window(), WHOLE)
    assert LayerNorm((3, 7, 7)).windows((1, 3, 7, 7)) == (WHOLE, WHOLE)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"last axes \(4,\).*shape \(2, 3\).*must be the end of x's shape"):
        LayerNorm((4,)).forward(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"shape \(2,\) in a layer norm over \(3,\).*must have that shape"):
        LayerNorm((3,)).forward(np.ones((2, 3)), np.ones(2))


def test_written_out_as_autograd_has_it() -> None:
    hold_written(LayerNorm((2, 5)), lambda x, w, b: F.layer_norm(x, (2, 5), w, b), numbers(0, 3, 4, 2, 5), numbers(1, 2, 5),
                 numbers(2, 2, 5))
    hold_written(LayerNorm((5,)), lambda x: F.layer_norm(x, (5,)), numbers(0, 3, 5))
    working = LayerNorm((2,), eps=0.0).explain_value((0, 1), np.array([[1.0, 3.0]]))
    assert texts(working)[0] == "μ = mean of the 2 values of x[0] (2) = 4/2 = 2"
    assert LayerNorm((5,)).gradients((3, 4, 5), (5,), (5,))[1].sizes == "60/5 = 12 terms each"
