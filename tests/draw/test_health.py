"""health: the map's scale has the healthy band where it says, every number its place, and the page the same formulas.

Mutations that turn it red: `one_sided` -> `False` in `tone` (no dead unit gets a colour below zero); `np.flatnonzero(…)[-1]`
-> `[0]` in `lines` (the first step is told as the last); `2 * p` -> `p` in `tone`, or BEYOND = 0.3 in health.py alone (the
page's scale is another one).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from convscope import draw
from convscope.draw import health
from convscope.results import Run

RATIO, DEAD, GRADIENT = (next(m for m in health.MEASURES if m.key == k) for k in ("update_ratio", "dead", "gradient_std"))
STATIC = Path(__file__).parents[2] / "src/convscope/web/static"


def watched(layers: int = 3, columns: int = 5, seed: int = 0) -> Run:
    """A run whose layers were looked at every third step; the second layer has no units that could be dead."""
    rng = np.random.default_rng(seed)
    shape = (layers, columns)
    dead = rng.random(shape)
    dead[1::3] = np.nan
    measures = {"dead": dead, "update_ratio": 10.0 ** rng.uniform(-6, 0, shape), "gradient_std": np.full(shape, np.nan)}
    return Run(steps={"step": np.arange(3 * columns), "loss": rng.random(3 * columns)}, epochs={},
               layers=tuple(f"block.{i}.conv" for i in range(layers)), health={"step": 3 * np.arange(columns), **measures})


def test_every_number_has_its_place_on_the_scale() -> None:
    found = health.tone(RATIO, [1e-6, 1e-4, 1e-3, 1e-2, 1.0, 7.0])
    np.testing.assert_allclose(found, [-1, -0.06, 0, 0.06, 1, 1], atol=1e-12)
    np.testing.assert_allclose(health.tone(DEAD, [0, 0.1, 0.55, 1]), [0, 0.06, 0.6, 1], atol=1e-12)
    np.testing.assert_allclose(health.tone(GRADIENT, [0, 1e-4, np.inf]), [0, 0.5, 1])
    assert np.isnan(health.tone(RATIO, [np.nan, -1.0])).all()
    for measure in health.MEASURES:  # larger is never drawn as smaller
        values = np.geomspace(1e-12, 1e6, 300)
        assert (np.diff(health.tone(measure, values)) >= -1e-12).all()


def test_the_page_draws_by_the_same_formulas() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so the page's formulas cannot be run")
    values = [None, 0.0, *np.geomspace(1e-11, 1e5, 25).tolist()]
    code = (f"const h = require({json.dumps(str(STATIC / 'health.js'))}); const [ms, vs] = JSON.parse(process.argv[1]);"
            "console.log(JSON.stringify(ms.map((m) => vs.map((v) => h.tone(m, v)))))")
    measures = [{**asdict(m), "band": m.healthy} for m in health.MEASURES]
    done = subprocess.run([node, "-e", code, json.dumps([measures, values])], capture_output=True, text=True, check=True)
    for measure, found in zip(health.MEASURES, json.loads(done.stdout), strict=True):
        expected = health.tone(measure, [np.nan if v is None else v for v in values])
        np.testing.assert_allclose(np.array(found, np.float64), expected, atol=1e-9, err_msg=measure.key)


def test_the_figure_has_a_map_for_each_measure_that_was_seen() -> None:
    run = watched()
    figure = run.plot()
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    maps = [one for one in drawn if one.shape[:2] == (3, 5)]
    assert len(maps) == 2  # gradient_std was never seen
    assert (maps[1][1] == health.UNSEEN).all()
    words = [t.get_text() for t in figure.texts]
    assert "update ratio" in words
    assert "gradient" not in words
    assert words.count("block.2.conv") == 2


@pytest.mark.parametrize(("layers", "columns"), [(1, 1), (2, 700), (60, 40)])
def test_any_size_is_drawn_within_the_paper(layers: int, columns: int) -> None:
    figure = watched(layers, columns).plot()
    figure.canvas.draw()
    wide, high = figure.get_size_inches() * figure.dpi
    for text in figure.texts:
        extent = text.get_window_extent()
        assert extent.x1 <= wide, text.get_text()
        assert extent.x0 >= 0, text.get_text()
        assert 0 <= extent.y0 <= extent.y1 <= high, text.get_text()


def test_words_name_the_last_step_at_which_something_was_seen() -> None:
    run = watched()
    run.health["dead"][:, -1] = np.nan
    run.health["dead"][:, -2] = [0.25, np.nan, 0.75]
    lines = health.lines(run)
    assert lines[1] == "dead units at step 9: 25 % (block.0.conv) … 75 % (block.2.conv); healthy: at most 10 %"
    assert len(lines) == 2
    assert lines[1] in " ".join(draw.text(run, 400).splitlines())
    assert health.lines(Run(steps={}, epochs={})) == []
    assert health.size(Run(steps={}, epochs={}, layers=("a",), health={"step": np.zeros(1)})) == (0.0, 0.0)


def test_csv_has_a_row_for_each_layer_and_step() -> None:
    run = watched()
    header, rows = draw.run.records(run)  # type: ignore[attr-defined]
    found = [dict(zip(header, row, strict=True)) for row in rows if row[0] == "layer"]
    places = [(r["layer"], r["step"]) for r in found]
    assert places[:6] == [*[("block.0.conv", 3 * t) for t in range(5)], ("block.1.conv", 0)]
    assert [r["update_ratio"] for r in found] == run.health["update_ratio"].ravel().tolist()
