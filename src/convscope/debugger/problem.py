"""What are somebody's arrays arrays of? Input, labels, loss and parameters, from the file or as they were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from convscope.debugger import arrays as names
from convscope.debugger import layouts
from convscope.debugger.arrays import Name
from convscope.debugger.blame import short
from convscope.debugger.layouts import Given
from convscope.errors import DataError, ShapeError, UsageError
from convscope.mechanics.loss import Loss
from convscope.mechanics.reading import Reader
from convscope.network import Network

_NEEDS_LOSS = (names.DELTA, names.INPUT_DELTA, names.GRADIENT, names.LOSS)


@dataclass(frozen=True)
class Problem:
    """What the arrays are arrays of, where they do not say so themselves.

    `x`: the input (B, C, H, W); `labels`: one class an example; `wanted`: targets for 'mse'. `training`: does batch norm
    use the batch's statistics? None: as fits the arrays best.
    """

    x: Any = None
    labels: tuple[int, ...] = ()
    wanted: Any = None
    loss: str = "cross-entropy"
    reduction: str = "mean"
    training: bool | None = None


def parameters_of(net: Network) -> dict[str, tuple[str, ...]]:
    """Each layer's parameters, by the operators' names."""
    reader = Reader(net)
    by_name = {c.name: c for c in reader.calls}
    found: dict[str, tuple[str, ...]] = {}
    for layer in net.layers:
        call = by_name.get(layer.address)
        reads = (
            []
            if call is None or call.operator is None
            else [short(call, i) for i, n in enumerate(call.reads) if n in reader.constants]
        )
        found[layer.address] = tuple(reads)
    return found


def require_once(meanings: Mapping[str, Name]) -> None:
    seen: dict[Name, str] = {}
    for key, name in meanings.items():
        if name in seen:
            raise UsageError(f"{key} and {seen[name]} mean the same array, {name}", "", "give it once")
        seen[name] = key


def with_their_parameters(
    net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name]
) -> tuple[Network, tuple[str, ...]]:
    """The network with the parameters that were given."""
    mine = {k: m for k, m in meanings.items() if m.kind == names.PARAMETER}
    if not mine:
        return net, ()
    calls = {c.name: c for c in Reader(net).calls}
    placeholder = {v: k for k, v in net.parameter_names.items()}
    laid, where = [], {}
    for key, name in mine.items():
        call = calls[name.layer]
        full = next(
            n for i, n in enumerate(call.reads) if n is not None and n in placeholder and short(call, i) == name.parameter
        )
        where[key] = placeholder[full]
        shape = tuple(net.tensors[where[key]].shape)
        laid.append(Given(key, given[key], shape, layouts.group_of(shape, True)))
    own = {k: net.tensors[w].detach().cpu().double().numpy() for k, w in where.items()}
    found, notes = layouts.settle(laid, lambda k, v: np.allclose(v, own[k], 1e-4, 1e-6))
    for g in laid:
        if found[g.name] is None:
            raise ShapeError(
                f"{g.name} has the shape {g.value.shape}",
                f"this network's is {g.shape}",
                "give the parameters of this network, or open the network that they belong to",
            )
    tensors = {where[k]: torch.from_numpy(np.ascontiguousarray(v)).to(net.device) for k, v in found.items()}
    changed = dataclasses.replace(net, tensors={**net.tensors, **tensors}, _at={})
    return changed, (*notes, f"{len(mine)} of your parameters are used in the place of the network's")


def input_of(
    net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name], asked: Problem
) -> tuple[Any, tuple[str, ...]]:
    """The input (B, C, H, W) in float64."""
    key = next((k for k, m in meanings.items() if m.kind == names.INPUT), None)
    value = given[key] if key is not None else asked.x
    if value is None:
        raise UsageError(
            "the input is not known", "there is no array named 'input'", "save it with the others, or give an image"
        )
    value = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, np.float64)
    wanted = net.input_shape
    label = next((k for k, m in meanings.items() if m.kind == names.LABELS), None)
    batch = len(asked.labels) or (given[label].shape[0] if label is not None and given[label].ndim else 1)
    notes: tuple[str, ...] = ()
    for said, order in layouts.ORDERS[layouts.group_of(wanted, False, True)].items():
        for n in dict.fromkeys(
            (
                value.shape[0] if value.ndim == len(wanted) else batch,
                batch,
                value.shape[-1] if value.ndim == len(wanted) else batch,
            )
        ):
            made = layouts.arranged(value, (n, *wanted[1:]), order)
            if made is not None:
                if order and order != tuple(range(len(order))) and made.shape != value.shape:
                    notes = (f"the input is read as {said}",)
                return torch.from_numpy(np.ascontiguousarray(made)), notes
    if value.ndim == len(wanted) and value.shape[1] == wanted[1] and net.module is not None:
        return torch.from_numpy(value), ()  # another size: the network is exported again
    raise ShapeError(
        f"an input of shape {'×'.join(map(str, value.shape))}",
        f"{net.name} takes {'×'.join(map(str, ('B', *wanted[1:])))}",
        "channels first or last, with or without a batch",
    )


def loss_of(net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name], asked: Problem, batch: int) -> Loss:
    """The loss with its targets."""
    needed = [k for k, m in meanings.items() if m.kind in _NEEDS_LOSS]
    key = next((k for k, m in meanings.items() if m.kind in (names.LABELS, names.WANTED)), None)
    if asked.loss == "mse":
        wanted = given[key] if key is not None else asked.wanted
        if wanted is None and needed:
            raise UsageError(
                "the targets of the squared error are not known", f"{needed[0]} depends on them", "save them as 'target'"
            )
        shape = (batch, *net.output.output_shape[1:])
        value = np.zeros(shape) if wanted is None else layouts.arranged(np.asarray(wanted, np.float64), shape, ())
        if value is None:
            raise ShapeError(
                f"targets of shape {np.asarray(wanted).shape}", f"the output is {shape}", "the two must be equal"
            )
        return Loss("mse", wanted=value, reduction=asked.reduction)
    labels = _labels(given[key]) if key is not None else asked.labels
    if not labels and needed:
        raise UsageError(
            "the labels are not known", f"{needed[0]} depends on them", "save them as 'labels', or give --label"
        )
    return Loss(asked.loss, labels=labels or (0,) * batch, reduction=asked.reduction)


def _labels(value: Any) -> tuple[int, ...]:
    """Class indices, from indices or one-hot rows."""
    if value.ndim == 2 and min(value.shape) > 1:
        hot = value if np.all(value.sum(axis=1) == 1) else value.T
        if not (np.isin(hot, (0, 1)).all() and np.all(hot.sum(axis=1) == 1)):
            raise DataError(
                f"labels of shape {value.shape} are neither class indices nor one-hot", "", "give one class an example"
            )
        return tuple(int(i) for i in hot.argmax(axis=1))
    flat = value.reshape(-1)
    if not np.all(flat == np.round(flat)):
        raise DataError(
            "labels must be whole numbers",
            f"got {flat[flat != np.round(flat)][0]}",
            "for a regression use --loss mse and save 'target'",
        )
    return tuple(int(i) for i in flat)


def modes(net: Network, asked: Problem) -> tuple[bool, ...]:
    """In which modes may batch norm have run?"""
    if asked.training is not None:
        return (asked.training,)
    return (True, False) if any(layer.operator == "batch_norm" for layer in net.layers) else (False,)
