"""Float32 may fall on the other side of a kink: a ReLU's input all but 0, two maxima that are all but equal.

Then whole deltas differ, though nobody made a mistake. Where a number lies closer to a kink than rounding can tell, the
backward pass is done with the other side too, and what changes is allowed for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.debugger.blame import Theirs, distance
from convscope.debugger.replay import Replay
from convscope.debugger.rounding import allowances, precision
from convscope.operators.max_pool import MaxPool
from convscope.operators.mistakes import BACKWARD, Mistake
from convscope.operators.mistakes.max_pool import windows_of
from convscope.operators.relu import ReLU
from convscope.operators.relu6 import ReLU6

ONE_BY_ONE = 12  # so many kinks are tried singly; of more, all of a call together


def widened(replay: Replay, theirs: list[Theirs]) -> tuple[str, ...]:
    """Allow in `theirs` for kinks that rounding can cross; says how many there are."""
    noise = allowances(replay, precision(t.raw for t in theirs))
    found: list[tuple[str, Any]] = []
    for call in replay.box.calls:
        if isinstance(call.operator, (ReLU, ReLU6, MaxPool)):
            x = replay.box.read(call, replay.right.values)[0]
            close = noise.get(call.reads[0], 0.0)
            others = (
                _pools(call.operator, x, close) if isinstance(call.operator, MaxPool) else _hinges(call.operator, x, close)
            )
            found += [(call.name, other) for other in others]
    for name, other in found:
        wrong = Mistake(
            "the other side of a kink",
            "",
            "",
            (),
            BACKWARD,
            "input",
            _backward_at(other),
        )
        run = replay.run({name: (wrong,)})
        for t in theirs:
            made = t.spot.of(run)
            if made is not None and made.shape == t.reference.shape:
                t.allowed += distance(made, t.reference)
    return (
        (f"{len(found)} numbers lie so close to a kink (ReLU, max pooling) that float32 may fall on either side",)
        if found
        else ()
    )


def _backward_at(other: Any) -> Any:
    """The backward pass as it is at `other`, whatever was read."""

    def make(op: Any, delta: Any, *_: Any) -> Any:
        return op.backward(delta, other)

    return make


def _hinges(operator: Any, x: Any, close: float) -> list[Any]:
    """x with each number near a kink moved to the kink's other side."""
    bounds = (0.0, 6.0) if isinstance(operator, ReLU6) else (0.0,)
    found: list[Any] = []
    for bound in bounds:
        places = np.argwhere((np.abs(x - bound) <= close) & (x != bound))
        found += _moved(x, places, lambda v, bound=bound: bound - (v - bound))
    return found


def _pools(operator: MaxPool, x: Any, close: float) -> list[Any]:
    """x with the maximum lowered below the second where the two are all but equal."""
    _, winners = operator.forward_with_indices(x)
    values = np.sort(windows_of(operator, x), axis=-1)
    if values.shape[-1] < 2:
        return []
    gap = values[..., -1] - values[..., -2]
    near = np.argwhere((gap <= close) & (gap > 0))
    places = np.array([(b, c, *np.unravel_index(winners[(b, c, *i)], x.shape[2:])) for b, c, *i in near]).reshape(-1, x.ndim)
    return _moved(x, np.unique(places, axis=0), lambda v: v - 2 * close)


def _moved(x: Any, places: Any, move: Any) -> list[Any]:
    groups = [places] if len(places) > ONE_BY_ONE else [places[i : i + 1] for i in range(len(places))]
    found: list[Any] = []
    for group in groups:
        if len(group):
            other, where = x.copy(), tuple(np.asarray(group, np.int64).T)
            other[where] = move(other[where])
            found.append(other)
    return found
