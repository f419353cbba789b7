"""Is somebody's own backpropagation right? The first wrong array, and the mistake that makes exactly this array.

    arrays.py     reads arrays and understands their names
    layouts.py    finds the order of their axes
    rounding.py   says how far an array may be off through rounding alone
    blame.py      replays mistakes until one reproduces the wrong array

The reference is torch's autograd in float64 on the same input, labels and (where given) parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from convscope.debugger import arrays as names
from convscope.debugger import layouts
from convscope.debugger.accuse import accuse
from convscope.debugger.arrays import Name
from convscope.debugger.blame import Search, Theirs, spot_of
from convscope.debugger.kinks import widened
from convscope.debugger.layouts import Given
from convscope.debugger.problem import (
    Problem,
    input_of,
    loss_of,
    modes,
    parameters_of,
    require_once,
    with_their_parameters,
)
from convscope.debugger.replay import Replay
from convscope.debugger.rounding import allowances, precision
from convscope.errors import UsageError
from convscope.mechanics.capture import Capture
from convscope.network import Network
from convscope.operators._recurrent import Recurrent
from convscope.operators.batch_norm import BatchNorm
from convscope.results import Finding, Findings


def verify(net: Network, source: Any, problem: Problem | None = None) -> Findings:
    """Which of these arrays are right, which is the first wrong one, and what was done wrong?

    `source`: an .npz, a .safetensors, a folder of .npy files, or a mapping; see `arrays` for the names. Raises UsageError
    where input or labels are not known or a name is ambiguous, UnknownName for a layer or array that does not exist,
    ShapeError for an array of a shape that neither a convention nor a known mistake explains, DataError for files that
    cannot be read. Misleads: an array that is right does not prove the code right for other inputs.

    >>> import convscope as cs
    >>> from convscope.mechanics.loss import Loss
    >>> net, x = cs.open("zoo:lenet5"), np.random.default_rng(0).random((2, 1, 28, 28))
    >>> kept = Capture(net, torch.from_numpy(x), Loss(labels=(3, 7)))
    >>> found = verify(net, {"input": x, "labels": [3, 7], "fc3.delta": kept.delta("fc3") * 2})
    >>> found.findings[0].cause
    'loss: not divided by the batch: the mean over the batch was forgotten: δ was not divided by B'
    """
    given = names.read(source)
    asked = problem or Problem()
    parameters = parameters_of(net)
    meanings = {k: names.understand(k, parameters, given) for k in given}
    meanings = {k: Name(names.WANTED) if m.kind == names.LABELS and asked.loss == "mse" else m for k, m in meanings.items()}
    require_once(meanings)
    net, notes = with_their_parameters(net, given, meanings)
    x, more = input_of(net, given, meanings, asked)
    notes = (*notes, *more)
    checked = {
        k: m
        for k, m in meanings.items()
        if m.kind in (names.ACTIVATION, names.DELTA, names.INPUT_DELTA, names.GRADIENT, names.LOSS)
    }
    if not checked:
        raise UsageError("there is nothing to verify", f"the arrays are {', '.join(given)}", f"save some of {names.NAMES}")
    net = net if tuple(x.shape[1:]) == net.input_shape[1:] else net.at(x.shape[1:])
    loss = loss_of(net, given, meanings, asked, len(x))
    eps = precision(v for k, v in given.items() if k in checked)
    best: tuple[list[Theirs], Replay, tuple[str, ...]] | None = None
    for training in modes(net, asked):
        found = _compared(Capture(net, x, loss, training), {k: given[k] for k in checked}, checked, eps)
        if best is None or sum(t.right for t in found[0]) > sum(t.right for t in best[0]):
            best = found
    assert best is not None
    theirs, replay, said = best
    notes = (
        *notes,
        *said,
        loss.describe(net),
        f"precision of the arrays: {'float64' if eps < 1e-10 else 'float32' if eps < 1e-5 else 'float16'}"
        f"; how far rounding may go is in the column 'allowed'",
    )
    return _judged(net, theirs, replay, notes, eps)


def _judged(net: Network, theirs: list[Theirs], replay: Replay, notes: tuple[str, ...], eps: float) -> Findings:
    theirs.sort(key=lambda t: t.spot.order)
    if any(not t.right for t in theirs) and eps > 1e-10:
        notes = (*notes, *widened(replay, theirs))
    search = Search(replay, theirs)
    findings = accuse(search)
    if not findings:
        findings = [
            Finding(
                "fine",
                f"all {len(theirs)} arrays are right" if len(theirs) > 1 else f"{theirs[0].name} is right",
                evidence={
                    "arrays": len(theirs),
                    "largest difference over what rounding allows": max(
                        t.difference / t.allowed if t.allowed else 0.0 for t in theirs
                    ),
                },
                proof="each was compared with autograd's, number by number",
            )
        ]
    columns = {
        "array": np.array([t.name for t in theirs]),
        "shape": np.array(["×".join(map(str, t.raw.shape)) or "1" for t in theirs]),
        "difference": np.array([t.difference for t in theirs]),
        "relative": np.array([t.difference / t.scale for t in theirs]),
        "allowed": np.array([t.allowed / t.scale for t in theirs]),
        "verdict": np.array(["right" if t.right else "another shape" if t.value is None else "wrong" for t in theirs]),
    }
    units = {
        "difference": "largest |yours − autograd's|",
        "relative": "the same, over the largest |number| of autograd's array",
        "allowed": "what rounding explains, on the same scale",
        "verdict": "in the order in which they are computed",
    }
    return Findings(
        title=f"backpropagation of {net.name}, checked",
        findings=tuple(findings),
        checked=columns,
        units=units,
        notes=tuple(dict.fromkeys(notes)),
        origin=net.origin("verify", torch.from_numpy(replay.x)),
    )


def _compared(
    kept: Capture, given: Mapping[str, Any], meanings: Mapping[str, Name], eps: float
) -> tuple[list[Theirs], Replay, tuple[str, ...]]:
    """Their arrays beside autograd's, laid out alike."""
    replay = Replay(kept)
    allowed = allowances(replay, eps)
    spots, reference, limits = {}, {}, {}
    for key, name in meanings.items():
        spot = spot_of(name, replay)
        if spot is None:
            raise UsageError(
                f"{key} cannot be checked",
                f"{name.layer} is not computed by one of our operators",
                "leave it out, and give the layers around it",
            )
        spots[key] = spot
        reference[key] = np.asarray(_reference(kept, spot))
        limits[key] = max(
            allowed.get(_key(spot), 0.0), float(eps) * 1e-3 * float(np.abs(reference[key]).max(initial=0)), 1e-300
        )
    recurrent = {c.name for c in replay.box.calls if isinstance(c.operator, Recurrent)}
    laid = [
        Given(
            k,
            given[k].astype(np.float64),
            reference[k].shape,
            layouts.group_of(
                reference[k].shape,
                spots[k].kind == names.GRADIENT,
                bool({spots[k].value, spots[k].call} & recurrent) or reference[k].ndim == 3,
            ),
        )
        for k in meanings
    ]
    found, notes = layouts.settle(laid, lambda k, v: float(np.abs(v - reference[k]).max(initial=0)) <= limits[k])
    theirs = [
        Theirs(k, meanings[k], spots[k], found[k], given[k].astype(np.float64), reference[k], limits[k]) for k in meanings
    ]
    if any(isinstance(c.operator, BatchNorm) for c in replay.box.calls):
        notes = (
            *notes,
            "batch norm uses "
            + ("the statistics of this batch (training)" if kept.training else "its running statistics (evaluation)"),
        )
    return theirs, replay, notes


def _reference(kept: Capture, spot: Any) -> Any:
    """Autograd's array."""
    if spot.kind == names.LOSS:
        return kept.loss_value
    if spot.kind == names.ACTIVATION:
        return kept.value(spot.value)
    if spot.kind == names.INPUT_DELTA:
        call = kept.call(kept.net[spot.call])
        return kept.autograd(call, kept.output_delta(call))[1][spot.which]
    return kept.delta(spot.value)


def _key(spot: Any) -> Any:
    if spot.kind in (names.LOSS, names.ACTIVATION):
        return spot.value
    return ("part", spot.call, spot.which) if spot.kind == names.INPUT_DELTA else ("delta", spot.value)


__all__ = ["Problem", "verify"]
