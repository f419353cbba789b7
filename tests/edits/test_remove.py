"""Layers, blocks and units away: what goes on, which repair is made, and where the sizes part when none is.

Mutations that turn it red: in `cutting.py`, `math.prod(old[1:]) / math.prod(new[1:])` -> `1.0` (a dense layer rebuilt for a
larger map answers otherwise); `cost <= old * new` -> `cost > old * new` (the larger repair is made).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope import actions
from convscope.editing import NOTHING, Draft, keeping
from convscope.edits.remove import Remove
from convscope.errors import ShapeError, UnknownName, UsageError
from convscope.network import Network
from tests.contracts.leaves import opened
from tests.edits.drafts import whole
from tests.traces import unchanged


def without(name: str, layer: str, **how: str) -> Draft:
    draft = whole(name).copy()
    Remove(layer=layer, **how)(draft, NOTHING)
    return draft


def test_units_go_as_if_nobody_read_them() -> None:
    model, x, _ = opened("plain")
    draft = without("plain", "conv2/5,7")
    m = draft.net.module
    assert m is not None
    features = F.max_pool2d(F.relu(m.conv2(F.max_pool2d(F.relu(m.conv1(x)), 2))), 2)  # type: ignore[operator]
    features[:, [5, 7]] = 0
    want = m.fc2(F.relu(m.fc1(features.flatten(1))))  # type: ignore[operator]
    assert torch.allclose(draft.run(x), want, atol=1e-6)
    assert draft.changes == ["conv2: units 5, 7 of 8 taken away: conv2.weight 8×6×3×3 → 6×6×3×3, fc1.weight 10×128 → 10×96"]
    with unchanged(model):
        without("plain", "conv1/0")


def test_units_that_are_shared_go_together_and_it_is_said() -> None:
    draft = without("residual", "block1.conv2/1")
    assert draft.module(draft["conv1"]).get_parameter("weight").shape[0] == 5
    assert "the same channels are written by conv1: gone there too" in draft.notes
    draft = without("grouped", "conv1/0")
    assert draft.changes[0].startswith("conv1: units 0, 4 of 8")
    assert "2 units for the 1 asked for: groups, or values that are added, share them" in draft.notes


@pytest.mark.parametrize(("name", "layer", "said", "new"), [
    ("plain", "relu1", "relu1 taken away (0 parameters); conv1 (6×16×16) goes on", 0),
    ("plain", "conv2", "6 channels instead of 8: the readers keep the weights that fit, fc1.weight 10×128 → 10×96; "
     "0 new parameters", 0),
    ("plain", "fc1", "128 channels instead of 10: the readers keep the weights that fit, fc2.weight 5×10 → 5×128; "
     "590 new parameters, which start at 0", 590),
    ("plain", "pool1", "pool1_pool: 8×8×8 pooled to 8×4×4 before flatten; no new parameters", 0),
    ("residual", "block1", "block1 taken away (7 layers, 672 parameters); relu (6×16×16) goes on", 0),
    ("residual", "block2.downsample", "block2.downsample_fit: a 1×1 convolution from 6 to 8 channels, at first the identity "
     "as far as it goes; 48 new parameters", 48),
    ("concat", "branch2", "its 3 channels leave concat and its readers: head.2.weight 5×10 → 5×7; no new parameters", 0),
    ("plain", "flatten", "", -1),
])
def test_the_smallest_repair_is_made_and_said(name: str, layer: str, said: str, new: int) -> None:
    if new < 0:
        with pytest.raises(ShapeError, match=r"flatten cannot go; it turns 8×4×4 into the 128 numbers that are read after"):
            without(name, layer)
        return
    _, x, old = opened(name)
    draft = without(name, layer)
    assert said in draft.changes
    assert draft.run(x).shape == old.run(x).output.shape
    before = {k: p.numel() for k, p in whole(name).root.named_parameters()}
    after = {k: p.numel() for k, p in draft.root.named_parameters()}
    assert sum(max(0, n - before.get(k, 0)) for k, n in after.items()) == new


def test_a_pooling_before_a_dense_layer_goes_by_rebuilding_it_and_an_average_without_loss() -> None:
    _, x, old = opened("residual")
    draft = without("residual", "head.0")
    said = "8×8 instead of 1×1 values a channel: each weight shared out, head.2.weight 5×8 → 5×512; 2,520 new parameters"
    assert said in draft.changes
    assert torch.allclose(draft.run(x), old.run(x).output, atol=1e-5)


def test_a_stride_that_goes_leaves_a_pooling_where_maps_meet() -> None:
    draft = without("residual", "block2.conv1")
    assert any(c.endswith("pooled to 8×8×8 before block2.add; no new parameters") for c in draft.changes)
    assert "block2.bn1 keeps the statistics of values that are gone: fine-tune, or remove it too" in draft.notes


def test_without_repair_the_error_has_the_numbers_and_offers_the_repair() -> None:
    with pytest.raises(ShapeError, match=r"conv2 cannot go without a repair; fc1 cannot take what it is given: it gets 96 "
                       r"and takes 128 numbers; repair=auto would do it: 6 channels instead of 8"):
        without("plain", "conv2", repair="none")
    with pytest.raises(ShapeError, match=r"block2.conv1 cannot go without a repair; .*block2.bn1 .* takes 8 channels"):
        without("residual", "block2.conv1", repair="none")
    assert without("plain", "relu1", repair="none").changes


def test_what_joins_values_needs_a_word() -> None:
    with pytest.raises(UsageError, match=r"block1.add cannot be taken out as it is; it joins 2 values: block1.bn2, relu"):
        without("residual", "block1.add")
    _, x, _ = opened("residual")
    assert torch.isfinite(without("residual", "block1.add", on="relu").run(x)).all()
    with pytest.raises(UnknownName, match=r"no value that block1.add reads named 'bn1'; there are 2: 'block1.bn2', 'relu'"):
        without("residual", "block1.add", on="bn1")


def test_the_last_layer_gone_leaves_features() -> None:
    draft = without("plain", "fc2")
    assert draft.classes == ()
    assert any("answers with the 10 numbers of relu3: no classes any more" in n for n in draft.notes)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match=r"remove needs a layer; none was named; layer='conv2'"):
        without("plain", "")
    with pytest.raises(UsageError, match=r"'conv2/a' names no units; expected layer/number,number; for example conv2/5,7,9"):
        without("plain", "conv2/a")
    with pytest.raises(UnknownName, match=r"no unit 9 in conv2; it has 8; use 0 … 7"):
        without("plain", "conv2/9")
    with pytest.raises(UnknownName, match=r"no layer or block named 'conv9'"):
        without("plain", "conv9")
    one = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())).eval()
    with pytest.raises(UsageError, match=r"0 is the whole network; nothing would be left; take out a part of it"):
        Remove(layer="0")(Draft.of(Network.open(one, torch.zeros(2, 3, 4, 4))), NOTHING)


def test_it_is_kept_opened_and_traced(tmp_path: Path) -> None:
    model, x, old = opened("residual")
    with unchanged(model):
        edited, receipt = actions.edit(old, "remove", layer="block1")
    assert receipt.code == "model.block1 = nn.Identity()"
    again = actions.open(keeping.keep(edited, receipt, tmp_path / "less"))
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert "block1.conv1" not in again
    assert again.trace(measure=False).layers
    assert edited.module is not None
    edited.module.train()
    assert not torch.equal(edited.module(x), edited.run(x).output)  # batch norm of the batch
