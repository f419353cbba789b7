"""What every result has: where it comes from, and the same few doors."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Origin:
    """How was this result made? The method's repr, prints of network and input, seed and versions."""

    method: str = ""
    network: str = ""
    input: str = ""
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Result:
    """What all results share. Never made by itself."""

    kind: ClassVar[str]
    origin: Origin = field(default_factory=Origin)

    def plot(self) -> Figure:
        """A matplotlib Figure of this result (no pyplot state, works headless)."""
        from convscope import draw

        return draw.figure(self)

    def save(self, path: str | Path) -> Path:
        """Keep this result: `.npz` keeps all of it, `.png` and `.svg` a picture, `.html`, `.txt`, `.csv`, `.json` a face."""
        from convscope import draw

        return draw.save(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name; arrays stay NumPy arrays."""
        return {"kind": self.kind, **{f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}}

    def to_json(self, indent: int | None = None) -> str:
        """The same as text: arrays become nested lists, NaN and infinities become null."""
        return json.dumps(_jsonable(self.to_dict()), indent=indent, ensure_ascii=False, allow_nan=False)

    def _repr_html_(self) -> str:
        from convscope import draw

        return draw.html(self)

    def __str__(self) -> str:
        from convscope import draw

        return draw.text(self)


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dicts, tuples as lists, fractions as floats; arrays and plain values as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast("list[Any]", value)]
    return float(value) if isinstance(value, Fraction) else value


def _jsonable(value: Any) -> Any:
    """What JSON has words for: lists for arrays, null for NaN and infinities."""
    if isinstance(value, np.ndarray):
        return _jsonable(cast("NDArray[Any]", value).tolist())
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in cast("list[Any]", value)]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
