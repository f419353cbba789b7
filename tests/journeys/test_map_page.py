"""Maps of other layers and the most alike images, on a real atlas: live, and opened from disk.

Mutations that turn these red, tried one by one: `keep(map_page(…))` after t-SNE left out of `maps` in atlas/of_images.py
(test_any_layer…); `ctx.set({ alike: …` -> `ctx.note(…` in alike.js (test_most_alike…); `put(work.out, f"alike/…` left out of
atlas/writing.py (test_from_disk).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.record import Record
from tests import oracles
from tests.journeys.test_page import UNNAMED, Tab

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no browser can be driven")
pytestmark = pytest.mark.browser
SHOWN = "() => [...document.querySelectorAll('[data-testid=alike] .image-card')].map(a => Number(a.dataset.index))"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(1)
    for k, kind in enumerate(("one", "two", "three")):
        (folder / "images" / kind).mkdir(parents=True)
        for n in range(10):
            pixels = np.kron(rng.integers(0, 150, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            pixels[..., k] += 100
            Image.fromarray(pixels).save(folder / "images" / kind / f"{n}.png")
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))  # fmt: skip
    net = cs.open(model.eval(), example=(1, 3, 16, 16))
    cs.atlas(net, folder / "images", out=folder / "atlas", pages=2, features="none", studies=False)
    return folder / "atlas"


def page_of(atlas: Path) -> int:
    """The second image that has a page."""
    text = (atlas / "data/collection.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])["pages"][1]


@pytest.fixture(params=[("light", 1280), ("dark", 400)], ids=["light", "dark"])
def tab(browser: Any, live: str, request: pytest.FixtureRequest) -> Iterator[Tab]:
    theme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    found = Tab(context, live)
    found.open("?token=token#/", name="")
    yield found
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.page.evaluate(UNNAMED) == 0
    context.close()
    assert found.troubles == []


def test_any_layer_may_be_asked_for(tab: Tab) -> None:
    tab.page.evaluate("location.hash = '#/map'")
    tab.at("map-layer").select_option("0")
    assert tab.hash == "#/map?layer=0"
    tab.until("document.querySelector('[data-testid=cloud]')?.dataset.points === '30'")
    tab.until("document.querySelector('[data-testid=cloud]')?.dataset.view === 't-SNE'")  # refined in the background
    assert "By the values of 0:" in tab.page.inner_text(".lead")
    assert "perplexity" in tab.page.inner_text("main")
    tab.at("method-PCA").click()
    tab.until("document.querySelector('[data-testid=cloud]')?.dataset.view === 'PCA'")
    assert "component 1" in tab.page.inner_text("figcaption")
    tab.at("map-layer").select_option("4")  # the written one
    tab.until("document.querySelector('.lead').innerText.includes('values of 4:')")
    tab.page.evaluate("location.hash = '#/map?layer=nothing'")
    tab.until("document.querySelector('[data-testid=error]')?.innerText.includes('nothing')")
    assert tab.at("map-again").count() == 1  # it is not asked for again and again by itself


def test_most_alike_in_any_layer_of_any_image(tab: Tab, atlas: Path) -> None:
    record = Record(atlas / "record")
    with_page = page_of(atlas)
    without = next(i for i in range(30) if i > with_page)
    for image in (with_page, without):
        tab.page.evaluate(f"location.hash = '#/image/{image}'")
        for layer in ("0", "3"):
            tab.at("alike-layer").select_option(layer)
            wanted = [i for _, i in oracles.neighbours(record.embeddings(layer), image, 9, "cosine")]
            tab.until(f"JSON.stringify(({SHOWN})()) === '{json.dumps(wanted, separators=(',', ':'))}'")
        assert "exact, among 29 images in the 8 numbers of 3" in tab.at("alike").inner_text()
    tab.at("alike").locator(".image-card").first.click()
    tab.until(f"location.hash === '#/image/{wanted[0]}?alike=3'")


def test_from_disk(browser: Any, atlas: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, atlas.as_uri())
    image = page_of(atlas)
    page = tab.open(f"#/image/{image}?alike=3")
    wanted = [i for _, i in oracles.neighbours(Record(atlas / "record").embeddings("3"), image, 9, "cosine")]
    assert page.evaluate(SHOWN) == wanted
    page.evaluate(f"location.hash = '#/image/{image + 1}'")
    tab.until("document.querySelector('[data-testid=alike]')?.innerText.includes('keeps these of 2 images')")
    page.evaluate("location.hash = '#/map'")
    tab.until("document.querySelector('main').innerText.includes('makes the map of any of them')")
    assert tab.at("map-layer").count() == 0
    page.evaluate("location.hash = '#/map?layer=0'")
    tab.until("document.querySelector('.notice')?.innerText.includes('was written with the map of 4')")
    context.close()
    assert tab.troubles == []
