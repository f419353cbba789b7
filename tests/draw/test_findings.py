"""findings: each part of a diagnosis is said, the calm case calmly, and words from outside stay words.

Mutations that turn it red: `("remedy", …)` dropped in `facts`; `escape` dropped in `_article`; `checked(result)` dropped in
`html`; `not counts.keys() - {"fine"}` -> `True` in `summary` (an error would be called nothing wrong).
"""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from convscope import draw
from convscope.draw import findings as drawer
from convscope.results import Finding, Findings
from tests.draw import samples

WRONG = Finding("error", "∂L/∂x is wrong", "conv2", {"largest difference": 0.25, "tried": "23 mistakes"},
                "the kernel is not flipped", "flip it in both axes", "with a flipped kernel the array is met to 1e-16")
ADVICE = Finding("advice", "all rates are the same")
CHECKED = {"array": np.array(["conv2", "fc1"]), "difference": np.array([0.25, 1e-17])}
FOUND = Findings(title="verify lenet5", findings=(WRONG, ADVICE), checked=CHECKED, units={"difference": "largest"},
                 notes=("mine.npz was read as CHW",))
CALM = Findings(title="verify lenet5", findings=(), checked=CHECKED)


def test_every_part_of_a_finding_is_said() -> None:
    lines = draw.text(FOUND, 100).splitlines()
    assert lines[:9] == [
        "verify lenet5", "1 error, 1 advice; 2 things looked at", "", "error in conv2: ∂L/∂x is wrong",
        "  evidence: largest difference 0.25 · tried 23 mistakes", "  cause: the kernel is not flipped",
        "  remedy: flip it in both axes", "  proof: with a flipped kernel the array is met to 1e-16", ""]
    assert lines[9] == "advice: all rates are the same"
    assert lines[-1] == "mine.npz was read as CHW"
    assert re.search(r"\nconv2 +0\.2500\nfc1 +1e-17\n", draw.text(FOUND, 100))
    assert max(map(len, draw.text(FOUND, 40).splitlines())) <= 40


@pytest.mark.parametrize(("severities", "said"), [
    ([], "nothing found; 2 things looked at"), (["fine"], "1 fine; nothing is wrong; 2 things looked at"),
    (["error", "error", "fine"], "2 errors, 1 fine; 2 things looked at"), (["unknown"], "1 unknown; 2 things looked at"),
    (["odd", "error"], "1 error, 1 odd; 2 things looked at")])
def test_the_summary_counts_and_stays_calm(severities: list[str], said: str) -> None:
    result = Findings(title="", findings=tuple(Finding(s, "x") for s in severities), checked=CHECKED)
    assert drawer.summary(result) == said
    assert draw.text(result, 100).splitlines()[1] == said
    assert said in draw.html(result)
    assert said in [t.get_text() for t in result.plot().texts]


def test_html_says_the_same_and_escapes() -> None:
    page = draw.html(FOUND)
    for word in ("flip it in both axes", "largest difference 0.25", "with a flipped kernel", "fc1", "mine.npz"):
        assert word in page
    assert page.count("<article") == 2
    assert page.count("<dl>") == 1  # the advice has nothing more to say
    assert "<table>" in page
    nasty = next(r for r in samples.nasty() if isinstance(r, Findings))
    assert "<script" not in draw.html(nasty)
    assert draw.html(nasty).count("&lt;script&gt;") >= 9


def test_colours_only_support_the_word() -> None:
    stream = io.StringIO()
    Console(width=80, force_terminal=True, color_system="standard", file=stream).print(draw.renderable(FOUND))
    shown = stream.getvalue()
    assert "\x1b[1;31merror\x1b[0m in conv2" in shown
    assert "\x1b[1;33madvice\x1b[0m: all" in shown


def test_csv_has_a_row_for_each() -> None:
    header, rows = drawer.records(FOUND)
    assert header == ["severity", "where", "symptom", "evidence", "cause", "remedy", "proof", "fault", "confirmed", "code",
                      "disproof"]
    assert rows[0][3] == "largest difference=0.25; tried=23 mistakes"
    assert rows[1] == ["advice", "", "all rates are the same", *[""] * 8]


@pytest.mark.parametrize("result", [FOUND, CALM, Findings(title="", findings=(Finding("error", "word " * 200),))])
def test_the_figure_holds_all_words_and_none_lies_on_another(result: Findings) -> None:
    figure = result.plot()
    figure.canvas.draw()
    wide = figure.get_size_inches()[0] * figure.dpi
    words = [(t.get_text(), t.get_window_extent()) for t in figure.texts if t.get_text()]
    for i, (text, extent) in enumerate(words):
        assert extent.x1 <= wide, text
        assert not [other for other, beside in words[:i] if extent.overlaps(beside)], text
    said = " ".join(text for text, _ in words)
    assert all(finding.symptom.split()[0] in said for finding in result.findings)
