"""The command line as somebody types it: answers, JSON, files, errors with their exit codes, Ctrl-C.

Turns red: in console.Commands.invoke, exit with 1 always; in cli.trace, print the notes to standard output with --json.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from convscope import cli
from convscope.cli import main

NETWORK = """
import torch.nn as nn

def small(classes=10):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
"""


def say(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def answer(*words: str | Path) -> str:
    result = say(*words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


@pytest.fixture
def network(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NETWORK)
    return f"{tmp_path / 'net.py'}:small"


def test_help_needs_no_torch_and_is_quick() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); from convscope.cli import main\n"
        "try: main(['attribute', '--help'])\nexcept SystemExit: pass\n"
        "print('heavy:', [m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert "--window" in done.stdout
    assert "[occlusion]" in done.stdout


@pytest.mark.parametrize("command", ["atlas", "attribute", "demo", "fit", "list", "predict", "respond", "serve", "trace"])
def test_every_command_explains_itself(command: str) -> None:
    text = answer(command, "--help")
    assert "?" in text or "." in text
    assert "--json" in text or command == "serve"


def test_trace_says_what_weight_sharing_saves() -> None:
    text = answer("trace", "zoo:alexnet_2012", "--input", "3x227x227")
    assert "96×55×55" in text
    assert "34,944" in text
    assert "105,705,600" in text.replace("\n", " ")
    assert "290,400 neurons" in " ".join(text.split())


def test_trace_as_json_adds_up() -> None:
    found = json.loads(answer("trace", "zoo:lenet5", "--json"))
    assert found["kind"] == "trace"
    assert sum(k["parameters"] for k in found["layers"]) == 61706
    assert found["layers"][0]["output_shape"] == [1, 6, 28, 28]


def test_attribute_writes_a_picture(network: str, tmp_path: Path) -> None:
    out = tmp_path / "why.png"
    text = answer(
        "attribute",
        network,
        "digits/0003",
        "--input",
        "1x8x8",
        "--preprocess",
        "unit",
        "--method",
        "occlusion",
        "--window",
        "2",
        "--stride",
        "1",
        "--target",
        "3",
        "--out",
        out,
    )
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert "3" in text


def test_predict_as_json(network: str) -> None:
    found = json.loads(answer("predict", network, "digits/0003", "--input", "1x8x8", "--top", "3", "--json"))
    assert len(found["columns"]["probability"]) == 3


def test_respond_then_ask(network: str, tmp_path: Path) -> None:
    common = ("respond", network, "--input", "1x8x8", "--images", "digits", "--out", tmp_path / "record", "--embed", "1")
    assert "1,797 images measured" in " ".join(answer(*common).split())
    top = json.loads(answer(*common, "--layer", "1", "--method", "top-images", "--unit", "2", "--k", "4", "--json"))
    assert len(top["units"]) == 4


def test_fit_trains_and_goes_on(tmp_path: Path) -> None:
    words = ("fit", "zoo:perceptron", "--images", "digits", "--epochs", "2", "--out", tmp_path / "run", "--json")
    first = json.loads(answer(*words))
    assert first["epochs"]["held_out_accuracy"][-1] > 0.5
    assert (tmp_path / "run" / "weights.safetensors").exists()
    again = json.loads(answer(*words))
    assert again["epochs"]["loss"] == first["epochs"]["loss"]
    assert any("went on from" in note for note in again["notes"])


def test_list_names_everything() -> None:
    text = answer("list")
    assert "resnet50" in text
    assert "occlusion" in text
    assert json.loads(answer("list", "attributions", "--json"))["attributions"][0]["parameters"] is not None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("trace", "zoo:resnet19"), 2, "no architecture named 'resnet19'; closest: "),
        (("trace", "nothing"), 2, "is no network reference"),
        (("trace", "weights.pt"), 1, "holds weights, not a network"),
        (("trace", "zoo:lenet5", "--input", "3xlarge"), 2, "cannot read the input size"),
        (
            ("attribute", "zoo:lenet5", "digits/0001", "--method", "gradient", "--window", "3"),
            2,
            "gradient has no option --window",
        ),
        (("attribute", "zoo:lenet5", "nowhere.png"), 1, "nowhere.png"),
        (("attribute", "zoo:lenet5", "digits/0001", "--target", "cat"), 2, "no class or unit named 'cat'"),
        (("predict", "zoo:lenet5", "digits/0001", "--mean", "a,b"), 2, "cannot read --mean"),
        (("predict", "zoo:lenet5", "digits/0001", "--preprocess", "unit", "--mean", "0.5"), 2, "exclude each other"),
        (("list", "zebras"), 2, "no family named 'zebras'"),
        (("respond", "zoo:lenet5", "--images", "/no/such/folder", "--out", "x"), 1, "/no/such/folder"),
    ],
)
def test_errors_teach_and_have_their_code(words: tuple[str, ...], code: int, sentence: str) -> None:
    result = say(*words)
    assert result.exit_code == code, result.output
    assert sentence in result.stderr
    assert result.stderr.startswith("convscope: ")
    assert "Traceback" not in result.output


def test_ctrl_c_keeps_what_is_kept(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "convscope",
        "fit",
        "zoo:lenet5",
        "--images",
        "digits",
        "--epochs",
        "500",
        "--out",
        str(tmp_path / "run"),
    ]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are deaf to Ctrl-C
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=heard)
    for _ in range(600):
        if (tmp_path / "run" / "checkpoint.pt").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "checkpoint.pt" in said
    assert "Traceback" not in said
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_demo_trains_and_writes_its_atlas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = json.loads(answer("demo", "--no-serve", "--out", tmp_path / "demo", "--minutes", "0.1", "--json"))
    assert found["held_out_accuracy"] >= 0.97
    assert Path(found["page"]).is_file()


def test_no_option_stands_for_two_things() -> None:
    """Options of methods come by discovery beside a command's own. Turns red: name a parameter of a response 'images'."""

    def check(command: click.Command) -> None:
        names = [name for p in command.params for name in (*p.opts, *p.secondary_opts)]
        assert len(names) == len(set(names)), f"{command.name}: {sorted({n for n in names if names.count(n) > 1})}"
        for inner in getattr(command, "commands", {}).values():
            check(inner)

    check(cli.main)
