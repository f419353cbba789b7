"""Our exceptions: each says what was asked, what was found, and what to do next.

A message is built from three parts so that no part can be forgotten, and so that a test can look at each:

>>> str(ConvscopeError("no layer named 'layer5'", "closest: 'layer4'", "`convscope trace` lists all"))
"no layer named 'layer5'; closest: 'layer4'; `convscope trace` lists all"
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvscopeError(Exception):
    """Base of every error that convscope raises on purpose. `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, asked: str, found: str = "", remedy: str = "") -> None:
        self.asked, self.found, self.remedy = asked, found, remedy
        super().__init__("; ".join(part for part in (asked, found, remedy) if part))


class UsageError(ConvscopeError):
    """The question itself is malformed: an unknown option, a value out of range, a reference we cannot parse."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that does not exist: a layer, unit, class, method, network."""


class OpeningError(ConvscopeError):
    """The network cannot be opened: a missing file, a factory that fails, weights that do not fit."""


class ExportError(OpeningError):
    """The network opens in Python but cannot be turned into a graph."""


class ShapeError(ConvscopeError):
    """Sizes that do not fit together."""


class DataError(ConvscopeError):
    """Images or labels that cannot be used."""


class StoreError(ConvscopeError):
    """A result on disk that is missing, damaged or of another version."""


class Cancelled(ConvscopeError):
    """Somebody asked to stop. A `progress` callback raises it; whatever was half-done is dropped."""


def unknown(kind: str, name: object, names: Iterable[str], remedy: str = "") -> UnknownName:
    """The error for a name that does not exist, with the closest ones that do.

    >>> raise unknown("layer", "layer5", ["layer4", "fc"], "`convscope trace` lists all")
    Traceback (most recent call last):
    convscope.errors.UnknownName: no layer named 'layer5'; closest: 'layer4'; `convscope trace` lists all
    """
    known = list(names)
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if close:
        found = "closest: " + ", ".join(map(repr, close))
    elif not known:
        found = "there is none at all"
    else:
        shown = ", ".join(map(repr, known[:6]))
        found = f"there are {len(known)}: {shown}" + (", …" if len(known) > 6 else "")
    return UnknownName(f"no {kind} named {name!r}", found, remedy)
