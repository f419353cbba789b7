"""Weights for a module: what fits goes in, what does not is shown name by name, and nothing is unpickled.

Turns red: in `weights.read`, `weights_only=True` -> `weights_only=False`; in `load_into`, drop `copy.deepcopy`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convscope.opening as opening
from convscope.errors import OpeningError
from convscope.opening.weights import load_into, read


def module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).eval()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_go_into_a_copy_of_the_users_module(tmp_path: Path, suffix: str) -> None:
    trained, mine, path = module(), module(), tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(trained.state_dict(), path)
    else:
        torch.save(trained.state_dict(), path)
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    net = opening.open(mine, (1, 8, 8), weights=path)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(net(x), trained(x).detach())
    assert all(torch.equal(v, before[k]) for k, v in mine.state_dict().items())


@pytest.mark.parametrize(
    ("wrap", "note"),
    [
        (lambda s: {"state_dict": s, "epoch": 3}, "weights taken from entry 'state_dict'"),
        (lambda s: {"model": {"state_dict": s}}, "weights taken from entry 'model'"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "prefix 'module.' taken off all names"),
        (lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()}, "prefix '_orig_mod.' taken off all names"),
        (lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()}, "prefix 'module.' taken off all names"),
    ],
)
def test_wrappings_are_taken_off_and_said(tmp_path: Path, wrap: Callable[[Any], Any], note: str) -> None:
    trained, path = module(), tmp_path / "w.pt"
    torch.save(wrap(trained.state_dict()), path)
    got, notes = load_into(module(), path)
    assert note in notes
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in got.state_dict().items())


def test_what_does_not_fit_is_a_table_with_guesses(tmp_path: Path) -> None:
    state = module().state_dict()
    state["0.weigth"] = state.pop("0.weight")
    state["3.weight"] = torch.zeros(5, 72)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(OpeningError) as caught:
        load_into(module(), tmp_path / "w.pt")
    said = str(caught.value)
    assert said.startswith("the weights in w.pt do not fit Sequential; 1 of wrong shape, 1 missing, 1 unexpected:")
    assert "wrong shape  3.weight: file (5, 72), network (3, 72)" in said
    assert "missing      0.weight (2, 1, 3, 3)  (did you mean 0.weigth?)" in said
    assert "unexpected   0.weigth (2, 1, 3, 3)  (did you mean 0.weight?)" in said
    assert said.endswith(
        "give the architecture that they were trained for, or --partial to leave the missing ones as they are"
    )


def test_partial_keeps_what_is_missing_and_says_how_much(tmp_path: Path) -> None:
    trained = module()
    torch.save({k: v for k, v in trained.state_dict().items() if k.startswith("0.")}, tmp_path / "w.pt")
    mine = module()
    got, notes = load_into(mine, tmp_path / "w.pt", partial=True, ours=False)
    assert torch.equal(got.state_dict()["0.weight"], trained.state_dict()["0.weight"])
    assert torch.equal(got.state_dict()["3.weight"], mine.state_dict()["3.weight"])
    assert notes == ["6 of 9 tensors were not in w.pt and keep their initial values"]
    with pytest.raises(OpeningError, match="0 of wrong shape, 6 missing, 0 unexpected"):
        load_into(mine, tmp_path / "w.pt")


def test_half_precision_is_widened_and_said(tmp_path: Path) -> None:
    torch.save(module().half().state_dict(), tmp_path / "w.pt")
    got, notes = load_into(module(), tmp_path / "w.pt")
    assert next(got.parameters()).dtype == torch.float32
    assert notes == ["weights stored as float16, computed in float32"]


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path) -> None:
    path, proof = tmp_path / "w.pt", tmp_path / "ran"
    torch.save({"a": Bomb(proof)}, path)
    with pytest.raises(
        OpeningError,
        match=r"cannot read weights from .*; UnpicklingError: .*; only tensors and plain values are read",
    ):
        read(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(1)], "holds a list; a dictionary of tensors is needed; save model.state_dict"),
        ({"epoch": 3}, r"holds no named tensors; its entries are \['epoch'\]; save model.state_dict"),
        ({"model": 3}, r"holds no named tensors; its entries are \['model'\]"),
    ],
)
def test_files_without_named_tensors(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(OpeningError, match=said):
        read(tmp_path / "w.pt")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OpeningError, match=r"cannot read weights from .*none.pt; there is no such file; check the path"):
        read(tmp_path / "none.pt")
    for suffix in (".pt", ".safetensors"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"not weights")
        with pytest.raises(OpeningError, match=r"cannot read weights from .*broken"):
            read(broken)
