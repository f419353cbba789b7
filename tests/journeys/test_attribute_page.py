"""Comparing classes and painting on an image in a real browser, on a real network and its atlas.

Mutations that turn these red, tried one by one: `tell(false)` left out of `pointermove` in brush.js (test_painting: the bars
wait for the end of the stroke); `...groups` -> `groups` in compare.js (test_two_classes); `event.stopPropagation()` left
out of a map's keys (test_keys_stay_on_the_map).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.test_page import UNNAMED, Tab
from tests.web.test_attribute import atlas  # noqa: F401 - a fixture

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no browser can be driven")
pytestmark = pytest.mark.browser

BARS = """Object.fromEntries([...document.querySelectorAll('[data-testid=brush-bars] li')]
    .map(e => [e.dataset.index, e.dataset.now]))"""


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def tab(browser: Any, live: str, request: pytest.FixtureRequest) -> Iterator[Tab]:
    width, theme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    found = Tab(context, live)
    found.open("?token=token#/image/2", name="")
    yield found
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.page.evaluate(UNNAMED) == 0
    assert not any(w in found.page.inner_text("main") for w in ("undefined", "NaN", "[object", "null"))
    context.close()
    assert found.troubles == []


def compare(tab: Tab, *methods: str) -> None:
    tab.page.get_by_role("button", name="none").click()
    for method in methods:
        tab.at(f"pick-{method}").check()
    tab.at("compare-target-0").fill("two")
    tab.at("compare-target-1").fill("one")
    tab.at("compare").click()
    tab.until("n => document.querySelectorAll('.map-row').length === n", len(methods))


def test_two_classes(tab: Tab) -> None:
    compare(tab, "gradient", "cam", "gradient-times-input")
    row = tab.at("row-gradient")
    assert row.locator("b").all_inner_texts() == ["1 two", "0 one", "difference of the two"]
    assert "promise kept" in row.inner_text()
    assert "Does not apply: CAM" in tab.at("row-cam").inner_text()
    assert tab.page.locator(".pick.absent").get_attribute("data-method") == "cam"
    row.locator("canvas").first.click(position={"x": 30, "y": 60})
    values = row.get_by_test_id("map-value").evaluate_all("all => all.map(e => Number(e.dataset.value))")
    assert values[2] == pytest.approx(values[0] - values[1], abs=1e-6)
    assert all("of Σ|map|" in words for words in row.get_by_test_id("map-value").all_inner_texts())
    ends = lambda: row.locator(".diverging span").first.inner_text()  # noqa: E731
    own = ends()
    tab.at("scale-shared").click()
    assert tab.at("scale-shared").get_attribute("aria-pressed") == "true"
    assert ends() == own  # no other map has its unit
    tab.at("theme").click()  # the page is drawn anew; what was asked is still there
    tab.until("document.querySelectorAll('.map-row').length === 3")


def test_keys_stay_on_the_map(tab: Tab) -> None:
    compare(tab, "gradient")
    canvas = tab.at("row-gradient").locator("canvas").first
    canvas.click(position={"x": 30, "y": 60})
    before = tab.at("readout").inner_text()
    canvas.press("ArrowRight")
    assert tab.at("readout").inner_text() != before
    assert tab.hash.startswith("#/image/2")


def test_painting(tab: Tab) -> None:
    page = tab.page
    tab.at("brush-open").click()
    page.wait_for_selector("[data-testid=brush-canvas]")
    canvas = tab.at("brush-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    clean = page.evaluate(BARS)
    tab.at("brush-size").fill("4")
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    tab.until(f"was => JSON.stringify({BARS}) !== was", page.evaluate("v => JSON.stringify(v)", clean))
    first = page.evaluate(f"JSON.stringify({BARS})")
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.7 * box["height"], steps=8)
    tab.until(f"was => JSON.stringify({BARS}) !== was", first)  # while the brush is still down
    assert tab.at("brush-check").inner_text() == ""
    page.mouse.up()
    tab.until("document.querySelector('[data-testid=brush-check]').innerText.includes('says the same')")
    assert "of the pixels changed; answered in" in tab.at("brush-status").inner_text()
    tab.at("brush-undo").click()
    tab.until(f"was => JSON.stringify({BARS}) === was", page.evaluate("v => JSON.stringify(v)", clean))
    tab.at("brush-redo").click()
    tab.until(f"was => JSON.stringify({BARS}) !== was", page.evaluate("v => JSON.stringify(v)", clean))
    tab.at("brush-blur").click()
    canvas.focus()
    canvas.press("ArrowLeft")
    canvas.press(" ")
    assert tab.hash.startswith("#/image/2")
    tab.at("brush-reset").click()
    tab.until(f"was => JSON.stringify({BARS}) === was", page.evaluate("v => JSON.stringify(v)", clean))
    assert tab.at("brush-undo").is_disabled()


def test_without_the_token_nothing_is_offered(browser: Any, live: str) -> None:
    context = browser.new_context()
    found = Tab(context, live)
    found.open("#/image/0", name="")
    assert found.at("compare-form").count() == found.at("brush").count() == 0
    context.close()
    assert found.troubles == []
