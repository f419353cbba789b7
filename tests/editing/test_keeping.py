"""An edited network is kept as plain PyTorch: it opens without convscope, is opened by it with nothing to say.

Mutations that turn it red: in `keeping.py`, `file.unlink(missing_ok=True)` left out (an old network.py stands beside new
weights after an interruption); `_frozen(root)` left out in `writing.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import convscope as cs
from convscope import store
from convscope.editing import Draft, keeping, receipt
from convscope.editing.given import NOTHING
from convscope.errors import StoreError
from convscope.images import PRESETS, sized
from convscope.network import Network
from convscope.results import Receipt
from tests.nets import NETS


def edited(name: str = "residual") -> tuple[Network, Receipt, torch.Tensor]:
    model, x = NETS[name]()
    net = Network.open(model, x, name, classes=tuple("abcde"), preprocess=PRESETS["unit"])
    draft = Draft.of(net)
    after, source = draft.finish()
    return after, receipt.written("Nothing()", draft, after, source, NOTHING), x


def test_it_opens_with_nothing_to_say(tmp_path: Path) -> None:
    net, told, x = edited()
    reference = keeping.keep(net, told, tmp_path / "kept")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "classes.txt", "network.py", "preprocess.json", "receipt.npz", "weights.safetensors"]
    again = cs.open(reference)
    assert torch.equal(again.run(x).output, net.run(x).output)
    assert again.classes == tuple("abcde")
    assert again.preprocess == sized(PRESETS["unit"], (3, 16, 16))
    assert again.input_shape == net.input_shape
    kept = store.read(tmp_path / "kept/receipt.npz")
    assert isinstance(kept, Receipt)
    assert kept.source == (tmp_path / "kept/network.py").read_text(encoding="utf-8")


def test_the_file_needs_torch_only(tmp_path: Path) -> None:
    net, told, x = edited()
    keeping.keep(net, told, tmp_path / "kept")
    torch.save(x, tmp_path / "x.pt")
    code = ("import sys, torch; sys.modules['convscope'] = None; sys.path.insert(0, 'kept'); import network as n\n"
            "print(n.network()(torch.load('x.pt')).sum().item())")
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert float(said) == pytest.approx(float(net.run(x).output.sum()), rel=1e-6)


def test_a_second_time_takes_the_place_of_the_first_and_nothing_else_is_touched(tmp_path: Path) -> None:
    net, told, _ = edited()
    keeping.keep(net, told, tmp_path / "kept")
    keeping.keep(net, told, tmp_path / "kept")
    assert load_file(tmp_path / "kept/weights.safetensors").keys()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot keep a network in .*other; it holds other files; give an empty"):
        keeping.keep(net, told, tmp_path / "other")
    with pytest.raises(StoreError, match=r"cannot keep a network in .*mine.txt; it is a file; give a folder"):
        keeping.keep(net, told, tmp_path / "other/mine.txt")


def test_cut_off_in_between_there_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, told, _ = edited()
    keeping.keep(net, told, tmp_path / "kept")

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keeping.store, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        keeping.keep(net, told, tmp_path / "kept")
    assert not (tmp_path / "kept/network.py").exists()


def test_a_graph_alone_cannot_be_kept(tmp_path: Path) -> None:
    net, told, x = edited()
    torch.export.save(net.program, tmp_path / "net.pt2")
    with pytest.raises(StoreError, match=r"this network cannot be kept; it has no module; keep what `edit` returned"):
        keeping.keep(cs.open(str(tmp_path / "net.pt2")), told, tmp_path / "kept")
    assert torch.isfinite(x).all()


def test_a_graph_alone_can_be_edited(tmp_path: Path) -> None:
    net, _, x = edited()
    torch.export.save(net.program, tmp_path / "net.pt2")
    again, told = cs.edit(str(tmp_path / "net.pt2"), "swap-activation", new="gelu")
    assert told.notes[0] == "opened without a module: taken apart as an inference graph, dropout is gone"
    assert again.module is not None
    assert torch.isfinite(again.run(x).output).all()


def test_what_is_frozen_stays_frozen_on_disk(tmp_path: Path) -> None:
    model, x = NETS["residual"]()
    draft = Draft.of(Network.open(model, x, "residual"))
    for p in draft.root.get_submodule("block1").parameters():
        p.requires_grad_(False)
    draft.root.get_submodule("conv1").requires_grad_(False)
    net, source = draft.finish()
    told = receipt.written("Nothing()", draft, net, source, NOTHING)
    assert "self.block1.requires_grad_(False)" in source
    again = cs.open(keeping.keep(net, told, tmp_path / "kept"))
    assert again.module is not None
    frozen = {k for k, p in again.module.named_parameters() if not p.requires_grad}
    assert frozen == {k for k, _ in model.named_parameters() if k.startswith(("block1.", "conv1."))}
