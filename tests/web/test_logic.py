"""Runs the `node --test` files of the page's pure logic. Each of them names the mutation that turns it red."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.test.js"))
STATIC = Path(__file__).parents[2] / "src/convscope/web/static"


def test_page_logic() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so the page's pure logic cannot be tested")
    done = subprocess.run([node, "--test", *map(str, FILES)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.findall(r"^# pass (\d+)", done.stdout, re.M)[0]) >= 30


def test_pure_files_know_no_document() -> None:
    # Red if e.g. format.js asks `document` for its language.
    pure = [f for f in STATIC.glob("*.js") if "Pure: no DOM" in f.read_text(encoding="utf-8")]
    assert len(pure) >= 9
    for file in pure:
        assert not re.search(r"\bdocument\.|\bwindow\.(?!convscope)\w", file.read_text(encoding="utf-8")), file.name


def test_page_names_every_script_and_no_other_place() -> None:
    # Red if a script is added to the folder but not to index.html.
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert {f"app/{f.name}" for f in STATIC.iterdir() if f.suffix in (".js", ".css", ".svg")} == set(
        re.findall(r'(?:src|href)="(app/[^"]+)"', html)
    )
    for file in STATIC.iterdir():
        found = set(re.findall(r"https?://[^\s\"'<>)]+", file.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, file.name


def test_files_stay_readable() -> None:
    # Red if a file grows beyond what can be read in one sitting.
    for file in STATIC.iterdir():
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300, file.name
