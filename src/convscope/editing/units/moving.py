"""Channels away, twice, or new: one index map for every value, and all weights indexed by them at once.

    counts[class] = 0: away · 1: as it is · 2, 3, …: so many copies, and whoever reads them divides by that number

A map says of each new entry which old one it is (−1: a new one, which starts at nothing) and with which share it is read:

    W′[i, j] = W[out[i], in[j]] · share[j]        a dense layer or convolution
    γ′, β′, mean′, var′ = each[map]               batch norm
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import Node

from convscope.editing.calls import target_name
from convscope.editing.draft import Draft
from convscope.editing.sizes import said
from convscope.editing.units.channels import Channels
from convscope.editing.units.ways import Labels, Use
from convscope.errors import UsageError

_ONES = ("running_var",)  # a new entry of these is 1, as in a fresh batch norm; of all others 0


@dataclass(frozen=True)
class Moved:
    """Of each new entry of a value: the old one (−1: new), and the share with which it is read."""

    index: Labels  # (n,)
    share: NDArray[np.float64]  # (n,)

    def same(self, other: Moved) -> bool:
        return np.array_equal(self.index, other.index) and np.array_equal(self.share, other.share)

    def stays(self, old: int) -> bool:
        return np.array_equal(self.index, np.arange(old)) and bool((self.share == 1).all())


def kept(count: int) -> Moved:
    """Every entry as it is."""
    return Moved(np.arange(count), np.ones(count))


def maps(plan: Channels, counts: Mapping[int, int], forced: Mapping[Node, Moved] | None = None) -> dict[Node, Moved]:
    """The map of every value. `counts` by class; `forced`: maps that a repair wants for some values, whatever comes in."""
    _refuse_pinned(plan, counts)
    found: dict[Node, Moved] = {}
    for node, way in plan.ways.items():
        labels = plan.of(node)
        if forced is not None and node in forced:
            found[node] = forced[node]
            continue
        if way.kind in ("write", "whole", "stay"):
            n = np.array([counts.get(int(i), 1) for i in labels])
            if way.kind == "whole" and n.max(initial=0) > 1:
                raise UsageError(f"copies of single units of {said(node)}", "whole groups were made one", "take slots")
            found[node] = Moved(np.repeat(np.arange(len(n)), n), np.repeat(1 / np.maximum(n, 1), n))
        else:
            found[node] = _along(plan, node, way.kind, [found[v] for v in way.values], way.k)
        if not len(found[node].index):
            raise UsageError(f"no unit of {said(node)} would be left", f"it has {len(labels)}, and all were chosen",
                             "keep at least one, or remove the layer")
        if way.kind == "stay" and not all(found[v].stays(len(plan.labels[v])) for v in node.all_input_nodes if v in found):
            raise UsageError(f"the channels that {said(node)} reads", "it may mix them", "choose a layer elsewhere")
    return found


def _refuse_pinned(plan: Channels, counts: Mapping[int, int]) -> None:
    pins = plan.pins
    fixed = [pins[i] for i, n in counts.items() if n != 1 and i in pins]
    if fixed:
        raise UsageError(f"{len(fixed)} of {len(counts)} units cannot be changed", fixed[0],
                         "choose units that a convolution or dense layer writes, and that only such layers read")


def _along(plan: Channels, node: Node, kind: str, values: list[Moved], k: int) -> Moved:
    first = values[0]
    if kind == "spread":
        blocks = np.where(first.index[:, None] < 0, -1, first.index[:, None] * k + np.arange(k))
        return Moved(blocks.ravel(), np.repeat(first.share, k))
    if kind == "gather":
        blocks = first.index.reshape(-1, k) if len(first.index) % k == 0 else np.zeros((1, 2), np.int64)
        if not (np.diff(blocks, axis=1) == 1).all() or (blocks[:, 0] % k != 0).any():
            raise UsageError(f"the units that {said(node)} puts together", f"only whole blocks of {k} can be changed",
                             "choose another layer")
        return Moved(blocks[:, 0] // k, first.share[::k])
    if kind == "concat":
        starts = np.cumsum([0, *(len(plan.labels[v]) for v in plan.ways[node].values)])
        moved = [np.where(v.index < 0, -1, v.index + start) for v, start in zip(values, starts, strict=False)]
        return Moved(np.concatenate(moved), np.concatenate([v.share for v in values]))
    if kind == "join" and not all(v.same(first) for v in values[1:]):
        sizes = " and ".join(str(len(v.index)) for v in values)
        raise UsageError(f"the values that meet in {said(node)}", f"they would have {sizes} channels",
                         "choose another layer")
    return first


@dataclass(frozen=True)
class Change:
    """A tensor and what became of it."""

    path: str
    before: tuple[int, ...]
    after: tuple[int, ...]


def apply(plan: Channels, found: dict[Node, Moved], forced: Mapping[Node, Moved] | None = None) -> list[Change]:
    """Index every weight by the maps of its values, set the settings that count them, and record the Python that does it."""
    draft, stop = plan.draft, forced or {}
    todo: dict[int, list[Use]] = {}
    for use in plan.uses:
        if use.owner in stop and use.value is use.owner:
            continue  # the value of a layer that is to go: its own weights go with it
        if not _map_of(use, found).stays(use.tensor.shape[use.axis]) or id(use.tensor) in todo:
            todo.setdefault(id(use.tensor), []).append(use)
    for use in plan.uses:  # a tensor that another call uses too must become the same there
        others = [o for o in todo.get(id(use.tensor), ()) if o.axis == use.axis]
        if any(not _map_of(o, found).same(_map_of(use, found)) for o in others):
            raise UsageError(f"{use.path} is used twice", f"{said(use.owner)} would need it in another size",
                             "choose another layer")
    code = _Code(draft)
    changes = [_index(draft, uses, found, code) for uses in todo.values()]
    for setting in plan.settings:
        if setting.owner in stop and setting.value is setting.owner:
            continue
        new = len(found[setting.value].index) // setting.divisor
        module: Any = draft.root.get_submodule(setting.path)
        if getattr(module, setting.name) != new:
            setattr(module, setting.name, new)
            code.lines.append(f"{draft.python(setting.path)}.{setting.name} = {new}")
    for node in plan.ways:
        resize(node, len(plan.labels[node]), len(found[node].index))
    draft.code += code.lines
    return changes


def words(changes: list[Change]) -> str:
    """'conv2.weight 8×6×3×3 → 5×6×3×3, fc1.weight 10×128 → 10×80'"""
    told = [f"{c.path} {_times(c.before)} → {_times(c.after)}" for c in changes if len(c.before) > 1]
    return ", ".join(told[:6]) + (f" and {len(told) - 6} more" if len(told) > 6 else "")


def new_parameters(changes: list[Change]) -> int:
    """How many numbers came in."""
    return sum(max(0, math.prod(c.after) - math.prod(c.before)) for c in changes)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _map_of(use: Use, found: dict[Node, Moved]) -> Moved:
    moved = found[use.value]
    n = len(moved.index) // use.slots
    return Moved(moved.index[:n], moved.share[:n] if use.reads else np.ones(n))


def _index(draft: Draft, uses: list[Use], found: dict[Node, Moved], code: _Code) -> Change:
    old = uses[0].tensor
    new = old.detach()
    by_axis = {use.axis: _map_of(use, found) for use in uses}
    by_axis = {axis: moved for axis, moved in by_axis.items() if not moved.stays(old.shape[axis])}
    for axis, moved in by_axis.items():
        one = uses[0].path.endswith(_ONES) or (uses[0].path.endswith(".weight") and old.ndim == 1)
        if (moved.index < 0).any() and axis == 0 and old.ndim > 2:
            raise UsageError(f"new channels through {said(uses[0].owner)}", "it filters each channel by itself",
                             "choose another layer")
        filler = torch.full_like(new.narrow(axis, 0, 1), 1.0 if one else 0.0)
        index = torch.from_numpy(np.where(moved.index < 0, new.shape[axis], moved.index)).to(new.device)
        new = torch.cat([new, filler], axis).index_select(axis, index)
        if (moved.share != 1).any():
            new = new * torch.from_numpy(moved.share).to(new).reshape(-1, *[1] * (new.ndim - 1 - axis))
    trained = isinstance(old, nn.Parameter)
    made: Tensor = nn.Parameter(new, old.requires_grad) if trained else new
    root = draft.root
    held = root.named_parameters(remove_duplicate=False) if trained else root.named_buffers(remove_duplicate=False)
    for path in [path for path, tensor in held if tensor is old]:
        owner, _, name = path.rpartition(".")
        where: Any = draft.root.get_submodule(owner)
        (where._parameters if trained else where._buffers)[name] = made
    code.tensor(uses[0].path, by_axis, trained, old)
    return Change(uses[0].path, tuple(old.shape), tuple(new.shape))


def resize(node: Node, old: int, new: int) -> None:
    """A view that says its size in numbers says the new one."""
    views = ("view", "reshape", "_unsafe_view")
    if old == new or node.op != "call_function" or target_name(node).split(".")[0] not in views:
        return
    size: Any = list(node.args[1])  # type: ignore[arg-type]
    if size[1] == old:
        size[1] = new
        node.args = (node.args[0], size, *node.args[2:])


class _Code:
    """The same in plain PyTorch, for the user's own model."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.lines = draft, list[str]()
        self.names: dict[tuple[int, ...], str] = {}

    def tensor(self, path: str, by_axis: dict[int, Moved], trained: bool, old: Tensor) -> None:
        owner, _, name = path.rpartition(".")
        text = value = f"{self.draft.python(owner)}.{name}" if owner else f"model.{name}"
        text += ".data" if trained else ""
        for axis, moved in by_axis.items():
            if (moved.index < 0).any():
                one = path.endswith(_ONES) or (name == "weight" and old.ndim == 1)
                like = f"{value}.data.narrow({axis}, 0, 1)" if len(by_axis) == 1 else f"({text}).narrow({axis}, 0, 1)"
                text = f"torch.cat([{text}, torch.{'ones' if one else 'zeros'}_like({like})], {axis})"
            text += f"[{':, ' * axis}{self.index(moved.index)}]"
            if (moved.share != 1).any():
                text += f" * torch.tensor({_short(moved.share)}).reshape(-1{', 1' * (old.ndim - 1 - axis)})"
        self.lines.append(f"{value} = nn.Parameter({text})" if trained else f"{value} = {text}")

    def index(self, index: Labels) -> str:
        """A name for this list of numbers, written down at its first use."""
        key = tuple(index.tolist())
        if key not in self.names:
            self.names[key] = f"kept{len(self.names) + 1}" if len(self.names) else "kept"
            self.lines.append(f"{self.names[key]} = {runs(key)}")
        return self.names[key]


def runs(numbers: tuple[int, ...]) -> str:
    """[*range(0, 5), 7, *range(9, 64)]"""
    pieces: list[str] = []
    at = 0
    while at < len(numbers):
        end = at
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        long = end - at >= 2
        pieces += [f"*range({numbers[at]}, {numbers[end] + 1})"] if long else [str(n) for n in numbers[at : end + 1]]
        at = end + 1
    return f"[{', '.join(pieces)}]"


def _short(share: NDArray[np.float64]) -> str:
    """[1.0, 0.5, 0.5], or [0.25] * 64 where all are one number."""
    numbers = share.tolist()
    return f"[{numbers[0]!r}] * {len(numbers)}" if len(set(numbers)) == 1 else re.sub(r"\s+", " ", repr(numbers))
