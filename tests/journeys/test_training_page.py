"""The training view in a real browser: live on a folder with runs, live on an atlas, and opened from disk.

Mutations that turn these red, tried one by one: `ctx.note({ step, layer })` left out of page_training.js (test_a_click…);
`[i, j + 1]` -> `[i, j + 2]` in health_map.js (test_keys…); `put(out, "training", …)` left out of atlas/writing.py
(test_from_disk); `training_folder.routes(folder)` put after the files in server.py (test_a_run_that_goes_on).
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
from convscope.results import Finding, Findings, Run
from tests.journeys.test_page import UNNAMED, Tab

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no browser can be driven")
pytestmark = pytest.mark.browser

LAYERS, STEPS, EVERY = 5, 60, 4


def trained(seed: int = 0, rate: float = 0.5) -> Run:
    """A real loop over a small perceptron, looked at by hand every fourth step."""
    torch.manual_seed(seed)
    parts = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)]
    model, x = nn.Sequential(*parts), torch.randn(90, 6)
    y = x[:, :3].argmax(1)
    health = {k: np.full((LAYERS, STEPS // EVERY), np.nan) for k in ("dead", "saturated", "activation_std", "gradient_std",
                                                                     "weight_norm", "update_ratio")}
    losses = []
    for step in range(STEPS):
        values = [x]
        for part in parts:
            values.append(part(values[-1]))
            values[-1].retain_grad()
        loss = nn.functional.cross_entropy(values[-1], y)
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for i, (part, value) in enumerate(zip(parts, values[1:], strict=True)):
            if step % EVERY == 0:
                t = step // EVERY
                health["activation_std"][i, t] = value.std().item()
                health["gradient_std"][i, t] = value.grad.std().item()  # type: ignore[union-attr]
                if isinstance(part, nn.ReLU):
                    health["dead"][i, t] = (value == 0).all(0).double().mean().item()
                if isinstance(part, nn.Tanh):
                    health["saturated"][i, t] = (1 - value**2 < 0.01).double().mean().item()
                if isinstance(part, nn.Linear):
                    assert part.weight.grad is not None
                    health["weight_norm"][i, t] = part.weight.norm().item()
                    health["update_ratio"][i, t] = (rate * part.weight.grad.norm() / part.weight.norm()).item()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad  # type: ignore[operator]
    steps = {"step": np.arange(STEPS), "loss": np.array(losses), "rate": np.full(STEPS, rate)}
    return Run(steps=steps, epochs={}, layers=tuple(f"body.{i}" for i in range(LAYERS)), loop={"zero_grad": True},
               health={"step": np.arange(0, STEPS, EVERY), **health}, notes=("every 4th step was looked at",))


def diagnosed() -> Findings:
    rng = np.random.default_rng(0)
    control = 1.1 + 0.02 * rng.random((3, 40))
    remedy = control * np.exp(-np.arange(40) / 10)
    wrong = Finding("error", "the loss does not fall", "body.1 at step 21", {"dead": 0.62}, "the rate is too high",
                    "lower it", "1.10 → 0.02 over 3 seeds", "P1", "- lr=5.0\n+ lr=0.5", "units come back", True)
    return Findings(title="doctor", findings=(wrong, Finding("advice", "shuffle", fault="D9", confirmed=False)),
                    curves={"P1 control": control, "P1 remedy": remedy})


def watched() -> Run:
    """The same with `cs.watch`, at a rate that breaks it; most steps are not looked at."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(90, 6)
    optimizer = torch.optim.SGD(model.parameters(), 1e30)
    with cs.watch(model, optimizer, every=5) as run:
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), x[:, :3].argmax(1)).backward()
            optimizer.step()
    return run.result()


