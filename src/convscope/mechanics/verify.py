"""Is somebody's own backpropagation right? The first wrong array, and the mistake that makes exactly this array.

    arrays.py     reads arrays and understands their names
    layouts.py    finds the order of their axes
    rounding.py   says how far an array may be off through rounding alone
    blame.py      replays mistakes until one reproduces the wrong array

The reference is torch's autograd in float64 on the same input, labels and (where given) parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from convscope.errors import DataError, ShapeError, UsageError
from convscope.mechanics import arrays as names
from convscope.mechanics import layouts
from convscope.mechanics.accuse import accuse
from convscope.mechanics.arrays import Name
from convscope.mechanics.blame import Search, Theirs, short, spot_of
from convscope.mechanics.capture import Capture
from convscope.mechanics.kinks import widened
from convscope.mechanics.layouts import Given
from convscope.mechanics.loss import Loss
from convscope.mechanics.replay import Replay
from convscope.mechanics.rounding import allowances, precision
from convscope.network import Network
from convscope.operators.batch_norm import BatchNorm
from convscope.operators._recurrent import Recurrent
from convscope.results import Finding, Findings

_NEEDS_LOSS = (names.DELTA, names.INPUT_DELTA, names.GRADIENT, names.LOSS)


@dataclass(frozen=True)
class Problem:
    """What the arrays are arrays of, where they do not say so themselves.

    `x`: the input (B, C, H, W); `labels`: one class an example; `wanted`: targets for 'mse'. `training`: does batch norm use the
    batch's statistics? None: as fits the arrays best.
    """

    x: Any = None
    labels: tuple[int, ...] = ()
    wanted: Any = None
    loss: str = "cross-entropy"
    reduction: str = "mean"
    training: bool | None = None


def verify(net: Network, source: Any, problem: Problem | None = None) -> Findings:
    """Which of these arrays are right, which is the first wrong one, and what was done wrong?

    `source`: an .npz, a .safetensors, a folder of .npy files, or a mapping; see `arrays` for the names. Raises UsageError where
    input or labels are not known or a name is ambiguous, UnknownName for a layer or array that does not exist, ShapeError for an
    array of a shape that neither a convention nor a known mistake explains, DataError for files that cannot be read.
    Misleads: an array that is right does not prove the code right for other inputs.

    >>> import convscope as cs
    >>> net, x = cs.open("zoo:lenet5"), np.random.default_rng(0).random((2, 1, 28, 28))
    >>> kept = Capture(net, torch.from_numpy(x), Loss(labels=(3, 7)))
    >>> found = verify(net, {"input": x, "labels": [3, 7], "fc3.delta": kept.delta("fc3") * 2})
    >>> found.findings[0].cause
    'loss: not divided by the batch: the mean over the batch was forgotten: δ was not divided by B'
    """
    given = names.read(source)
    asked = _complete(problem or Problem(), given)
    parameters = _parameters(net)
    meanings = {k: names.understand(k, parameters, given) for k in given}
    meanings = {k: Name(names.WANTED) if m.kind == names.LABELS and asked.loss == "mse" else m for k, m in meanings.items()}
    _require_once(meanings)
    net, notes = _with_their_parameters(net, given, meanings)
    x, more = _input(net, given, meanings, asked)
    notes = (*notes, *more)
    checked = {k: m for k, m in meanings.items()
               if m.kind in (names.ACTIVATION, names.DELTA, names.INPUT_DELTA, names.GRADIENT, names.LOSS)}
    if not checked:
        raise UsageError("there is nothing to verify", f"the arrays are {', '.join(given)}", f"save some of {names.NAMES}")
    net = net if tuple(x.shape[1:]) == net.input_shape[1:] else net.at(x.shape[1:])
    loss = _loss(net, given, meanings, asked, len(x))
    eps = precision(v for k, v in given.items() if k in checked)
    best: tuple[list[Theirs], Replay, tuple[str, ...]] | None = None
    for training in _modes(net, asked, len(x)):
        found = _compared(Capture(net, x, loss, training), {k: given[k] for k in checked}, checked, eps)
        if best is None or sum(t.right for t in found[0]) > sum(t.right for t in best[0]):
            best = found
    assert best is not None
    theirs, replay, said = best
    notes = (*notes, *said, loss.describe(net), f"precision of the arrays: {'float64' if eps < 1e-10 else 'float32' if eps < 1e-5 else 'float16'}"
             f"; how far rounding may go is in the column 'allowed'")
    return _judged(net, theirs, replay, notes, eps)


def _judged(net: Network, theirs: list[Theirs], replay: Replay, notes: tuple[str, ...], eps: float) -> Findings:
    theirs.sort(key=lambda t: t.spot.order)
    if any(not t.right for t in theirs) and eps > 1e-10:
        notes = (*notes, *widened(replay, theirs))
    search = Search(replay, theirs)
    findings = accuse(search)
    if not findings:
        findings = [Finding("fine", f"all {len(theirs)} arrays are right" if len(theirs) > 1 else f"{theirs[0].name} is right",
                            evidence={"arrays": len(theirs),
                                      "largest difference over what rounding allows":
                                          max(t.difference / t.allowed if t.allowed else 0.0 for t in theirs)},
                            proof="each was compared with autograd's, number by number")]
    columns = {
        "array": np.array([t.name for t in theirs]),
        "shape": np.array(["×".join(map(str, t.raw.shape)) or "1" for t in theirs]),
        "difference": np.array([t.difference for t in theirs]),
        "relative": np.array([t.difference / t.scale for t in theirs]),
        "allowed": np.array([t.allowed / t.scale for t in theirs]),
        "verdict": np.array(["right" if t.right else "another shape" if t.value is None else "wrong" for t in theirs]),
    }
    units = {"difference": "largest |yours − autograd's|", "relative": "the same, over the largest |number| of autograd's array",
             "allowed": "what rounding explains, on the same scale", "verdict": "in the order in which they are computed"}
    return Findings(title=f"backpropagation of {net.name}, checked", findings=tuple(findings), checked=columns, units=units,
                    notes=tuple(dict.fromkeys(notes)), origin=net.origin("verify", torch.from_numpy(replay.x)))


def _compared(kept: Capture, given: Mapping[str, Any], meanings: Mapping[str, Name],
              eps: float) -> tuple[list[Theirs], Replay, tuple[str, ...]]:
    """Their arrays beside autograd's, laid out alike."""
    replay = Replay(kept)
    allowed = allowances(replay, eps)
    spots, reference, limits = {}, {}, {}
    for key, name in meanings.items():
        spot = spot_of(name, replay)
        if spot is None:
            raise UsageError(f"{key} cannot be checked", f"{name.layer} is not computed by one of our operators",
                             "leave it out, and give the layers around it")
        spots[key] = spot
        reference[key] = np.asarray(_reference(kept, spot, replay))
        limits[key] = max(allowed.get(_key(spot), 0.0), float(eps) * 1e-3 * float(np.abs(reference[key]).max(initial=0)), 1e-300)
    recurrent = {c.name for c in replay.box.calls if isinstance(c.operator, Recurrent)}
    laid = [Given(k, given[k].astype(np.float64), reference[k].shape,
                  layouts.group_of(reference[k].shape, spots[k].kind == names.GRADIENT,
                                   bool({spots[k].value, spots[k].call} & recurrent) or reference[k].ndim == 3)) for k in meanings]
    found, notes = layouts.settle(laid, lambda k, v: float(np.abs(v - reference[k]).max(initial=0)) <= limits[k])
    theirs = [Theirs(k, meanings[k], spots[k], found[k], given[k].astype(np.float64), reference[k], limits[k]) for k in meanings]
    if any(isinstance(c.operator, BatchNorm) for c in replay.box.calls):
        notes = (*notes, "batch norm uses " + ("the statistics of this batch (training)" if kept.training else
                                               "its running statistics (evaluation)"))
    return theirs, replay, notes


