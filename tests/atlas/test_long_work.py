"""Features and studies of an atlas: done once, gone on with, added to; what is missing is said; many processes do the same.

Turns red: in `long_work.write`, take `asked` instead of all jobs (test_what_was_made_stays); in `long_work.jobs`, do not
sort by part (test_first_groups_first); in `of_layers.depth`, read the means from `for_the_page` (test_long_tables).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope import actions, registry
from convscope.atlas import long_work, of_layers
from convscope.errors import ConvscopeError
from convscope.inverting import turning_points
from convscope.results import Picture, Table
from tests.atlas.small import UNITS, atlas, images, kept, net, read, times

KINDS = set(long_work.UNIT_KINDS)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One atlas, made in four runs: no time at all; the most telling units; all units; the most telling ones again."""
    out, said = tmp_path_factory.mktemp("atlas") / "atlas", dict[str, Any]()
    for name, settings in (("no time", {"minutes": 1e-9}), ("top", {}), ("all", {"features": "all"}), ("top again", {})):
        atlas(out, **settings)
        said[name] = {"times": times(out), "units": read(out, "units/1"), "network": read(out, "network")["long_work"],
                      "depth": read(out, "depth")}  # fmt: skip
    return said | {"out": out}


def test_without_time_everything_is_missing_and_said(steps: dict[str, Any]) -> None:
    found = steps["no time"]
    assert found["times"] == {}
    assert found["network"]["missing"] == found["network"]["asked"]
    assert set(found["network"]["asked"]) == KINDS | set(of_layers.FAMILIES) | {"inversion"}
    assert sum(found["network"]["missing"].values()) == found["network"]["jobs"]
    assert all(about["known"] == 0 for about in found["units"]["about"].values())
    assert found["network"]["studied"] == []


def test_the_next_run_goes_on(steps: dict[str, Any]) -> None:
    found = steps["top"]
    assert found["network"]["missing"] == {}
    assert len(found["times"]) == found["network"]["jobs"]
    assert found["network"]["principal"] == {"0": "1", "1": "1", "2": "1", "4": "4", "5": "4", "7": "7"}
    assert {kind: about["known"] for kind, about in found["units"]["about"].items()} == {
        "names": UNITS, "connections": 16, "pictures": 16, "projections": 16, "effects": 16}  # fmt: skip


def test_all_units_are_added_without_doing_any_again(steps: dict[str, Any]) -> None:
    before, after = steps["top"]["times"], steps["all"]["times"]
    assert before.items() < after.items()
    assert set(after) - set(before) == {f"jobs/{kind}/1.2.json" for kind in KINDS - {"names"}}
    assert {about["known"] for about in steps["all"]["units"]["about"].values()} == {UNITS}
    pictures = steps["all"]["units"]["about"]["pictures"]
    assert len(pictures["sheets"]) == 3
    assert {row["pictures"]["part"] for row in steps["all"]["units"]["units"].values()} == {0, 1, 2}


def test_what_was_made_stays(steps: dict[str, Any]) -> None:
    assert steps["top again"]["times"] == steps["all"]["times"]
    assert steps["top again"]["units"] == steps["all"]["units"]


def test_every_file_that_is_named_is_there(steps: dict[str, Any]) -> None:
    sheets = list(steps["all"]["units"]["about"]["pictures"]["sheets"])
    sheets += [row["projections"]["sheet"] for row in steps["all"]["units"]["units"].values()]
    assert len(sheets) == 3 + UNITS
    assert all((steps["out"] / sheet["file"]).is_file() for sheet in sheets)


