"""sheet: tiles of one image, scales that can be compared, what does not apply told, and files that hold all of it.

Mutations that turn it red: `end = max(…)` -> the limit of each map alone (targets could not be compared);
`a.map[:, None] - b.map[:, None]` -> `b - a`; `promises.NONE not in one.proof` -> `True` (a map without numbers drawn).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convscope import draw, store
from convscope.draw import colours, sheet
from convscope.errors import UsageError
from convscope.results import Heatmap, Origin, Table
from tests.draw.samples import NASTY

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)


def heat(method: str, target: str = "3", size: float = 1.0, unit: str = "score", **more: object) -> Heatmap:
    values = np.random.default_rng(len(method) + len(target)).normal(size=(1, 1, 6, 6)) * size
    facts = {"proof": {"completeness error": 0.001}, "seconds": 0.25, **more}
    return Heatmap(values=values, images=IMAGE, targets=(target,), scores=np.array([2.5]), unit=unit,
                   origin=Origin(f"{method}()", "net", "input"), **facts)  # type: ignore[arg-type]


def absent(method: str) -> Heatmap:
    return Heatmap(values=np.full((1, 1, 6, 6), np.nan), images=IMAGE, targets=("3",), scores=np.array([2.5]),
                   proof={"does not apply": "no mean over maps"}, origin=Origin(f"{method}()"))


MAPS = [heat("Gradient", size=0.01, unit="score per input unit"), heat("LRP", size=0.1), heat("GradCAM", size=10.0),
        absent("CAM")]  # fmt: skip


def tiles(maps: list[Heatmap], scale: str = "each") -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in sheet.figure(maps, scale).axes]


def words_on(maps: list[Heatmap], scale: str = "each") -> str:
    return " ".join(t.get_text() for t in sheet.figure(maps, scale).texts)


def test_each_method_has_its_scale_and_a_shared_one_is_of_a_unit() -> None:
    own = [colours.limit(m.map, 0.995) for m in MAPS[:3]]
    for n in range(3):
        assert (tiles(MAPS)[n + 1] == colours.diverging(MAPS[n].map[0], own[n])).all()
    assert len(tiles(MAPS)) == 4  # the image and three maps: one does not apply
    shared = tiles(MAPS, "shared")
    assert (shared[1] == colours.diverging(MAPS[0].map[0], own[0])).all()  # another unit
    assert (shared[2] == colours.diverging(MAPS[1].map[0], own[2])).all()
    assert f"±{own[2]:.3g} score" in words_on(MAPS, "shared")
    assert "one scale for all maps of a unit" in words_on(MAPS, "shared")


def test_two_targets_share_a_scale_and_show_their_difference() -> None:
    a, b = heat("LRP", "3", 1.0), heat("LRP", "eight", 0.1)
    (group,) = sheet.groups([a, b])
    assert group.limits == (max(colours.limit(m.map, 0.995) for m in group.maps),) * 3
    assert np.array_equal(group.maps[2].map, a.map - b.map)
    assert group.maps[2].targets == ("3 − eight",)
    assert "difference of the two" in words_on([a, b])
    assert len(sheet.groups([a, b, heat("LRP", "nine")])[0].maps) == 3  # of three no difference is drawn


def test_promises_stand_below_the_tiles() -> None:
    broken = heat("LRP", proof={"completeness error": 0.2})
    said = words_on([broken, *MAPS])
    assert "promise fails: completeness" in said
    assert "✓ 0.001 completeness" in said
    assert "cam does not apply: no mean over maps" in said


def test_the_table_names_every_method_its_seconds_and_its_reason() -> None:
    text = draw.printed_text(sheet.renderable(MAPS), 120)
    assert [line.split()[0] for line in text.splitlines()[3:7]] == ["gradient", "lrp", "grad-cam", "cam"]
    assert "0.25" in text
    assert "does not apply: no mean over maps" in text
    assert "target" not in text  # one target stands in the title
    assert "target" in draw.printed_text(sheet.renderable([heat("LRP"), heat("LRP", "8")]), 120)
    narrow = draw.printed_text(sheet.renderable([heat("LRP"), heat("LRP", "8")]), 80)
    assert "target" in narrow.splitlines()[1]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html", ".txt", ".npz", ".csv", ".json"])
def test_files(tmp_path: Path, suffix: str) -> None:
    path = sheet.save(MAPS, tmp_path / f"sheet{suffix}")
    assert path.stat().st_size > 200
    again = sheet.save(MAPS, tmp_path / f"again{suffix}")
    assert path.read_bytes() == again.read_bytes()


def test_the_archive_holds_the_maps(tmp_path: Path) -> None:
    found = store.read(sheet.save(MAPS, tmp_path / "sheet.npz"))
    assert isinstance(found, Table)
    assert found.columns["method"].tolist() == ["gradient", "lrp", "grad-cam", "cam"]
    assert np.array_equal(found.columns["map"][1], MAPS[1].map[0])
    assert np.isnan(found.columns["map"][3]).all()
    assert found.columns["promise"][3] == "does not apply: no mean over maps"


def test_words_are_never_markup() -> None:
    nasty = NASTY.replace("猫", "")  # the font has no such letter
    bad = heat("LRP", nasty, unit=nasty, notes=(nasty,), proof={nasty: nasty})
    assert "<script>alert" not in sheet.html([bad])
    assert "\x1b" not in draw.printed_text(sheet.renderable([bad]), 100)


def another() -> Heatmap:
    return Heatmap(values=np.ones((1, 1, 2, 2)), images=np.zeros((1, 2, 2, 3), np.uint8), targets=("3",), scores=np.ones(1))


@pytest.mark.parametrize(("ask", "words"), [
    (lambda: sheet.groups([]), "a sheet needs maps; there is none; ask at least one method"),
    (lambda: sheet.groups(MAPS, "log"), "the scale of a sheet is 'each' or 'shared'; got 'log'"),
    (lambda: sheet.groups([heat("LRP"), another()]), "the maps of a sheet are of one image"),
    (lambda: sheet.keepable("sheet.docx"), "cannot save a sheet as 'sheet.docx'; its suffix is '.docx'; use one of .png"),
])  # fmt: skip
def test_errors(ask: object, words: str) -> None:
    with pytest.raises(UsageError) as told:
        ask()  # type: ignore[operator]
    assert words in str(told.value)
