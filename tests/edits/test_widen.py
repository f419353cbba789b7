"""More units, the same answers; noise moves them; what cannot be widened is said.

Mutation that turns it red: in `widen.py`, `np.tril(seen, -1)` -> `np.tril(seen)` (the noise falls on every unit).
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope import actions
from convscope.editing import NOTHING, Draft, keeping
from convscope.edits.widen import Widen
from convscope.errors import UsageError
from tests.contracts.leaves import opened
from tests.edits.drafts import whole
from tests.traces import unchanged


def wide(name: str, layer: str, **how: float) -> Draft:
    draft = whole(name).copy()
    Widen(layer=layer, **how)(draft, NOTHING)  # type: ignore[arg-type]
    return draft


@pytest.mark.parametrize(("name", "layer", "units"), [
    ("plain", "conv2", 13), ("plain", "fc1", 11), ("residual", "block1.conv2", 9), ("residual", "block2.conv1", 24),
    ("concat", "branch2.2", 4), ("grouped", "conv1", 12), ("shared_module", "conv", 7), ("grey", "conv1", 5),
    ("ceil_pool", "conv2", 16), ("norm_first", "conv3", 9),
])
def test_the_answers_stay_at_every_width(name: str, layer: str, units: int) -> None:
    model, x, old = opened(name)
    with unchanged(model, x):
        draft = wide(name, layer, units=units)
    assert draft.shape(draft[layer])[0] == units
    assert torch.allclose(draft.run(x), old.run(x).output, atol=1e-5)


def test_copies_are_alike_until_noise_is_added() -> None:
    _, x, old = opened("plain")
    even, uneven = wide("plain", "conv2", units=16), wide("plain", "conv2", units=16, noise=0.01)
    rows = even.root.get_parameter("conv2.weight")
    assert len(torch.unique(rows.detach(), dim=0)) == 8
    noisy = uneven.root.get_parameter("conv2.weight")
    assert len(torch.unique(noisy.detach(), dim=0)) == 16
    moved = (noisy - rows).flatten(1).abs().sum(1) > 0
    assert int(moved.sum()) == 8  # the first of every kind stays
    drift = float((uneven.run(x) - old.run(x).output).detach().abs().max())
    assert 1e-6 < drift < 0.1
    assert "noise of 0.01 standard deviations on the copies of 1 layers, seed 0" in uneven.notes
    assert torch.equal(wide("plain", "conv2", units=16, noise=0.01).root.get_parameter("conv2.weight"), noisy)


def test_a_factor_is_rounded_and_sharers_are_named() -> None:
    draft = wide("residual", "conv1", factor=1.5)
    assert draft.shape(draft["conv1"])[0] == 9
    assert "the same channels are written by block1.conv2: widened with it" in draft.notes


def test_what_cannot_be_widened_is_said() -> None:
    with pytest.raises(UsageError, match=r"widen needs a layer; none was named; layer='conv2'"):
        wide("plain", "")
    with pytest.raises(UsageError, match=r"conv2 with 8 units; it has 8; ask for more, or take some"):
        wide("plain", "conv2", units=8)
    with pytest.raises(UsageError, match=r"conv1 with 9 units; its units come in groups of 2; ask for 10"):
        wide("grouped", "conv1", units=9)
    with pytest.raises(UsageError, match=r"fc2 cannot be widened; fc2 is the network's answer; choose a layer that"):
        wide("plain", "fc2", units=9)


def test_it_is_kept_opened_and_its_code_does_the_same(tmp_path: Path) -> None:
    model, x, old = opened("residual")
    edited, receipt = actions.edit(old, "widen", layer="block2.conv1", units=12)
    again = actions.open(keeping.keep(edited, receipt, tmp_path / "wide"))
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert receipt.drift["same highest class"] == 1
    mine = copy.deepcopy(model)
    exec(receipt.code, {"model": mine, "nn": nn, "torch": torch})
    assert torch.allclose(mine(x), edited.run(x).output, atol=1e-6)
    assert edited.module is not None
    for m in (edited.module.train(), mine.train()):
        torch.manual_seed(0)
        m(x)
    assert torch.allclose(edited.module(x), mine(x), atol=1e-5)  # batch norm trains alike
