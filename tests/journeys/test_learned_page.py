"""What units and layers have learned, in a real browser: an atlas of our own making, from disk, in both themes, and narrow.

Mutations that turn these red, tried one by one: `rotate` -> `rotation` in KINDS of page_depth.js (test_the_depth_page);
`made.part` misspelt in unit_learned.js (test_every_page); `ctx.network.long_work ?` taken out of page_depth.js
(test_an_older_atlas).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.atlas import small
from tests.journeys.atlas_fixture import write_atlas
from tests.journeys.test_page import UNNAMED, Tab

pytestmark = pytest.mark.browser
PAGES = ("#/unit/1/3", "#/unit/2/7", "#/unit/7/0", "#/unit/3/2", "#/layer/1", "#/layer/3", "#/layer/5", "#/depth", "#/about")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.atlas(tmp_path_factory.mktemp("atlas") / "atlas").parent


@pytest.fixture
def tab(browser: Any, atlas: Path) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Tab(context, atlas.as_uri())
    yield found
    context.close()
    assert found.troubles == []


def put(folder: Path, key: str, value: Any) -> None:
    path = folder / "data" / f"{key}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"convscope.put({json.dumps(key)},{json.dumps(value)});\n", encoding="utf-8")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
def test_every_page(browser: Any, atlas: Path, theme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    tab = Tab(context, atlas.as_uri())
    page = tab.open("#/")
    for hash in PAGES:
        page.evaluate("h => { location.hash = h }", hash)
        tab.until("h => document.title && location.hash === h", hash)
        page.wait_for_timeout(80)
        for summary in page.locator("details > summary").all():
            summary.click()
        assert tab.at("error").count() == 0, hash
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{hash} is wider than {width}"
        words = page.inner_text("main")
        assert not any(w in words for w in ("undefined", "NaN", "[object", "null")), hash
        assert page.evaluate(UNNAMED) == 0, hash
        assert page.locator(".missing").count() == 0, hash
    context.close()
    assert tab.troubles == []


def test_a_unit_shows_what_it_has_learned(tab: Tab, atlas: Path) -> None:
    known = small.read(atlas, "units/1")["units"]
    unit = next(u for u, row in known.items() if "pictures" in row and row["effects"]["falls"])
    page = tab.open(f"#/unit/2/{unit}")
    row = known[unit]
    name = tab.at("unit-name").inner_text()
    assert name.lower().startswith(row["names"]["text"].lower())
    assert "held out" in name
    made = tab.at("made")
    assert made.locator("figure").count() == 2
    assert "excites it most" in made.inner_text()
    assert len(re.findall(r"response\s+[−\d.,]+", made.inner_text())) == 2
    assert "strongest real image" in made.inner_text()
    assert "asked of 1, before the activation function" in page.inner_text("main")
    tab.until("() => [...document.querySelectorAll('[data-testid=made] .tile')].every(t => t.style.backgroundImage)")
    assert "pictures/units/1-" in page.evaluate("document.querySelector('[data-testid=made] .tile').style.backgroundImage")
    pairs = tab.at("projections").locator("li")
    assert pairs.count() == 4
    assert pairs.first.locator(".tile").count() == 2
    assert "black and white are ∓" in page.inner_text("main")
    effects = tab.at("effects").inner_text()
    assert all(text in effects for text, _ in row["effects"]["falls"])
    assert "mean |change|" in page.inner_text("main")
    for summary in page.locator("details.how > summary").all():
        summary.click()
    told = page.inner_text("main")
    assert "seed" in told
    assert "steps=2" in told
    assert "4 of 24 images" in told  # how many the unit was taken away on
    assert "n = " in told or "AUC" in told


def test_connections_lead_to_the_units_before(tab: Tab) -> None:
    page = tab.open("#/unit/4/1")
    feeding = tab.at("feeding").locator("li")
    assert feeding.count() >= 6
    link = feeding.locator("a").first
    address = link.inner_text()
    link.click()
    page.wait_for_selector("[data-testid=made], .notice")
    assert tab.hash == f"#/unit/{address}"
    assert page.inner_text("h1") == address
    image = tab.at("projections").locator("a")
    if image.count():
        image.first.click()
        tab.until("() => location.hash.startsWith('#/image/')")


def test_a_unit_without_pictures_says_why(tab: Tab, atlas: Path) -> None:
    known = small.read(atlas, "units/1")["units"]
    without = next(u for u in range(small.UNITS) if "pictures" not in known.get(str(u), {}))
    page = tab.open(f"#/unit/1/{without}")
    words = page.inner_text("main")
    assert "Made for 16 of 20 units, the most selective for a class first, not for this one." in words
    assert "--features all makes the others" in words
    assert tab.at("made").count() == 0
    page = tab.open("#/unit/3/0")
    assert "3 passes on what other layers computed" in page.inner_text("main")


def test_a_layer_shows_its_units_and_studies(tab: Tab) -> None:
    page = tab.open("#/layer/1")
    tiles = tab.at("learned-tiles").locator("a")
    assert tiles.count() == 16
    assert "16 units of 20 (most selective for a class first)" in page.inner_text("main")
    unit = tiles.nth(2).get_attribute("data-unit")
    study = tab.at("study-sparsity")
    study.locator("summary").first.click()
    table = tab.at("result-sparsity")
    column = lambda: [float(v.replace("−", "-")) for v in table.locator("tbody td:nth-child(1)").all_inner_texts()]  # noqa: E731
    assert column() == list(range(12))
    table.get_by_role("button", name="all 20 rows").click()
    assert len(column()) == 20
    table.get_by_role("button", name="unit", exact=True).click()
    assert column() == list(range(19, -1, -1))
    table.get_by_role("button", name="unit", exact=True).click()
    assert column() == list(range(20))
    tiles.nth(2).click()
    page.wait_for_selector("[data-testid=made]")
    assert tab.hash == f"#/unit/1/{unit}"
    page = tab.open("#/layer/3")
    page.get_by_text("does not apply:").click()
    assert "templates: " in page.inner_text("main")


def test_the_depth_page_draws_lines_and_a_matrix(tab: Tab) -> None:
    page = tab.open("#/depth")
    for name in ("curve-probe", "curve-sparsity", "invariance-shift", "invariance-rotate", "invariance-scale"):
        assert tab.at(name).locator("path.series").count() >= 1, name
        assert tab.at(name).locator("circle").count() >= 5, name
    assert tab.at("matrix").locator("rect").count() == 49
    words = page.inner_text("main")
    assert "the network itself may have been trained on them" in words
    assert "another image" in words
    outside = """() => [...document.querySelectorAll('.depth-lines svg circle')]
        .filter((c) => c.getAttribute('cy') < 0 || c.getAttribute('cy') > 190).length"""
    assert page.evaluate(outside) == 0


def test_the_about_page_lists_what_is_missing(browser: Any, tmp_path: Path) -> None:
    out = small.atlas(tmp_path / "atlas", minutes=1e-9).parent
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    tab = Tab(context, out.as_uri())
    page = tab.open("#/about")
    words = page.inner_text("main")
    jobs = small.read(out, "network")["long_work"]["jobs"]
    assert f"{jobs} of {jobs} jobs are still to be done" in words
    rows = tab.at("long-work").locator("tbody tr")
    assert "pictures\t0\t4\t0" in [row.inner_text() for row in rows.all()]
    assert "--minutes 1e-09" in words
    page = tab.open("#/unit/1/0")
    assert "Not made yet. The same command again goes on" in page.inner_text("main")
    page = tab.open("#/depth")
    assert "Not all was made yet: " in page.inner_text("main")
    assert page.locator("svg.chart").count() == 0
    context.close()
    assert tab.troubles == []


def test_served_it_says_the_same(browser: Any, live: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, live)
    page = tab.open("#/unit/4/1", "")
    assert tab.at("made").locator("figure").count() == 2
    tab.until("() => [...document.querySelectorAll('[data-testid=made] .tile')].every(t => t.style.backgroundImage)")
    assert page.locator(".missing").count() == 0
    tab.open("#/depth", "")
    assert tab.at("matrix").count() == 1
    context.close()
    assert tab.troubles == []


def test_a_unit_is_asked_more_while_the_atlas_is_served(browser: Any, live: str) -> None:
    """Turns red: in live_feature.js, do not hand `parameters` on; in result.js, leave the numbers of few tiles out."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, live)
    page = tab.open("?token=token#/unit/4/1", "")
    tab.at("p-steps").fill("3")
    tab.at("p-sign").select_option("both")
    tab.at("feature-ask").click()
    tab.until("() => document.querySelector('[data-testid=result-activation-maximisation]')")
    words = tab.at("result-activation-maximisation").inner_text()
    assert "steps=3" in words
    assert "sign='both'" in words
    assert words.count("response: ") == 2
    assert tab.at("p-steps").input_value() == "3"  # what was typed is still there
    tab.at("feature-image").fill("9999")
    tab.at("feature-ask").click()
    tab.until("() => document.querySelector('[data-testid=feature-job] .error')")
    assert "they cannot be opened again" in tab.at("feature-job").inner_text()  # this atlas was given its images in Python
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    context.close()
    assert tab.troubles == []


