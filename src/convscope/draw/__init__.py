"""From a result to something to look at: a matplotlib Figure, text, HTML, a file. One module for each kind of result.

Drawing knows results only, never how they were made, and needs no torch. `text`, `renderable` and the files `.csv`, `.json`
and `.npz` do not load matplotlib. Every picture states its scale, and how many of how many things it shows.
"""

from __future__ import annotations

import functools
import importlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from convscope import animation, store
from convscope.errors import UsageError
from convscope.results import KINDS, Picture, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType


def figure(result: Result) -> Figure:
    """The picture of a result: a matplotlib Figure on an Agg canvas, without pyplot or any window."""
    return _drawer(result).figure(result)


def renderable(result: Result) -> RenderableType:
    """What `rich` prints in a terminal, with colour where it can: `Console().print(renderable(result))`."""
    return _drawer(result).renderable(result)


def text(result: Result, width: int | None = None) -> str:
    """The same as plain text, folded to `width` columns (the terminal's, where there is one)."""
    return printed_text(renderable(result), width or shutil.get_terminal_size((100, 24)).columns).strip("\n")


def printed_text(shown: RenderableType, width: int) -> str:
    """What `rich` would print, as plain text."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, force_terminal=False, legacy_windows=False,
            highlight=False).print(shown)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def html(result: Result) -> str:
    """A self-contained, escaped HTML fragment: for notebooks, light or dark."""
    return _drawer(result).html(result)


def save(result: Result, path: str | Path) -> Path:
    """Keep a result in a file whose suffix says how: all of it (`.npz`), a picture, or a face of it for other programs.

    The file appears whole or not at all. Raises UsageError for a suffix that cannot hold this kind of result, and
    StoreError where the disk refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    writers = _writers(result)
    if suffix not in writers:
        found = f"its suffix is {suffix!r}" if suffix else "it has no suffix"
        raise UsageError(f"cannot save a {result.kind} as {path.name!r}", found, f"use one of {', '.join(writers)}")
    if suffix == ".npz":
        return store.write(result, path)
    content = writers[suffix]()  # made before the file is opened: a drawing that fails leaves nothing
    with store.atomic(path) as file:
        file.write(content)
    return path


def _writers(result: Result) -> dict[str, Callable[[], bytes]]:
    writers: dict[str, Callable[[], bytes]] = {
        ".npz": bytes,  # the store writes it
        ".png": lambda: printed(figure(result), "png"),
        ".svg": lambda: printed(figure(result), "svg"),
        ".pdf": lambda: printed(figure(result), "pdf"),
        ".html": lambda: page(_title(result), html(result)),
        ".txt": lambda: (text(result, width=120) + "\n").encode("utf-8"),
        ".json": lambda: (result.to_json(indent=1) + "\n").encode("utf-8"),
    }
    records: Any = getattr(_drawer(result), "records", None)
    if isinstance(result, Picture):
        writers |= {suffix: functools.partial(_animated, result, suffix) for suffix in animation.SUFFIXES}
    if records is not None:
        writers[".csv"] = lambda: _comma_separated(records(result))
    return writers


def _animated(result: Picture, suffix: str) -> bytes:
    """The tiles of a picture one after the other."""
    from convscope.draw import picture

    return animation.encoded(picture.colour(result)[0], suffix)


def _drawer(result: Result) -> ModuleType:
    if not isinstance(result, Result) or result.kind not in KINDS:
        raise UsageError(f"cannot draw a {type(result).__name__}", "it is not one of our results",
                         f"the kinds are {', '.join(KINDS)}")
    return importlib.import_module(f"convscope.draw.{result.kind}")


def printed(drawn: Figure, form: str) -> bytes:
    """A figure as the bytes of a file: 'png', 'svg' or 'pdf'."""
    import matplotlib

    stream = io.BytesIO()
    # No dates and no random ids: the same result gives the same file.
    dateless = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    with matplotlib.rc_context({"svg.hashsalt": "convscope", "savefig.bbox": None, "savefig.transparent": False}):
        drawn.savefig(stream, format=form, dpi=200, facecolor="white", metadata=dateless)
    return stream.getvalue()


def page(title: str, body: str) -> bytes:
    """A whole HTML page around a fragment."""
    from html import escape

    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
            f'<meta name="viewport" content="width=device-width"><title>{escape(title)} · convscope</title></head>\n'
            f'<body style="font-family: system-ui, sans-serif; margin: 2rem">\n{body}\n</body></html>\n').encode()


def _title(result: Result) -> str:
    return str(getattr(result, "title", "") or getattr(result, "name", "") or result.kind)


def _comma_separated(records: tuple[list[str], list[list[Any]]]) -> bytes:
    import csv

    header, rows = records
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([header, *rows])
    return stream.getvalue().encode("utf-8")
