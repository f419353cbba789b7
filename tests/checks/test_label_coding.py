"""Labels in another coding than the loss reads; labels scaled like inputs.

Mutation that turns this red: in _labels.py, `lambda v: (v.double() - low).long()` → `lambda v: v.long()`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.checks._labels import codings
from convscope.checks.label_coding import LabelCoding
from convscope.diagnosing.suspicion import Change
from tests.checks import small
from tests.checks.blobs import blobs, line

X, Y = blobs()


def _one(y: Tensor, loss: Any = "cross-entropy", model: nn.Module | None = None):
    program = small.made(model or small.net(), data=(X, y), loss=loss, epochs=20)
    (one,) = small.found(LabelCoding(), program, 0.5)
    return program, one


@pytest.mark.parametrize(
    ("y", "loss", "words"),
    [
        (Y.float(), "cross-entropy", "whole numbers"),
        (Y[:, None].float(), "cross-entropy", "class numbers in a row"),
        (Y + 1, "cross-entropy", "numbers from 0 instead of 1"),
        (F.one_hot(Y, 3), "nll", "class numbers"),
        (Y, "bce-logits", "one-hot rows"),
        (F.one_hot(Y, 3), "bce-logits", "floating numbers"),
        (F.one_hot(Y, 3).bool(), "cross-entropy", "floating numbers"),
    ],
)
def test_a_loss_that_raises_is_given_what_it_takes(y: Tensor, loss: str, words: str) -> None:
    program, one = _one(y, loss)
    assert (one.fault, one.strength, one.shows) == ("D6", 1.0, True)
    assert words in one.cause
    assert "raises" in one.symptom
    assert one.change is not None
    mended = one.change.apply(program.twin())
    assert small.shares(mended, Change("as it is", lambda p: p), 60)[0] > (0.8 if loss != "nll" else -99)


def test_a_class_beyond_the_outputs_in_a_later_batch() -> None:
    y = Y.clone()
    y[Y == 2] = 1
    late = torch.cat([y + 1, torch.full((1,), 3)])
    program = small.made(small.net(), data=(torch.cat([X, X[:1]]), late), batch_size=8, epochs=20)
    (one,) = small.found(LabelCoding(), program, 1.0)
    assert one.fault == "D6"
    assert "out of bounds" in one.symptom


def test_class_numbers_for_one_sigmoid_get_a_head_of_classes() -> None:
    program, one = _one(Y.float()[:, None], "bce-logits", line(inward=8))
    assert (one.fault, one.strength) == ("D6", 1.0)
    assert "no answer" not in one.cause
    control, changed = small.shares(program, one.change, 100)
    assert changed > 0.95 > control


def test_class_numbers_that_bce_refuses() -> None:
    _, one = _one(Y.float()[:, None], "bce", nn.Sequential(*line(inward=8), nn.Sigmoid()))
    assert one.fault == "D6"
    assert "raises" in one.symptom
    assert one.evidence["highest label"] == 2


def test_signs_for_binary_cross_entropy() -> None:
    y = torch.where(Y > 0, 1.0, -1.0)[:, None]
    program, one = _one(y, "bce-logits", line(inward=8))
    assert one.fault == "D6"
    assert one.change is not None
    assert set(one.change.apply(program.twin()).examples.y.unique().tolist()) == {0.0, 1.0}  # type: ignore[union-attr]


def test_a_loss_that_cannot_tell_outputs_apart() -> None:
    def squared(output: Tensor, target: Tensor) -> Tensor:
        return (output - (target[:, None] if target.ndim == 1 else target)).square().mean()

    program, one = _one(Y, squared)
    assert (one.fault, one.strength) == ("D6", 0.8)
    control, changed = small.shares(program, one.change, 100)
    assert changed > 0.9 > control


def test_labels_divided_like_pixels() -> None:
    program, one = _one((Y / 2).float(), lambda o, t: F.cross_entropy(o, t.long()))
    assert (one.fault, one.strength) == ("D5", 0.8)
    assert float(one.evidence["spacing"]) == 0.5
    mended = one.change.apply(program.twin()) if one.change else program
    assert mended.examples.y is not None
    assert torch.equal(mended.examples.y, Y)
    _, one = _one((Y / 255).long())
    assert (one.fault, one.shows) == ("D5", True)
    assert one.evidence["different labels"] == 1


@drawn(k=st.integers(2, 6), low=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_codings_are_of_the_same_classes(k: int, low: int, seed: int) -> None:
    y = torch.randint(0, k, (12,), generator=torch.Generator().manual_seed(seed)) + low
    for words, _, function in codings(y, torch.zeros(12, k)):
        new = function(y)
        back = new.argmax(1) if words == "one-hot rows" else new.reshape(-1).long()
        assert len(torch.unique(back - y)) == 1, words  # the same numbers, or all of them shifted alike


@pytest.mark.parametrize("case", ["indices", "one-hot", "binary", "ratings"])
def test_sound_labels_are_left_alone(case: str) -> None:
    rated = torch.rand(300, 1, generator=torch.Generator().manual_seed(0))
    y, loss, model = {
        "indices": (Y, "cross-entropy", small.net()),
        "one-hot": (F.one_hot(Y, 3).float(), "cross-entropy", small.net()),
        "binary": ((Y > 0).float()[:, None], "bce-logits", line(inward=8)),
        "ratings": (rated, "bce-logits", line(inward=8)),
    }[case]
    assert small.found(LabelCoding(), small.made(model, data=(X, y), loss=loss, epochs=3), 0.5) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert [s.fault for s in LabelCoding()(evidence)] == [], name
