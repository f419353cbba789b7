"""Programs by reference: file.py:setup, a network with data beside it; and every error said.

Mutation that turns this red: in opened.py, `data is None else _data(` → `data is not None else _data(`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.diagnosing import opened
from convscope.errors import OpeningError, UsageError

SETUP = """
import torch
from torch import nn

X, Y = torch.randn(40, 3), torch.arange(40) % 2

def setup():
    model = nn.Linear(3, 2)
    return model, (X, Y), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.25)

def by_name():
    model = nn.Linear(3, 2)
    return {"model": model, "data": (X, Y), "loss": "cross-entropy", "epochs": 3, "batch_size": 8}

def two(width=3):
    return nn.Linear(width, 2), (X, Y)

def nameless():
    return {"net": nn.Linear(3, 2)}

def fails():
    raise RuntimeError("out of cheese")

def network():
    return nn.Linear(3, 2)

def loss(output, target):
    return (output ** 2).mean()

def made(weight):
    return lambda output, target: weight * (output ** 2).mean()
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text(SETUP)
    return str(path)


def test_a_factory_that_gives_a_whole_program(file: str) -> None:
    program = opened.program(f"{file}:setup")
    assert isinstance(program.model, nn.Linear)
    assert (len(program.examples), program.optimizer.rate) == (40, 0.25)
    named = opened.program(f"{file}:by_name")
    assert (named.epochs, named.examples.batch) == (3, 8)
    assert opened.program(f"{file}:by_name", epochs=9, batch_size=None).epochs == 9
    assert opened.program(f"{file}:by_name", epochs=9, batch_size=None).examples.batch == 8


def test_the_same_weights_each_time(file: str) -> None:
    before = torch.get_rng_state()
    a, b = (opened.program(f"{file}:setup").model.get_parameter("weight") for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_given_beside_a_factory_wins(file: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "more.npz", x=np.zeros((6, 3), np.float32), y=np.arange(6) % 2)
    program = opened.program(f"{file}:two(width=3)", str(tmp_path / "more.npz"), f"{file}:loss", "adam:0.5")
    assert (len(program.examples), program.optimizer.rate, program.loss.__name__) == (6, 0.5, "loss")
    assert float(opened.program(f"{file}:two", None, f"{file}:made(2.0)").loss(torch.ones(1), None)) == 2.0


def test_a_network_with_data_beside_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(30, 1, 28, 28)).astype(np.float32), y=np.arange(30) % 10)
    program = opened.program("zoo:lenet5", str(tmp_path / "d.npz"), held_out=0.2, batch_size=4)
    assert program.held_out is not None
    assert (len(program.examples), len(program.held_out)) == (24, 6)
    assert program.loss.__name__ == "cross_entropy"
    assert str(program.optimizer).startswith("Adam(lr=0.001")
    shown = {tuple(v.flatten().tolist()) for v in program.examples.x} & {
        tuple(v.flatten().tolist()) for v in program.held_out.x
    }
    assert not shown


@pytest.mark.parametrize(
    ("name", "data", "kind", "words"),
    [
        ("fails", None, OpeningError, "RuntimeError: out of cheese"),
        ("nameless", None, UsageError, "it gives net"),
        ("setup", "digits", UsageError, "got digits"),
        ("two", None, UsageError, "a loss"),
    ],
)
def test_what_is_wrong_with_a_factory_is_said(
    file: str, name: str, data: str | None, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        opened.program(f"{file}:{name}", data)


def test_a_network_without_data_or_preprocessing() -> None:
    with pytest.raises(UsageError, match="data to train on"):
        opened.program("zoo:lenet5")
    taken = opened.program("zoo:lenet5", "digits").examples
    assert tuple(taken.x.shape[1:]) == (1, 28, 28)
    assert "no preprocessing is known" in taken.notes[-1]
