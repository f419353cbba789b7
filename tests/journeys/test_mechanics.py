"""The mechanics page in a real browser, on a real network and its atlas: live, and opened from disk.

Mutations that turn these red, tried one by one: `change: lib.written(changed)` left out of `put` in mechanics_change.js
(test_a_changed_pixel…); `timer = setInterval(…)` left out of `toggle` in mechanics_stage.js (test_playing…);
`put(work.out, f"mechanics/…` left out of atlas.py (test_from_disk).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from tests.journeys.test_page import UNNAMED, Tab

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no browser can be driven")
pytestmark = pytest.mark.browser

DIFFERENCE = "Number(document.querySelector('[data-testid=check]')?.dataset.difference || 'NaN')"


class Small(nn.Module):
    """Every kind of layer that the page draws in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.mean = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.norm(self.conv1(x))))
        return self.fc(self.mean(torch.relu(self.conv2(x))).flatten(1))


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mechanics")
    rng = np.random.default_rng(1)
    for kind in ("one", "two", "three"):
        (folder / "images" / kind).mkdir(parents=True)
        for n in range(2):
            pixels = np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{n}.png")
    torch.manual_seed(4)
    net = cs.open(Small().eval(), example=(1, 3, 24, 24))
    cs.atlas(net, folder / "images", out=folder / "atlas", pages=2, features="none", studies=False)
    return folder / "atlas"


@pytest.fixture
def tab(browser: Any, live: str) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Tab(context, live)
    found.open("?token=token#/", name="")
    yield found
    context.close()
    assert found.troubles == []


def go(tab: Tab, hash: str) -> None:
    tab.page.evaluate("h => { location.hash = h }", hash)
    tab.until("h => document.title.startsWith(h)", f"mechanics of {hash.split('/')[2].split('?')[0]}")
    tab.until(f"Number.isFinite({DIFFERENCE})")


def test_playing_stepping_and_scrubbing(tab: Tab) -> None:
    page = tab.page
    page.evaluate("location.hash = '#/layer/conv1'")
    tab.at("to-mechanics").click()
    tab.until(f"Number.isFinite({DIFFERENCE})")
    where = lambda: tab.at("where").inner_text()  # noqa: E731
    first = where()
    tab.at("step-on").click()
    second = where()
    assert second != first
    assert tab.at("map-y").get_attribute("data-at") == ",".join(second[1 : second.index("]")].split(", "))
    page.keyboard.press("ArrowDown")
    third = where()
    assert third != second
    assert page.evaluate(DIFFERENCE) < 1e-9
    tab.at("scrub").fill("0")
    assert where().startswith("[0, 0] · 1 of 144")
    assert page.locator("[data-testid=grid-left] .outside").count() == 16  # two rows and two columns of padding
    tab.until("location.hash.includes('at=0,0')")
    tab.at("play").click()
    tab.until("document.querySelector('[data-testid=where]').innerText.startsWith('[0, 3]')")
    assert tab.at("play").inner_text() == "Pause"
    assert tab.at("check").is_visible()
    tab.at("play").click()
    stopped = where()
    page.wait_for_timeout(800)
    assert where() == stopped
    assert page.evaluate(DIFFERENCE) < 1e-9
    page.reload()
    page.wait_for_selector("[data-testid=check] b")
    assert where() == stopped  # the address says it all


def test_every_number_agrees_with_autograd(tab: Tab) -> None:
    page = tab.page
    layers = ("conv1", "norm", "relu", "pool", "conv2", "mean", "flatten", "fc")
    for layer in layers:
        for direction in ("forward", "input", "weights"):
            go(tab, f"#/mechanics/{layer}?dir={direction}")
            for n in (0, 3, 7):
                tab.at("scrub").fill(str(n))
                page.wait_for_timeout(90 if layer in ("norm", "relu", "flatten") else 0)
                tab.until(f"{DIFFERENCE} < 1e-9")
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280
            assert page.evaluate(UNNAMED) == 0
            words = page.inner_text("main")
            assert not any(w in words for w in ("undefined", "NaN", "[object", "null")), (layer, direction)


