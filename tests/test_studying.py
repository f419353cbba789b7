"""The ablation study: paired with the control of the same seed, resumed to the bit, one sentence that its table bears out.

Mutations that turn it red: in `studying.py`, `zip(rows[p], whole)` -> `zip(rows[p], rows[p])`; `max(half, least)` -> `half`;
`row = _known(out, …)` -> `None` (nothing is resumed).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import actions, studying
from convscope.data import open_collection
from convscope.errors import UsageError
from convscope.network import Network
from convscope.studying import AblationStudy, interval, sentence, wilson
from tests.traces import unchanged


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(),
                         nn.Linear(256, 10)).eval()


def test_parts_are_removed_judged_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    settings = {"epochs": 1, "seeds": 2, "most": 200, "rate": 0.01}
    with unchanged(model):
        table = actions.ablation(cs.open(model, (1, 8, 8)), "digits", out=tmp_path, **settings)
    assert table.columns["without"].tolist() == [studying.WHOLE, "0", "1", "2"]
    assert table.columns["change"][0] == 0
    assert table.columns["parameters"].tolist()[2] == sum(p.numel() for p in model.parameters())
    assert (table.columns["high"][1:] - table.columns["low"][1:] >= 2 * 100 / 40 - 1e-9).all()
    assert np.isfinite(table.columns["ms per step"]).all()
    assert table.notes[0].endswith(".")
    assert len(list(tmp_path.glob("*.json"))) == 8
    gone = sorted(tmp_path.glob("*.json"))[3]
    gone.unlink()
    ran: list[str] = []
    judged = AblationStudy._judged
    monkeypatch.setattr(AblationStudy, "_judged", lambda self, net, part, seed, images: (
        ran.append(part), judged(self, net, part, seed, images))[1])
    again = actions.ablation(cs.open(model, (1, 8, 8)), "digits", out=tmp_path, **settings)
    assert len(ran) == 1
    for name in ("as it is", "after", "change", "low", "high", "parameters", "MiB"):
        assert (again.columns[name] == table.columns[name]).all(), name


def test_the_change_is_paired_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    after = {(studying.WHOLE, 0): 0.5, (studying.WHOLE, 1): 0.9, ("1", 0): 0.4, ("1", 1): 0.8}

    def judged(self: AblationStudy, net: Network, part: str, seed: int, images: object) -> dict[str, object]:
        del self, net, images
        return {"as_is": 0.3, "images": 40, "repair": "", "parameters": 1, "memory": 1, "after": after[part, seed],
                "step": 0.1}

    monkeypatch.setattr(AblationStudy, "_judged", judged)
    table = actions.ablation(cs.open(tiny(), (1, 8, 8)), "digits", seeds=2, parts="1", most=200)
    assert table.columns["change"][1] == pytest.approx(-10)
    assert table.columns["low"][1] == pytest.approx(-12.5)  # both seeds say −10: one image of 40 is 2.5 points
    assert table.columns["after"].tolist() == pytest.approx([0.7, 0.6])
    assert "1 is needed most: without it −10.0 points (−12.5 … −7.5)" in table.notes[0]


def test_intervals() -> None:
    assert interval([1.0, 2.0, 3.0])[1:] == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert math.isnan(interval([1.0])[1])
    assert wilson(0.5, 100) == pytest.approx((0.4038315, 0.5961685), abs=1e-6)
    assert wilson(1.0, 120)[1] == pytest.approx(1)


def test_the_sentence_says_who_can_go_and_who_cannot() -> None:
    columns = {"without": ["w", "a", "b", "c"], "change": [0, -30.0, 0.2, 0.1], "low": [0, -35.0, -0.5, -0.6],
               "high": [0, -25.0, 0.9, 0.8], "parameters": np.array([9, 5, 4, 7])}
    said = sentence(columns, 2)
    assert said == ("a is needed most: without it −30.0 points (−35.0 … −25.0) after 2 epochs of fine-tuning; "
                    "b can go: +0.2 points (−0.5 … +0.9) (1 others too).")
    none = {k: v[:2] for k, v in columns.items()}
    assert sentence(none, 0).endswith("as it is; no part can go without a possible loss of a point.")
    assert sentence({k: v[:1] for k, v in columns.items()}, 0) == "nothing was removed"


def test_what_cannot_be_studied_says_why() -> None:
    net = cs.open(tiny(), (1, 8, 8))
    bare = open_collection("digits").take(range(20))
    bare.labels[:] = -1
    with pytest.raises(UsageError, match=r"an ablation study on digits; its images have no labels; give a folder with one"):
        AblationStudy()(net, bare)
    alone = cs.open(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).eval(), (1, 8, 8))
    with pytest.raises(UsageError, match=r"an ablation study of Sequential; no layer of it can be removed; name some"):
        AblationStudy()(alone, open_collection("digits"))


def test_it_can_be_stopped_and_says_what_it_does() -> None:
    seen: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, text: str) -> None:
        seen.append((done, total, text))
        if done == 1:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        actions.ablation(cs.open(tiny(), (1, 8, 8)), "digits", progress=progress, seeds=1, epochs=0, most=100)
    assert seen[0] == (0, 4, f"study: without {studying.WHOLE}, seed 0")
