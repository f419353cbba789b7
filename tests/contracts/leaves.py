"""What the contracts of leaf folders share: nets that are opened once, and what every leaf and every result must keep.

Leaves are found by discovery: a new file in `attributions/` is tested by being there.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from convscope import draw, fields, registry, store
from convscope.network import Network
from convscope.results import Result
from tests.nets import NETS


@functools.cache
def opened(name: str) -> tuple[nn.Module, Tensor, Network]:
    """A net of `tests/nets.py` with its batch of two inputs, opened."""
    model, x = NETS[name]()
    return model, x, Network.open(model, x, name)


def check_description(family: str, name: str) -> None:
    """What is read from the source is what the imported class says; its docstring says all that the law asks for."""
    leaf, read = registry.load(family, name), registry.describe(family, name)
    assert read.parameters == fields.describe(leaf)
    assert read.class_name == leaf.__name__
    assert read.question.endswith("?")
    assert [part for part in ("Misleads", "Errors:", "Source:", ">>> ") if part not in leaf.__doc__] == []
    assert dataclasses.is_dataclass(leaf)
    assert leaf.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(p.help for p in read.parameters)


def check_stored_and_drawn(result: Result, folder: Path) -> None:
    """Stored and read again it is the same, bit for bit; and it can be looked at."""
    again = store.read(store.write(result, folder / "result.npz"))
    assert same(result, again)
    assert draw.text(again, 80)
    assert len(draw.figure(again).axes) >= 1


def same(a: Any, b: Any) -> bool:
    """Equal in type and bits, arrays and NaN included."""
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or a != a
