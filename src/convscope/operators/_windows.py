"""What convolution and pooling share: cutting an array into windows, and adding windows back to where they came from.

Both directions know one sentence. Window `i` with stride `s` and dilation `d` holds the pixels

    i·s + t·d,   t = 0 … k − 1

along each spatial axis of an (already padded) array (B, C, H, W, …). `cut` reads them (im2col: Chellapilla, Puri, Simard
2006, "High Performance Convolutional Neural Networks for Document Processing"); `add_back` is its transpose (col2im): a
pixel receives the sum over the windows that hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convscope.errors import ShapeError
from convscope.geometry import Window, output_size

Numbers = int | tuple[int, ...]


def per_axis(value: Any, rank: int, name: str = "setting") -> tuple[Any, ...]:
    """One number for each of `rank` spatial axes.

    >>> per_axis(3, 2), per_axis((3,), 2), per_axis((3, 1), 2)
    ((3, 3), (3, 3), (3, 1))
    """
    numbers = (value,) if isinstance(value, (int, float)) else tuple(value)
    if len(numbers) == 1:
        numbers *= rank
    if len(numbers) != rank:
        raise ShapeError(f"{name} {numbers} does not fit {rank} spatial axes", f"it has {len(numbers)} numbers",
                         f"give one number or {rank}")
    return numbers


def require_rank(shape: tuple[int, ...], what: str, ranks: tuple[int, ...] = (1, 2, 3)) -> int:
    """The number of spatial axes of (B, C, …); ShapeError if `what` cannot work on so many."""
    rank = len(shape) - 2
    if rank not in ranks:
        raise ShapeError(f"{what} needs (B, C) and {' or '.join(map(str, ranks))} spatial axes", f"got shape {shape}",
                         "add the missing axes, e.g. x[None]")
    return rank


def padded(x: Any, before: Iterable[int], after: Iterable[int], value: float = 0.0) -> Any:
    """A copy of (B, C, …) with `before` and `after` more pixels of `value` along each spatial axis."""
    widths = ((0, 0), (0, 0), *zip(before, after, strict=True))
    return np.pad(x, widths, constant_values=value) if any(map(any, widths)) else x


def cropped(x: Any, before: Iterable[int], sizes: Iterable[int]) -> Any:
    """The inverse of `padded`: `sizes` pixels after the first `before` ones."""
    return x[(..., *(slice(b, b + n) for b, n in zip(before, sizes, strict=True)))]


def cut(x: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """All windows of (B, C, H, W): a read-only view (B, C, h, w, kh, kw), nothing is copied.

    >>> cut(np.arange(5.0).reshape(1, 1, 5), (3,), (2,), (1,))[0, 0].tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    return view[(..., *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]


def add_back(windows: Any, sizes: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """The transpose of `cut`: windows (B, C, h, w, kh, kw) summed into a new array (B, C, *sizes).

    >>> add_back(np.ones((1, 1, 2, 3)), (5,), (2,), (1,))[0, 0].tolist()
    [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    rank = len(sizes)
    positions, kernel = windows.shape[2:2 + rank], windows.shape[2 + rank:]
    x = np.zeros((*windows.shape[:2], *sizes), windows.dtype)
    for t, under in taps(kernel, positions, stride, dilation):  # one strided sum per element of the kernel
        x[under] += windows[(..., *t)]
    return x


def taps(kernel: tuple[int, ...], positions: tuple[int, ...], stride: tuple[int, ...],
         dilation: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Each element t of the kernel, in row order, with the slices of the pixels that lie under it, one per window.

    >>> [np.arange(5)[under].tolist() for _, under in taps((3,), (2,), (2,), (1,))]
    [[0, 2], [1, 3], [2, 4]]
    """
    for t in product(*map(range, kernel)):
        yield t, (..., *(slice(a * d, a * d + s * (n - 1) + 1, s)
                         for a, d, s, n in zip(t, dilation, stride, positions, strict=True)))


def pooling_windows(shape: tuple[int, ...], kernel: Numbers, stride: Numbers | None, padding: Numbers,
                    dilation: Numbers = 1) -> tuple[Window, ...]:
    """A pooling layer's window per spatial axis; a stride that is None or empty (exported graphs) is the kernel's size."""
    rank = require_rank(shape, "pooling")
    kernels = per_axis(kernel, rank, "kernel_size")
    strides = kernels if stride is None or stride == () else per_axis(stride, rank, "stride")
    rest = (strides, per_axis(padding, rank, "padding"), per_axis(dilation, rank, "dilation"))
    return tuple(Window(*each) for each in zip(kernels, *rest, strict=True))


def pooled_shape(shape: tuple[int, ...], windows: tuple[Window, ...], ceil_mode: bool) -> tuple[int, ...]:
    """(B, C, H, W) -> (B, C, h, w)."""
    return (*shape[:2], *(output_size(n, w.kernel, w.stride, w.padding, w.dilation, ceil_mode)
                          for n, w in zip(shape[2:], windows, strict=True)))
