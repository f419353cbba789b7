"""Keep a glass-box network in one file and read it back, without running anything that the file says.

The file is an ordinary NumPy archive (`.npz`) of plain arrays. Its member `__glass__` is a JSON header (its bytes as a uint8
array): the calls of the network, each operator as the name of one of our classes and its settings, and which member
holds which parameter. Reading makes operators of the classes of `operators/` only, from numbers, words and tuples of them;
nothing is pickled, imported or evaluated.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convscope import store
from convscope.errors import ConvscopeError, StoreError
from convscope.glass import INPUT, Call, GlassBox
from convscope.operators import Operator, all_operators

FORMAT = "convscope glass box 1"
HEADER = "__glass__"
# What NumPy, zipfile and the JSON reader raise on bytes that are not what they should be; our own checks raise ValueError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError,
           NotImplementedError)


def save(box: GlassBox, path: str | Path) -> Path:
    """Keep a network. Errors: StoreError (a disk that refuses, a setting that JSON has no words for).

    >>> import tempfile
    >>> from convscope.operators.relu import ReLU
    >>> box = GlassBox("toy", (Call("relu", ReLU(), (INPUT,)),), {}, "relu")
    >>> load(save(box, Path(tempfile.mkdtemp()) / "toy.npz")).calls == box.calls
    True
    """
    header = {
        "format": FORMAT, "name": box.name, "output": box.output, "learned": sorted(box.learned),
        "calls": [{"name": c.name, "operator": _described(c.operator), "reads": list(c.reads), "address": c.address,
                   "item": c.item} for c in box.calls],
    }
    return write(path, header, box.parameters)


def load(path: str | Path) -> GlassBox:
    """Read a network that `save` kept. Errors: StoreError (missing, damaged, foreign, of another version)."""
    header, arrays = read(path, "glass-box network", FORMAT)
    try:
        calls = tuple(_call(entry) for entry in header["calls"])
        box = GlassBox(_word(header["name"]), calls, arrays, _word(header["output"]), frozenset(header["learned"]))
        _check(box)
        return box
    except _DAMAGE as error:
        raise _damaged(Path(path), "glass-box network", error) from error


def write(path: str | Path, header: dict[str, Any], arrays: Mapping[str, Any]) -> Path:
    """Keep a JSON header and named arrays in one `.npz`, whole or not at all. Errors: StoreError."""
    try:  # an infinite clamp is a setting, a loss may be NaN: Python reads back what it writes for them
        text = json.dumps(header | {"arrays": list(arrays)})
    except TypeError as error:
        raise StoreError(f"{path} cannot be written", str(error), "a setting is no number, word or tuple of them") from error
    members: dict[str, Any] = {f"a{i}": np.asarray(array) for i, array in enumerate(arrays.values())}
    with store.atomic(path) as file:
        np.savez(file, **{HEADER: np.frombuffer(text.encode("ascii"), np.uint8)}, **members)
    return Path(path)


def read(path: str | Path, what: str, form: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a file of the format `form` that `write` kept. Errors: StoreError names `what` it should be."""
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive[HEADER].tobytes())
            if header["format"] != form:
                raise ValueError(f"its format is {header['format']!r}, not {form!r}")
            return header, {_word(name): archive[f"a{i}"] for i, name in enumerate(header["arrays"])}
    except OSError as error:
        raise StoreError(f"cannot read {path}", error.strerror or str(error), "check the name and its rights") from error
    except _DAMAGE as error:
        raise _damaged(path, what, error) from error


def _damaged(path: Path, what: str, error: Exception) -> StoreError:
    return StoreError(f"{path} is no {what}, or it is damaged", f"{type(error).__name__}: {error}",
                      "make it again, or take it from a copy")


def _described(operator: Operator | None) -> Any:
    if operator is None:
        return None
    return {"class": type(operator).__name__,
            "settings": {f.name: getattr(operator, f.name) for f in dataclasses.fields(operator)}}


def _call(entry: dict[str, Any]) -> Call:
    described, item = entry["operator"], entry["item"]
    reads = tuple(None if name is None else _word(name) for name in entry["reads"])
    if (item is None) == (described is None) or not (item is None or type(item) is int):
        raise ValueError(f"the call {entry['name']!r} needs an operator or the number of an item")
    return Call(_word(entry["name"]), _operator(described), reads, _word(entry["address"]), item)


def _operator(described: Any) -> Operator | None:
    """One of our own operators, by the name of its class."""
    if described is None:
        return None
    known = {cls.__name__: cls for cls in all_operators()}
    if described["class"] not in known:
        raise ValueError(f"there is no operator {described['class']!r} here")
    cls = known[described["class"]]
    fields = {f.name for f in dataclasses.fields(cls)}
    if set(described["settings"]) != fields:
        raise ValueError(f"{cls.__name__} has the settings {sorted(fields)}, the file says {sorted(described['settings'])}")
    try:
        return cls(**{name: _plain(value) for name, value in described["settings"].items()})
    except ConvscopeError as error:  # a setting that the operator itself refuses
        raise ValueError(str(error)) from error


def _plain(value: Any) -> Any:
    """Numbers, words, None; lists become tuples. Nothing else is a setting."""
    if isinstance(value, list):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        raise ValueError("a setting cannot be a table")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} should be a name")
    return value


def _check(box: GlassBox) -> None:
    """Every call reads what is there before it, nothing is written twice, and the answer exists."""
    known = {INPUT, *box.parameters}
    for call in box.calls:
        missing = [name for name in call.reads if name is not None and name not in known]
        if missing or call.name in known or not call.reads:
            raise ValueError(f"the call {call.name!r} reads {call.reads} where only what was there before can be read")
        known.add(call.name)
    if box.output not in known or not box.learned <= box.parameters.keys():
        raise ValueError("the answer or a learned parameter is missing")


__all__ = ["load", "read", "save", "write"]
