"""A method's parameters: said once, checked, and the same whether imported or read from source.

Turns red: in `validate`, `value > p.high` -> `value >= p.high`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from convscope import fields
from convscope.errors import UsageError
from convscope.fields import Parameter, param, validate

SOURCE = '''
from dataclasses import dataclass
from convscope.fields import param, validate

@dataclass(frozen=True)
class Sample:
    """What is this?

    More.
    """

    window: int = param(16, "side of the square", unit="px", low=1, high=64)
    sigma: float = param(0.5, "width", low=0)
    mode: str = param("a", "which way", choices=("a", "b"))
    seed: int | None = param(None, "where chance starts")
    signed: bool = param(True, "keep the sign")
    note: str = "not a parameter"

    def __post_init__(self) -> None:
        validate(self)
'''


@dataclass(frozen=True)
class Sample:
    """What is this?"""

    window: int = param(16, "side of the square", unit="px", low=1, high=64)
    sigma: float = param(0.5, "width", low=0)
    mode: str = param("a", "which way", choices=("a", "b"))
    seed: int | None = param(None, "where chance starts")
    signed: bool = param(True, "keep the sign")
    note: str = "not a parameter"

    def __post_init__(self) -> None:
        validate(self)


def test_source_and_class_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text(SOURCE)
    read = fields.read(file, "sample")
    assert (read.class_name, read.question) == ("Sample", "What is this?")
    assert read.parameters == fields.describe(Sample)
    assert read.parameters[0] == Parameter("window", "int", 16, "side of the square", "px", 1, 64)
    assert [p.option for p in read.parameters] == ["--window", "--sigma", "--mode", "--seed", "--signed"]


def test_limits_are_inside() -> None:
    assert Sample(window=1).window == 1
    assert Sample(window=64, sigma=0, seed=3, mode="b").window == 64


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": 0}, r"Sample.window must be in \[1, 64\]; got 0; side of the square"),
        ({"window": 65}, r"Sample.window must be in \[1, 64\]; got 65"),
        ({"sigma": -0.1}, r"Sample.sigma must be in \[0, ∞\]; got -0.1"),
        ({"window": 1.5}, r"Sample.window must be int; got 1.5"),
        ({"window": True}, r"Sample.window must be int; got True"),
        ({"signed": 1}, r"Sample.signed must be bool; got 1"),
        ({"mode": "c"}, r"Sample.mode must be one of a, b; got 'c'"),
        ({"seed": "x"}, r"Sample.seed must be int; got 'x'"),
        ({"window": None}, r"Sample.window must be int; got None"),
        ({"sigma": math.nan}, r"Sample.sigma must be a finite number; got nan"),
        ({"sigma": math.inf}, r"Sample.sigma must be a finite number; got inf"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Sample(**wrong)  # type: ignore[arg-type]


def test_a_file_without_its_class(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text("x = 1\n")
    with pytest.raises(UsageError, match=r"other.py has no class other; a leaf's class is named after its file"):
        fields.read(file, "other")
