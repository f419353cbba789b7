"""What the ways back to pixels bring, as `benchmarks/segmentation.py` measures it, at a small budget.

Turns red: in `edits/_reversed.py`, switches left out (`unpooling` always nearest), or in `edits/segment.py`, skips that are
scored but not added.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest

from convscope.segmenting import scenes

FILE = Path(__file__).parents[2] / "benchmarks/segmentation.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_segmentation", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_enlarging_alone_does_not_bring_lost_detail_back(benchmark: Any) -> None:
    """Of the true labels themselves, averaged over cells and enlarged: the coarser the cells, the less."""
    data = scenes(60, 64, seed=1)
    found = [benchmark.enlarging_alone(data, cell) for cell in (32, 16, 8, 2)]
    for (whole, edges), (finer, finer_edges) in itertools.pairwise(found):
        assert finer > whole + 0.1
        assert finer_edges > edges + 0.05
    assert found[0][0] < 0.3
    assert benchmark.enlarging_alone(data, 1) == (1.0, 1.0)


def test_masks_are_painted_in_rows(benchmark: Any) -> None:
    data = scenes(3, 32)
    image = benchmark.painted(data, {"one": data.labels, "two": data.labels}, [0, 2])
    assert image.size == (2 * 4 * 36, 2 * 2 * 36 + benchmark.HEADER)
    assert image.getpixel((5, benchmark.HEADER + 5)) == tuple(data.pixels[0, 0, 0])
    assert benchmark.spread(data.labels[:1, 0, 0] + 0.5) == "0.500 (0.500 … 0.500)"


@pytest.mark.slow
def test_skips_and_the_mirror_bring_back_what_the_last_map_has_lost(benchmark: Any) -> None:
    sets = scenes(400, 64, seed=0), scenes(100, 64, seed=1)
    rows = {way: benchmark.measured(0, way, sets, 10) for way in ("FCN-32s", "FCN-16s", "FCN-8s", "mirror")}
    for key in ("iou", "near"):
        coarse, middle, fine, mirror = (float(row[key][-1]) for row in rows.values())
        assert coarse + 0.03 < middle, key
        assert middle + 0.02 < fine, key
        assert coarse + 0.07 < mirror, key
