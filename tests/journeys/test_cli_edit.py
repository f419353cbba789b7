"""`convscope edit` as somebody types it: a receipt, a folder that is opened, traced, trained and edited again; mistakes.

Turns red: in `cli_edits.py`, `out=out` left out of the call; in `studying.py`, `chart=…` left out of the table.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import convscope as cs
from tests.journeys.test_cli import answer, say

NETWORK = """
from collections import OrderedDict
import torch, torch.nn as nn

def small():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 4, 3, padding=1), bn1=nn.BatchNorm2d(4), relu1=nn.ReLU(), drop=nn.Dropout(0.2),
        conv2=nn.Conv2d(4, 4, 3, padding=1), relu2=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(256, 10)))
"""
SIZE = ("--input", "1x8x8", "--preprocess", "unit")


@pytest.fixture
def network(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORK)
    return f"{tmp_path / 'net.py'}:small"


def test_help_and_list_say_what_there_is() -> None:
    text = " ".join(answer("edit", "--help").split())
    assert "convscope edit zoo:alexnet convolutionalize --out alexnet-fcn" in text
    assert "[study] epochs of fine-tuning for each candidate and seed" in text
    listed = answer("list", "edits")
    assert "What is left of the network without this layer" in listed or "remove" in listed


def test_an_edited_network_is_opened_traced_trained_and_edited_again(network: str, tmp_path: Path) -> None:
    out = tmp_path / "less"
    said = answer("edit", network, *SIZE, "remove", "--layer", "conv2", "--out", str(out), "--code", "--data", "digits")
    assert "receipt  small: Remove" in said
    assert "drift of the outputs on 64 images (of 1,797, the first)" in " ".join(said.split())
    kept = f"{out / 'network.py'}:network"
    assert "conv1" in answer("trace", kept)
    trained = tmp_path / "run"
    answer("fit", kept, "--images", "digits", "--epochs", "1", "--out", str(trained))
    weights = str(trained / "weights.safetensors")
    again = json.loads(answer("edit", kept, "--weights", weights, "swap-activation", "--new", "gelu", "--json"))
    assert again["kind"] == "receipt"
    assert again["before"]["parameters"] == again["after"]["parameters"]
    net = cs.open(kept, weights=weights)
    assert net.module is not None
    assert not torch.equal(net.module.state_dict()["conv1.weight"], cs.open(kept).run(torch.zeros(1, 1, 8, 8)).output)
    assert {type(m).__name__ for m in net.module.modules()} >= {"Conv2d", "BatchNorm2d", "Dropout", "Linear"}


def test_a_study_prints_its_table_and_goes_on_from_its_folder(network: str, tmp_path: Path) -> None:
    told = ("edit", network, *SIZE, "study", "--data", "digits", "--epochs", "0", "--seeds", "1", "--parts", "relu2,conv2",
            "--most", "100", "--out", str(tmp_path / "study"))
    said = answer(*told, "--save", str(tmp_path / "study.png"))
    assert "small without one part at a time  3 rows" in said
    assert "is needed most" in said
    assert (tmp_path / "study.png").stat().st_size > 10_000
    assert len(list((tmp_path / "study").glob("*.json"))) == 3
    assert json.loads(answer(*told, "--json"))["columns"]["without"][1:] == ["relu2", "conv2"]


@pytest.mark.parametrize(("more", "code", "text"), [
    (("remove", "--layer", "conv9"), 2, "convscope: no layer or block named 'conv9'; closest: 'conv2'"),
    (("remove", "--new", "gelu"), 2, "remove has no option --new; it has --layer"),
    (("study",), 2, "a study needs images; none were given; give a labelled collection: --data FOLDER"),
    (("nothing",), 2, "Invalid value for 'EDIT': 'nothing' is not one of"),
    (("prune", "--by", "taylor"), 2, "none were given"),
])  # fmt: skip
def test_mistakes_are_said_in_one_sentence(network: str, more: tuple[str, ...], code: int, text: str) -> None:
    result = say("edit", network, *SIZE, *more)
    assert result.exit_code == code
    assert text in " ".join(result.stderr.split())
