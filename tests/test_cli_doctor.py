"""The commands check, doctor and settle, as a user types them.

Mutation that turns this red: in cli_doctor.py, `prove=seeds if prove else 0` → `prove=0` · `if network is None and run` →
`if network is None or run`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convscope.cli import main
from convscope.results import Run

SETUP = """
import torch
from torch import nn

def setup():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(1))
    return model, (x, (x[:, :1] > 0).float()), nn.BCELoss(), torch.optim.Adam(model.parameters(), lr=0.05)

def healthy():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    return model, (x, (x[:, :1] > 0).float()), nn.BCEWithLogitsLoss(), torch.optim.Adam(model.parameters(), lr=0.05)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SETUP)
    return path


def say(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def findings(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["findings"]


@pytest.mark.parametrize("command", ["check", "doctor", "settle"])
def test_help_names_its_examples(command: str) -> None:
    result = say(command, "--help")
    assert result.exit_code == 0
    assert f"convscope {command}" in result.output
    assert "--optimizer" in result.output


def test_check_finds_the_fault_of_a_program(file: Path) -> None:
    shown = say("check", f"{file}:setup", "--seconds", 1)
    assert shown.exit_code == 0, shown.output
    assert "softmax" in shown.output
    first = findings(say("check", f"{file}:setup", "--seconds", 1, "--json"))[0]
    assert (first["fault"], first["severity"], first["confirmed"]) == ("O1", "error", None)
    assert "Softmax" in first["code"]


def test_check_proves_the_remedy(file: Path) -> None:
    first = findings(say("check", f"{file}:setup", "--seconds", 1, "--prove", "--seeds", 2, "--json"))[0]
    assert (first["fault"], first["confirmed"]) == ("O1", True)
    assert "over 2 seeds" in first["proof"]


def test_check_leaves_a_healthy_program_in_peace(file: Path) -> None:
    assert not [f for f in findings(say("check", f"{file}:healthy", "--seconds", 2, "--json")) if f["severity"] == "error"]


def test_check_reads_a_record_alone(tmp_path: Path) -> None:
    Run(steps={"loss": np.full(40, 2.3)}, epochs={}, loop={"steps": 40, "backwards": 40, "left_over": 39}).save(
        tmp_path / "run.npz"
    )
    assert findings(say("check", "--run", tmp_path / "run.npz", "--json"))[0]["fault"] == "P4"


def test_check_draws_what_it_found(file: Path, tmp_path: Path) -> None:
    assert say("check", f"{file}:setup", "--seconds", 1, "--out", tmp_path / "found.png").exit_code == 0
    assert (tmp_path / "found.png").stat().st_size > 5000


def test_doctor_answers_words_and_messages(file: Path) -> None:
    codes = [f["fault"] for f in findings(say("doctor", "loss is nan after a few batches", "--json"))]
    assert "P1" in codes
    message = "mat1 and mat2 shapes cannot be multiplied (32x256 and 400x120)"
    assert findings(say("doctor", message, "--json"))[0]["severity"] in ("error", "advice")
    both = findings(say("doctor", "it always predicts the same class", f"{file}:setup", "--seconds", 1, "--json"))
    assert both[0]["fault"] == "O1"


def test_settle_measures(file: Path) -> None:
    result = say("settle", "normalise", f"{file}:healthy", "--steps", 20, "--seeds", 2, "--json")
    assert "condition number, centred" in findings(result)[0]["evidence"]
    assert json.loads(result.stdout)["checked"]["inputs"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("check",), ("a program or a record to check", "got neither", "--run run.npz")),
        (("check", "zoo:lenet5"), ("data to train on", "none was given", "--data FOLDER")),
        (("check", "FILE:setup", "--loss", "crossentropy"), ("crossentropy",)),
        (("check", "FILE:setup", "--optimizer", "sgd:fast"), ("'fast' is no number", "NAME:RATE")),
        (("settle", "wisdom", "FILE:setup"), ("wisdom",)),
    ],
)
def test_mistakes_are_answered_in_three_parts(words: tuple[str, ...], parts: tuple[str, ...], file: Path) -> None:
    result = say(*(w.replace("FILE", str(file)) for w in words))
    assert result.exit_code == 2, result.output
    for part in parts:
        assert part in result.output


def test_a_network_by_name_on_images_with_and_without_a_preset() -> None:
    asked = ["-q", "check", "zoo:lenet5", "--data", "digits", "--seconds", "0.6", "--json"]
    for more in ([], ["--preprocess", "unit"]):
        found = CliRunner().invoke(main, [*asked, *more])
        assert found.exit_code == 0, found.output
        told = json.loads(found.stdout)
        assert any("no preprocessing is known" in note for note in told["notes"]) == (not more)


def test_a_loss_curve_alone(tmp_path: Path) -> None:
    curve = tmp_path / "losses.csv"
    curve.write_text("step,loss\n" + "".join(f"{k},{2.303 + 0.001 * (k % 2)}\n" for k in range(40)), encoding="utf-8")
    found = CliRunner().invoke(main, ["-q", "check", "--run", str(curve)])
    assert found.exit_code == 0, found.output
    assert "ln 10" in found.stdout
    curve.write_text("nothing\nof use\n", encoding="utf-8")
    found = CliRunner().invoke(main, ["-q", "check", "--run", str(curve)])
    assert found.exit_code == 1
    assert "a loss curve in" in found.stderr
    assert "one loss a line, or .csv with the loss last" in found.stderr
