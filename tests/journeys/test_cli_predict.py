"""`convscope predict` as somebody types it: after a training, in a folder of images, calibrated, and checked.

Turns red: in cli_predict, leave `folder` out of `actions.calibrate`; in actions.predicting, return `[]` for `warnings`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope import cli_predict, data, outputs
from convscope.results import Table
from convscope.store import read
from tests.journeys.test_cli import answer, say

CODE = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

def wrong():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10), nn.Softmax(0))

def lone():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))

def maps():
    return nn.Conv2d(1, 3, 3)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A factory, what `convscope fit` made of it, and a folder of pictures with one that is broken."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "net.py").write_text(CODE)
    answer("fit", f"{folder / 'net.py'}:small", "--images", "digits", "--epochs", "2", "--out", folder / "run")
    (folder / "photos").mkdir()
    digits = data.open_collection("digits")
    for i in (3, 14, 15):
        Image.fromarray(digits[i][..., 0]).save(folder / f"photos/{i}.png")
    (folder / "photos/torn.png").write_bytes(b"not a picture")
    return folder


def words(place: Path, name: str = "small") -> tuple[str, ...]:
    return "predict", f"{place / 'net.py'}:{name}", "--weights", str(place / "run/weights.safetensors")


def test_a_trained_network_needs_its_weights_only(place: Path) -> None:
    found = json.loads(answer(*words(place), place / "photos/3.png", "--top", "2", "--json"))
    assert found["columns"]["class"][0] == "3"
    assert any("preprocessing from" in note and "preprocess.json" in note for note in found["notes"])
    assert "read as logits: the last operation, 3 (linear), gives scores" in found["notes"]


def test_a_folder_gives_a_row_for_every_image_and_rank(place: Path) -> None:
    out = place / "found.npz"
    found = json.loads(answer(*words(place), place / "photos", "--top", "2", "--json", "--out", out))
    columns = found["columns"]
    assert columns["image"] == ["14.png", "14.png", "15.png", "15.png", "3.png", "3.png"]
    assert columns["rank"] == [1, 2] * 3
    assert columns["index"][::2] == [4, 5, 3]
    assert any(note.startswith("skipped torn.png: cannot read") for note in found["notes"])
    kept = read(out)
    assert isinstance(kept, Table)
    assert kept.columns["image"].tolist() == columns["image"]
    alone = json.loads(answer(*words(place), place / "photos/14.png", "--top", "2", "--json"))
    assert alone["columns"]["probability"] == pytest.approx(columns["probability"][:2], rel=1e-5)


def test_several_words_are_several_images(place: Path) -> None:
    text = answer(*words(place), "digits/0003", place / "photos/14.png", "--top", "1")
    assert "small says of 2 images" in text
    assert "digits/0003" in text


def test_a_calibration_is_kept_and_used(place: Path) -> None:
    table = json.loads(answer(*words(place), "--calibrate", "digits", "--json"))
    columns = table["columns"]
    assert columns["temperature"][0] == 1
    assert columns["nll"][1] < columns["nll"][0]
    assert "over 15 bins of equal width" in table["units"]["ece"]
    kept = json.loads((place / "run/calibration.json").read_text())
    assert kept["temperature"] == pytest.approx(columns["temperature"][1])
    assert kept["ece"]["before"] == pytest.approx(columns["ece"][0])
    found = json.loads(answer(*words(place), "digits/0003", "--json"))
    assert f"softmax of the outputs, at temperature {kept['temperature']:.4g}" == found["units"]["probability"]
    assert any("calibration.json" in note for note in found["notes"])
    z = np.array(found["columns"]["output"])
    p = np.array(found["columns"]["probability"])
    assert np.log(p[0] / p[1]) == pytest.approx((z[0] - z[1]) / kept["temperature"], rel=1e-4)
    plain = json.loads(answer(*words(place), "digits/0003", "--temperature", "1", "--json"))
    assert plain["units"]["probability"] == "softmax of the outputs"
    (place / "run/calibration.json").unlink()


def test_a_wrong_range_is_found_and_one_line_says_so_at_prediction(place: Path) -> None:
    wrong = (*words(place), "--range", "255", "--channels", "L", "--input", "1x8x8")
    found = json.loads(answer(*wrong, "digits", "--check-preprocess", "--json"))
    assert found["findings"][0]["severity"] == "error"
    assert found["findings"][0]["where"] == "range"
    right = json.loads(answer(*words(place), "digits", "--check-preprocess", "--json"))
    assert right["findings"][0]["severity"] in ("fine", "unknown")
    some = [f"digits/{i:04d}" for i in range(20, 30)]
    assert "the preprocessing looks wrong (range" in " ".join(answer(*wrong, *some, "--top", "1").split())
    assert "looks wrong" not in answer(*wrong, *some, "--top", "1", "--no-look")
    assert "looks wrong" not in answer(*words(place), *some, "--top", "1")


def test_a_softmax_over_the_batch_is_warned_of(place: Path) -> None:
    text = " ".join(answer(*words(place, "wrong"), "digits/0003").split())
    assert "warning: the softmax runs over axis 0 of (B, 10): over the images of a batch, not over the classes" in text


def test_one_output_has_two_names_and_a_map_is_averaged(place: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("no\nyes\n")
    common = ("--input", "1x8x8", "--json")
    lone = ("predict", f"{place / 'net.py'}:lone", "digits/0003", "--classes", tmp_path / "two.txt")
    two = json.loads(answer(*lone, *common))
    assert sorted(two["columns"]["class"]) == ["0 no", "1 yes"]
    assert sum(two["columns"]["probability"]) == pytest.approx(1)
    (tmp_path / "two.txt").write_text("cat\n")
    one = json.loads(answer(*lone, *common))
    assert sorted(one["columns"]["class"]) == ["0 not cat", "1 cat"]
    maps = json.loads(answer("predict", f"{place / 'net.py'}:maps", "digits/0003", *common))
    assert len(maps["columns"]["index"]) == 3
    assert sum(maps["columns"]["probability"]) == pytest.approx(1, abs=1e-5)
    assert "the output is a map of 6×6: numbers are means over its 36 positions" in maps["notes"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 2, "there is no image to look at"),
        (("digits", "--calibrate", "digits"), 2, "--calibrate fits a temperature and predicts nothing"),
        (("--check-preprocess", "--calibrate", "digits"), 2, "--check-preprocess and --calibrate are two questions"),
        (("--calibrate", "photos"), 1, "photos has no labels; a temperature is fitted to right answers"),
        (("digits/0003", "--top", "0"), 2, "top must be at least 1; got 0"),
        (("nowhere.png",), 1, "no image at nowhere.png"),
    ],
)
def test_what_is_refused(place: Path, more: tuple[str, ...], code: int, said: str) -> None:
    result = say(*words(place), *more)
    assert result.exit_code == code
    assert said in result.output


def test_where_there_is_nothing_to_calibrate_or_to_keep_it_in(place: Path, tmp_path: Path) -> None:
    result = say("predict", "zoo:lenet5", "--calibrate", "digits")
    assert "zoo:lenet5 has no place to keep a calibration in; it has no weights of its own; give them" in result.output
    many = say(*words(place), "digits/0003", "--multi-label", "--outputs", "probabilities")
    assert many.exit_code == 2
    (tmp_path / "torn.png").write_bytes(b"no")
    result = say(*words(place), tmp_path)
    assert result.exit_code == 1
    assert "none of the images can be used; skipped torn.png" in result.output


def test_the_command_knows_all_kinds_of_output() -> None:
    assert cli_predict.KINDS == outputs.KINDS
