"""Numbers of losses: ln C, the floor under a second softmax, a probability cut off.

Turns red: write `math.e + count` for `math.e + count - 1`, or drop the tolerance of `_meaning`.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.symptoms.figures import classes_in, figures


@given(st.integers(2, 1000), st.integers(3, 5))
def test_the_loss_of_guessing_is_recognised(count: int, digits: int) -> None:
    """Slow twin: torch's own loss of equal logits."""
    loss = torch.nn.functional.cross_entropy(torch.zeros(1, count).double(), torch.tensor([0])).item()
    found = figures(f"loss stays at {loss:.{digits}f}", count)
    assert [(f.kind, f.formula) for f in found] == [("chance", f"ln {count}")]
    assert found[0].exact == pytest.approx(loss)


@given(st.integers(2, 12))
def test_the_floor_under_softmax_twice_is_recognised(count: int) -> None:
    """Slow twin: the cross-entropy of a perfect, one-hot answer taken for logits."""
    loss = torch.nn.functional.cross_entropy(torch.eye(count).double()[:1], torch.tensor([0])).item()
    found = figures(f"the loss stops at {loss:.3f}", count)
    assert [f.kind for f in found] == ["floor"]
    assert found[0].exact == pytest.approx(loss)


def test_a_constant_one_costs_half_the_cut() -> None:
    probability, label = torch.full((2,), 1 - 1e-7, dtype=torch.float64), torch.tensor([0.0, 1.0]).double()
    loss = torch.nn.functional.binary_cross_entropy(probability, label).item()
    found = figures(f"loss {loss:.2f}")[0]
    assert found.kind == "cut"
    assert found.exact == pytest.approx(loss, abs=0.01)


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("stuck at 0.69", ["ln 2"]),
        ("loss 2.3 all the time", ["ln 10"]),
        ("1.609 with five categories", ["ln 5"]),
        ("loss about 1.46", ["ln(e + 10 − 1) − 1"]),
        ("loss 5.96e-08", ["0: nothing left to lower"]),
        ("loss 15.94", []),
        ("loss 16.118", ["−ln 1e-7"]),
        ("lr=0.693", []),
        ("a learning rate of 0.693", []),
        ("accuracy 0.693", []),
        ("69.3 %", []),
        ("loss 0.693 %", []),
        ("torch 2.3.0", []),
        ("loss 1.2345", []),
        ("momentum 0.9, dropout 0.5", []),
    ],
)
def test_figures_by_hand(text: str, formulas: list[str]) -> None:
    assert [f.formula for f in figures(text)] == formulas


def test_the_classes_are_read() -> None:
    assert figures("2.30", 5) == ()
    assert [classes_in(t) for t in ("7 classes", "three-class problem", "on mnist", "binary", "no word of it")] == [
        7, 3, 10, 2, None]  # fmt: skip
    assert math.isclose(figures("loss 4.605, 100 classes")[0].exact, math.log(100))
