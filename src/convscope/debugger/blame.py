"""Where do somebody's arrays first part from ours, and which mistake makes exactly theirs?

Arrays are looked at in the order in which they are computed: activations forward, the loss, then deltas and gradients from
the last layer to the first. The first wrong one is blamed. Between it and the last right delta lie the calls that can have
spoilt it; each mistake known of each of them is replayed, there alone and everywhere the operation occurs, until one
reproduces the array. Of several, the one that explains most of the other arrays too is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convscope.debugger import arrays as names
from convscope.debugger.arrays import Name
from convscope.debugger.replay import LOSS, Replay, Run
from convscope.glass import INPUT
from convscope.operators import Operator, mistakes
from convscope.operators.mistakes import BACKWARD, FORWARD, Mistake

TWICE = "forward and backward"  # the same mistake in both passes: a map flattened in another order, and back
Made = dict[str, tuple[Mistake, ...]]  # call name -> mistakes made there


@dataclass(frozen=True)
class Spot:
    """Where an array stands in the network."""

    kind: str
    value: str  # name of the value or parameter
    call: str = ""
    which: int = 0
    order: tuple[int, ...] = ()

    def of(self, run: Run) -> Any:
        """The array of a run; None where that run has none."""
        if self.kind == names.LOSS:
            return np.asarray(run.loss)
        if self.kind == names.ACTIVATION:
            value = run.odd.get(self.value, run.values[self.value])
            return value[0] if isinstance(value, tuple) else value
        if self.kind == names.INPUT_DELTA:
            return run.parts[self.call][self.which] if self.call in run.parts else None
        if self.kind == names.GRADIENT:  # what has another size cannot be handed on, but was computed
            odd = [parts[self.which] for c, parts in run.parts.items() if c == self.call]
            if odd and odd[0] is not None and odd[0].shape != run.values[self.value].shape:
                return odd[0]
        delta = run.deltas.get(self.value)
        return delta[0] if isinstance(delta, tuple) else delta


@dataclass(eq=False)
class Theirs:
    """One of somebody's arrays: as it is laid out here (`value`), or as it came where its shape fits nothing (`raw`)."""

    name: str
    meaning: Name
    spot: Spot
    value: Any
    raw: Any
    reference: Any
    allowed: float

    @property
    def difference(self) -> float:
        """The largest difference from ours; infinite where the shape is another."""
        return float("inf") if self.value is None else distance(self.value, self.reference)

    @property
    def right(self) -> bool:
        return self.difference <= self.allowed

    @property
    def scale(self) -> float:
        return max(float(np.abs(self.reference).max()) if self.reference.size else 0.0, 1e-300)

    def made_by(self, run: Run) -> float:
        """How far the array of a run is from theirs, relative to what rounding allows; at most 1 is agreement."""
        made = self.spot.of(run)
        if made is None:
            return float("inf")
        mine = self.value if self.value is not None else self.raw
        if made.shape != mine.shape:
            if self.value is not None or made.size != mine.size or made.squeeze().shape != mine.squeeze().shape:
                return float("inf")
            mine = mine.reshape(made.shape)
        larger = max(1.0, float(np.abs(made).max()) / self.scale) if made.size else 1.0
        return distance(mine, made) / (self.allowed * larger) if self.allowed else float("inf")


def distance(a: Any, b: Any) -> float:
    return float(np.abs(a - b).max()) if np.size(a) else 0.0


@dataclass(frozen=True)
class Suspect:
    """Mistakes at one or several calls, and how well they explain the arrays."""

    mistakes: tuple[Mistake, ...]  # one, or the same one forward and backward
    calls: tuple[str, ...]
    misfit: float  # at the blamed array; at most 1 is agreement
    relative: float  # the largest difference there, relative to the array's largest number
    explained: int  # how many of all arrays it reproduces

    @property
    def mistake(self) -> Mistake:
        return self.mistakes[0]