def test_a_changed_pixel_moves_what_sees_it(tab: Tab) -> None:
    page = tab.page
    go(tab, "#/mechanics/conv1?k=1")
    value = tab.at("value").inner_text()
    start = tab.at("where").inner_text()
    row, column = (int(v) for v in start[1 : start.index("]")].split(", "))
    plane = tab.at("plane-map")
    box = plane.bounding_box()
    y, x = min(2 * row, 23), min(2 * column, 23)  # the middle of the window
    plane.click(position={"x": (x + 0.5) / 24 * box["width"], "y": (y + 0.5) / 24 * box["height"]})
    tab.at("change-value").fill("5")
    tab.at("change").click()
    page.wait_for_selector("[data-testid=moved]")
    assert f"change=p:0,{y},{x}:5" in tab.hash
    assert tab.at("value").inner_text() != value
    assert page.evaluate(DIFFERENCE) < 1e-9
    rows = tab.at("moved").locator("tbody tr").all_inner_texts()
    assert [rows[n].split("\t")[0] for n in (0, -1)] == ["conv1", "fc"]
    tab.at("output-now").click()
    tab.until("location.hash.includes('out=now')")
    page.get_by_role("button", name="undo").click()
    tab.until("!location.hash.includes('change=')")
    tab.until(f"document.querySelector('[data-testid=value]').innerText === {value!r}")


def test_a_changed_weight_moves_what_comes_behind(tab: Tab) -> None:
    page = tab.page
    go(tab, "#/mechanics/conv2?k=2&c=1")
    tab.at("grid-right").locator("button").nth(4).click()
    assert "weight [2, 1, 1, 1] of conv2" in page.inner_text("#change-form")
    tab.at("change-value").fill("-3")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-testid=moved]")
    names = [r.split("\t")[0] for r in tab.at("moved").locator("tbody tr").all_inner_texts()]
    assert names[0] == "conv2"
    assert "conv1" not in names
    assert tab.at("grid-right").locator("button").nth(4).inner_text() == "−3.00"
    assert page.evaluate(DIFFERENCE) < 1e-9


def test_a_bad_address_is_told(tab: Tab) -> None:
    for hash, words in [
        ("#/mechanics/conv1?k=99", "no filter 99 in conv1"),
        ("#/mechanics/conv1?change=p:0,99,0:1", "no number at [0, 99, 0] of the image"),
        ("#/mechanics/nowhere", "There is no layer “nowhere”"),
        ("#/mechanics/conv1?image=77", "There is no image “77”"),
    ]:
        tab.page.evaluate("h => { location.hash = h }", hash)
        tab.until("w => document.querySelector('[data-testid=error]')?.innerText.includes(w)", words)
    tab.troubles[:] = [t for t in tab.troubles if "400" not in t]  # the browser's own note of an answer refused


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
def test_from_disk(browser: Any, atlas: Path, theme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce")
    tab = Tab(context, atlas.as_uri())
    page = tab.open("#/mechanics/conv1")
    for layer, direction in [("conv1", "forward"), ("conv1", "input"), ("conv2", "forward"), ("conv2", "weights")]:
        go(tab, f"#/mechanics/{layer}?dir={direction}")
        for n in (0, 5):
            tab.at("scrub").fill(str(n))
            assert page.evaluate(DIFFERENCE) < 1e-4
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        tab.at("check").scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, 600)")
    page.wait_for_timeout(60)
    top = tab.at("check").bounding_box()["y"]
    assert page.evaluate("document.getElementById('header').offsetHeight") <= top < 400  # in sight, below the header
    assert "convscope serve" in tab.at("change-offline").inner_text()
    page.evaluate("location.hash = '#/mechanics/fc'")
    tab.until("document.querySelector('.notice')?.innerText.includes('keeps the mechanics of conv1, conv2 for 2 images')")
    context.close()
    assert tab.troubles == []
