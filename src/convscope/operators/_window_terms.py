"""Where the terms of a convolution stand: which pixel meets which weight for which output, spelled out.

One sentence, read three ways. Output position i, tap t and pixel p belong together where

    p = i·stride − padding + t·dilation

    given i: the window it reads (explain a value)
    given p: every output it fed, (p + padding − t·dilation)/stride where that is whole (explain an input's delta)
    given t: every window's pixel under that weight (explain a weight's gradient)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from convscope.geometry import Window
from convscope.results import Grid

Places = Any  # integer array (n, axes)


def window_of(i: Sequence[int], windows: Sequence[Window]) -> tuple[Places, Places]:
    """Taps (n, axes) and the pixels (n, axes) under them for output position i; pixels may lie in the padding."""
    taps = np.array(list(product(*(range(w.kernel) for w in windows))), np.int64).reshape(-1, len(windows))
    return taps, taps * _row(windows, "dilation") + _corner(i, windows)


def fed_by(p: Sequence[int], windows: Sequence[Window], out: Sequence[int]) -> tuple[Places, Places]:
    """Output positions (n, axes) that read pixel p, and the tap (n, axes) under which it lay."""
    axes: list[list[tuple[int, int]]] = []
    for pixel, w, n in zip(p, windows, out, strict=True):
        offset = [(pixel + w.padding - t * w.dilation, t) for t in range(w.kernel)]
        axes.append([(room // w.stride, t) for room, t in offset if room % w.stride == 0 and 0 <= room // w.stride < n])
    pairs = list(product(*axes))
    places = np.array([[i for i, _ in pair] for pair in pairs], np.int64).reshape(-1, len(windows))
    return places, np.array([[t for _, t in pair] for pair in pairs], np.int64).reshape(-1, len(windows))


def under(t: Sequence[int], windows: Sequence[Window], out: Sequence[int]) -> tuple[Places, Places]:
    """All output positions (n, axes), and the pixel (n, axes) that lay under tap t of each."""
    places = np.array(list(np.ndindex(*out)), np.int64).reshape(-1, len(windows))
    start = np.array([a * w.dilation - w.padding for a, w in zip(t, windows, strict=True)])
    return places, places * _row(windows, "stride") + start


def at_places(values: Any, places: Places) -> Any:
    """The numbers (C, n) of maps (C, H, W) at places (n, axes); 0 where a place lies in the padding."""
    inside = ((places >= 0) & (places < np.array(values.shape[1:]))).all(axis=1)
    safe = np.where(inside[:, None], places, 0)
    return values[(slice(None), *safe.T)] * inside


def axis_names(rank: int) -> tuple[str, ...]:
    """What spatial axes are called.

    >>> axis_names(1), axis_names(2)
    (('positions',), ('rows', 'columns'))
    """
    return ("positions",) if rank == 1 else ("planes", "rows", "columns")[3 - rank:]


def axis_by_axis(texts: Sequence[str]) -> str:
    """One text per spatial axis, said once where all are alike.

    >>> axis_by_axis(["a", "a"]), axis_by_axis(["a", "b"])
    ('a', 'rows: a; columns: b')
    """
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(f"{name}: {text}" for name, text in zip(axis_names(len(texts)), texts, strict=True))


def with_channel(channel: int | Any, places: Places) -> Places:
    """Places (n, axes) with a leading channel (one for all, or one each)."""
    return np.concatenate([np.broadcast_to(np.asarray(channel).reshape(-1, 1), (len(places), 1)), places], axis=1)


def window_grid(name: str, values: Any, i: Sequence[int], windows: Sequence[Window], first: int = 0) -> Grid:
    """The numbers (C, kh, kw) that output position i reads of maps (C, H, W), zeros in the padding.

    `first` is the first map's channel in the whole array.
    """
    _, places = window_of(i, windows)
    shape = (values.shape[0], *(w.kernel for w in windows))
    return Grid(name, at_places(values, places).reshape(shape), (first, *(int(c) for c in _corner(i, windows))),
                (1, *(w.dilation for w in windows)), whole=tuple(values.shape))


def _corner(i: Sequence[int], windows: Sequence[Window]) -> Any:
    return np.array([a * w.stride - w.padding for a, w in zip(i, windows, strict=True)], np.int64)


def _row(windows: Sequence[Window], name: str) -> Any:
    return np.array([getattr(w, name) for w in windows], np.int64)