@dataclass(eq=False)
class Search:
    """The hunt for a mistake, given all of somebody's arrays and the mistakes that are known already."""

    replay: Replay
    given: list[Theirs]
    known: Made = field(default_factory=dict)

    def suspects(self, blamed: Theirs) -> list[Suspect]:
        """Every candidate, tried; the best first."""
        tried: list[Suspect] = []
        for direction, calls in self._rounds(blamed):
            seen: set[tuple[int, tuple[str, ...]]] = set()
            for call, spoils in calls:
                operator = self.replay.operator_of(call)
                if operator is None:
                    continue
                for made in _made_together(operator, direction):
                    if direction == BACKWARD and "both" not in (spoils, made[0].spoils) and spoils != made[0].spoils:
                        continue
                    for where in ((call,), self._everywhere(made[0])):
                        if (id(made[0]), where) not in seen:
                            seen.add((id(made[0]), where))
                            tried.append(self._try(blamed, made, where))
            if any(s.misfit <= 1 for s in tried):
                break
        return sorted(
            tried,
            key=lambda s: (s.misfit > 1, -s.explained if s.misfit <= 1 else 0, s.misfit > 1 and s.relative, len(s.calls)),
        )

    def _rounds(self, blamed: Theirs) -> Iterable[tuple[str, list[tuple[str, str]]]]:
        """Which mistakes are tried, in which calls: first the near ones."""
        box = self.replay.box
        if blamed.spot.kind == names.ACTIVATION:
            yield FORWARD, [(name, "both") for name in self._before(blamed.spot.value)]
            return
        if blamed.spot.kind == names.LOSS:
            yield FORWARD, [(LOSS, "both"), *((name, "both") for name in self._before(box.output))]
            return
        yield BACKWARD, self.between(blamed)
        # Perhaps the forward pass is wrong, and its arrays were not given.
        calls = [(c.name, "both") for c in box.calls if c.operator is not None]
        yield FORWARD, calls
        yield TWICE, calls

    def _before(self, value: str) -> list[str]:
        """The calls that a value depends on, nearest first, up to activations that are right."""
        right = {t.spot.value for t in self.given if t.spot.kind == names.ACTIVATION and t.made_by(self._base) <= 1}
        found: list[str] = []
        todo = [value]
        while todo:
            name = todo.pop(0)
            call = self.replay.by_name.get(name)
            if call is None or name in found or (name in right and name != value):
                continue
            found.append(name)
            todo += [n for n in call.reads if n is not None]
        return found

    def between(self, blamed: Theirs) -> list[tuple[str, str]]:
        """The calls whose backward pass can have spoilt an array, nearest first, with the kind of gradient concerned."""
        box, spot = self.replay.box, blamed.spot
        right = {
            t.spot.value for t in self.given if t.spot.kind == names.DELTA and t is not blamed and t.made_by(self._base) <= 1
        }
        if spot.kind == names.INPUT_DELTA:
            found, todo = [(spot.call, "input")], [spot.call]
        elif spot.kind == names.GRADIENT:
            readers = [c.name for c in box.calls if spot.value in c.reads]
            found, todo = [(name, "parameters") for name in readers], readers
        else:
            found, todo = [], [spot.value]
        done: set[str] = set()
        while todo:
            value = todo.pop(0)
            if value in done or (value in right and value != blamed.spot.value):
                continue
            done.add(value)
            readers = [c.name for c in box.calls if value in c.reads]
            found += [(name, "input") for name in readers if (name, "input") not in found]
            todo += readers
            if value == box.output:
                found.append((LOSS, "input"))
        return found

    @property
    def _base(self) -> Run:
        return self.replay.run(self.known) if self.known else self.replay.right

    def _everywhere(self, mistake: Mistake) -> tuple[str, ...]:
        """All calls of the operations that a mistake belongs to."""
        if isinstance(self.replay.operator, mistake.operators):
            return (LOSS,)
        return tuple(c.name for c in self.replay.box.calls if isinstance(c.operator, mistake.operators))

    def _try(self, blamed: Theirs, made_there: tuple[Mistake, ...], calls: tuple[str, ...]) -> Suspect:
        run = self.replay.run(joined(self.known, made_there, calls))
        made, misfit = blamed.spot.of(run), blamed.made_by(run)
        mine = blamed.value if blamed.value is not None else blamed.raw
        off = distance(mine.reshape(made.shape), made) if made is not None and np.isfinite(misfit) else float("inf")
        explained = sum(t.made_by(run) <= 1 for t in self.given) if misfit <= 1 else 0
        size = max(float(np.abs(mine).max()) if mine.size else 0.0, 1e-300)
        return Suspect(made_there, calls, misfit, off / size, explained)


def _made_together(operator: Operator, direction: str) -> list[tuple[Mistake, ...]]:
    """The mistakes of one direction, each alone; or those that can be made in both passes alike, in pairs."""
    if direction != TWICE:
        return [(m,) for m in mistakes.of(operator, direction)]
    back = {m.key: m for m in mistakes.of(operator, BACKWARD)}
    return [(m, back[m.key]) for m in mistakes.of(operator, FORWARD) if m.key in back]


def joined(known: Mapping[str, tuple[Mistake, ...]], more: tuple[Mistake, ...], calls: Iterable[str]) -> Made:
    """The known mistakes and more."""
    return {**known, **{call: (*known.get(call, ()), *more) for call in calls}}


def spot_of(name: Name, replay: Replay) -> Spot | None:
    """Where the array of a name stands; None where the glass box has no such place."""
    box = replay.box
    index = {c.name: i for i, c in enumerate(box.calls)}
    layer = name.layer or box.output
    if name.kind == names.LOSS:
        return Spot(names.LOSS, LOSS, order=(1, 0, 0))
    if layer == INPUT:
        return Spot(names.DELTA, INPUT, order=(2, 1, 0))
    at = index.get(layer)
    if at is None:
        return None
    call = box.calls[at]
    if name.kind == names.ACTIVATION:
        return Spot(names.ACTIVATION, layer, order=(0, at, 0))
    if name.kind == names.DELTA:
        return Spot(names.DELTA, layer, order=(2, -at, 0))
    if name.kind == names.INPUT_DELTA:
        which = next(i for i, n in enumerate(call.reads) if n is not None and n not in box.parameters)
        return Spot(names.INPUT_DELTA, call.reads[which] or "", layer, which, (2, -at, 9))
    which, parameter = next(
        (i, n)
        for i, n in enumerate(call.reads)
        if n is not None and n in box.parameters and short(call, i) == name.parameter
    )
    first = min(i for i, c in enumerate(box.calls) if parameter in c.reads)
    return Spot(names.GRADIENT, parameter, layer, which, (2, -first, 1 + which))


def short(call: Any, which: int) -> str:
    """A parameter's name within its layer: the operator's own ('weight'), a recurrent layer's ('weight_hh_l0')."""
    named = call.operator.arrays
    return named[which] if which < len(named) and named[which] != "…" else (call.reads[which] or "").rsplit(".", 1)[-1]
