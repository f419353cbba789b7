"""draw: every kind has every face, files appear whole or not at all, and nothing loads what it does not need.

Mutations that turn it red: `import matplotlib` at the top of a drawer (light); `escape` dropped in `Listing.html` or
`parse_math` in `Paper.text` (nasty); `"svg.hashsalt"` dropped (same bytes); `store.atomic(path)` replaced by
`path.open("wb")` (a full disk).
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from convscope import draw
from convscope.errors import StoreError, UsageError
from convscope.results import KINDS, Result
from tests.draw import samples

ALL = [*samples.varied(0), *samples.empty(), *samples.nasty()]
NAMES = [f"{group}-{r.kind}" for group, some in (("plain", samples.varied(0)), ("empty", samples.empty()),
                                                 ("nasty", samples.nasty())) for r in some]


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")  # the font has no Chinese
@pytest.mark.parametrize("result", ALL, ids=NAMES)
def test_every_kind_has_every_face(result: Result, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    assert isinstance(result.plot(), Figure)
    with Image.open(draw.save(result, tmp_path / "x.PNG")) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 1  # something is on it
    assert (pixels[:40] == 255).all()  # but not on the margin
    assert (pixels[:, :40] == 255).all()
    for width in (40, 80, 120, 200):
        text = draw.text(result, width)
        assert max(map(len, text.splitlines()), default=0) <= width
        assert "\x1b" not in text
    fragment = result._repr_html_()
    assert "<script" not in fragment.lower()
    assert fragment.count("<div") == fragment.count("</div>")
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.rcParams["svg.hashsalt"] is None
    assert str(result)
    json.loads(draw.save(result, tmp_path / "x.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("result", samples.varied(1), ids=lambda r: r.kind)
def test_the_same_result_gives_the_same_files(result: Result, tmp_path: Path) -> None:
    suffixes = [".npz", ".png", ".svg", ".pdf", ".html", ".txt", ".json"]
    suffixes += [".csv"] * (result.kind not in ("heatmap", "picture"))
    for suffix in suffixes:
        first, second = (draw.save(result, tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
        assert first == second, suffix
    assert len(list(tmp_path.iterdir())) == 2 * len(suffixes)


def test_an_unknown_suffix_lists_the_known(tmp_path: Path) -> None:
    trace, heat = samples.varied(0)[:2]
    with pytest.raises(UsageError, match=r"a trace as 'x.xls'; its suffix is '.xls'; use one of .npz, .png, .*\.csv"):
        trace.save(tmp_path / "x.xls")
    with pytest.raises(UsageError, match=r"cannot save a heatmap as 'x.csv'; .*; use one of .npz, .*json$"):
        heat.save(tmp_path / "x.csv")
    with pytest.raises(UsageError, match="it has no suffix"):
        heat.save(tmp_path / "x")
    with pytest.raises(StoreError, match=r"cannot write .*; No such file or directory"):
        heat.save(tmp_path / "no" / "x.txt")


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(UsageError, match="a dict; it is not one of our results; the kinds are trace, steps, heatmap"):
        draw.text({})  # type: ignore[arg-type]


def test_a_drawing_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, path = samples.varied(0)[3], tmp_path / "x.txt"
    path.write_text("old")

    def half(result: Result, width: int | None = None) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(draw, "text", half)
    with pytest.raises(ZeroDivisionError):
        draw.save(result, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    result, path = samples.varied(0)[3], tmp_path / "x.txt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*x.txt; No space left on device; .*free space"):
        draw.save(result, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_text_and_files_load_neither_matplotlib_nor_torch(tmp_path: Path) -> None:
    code = ("import sys; from convscope import draw; from tests.draw import samples\n"
            "for r in samples.varied(0):\n"
            "    draw.text(r, 80)\n"
            f"    [draw.save(r, {str(tmp_path)!r} + '/x' + s) for s in ('.npz', '.json', '.txt')]\n"
            "    if r.kind in ('trace', 'table'): draw.html(r) if r.kind == 'trace' else draw.save(r, "
            f"{str(tmp_path)!r} + '/x.csv')\n"
            "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules, 'loaded'")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_drawing_needs_no_pyplot_and_no_torch() -> None:
    code = ("import sys; from convscope import draw; from tests.draw import samples\n"
            "[draw.figure(r) for r in samples.varied(0)]\n"
            "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules, 'loaded'")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def records(result: Result, folder: Path) -> list[dict[str, Any]]:
    with io.StringIO(draw.save(result, folder / "x.csv").read_bytes().decode("utf-8"), newline="") as stream:
        return list(csv.DictReader(stream))


def test_csv_holds_every_number_in_full(tmp_path: Path) -> None:
    trace, _, _, table, cloud, run = samples.varied(5)[:6]
    rows = records(trace, tmp_path)
    assert [int(r["macs"]) for r in rows] == [k.macs for k in trace.layers]  # type: ignore[attr-defined]
    rows = records(table, tmp_path)
    assert [float(r["max"]) for r in rows] == table.columns["max"].tolist()  # type: ignore[attr-defined]
    assert [list(map(int, r["top"].split())) for r in rows] == table.columns["top"].tolist()  # type: ignore[attr-defined]
    rows = records(cloud, tmp_path)
    assert [[float(r["x"]), float(r["y"])] for r in rows] == cloud.points.tolist()  # type: ignore[attr-defined]
    assert {(int(r["label"]), r["class"]) for r in rows} <= {(-1, "unknown"), (0, "zero"), (1, "one"), (2, "two")}
    rows = records(run, tmp_path)
    assert [float(r["loss"]) for r in rows if r["row"] == "step"] == run.steps["loss"].tolist()  # type: ignore[attr-defined]
    assert [float(r["accuracy"]) for r in rows if r["row"] == "epoch"] == run.epochs["accuracy"].tolist()  # type: ignore[attr-defined]


def test_every_kind_has_a_drawer() -> None:
    folder = Path(draw.__file__).parent
    assert set(KINDS) <= {p.stem for p in folder.glob("*.py")}