def _reference(kept: Capture, spot: Any, replay: Replay) -> Any:
    """Autograd's array."""
    if spot.kind == names.LOSS:
        return kept.loss_value
    if spot.kind == names.ACTIVATION:
        return kept.value(spot.value)
    if spot.kind == names.INPUT_DELTA:
        call = kept.call(kept.net[spot.call])
        return kept.autograd(call, kept.output_delta(call))[1][spot.which]
    del replay
    return kept.delta(spot.value)


def _key(spot: Any) -> Any:
    if spot.kind in (names.LOSS, names.ACTIVATION):
        return spot.value
    return ("part", spot.call, spot.which) if spot.kind == names.INPUT_DELTA else ("delta", spot.value)


# ---- what the problem is ----------------------------------------------------------------------------------------------


def _parameters(net: Network) -> dict[str, tuple[str, ...]]:
    """Each layer's parameters, by the operators' names."""
    from convscope.mechanics.reading import Reader

    reader = Reader(net)
    by_name = {c.name: c for c in reader.calls}
    found: dict[str, tuple[str, ...]] = {}
    for layer in net.layers:
        call = by_name.get(layer.address)
        reads = [] if call is None or call.operator is None else [
            short(call, i) for i, n in enumerate(call.reads) if n in reader.constants]
        found[layer.address] = tuple(reads)
    return found


def _require_once(meanings: Mapping[str, Name]) -> None:
    seen: dict[Name, str] = {}
    for key, name in meanings.items():
        if name in seen:
            raise UsageError(f"{key} and {seen[name]} mean the same array, {name}", "", "give it once")
        seen[name] = key


def _complete(asked: Problem, given: Mapping[str, Any]) -> Problem:
    """Top-level `y` is a target for mse; nothing else to guess."""
    del given
    return asked


