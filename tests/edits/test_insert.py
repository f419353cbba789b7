"""A layer more, and the answers as they were where that can be.

Mutations that turn it red: in `shortcuts.py`, `nn.init.zeros_(made.weight)` -> `pass`; in `insert.py`,
`(held.running_var.double() + made.eps).sqrt()` -> `held.running_var`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convscope import actions
from convscope.data import open_collection
from convscope.editing import NOTHING, Draft, Given, keeping
from convscope.edits.insert import Insert
from convscope.errors import ShapeError, UsageError
from tests.contracts.leaves import opened
from tests.contracts.studies import collection
from tests.edits.drafts import whole
from tests.traces import unchanged


def images() -> Given:
    return Given(open_collection(collection(12, 16, 16, 3)))


def more(name: str, given: Given = NOTHING, seed: int = 0, **how: Any) -> Draft:
    draft = whole(name).copy()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Insert(**how)(draft, given)
    return draft


@pytest.mark.parametrize(("name", "how", "said"), [
    ("plain", {"what": "bottleneck", "after": "pool1"},
     "a 1×1 convolution of 6 channels after pool1 (6×8×8): pool1_bottleneck"),
    ("plain", {"what": "bottleneck", "after": "relu3"}, "a dense layer of 10 channels after relu3 (10): relu3_bottleneck"),
    ("plain", {"what": "bottleneck", "after": "pool1", "width": 9},
     "a bottleneck of 1×1 convolutions, 6 → 9 → 6 channels after pool1 (6×8×8): pool1_bottleneck"),
    ("plain", {"what": "conv", "after": "relu1", "size": 5},
     "a 5×5 convolution of 6 channels and a ReLU after relu1 (6×16×16): relu1_conv"),
    ("plain", {"what": "conv", "after": "conv1"}, "a 3×3 convolution of 6 channels after conv1 (6×16×16): conv1_conv"),
    ("plain", {"what": "batch-norm", "after": "fc1"}, "batch norm after fc1 (10): fc1_batch_norm"),
    ("plain", {"what": "dropout", "after": "relu3"}, "dropout of 0.5 after relu3 (10): relu3_dropout"),
    ("functional_relu", {"what": "shortcut", "after": "conv2", "upto": "max_pool2d:1"},
     "shortcut from conv2 (8×5×5) to max_pool2d:1 (8×2×2): 5×5 pooled to 2×2; a scale a channel, at first 0"),
    ("plain", {"what": "shortcut", "after": "pool1", "upto": "conv2"},
     "shortcut from pool1 (6×8×8) to conv2 (8×8×8): 1×1 convolution 6 → 8, at first 0"),
    ("plain", {"what": "shortcut", "after": "fc1", "upto": "fc2"},
     "shortcut from fc1 (10) to fc2 (5): a dense layer, at first 0"),
])
def test_the_answers_stay(name: str, how: dict[str, Any], said: str) -> None:
    _, x, old = opened(name)
    draft = more(name, **how)
    assert draft.changes == [said]
    assert torch.allclose(draft.run(x), old.run(x).output, atol=1e-5)
    assert len(draft.nodes) > len(whole(name).nodes)


def test_batch_norm_measures_the_images_and_undoes_itself() -> None:
    _, x, old = opened("plain")
    given = images()
    draft = more("plain", given, what="batch-norm", after="conv1")
    made = draft.module(draft["conv1_batch_norm"])
    assert isinstance(made, nn.BatchNorm2d)
    batch = torch.cat(list(given.batches(old)))
    values = old.run(batch, keep=["conv1"])["conv1"].transpose(0, 1).flatten(1)
    assert torch.allclose(made.get_buffer("running_mean"), values.mean(1), atol=1e-5)
    assert torch.allclose(made.get_buffer("running_var"), values.var(1, correction=0), rtol=1e-4, atol=1e-6)
    assert torch.allclose(draft.run(x), old.run(x).output, atol=1e-4)
    assert draft.notes == [f"batch norm: mean and variance of {256 * len(batch):,} values of the images"]
    plain = more("plain", given, what="batch-norm", after="conv1", preserve=False)
    out = plain.module(plain["conv1_batch_norm"])(old.run(batch, keep=["conv1"])["conv1"])
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(6), atol=1e-4)


def test_a_narrow_bottleneck_keeps_principal_components() -> None:
    _, _, old = opened("plain")
    given = images()
    draft = more("plain", given, what="bottleneck", after="conv1", width=3)
    batch = torch.cat(list(given.batches(old)))
    values = old.run(batch, keep=["conv1"])["conv1"]
    first, second = draft.module(draft["conv1_bottleneck"]), draft.module(draft["conv1_bottleneck_2"])
    error = (second(first(values)) - values).detach().transpose(0, 1).flatten(1)
    flat = values.transpose(0, 1).flatten(1).double()
    spread = torch.linalg.eigvalsh((flat - flat.mean(1, keepdim=True)) @ (flat - flat.mean(1, keepdim=True)).T)
    assert float((error.double() ** 2).sum()) == pytest.approx(float(spread[:3].sum()), rel=1e-3)
    share = float(spread[3:].sum() / spread.sum())
    assert f"the bottleneck keeps {share:.1%} of the variance" in draft.notes[0]
    cut = more("plain", what="bottleneck", after="conv1", width=3)
    assert cut.notes == ["the bottleneck keeps the first 3 channels"]


def test_at_random_by_its_seed() -> None:
    weights = [more("plain", what="conv", after="relu1", preserve=False, seed=s).root.get_parameter("relu1_conv.weight")
               for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    draft = more("plain", what="shortcut", after="relu2", upto="pool2", preserve=False)
    assert draft.changes == ["shortcut from relu2 (8×8×8) to pool2 (8×4×4): 8×8 pooled to 4×4"]
    assert "shortcut" in more("plain", what="shortcut", after="conv1", upto="relu1", preserve=False).code[0]


def test_what_cannot_be_put_in_is_said() -> None:
    with pytest.raises(UsageError, match=r"insert needs a place; no layer was named; after='conv1'"):
        more("plain")
    with pytest.raises(UsageError, match=r"Insert.size must be odd; got 4; 3 or 5: a kernel with a middle"):
        Insert(size=4)
    with pytest.raises(UsageError, match=r"a shortcut needs its end; no layer was named; upto='conv3'"):
        more("plain", what="shortcut", after="conv1")
    with pytest.raises(UsageError, match=r"no way leads from conv2 to conv1; a shortcut runs along the network; name"):
        more("plain", what="shortcut", after="conv2", upto="conv1")
    with pytest.raises(ShapeError, match=r"no shortcut from conv1 to fc1; 6×16×16 and 10 cannot be added; end it before"):
        more("plain", what="shortcut", after="conv1", upto="fc1")
    with pytest.raises(ShapeError, match=r"no convolution behind fc1; its value is a vector of 10 numbers; choose"):
        more("plain", what="conv", after="fc1")
    with pytest.raises(ShapeError, match=r"nothing can be put behind select; its value is 12×10; choose a layer with maps"):
        more("rows_lstm", after="select")


def test_it_is_kept_opened_and_trained(tmp_path: Path) -> None:
    model, x, old = opened("plain")
    with unchanged(model, x):
        edited, receipt = actions.edit(old, "insert", what="dropout", after="relu3", rate=0.4)
    assert receipt.code == "model.relu3 = nn.Sequential(model.relu3, nn.Dropout(p=0.4))"
    again = actions.open(keeping.keep(edited, receipt, tmp_path / "more"))
    assert torch.equal(again.run(x).output, old.run(x).output)
    assert edited.module is not None
    edited.module.train()
    assert not torch.equal(edited.module(x), edited.module(x))