def test_an_older_atlas_still_opens(browser: Any, tmp_path: Path) -> None:
    """Made before there was long work: no such data, no error."""
    out = write_atlas(tmp_path / "old", images=12, units=4, stages=1)
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    tab = Tab(context, out.as_uri())
    for hash in ("#/depth", "#/unit/stem.conv/1", "#/layer/stem.conv", "#/about", "#/"):
        page = tab.open(hash)
        assert tab.at("error").count() == 0, hash
        assert page.locator("main h1").count() == 1
    page = tab.open("#/depth")
    assert "Nothing was made yet" in page.inner_text("main")
    context.close()
    assert tab.troubles == []


def test_two_thousand_units_browse_smoothly_from_disk(browser: Any, tmp_path: Path) -> None:
    """A layer of 2048 units, all known: the data stay small, and its page is drawn in a moment."""
    count = 2048
    out = write_atlas(tmp_path / "wide", images=60, units=16, stages=1)
    network, layer = small_network(out, "stem.conv", count)
    rng = np.random.default_rng(0)
    put(out, "layer/stem.conv", widened(layer, count))
    put(out, "units/stem.conv", units_of(count, rng))
    put(out, "network", network)
    size = {key: (out / "data" / f"{key}.js").stat().st_size for key in ("layer/stem.conv", "units/stem.conv")}
    assert size["units/stem.conv"] < 4.5e6
    assert size["layer/stem.conv"] < 6e6
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, out.as_uri())
    tab.open("#/")
    began = time.monotonic()
    page = tab.open("#/layer/stem.conv")
    tab.at("learned-tiles").locator("a").first.wait_for()
    seconds = time.monotonic() - began
    print(f"data of 2048 units: {size}; the layer's page in {seconds:.2f} s")
    assert tab.at("learned-tiles").locator("a").count() == 48
    assert seconds < 6  # a second on a machine of its own
    began = time.monotonic()
    page.evaluate("location.hash = '#/unit/stem.conv/1999'")
    tab.at("made").wait_for()
    assert time.monotonic() - began < 3
    context.close()


