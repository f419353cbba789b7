"""From a reference to a trained network in a folder, by either engine.

Mutation that turns this red (tried): `engine` not taken out of the settings · the NumPy engine called without its precision.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from convscope import actions
from convscope.cli import main
from convscope.errors import UnknownName, UsageError

EPOCH = {"epochs": 1, "batch_size": 256}


def test_both_engines_keep_the_same_files_and_nearly_the_same_weights(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    kept = {}
    for engine in ("torch", "numpy"):
        torch.manual_seed(0)
        net, run = actions.fit("zoo:digits", "digits", out=tmp_path / engine, engine=engine, **EPOCH)
        kept[engine] = load_file(tmp_path / engine / "weights.safetensors")
        assert net.reference == "zoo:digits"
        assert run.epochs["held_out_accuracy"].shape == (1,)
    theirs, ours = ({p.name for p in (tmp_path / engine).iterdir()} for engine in ("torch", "numpy"))
    assert ours - theirs == {"checkpoint.npz"}
    assert theirs - ours == {"checkpoint.pt"}
    assert kept["torch"].keys() == kept["numpy"].keys()
    for name, array in kept["torch"].items():
        assert kept["numpy"][name].dtype == array.dtype
        assert np.abs(kept["numpy"][name] - array).max() < 1e-3, name  # float32, adamw: rounding near gradients of 0


def test_the_command_trains_and_goes_on(tmp_path: Path) -> None:
    words = ["fit", "zoo:perceptron", "--images", "digits", "--engine", "numpy", "--precision", "float64", "--json",
             "--batch-size", "128", "--out", str(tmp_path / "run")]
    first = CliRunner().invoke(main, [*words, "--epochs", "1"])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(main, [*words, "--epochs", "2"])
    assert again.exit_code == 0, again.output
    told = json.loads(again.stdout)
    assert told["notes"] == ["went on from checkpoint.npz after 1 epochs"]
    assert told["settings"]["precision"] == "float64"
    assert told["epochs"]["loss"][0] == json.loads(first.stdout)["epochs"]["loss"][0]


def test_engines_that_are_not_there() -> None:
    with pytest.raises(UnknownName, match="no engine named 'nump'; closest: 'numpy'"):
        actions.fit("zoo:perceptron", "digits", engine="nump", **EPOCH)
    with pytest.raises(UsageError, match="precision is a setting of the NumPy engine; got 'float64'; add --engine numpy"):
        actions.fit("zoo:perceptron", "digits", precision="float64", **EPOCH)
    with pytest.raises(UnknownName, match=r"no optimiser of the NumPy engine named 'rprop'"):
        actions.fit("zoo:perceptron", "digits", engine="numpy", optimizer="rprop", **EPOCH)


def test_weights_are_kept_along_the_way_and_again_after_a_stop(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def words(folder: str, epochs: int) -> dict:
        return {"out": tmp_path / folder, "keep_every": "5 steps", **EPOCH, "epochs": epochs}

    for folder, epochs in (("whole", 2), ("stopped", 1), ("stopped", 2)):
        torch.manual_seed(0)
        actions.fit("zoo:perceptron", "digits", **words(folder, epochs))
    whole, stopped = (sorted((tmp_path / folder / "kept").iterdir()) for folder in ("whole", "stopped"))
    assert [p.name for p in whole] == [p.name for p in stopped] == [f"step-{k:06}.safetensors" for k in (0, 5, 10)]
    assert [p.read_bytes() for p in whole] == [p.read_bytes() for p in stopped]
    torch.manual_seed(0)
    actions.fit("zoo:perceptron", "digits", out=tmp_path / "epochs", keep_every=2, **EPOCH | {"epochs": 2})
    first, last = (load_file(tmp_path / "epochs/kept" / f"epoch-{k:04}.safetensors") for k in (0, 2))
    final = load_file(tmp_path / "epochs/weights.safetensors")
    assert all(torch.equal(last[k], final[k]) for k in final)
    assert any(not torch.equal(first[k], final[k]) for k in final)
    start = load_file(whole[0])
    assert all(torch.equal(start[k], first[k]) for k in first)


def test_weights_cannot_be_kept_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder to keep weights in; got keep_every=1; name it: --out FOLDER"):
        actions.fit("zoo:perceptron", "digits", keep_every=1, **EPOCH)
    with pytest.raises(UsageError, match="the NumPy engine keeps no weights along the way; got keep_every=1; use --engine"):
        actions.fit("zoo:perceptron", "digits", keep_every=1, engine="numpy", out=tmp_path, **EPOCH)
    with pytest.raises(UsageError, match="cannot keep weights every 'often'; it is no number of epochs or steps; for"):
        actions.fit("zoo:perceptron", "digits", keep_every="often", out=tmp_path, **EPOCH)
