"""The worked examples of CONTRIBUTING.md, put where it says into a copy of the package, do what it says.

Turns red: spell `INPUTS` differently in opening/zoo.py, or make registry._stems skip a new file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convscope

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- file: src/(\S+) -->\n```python\n(.*?)```", TEXT, re.S))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the three examples in it."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(Path(convscope.__file__).parent, root / "convscope", ignore=shutil.ignore_patterns("__pycache__"))
    for place, code in EXAMPLES.items():
        assert not (root / place).exists(), f"{place} exists by now: choose another example"
        (root / place).write_text(code, encoding="utf-8")
    return root


def run(package: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=package, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_three_examples() -> None:
    assert [place.split("/")[1] for place in EXAMPLES] == ["attributions", "operators", "zoo"]


def test_method_is_found_and_answers(package: Path) -> None:
    code = """
import numpy as np, torch, convscope as cs
from convscope import registry
assert "gradient-input" in registry.names("attributions")
net = cs.open(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2, bias=False)), torch.zeros(1, 3, 2, 2))
x = torch.arange(12.0).reshape(1, 3, 2, 2)
heat = cs.attribute(net, x, "gradient-input", 1)
print(abs(float(heat.values.sum()) - float(heat.scores[0])) < 1e-5)
"""
    assert run(package, code).strip() == "True"


def test_operator_agrees_with_torch(package: Path) -> None:
    code = """
import numpy as np, torch
from convscope.operators import for_aten
x = np.linspace(-0.9, 40, 33); d = np.ones(33); op = for_aten("log1p")()
t = torch.from_numpy(x).requires_grad_(); y = torch.log1p(t); y.sum().backward()
print(np.abs(op.forward(x) - y.detach().numpy()).max() < 1e-12, np.abs(op.backward(d, x)[0] - t.grad.numpy()).max() < 1e-12)
"""
    assert run(package, code).split() == ["True", "True"]


def test_architecture_opens(package: Path) -> None:
    code = "import convscope as cs; net = cs.open('zoo:two_layers'); print(len(net.layers), net.output.output_shape)"
    assert run(package, code).strip() == "6 (1, 10)"
