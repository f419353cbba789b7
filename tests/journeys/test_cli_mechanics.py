"""What every operation computes, asked on the command line: numbers, files, and errors that teach.

Turns red: in cli_mechanics.steps, hand `position` on as None; in actions/mechanics.py, take class 0 for a missing label.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope import inputs
from tests.journeys.test_cli import answer, say


def asked(*words: str | Path) -> dict[str, object]:
    return json.loads(answer("steps", "zoo:lenet5", *words, "--json"))


def test_an_output_value() -> None:
    found = asked("--image", "digits/0042", "--layer", "conv1", "--channel", "2", "--at", "5,9")
    net = cs.open("zoo:lenet5")
    x, _ = inputs.prepare(net, "digits/0042")
    assert found["at"] == [0, 2, 5, 9]
    assert found["value"] == pytest.approx(float(net.run(x, keep=["conv1"])["conv1"][0, 2, 5, 9]), abs=1e-6)
    text = answer("steps", "zoo:lenet5", "--image", "digits/0042", "--layer", "conv1/2@5,9")
    assert "conv1/2@5,9: the value of one output" in text
    assert "check: autograd says" in text
    assert "label" not in text, "no loss plays a part in a value"


def test_deltas_and_gradients() -> None:
    for direction, at in (("input", "1,2"), ("weights", "0,3")):
        found = asked("--image", "digits/0042", "--layer", "conv2", "--direction", direction, "--channel", "1", "--at", at)
        assert abs(float(found["value"]) - float(found["check"])) < 1e-10  # type: ignore[arg-type]
        assert any("no label given" in n for n in found["notes"])  # type: ignore[union-attr]
    batch = asked("--image", "digits/0001", "--image", "digits/0002", "--label", "3", "--label", "7", "--layer", "loss",
                  "--direction", "input", "--example", "1")
    assert batch["at"] == [1, 7], "p − y is largest at the right class"
    assert "class 3, 7" in str(batch["notes"])


def test_without_any_option_there_is_an_answer() -> None:
    text = answer("steps", "zoo:lenet5")
    assert text.startswith("conv1/")
    assert "no image given: the input is random numbers" in text.replace("\n", " ")


def test_pictures_and_tables_are_kept(tmp_path: Path) -> None:
    for suffix in ("png", "html", "csv", "npz", "txt"):
        out = tmp_path / f"why.{suffix}"
        answer("steps", "zoo:lenet5", "--image", "digits/0042", "--direction", "weights", "--out", out)
        assert out.stat().st_size > 100


def test_one_training_step() -> None:
    found = asked("--image", "digits/0001", "--image", "digits/0002", "--update", "--layer", "conv1", "--channel", "3",
                  "--rate", "0.1")
    assert found["direction"] == "update"
    assert abs(float(found["value"]) - float(found["check"])) < 1e-10  # type: ignore[arg-type]
    assert len(next(iter(found["table"].values()))) == 2, "one row an example"  # type: ignore[union-attr]


def test_equivalences_and_a_single_one() -> None:
    text = answer("equivalences", "zoo:lenet5", "--layer", "conv2")
    assert "im2col" in text
    found = json.loads(answer("equivalences", "zoo:lenet5", "--json"))
    used = [d for d in found["columns"]["difference"] if d is not None]
    assert len(used) >= 4
    assert max(used) < 1e-10


def test_verify_names_a_mistake(tmp_path: Path) -> None:
    net = cs.open("zoo:lenet5")
    x = np.random.default_rng(0).normal(size=(2, 1, 28, 28))
    from convscope.mechanics.capture import Capture
    from convscope.mechanics.loss import Loss

    kept = Capture(net, torch.from_numpy(x), Loss(labels=(3, 1)))
    arrays = {f"{a}.delta": kept.delta(a) for a in ("conv1", "relu1", "pool1", "conv2", "fc1", "fc3")}
    good = tmp_path / "good.npz"
    np.savez(good, input=x, labels=[3, 1], **arrays)
    assert "error" not in answer("verify", "zoo:lenet5", good).split("\n")[0]
    arrays["fc1.delta"] = arrays["fc1.delta"] * 2
    bad = tmp_path / "bad.npz"
    np.savez(bad, input=x, labels=[3, 1], **arrays)
    said = say("verify", "zoo:lenet5", bad)
    assert "fc1" in said.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steps", "zoo:lenet5", "--layer", "conv7"), "no layer named 'conv7'"),
        (("steps", "zoo:lenet5", "--at", "a,b"), "cannot read --at"),
        (("steps", "zoo:lenet5", "--layer", "conv1", "--at", "99,0"), "no index 99"),
        (("steps", "zoo:lenet5", "--layer", "relu1", "--direction", "weights"), "has no weights"),
        (("steps", "zoo:lenet5", "--label", "77"), "no class 77"),
        (("verify", "zoo:lenet5", "nowhere.npz"), "nowhere.npz"),
        (("equivalences", "zoo:lenet5", "--method", "magic"), "magic"),
    ],
)
def test_errors_teach(words: tuple[str, ...], message: str) -> None:
    result = say(*words)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
