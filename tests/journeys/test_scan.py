"""`convscope scan` from the command line: boxes, maps, files, refusals; and the built-in journey to the astronaut's face."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.dense.peaks import overlaps

FACE = np.array([175.0, 65.0, 100.0, 125.0])  # left, top, width, height on the photograph, by eye: hair line to chin


def convscope(*words: str, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "convscope", *words], cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, "XDG_CACHE_HOME": str(cache or cwd)})


def test_a_scan_is_printed_and_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 60), dtype=np.uint8)).save(tmp_path / "noise.png")
    done = convscope("scan", "zoo:lenet5", "noise.png", "--target", "3", "--stride", "4", "--top", "2", "--json",
                     "--save", "boxes.csv", "--map", "map.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kind"] == "table"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "boxes.csv").read_text())))
    assert len(rows) == 2
    assert [float(row["width"]) for row in rows] == [28, 28]
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert any("6×9 windows of 28×28 px, 4 px apart" in note for note in told["notes"])
    assert any("run one by one (seed 0): largest difference" in note for note in told["notes"])
    assert (tmp_path / "map.npz").stat().st_size > 1000


def test_a_way_that_the_network_forbids(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(tmp_path / "black.png")
    done = convscope("scan", "zoo:lenet5", "black.png", "--way", "dilated", cwd=tmp_path)
    assert done.returncode == 2
    assert "conv1 reads 2 + 2 cells beyond a map of 28" in done.stderr
    done = convscope("scan", "zoo:lenet5", "black.png", "--scales", "0.2", cwd=tmp_path)
    assert done.returncode == 1
    assert "no window of 28×28 pixels fits; the picture has 10×12 at this scale" in done.stderr


def test_a_sentence_says_what_it_does_not_know() -> None:
    from convscope import scan
    from convscope.errors import UsageError

    with pytest.raises(UsageError, match="a scan has no parameter 'strides'; it has stride, scales, way"):
        scan("zoo:lenet5", np.zeros((30, 30), np.uint8), strides=2)


@pytest.mark.slow
def test_the_astronauts_face_is_found(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    done = convscope("scan", "demo:faces", "photos/astronaut.png", "--target", "face", "--scales", "0.25,0.2,0.16",
                     "--score", "margin", "--save", "boxes.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    best = next(csv.DictReader(io.StringIO((tmp_path / "boxes.csv").read_text())))
    box = np.array([float(best[name]) for name in ("left", "top", "width", "height")])
    assert overlaps(box, FACE[None])[0] > 0.4
    assert float(best["score"]) > 0
    assert best["scale"] in ("0.2", "0.16")
    assert (tmp_path / "convscope/demo-faces/weights.safetensors").exists()
