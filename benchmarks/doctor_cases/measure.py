"""What does each case really do? `python -m benchmarks.doctor_cases.measure [ids or their beginnings] --seeds 2`.

Trains the program as its user would (Keras `fit`, the case's own loop, or a plain torch loop of its loss and optimiser), and
its repaired twin, and scores both on the training examples in evaluation mode:
accuracy against the share of the largest class, or R² = 1 - sum (y - p)² / sum (y - mean y)² where targets are numbers.

The symptom that follows: `raised` where training raises; `yes` for accuracy <= majority + .1 or < .6, R² < .3, a score that
is not finite, held-out accuracy (where the case holds out examples) below its own majority class, or a metric of the user's
own that is more than .1 away from the accuracy; `weak` where the twin scores better by more than .03; else `no`. Outputs
that have not the form of their targets are judged by the program's own metric (`yes` below .3); without one, not at all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from benchmarks.doctor_cases import Case, Setup, cases


@dataclass(frozen=True)
class Measured:
    """One trained program: its scores, those of the constant predictor, its mean loss in every epoch, seconds."""

    kind: str  # 'accuracy', 'R2', 'none' or 'raised'
    score: float = float("nan")
    constant: float = 0.0  # of the majority class; R² of the mean is 0
    held_out: float | None = None
    held_out_constant: float = 0.0
    own: float | None = None  # by the user's own metric
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def text(self) -> str:
        if self.kind == "raised":
            return f"raised {self.error}"
        ends = f"loss {self.losses[0]:.4g} > {self.losses[-1]:.4g}" if self.losses else ""
        if self.kind == "none":
            return (
                f"no score{'' if self.own is None else f', by its own metric {self.own:.3f}'}; {ends}; {self.seconds:.0f} s"
            )
        held = "" if self.held_out is None else f", held out {self.held_out:.3f}"
        beside = f" (majority {self.constant:.3f})" if self.kind == "accuracy" else ""
        own = "" if self.own is None else f", by its own metric {self.own:.3f}"
        return f"{self.kind} {self.score:.3f}{beside}{held}{own}; {ends}; {self.seconds:.0f} s"


def symptom(found: Measured, twin: Measured | None) -> str:
    """The rule at the top of the file."""
    if found.kind == "raised":
        return "raised"
    if not np.isfinite(found.losses).all():
        return "yes"
    if found.kind == "none":
        return "unknown" if found.own is None else "yes" if found.own < 0.3 else "no"
    if not np.isfinite(found.score):
        return "yes"
    if found.kind == "R2" and found.score < 0.3:
        return "yes"
    if found.kind == "accuracy" and (found.score <= found.constant + 0.1 or found.score < 0.6):
        return "yes"
    if found.held_out is not None and found.kind == "accuracy" and found.held_out < found.held_out_constant:
        return "yes"
    if found.kind == "accuracy" and found.own is not None and abs(found.own - found.score) > 0.1:
        return "yes"
    return "weak" if twin is not None and twin.score > found.score + 0.03 else "no"


def batches(data: Any, size: int, order: torch.Tensor | None = None) -> Iterator[tuple[Any, Any]]:
    """Pairs of a loader, or of arrays cut into batches, in the given order."""
    if not isinstance(data, tuple | list):
        yield from data
        return
    x, y = (torch.as_tensor(part) for part in data)
    order = torch.arange(len(x)) if order is None else order
    for rows in order.split(size):
        yield x[rows], y[rows]


def outputs_and_targets(setup: Setup, data: Any) -> tuple[Any, Any]:
    """What the trained model says in evaluation mode, and what it should: arrays of a Keras model, tensors of another."""
    if hasattr(setup.model, "predict"):
        return np.asarray(setup.model.predict(data[0], verbose=0, batch_size=256)), np.asarray(data[1])
    setup.model.eval()
    with torch.no_grad():
        pairs = [(setup.model(x), y) for x, y in batches(data, 256)]
    return torch.cat([o for o, _ in pairs]).float(), torch.cat([y for _, y in pairs])


def score(outputs: Any, targets: Any, first: int = 1) -> tuple[str, float, float]:
    """('accuracy', of the outputs, of the largest class), ('R2', of the outputs, 0), or ('none', NaN, 0) if shapes differ.

    Classes are looked for on the axis `first`, then on the other of 1 and -1. Outputs of one unit are rounded where they are
    all in 0 … 1 or `first` is -1 (as Keras does), and else told by their sign.
    """
    said, right = np.asarray(outputs), np.asarray(targets)
    if said.ndim == right.ndim + 1 and said.shape[-1] == 1:
        said = said[..., 0]
    elif right.ndim == said.ndim + 1 and right.shape[-1] == 1:
        right = right[..., 0]
    if said.ndim == right.ndim + 1:
        for axis in (first, -first):
            if np.delete(said.shape, axis).tolist() == list(right.shape):
                return _accuracy(said.argmax(axis), right)
    if said.shape != right.shape:
        return "none", float("nan"), 0.0
    if set(np.unique(right)) <= {0, 1}:
        if right.ndim == 2 and right.shape[1] > 1 and np.all(right.sum(1) == 1):  # one-hot
            return _accuracy(said.argmax(1), right.argmax(1))
        shares = said.min() >= 0 and said.max() <= 1
        return _accuracy(np.rint(said) if shares or first == -1 else said > 0, right)
    rest, spread = ((right - said) ** 2).sum(), ((right - right.mean(0)) ** 2).sum()
    return "R2", float(1 - rest / spread), 0.0


def _accuracy(said: np.ndarray, right: np.ndarray) -> tuple[str, float, float]:
    counts = np.unique(right, return_counts=True)[1]
    return "accuracy", float((said == right).mean()), float(counts.max() / counts.sum())


def _train(setup: Setup, seed: int) -> list[float]:
    """The mean loss of every epoch; a case with a loop of its own has none."""
    if setup.loop is not None:
        setup.loop()
        return []
    if setup.loss is None:
        x, y = setup.train
        done = setup.model.fit(x, y, batch_size=setup.batch, epochs=setup.epochs, shuffle=setup.shuffle, verbose=0)
        return [float(value) for value in done.history["loss"]]
    generator, losses = torch.Generator().manual_seed(seed), []
    for _ in range(setup.epochs):
        setup.model.train()
        order = torch.randperm(len(setup.train[0]), generator=generator) if _shuffled(setup) else None
        losses.append(float(np.mean([_step(setup, x, y) for x, y in batches(setup.train, setup.batch, order)])))
        if setup.scheduler is not None:
            setup.scheduler.step()
    return losses


def _shuffled(setup: Setup) -> bool:
    return setup.shuffle and isinstance(setup.train, tuple | list)


def _step(setup: Setup, x: Any, y: Any) -> float:
    setup.optimizer.zero_grad()
    loss = setup.loss(setup.model(x), y)
    loss.backward()
    setup.optimizer.step()
    return float(loss.detach())


def measured(build: Any, seed: int) -> Measured:
    """Builds, trains and scores one program."""
    setup: Setup = build(seed)
    torch.manual_seed(seed)
    began = time.perf_counter()
    try:
        losses = _train(setup, seed)
    except Exception as error:  # noqa: BLE001 - that a user's program raises is what is to be measured
        return Measured("raised", error=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
    seconds = time.perf_counter() - began
    axis = -1 if hasattr(setup.model, "predict") else 1
    said, right = outputs_and_targets(setup, setup.train)
    kind, value, constant = score(said, right, axis)
    own = None if setup.metric is None else float(setup.metric(said, right))
    held, beside = None, 0.0
    if setup.held_out is not None:
        _, held, beside = score(*outputs_and_targets(setup, setup.held_out), axis)
    return Measured(kind, value, constant, held, beside, own, tuple(losses), seconds)


def report(case: Case, seed: int) -> str:
    """A line for the program, one for its twin, and the symptom that follows."""
    found = measured(case.build, seed)
    twin = measured(case.fixed, seed) if case.fixed is not None else None
    sign = symptom(found, twin)
    other = "" if sign == case.symptom else f" (said: {case.symptom})"
    head = f"{case.id} seed {seed} {case.fault or 'healthy'}: {sign}{other}"
    return "\n".join([head, f"    {found.text}", *([f"    fixed: {twin.text}"] if twin is not None else [])])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="ids, or beginnings of ids; none means all")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    known = cases()
    chosen = [c for c in known.values() if not asked.ids or c.id.startswith(tuple(asked.ids))]
    if not chosen:
        parser.error(f"no case begins with {', '.join(asked.ids)}")
    for case in chosen:
        for seed in range(asked.seeds):
            print(report(case, seed), flush=True)


if __name__ == "__main__":
    main()
