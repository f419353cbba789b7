"""`convscope attribute` as somebody types it: sheets of methods and targets, what does not apply, files, Ctrl-C, mistakes.

Mutations that turn it red: `if not maps:` -> `if True:` in cli_attributions._sheet (Ctrl-C drops what is done);
`sheet.keepable(out)` left out (a wrong suffix is told after the work); `"all" in names` -> `False`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convscope import actions, registry, store
from convscope.cli import main

NETWORK = """
import torch
import torch.nn as nn

def small(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, classes))
"""


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "names.txt").write_text("cat\ndog\nfish\nbird\n")
    return ("attribute", f"{tmp_path / 'net.py'}:small", "digits/0042", "--input", "1x8x8", "--preprocess", "unit",
            "--classes", str(tmp_path / "names.txt"))  # fmt: skip


def say(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_a_sheet_of_all_methods(asked: tuple[str, ...], tmp_path: Path) -> None:
    told = say(*asked, "--method", "all", "--target", "dog", "--masks", "50", "--out", tmp_path / "sheet.png")
    assert told.exit_code == 0, told.output
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    lines = {line.split()[0]: line for line in told.stdout.splitlines() if line.strip()}
    assert set(registry.names("attributions")) <= set(lines)
    assert "does not apply" in lines["cam"]
    assert "kept" in lines["lrp"]
    assert "which pixels decided? 1 dog (score " in told.stdout
    assert "for a sheet of all methods" in " ".join(told.stdout.split())


def test_two_classes_as_one_file(asked: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "two.npz"
    words = ("--method", "gradient,lrp", "--target", "cat", "--target", "dog", "--out", out, "--json", "--scale", "shared")
    told = say(*asked, *words)
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["columns"]["target"] == ["0 cat", "1 dog"] * 2
    kept: Any = store.read(out)
    assert kept.columns["map"].shape == (4, 8, 8)
    assert np.array_equal(kept.columns["map"], np.array(found["columns"]["map"], np.float32))


def test_one_method_of_several_classes_is_a_sheet_too(asked: tuple[str, ...]) -> None:
    told = say(*asked, "--target", "cat", "--target", "dog")
    assert told.stdout.count("gradient") >= 2


def test_what_is_done_is_kept_at_a_stop(asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = actions.attribute_each

    def stopped(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for n, heat in enumerate(every(*args, **kwargs)):
            if n == 2:
                raise KeyboardInterrupt
            yield heat

    monkeypatch.setattr(actions, "attribute_each", stopped)
    told = say(*asked, "--method", "gradient,lrp,occlusion", "--out", tmp_path / "part.npz")
    assert told.exit_code == 130
    assert "2 of 3 methods are in the sheet" in told.stderr
    assert "stopped: 2 of 3 methods" in told.stdout
    kept: Any = store.read(tmp_path / "part.npz")
    assert kept.columns["method"].tolist() == ["gradient", "lrp"]
    assert "stopped: 2 of 3 methods" in kept.notes

    def at_once(*args: Any, **kwargs: Any) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(actions, "attribute_each", at_once)
    told = say(*asked, "--method", "all")
    assert (told.exit_code, told.stdout) == (130, "")
    assert "no map was finished" in told.stderr


def test_a_file_that_cannot_be_is_told_before_the_work(asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(actions, "attribute_each", lambda *args, **kwargs: iter(begun.append(args) or ()))
    told = say(*asked, "--method", "all", "--out", "sheet.docx")
    assert (told.exit_code, begun) == (2, [])


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (("--method", "gradeint,lrp"), 2, "no attribution named 'gradeint'; closest: 'gradient'"),
    (("--method", ","), 2, "no attribution named ','"),
    (("--method", "gradient,lrp", "--window", "3"), 2, "no parameter of gradient, lrp named 'window'"),
    (("--method", "all", "--out", "sheet.docx"), 2, "cannot save a sheet as 'sheet.docx'"),
    (("--method", "all", "--target", "horse"), 2, "no class or unit named 'horse'"),
    (("--method", "all", "--layer", "convv"), 2, "no layer named 'convv'"),
    (("--evaluate", "--target", "cat", "--target", "dog"), 2, "--evaluate asks about one target; got 2"),
])  # fmt: skip
def test_mistakes(asked: tuple[str, ...], words: tuple[str, ...], code: int, sentence: str) -> None:
    told = say(*asked, *words)
    assert told.exit_code == code
    assert sentence in told.stderr