def small_network(out: Path, address: str, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    text = (out / "data/network.js").read_text(encoding="utf-8")
    network = json.loads(text[text.index(",") + 1 : text.rindex(")")])
    for layer in network["layers"]:
        if layer["address"] == address:
            layer["units"] = count
    network["long_work"] = {"principal": {address: address}, "studied": [], "asked": {}, "missing": {}, "refused": {},
                            "jobs": 0, "seconds": 1.0, "features": "all", "studies": False}  # fmt: skip
    text = (out / f"data/layer/{address}.js").read_text(encoding="utf-8")
    return network, json.loads(text[text.index(",") + 1 : text.rindex(")")])


def widened(layer: dict[str, Any], count: int) -> dict[str, Any]:
    """The layer's page with its units again and again."""
    many = lambda values: [values[i % len(values)] for i in range(count)]  # noqa: E731
    columns = {name: many(values) for name, values in layer["columns"].items()}
    top = {k: many(v) if isinstance(v, list) else v for k, v in layer["top"].items()}
    histogram = {k: many(v) for k, v in layer["histogram"].items()}
    quantiles = layer["quantiles"] | {"values": many(layer["quantiles"]["values"])}
    return layer | {"units": count, "columns": columns, "top": top, "histogram": histogram, "quantiles": quantiles,
                    "class_means": many(layer["class_means"]), "filters": None}  # fmt: skip


def units_of(count: int, rng: np.random.Generator) -> dict[str, Any]:
    """What `atlas/long_work.py` writes of a layer whose units read 3×3 windows of 64 channels."""
    about = {kind: {"known": count, "notes": ["seed 0"], "settings": "M()", "refused": ""}
             for kind in ("names", "connections", "pictures", "projections", "effects")}  # fmt: skip
    sheets = [{"file": "pictures/image-0.png", "tile": [12, 12], "gap": 1, "columns": 8} for _ in range(count // 16)]
    about["pictures"] |= {"size": [112, 112], "sheets": sheets}
    sheet = {"file": "pictures/image-0.png", "tile": [12, 12], "gap": 1, "columns": 6}
    rounded = lambda *shape: [float(f"{v:.6g}") for v in rng.normal(size=shape).ravel()]  # noqa: E731
    units = {}
    for u in range(count):
        units[str(u)] = {
            "names": {"text": f"responds to stripes of period ~{u % 9} px (AUC 0.97, n = 400)", "name": "stripes",
                      "auc": 0.97, "n": 400, "iou": 0.1, "second": "dots"},
            "connections": {"from": [f"before/{c}" for c in range(12)], "sum": rounded(12), "norm": rounded(12),
                            "slices": rng.integers(-99, 100, (12, 3, 3)).tolist()},
            "pictures": {"part": u // 16, "tile": 0, "response": rounded(2), "strongest": rounded(2),
                         "converged": [True, False], "score": rounded(2)},
            "projections": {"sheet": sheet, "image": list(range(9)), "value": rounded(9), "limit": 0.5},
            "effects": {"falls": [["disc", -0.5]] * 5, "rises": [["ring", 0.5]] * 5, "mean": 0.1, "accuracy": -0.01},
        }  # fmt: skip
    return {"layer": "stem.conv", "count": count, "dead": 3, "order": "most selective for a class first", "units": units,
            "about": about}  # fmt: skip
