"""The page of an atlas in a real browser: opened from disk, and live.

Mutations that turn these red, tried one by one: `history.replaceState` left out of `set` in main.js (test_sorting,
test_folding); `at * field.stride[axis]` -> `at` in field.js (test_the_frame); `element.append(…)` of a text in dom.js made
`insertAdjacentHTML` (test_names_are_text); `observer.observe(canvas)` left out of cloud.js (test_map); `'self'` taken from
`img-src` in guard.py (test_live).
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.atlas_fixture import CLASSES, write_atlas

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no browser can be driven")
pytestmark = pytest.mark.browser

PAGES = {
    "layers": "#/", "coloured": "#/?colour=macs", "zeros": "#/?colour=zeros&open=none", "table": "#/?view=table",
    "layer": "#/layer/layer1.0.conv1", "tiles": "#/layer/stem.relu?view=tiles", "vector": "#/layer/fc",
    "bare layer": "#/layer/layer1.0.bn1", "unit": "#/unit/layer1.0.relu:1/3", "images": "#/images?only=wrong",
    "image": "#/image/1", "plain": "#/image/1?show=plain&layer=mix.one", "image without page": "#/image/50",
    "map": "#/map", "t-SNE": "#/map?view=t-SNE&class=2", "about": "#/about",
    "training": "#/training",
}  # fmt: skip


# Controls in sight that a screen reader could not name.
UNNAMED = """[...document.querySelectorAll('button,a[href],input,select')].filter(e => e.offsetParent && !(e.innerText
    || e.ariaLabel || e.title || e.labels?.length || e.querySelector('[aria-label]'))).length"""


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_atlas(tmp_path_factory.mktemp("atlas"))


class Tab:
    """A page that remembers what went wrong, and where it sent requests."""

    def __init__(self, context: Any, base: str) -> None:
        self.page, self.base = context.new_page(), base
        self.troubles: list[str] = []
        self.page.set_default_timeout(8000)
        self.page.on("console", lambda m: self.troubles.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.troubles.append(str(e)))
        self.page.on(
            "request",
            lambda r: None if r.url.startswith((base, "data:", "blob:")) else self.troubles.append(f"request to {r.url}"),
        )
        # A request that is under way when the page is left is given up by the browser: no fault of the page.
        aborted = "net::ERR_ABORTED"
        self.page.on(
            "requestfailed", lambda r: None if r.failure == aborted else self.troubles.append(f"failed: {r.url} {r.failure}")
        )

    def open(self, hash: str, name: str = "index.html") -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/{name}{hash}")
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def at(self, name: str) -> Any:
        return self.page.get_by_test_id(name)

    def until(self, condition: str, argument: Any = None) -> None:
        """Wait for a JavaScript condition. (Playwright's own way uses `eval`, which the live page's policy forbids.)"""
        for _ in range(200):
            if self.page.evaluate(condition, argument):
                return
            self.page.wait_for_timeout(40)
        raise AssertionError(f"still not: {condition}")

    @property
    def hash(self) -> str:
        return self.page.evaluate("location.hash")


@pytest.fixture
def tab(browser: Any, atlas: Path) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found = Tab(context, atlas.as_uri())
    yield found
    context.close()
    assert found.troubles == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1600), ("dark", 400)])
def test_every_page(browser: Any, atlas: Path, theme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    tab = Tab(context, atlas.as_uri())
    page = tab.open("#/")
    for name, hash in PAGES.items():
        page.evaluate("h => { location.hash = h }", hash)
        tab.until("h => document.title && location.hash === h", hash)
        page.wait_for_timeout(60)
        assert page.locator("main h1").count() == 1, name
        assert tab.at("error").count() == 0, name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
        words = page.inner_text("main")
        assert not any(w in words for w in ("undefined", "NaN", "[object", "null")), name
        assert page.evaluate(UNNAMED) == 0, name
    context.close()
    assert tab.troubles == []


def test_from_the_network_to_an_image(tab: Tab) -> None:
    page = tab.open("#/")
    assert tab.at("highlights").locator("li").count() == 3
    tab.at("box-layer1.0.conv1").hover()
    assert "⌊(24 + 2·1 − 3)/1⌋ + 1 = 24" in tab.at("panel").inner_text()
    assert "shapes_net.py:24 in forward" in tab.at("panel").inner_text()
    tab.at("box-layer1.0.conv1").click()
    tab.at("units").locator("a.unit").first.click()
    assert tab.hash.startswith("#/unit/layer1.0.conv1/")
    index = tab.at("top").locator("a").first.get_attribute("data-index")
    tab.at("top").locator("a").first.click()
    page.wait_for_selector("[data-testid=predictions]")
    assert tab.hash == f"#/image/{index}"
    page.go_back()
    page.wait_for_selector("[data-testid=stats]")
    assert tab.hash.startswith("#/unit/")


def test_folding(tab: Tab) -> None:
    page = tab.open("#/")
    boxes = lambda: int(tab.at("network").get_attribute("data-boxes"))  # noqa: E731
    everything = boxes()
    tab.at("fold").click()
    assert boxes() == 10  # input, stem, pool, layer1 … layer3, mix, avgpool, flatten, fc
    tab.at("box-stem/").press("Enter")
    assert boxes() == 12
    assert tab.hash == "#/?open=stem/"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert boxes() == 12
    tab.at("fold-stem/").click()
    tab.at("unfold").click()
    assert boxes() == everything
    assert page.locator(".edge.shortcut").count() >= 6  # one for each residual block


def test_colours_say_a_number(tab: Tab) -> None:
    tab.open("#/?open=none")
    tab.at("overlay").select_option("parameters")
    assert "sum over the box" in tab.at("legend").inner_text()
    assert "k" in tab.at("box-layer1/").text_content()
    assert tab.hash == "#/?open=none&colour=parameters"


def test_sorting(tab: Tab) -> None:
    page = tab.open("#/?view=table")
    table = tab.at("layers-table")
    column = lambda n: table.locator(f"tbody tr > :nth-child({n})").all_inner_texts()  # noqa: E731
    assert column(1)[0] == "stem.conv"
    tab.at("sort-parameters").click()
    numbers = [int(v.replace(",", "")) for v in column(4)]
    assert numbers == sorted(numbers, reverse=True)
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("Parameters")
    assert page.evaluate("document.activeElement.id") == "sort-parameters"  # the keyboard stays where it was
    page.keyboard.press("Enter")
    assert [int(v.replace(",", "")) for v in column(4)] == sorted(numbers)
    assert tab.hash == "#/?view=table&sort=parameters"
    page.keyboard.press("Enter")
    assert column(1)[0] == "stem.conv"
    total = table.locator("tfoot td").all_inner_texts()[2]
    assert total == f"{sum(numbers):,}"
    with page.expect_download() as download:
        tab.at("csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert sum(int(r["parameters"]) for r in rows) == sum(numbers)
    assert rows[0]["output_shape"] == "1x16x48x48"


def test_units_sort_and_show_as_tiles(tab: Tab) -> None:
    tab.open("#/layer/stem.relu")
    values = lambda: [float(v.strip("<> %")) for v in tab.at("units").locator("tbody td:nth-child(3)").all_inner_texts()]  # noqa: E731
    assert values() == sorted(values(), reverse=True)
    tab.at("direction").click()
    assert values() == sorted(values())
    tab.at("sort").select_option("selectivity")
    assert tab.at("units").locator("tbody tr").last.locator("td").nth(1).inner_text() == "–"  # the unknown comes last
    tab.at("as-tiles").click()
    assert tab.at("tiles").locator("a").count() == 16
    assert tab.hash == "#/layer/stem.relu?sort=selectivity&view=tiles"


def test_a_layer_shows_what_it_makes_of_an_image(tab: Tab) -> None:
    page = tab.open("#/layer/stem.relu")
    sheet = tab.at("activations")
    assert sheet.locator("a").count() == int(sheet.get_attribute("data-count"))
    tab.at("activations-image").select_option("2")
    tab.until("location.hash.includes('image=2')")
    page.wait_for_selector("a[href='#/image/2']")
    tab.at("activations").locator("a").first.click()
    tab.until("location.hash.startsWith('#/unit/stem.relu/')")


def test_the_frame_is_what_the_unit_saw(tab: Tab, atlas: Path) -> None:
    text = (atlas / "data/layer/layer1.0.conv1.js").read_text(encoding="utf-8")
    top = json.loads(text[text.index(", ") + 2 : text.rindex(")")])["top"]
    network = (atlas / "data/network.js").read_text(encoding="utf-8")
    field = next(
        x
        for x in json.loads(network[network.index(", ") + 2 : network.rindex(")")])["layers"]
        if x["address"] == "layer1.0.conv1"
    )["field"]
    tab.open("#/unit/layer1.0.conv1/3")
    for rank in range(3):
        left, _, width, _ = map(float, tab.at("top").locator("a").nth(rank).get_attribute("data-box").split())
        first = field["start"][1] + top["x"][3][rank] * field["stride"][1]
        low, high = max(first, 0), min(first + field["size"][1], 96)
        assert (left * 96, width * 96) == pytest.approx((low, high - low), abs=0.1)
    assert int(tab.at("histogram").get_attribute("data-bins")) == 32
    assert tab.at("class-means").locator("li").count() == len(CLASSES)
    tab.at("counts-linear").click()
    assert tab.hash == "#/unit/layer1.0.conv1/3?counts=linear"


def test_keys(tab: Tab) -> None:
    page = tab.open("#/unit/layer1.0.conv1/3")

    def press(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(120)
        return tab.hash

    assert press("ArrowRight") == "#/unit/layer1.0.conv1/4"
    assert press("ArrowLeft", "ArrowLeft") == "#/unit/layer1.0.conv1/2"
    assert press("]") == "#/unit/layer1.0.relu/2"
    assert press("[", "[") == "#/unit/stem.relu/2"
    assert press("g", "i") == "#/images"
    assert press("/") == "#/images"
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("mix.one/5")
    assert tab.at("found").locator("li").first.inner_text().startswith("mix.one/5")
    assert press("Enter") == "#/unit/mix.one/5"
    assert press("?") == "#/unit/mix.one/5"
    assert tab.at("dialog").is_visible()
    page.keyboard.press("Escape")
    assert tab.at("dialog").count() == 0
    press("/")
    page.keyboard.type("ring")
    press("ArrowDown", "ArrowUp", "Enter")
    assert tab.hash == f"#/images?class={CLASSES.index('ring')}"
    assert tab.at("gallery").locator("a").count() > 5


def test_theme(tab: Tab) -> None:
    page = tab.open("#/map")
    ground = lambda: page.evaluate("getComputedStyle(document.documentElement).backgroundColor")  # noqa: E731
    light = ground()
    tab.at("theme").click()
    assert page.get_attribute("html", "data-theme") == "dark"
    assert ground() != light
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.get_attribute("html", "data-theme") == "dark"  # the choice is kept
    page.keyboard.press("t")
    assert ground() == light


def test_map(tab: Tab) -> None:
    page = tab.open("#/map?view=t-SNE")
    cloud = tab.at("cloud")
    page.wait_for_selector("canvas[data-points]")
    assert cloud.get_attribute("data-points") == "90"
    assert tab.at("counted").inner_text() == "All 90 images"
    box = cloud.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.wheel(0, -900)
    tab.until("Number(document.querySelector('canvas').dataset.zoom) > 2")
    tab.until("location.hash.includes('zoom=')")  # a link shows the same part
    shown = cloud.get_attribute("data-zoom")
    page.mouse.down()
    page.mouse.move(middle[0] + 150, middle[1] + 40, steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)
    before = tab.hash
    page.reload()
    page.wait_for_selector("canvas[data-zoom]")
    assert float(cloud.get_attribute("data-zoom")) == pytest.approx(float(shown), rel=1e-3)
    assert tab.hash == before
    cloud.press("0")
    tab.until("document.querySelector('canvas').dataset.zoom === '1.000'")
    cloud.press(" ")
    tab.until("document.querySelector('canvas').dataset.hover !== ''")
    index = cloud.get_attribute("data-hover")
    assert tab.at("hover").is_visible()
    cloud.press("Enter")
    tab.until("i => location.hash === '#/image/' + i", index)


def test_map_classes_and_methods(tab: Tab) -> None:
    page = tab.open("#/map")
    assert "component 1 (31 % of the variance)" in page.inner_text("figure.cloud-frame")
    tab.at("class-3").click()
    assert tab.hash == "#/map?class=3"
    assert tab.at("class-3").get_attribute("aria-pressed") == "true"
    tab.at("method-t-SNE").click()
    assert tab.hash == "#/map?view=t-SNE&class=3" or tab.hash == "#/map?class=3&view=t-SNE"
    assert "Perplexity 30" in page.inner_text("main")


def test_image(tab: Tab) -> None:
    page = tab.open("#/image/1")
    assert tab.at("predictions").locator("li").count() == 5
    assert "right" in tab.at("verdict").inner_text() or "wrong" in tab.at("verdict").inner_text()
    words = tab.at("heatmaps").inner_text()
    assert "asked about 3 ring" in words
    assert "−0.84" in words
    assert "largest drop 4.81" in words
    sources = tab.at("heatmaps").locator("img").evaluate_all("all => all.map(i => [i.getAttribute('src'), i.naturalWidth])")
    assert sources == [["pictures/gradient-over-1.png", 288], ["pictures/occlusion-over-1.png", 288]]
    tab.at("draw-plain").click()
    assert tab.at("heatmaps").locator("img").first.get_attribute("src") == "pictures/gradient-1.png"
    tab.at("maps-layer").select_option("mix.three.conv")
    assert int(tab.at("maps").get_attribute("data-count")) == 16
    page.keyboard.press("Escape")
    tab.open("#/image/50")
    assert "convscope serve" in page.inner_text("main")


def test_wrong_addresses_are_told(tab: Tab) -> None:
    tab.open("#/layer/layer9.conv")
    assert "There is no layer “layer9.conv”" in tab.at("error").inner_text()
    tab.open("#/unit/fc/99")
    assert "fc has no unit “99”: its units are 0 to 5" in tab.at("error").inner_text()
    tab.open("#/image/4000")
    assert "There is no image “4000”" in tab.at("error").inner_text()
    tab.open("#/nowhere")
    assert "There is no page “nowhere”" in tab.at("error").inner_text()
    tab.open("#/constructor")
    assert "There is no page “constructor”" in tab.at("error").inner_text()


def test_a_missing_file_is_told(browser: Any, atlas: Path, tmp_path: Path) -> None:
    shutil.copytree(atlas, tmp_path / "copy")
    (tmp_path / "copy/data/layer/fc.js").unlink()
    (tmp_path / "copy/data/map.js").write_text("1;")
    context = browser.new_context()
    tab = Tab(context, (tmp_path / "copy").as_uri())
    tab.open("#/layer/fc")
    assert "data/layer/fc.js is missing" in tab.at("error").inner_text()
    tab.open("#/map")
    assert "holds no data for “map”" in tab.at("error").inner_text()
    (tmp_path / "copy/data/network.js").unlink()
    tab.open("#/")
    assert "The atlas cannot be opened" in tab.page.inner_text("main")
    context.close()


def test_names_are_text(browser: Any, atlas: Path, tmp_path: Path) -> None:
    shutil.copytree(atlas, tmp_path / "copy")
    bad = "<img src=x onerror=document.title='hacked'>"
    for name in ("network", "collection"):
        file = tmp_path / f"copy/data/{name}.js"
        text = (
            file.read_text(encoding="utf-8")
            .replace('"ring"', json.dumps(bad))
            .replace('"ShapesNet"', json.dumps(bad))
            .replace('"shapes"', json.dumps(bad))
        )
        file.write_text(text, encoding="utf-8")
    context = browser.new_context()
    tab = Tab(context, (tmp_path / "copy").as_uri())
    for hash in ("#/", "#/images", "#/image/1", "#/unit/stem.conv/1", "#/map", "#/about", "#/?view=table"):
        page = tab.open(hash)
        page.wait_for_timeout(50)
        assert page.locator("img[onerror]").count() == 0
        assert not page.title().startswith("hacked")
    context.close()
    assert tab.troubles == []


@pytest.fixture
def live(atlas: Path) -> Iterator[str]:
    """The real server, a network that is not one."""
    import uvicorn

    from convscope.web import server
    from tests.web.test_server import FakeSession, png

    class Session(FakeSession):
        def heatmap_page(self, heat: Any, method: str, stem: str) -> Any:
            page = {
                "method": method,
                "target": heat.targets[0],
                "score": 2.5,
                "file": f"{stem}.png",
                "plain": f"{stem}.png",
                "limit": 1.0,
            }
            return page, {f"{stem}.png": png()}

        def attribute(self, image: Any, method: str, target: Any, parameters: Any, progress: Any) -> Any:
            if target == "slow":
                for step in range(1000):
                    progress(step, 1000)
                    time.sleep(0.01)
            return super().attribute(image, method, target, parameters, progress)

        def image_page(self, image: Any) -> dict[str, Any]:
            return {
                "index": 50,
                "id": "made now",
                "file": "p.png",
                "width": 6,
                "height": 4,
                "heatmaps": [],
                "maps": [],
                "files": {"p.png": png()},
            }

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(server.create_app(atlas, "token", Session()), log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        running.should_exit = True
        thread.join(10)


def test_live(browser: Any, live: str, tmp_path: Path) -> None:
    from tests.web.test_server import png

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, live)
    page = tab.open("?token=token#/image/1", name="")
    assert page.evaluate("location.href") == f"{live}/#/image/1"  # the token has left the address
    tab.at("method").select_option("occlusion")
    assert tab.hash == "#/image/1?method=occlusion"
    tab.at("target").fill("ring")
    tab.at("attribute").click()
    tab.until("document.querySelectorAll('[data-testid=heatmaps] figure').length === 3")
    assert tab.at("heatmaps").locator("figure").first.get_attribute("data-method") == "occlusion"
    tab.at("target").fill("nonsense")
    tab.at("attribute").click()
    page.wait_for_selector(".error")
    assert "closest: 'disc'" in tab.at("job").inner_text()
    tab.at("target").fill("slow")
    tab.at("attribute").click()
    tab.at("cancel").click()
    tab.until("document.querySelector('[data-testid=job]').innerText === 'Cancelled.'")
    page.evaluate("location.hash = '#/image/50'")
    tab.until("document.querySelector('.picture img')?.naturalWidth === 6")  # made now, and let through by the policy
    (tmp_path / "mine.png").write_bytes(png())
    tab.at("upload").set_input_files(tmp_path / "mine.png")
    tab.until("location.hash.startsWith('#/image/upload-')")
    tab.until("document.querySelector('h1').innerText === 'made now'")
    assert "triangle" in tab.at("verdict").inner_text()
    context.close()
    assert tab.troubles == []


def test_live_without_the_token_is_for_reading(browser: Any, live: str) -> None:
    context = browser.new_context()
    tab = Tab(context, live)
    tab.open("#/image/1", name="")
    assert "live, reading only" in tab.page.inner_text("header")
    assert tab.at("ask").count() == 0
    context.close()
    assert tab.troubles == []


@pytest.mark.slow
def test_large_atlas_stays_smooth(browser: Any, tmp_path: Path) -> None:
    atlas = write_atlas(tmp_path, images=2000, units=512, stages=4, pages=0)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, atlas.as_uri())
    page = tab.open("#/layer/layer2.0.conv1")
    assert tab.at("units").locator("tbody tr").count() == 50  # a page of units, not all 512
    took = page.evaluate("""async () => {
        const before = performance.now();
        location.hash = '#/layer/layer2.0.conv1?view=tiles';
        while (!document.querySelector('.tiles')) await new Promise(requestAnimationFrame);
        return performance.now() - before;
    }""")
    assert took < 1500, took
    tab.open("#/map")
    page.wait_for_selector("canvas[data-points='2000']")
    cloud = tab.at("cloud")
    for _ in range(5):
        cloud.press("+")
        page.wait_for_timeout(80)
    assert float(cloud.get_attribute("data-ms")) < 60
    tab.open("#/")
    assert int(tab.at("network").get_attribute("data-boxes")) <= 61
    context.close()
    assert tab.troubles == []
