"""A method's dataclass fields are its parameters, said once: here they become checks, command-line options, web forms
and docs.

    @dataclass(frozen=True)
    class Occlusion:
        window: int = param(16, "side of the grey square", unit="px", low=1)

`param` is an ordinary dataclass field whose metadata says what the value means. `validate` is called in `__post_init__`.
`read` finds the same facts in the *source* of a leaf, without importing it (leaves import torch; `--help` must not).
"""

from __future__ import annotations

import ast
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.errors import UsageError


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method: everything that a form or an option needs."""

    name: str
    type: str  # 'int', 'float', 'str', 'bool', or one of these ' | None'
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


def param(default: Any, help: str, *, unit: str = "", low: float | None = None, high: float | None = None,
          choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that explains itself. `low` and `high` are inclusive. All arguments are literals."""
    facts = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=facts)


def describe(method: Any) -> tuple[Parameter, ...]:
    """The parameters of a method class (or instance)."""
    return tuple(
        Parameter(f.name, str(f.type), f.default, **f.metadata) for f in dataclasses.fields(method) if "help" in f.metadata
    )


def validate(method: Any) -> None:
    """Raise UsageError if a field is out of its range, of the wrong type or not among its choices."""
    name = type(method).__name__
    for p in describe(method):
        value: Any = getattr(method, p.name)
        if value is None and p.type.endswith("| None"):
            continue
        kind = p.type.removesuffix("| None").strip()
        wanted = {"int": int, "float": (int, float), "bool": bool, "str": str}.get(kind)
        if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool")):
            raise UsageError(f"{name}.{p.name} must be {kind}", f"got {value!r}", p.help)
        number: Any = getattr(method, p.name)  # unnarrowed
        if kind == "float" and not math.isfinite(number):
            raise UsageError(f"{name}.{p.name} must be a finite number", f"got {value!r}", p.help)
        if p.choices and value not in p.choices:
            raise UsageError(f"{name}.{p.name} must be one of {', '.join(p.choices)}", f"got {value!r}", p.help)
        if (p.low is not None and number < p.low) or (p.high is not None and number > p.high):
            interval = f"[{'−∞' if p.low is None else p.low}, {'∞' if p.high is None else p.high}]"
            raise UsageError(f"{name}.{p.name} must be in {interval}", f"got {value!r}", p.help)


@dataclass(frozen=True)
class Description:
    """What a leaf says of itself in its source: class name, first line of its docstring, parameters."""

    class_name: str
    question: str
    parameters: tuple[Parameter, ...]


def read(path: Path, class_name: str) -> Description:
    """Describe the class `class_name` of a Python file from its source alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == class_name.lower():
            doc = ast.get_docstring(node) or ""
            found = (_parameter(item) for item in node.body if isinstance(item, ast.AnnAssign))
            return Description(node.name, doc.split("\n", 1)[0], tuple(p for p in found if p is not None))
    raise UsageError(f"{path.name} has no class {class_name}", "a leaf's class is named after its file", f"look into {path}")


def _parameter(item: ast.AnnAssign) -> Parameter | None:
    call = item.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "param"):
        return None
    assert isinstance(item.target, ast.Name)
    facts = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    default, help_text = (ast.literal_eval(a) for a in call.args)
    return Parameter(item.target.id, ast.unparse(item.annotation), default, help_text, **facts)
