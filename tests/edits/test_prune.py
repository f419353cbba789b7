"""Units go by their score: the lowest, of each layer or of the network, never all; accuracy is measured on other images.

Mutations that turn it red: in `prune.py`, `key=lambda c: (ranked[c], c)` -> `(-ranked[c], c)`; in `scoring.py`,
`(~gone).to(x.dtype)` -> `gone.to(x.dtype)` (all but the unit are masked).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convscope import actions
from convscope.data import open_collection
from convscope.editing import NOTHING, Draft, Given, keeping
from convscope.edits.prune import Prune
from convscope.errors import UsageError
from convscope.network import Network
from tests.contracts.leaves import opened
from tests.contracts.studies import collection
from tests.edits.drafts import whole
from tests.nets import NETS
from tests.traces import unchanged


def images(name: str = "plain") -> Given:
    shape = opened(name)[1].shape
    source = open_collection(collection(12, shape[2], shape[3], shape[1]))
    return Given(source, tuple(int(n) for n in source.labels))


def unlabelled() -> Given:
    return Given(open_collection(list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8))))


def less(name: str, given: Given = NOTHING, **how: Any) -> Draft:
    draft = whole(name).copy()
    Prune(**how)(draft, given)
    return draft


def test_the_smallest_filters_go() -> None:
    draft = less("plain", by="norm", units=2, layer="conv2")
    sizes = whole("plain").root.get_parameter("conv2.weight").detach().abs().flatten(1).sum(1)
    gone = sorted(np.argsort(sizes.numpy())[:2].tolist())
    assert draft.changes == [f"conv2: 2 of 8 units away ({gone[0]}, {gone[1]})"]
    assert draft.shape(draft["conv2"]) == (6, 8, 8)


@pytest.mark.parametrize("by", ["effect", "taylor", "activation"])
def test_a_unit_that_does_nothing_goes_first(by: str) -> None:
    """Its filter is 0 and its bias negative: it never passes the ReLU. Without labels an effect is a distance, 0 for it."""
    model, x = NETS["plain"]()
    with torch.no_grad():
        model.get_parameter("conv2.weight")[3] = 0
        model.get_parameter("conv2.bias")[3] = -1  # never past the ReLU
    draft = Draft.of(Network.open(model, x))
    with unchanged(model):
        Prune(by=by, units=1, layer="conv2")(draft, unlabelled() if by == "effect" else images())
    assert draft.changes == ["conv2: 1 of 8 units away (3)"]
    assert any(n.startswith(f"scores by {by}") and "the highest at 0;" in n for n in draft.notes)


def test_the_network_is_one_pool_and_each_layer_keeps_one() -> None:
    draft = less("plain", by="norm", share=0.95, scope="network")
    assert all(draft.shape(draft[n])[0] >= 1 for n in ("conv1", "conv2", "fc1"))
    gone = sum(int(c.split(": ")[1].split(" of ")[0]) for c in draft.changes)
    assert gone == min(round(0.95 * 24), 24 - 3)
    each = less("plain", by="norm", share=0.5)
    assert [c.split(" units")[0] for c in each.changes] == ["conv1: 3 of 6", "conv2: 4 of 8", "fc1: 5 of 10"]


def test_accuracy_and_scores_are_told() -> None:
    draft = less("plain", images(), by="taylor", share=0.3, sample=5)
    assert any(n.startswith("scores by taylor on 5 images: 7 of 24 units went") for n in draft.notes)
    assert any("the" in n and "before" in n and n.startswith("accuracy on") for n in draft.notes)
    draft = less("plain", unlabelled(), by="effect", units=1, layer="conv1")
    assert not any("accuracy" in n for n in draft.notes)


def test_shared_channels_are_one_unit() -> None:
    draft = less("residual", by="norm", units=1, layer="block1")
    assert draft.shape(draft["conv1"])[0] == draft.shape(draft["block1.conv2"])[0] == 5


def test_what_cannot_be_pruned_is_said() -> None:
    with pytest.raises(UsageError, match=r"prune by effect needs images; none were given; give some: --data"):
        less("plain")
    with pytest.raises(UsageError, match=r"no unit of fc2 can go; fc2 is the network's answer; choose another layer"):
        less("plain", by="norm", layer="fc2")
    with pytest.raises(UsageError, match=r"no unit goes at a share of 0.01; there are 8 in 1 layers; give a larger share"):
        less("plain", by="norm", layer="conv2", share=0.01)


def test_it_is_kept_opened_and_can_be_stopped(tmp_path: Path) -> None:
    model, x, old = opened("residual")
    seen: list[int] = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append(done)
        assert what == "units masked"
        if done == 3:
            raise KeyboardInterrupt

    data = collection(6, 16, 16, 3)
    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        actions.edit(old, "prune", data=data, progress=stop)
    assert seen == [1, 2, 3]
    edited, receipt = actions.edit(old, "prune", data=data, by="activation", share=0.25)
    again = actions.open(keeping.keep(edited, receipt, tmp_path / "pruned"))
    assert torch.equal(again.run(x).output, edited.run(x).output)
    assert receipt.after.parameters < receipt.before.parameters
    assert receipt.after.macs < receipt.before.macs