def test_the_page_says_what_the_methods_say(steps: dict[str, Any]) -> None:
    out, units = steps["out"], steps["all"]["units"]["units"]
    network, few = net(), images()
    session = actions.open_atlas(out)
    assert session.predict(few[3]).columns["output"].shape == (2,)
    record = out / "record"
    table = cs.study(network, few, record, "1", "ablation", unit=7, most=4)
    assert isinstance(table, Table)
    change = dict(zip(table.columns["class"].tolist(), table.columns["change"].tolist(), strict=True))
    effects = units["7"]["effects"]
    assert dict(effects["falls"] + effects["rises"]) == pytest.approx({k: v for k, v in change.items() if v}, rel=1e-4)
    assert effects["mean"] == pytest.approx(np.abs(list(change.values())).mean(), rel=1e-4)
    shown = cs.study(network, few, record, "1", "top-images", project=True, unit=7, k=4)
    assert isinstance(shown, Picture)
    assert units["7"]["projections"]["image"] == shown.values["image"][::2].tolist()
    assert units["7"]["projections"]["value"] == pytest.approx(shown.values["value"][::2], rel=1e-4)
    fed = registry.load("features", "connections")(most=6)(network, "1/7")
    assert units["7"]["connections"]["from"] == list(fed.units)
    assert units["7"]["connections"]["sum"] == pytest.approx(fed.values["sum"], rel=1e-4)
    from convscope.record import Record
    from convscope.responses.dissection import sentence

    names = cs.study(network, few, record, "1", "dissection")
    assert isinstance(names, Table)
    assert units["7"]["names"]["text"] == sentence(names, 7)
    tally = Record(record).tally("1")
    made = units["7"]["pictures"]
    assert made["strongest"] == pytest.approx([tally.value[7, 0], tally.minimum[7]], rel=1e-4)
    assert made["response"][0] > made["response"][1]  # what excites, then what inhibits


def test_a_method_that_does_not_apply_says_why(steps: dict[str, Any]) -> None:
    refused = read(steps["out"], "study/3")["refused"]  # of the pooling
    assert "max_pool2d" in refused["templates"]
    assert steps["all"]["network"]["refused"]["templates"] >= 3
    results = [one["method"] for one in read(steps["out"], "study/3")["results"]]
    assert "sparsity" in results
    assert not set(results) & set(refused)


def test_curves_are_the_layers_numbers(steps: dict[str, Any]) -> None:
    depth = steps["all"]["depth"]
    curves = {curve["method"]: curve for curve in depth["curves"]}
    at = depth["layers"].index("4")
    record = steps["out"] / "record"
    probe = cs.study(net(), images(), record, "4", "probe")
    assert isinstance(probe, Table)
    assert curves["probe"]["values"][at] == pytest.approx(probe.columns["accuracy"][0], rel=1e-4)
    assert curves["probe"]["beside"]["values"][at] == pytest.approx(0.5)
    assert "n = 24; the network itself may have been trained on them" in curves["probe"]["meaning"]
    sparse = cs.study(net(), images(), record, "4", "sparsity")
    assert isinstance(sparse, Table)
    assert curves["sparsity"]["values"][at] == pytest.approx(np.nanmean(sparse.columns["sparseness"]), rel=1e-4)
    matrix = np.array(depth["cka"]["values"], float)
    assert np.diag(matrix) == pytest.approx(1, abs=1e-4)
    assert matrix == pytest.approx(matrix.T, abs=1e-4)
    names = set(depth["invariance"]["4"]["transformation"])
    assert names == {"another image", "shift", "rotate", "scale"}  # as KINDS in page_depth.js has them


def test_long_tables_are_cut_for_the_page_only() -> None:
    columns = {"unit": list(range(500)), "sparseness": [0.0] * 250 + [1.0] * 250}
    content = {"kind": "table", "rows": 500, "columns": columns, "notes": ["all 9 images", "dead: 3"]}
    page = of_layers.for_the_page(content, "jobs/sparsity/x.0.json")
    assert len(page["columns"]["unit"]) == of_layers.ROWS
    assert page["file"] == "jobs/sparsity/x.0.json"
    other = {**content, "notes": ["all 9 images", "dead: 0"]}
    depth = of_layers.depth({"sparsity": {"x": content, "y": other}}, ("x", "y"))
    assert depth["curves"][0]["values"] == [0.5, 0.5]
    assert depth["notes"]["sparsity"] == ["all 9 images", "x: dead: 3"]  # what holds for one layer is said of that one


def test_first_groups_first() -> None:
    from types import SimpleNamespace
    from unittest import mock

    def jobs_of(*parts: tuple[str, int]) -> Any:
        return lambda *_: [SimpleNamespace(kind=kind, part=part) for kind, part in parts]

    with (
        mock.patch.object(long_work, "Study"),
        mock.patch.object(long_work.of_units, "jobs", jobs_of(("names", 0), ("pictures", 0), ("pictures", 1), ("x", 0))),
        mock.patch.object(long_work.of_layers, "jobs", jobs_of(("probe", 0))),
        mock.patch.object(long_work.of_depth, "jobs", jobs_of(("inversion", 0))),
    ):
        order = [(job.kind, job.part) for job in long_work.jobs(mock.MagicMock(), "all", True, lambda _: True)]
    assert order == [("names", 0), ("pictures", 0), ("x", 0), ("probe", 0), ("inversion", 0), ("pictures", 1)]


