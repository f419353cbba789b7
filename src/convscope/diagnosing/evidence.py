"""All that is known of a program, measured when it is first asked for, on twins: the user's own are never touched.

A check reads what it needs; what two checks need is measured once. `Evidence.run` is a watched training (`watch.py`), where
there is one: then the training's own symptom counts, not that of the short trial.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convscope.diagnosing import calls, losses, targets
from convscope.diagnosing.calls import Call, Recorder
from convscope.diagnosing.losses import LossFacts
from convscope.diagnosing.program import Program, left_alone, trainable
from convscope.diagnosing.score import Score, score
from convscope.diagnosing.targets import Targets
from convscope.diagnosing.trial import Trial, answer, pace, train
from convscope.results import Run

PROBE = 64  # examples in the batch that is looked at closely
JUDGED = 512  # examples on which a score is measured
SLOW = "a forward pass takes long: fewer examples than usual were looked at and judged"
TINY = 10  # examples that any working program can learn by heart
RATES = (1.0, 0.1, 10.0, 0.01, 100.0)  # times the user's own, for the ten


@dataclass(frozen=True)
class Signal:
    """One call at the begin of training, on one batch."""

    name: str
    op: str
    std: float  # of what it gave
    mean: float
    zeros: float  # share of exact zeros
    dead: float  # share of units that gave zero for every example
    saturated: float  # share of values where the derivative is below 0.01 (sigmoid, tanh)
    gradient: float  # standard deviation of ∂L/∂value; NaN: none arrived
    alike: float  # largest difference between two units, relative to their spread; 0: all units are one
    size: tuple[int, ...] = ()


class Tiny(NamedTuple):
    """The ten-example over-fit at the best rate that was tried."""

    factor: float  # times the user's rate
    loss: float  # the last
    score: Score
    steps: int


@dataclass(eq=False)
class Evidence:
    """What is known of `program`. Everything below is measured once, on the first `PROBE` examples unless it says so."""

    program: Program
    run: Run | None = None
    seconds: float = 4.0  # for everything together
    seed: int = 0
    begun: float = field(default_factory=time.perf_counter)
    notes: list[str] = field(default_factory=list[str])

    @property
    def has_program(self) -> bool:
        """Or is there a training record alone?"""
        return self.program is not None  # type: ignore[reportUnnecessaryComparison] - given as None with a run alone

    @property
    def left(self) -> float:
        """Seconds left."""
        return max(0.0, self.seconds - (time.perf_counter() - self.begun))

    @functools.cached_property
    def twin(self) -> Program:
        """A twin to look at; checks may run it forward, never train it."""
        return self.program.twin()

    # ---- data --------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def x(self) -> Tensor:
        """(B, …) the batch that is looked at: the training's first, or `PROBE` examples if that is larger."""
        return self._batch[0]

    @functools.cached_property
    def y(self) -> Tensor | None:
        return self._batch[1]

    @functools.cached_property
    def _batch(self) -> tuple[Tensor, Tensor | None]:
        e = self.program.examples
        size = max(min(PROBE, len(e)), min(e.batch, 256))
        size = min(size, self.affordable(self.program.twin(), 0.1, 8))
        x, y = next(iter(e.batches(self.seed, 0, size)))
        return x.to(self.program.device), None if y is None else y.to(self.program.device)

    def affordable(self, program: Program, share: float, least: int) -> int:
        """How many examples fit into this share of the time in one forward pass? Where the network is slow that is told."""
        room = share * max(self.seconds, 4.0)
        found = pace(program, room / JUDGED)
        if found * JUDGED <= room:
            return JUDGED
        if SLOW not in self.notes:
            self.notes.append(SLOW)
        return max(least, int(room / found))

    @functools.cached_property
    def targets(self) -> Targets:
        """Of all examples that were read; of kind 'none' where the loss does not read them."""
        return Targets("none") if self.objective else targets.look(self.program.examples.y)

    @functools.cached_property
    def objective(self) -> bool:
        """Is the loss a function of the output alone? It is too where it takes targets and gives the same for others."""
        if self.program.objective or self.y is None:
            return True
        if self.tensor is None or len(self.y) < 2:
            return False
        made = torch.rand(self.tensor.shape, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
        o, other = made.to(self.tensor), self.y.roll(1, 0)
        with left_alone(), torch.no_grad():
            here, there = (float(losses.quiet(self.twin, o, y)) for y in (self.y, other))
            far = float(losses.quiet(self.twin, o, torch.zeros_like(self.y)))
            heard = float(losses.quiet(self.twin, 0.5 * o, self.y)) != here  # what hears no output is a fault, no objective
        return math.isfinite(here) and here == there == far and heard and not torch.equal(self.y, other)

    # ---- the first forward and backward pass ----------------------------------------------------------------------------

    @functools.cached_property
    def first(self) -> tuple[Any, Recorder, str]:
        """Output in training mode, the calls, and what it raised ('' if nothing)."""
        program = self.twin
        program.model.train()
        recorder = Recorder(program.model, (self.x,), where=True)
        with left_alone(), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            torch.manual_seed(self.seed)
            try:
                with calls.replacing(program.rules), recorder:
                    out = program.model(self.x)
            except Exception as error:  # noqa: BLE001 - what the user's network raises is what we report
                return None, recorder, f"{type(error).__name__}: {error}"
        return out, recorder, ""

    @property
    def output(self) -> Any:
        return self.first[0]

    @property
    def tensor(self) -> Tensor | None:
        """The output, where it is one tensor."""
        return self.output if isinstance(self.output, Tensor) else None

    @property
    def calls(self) -> list[Call]:
        return self.first[1].calls

    @functools.cached_property
    def tail(self) -> list[Call]:
        """The calls behind the last one with weights, on the way to the output. Empty where the last call has weights."""
        out = self.output
        out = out if isinstance(out, Tensor) else next(iter(calls._tensors(out)), None)
        here = None if out is None else self.first[1].of(out)
        found: list[Call] = []
        while here is not None and here.op not in calls.WEIGHTED:
            found.append(here)
            here = self.calls[here.inputs[0]] if here.inputs and here.inputs[0] >= 0 else None
        return found[::-1]

    @property
    def last(self) -> str:
        """The last operation that changes values: 'softmax', 'linear', …; dropout and plumbing passed over."""
        ends = [c.op for c in self.tail if c.op in calls.ACTIVATIONS or c.op in calls.NORMS]
        return ends[-1] if ends else ("linear" if not self.tail else self.tail[-1].op)

    @functools.cached_property
    def loss(self) -> LossFacts:
        """What the loss is (`losses.py`)."""
        if self.tensor is None:
            return LossFacts(problem=self.first[2])
        with left_alone(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return losses.facts(self.twin, self.tensor, self.y, self.targets)

    @functools.cached_property
    def start(self) -> float:
        """The loss at the begin, in training mode; NaN where it raises or is not finite."""
        if self.output is None:
            return math.nan
        if self.tensor is not None:
            return float(losses.quiet(self.twin, self.tensor.detach(), self.y))
        try:
            return float(self.twin.value(self.output, self.y))
        except Exception:  # noqa: BLE001
            return math.nan

    @functools.cached_property
    def gradients(self) -> dict[str, float | None]:
        """Norm of ∂L/∂θ by parameter at the begin; None: no gradient arrives. Only what asks for one."""
        wanted = trainable(self.twin.model)
        found: dict[str, float | None] = dict.fromkeys(wanted)
        grads = self._backward[0]
        for name, g in zip(wanted, grads, strict=True):
            found[name] = None if g is None else float(g.double().norm())
        return found

    @functools.cached_property
    def _backward(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        wanted = list(trainable(self.twin.model).values())
        values = [c.value for c in self.calls]
        none: tuple[list[Tensor | None], list[Tensor | None]] = ([None] * len(wanted), [None] * len(values))
        if self.output is None:
            return none
        with left_alone(), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            try:
                loss = self.twin.value(self.output, self.y)
                if not isinstance(loss, Tensor) or not loss.requires_grad or loss.numel() != 1:
                    return none
                asked = [v if v.requires_grad else torch.zeros((), requires_grad=True) for v in (*wanted, *values)]
                grads: list[Tensor | None] = [*torch.autograd.grad(loss.sum(), asked, allow_unused=True, retain_graph=True)]
            except Exception:  # noqa: BLE001 - told by `loss.problem` and by the trial
                return none
        return grads[: len(wanted)], grads[len(wanted) :]

    @functools.cached_property
    def signals(self) -> list[Signal]:
        """Every call at the begin: spread forward and backward, dead and saturated shares."""
        return [_signal(c, g) for c, g in zip(self.calls, self._backward[1], strict=True)]

    # ---- training ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def trial(self) -> Trial:
        """The program as it is, for a part of the time."""
        return train(self.program.twin(), self.seed, 2000, min(self.seconds * 0.4, max(0.5, self.left * 0.6)))

    @functools.cached_property
    def before(self) -> Score:
        """The score at the begin, in evaluation mode."""
        return self.judge(self.twin)

    @functools.cached_property
    def after(self) -> Score:
        """The score after the trial, in evaluation mode, on examples it was trained on."""
        return self.judge(self.trial.program or self.twin)

    def judge(self, program: Program, training: bool = False) -> Score:
        """The score of a program on its first examples, at most `JUDGED`."""
        e, most = program.examples, self.affordable(program, 0.15, 32)
        x, y = e.x[:most].to(program.device), None if e.y is None else e.y[:most].to(program.device)
        if not e.shuffled and len(e) > most:
            index = torch.linspace(0, len(e) - 1, most).round().long()
            x, y = e.x[index].to(program.device), None if e.y is None else e.y[index].to(program.device)
        try:
            with left_alone(), torch.no_grad():
                out = answer(program, x, training=training)
                value = (
                    float(losses.quiet(program, out, y))
                    if isinstance(out, Tensor)
                    else float(program.value(out, y[:256] if y is not None else None))
                )
        except Exception:  # noqa: BLE001 - the trial tells it
            return Score("loss", math.nan, math.nan, math.nan, 0)
        if not isinstance(out, Tensor):
            return Score("loss", value, math.nan, math.nan, len(x))
        if self.objective:
            return score(out, None, self.targets, self.loss, value, self.last)
        return score(out, y, targets.look(y), self.loss, value, self.last)

    @functools.cached_property
    def tiny(self) -> Tiny:
        """Ten examples by heart, in at most 150 steps at each of several rates."""
        best = Tiny(math.nan, math.inf, Score("loss", math.nan, math.nan, math.nan, 0), 0)
        e = self.program.examples
        index = torch.linspace(0, len(e) - 1, min(TINY, len(e))).round().long()
        y = None if e.y is None else e.y[index]
        ten = replace(e, x=e.x[index], y=y, batch=TINY, shuffled=True, epochs=(), again=None)
        few = replace(self.program, examples=ten, epochs=None, rates=())
        until = time.perf_counter() + min(self.seconds * 0.3, max(0.3, self.left * 0.5))
        for factor in RATES:
            left = until - time.perf_counter()
            if left < 0.02:
                break
            twin = few.twin()
            tried = train(
                replace(twin, optimizer=twin.optimizer.scaled(factor)), self.seed, 150, left / 2 if factor == 1 else left / 3
            )
            got = self.judge(tried.program or twin, training=True)
            if tried.problem or not len(tried.losses):
                break
            value = tried.last if tried.broke is None else math.inf
            if value < best.loss:
                best = Tiny(factor, value, got, len(tried.losses))
            if got.share > 0.95:
                break
        return best


def _signal(call: Call, gradient: Tensor | None) -> Signal:
    v = call.value.detach()
    if not v.is_floating_point() or v.numel() == 0 or not v.ndim:
        return Signal(call.name, call.op, math.nan, math.nan, 0.0, 0.0, 0.0, math.nan, math.nan, tuple(v.shape[1:]))
    v = v.float()
    flat = (
        v.reshape(len(v), -1) if v.ndim <= 2 else v.transpose(0, 1).reshape(v.shape[1], -1).T
    )  # (examples · positions, units)
    zero = flat == 0
    saturated = math.nan
    if call.op in ("sigmoid", "tanh"):
        slope = v * (1 - v) if call.op == "sigmoid" else 1 - v * v
        saturated = float((slope < 0.01).float().mean())
    spread = float(flat.std(unbiased=False)) if flat.numel() > 1 else 0.0
    alike = math.nan
    if flat.shape[1] > 1:
        alike = float((flat - flat[:, :1]).abs().max()) / (spread + 1e-12) if spread > 0 else 0.0
    dead = float(zero.all(0).float().mean())
    return Signal(call.name, call.op, spread, float(flat.mean()), float(zero.float().mean()), dead, saturated,
                  math.nan if gradient is None else float(gradient.float().std(unbiased=False)), alike,
                  tuple(v.shape[1:]))  # fmt: skip
