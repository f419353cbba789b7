"""Saved programs open again; archives that could run code are refused before torch reads them.

Turns red: in `pt2.find`, drop `refuse_pickles(path)`.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import convscope.opening as opening
from convscope.errors import OpeningError, ShapeError
from convscope.opening.pt2 import refuse_pickles


def module() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def saved(path: Path, net: nn.Module, free: bool = True) -> Path:
    x = torch.zeros(2, 1, 8, 8)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},) if free else None)
    torch.export.save(program, path)
    return path


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.filterwarnings("ignore")
def test_a_program_opens_with_its_addresses_and_bits(tmp_path: Path) -> None:
    net = module()
    path = saved(tmp_path / "net.pt2", net)
    opened = opening.open(str(path))
    x = torch.randn(5, 1, 8, 8)
    assert opened.name == "net"
    assert [layer.address for layer in opened.layers] == ["0", "1", "2", "3", "4", "5"]
    assert torch.equal(opened(x), net(x).detach())
    assert sum(layer.parameters for layer in opened.layers) == sum(p.numel() for p in net.parameters())
    with pytest.raises(ShapeError, match="only a network opened from a module"):
        opened.at((1, 9, 9))


@pytest.mark.filterwarnings("ignore")
def test_a_program_with_a_fixed_batch_says_so(tmp_path: Path) -> None:
    opened = opening.open(saved(tmp_path / "fixed.pt2", module(), free=False))
    assert opened.batch == 2
    assert opened.notes == ("the batch is bound to 2: the program was exported so",)


@pytest.mark.filterwarnings("ignore")
def test_a_program_in_training_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "training.pt2", module().train())
    with pytest.raises(
        OpeningError, match=r"training was exported in training mode; .* normalises by the batch; export it after model.eval"
    ):
        opening.open(path)


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(
        OpeningError, match=r"cannot open .*none.pt2; there is no such file; save one with torch.export.save"
    ):
        opening.open(tmp_path / "none.pt2")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(OpeningError, match=r"cannot read .*text.pt2; BadZipFile"):
        opening.open(tmp_path / "text.pt2")
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("version", "1")
    with pytest.raises(OpeningError, match="asks to be unpickled, which can run code; entries: the old archive layout"):
        opening.open(tmp_path / "old.pt2")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["custom_obj_0", "payload.pkl", "weights/weight_0", "weights/extra.pt", "sample_inputs/model.pt", "CONSTANTS/x.PT"],
)
def test_a_payload_never_runs(tmp_path: Path, name: str) -> None:
    """Wherever it lies in the archive: it is refused, or it is read as numbers; it never runs."""
    path, proof = saved(tmp_path / "net.pt2", module()), tmp_path / "ran"
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    root = next(iter(entries)).split("/")[0]
    payload = io.BytesIO()
    torch.save(Bomb(proof), payload)
    for bomb in (payload.getvalue(), pickle.dumps(Bomb(proof))):
        chosen = next((n for n in entries if n.endswith(name)), f"{root}/data/{name}")
        with zipfile.ZipFile(path, "w") as archive:
            for n, data in (entries | {chosen: bomb}).items():
                archive.writestr(n, data)
        with contextlib.suppress(OpeningError):  # raised or not: what counts is that it did not run
            opening.open(path)
        assert not proof.exists()


@pytest.mark.filterwarnings("ignore")
def test_an_archive_that_asks_for_unpickling_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pt2", module())
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    config = next(n for n in entries if n.endswith("weights_config.json"))
    changed = (
        entries[config]
        .replace(b'"use_pickle": false', b'"use_pickle": true')
        .replace(b'"use_pickle":false', b'"use_pickle":  true')
    )
    assert changed != entries[config]
    with zipfile.ZipFile(path, "w") as archive:
        for n, data in (entries | {config: changed}).items():
            archive.writestr(n, data)
    with pytest.raises(
        OpeningError, match=r"asks to be unpickled, which can run code; entries: .*weights_config.json; save it again"
    ):
        refuse_pickles(path)