def _with_their_parameters(net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name]) -> tuple[Network, tuple[str, ...]]:
    """The network with the parameters that were given."""
    from convscope.mechanics.reading import Reader

    mine = {k: m for k, m in meanings.items() if m.kind == names.PARAMETER}
    if not mine:
        return net, ()
    calls = {c.name: c for c in Reader(net).calls}
    placeholder = {v: k for k, v in net.parameter_names.items()}
    laid, where = [], {}
    for key, name in mine.items():
        call = calls[name.layer]
        full = next(n for i, n in enumerate(call.reads) if n is not None and n in placeholder and short(call, i) == name.parameter)
        where[key] = placeholder[full]
        shape = tuple(net.tensors[where[key]].shape)
        laid.append(Given(key, given[key], shape, layouts.group_of(shape, True)))
    own = {k: net.tensors[w].detach().cpu().double().numpy() for k, w in where.items()}
    found, notes = layouts.settle(laid, lambda k, v: np.allclose(v, own[k], 1e-4, 1e-6))
    for g in laid:
        if found[g.name] is None:
            raise ShapeError(f"{g.name} has the shape {g.value.shape}", f"this network's is {g.shape}",
                             "give the parameters of this network, or open the network that they belong to")
    tensors = {where[k]: torch.from_numpy(np.ascontiguousarray(v)).to(net.device) for k, v in found.items()}
    changed = dataclasses.replace(net, tensors={**net.tensors, **tensors}, _at={})
    return changed, (*notes, f"{len(mine)} of your parameters are used in the place of the network's")


def _input(net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name], asked: Problem) -> tuple[Any, tuple[str, ...]]:
    """The input (B, C, H, W) in float64."""
    key = next((k for k, m in meanings.items() if m.kind == names.INPUT), None)
    value = given[key] if key is not None else asked.x
    if value is None:
        raise UsageError("the input is not known", "there is no array named 'input'", "save it with the others, or give an image")
    value = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, np.float64)
    wanted = net.input_shape
    label = next((k for k, m in meanings.items() if m.kind == names.LABELS), None)
    batch = len(asked.labels) or (given[label].shape[0] if label is not None and given[label].ndim else 1)
    notes: tuple[str, ...] = ()
    for said, order in layouts.ORDERS[layouts.group_of(wanted, False, True)].items():
        for n in dict.fromkeys((value.shape[0] if value.ndim == len(wanted) else batch, batch,
                                value.shape[-1] if value.ndim == len(wanted) else batch)):
            made = layouts.arranged(value, (n, *wanted[1:]), order)
            if made is not None:
                if order and order != tuple(range(len(order))) and made.shape != value.shape:
                    notes = (f"the input is read as {said}",)
                return torch.from_numpy(np.ascontiguousarray(made)), notes
    if value.ndim == len(wanted) and value.shape[1] == wanted[1] and net.module is not None:
        return torch.from_numpy(value), ()  # another size: the network is exported again
    raise ShapeError(f"an input of shape {'×'.join(map(str, value.shape))}",
                     f"{net.name} takes {'×'.join(map(str, ('B', *wanted[1:])))}", "channels first or last, with or without a batch")


def _loss(net: Network, given: Mapping[str, Any], meanings: Mapping[str, Name], asked: Problem, batch: int) -> Loss:
    """The loss with its targets."""
    needed = [k for k, m in meanings.items() if m.kind in _NEEDS_LOSS]
    key = next((k for k, m in meanings.items() if m.kind in (names.LABELS, names.WANTED)), None)
    if asked.loss == "mse":
        wanted = given[key] if key is not None else asked.wanted
        if wanted is None and needed:
            raise UsageError("the targets of the squared error are not known", f"{needed[0]} depends on them",
                             "save them as 'target'")
        shape = (batch, *net.output.output_shape[1:])
        value = np.zeros(shape) if wanted is None else layouts.arranged(np.asarray(wanted, np.float64), shape, ())
        if value is None:
            raise ShapeError(f"targets of shape {np.shape(wanted)}", f"the output is {shape}", "the two must be equal")
        return Loss("mse", wanted=value, reduction=asked.reduction)
    labels = _labels(given[key]) if key is not None else asked.labels
    if not labels and needed:
        raise UsageError("the labels are not known", f"{needed[0]} depends on them", "save them as 'labels', or give --label")
    return Loss(asked.loss, labels=labels or (0,) * batch, reduction=asked.reduction)


def _labels(value: Any) -> tuple[int, ...]:
    """Class indices, from indices or one-hot rows."""
    if value.ndim == 2 and min(value.shape) > 1:
        hot = value if np.all(value.sum(axis=1) == 1) else value.T
        if not (np.isin(hot, (0, 1)).all() and np.all(hot.sum(axis=1) == 1)):
            raise DataError(f"labels of shape {value.shape} are neither class indices nor one-hot", "", "give one class an example")
        return tuple(int(i) for i in hot.argmax(axis=1))
    flat = value.reshape(-1)
    if not np.all(flat == np.round(flat)):
        raise DataError("labels must be whole numbers", f"got {flat[flat != np.round(flat)][0]}",
                        "for a regression use --loss mse and save 'target'")
    return tuple(int(i) for i in flat)


def _modes(net: Network, asked: Problem, batch: int) -> tuple[bool, ...]:
    """In which modes may batch norm have run?"""
    del batch
    if asked.training is not None:
        return (asked.training,)
    return (True, False) if any(layer.operator == "batch_norm" for layer in net.layers) else (False,)
