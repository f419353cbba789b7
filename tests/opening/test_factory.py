"""References to code: a file or a module, a name, literal arguments; nothing else is ever evaluated.

Turns red: in `parse_call`, `ast.literal_eval(a)` -> `eval(ast.unparse(a))`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import convscope.opening as opening
from convscope.errors import ConvscopeError, OpeningError, UnknownName, UsageError
from convscope.opening.factory import find, parse_call

CODE = """
from torch import nn
from neighbour import CHANNELS

def small(num_classes=2, bias=True):
    return nn.Sequential(nn.Conv2d(CHANNELS, 4, 3, bias=bias), nn.Flatten(), nn.Linear(4 * 36, num_classes))

def fails():
    raise RuntimeError("no such weights")

def number():
    return 3

ready = nn.Conv2d(1, 2, 3)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("CHANNELS = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_file_is_opened_with_its_neighbours(file: Path) -> None:
    before = list(sys.path)
    net = opening.open(f"{file}:small(num_classes=5, bias=False)", (1, 8, 8))
    assert net.name == "small"
    assert net.output.output_shape == (1, 5)
    assert net["0"].parameters == 36
    assert sys.path == before


def test_positional_literals_and_ready_modules(file: Path) -> None:
    assert opening.open(f"{file}:small(7)", (1, 8, 8)).output.output_shape == (1, 7)
    assert opening.open(f"{file}:ready", (1, 8, 8)).output.output_shape == (1, 2, 6, 6)


def test_an_importable_module(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    file.rename(file.with_name("importable_net.py"))
    assert opening.open("importable_net:small", (1, 8, 8)).name == "small"
    sys.modules.pop("importable_net")


@pytest.mark.parametrize(
    "call",
    [
        "f(__import__('os'))",
        "f(x=open('a'))",
        "__import__('os').system('ls')",
        "f(",
        "f(*[1])",
        "lambda: 1",
        "f(**{'a': 1})",
        "",
    ],
)
def test_anything_but_literals_is_refused(call: str) -> None:
    with pytest.raises(UsageError, match="expected name or name\\(literals\\); for example resnet18\\(num_classes=10\\)"):
        parse_call(call)


def test_literals_of_every_kind() -> None:
    assert parse_call("f(1, -2.5, 'a:b', None, sizes=(1, 2), on=True)") == (
        "f",
        [1, -2.5, "a:b", None],
        {"sizes": (1, 2), "on": True},
    )


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("smal", UnknownName, "no factory named 'smal'; closest: 'small'"),
        (
            "fails",
            OpeningError,
            r"mine.py:fails fails when it is called; RuntimeError: no such weights; call it in Python and mend it there",
        ),
        ("number", OpeningError, "mine.py:number returns int; a torch.nn.Module is needed"),
        ("small(colour=3)", OpeningError, "fails when it is called; TypeError: .*unexpected keyword argument 'colour'"),
    ],
)
def test_factories_that_do_not_give_a_network(file: Path, name: str, kind: type[ConvscopeError], said: str) -> None:
    with pytest.raises(kind, match=said):
        find(f"{file}:{name}")


def test_a_file_that_fails_or_is_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    before = list(sys.path)
    with pytest.raises(
        OpeningError,
        match=r"cannot import .*broken.py; ZeroDivisionError: division by zero; import it in Python and mend it there",
    ):
        find(f"{broken}:net")
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("_convscope_broken")]
    with pytest.raises(
        OpeningError, match=r"cannot import .*none.py; there is no such file; the path is taken from where you are"
    ):
        find(f"{tmp_path / 'none.py'}:net")
    with pytest.raises(OpeningError, match="cannot import no_such_package; ModuleNotFoundError"):
        find("no_such_package:net")
