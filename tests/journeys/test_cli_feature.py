"""`convscope feature` as somebody types it: units, classes, dreams, animations, what goes with what, mistakes.

Turns red: in `actions/features.py`, `chosen`: "filters" always; in `console.py`, `"input_size"` -> `"size"`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope import actions, cli, registry
from convscope.errors import StoreError, UsageError
from convscope.results import Picture
from tests.journeys.test_cli import answer, say

NETWORK = """
from collections import OrderedDict
import torch, torch.nn as nn

def small(channels=1, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(channels, 4, 3, padding=1), relu1=nn.ReLU(), conv2=nn.Conv2d(4, 6, 3, padding=1), relu2=nn.ReLU(),
        flatten=nn.Flatten(), fc=nn.Linear(384, 10)))
"""
SIZE = ("--input", "1x8x8", "--preprocess", "unit")


@pytest.fixture
def network(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORK)
    return f"{tmp_path / 'net.py'}:small"


def test_help_says_it_by_example() -> None:
    text = " ".join(answer("feature", "--help").split())
    assert "convscope feature demo:digits conv2/5 --save unit.png" in text
    assert "pictures of the way, the last one included, for an animation" in text
    assert "(default 256). [" in text  # methods that mean different things by one option


@pytest.mark.parametrize(
    ("target", "more", "method"),
    [
        ("conv1", (), "filters"),
        ("conv2", ("--steps", "2", "--most", "2"), "activation-maximisation"),
        ("conv2/5", ("--steps", "2"), "activation-maximisation"),
        ("class:3", ("--steps", "2"), "activation-maximisation"),
        ("conv2/5 - 0.5*class:3", ("--steps", "2"), "activation-maximisation"),
        ("conv2", ("--image", "digits/0042", "--steps", "2"), "dream"),
    ],
)
def test_the_method_that_is_meant(network: str, target: str, more: tuple[str, ...], method: str) -> None:
    found = json.loads(answer("feature", network, target, *SIZE, *more, "--json"))
    assert f"method not given: {method}" in found["notes"]
    assert found["kind"] == "picture"


def test_a_dream_moves(network: str, tmp_path: Path) -> None:
    out, last = tmp_path / "dream.gif", tmp_path / "last.png"
    words = ("feature", network, "conv2", *SIZE, "--method", "dream", "--image", "digits/0042", "--octaves", "2")
    found = json.loads(answer(*words, "--steps", "6", "--frames", "6", "--save", out, "--last", last, "--json"))
    with Image.open(out) as moving:
        assert moving.n_frames == 7  # type: ignore[attr-defined]  # the original and six
    np.testing.assert_array_equal(np.array(Image.open(last)), found["tiles"][-1])
    assert json.loads(answer(*words, "--steps", "6", "--frames", "6", "--json")) == found
    assert found["values"]["objective"][-1] > found["values"]["objective"][0]


def test_sizes_of_picture_and_network_do_not_mix(network: str) -> None:
    found = json.loads(answer("feature", network, "conv2", *SIZE, "--image", "digits/0042", "--size", "20", "--steps", "1",
                              "--json"))
    assert np.array(found["tiles"]).shape == (2, 20, 20, 3)
    own = {"network", "target", "method", "image", "images", "record", "against", "guide", "save", "last", "progress"}
    taken = {o.name for o in cli.main.commands["feature"].params if "[" not in (getattr(o, "help", "") or "")} | own
    for family in set(registry.FAMILIES) - {"checks"}:  # whose thresholds are no options of a command
        kinds: dict[str, set[str]] = {}
        for name in registry.names(family):
            for p in registry.describe(family, name).parameters:
                kinds.setdefault(p.name, set()).add(p.type.removesuffix("| None").strip())
        assert family != "features" or not set(kinds) & taken
        assert all(len(kind) == 1 for kind in kinds.values()), "one option, one type"


def test_a_sweep_says_whether_a_picture_converged(network: str, tmp_path: Path) -> None:
    answer("respond", network, *SIZE, "--images", "digits", "--out", tmp_path / "record", "--layers", "conv2")
    found = json.loads(answer("feature", network, "conv2/5", *SIZE, "--record", tmp_path / "record", "--images", "digits",
                              "--steps", "8", "--json"))
    assert set(found["values"]) >= {"response", "strongest", "converged"}
    assert any(note.startswith("colours of 200 images") for note in found["notes"])


def test_two_networks_in_one_objective(network: str, tmp_path: Path) -> None:
    net = cs.open(network, (1, 8, 8), preprocess="unit")
    other = cs.open(f"{tmp_path / 'net.py'}:small(seed=3)", (1, 8, 8))
    found = cs.feature(net, "conv2/5 - 2:conv2/5", against=other, steps=2)
    assert isinstance(found, Picture)
    assert found.units == ("conv2/5 - 2:conv2/5",)
    assert say("feature", network, "2:conv2/5", *SIZE).exit_code == 2
    same = say("feature", "demo:digits", "conv1/5 - 2:conv1/5", "--against", "demo:digits", "--steps", "2", "--json")
    assert np.abs(json.loads(same.stdout)["values"]["score"]).max() < 1e-6


def test_what_a_method_does_not_look_at_is_said(network: str) -> None:
    found = json.loads(answer("feature", network, "conv1", *SIZE, "--method", "filters", "--guide", "digits/0001", "--json"))
    assert "guide was given, but filters does not look at it" in found["notes"]
    found = json.loads(answer("feature", network, "conv2", *SIZE, "--image", "digits/0002", "--guide", "digits/0001",
                              "--steps", "1", "--json"))
    assert not any("does not look at it" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("conv9",), 2, "no layer named 'conv9'"),
        (("conv2/99",), 2, "no unit 99 in conv2"),
        (("class:cat",), 2, "cat"),
        (("conv2", "--method", "dreams"), 2, "no feature named 'dreams'; closest: 'dream'"),
        (("conv1", "--octaves", "3"), 2, "filters has no option --octaves"),
        (("conv2", "--method", "dream", "--power", "3"), 2, "dream has no option --power"),
        (("conv2", "--method", "caricature"), 2, "give one: --image FILE"),
        (("conv2", "--image", "nowhere.png"), 1, "nowhere.png"),
        (("conv2", "--record", "nowhere"), 1, "nowhere"),
        (("conv1", "--last", "x.jpg"), 2, "--last x.jpg; one picture is kept as .png; give it that suffix"),
        (("conv1", "--method", "templates", "--last", "x.png"), 2, "the last tile of this answer; it is a table"),
        (("conv2", "--image", "digits/0042", "--steps", "1", "--save", "x.avi"), 2, "use one of .npz, .png"),
    ],
)
def test_mistakes_teach(network: str, words: tuple[str, ...], code: int, sentence: str) -> None:
    result = say("feature", network, *words, *SIZE)
    assert result.exit_code == code, result.output + str(result.exception)
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_a_sweep_of_another_network_is_refused(network: str, tmp_path: Path) -> None:
    net, other = (cs.open(f"{network}(seed={s})", (1, 8, 8), preprocess="unit") for s in (0, 1))
    actions.respond(net, "digits", tmp_path / "record", layers=("conv2",))
    with pytest.raises(StoreError, match=r"is of another network; print .*; sweep again with this network"):
        cs.feature(other, "conv2/1", record=tmp_path / "record")


def test_ctrl_c_says_that_nothing_was_kept(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> Picture:
        raise KeyboardInterrupt

    monkeypatch.setattr(actions, "feature", stop)
    result = say("feature", network, "conv2/1", *SIZE)
    assert result.exit_code == 130
    assert "stopped; nothing was kept" in result.stderr


def test_options_of_no_method_are_refused(network: str) -> None:
    with pytest.raises(UsageError, match="filters has no parameter 'octaves'"):
        cs.feature(cs.open(network, (1, 8, 8)), "conv1", octaves=3)


def test_an_image_is_rebuilt_layer_by_layer(tmp_path: Path) -> None:
    """Turns red: in `cli_features.rebuild`, save `found.table` where a picture is asked for."""
    asked = ("rebuild", "demo:digits", "--image", "digits/0042", "--layers", "conv1,pool", "--steps", "20")
    text = answer(*asked, "--save", tmp_path / "strip.png")
    assert "what is left of an image in demo:digits, layer by layer" in text
    assert "PSNR of the rebuilt picture against the image, dB" in text
    assert (tmp_path / "strip.png").read_bytes()[:4] == b"\x89PNG"
    answer(*asked, "--save", tmp_path / "n.csv")
    assert (tmp_path / "n.csv").read_text().splitlines()[0].startswith("layer,operator,numbers,error")
    wrong = say(*asked[:4], "--layers", "no")
    assert wrong.exit_code == 2
    assert "no layer named 'no'" in wrong.stderr