def test_other_settings_are_made_anew(steps: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(steps["out"], copy)
    before = times(copy)
    atlas(copy, ablated=6)
    changed = {name for name, at in times(copy).items() if before[name] != at}
    assert changed == {name for name in before if name.startswith("jobs/effects/") and not name.endswith(".2.json")}
    page = read(copy, "units/1")
    assert page["about"]["effects"]["known"] == 16  # the others were made with other settings: they are not shown as these
    assert "most=6" in page["about"]["effects"]["settings"]
    made = read(copy, "network")["made"]
    assert made["command"].endswith("--ablated 6")


def test_chosen_layers_only(steps: dict[str, Any], tmp_path: Path) -> None:
    """Turns red: in `long_work.jobs`, pass `lambda _: True` on instead of `about`."""
    atlas(tmp_path / "atlas", layers="4", minutes=0.0)
    made = {Path(name).stem.rsplit(".", 1)[0] for name in times(tmp_path / "atlas")}
    assert made == {"4"}
    with pytest.raises(ConvscopeError, match="no layer named '44'"):
        atlas(tmp_path / "atlas", layers="4, 44")
    import shutil

    shutil.copytree(steps["out"], tmp_path / "whole")
    atlas(tmp_path / "whole", layers="4")  # what there is of other layers stays on the page
    assert read(tmp_path / "whole", "units/1") == steps["all"]["units"]


def test_what_is_left_of_an_image(steps: dict[str, Any]) -> None:
    found = steps["all"]["depth"]["rebuilt"]
    assert found["layers"] == [layer.address for layer in turning_points(net())]
    one = cs.feature(net(), found["layers"][-1], "inversion", image=images()[found["image"]], images=images(),
                     record=steps["out"] / "record")  # fmt: skip
    assert found["error"][-1] == pytest.approx(one.values["error"][-1], rel=1e-3)
    assert (steps["out"] / found["sheets"][0]["file"]).is_file()


def test_without_features_or_studies(tmp_path: Path) -> None:
    atlas(tmp_path / "atlas", features="none", studies=False)
    network = read(tmp_path / "atlas", "network")
    assert network["long_work"] | {"seconds": 0} == {
        "principal": {}, "studied": [], "asked": {}, "missing": {}, "refused": {}, "jobs": 0, "seconds": 0, "cpu_seconds": 0,
        "features": "none", "studies": False}  # fmt: skip
    assert network["made"]["command"].endswith("--features none --no-studies --steps 2 --ablated 4")
    assert not (tmp_path / "atlas" / "jobs").exists()
    atlas(tmp_path / "atlas", features="none", studies=True, minutes=1e-9)  # no other sweep is asked for
    with pytest.raises(ConvscopeError, match="features"):
        atlas(tmp_path / "atlas", features="some")


SCRIPT = """
import sys
from pathlib import Path
from tests.atlas.small import atlas
if __name__ == "__main__":
    atlas(Path(sys.argv[1]), features="all")
"""


def start(out: Path, *prefix: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, (root, root / "src")))}
    return subprocess.Popen([sys.executable, *prefix, str(script), str(out)], env=environment)


@pytest.mark.slow
def test_killed_or_shared_it_is_the_same_atlas(tmp_path: Path) -> None:
    """One process; one that is killed twice and gone on with; two processes under torchrun."""
    one, killed, shared = tmp_path / "1" / "atlas", tmp_path / "2" / "atlas", tmp_path / "3" / "atlas"
    for out in (one, killed, shared):
        out.parent.mkdir()
    assert start(one).wait(300) == 0
    for count in (5, 20):
        process = start(killed)
        while process.poll() is None and len(times(killed)) < count:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    before = times(killed)
    assert start(killed).wait(300) == 0
    assert before.items() <= times(killed).items()  # nothing that was done is done again
    assert start(shared, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29547").wait(300) == 0
    for other in (killed, shared):
        assert kept(other) == kept(one)
        for path in [*one.glob("data/**/*.js"), *one.glob("pictures/**/*")]:
            if path.is_file() and path.name != "network.js":
                assert (other / path.relative_to(one)).read_bytes() == path.read_bytes(), path
        left, right = ({**read(at, "network"), "made": 0} for at in (one, other))
        for spent in ("seconds", "cpu_seconds"):
            left["long_work"][spent] = right["long_work"][spent] = 0
        assert left == right

