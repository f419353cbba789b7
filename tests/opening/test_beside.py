"""What lies beside the weights is read; what the user says wins; what is broken or belongs to another network is said.

Turns red: in `Beside.told`, `made_for == net.print` -> `True`; in `opening.open`, read `beside.preprocess()` always.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convscope.opening as opening
from convscope.errors import OpeningError, StoreError
from convscope.images import PRESETS, Preprocess
from convscope.opening import beside

CODE = """
from torch import nn
def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
"""
MADE = Preprocess((8, 8), "stretch", mean=(0.25,), channels="L")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A factory's file, and in `run/` what a training leaves."""
    (tmp_path / "net.py").write_text(CODE)
    run = tmp_path / "run"
    run.mkdir()
    torch.manual_seed(3)
    save_file(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3)).state_dict(), run / "weights.safetensors")
    MADE.save(run / "preprocess.json")
    (run / "classes.txt").write_text("ant\nbee\ncat\n")
    return tmp_path


def test_files_beside_the_weights_are_read_and_the_size_with_them(folder: Path) -> None:
    net = opening.open(f"{folder / 'net.py'}:small", weights=folder / "run/weights.safetensors")
    assert (net.input_shape, net.classes, net.preprocess) == ((1, 1, 8, 8), ("ant", "bee", "cat"), MADE)
    assert f"preprocessing from {folder / 'run/preprocess.json'}: {MADE.describe()}" in net.notes
    assert f"3 class names from {folder / 'run/classes.txt'}" in net.notes


def test_files_beside_the_factory_are_read_and_those_of_the_weights_come_first(folder: Path) -> None:
    PRESETS["digits"].save(folder / "preprocess.json")
    assert opening.open(f"{folder / 'net.py'}:small").preprocess == PRESETS["digits"]
    assert opening.open(f"{folder / 'net.py'}:small", weights=folder / "run/weights.safetensors").preprocess == MADE


def test_what_the_user_says_wins_even_over_a_broken_file(folder: Path) -> None:
    (folder / "run/preprocess.json").write_text("{")
    (folder / "run/classes.txt").write_bytes(b"")
    weights = folder / "run/weights.safetensors"
    with pytest.raises(OpeningError, match=r"preprocess.json lies beside the network and cannot be used; .*--preprocess"):
        opening.open(f"{folder / 'net.py'}:small", (1, 8, 8), weights=weights)
    chosen = PRESETS["digits"]
    with pytest.raises(OpeningError, match=r"classes.txt lies beside the network and cannot be used; it is empty"):
        opening.open(f"{folder / 'net.py'}:small", (1, 8, 8), weights=weights, preprocess=chosen)
    net = opening.open(f"{folder / 'net.py'}:small", (1, 8, 8), weights=weights, preprocess=chosen, classes=["a", "b", "c"])
    assert (net.preprocess, net.classes) == (chosen, ("a", "b", "c"))
    assert not [note for note in net.notes if "preprocess.json" in note or "classes.txt" in note]
    (folder / "run/classes.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(OpeningError, match=r"classes.txt lies beside the network and cannot be used; 'utf-8'"):
        opening.open(f"{folder / 'net.py'}:small", (1, 8, 8), weights=weights, preprocess=chosen)


def test_files_of_another_network(folder: Path) -> None:
    weights = folder / "run/weights.safetensors"
    (folder / "run/classes.txt").write_text("ant\nbee\n")
    net = opening.open(f"{folder / 'net.py'}:small", weights=weights)
    assert net.classes == ()
    assert any("classes.txt was left alone: it names 2 classes, the network has 3 outputs" in n for n in net.notes)
    PRESETS["imagenet"].save(folder / "run/preprocess.json")
    with pytest.raises(OpeningError, match=r"preprocess.json does not fit small; it makes 3 channels, the network reads 1"):
        opening.open(f"{folder / 'net.py'}:small", (1, 8, 8), weights=weights)


def test_a_calibration_serves_the_network_that_it_was_fitted_for(folder: Path) -> None:
    reference, weights = f"{folder / 'net.py'}:small", folder / "run/weights.safetensors"
    made_for = opening.open(reference, weights=weights).print
    beside.write_calibration(folder / "run", {"temperature": 2.5, "network": made_for})
    net = opening.open(reference, weights=weights)
    assert net.temperature == 2.5
    assert f"temperature 2.5 from {folder / 'run/calibration.json'}" in net.notes
    beside.write_calibration(folder / "run", {"temperature": 2.5, "network": "0" * 16})
    net = opening.open(reference, weights=weights)
    assert net.temperature is None
    assert any("calibration.json was left alone: it was fitted for other weights" in note for note in net.notes)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"temperature": -1, "network": ""}', '{"temperature": "x"}'])
def test_a_broken_calibration(folder: Path, content: str) -> None:
    (folder / "run/calibration.json").write_text(content)
    with pytest.raises(OpeningError, match=r"calibration.json lies beside the network and cannot be used; .*fit it again"):
        opening.open(f"{folder / 'net.py'}:small", weights=folder / "run/weights.safetensors")


def test_where_files_belong(folder: Path) -> None:
    assert opening.folder_of("zoo:lenet5") is None
    assert opening.folder_of("zoo:lenet5", folder / "run/weights.safetensors") == folder / "run"
    assert opening.folder_of(f"{folder}/net.py:small(classes=2)") == folder.resolve()
    assert opening.folder_of(f"{folder}/net.pt2") == folder.resolve()
    assert opening.folder_of("package.module:factory") is None
    with pytest.raises(StoreError, match=r"cannot keep a calibration in .*none; there is no such folder; it lies beside"):
        beside.write_calibration(folder / "none", json.loads("{}"))
