"""One command answers the beginner's question: which sizes has everything in my small network, forward and backward?

Turns red: `backward` not handed on in cli.trace; `is_flag` dropped from `--backward`; a kernel of 3 in the example.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from convscope.cli import main

ROOT = Path(__file__).parents[2]
COMMAND = ("trace", str(ROOT / "examples/one_filter.py:one_filter"), "--input", "1x28x28", "--backward")


def answer(*words: str) -> str:
    done = CliRunner().invoke(main, list(words), env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_command_prints_every_size_forward_and_backward() -> None:
    text = answer(*COMMAND)
    assert max(map(len, text.splitlines())) <= 100
    sizes = {}
    layer = ""
    for line in text.splitlines():
        cells = re.split(r"  +", line.strip())
        if re.match(r"(conv|dense|relu|flatten)", line):
            layer = cells[0]
            sizes[layer] = cells[2:4]  # output, δ
        elif line.startswith("  ") and layer:
            sizes[f"{layer} {cells[0]}"] = cells[1:]
    assert sizes["conv1"] == ["1×24×24"] * 2
    assert sizes["conv2"] == ["1×20×20"] * 2
    assert sizes["flatten"] == ["400"] * 2
    assert sizes["dense1"] == ["120"] * 2
    assert sizes["dense2"] == ["10"] * 2
    assert sizes["conv1 y"] == ["1×24×24", "14,400", "⌊(28 + 2·0 − 5)/1⌋ + 1 = 24"]
    assert sizes["conv2 y"] == ["1×20×20", "10,000", "⌊(24 + 2·0 − 5)/1⌋ + 1 = 20"]
    for name, shape, macs, equation in (
        ("conv2 ∂L/∂x", "1×24×24", "10,000", "20 + 5 − 1 = 24"),
        ("conv2 ∂L/∂weight", "1×1×5×5", "10,000", "24 − 20 + 1 = 5"),
        ("conv1 ∂L/∂x", "1×28×28", "14,400", "24 + 5 − 1 = 28"),
        ("conv1 ∂L/∂weight", "1×1×5×5", "14,400", "28 − 24 + 1 = 5"),
        ("dense1 ∂L/∂weight", "120×400", "48,000", "120×400"),
        ("dense1 ∂L/∂x", "400", "48,000", "120×400"),
    ):
        assert sizes[name][:2] == [shape, macs]
        assert equation in sizes[name][-1]
    assert sizes["flatten ∂L/∂x"][0] == "1×20×20"
    total = next(line for line in text.splitlines() if line.startswith("total"))
    assert re.split(r"  +", total)[2:5] == ["49,382", "73.6 k", "147 k"]


def test_json_holds_the_backward_pass() -> None:
    found = json.loads(answer(*COMMAND, "--json"))
    conv = next(k for k in found["layers"] if k["address"] == "conv2")
    assert [(g["of"], g["shape"], g["macs"]) for g in conv["backward"]] == [
        ("x", [1, 1, 24, 24], 10_000), ("weight", [1, 1, 5, 5], 10_000), ("bias", [1], 0)]
    plain = json.loads(answer(*COMMAND[:-1], "--json"))
    assert all(k["backward"] is None for k in plain["layers"])


def test_help_says_what_it_does() -> None:
    assert "--backward" in answer("trace", "--help")


def test_the_docs_show_what_is_printed() -> None:
    shown = re.search(r"\$ convscope trace examples/one_filter\.py.*?--backward\n(.*?)\n```",
                      (ROOT / "docs/mechanics.md").read_text(encoding="utf-8"), re.S)
    assert shown is not None
    printed = [line.rstrip() for line in answer(*COMMAND).splitlines()]
    assert shown[1].splitlines() == printed
