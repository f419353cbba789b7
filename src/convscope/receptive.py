"""Where each tensor of the graph keeps the image's axes, and how far back each of its positions sees.

A `Sight` follows the image axes (H, W) through the graph: which dimension of the tensor carries each of them (None once
it is gone), and the `geometry.Field` of a position along it. Operators answer for windows; this file answers for the
shapes around them (permute, reshape, broadcasting), where the only question is which dimension went where. What it
cannot follow it calls unknown (None): attention, windows cut by reshapes, an axis that is flipped or rolled.

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
        """Does any dimension still run along the image?"""
        return any(d is not None for d in self.dims)

    @property
    def shown(self) -> tuple[Field, ...] | None:
        """The fields in the order of the tensor's own axes, None where they cannot be told by position."""
        kept = [d for d in self.dims if d is not None]
        scattered = not self.has_map and not all(f.aligned for f in self.fields)
        return self.fields if self.fields and kept == sorted(kept) and not scattered else None


@dataclass(frozen=True)
class Call:
    """One operation of the graph, as far as this file needs to know it."""

    name: str
    operator: Operator | None
    settings: dict[str, Any]
    shapes: tuple[Shape, ...]  # of its tensor arguments
    out: Shape
    pointwise: bool  # every output element reads one element of each argument


def of_image(shape: Shape) -> Sight:
    """The input itself: (B, C, H, W), (B, C, L), (B, C, D, H, W) or (B, n)."""
    axes = tuple(range(2, len(shape)))
    return Sight(axes, (Field(),) * len(axes), 1 if len(shape) > 1 else None)


def after(call: Call, sights: tuple[Sight | None, ...]) -> Sight | None:
    """What the output of one operation sees. `sights` belongs to `call.shapes`: None for parameters."""
    known = [(s, shape) for s, shape in zip(sights, call.shapes, strict=True) if s is not None]
    if not known:
        return None
    sight, shape = known[0]
    name, settings = call.name, call.settings
    if call.pointwise:
        return _merged(known, call.out)
    if name == "cat":
        return _joined(_merged(known, call.out, settings.get("dim", 0) % len(shape)), settings.get("dim", 0) % len(shape))
    if len(known) > 1:
        return None  # products of two computed maps: attention, correlation
    if name in ("view", "_unsafe_view", "reshape", "flatten", "unflatten"):
        return _reshaped(sight, _same_dims(shape, call.out), call.out)
    if name in ("unsqueeze", "squeeze"):
        return _reshaped(sight, _ones(name, settings.get("dim"), shape), call.out)
    if name == "expand":
        return _merged(known, call.out)
    if name in ("permute", "transpose", "t", "swapaxes"):
        return _permuted(sight, _order(name, settings, len(shape)))
    if name in ("mean", "sum", "amax", "amin", "max", "min", "prod", "var", "std", "linalg_vector_norm"):
        return _reduced(sight, settings, len(shape), len(call.out))
    if name in ("select", "unbind"):
        return _selected(sight, settings.get("dim", 0) % len(shape))
    if name in ("linear", "addmm", "mm"):
        return _dense(sight, shape, call.out)
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        return Sight((None,) * len(sight.dims), _whole(sight.fields), len(call.out) - 1)
    return None if call.operator is None else _windowed(sight, call, shape)


