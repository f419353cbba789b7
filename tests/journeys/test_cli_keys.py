"""The commands `key …` from a new key to the attack report.

Turns red: in `cli_keys.py`, `pictured` not handed on · in `actions/keying.py`, `like is not None and preprocess is not None`
left out.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convscope.cli import main


def answer(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["-q", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few digits in a file, a key for them, and the same images keyed."""
    from convscope.data import open_collection

    where = tmp_path_factory.mktemp("keys")
    digits = open_collection("digits")
    np.savez(where / "digits.npz", x=np.stack([digits[i] for i in range(160)]), y=digits.labels[:160])
    made = json.loads(answer("key", "new", where / "my.key", "--size", "1x8x8", "--json"))
    assert made["kind"] == "orthogonal"
    assert made["notes"] == []
    assert stat.S_IMODE((where / "my.key").stat().st_mode) == 0o600
    kept = answer("key", "apply", where / "my.key", where / "digits.npz", "--out", where / "keyed.npz")
    assert "images: 160" in kept
    assert "dtype: float32" in kept
    return where


def test_help_says_it_by_example() -> None:
    text = " ".join(answer("key", "--help").split())
    assert "obfuscation and no proof of secrecy" in text
    for name in ("new", "apply", "undo", "fit", "attack", "accuracy", "front"):
        assert f"convscope key {name} " in " ".join(answer("key", name, "--help").split())


def test_there_and_back(folder: Path) -> None:
    said = answer("key", "undo", folder / "my.key", folder / "keyed.npz", "--out", folder / "plain.npz")
    assert "160 plain images" in said
    with np.load(folder / "plain.npz") as plain, np.load(folder / "digits.npz") as digits:
        np.testing.assert_array_equal(plain["x"], digits["x"])


def test_training_on_keyed_images(folder: Path) -> None:
    found = json.loads(answer("key", "fit", "convscope.keys.patches:patch_net()", folder / "keyed.npz", "--epochs", 2,
                              "--out", folder / "run", "--json"))
    assert found["kind"] == "run"
    assert (folder / "run" / "weights.safetensors").exists()


def test_the_attack_report(folder: Path) -> None:
    answer("key", "new", folder / "weak.key", "--kind", "permutation", "--size", "1x8x8")
    found = json.loads(answer("key", "attack", folder / "weak.key", "--data", folder / "digits.npz", "--steps", 30,
                              "--picture", folder / "attacks.png", "--out", folder / "attacks.csv", "--json"))
    best = dict(zip(found["columns"]["attack"], found["columns"]["psnr"], strict=True))
    assert best["statistics"] == best["known pairs"] == 100
    assert any("no proof of secrecy" in note for note in found["notes"])
    assert (folder / "attacks.png").stat().st_size > 10_000
    assert (folder / "attacks.csv").exists()


@pytest.mark.slow
def test_accuracy_and_the_front_part(folder: Path) -> None:
    data = ("--data", folder / "digits.npz")
    found = json.loads(answer("key", "accuracy", folder / "my.key", *data, "--epochs", 2, "--json"))
    assert found["columns"]["images"] == ["plain", "keyed"] * 2
    found = json.loads(answer("key", "front", "zoo:digits", "--layer", "conv1", *data, "--steps", 20, "--picture",
                              folder / "front.png", "--json"))
    assert found["columns"]["layer"] == ["conv1"]
    assert (folder / "front.png").exists()


def test_the_edit_reads_what_apply_writes(folder: Path) -> None:
    patch = ("convscope.keys.patches:patch_net()", "--input", "1x8x8")
    text = answer("edit", patch[0], "keyed", *patch[1:], "--key", folder / "my.key", "--data", folder / "digits.npz")
    assert "32 filters keyed" in text


def test_errors_teach(folder: Path) -> None:
    assert "there is one already" in answer("key", "new", folder / "my.key", "--size", "1x8x8", code=1)
    said = answer("key", "new", folder / "a.key", "--kind", "caesar", "--size", "1x8x8", code=2)
    assert "no kind of key is called 'caesar'" in said
    assert "exclude each other" in answer("key", "apply", folder / "my.key", "digits", "--out", folder / "b.npz", "--like",
                                          "zoo:digits", "--preprocess", "unit", code=2)
    (folder / "open.key").write_bytes((folder / "my.key").read_bytes())
    (folder / "open.key").chmod(0o644)
    assert "is open to others; its mode is 0644" in answer("key", "attack", folder / "open.key", "--data", "digits", code=1)
