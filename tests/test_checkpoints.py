"""Checkpoints survive `kill -9` while they are written, run no code, and say when they belong elsewhere.

Mutations that turn this red (each tried): write straight to `path` · `weights_only=False` · forget `_differences` ·
compare `epochs` under a constant rate.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from convscope import checkpoints
from convscope.errors import StoreError, UsageError

IDENTITY = {"settings": {"epochs": 3, "rate": 0.1, "schedule": "constant"}, "train": "abc"}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checkpoint.pt"
    state = {"identity": IDENTITY, "model": {"w": torch.arange(3.0)}, "done": 2, "steps": {"loss": [0.5]}}
    checkpoints.save(path, state)
    found = checkpoints.load(path, IDENTITY)
    assert torch.equal(found["model"]["w"], torch.arange(3.0))
    assert (found["done"], found["steps"]) == (2, {"loss": [0.5]})
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]


def test_of_another_run(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoints.save(path, {"identity": IDENTITY})
    other = {"settings": {"epochs": 9, "rate": 0.2, "schedule": "constant"}, "train": "abd"}
    with pytest.raises(UsageError, match=r"is of another run; settings.rate: 0.1 there, 0.2 here; train: 'abc' there, "):
        checkpoints.load(path, other)
    checkpoints.load(path, {**IDENTITY, "settings": {**IDENTITY["settings"], "epochs": 9}})  # a constant rate may go on
    checkpoints.save(path, {"identity": {"settings": {"epochs": 3, "schedule": "cosine"}}})
    with pytest.raises(UsageError, match=r"settings.epochs: 3 there, 9 here"):
        checkpoints.load(path, {"settings": {"epochs": 9, "schedule": "cosine"}})


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


def test_damaged_or_dangerous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.pt"
    checkpoints.save(path, {"identity": IDENTITY, "w": torch.zeros(1000)})
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:1500], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"cannot read the checkpoint .*c.pt; .*; remove it to start anew"):
            checkpoints.load(path, IDENTITY)
    torch.save(Evil(), path)
    with pytest.raises(StoreError, match="cannot read the checkpoint"):
        checkpoints.load(path, IDENTITY)
    assert not (tmp_path / "evil").exists()
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(StoreError, match="is no checkpoint of a training run; it was not written by `fit`"):
        checkpoints.load(path, IDENTITY)


WRITER = """
import sys, pathlib, torch
from convscope import checkpoints
path = pathlib.Path(sys.argv[1])
for n in range(10_000):
    checkpoints.save(path, {"identity": {}, "n": n, "w": torch.full((1_000_000,), float(n))})
    print(n, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_killed_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    command = [sys.executable, "-c", WRITER, str(path)]
    partial = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        deadline = time.monotonic() + 20
        while not partial and time.monotonic() < deadline:  # strike while a file is half written
            partial = path.with_name("c.pt.partial").exists()
        process.send_signal(signal.SIGKILL)
        told = process.stdout.read().split()
    found = checkpoints.load(path, {})
    assert torch.equal(found["w"], torch.full((1_000_000,), float(found["n"])))
    assert partial
    assert found["n"] >= int(told[-1] if told else 2)
    checkpoints.save(path, {"identity": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_weights_along_the_way_when_it_is_their_turn(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    kept = checkpoints.Kept.read(tmp_path / "kept", "2 epochs")
    shared = torch.arange(4.0).reshape(2, 2)
    for done in range(5):
        kept.see("epochs", done, {"a": shared + done, "b": (shared + done).t()})
        kept.see("steps", 2 * done, {})
    assert sorted(p.name for p in kept.folder.iterdir()) == [f"epoch-000{k}.safetensors" for k in (0, 2, 4)]
    assert torch.equal(load_file(kept.folder / "epoch-0002.safetensors")["b"], (shared + 2).t())
    steps = checkpoints.Kept.read(tmp_path / "steps", "10 steps")
    for done in range(25):
        steps.see("steps", done, {"a": shared})
        steps.see("epochs", done, {})
    assert sorted(p.stem for p in steps.folder.iterdir()) == ["step-000000", "step-000010", "step-000020"]


@pytest.mark.parametrize("text", ["0", "soon", "-1", "2 weeks", "1.5"])
def test_how_often_is_a_number(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot keep weights every .*; it is no number of epochs or steps; for example 5"):
        checkpoints.Kept.read(tmp_path, text)
    assert checkpoints.Kept.read(tmp_path, 3) == checkpoints.Kept(tmp_path, 3, "epochs")
