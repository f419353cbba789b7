"""Where each tensor of the graph keeps the image's axes, and how far back each of its positions sees.

A `Sight` follows the image axes (H, W) through the graph: which dimension of the tensor carries each of them (None once it is
gone), and the `geometry.Field` of a position along it. Operators answer for windows; this file answers for the shapes around
them (permute, reshape, broadcasting), where the only question is which dimension went where.

Source: Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", extended by moved axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convscope.geometry import WHOLE, Field
from convscope.operators import Operator

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sight:
    """The image axes inside one tensor."""

    dims: tuple[int | None, ...]  # dimension that carries each image axis
    fields: tuple[Field, ...]  # receptive field along it
    unit_dim: int | None = None  # dimension that counts channels or units

    @property
    def has_map(self) -> bool:
        return any(d is not None for d in self.dims)


def of_image(shape: Shape) -> Sight:
    """The input itself: (B, C, H, W), (B, C, L), (B, C, D, H, W) or (B, n)."""
    axes = tuple(range(2, len(shape)))
    return Sight(axes, (Field(),) * len(axes), 1 if len(shape) > 1 else None)


def after(name: str, operator: Operator | None, settings: dict[str, Any], shapes: tuple[Shape, ...],
          sights: tuple[Sight | None, ...], out: Shape) -> Sight | None:
    """What the output of one operation sees. None when we cannot say (attention, windows cut by reshapes, unknown operations).

    `sights` belongs to `shapes`: None for parameters and for tensors that are already unknown.
    """
    known = [(s, shape) for s, shape in zip(sights, shapes, strict=True) if s is not None]
    if not known:
        return None
    sight, shape = known[0]
    if name in ("view", "_unsafe_view", "reshape", "flatten", "unsqueeze", "squeeze", "unflatten", "expand"):
        return _reshaped(sight, shape, out)
    if name in ("permute", "transpose", "t", "swapaxes"):
        return _permuted(sight, _order(name, settings, len(shape)))
    if name in ("mean", "sum", "amax", "amin", "max", "min"):
        return _reduced(sight, settings, len(shape), len(out))
    if name in ("linear", "addmm", "mm"):
        return _dense(sight, shape, out)
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        return Sight((None,) * len(sight.dims), tuple(f.through(WHOLE) for f in sight.fields), len(out) - 1)
    if operator is None:
        return None
    if len(known) > 1 or name in ("add", "mul", "sub", "div", "cat"):
        return _merged(known, out)
    windows = operator.windows(*shapes)
    if not sight.has_map:
        return Sight(sight.dims, sight.fields, sight.unit_dim if len(out) == len(shape) else None)
    dims = tuple(range(2, 2 + len(windows)))
    if not set(d for d in sight.dims if d is not None) <= set(dims) and any(w == WHOLE or w.kernel > 1 for w in windows):  # type: ignore[union-attr]
        return None  # a window over something that is not the image
    fields = tuple(f if d is None or d not in dims else f.through(windows[d - 2]) for f, d in zip(sight.fields, sight.dims, strict=True))
    return Sight(sight.dims, fields, sight.unit_dim)


def _order(name: str, settings: dict[str, Any], rank: int) -> tuple[int, ...]:
    if name == "permute":
        return tuple(d % rank for d in settings["dims"])
    order = list(range(rank))
    a, b = (0, 1) if name == "t" else (settings.get("dim0", settings.get("axis0")), settings.get("dim1", settings.get("axis1")))
    order[a], order[b] = order[b], order[a]  # type: ignore[index]
    return tuple(order)


def _permuted(sight: Sight, order: tuple[int, ...]) -> Sight:
    def moved(d: int | None) -> int | None:
        return None if d is None else order.index(d)

    return Sight(tuple(map(moved, sight.dims)), sight.fields, moved(sight.unit_dim))


def _reshaped(sight: Sight, shape: Shape, out: Shape) -> Sight | None:
    where = _same_dims(shape, out)
    dims = tuple(None if d is None else where.get(d) for d in sight.dims)
    lost = [d for old, new, d in zip(sight.dims, dims, sight.dims, strict=True) if old is not None and new is None]
    unit = where.get(sight.unit_dim) if sight.unit_dim is not None else None
    if not lost:
        # Channels split or merged among themselves (channel shuffle) keep counting along dimension 1 of a map.
        return Sight(dims, sight.fields, 1 if unit is None and len(out) > 1 else unit)
    if all(d is None for d in dims) and len(out) == 2:
        return Sight(dims, sight.fields, 1)  # flatten: an element still sees only its own field; what follows mixes them
    if len(lost) == sum(d is not None for d in sight.dims):
        # The map became a sequence of tokens (B, L, C) or was cut into windows: positions can no longer be told by axis.
        return None
    return None


def _same_dims(shape: Shape, out: Shape) -> dict[int, int]:
    """Which dimension of `out` is which of `shape`, where a reshape left it alone. Sizes are compared group by group."""
    where: dict[int, int] = {}
    i = j = 0
    while i < len(shape) and j < len(out):
        i0, j0, a, b = i, j, shape[i], out[j]
        while a != b:
            if a < b:
                i += 1
                if i >= len(shape):
                    return where
                a *= shape[i]
            else:
                j += 1
                if j >= len(out):
                    return where
                b *= out[j]
        if i == i0 and j == j0:
            where[i] = j
        i, j = i + 1, j + 1
        # Sizes of 1 may be added or dropped anywhere.
        while i < len(shape) and shape[i] == 1 and (j >= len(out) or out[j] != 1):
            i += 1
        while j < len(out) and out[j] == 1 and (i >= len(shape) or shape[i] != 1):
            j += 1
    return where


def _reduced(sight: Sight, settings: dict[str, Any], rank: int, out_rank: int) -> Sight:
    dim = settings.get("dim")
    over = tuple(range(rank)) if dim in (None, []) else tuple(d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim]))
    fields = tuple(f.through(WHOLE) if d in over else f for f, d in zip(sight.fields, sight.dims, strict=True))
    kept = rank == out_rank

    def moved(d: int | None) -> int | None:
        if d is None or (d in over and not kept):
            return None
        return d if kept else d - sum(o < d for o in over)

    return Sight(tuple(None if d in over else moved(d) for d in sight.dims), fields, moved(sight.unit_dim))


def _dense(sight: Sight, shape: Shape, out: Shape) -> Sight:
    last = len(shape) - 1
    if sight.has_map and last not in sight.dims:  # channels-last maps: a 1×1 convolution in disguise
        return Sight(sight.dims, sight.fields, len(out) - 1)
    return Sight((None,) * len(sight.dims), tuple(f.through(WHOLE) for f in sight.fields), len(out) - 1)


def _merged(known: list[tuple[Sight, Shape]], out: Shape) -> Sight | None:
    """Branches that meet: the hull of what they see. Dimensions are compared from the end, as broadcasting does."""
    best, shape = max(known, key=lambda pair: len(pair[1]))
    if len(shape) != len(out):
        return None
    dims, fields = list(best.dims), list(best.fields)
    for sight, other in known:
        if len(sight.fields) != len(fields):
            return None
        shift = len(out) - len(other)
        for axis, (d, f) in enumerate(zip(sight.dims, sight.fields, strict=True)):
            fields[axis] = fields[axis].merge(f)
            if d is not None and dims[axis] is None:
                dims[axis] = d + shift
    return Sight(tuple(dims), tuple(fields), best.unit_dim)
