"""training_page: the page is told the stored arrays, nothing that matters is thinned away, broken files are named.

Mutations that turn it red: `np.nanargmax` -> `np.nanargmin` in `curve_points` (a spike is lost); `| {"run": …}` fixed to
None (findings of one run are shown with all); `if store.kind(path) in KEPT` left out (a table is taken for a run);
`seen else None` turned round in `_numbers` (a NaN loss becomes "not seen"); `if WATCHED in run.loop` left out of `broken`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convscope import draw
from convscope.draw import training_page
from convscope.results import Finding, Findings, Run, Table
from tests.draw.test_health import watched


def test_what_the_page_is_told_equals_the_arrays(tmp_path: Path) -> None:
    run = watched(4, 6)
    run.steps["loss"][3:5] = np.nan, np.inf
    run.save(tmp_path / "run.npz")
    told = json.loads(json.dumps(training_page.page(tmp_path), allow_nan=False))["runs"][0]
    assert told["name"] == "run"
    assert told["layers"] == list(run.layers)
    assert told["columns"] == run.health["step"].tolist()
    assert told["steps"]["loss"][3:5] == ["nan", "inf"]
    np.testing.assert_allclose(told["steps"]["loss"][:3], run.steps["loss"][:3], rtol=1e-5)
    for key, values in run.health.items():
        if key != "step":
            np.testing.assert_allclose(np.array(told["health"][key], np.float64), values, rtol=1e-5)
    assert told["counts"] == {"steps": 18, "looked": 18, "points": 18, "seen": 6, "columns": 6}


def test_findings_belong_to_the_run_whose_name_they_begin_with(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    for name in ("run", "run2"):
        watched().save(tmp_path / f"training/{name}.npz")
    found = Findings(title="t", findings=(Finding("error", "flat", code="- a\n+ b", evidence={"loss": 2.5}),),
                     curves={"O2 control": np.array([[1.0, np.nan]]), "O2 remedy": np.array([[1.0, 0.5]])})
    for name in ("run2.findings", "doctor"):
        found.save(tmp_path / f"training/{name}.npz")
    Table(columns={"a": np.ones(1)}).save(tmp_path / "training/table.npz")
    told = training_page.page(tmp_path)
    assert [r["name"] for r in told["runs"]] == ["run", "run2"]
    assert sorted(training_page.read(tmp_path)[0]) == ["doctor", "run", "run2", "run2.findings"]
    assert {f["name"]: f["run"] for f in told["findings"]} == {"doctor": None, "run2.findings": "run2"}
    assert told["findings"][0]["findings"][0]["code"] == ["- a", "+ b"]
    assert told["findings"][0]["findings"][0]["evidence"] == [["loss", "2.5"]]
    proof = told["findings"][0]["proofs"]["O2"]
    assert proof["arms"]["control"] == {"seeds": [[1.0, "nan"]], "mean": [1.0, "nan"]}
    assert proof["steps"] == [1, 2]


def test_a_broken_file_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "half.npz").write_bytes(b"half of a run")
    told = training_page.page(tmp_path)
    assert told["runs"] == []
    assert told["broken"][0]["name"] == "half.npz"
    assert "half.npz is not a result that convscope wrote" in told["broken"][0]["problem"]
    assert str(tmp_path) not in told["broken"][0]["problem"]
    assert training_page.holds(tmp_path)
    (tmp_path / "index.html").write_text("")  # in an atlas only the folder `training` counts
    assert not training_page.holds(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_no_spike_and_no_first_nan_is_thinned_away(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = rng.random(20_000)
    spike, pit, broken = rng.choice(19_000, 3, replace=False)
    loss[spike], loss[pit], loss[broken] = 50, -50, np.nan
    loss[19_500:] = np.nan
    kept = training_page.curve_points(loss)
    assert {0, 19_999, spike, pit, broken} <= set(kept.tolist())
    assert len(kept) <= training_page.POINTS + 3
    assert (np.diff(kept) > 0).all()
    assert training_page.curve_points(np.zeros(0)).size == 0


def test_long_runs_keep_the_columns_that_findings_name() -> None:
    steps = 7 * np.arange(3000)
    run = Run(steps={"loss": np.ones(3)}, epochs={}, layers=("a",), health={"step": steps, "dead": np.zeros((1, 3000))})
    said = (Finding("error", "x", "a at step 12348"), Finding("error", "y", "from step 10,000"))
    finding = Findings(title="", findings=said)
    named = training_page.named_steps({"f": finding})
    assert named == {12348, 10000}
    told = training_page.run("run", run, named)
    assert 7 * 1764 in told["columns"]
    assert told["columns"][0] == 0
    assert told["columns"][-1] == steps[-1]
    assert len(told["columns"]) <= training_page.COLUMNS + len(named)
    assert told["counts"]["seen"] == 3000
    assert len(told["health"]["dead"][0]) == len(told["columns"])


def test_a_step_that_was_not_looked_at_is_no_loss_that_broke() -> None:
    nan, loss = np.nan, np.array([2.0, np.nan, 1.5, np.nan, np.nan, np.nan])
    sound = Run(steps={"step": np.arange(6), "loss": loss, "held_out_loss": np.array([nan, nan, nan, 1.75, nan, nan]),
                       "rate": np.ones(6)}, epochs={}, loop={"loss_nonfinite_step": None, "rates": [0.5] * 300,
                                            "frozen": [], "softmax_dims": [1, 2]})
    told = training_page.run("run", sound)
    assert told["steps"] == {"step": [0, 2, 3], "loss": [2.0, 1.5, None], "held_out_loss": [None, None, 1.75],
                             "rate": [1.0, 1.0, 1.0]}
    assert told["broken"] is None
    assert told["counts"]["looked"] == 3
    assert told["loop"] == [["rates", "0.5 0.5 0.5 0.5 0.5 0.5 … (300)"], ["softmax dims", "1, 2"]]
    assert told["first"] is None
    loop = {"loss_nonfinite_step": 4, "first_nonfinite": {"step": 3, "layer": "a"}}
    broke = Run(steps={"step": np.arange(6), "loss": loss}, epochs={}, loop=loop)
    told = training_page.run("run", broke)
    assert told["steps"] == {"step": [0, 2, 4], "loss": [2.0, 1.5, "nan"]}
    assert told["broken"] == 4
    assert told["first"] == {"step": 3, "layer": "a"}
    assert [np.asarray(line.get_xydata()).tolist() for line in sound.plot().axes[0].lines] == [[[0, 2], [2, 1.5]]]
    assert "not finite from step 4" in [t.get_text() for t in broke.plot().axes[0].texts]
    assert len([line for line in draw.text(broke, 100).splitlines() if line.strip()[:1].isdigit()]) == 3
    assert training_page.run("run", Run(steps={"loss": np.array([1, np.inf])}, epochs={}))["broken"] == 1