def edges(folder: Path) -> None:
    """Runs at the edge of what can be drawn."""
    watched().save(folder / "watched.npz")
    at = {"step": np.array([0])}
    Run(steps={"step": np.arange(1), "loss": np.ones(1)}, epochs={}, layers=("a", "b"),
        health={**at, "update_ratio": np.array([[1e-3], [np.nan]])}).save(folder / "one.npz")
    Run(steps={"loss": np.full(9, np.nan)}, epochs={}, layers=("a",),
        health={"step": np.arange(3), "dead": np.full((1, 3), np.nan)}).save(folder / "unseen.npz")
    Run(steps={}, epochs={"epoch": np.arange(2), "loss": np.ones(2)}).save(folder / "epochs.npz")
    many = 10.0 ** np.random.default_rng(0).uniform(-8, 1, (60, 700))
    many[7, 3] = np.inf
    Run(steps={"step": np.arange(7000), "loss": np.r_[np.ones(5000), np.full(2000, np.nan)]}, epochs={},
        layers=tuple(f"a.very.deep.network.block.{i}.with.names" for i in range(60)),
        health={"step": 10 * np.arange(700), "update_ratio": many}).save(folder / "wide.npz")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs and no atlas; `live` serves it."""
    folder = tmp_path_factory.mktemp("runs")
    trained().save(folder / "first.npz")
    diagnosed().save(folder / "first.findings.npz")
    edges(folder)
    return folder


@pytest.fixture(params=[("light", 1280), ("dark", 400)], ids=["light", "dark"])
def tab(browser: Any, live: str, request: pytest.FixtureRequest) -> Iterator[Tab]:
    theme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    found = Tab(context, live)
    found.open("?token=token#/training?run=first", name="")
    yield found
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.page.evaluate(UNNAMED) == 0
    context.close()
    assert found.troubles == []


def click(tab: Tab, row: int, column: int, columns: int = STEPS // EVERY, rows: int = LAYERS) -> None:
    box = tab.at("health").bounding_box()
    assert box
    place = {"x": (column + 0.5) * box["width"] / columns, "y": (row + 0.5) * box["height"] / rows}
    tab.at("health").click(position=place)


def row(tab: Tab, layer: str) -> dict[str, str]:
    """The numbers of a layer in the table at the chosen step, by the heads of their columns."""
    heads = tab.at("at-step").locator("thead th").all_inner_texts()[1:]
    return dict(zip(heads, tab.at("at-step").locator(f"tr[data-layer='{layer}'] td").all_inner_texts(), strict=True))


def number(text: str) -> float:
    """'1.2×10⁻⁵ ↑' -> 1.2e-5; '56 %' -> 0.56."""
    words = text.translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")).split("×10")
    mantissa = words[0].strip(" ↑↓")
    share = 0.01 if mantissa.endswith("%") else 1.0
    return share * float(mantissa.rstrip(" %").replace(",", "")) * 10.0 ** float(words[1].strip(" ↑↓") if words[1:] else 0)


def test_a_click_reads_the_arrays(tab: Tab) -> None:
    run = trained()
    assert "60 steps · 5 layers watched at 15 steps" in tab.at("training-lead").inner_text()
    for measure in ("activation_std", "update_ratio"):
        tab.at("measure").select_option(measure)
        tab.until(f"document.querySelector('[data-testid=health]')?.dataset.measure === '{measure}'")
        for layer, column in ((0, 0), (2, 7), (4, 14)):
            click(tab, layer, column)
            assert tab.hash.endswith(f"step={EVERY * column}&layer=body.{layer}")
            said = tab.at("reading").inner_text()
            assert f"step {EVERY * column} · body.{layer} · " in said
            assert number(said.split()[-1]) == pytest.approx(run.health[measure][layer, column], rel=6e-3)
            for i in range(LAYERS):
                cells = row(tab, f"body.{i}")
                names = {"update ratio": "update_ratio", "gradient": "gradient_std", "dead units": "dead",
                         "saturated": "saturated", "activation spread": "activation_std", "weight norm": "weight_norm"}
                for head, key in names.items():
                    true = run.health[key][i, column]
                    assert (cells[head] == "–") == bool(np.isnan(true)), (head, i)
                    assert np.isnan(true) or number(cells[head]) == pytest.approx(true, rel=6e-3, abs=6e-3), (head, i)
            facts = tab.page.inner_text("[data-testid=column]")
            assert f"{run.steps['loss'][EVERY * column]:.4g}".rstrip("0") in facts


def test_keys_and_the_curve_choose_too(tab: Tab) -> None:
    tab.at("health").focus()
    for key, found in (("Home", (0, 0)), ("ArrowRight", (4, 0)), ("ArrowDown", (4, 1)), ("End", (56, 1)),
                       ("ArrowRight", (56, 1)), ("ArrowLeft", (52, 1)), ("ArrowUp", (52, 0)), ("ArrowUp", (52, 0))):
        tab.page.keyboard.press(key)
        assert tab.hash.endswith(f"step={found[0]}&layer=body.{found[1]}"), key
    assert tab.page.evaluate("document.activeElement.id") == "health"
    box, shown = tab.at("loss").bounding_box(), tab.at("health").bounding_box()
    assert box
    assert shown
    tab.at("loss").click(position={"x": shown["x"] - box["x"] + shown["width"] * 3.5 / 15, "y": 60})
    tab.until("location.hash.includes('step=12&')")
    cursor = tab.page.locator("line.cursor").get_attribute("x1")
    assert float(cursor or 0) == pytest.approx(shown["x"] - box["x"] + shown["width"] * 3.5 / 15, abs=1.5)
    tab.page.reload()
    tab.until("document.querySelector('[data-testid=health]')?.dataset.step === '12'")


def test_a_finding_leads_to_its_place_and_shows_its_proof(tab: Tab) -> None:
    said = tab.at("finding-0").inner_text()
    for words in ("P1", "the loss does not fall", "confirmed", "0.62", "+ lr=0.5", "- lr=5.0", "units come back"):
        assert words in said
    assert tab.page.locator(".diff ins").inner_text() == "+ lr=0.5"
    tab.at("finding-1").locator("summary").click()
    assert "not confirmed" in tab.at("finding-1").inner_text()
    proof = tab.at("proof-P1")
    assert proof.locator("path.control:not(.mean)").count() == 3
    assert proof.locator("path.remedy.mean").count() == 1
    assert proof.locator("text.remedy").text_content() == "remedy"
    tab.at("place-0").click()  # no column was looked at at step 21: the nearest one is
    tab.until("location.hash.includes('step=20&layer=body.1')")
    assert "step 20 · body.1" in tab.at("reading").inner_text()


def test_the_edges_of_what_can_be_drawn(tab: Tab) -> None:
    for name, said in (("one", "1 step"), ("unseen", "None of the layers was seen"),
                       ("epochs", "holds no loss of single steps"), ("wide", "not finite from step 5,000")):
        tab.at("run").select_option(name)
        tab.until("w => document.querySelector('main').innerText.includes(w)", said)
        words = tab.page.inner_text("main")
        assert not any(w in words for w in ("undefined", "NaN", "[object", "null")), name
        assert tab.at("no-findings").count() == 1
        assert tab.page.evaluate("document.documentElement.scrollWidth === innerWidth"), name
    first = watched().loop["first_nonfinite"]
    tab.at("run").select_option("watched")
    tab.until("w => document.querySelector('[data-testid=first]')?.innerText.includes(w)", f"at step {first['step']}")
    tab.at("first").locator("button").click()
    tab.until(f"location.hash.endsWith('layer={first['layer']}')")
    assert "not a number at the end" in tab.at("training-lead").inner_text()
    tab.at("run").select_option("wide")
    tab.until("document.querySelector('[data-testid=thinned]')")
    assert "400 of 700 watched steps" in tab.at("thinned").inner_text()
    click(tab, 7, 2, columns=400, rows=60)
    assert tab.at("at-step").locator("tbody tr").count() == 60


def test_a_run_that_goes_on(tab: Tab, atlas: Path) -> None:
    assert tab.page.locator("#header nav a").all_inner_texts() == ["Training"]  # there is no atlas
    run = trained()
    longer = Run(steps={k: v[:40] for k, v in run.steps.items()}, epochs={}, layers=run.layers,
                 health={k: v[..., :10] for k, v in run.health.items()})
    try:
        longer.save(atlas / "first.npz")
        (atlas / "half.npz").write_bytes(b"half")
        tab.at("again").click()
        tab.until("document.querySelector('[data-testid=training-lead]')?.innerText.startsWith('40 steps')")
        assert "half.npz is not a result" in tab.at("broken").inner_text()
    finally:
        run.save(atlas / "first.npz")
        (atlas / "half.npz").unlink()


def test_from_disk(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for n in range(2):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(tmp_path / f"images/{n}.png")
    torch.manual_seed(0)
    net = cs.open(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)).eval(), example=(1, 3, 8, 8))
    folder = tmp_path / "atlas"

    def written() -> None:
        cs.atlas(net, tmp_path / "images", out=folder, pages=0, features="none", studies=False)

    written()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context, folder.as_uri())
    tab.open("#/training")
    assert "No training run is kept here yet" in tab.at("no-run").inner_text()
    (folder / "training").mkdir()
    run = trained()
    run.save(folder / "training/run.npz")
    diagnosed().save(folder / "training/doctor.npz")
    written()
    page = tab.open("#/")
    page.keyboard.press("g")
    page.keyboard.press("t")
    tab.until("document.title.startsWith('training · ')")
    click(tab, 2, 3)
    assert number(row(tab, "body.2")["weight norm"]) == pytest.approx(run.health["weight_norm"][2, 3], rel=6e-3)
    assert tab.at("again").count() == 0
    context.close()
    assert tab.troubles == []
