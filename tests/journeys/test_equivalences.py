"""`convscope equivalences` and `convscope steps --update`, as somebody types them.

Turns red: in cli_mechanics.py, hand `None` on for `method`, or leave `rate=rate` out.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.journeys.test_cli import answer, say


def test_equivalences_of_a_layer(tmp_path: Path) -> None:
    shown = " ".join(answer("equivalences", "zoo:lenet5", "--layer", "conv2", "--out", tmp_path / "proofs.csv").split())
    assert "conv2 (conv2d): 4 of 7 apply" in shown
    assert "im2col: convolution = matrix product, (16×150) · (150×100)" in shown
    assert "collapsed-linear: does not apply: relu2 (ReLU) comes next" in shown
    assert len((tmp_path / "proofs.csv").read_text(encoding="utf-8").splitlines()) >= 8


def test_one_equivalence_as_json() -> None:
    found = json.loads(answer("equivalences", "zoo:lenet5", "--method", "sparse-matrix", "--json"))
    assert found["columns"]["what"] == ["output", "gradient of the input", "non-zeros", "learned numbers"]
    assert found["columns"]["difference"][2] is None
    assert max(found["columns"]["difference"][:2]) < 1e-12


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--method", "fourier"), 2, "no equivalence named 'fourier'"),
        (("--method", "dense-as-convolution"), 2, "DenseAsConvolution cannot be asked of conv1; conv1 is a conv2d, not a"),
        (("--layer", "conv9"), 2, "no layer named 'conv9'"),
    ],
)
def test_equivalences_that_cannot_be_asked(words: tuple[str, ...], code: int, text: str) -> None:
    result = say("equivalences", "zoo:lenet5", *words)
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr


def test_one_training_step() -> None:
    images = ("--image", "digits/0001", "--image", "digits/0002", "--label", "3")
    words = ("steps", "demo:digits", "--update", *images, "--json")
    by_unit = json.loads(answer(*words, "--layer", "conv1/2", "--rate", "0.05"))
    assert (by_unit["direction"], by_unit["layer"], by_unit["at"][0]) == ("update", "conv1", 2)
    assert by_unit["table"]["label"] == [3, 3]
    assert abs(by_unit["value"] - by_unit["check"]) < 1e-10
    assert by_unit["origin"]["method"] == "Update(layer='conv1', channel=2, rate=0.05, training=False)"
    by_option = json.loads(answer(*words, "--layer", "conv1", "--channel", "2", "--rate", "0.05"))
    assert by_option == by_unit


@pytest.mark.parametrize("words", [("--at", "1,1"), ("--inner", "0"), ("--array", "bias"), ("--direction", "input")])
def test_what_an_update_does_not_go_with(words: tuple[str, str]) -> None:
    result = say("steps", "zoo:lenet5", "--update", *words)
    assert result.exit_code == 2
    assert f"--update does not go with {words[0]}; it shows a whole filter's step; choose the filter" in result.stderr