def _whole(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Every position sees everything: exactly, not as a hull."""
    return tuple(Field(None, f.stride, f.start) for f in fields)


def _windowed(sight: Sight, call: Call, shape: Shape) -> Sight | None:
    """An operator that says what it reads along dimensions 2, 3, …"""
    assert call.operator is not None
    windows = call.operator.windows(*call.shapes)
    if not sight.has_map:
        return Sight(sight.dims, sight.fields, sight.unit_dim if len(call.out) == len(shape) else None)
    along_last = call.name in (
        "layer_norm",
        "native_layer_norm",
        "softmax",
        "_softmax",
        "log_softmax",
        "_log_softmax",
        "rms_norm",
    )
    fields = list(sight.fields)
    for axis, d in enumerate(sight.dims):
        if d is None:
            continue
        if d >= 2:
            if d - 2 >= len(windows):
                return None
            fields[axis] = fields[axis].through(windows[d - 2])
        elif not (d == 1 and along_last and _spares_channels(call, len(shape))):
            return None  # an operator that mixes channels, and the image lies where channels are
    return Sight(sight.dims, tuple(fields), sight.unit_dim)


def _spares_channels(call: Call, rank: int) -> bool:
    """Do normalisation and softmax leave the positions along dimension 1 alone?"""
    if "norm" in call.name:
        return rank - len(call.settings.get("normalized_shape", ())) > 1
    return call.settings.get("dim", 1) % rank != 1


def _order(name: str, settings: dict[str, Any], rank: int) -> tuple[int, ...]:
    if name == "permute":
        return tuple(d % rank for d in settings["dims"])
    order = list(range(rank))
    a, b = (
        (0, 1) if name == "t" else (settings.get("dim0", settings.get("axis0")), settings.get("dim1", settings.get("axis1")))
    )
    order[a], order[b] = order[b], order[a]  # type: ignore[index]
    return tuple(order)


def _permuted(sight: Sight, order: tuple[int, ...]) -> Sight:
    def moved(d: int | None) -> int | None:
        return None if d is None else order.index(d)

    return Sight(tuple(map(moved, sight.dims)), sight.fields, moved(sight.unit_dim))


def _reshaped(sight: Sight, where: dict[int, int], out: Shape) -> Sight | None:
    """`where`: which dimension of the input is which of the output."""
    dims = tuple(None if d is None else where.get(d) for d in sight.dims)
    lost = [f for old, new, f in zip(sight.dims, dims, sight.fields, strict=True) if old is not None and new is None]
    unit = where.get(sight.unit_dim) if sight.unit_dim is not None else None
    if all(f.size is None and f.aligned for f in lost):  # also where nothing is lost
        # Channels split or merged among themselves (channel shuffle) keep counting along dimension 1.
        return Sight(dims, sight.fields, 1 if unit is None and len(out) > 1 and 1 not in dims else unit)
    if not any(d is not None for d in dims) and len(out) == 2:
        # Flattened: an element still sees its own field, but which one no longer follows from an axis: the hull of all.
        return Sight(dims, tuple(Field(None, f.stride, f.start, False) for f in sight.fields), 1)
    return None  # the map became tokens (B, L, C), or was cut into windows


def _ones(name: str, dim: Any, shape: Shape) -> dict[int, int]:
    """Where dimensions go when one of size 1 is put in or taken out."""
    if name == "unsqueeze":
        at = dim % (len(shape) + 1)
        return {d: d + (d >= at) for d in range(len(shape))}
    chosen = (
        range(len(shape)) if dim is None else [d % len(shape) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    )
    kept = [d for d in range(len(shape)) if not (d in chosen and shape[d] == 1)]
    return {d: at for at, d in enumerate(kept)}


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
    over = (
        tuple(range(rank))
        if dim in (None, [])
        else tuple(d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim]))
    )
    fields = tuple(_whole((f,))[0] if d in over or d is None else f for f, d in zip(sight.fields, sight.dims, strict=True))
    kept = rank == out_rank

    def moved(d: int | None) -> int | None:
        if d is None or (d in over and not kept):
            return None
        return d if kept else d - sum(o < d for o in over)

    return Sight(tuple(None if d in over else moved(d) for d in sight.dims), fields, moved(sight.unit_dim))


def _selected(sight: Sight, at: int) -> Sight:
    """One index of a dimension: an image axis that is picked from is gone, and its field is called whole, as a hull."""

    def moved(d: int | None) -> int | None:
        return None if d is None or d == at else d - (d > at)

    fields = tuple(
        Field(None, f.stride, f.start, False) if d == at else f for f, d in zip(sight.fields, sight.dims, strict=True)
    )
    return Sight(tuple(map(moved, sight.dims)), fields, moved(sight.unit_dim))


def _dense(sight: Sight, shape: Shape, out: Shape) -> Sight:
    last = len(shape) - 1
    if not sight.has_map:
        return Sight(sight.dims, _whole(sight.fields), len(out) - 1)
    if last in sight.dims:  # a matrix along an image axis
        fields = tuple(_whole((f,))[0] if d == last else f for f, d in zip(sight.fields, sight.dims, strict=True))
        return Sight(sight.dims, fields, sight.unit_dim)
    return Sight(sight.dims, sight.fields, last)  # channels-last maps: a 1×1 convolution in disguise


def _merged(known: list[tuple[Sight, Shape]], out: Shape, along: int | None = None) -> Sight | None:
    """Branches that meet: the hull of what they see. Dimensions are compared from the end, as broadcasting does.

    `along`: a dimension whose sizes may differ because the branches are laid one after the other.
    """
    best, shape = max(known, key=lambda pair: (len(pair[1]), pair[0].has_map))
    if len(shape) != len(out):
        return None
    dims: list[int | None] = list(best.dims)
    fields: list[Field | None] = [None] * len(dims)
    for sight, other in known:
        if len(sight.fields) != len(dims):
            return None
        shift = len(out) - len(other)
        for axis, (d, f) in enumerate(zip(sight.dims, sight.fields, strict=True)):
            here = None if d is None else d + shift
            if here is not None and dims[axis] is None:
                dims[axis] = here
            if here is not None and here != dims[axis]:
                return None  # the same axis of the image meets itself across
            if here is not None and here != along and out[here] != other[here - shift]:
                f = Field(None, f.stride, f.start, f.aligned)  # one position, repeated for all
            mine = fields[axis]
            fields[axis] = f if mine is None else mine.merge(f)
    return Sight(tuple(dims), tuple(f for f in fields if f is not None), best.unit_dim)


def _joined(sight: Sight | None, along: int) -> Sight | None:
    """After laying branches one behind the other along an image axis, a position may see anything of it."""
    if sight is None or along not in sight.dims:
        return sight
    fields = tuple(f.through(WHOLE) if d == along else f for f, d in zip(sight.fields, sight.dims, strict=True))
    return Sight(sight.dims, fields, sight.unit_dim)
