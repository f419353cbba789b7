"""A short training of a twin, and what it came to: its losses, what moved, and its score before and after."""

from __future__ import annotations

import inspect
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.diagnosing.calls import replacing
from convscope.diagnosing.program import Program, left_alone


@dataclass(frozen=True, eq=False)
class Trial:
    """A training that was tried. `problem`: what it raised; `broke`: the step whose loss was not finite."""

    losses: NDArray[np.float64]  # one a step, before it was taken
    epochs: float  # passes over the examples that were looked at
    seconds: float
    broke: int | None = None
    problem: str = ""
    moved: float = math.nan  # ‖θ − θ₀‖/‖θ₀‖ over what the optimiser owns
    first_moved: float = math.nan  # the same after one step
    gradients: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # ‖∂L/∂θ‖ a step
    program: Program | None = None  # the twin as it is afterwards
    finished: bool = False  # it went as far as the user's own would

    @property
    def first(self) -> float:
        """Mean loss of the first tenth."""
        return _mean(self.losses[: max(1, len(self.losses) // 10)])

    @property
    def last(self) -> float:
        """Mean loss of the last tenth."""
        return _mean(self.losses[-max(1, len(self.losses) // 10) :])


def output_of(program: Program, x: Tensor) -> Any:
    """The network's answer, by the program's rules."""
    with replacing(program.rules):
        return program.model(x)


def answer(program: Program, x: Tensor, size: int = 256, training: bool = False) -> Any:
    """(N, …) answers in evaluation mode, without gradient. Where an answer is several tensors: the first batch's."""
    program.model.train(training)
    found = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a in range(0, len(x), size):
            out = output_of(program, x[a : a + size])
            if not isinstance(out, Tensor):
                return out
            found.append(out)
    return torch.cat(found)


def pace(program: Program, quick: float) -> float:
    """Seconds of a forward pass for one example, on four; 0 where it raises. Asked twice unless it is at most `quick`."""
    x, took = program.examples.x[:4].to(program.device), math.inf
    for _ in range(2):  # the first pass of all may be slow for once
        begun = time.perf_counter()
        try:
            with left_alone():
                answer(program, x)
        except Exception:  # noqa: BLE001 - told by whoever looks at the answers
            return 0.0
        took = min(took, (time.perf_counter() - begun) / len(x))
        if took <= quick:
            break
    return took


def train(
    program: Program,
    seed: int = 0,
    steps: int = 200,
    seconds: float = 2.0,
    watch: Callable[[int, Program], None] | None = None,
) -> Trial:
    """Train this twin in place: at most `steps` steps or `seconds`. `watch(step, program)` is called after each step.

    The user's number of epochs bounds it too, where it was given. A loss that is not finite, or an error, ends it.
    """
    begun = time.perf_counter()
    losses: list[float] = []
    norms: list[float] = []
    broke, problem, first_moved, epoch, done = None, "", math.nan, 0, False
    device = program.device
    parameters = [p for n, p in program.model.named_parameters() if n in program.optimizer.owned]
    start = [p.detach().clone() for p in parameters]
    base = math.sqrt(sum(float(p.double().square().sum()) for p in start)) or 1.0
    total = len(program.examples)
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        program.model.train()
        optimizer = program.optimizer.make(program.model)
        while not done:
            if program.epochs is not None and epoch >= program.epochs:
                done = True
                break
            rate = program.rates[min(epoch, len(program.rates) - 1)] if program.rates else 1.0
            if optimizer is not None and program.rates:
                for group, (_, options) in zip(optimizer.param_groups, program.optimizer.groups, strict=False):
                    group["lr"] = float(options.get("lr", 0.001)) * rate
            for x, y in program.examples.batches(seed, epoch):
                try:
                    loss = program.value(output_of(program, x.to(device)), None if y is None else y.to(device))
                    if not isinstance(loss, Tensor):
                        raise TypeError(
                            f"the loss is {type(loss).__name__}, not a tensor: backward() has nothing to go back through"
                        )
                    losses.append(float(loss.detach()))
                    if not math.isfinite(losses[-1]):
                        broke = len(losses) - 1
                        break
                    program.model.zero_grad(set_to_none=True)
                    loss.backward()
                except Exception as error:  # noqa: BLE001 - whatever the user's program raises is what we report
                    problem = f"{type(error).__name__}: {error}"
                    break
                norms.append(
                    math.sqrt(sum(float(p.grad.detach().double().square().sum()) for p in parameters if p.grad is not None))
                )
                try:
                    _step(optimizer, program, x.to(device), None if y is None else y.to(device))
                except Exception as error:  # noqa: BLE001 - as above
                    problem = f"{type(error).__name__}: {error}"
                    break
                if len(losses) == 1:
                    first_moved = _way(parameters, start) / base
                if watch is not None:
                    watch(len(losses) - 1, program)
                if len(losses) >= steps or time.perf_counter() - begun > seconds:
                    break
            epoch += 1
            if broke is not None or problem or len(losses) >= steps or time.perf_counter() - begun > seconds or not losses:
                break
    per_epoch = max(1, -(-total // program.examples.batch))
    wanted = (
        None if program.epochs is None else program.epochs * -(-(program.examples.total or total) // program.examples.batch)
    )
    return Trial(np.array(losses), len(losses) / per_epoch, time.perf_counter() - begun, broke, problem,
                 _way(parameters, start) / base, first_moved, np.array(norms), program,
                 done or (wanted is not None and len(losses) >= wanted))  # fmt: skip


def _step(optimizer: Any, program: Program, x: Tensor, y: Tensor | None) -> None:
    """One step on gradients that are there; an optimiser that asks for the loss again (LBFGS) is given it."""
    if optimizer is None:
        return
    asked = inspect.signature(type(optimizer).step).parameters.get("closure")
    if asked is None or asked.default is not asked.empty:
        optimizer.step()
        return

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = program.value(output_of(program, x), y)
        loss.backward()
        return loss

    optimizer.step(closure)


def _way(now: list[Any], start: list[Tensor]) -> float:
    return math.sqrt(sum(float((p.detach().double() - q.double()).square().sum()) for p, q in zip(now, start, strict=True)))


def _mean(values: NDArray[np.float64]) -> float:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else math.nan
