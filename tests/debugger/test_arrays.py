"""Names and files of somebody's arrays.

Mutation: leave `.replace("~", ":")` out of `understand`, and relu~1 is nobody's: this file turns red.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convscope.debugger.arrays import read, understand
from convscope.errors import DataError, UnknownName

LAYERS = {"conv1": ("weight", "bias"), "relu": (), "relu:1": (), "block.fc": ("weight",), "lstm": ("weight_hh_l0",)}


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("conv1.delta", "conv1.delta"),
        ("conv1/grad_output", "conv1.delta"),
        ("conv1__dW", "conv1.weight.gradient"),
        ("conv1.db", "conv1.bias.gradient"),
        ("conv1.W", "conv1.weight"),
        ("conv1_delta", "conv1.delta"),
        ("conv1.grad_weight", "conv1.weight.gradient"),
        ("conv1.weight_grad", "conv1.weight.gradient"),
        ("conv1.out", "conv1.activation"),
        ("conv1.dx", "conv1.input_delta"),
        ("block.fc.weight.gradient", "block.fc.weight.gradient"),
        ("lstm.weight_hh_l0.gradient", "lstm.weight_hh_l0.gradient"),
        ("relu~1.delta", "relu:1.delta"),
        ("relu:0.delta", "relu.delta"),
        ("x", "input"),
        ("y", "labels"),
        ("loss", "loss"),
        ("output", "activation"),
        ("input.gradient", "input.delta"),
        ("output.delta", "delta"),
    ],
)
def test_names(name: str, meaning: str) -> None:
    assert str(understand(name, LAYERS)) == meaning


def test_the_error_of_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"no array of block\.fc goes by that name; expected block\.fc\.activation"):
        understand("block.fc.bias", LAYERS)
    with pytest.raises(UnknownName, match=r"no layer named 'conv2'; closest: 'conv1'; arrays are named <layer>.activation"):
        understand("conv2.weight.gradient", LAYERS)


def test_files(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"conv1.delta": np.arange(6.0).reshape(2, 3), "relu:1.delta": np.ones(2, np.float32)}
    np.savez(tmp_path / "a.npz", **arrays)
    save_file(arrays, tmp_path / "a.safetensors")
    (tmp_path / "folder").mkdir()
    for name, value in arrays.items():
        np.save(tmp_path / "folder" / f"{name.replace(':', '~')}.npy", value)
    for source in ("a.npz", "a.safetensors", "folder"):
        found = read(tmp_path / source)
        assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in arrays.items()}


def test_files_that_cannot_be_read_are_explained(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([1, None]))
    np.savez(tmp_path / "empty.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("nothing")
    (tmp_path / "text.safetensors").write_text("nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.npy").write_text("nothing")
    for name, said in (
        ("objects.npz", "cannot be read; Object arrays cannot be loaded"),
        ("empty.npz", "there is nothing to verify"),
        ("one.npy", "one array without a name"),
        ("text.npz", "text.npz is no .npz file"),
        ("text.safetensors", "is no safetensors file"),
        ("folder", "a.npy cannot be read"),
        ("absent.npz", "there is no .*absent.npz"),
    ):
        with pytest.raises(DataError, match=said):
            read(tmp_path / name)
