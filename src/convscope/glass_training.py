"""Train a glass-box network: the same loop as `fit.py`, with NumPy alone. Every number of a step can be looked at.

    y = box(x)        L = −1/B · Σ_b log softmax(y_b)[label_b]        δ = ∂L/∂y = (softmax(y) − [k = label])/B
    gradients = box.backward(δ)        θ ← a step of descent.py against them, at the rate of recipe.py

In training, batch norm takes the statistics of the batch and lets its running ones follow; dropout draws its masks from
(seed, epoch, step, layer). Order of images and rate are those of the torch engine, so from the same weights both give the
same losses up to rounding; where there is dropout, its masks differ from torch's.

Sources: backpropagation: Rumelhart, Hinton and Williams 1986; in mini-batches: Bottou 2010, "Large-Scale Machine Learning
with Stochastic Gradient Descent".
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from convscope import __version__, descent, glass_files
from convscope.errors import DataError, ShapeError, UsageError
from convscope.glass import INPUT, Call, GlassBox, Values
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.cross_entropy import CrossEntropy
from convscope.operators.dropout import Dropout
from convscope.recipe import FitSettings, differences, images_used, order_of, rate_at
from convscope.results import Origin, Run

Array = Any
Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what is going on)
FORMAT = "convscope glass-box training 1"
LOSS = CrossEntropy(reduction="sum")


class Examples(Protocol):
    """Images with known labels: how many, which (a print), and batches of them in a given order."""

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def batches(self, order: Array, size: int) -> Iterator[tuple[Array, Array] | None]:
        """For every `size` numbers of `order`, x (B, C, H, W) and labels (B,); None where no image can be used."""
        ...


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples in memory: x (N, C, H, W) and labels (N,), whole numbers from 0.

    >>> [labels.tolist() for _, labels in Arrays(np.zeros((3, 1, 2, 2)), np.arange(3)).batches(np.array([2, 0, 1]), 2)]
    [[2, 0], [1]]
    """

    x: Array
    labels: Array

    def __post_init__(self) -> None:
        if len(self.x) != len(self.labels):
            raise ShapeError(f"{len(self.labels)} labels for {len(self.x)} images", "", "give one label an image")

    @property
    def fingerprint(self) -> str:
        parts = (np.ascontiguousarray(self.x), np.asarray(self.labels, np.int64))
        return hashlib.sha256(b"".join(str(p.shape).encode() + p.tobytes() for p in parts)).hexdigest()

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, order: Array, size: int) -> Iterator[tuple[Array, Array] | None]:
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield self.x[chosen], self.labels[chosen]


class Step(NamedTuple):
    """One batch forward and backward: sum of losses, right answers, images, every value and every wanted gradient."""

    loss: float
    right: int
    images: int
    values: Values
    gradients: Values


def train(box: GlassBox, examples: Examples, held_out: Examples | None, settings: FitSettings,
          progress: Progress | None = None, checkpoint: str | Path | None = None) -> tuple[GlassBox, Run]:
    """A trained copy of `box`, in the precision of its parameters, and the record of the run.

    `checkpoint`: an `.npz` written after every epoch; if it is there already, training goes on from it, to the same bits.
    Columns of the record and Ctrl-C as in `fit.fit`. Errors: UnknownName (an optimiser that is not here), UsageError
    (nothing to train, a checkpoint of another run), DataError (labels), ShapeError (outputs), StoreError (a damaged file).

    >>> from convscope.operators.linear import Linear
    >>> box = GlassBox("toy", (Call("fc", Linear(), (INPUT, "w")),), {"w": np.zeros((2, 1))}, "fc", frozenset({"w"}))
    >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> trained, run = train(box, Arrays(x, np.array([0, 0, 1, 1])), None, FitSettings(epochs=20, rate=0.1))
    >>> run.epochs["accuracy"][-1].item(), bool(run.steps["loss"][-1] < run.steps["loss"][0])
    (1.0, True)
    """
    job = _Job(box, examples, held_out, settings)
    path = None if checkpoint is None else Path(checkpoint)
    try:
        run = job.run(progress, path)
    except KeyboardInterrupt as stop:
        kept = path is not None and path.exists()
        how = f"{path} holds the epochs before; the same call goes on from it" if kept else "no epoch was kept"
        done = len(job.epochs["epoch"])
        raise KeyboardInterrupt(f"training stopped after {done} of {settings.epochs} epochs; {how}") from stop
    return dataclasses.replace(box, parameters=job.parameters), run


def in_training(box: GlassBox) -> GlassBox:
    """The same network in training: batch norm over the batch, dropout with a mask, read by the name 'LAYER mask'."""
    def switched(call: Call) -> Call:
        if isinstance(call.operator, BatchNorm):
            return dataclasses.replace(call, operator=dataclasses.replace(call.operator, training=True))
        if isinstance(call.operator, Dropout) and call.operator.p > 0:
            reads = (call.reads[0], f"{call.name} mask")
            return dataclasses.replace(call, operator=dataclasses.replace(call.operator, train=True), reads=reads)
        return call

    return dataclasses.replace(box, calls=tuple(switched(call) for call in box.calls))


def step(box: GlassBox, parameters: Values, x: Array, labels: Array, seed: tuple[int, ...] = (0,)) -> Step:
    """Forward and backward through a network `in_training`: the gradients are those of the mean loss of the batch."""
    values: Values = {INPUT: x, **parameters}
    for at, call in enumerate(box.calls):
        mask = call.reads[1] if isinstance(call.operator, Dropout) and call.operator.train else None
        if mask is not None and isinstance(call.operator, Dropout) and call.reads[0] is not None:
            values[mask] = call.operator.mask(values[call.reads[0]].shape, (*seed, at))
        values[call.name] = box.value(call, values)
    y = _logits(values[box.output], labels)
    loss = float(LOSS.forward(y, labels))
    delta = LOSS.backward(np.asarray(1 / len(x), y.dtype), y, labels)[0]
    gradients = box.backward(values, {box.output: delta}, wanted=box.learned)
    return Step(loss, int((y.argmax(axis=1) == labels).sum()), len(x), values, gradients)


def score(box: GlassBox, examples: Examples, batch_size: int = 256) -> tuple[float, float]:
    """Mean loss (nats) and accuracy of a network as it answers when it is not trained."""
    loss = right = count = 0.0
    dtype = _dtype(box.parameters)
    for batch in examples.batches(np.arange(len(examples)), batch_size):
        if batch is not None:
            x, labels = batch
            y = _logits(box.forward(x.astype(dtype, copy=False))[box.output], labels).astype(np.float64)
            loss, right, count = loss + float(LOSS.forward(y, labels)), right + (y.argmax(1) == labels).sum(), count + len(x)
    if count == 0:
        raise DataError("no held-out image could be used", f"{len(examples)} failed", "look at the collection's `skipped`")
    return loss / count, float(right / count)


@dataclass(eq=False)
class _Job:
    box: GlassBox
    examples: Examples
    held_out: Examples | None
    settings: FitSettings
    steps: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in ("step", "epoch", "loss", "rate")})
    epochs: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in (
        "epoch", "loss", "accuracy", "held_out_loss", "held_out_accuracy", "seconds")})
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        if not self.box.learned:
            raise UsageError(f"nothing to train in {self.box.name}", "no parameter is learned", "name some in `learned`")
        self.training = in_training(self.box)
        self.parameters: Values = dict(self.box.parameters)
        self.descent = descent.make(self.settings)
        self.dtype = _dtype(self.parameters)

    def run(self, progress: Progress | None, path: Path | None) -> Run:
        used = images_used(len(self.examples), self.settings.batch_size)
        if used < len(self.examples):
            self.notes.append("the last batch of one image was left out of every epoch")
        for epoch in range(self._resume(path), self.settings.epochs):
            started = time.perf_counter()
            loss, right, count = self._epoch(epoch, used, progress)
            if not math.isfinite(loss):
                at = epoch * -(-used // self.settings.batch_size) + self.steps["epoch"].count(epoch)
                self.notes.append(f"stopped in epoch {epoch}: the loss of step {at} was not finite, so it was not taken")
                break
            held = (math.nan, math.nan)
            if self.held_out is not None:
                held = score(dataclasses.replace(self.box, parameters=self.parameters), self.held_out)
            row = (epoch, loss / count, right / count, *held, time.perf_counter() - started)
            for values, value in zip(self.epochs.values(), row, strict=True):
                values.append(value)
            if path is not None:
                self._save(path, epoch + 1)
        return self._record()

    def _epoch(self, epoch: int, used: int, progress: Progress | None) -> tuple[float, float, float]:
        """One pass: sum of losses, right answers, images."""
        settings, size = self.settings, self.settings.batch_size
        order, per_epoch = order_of(settings.seed, epoch, len(self.examples), used), -(-used // size)
        loss = right = count = 0.0
        for k, batch in enumerate(self.examples.batches(order, size)):
            if batch is None:
                continue  # every image of this batch failed
            done = step(self.training, self.parameters, batch[0].astype(self.dtype, copy=False), batch[1],
                        (settings.seed, epoch, k))
            if not math.isfinite(done.loss):
                return math.nan, right, count
            at = epoch * per_epoch + k
            rate = rate_at(settings, at, settings.epochs * per_epoch)
            self._take(done, rate)
            loss, right, count = loss + done.loss, right + done.right, count + done.images
            mean = done.loss / done.images
            for key, value in (("step", at), ("epoch", epoch), ("loss", mean), ("rate", rate)):
                self.steps[key].append(value)
            if progress is not None:
                progress(at + 1, settings.epochs * per_epoch, f"epoch {epoch + 1}/{settings.epochs}, loss {mean:.4f}")
        if count == 0:
            raise DataError("no image of a whole epoch could be used", f"{len(self.examples)} images", "look at `skipped`")
        return loss, right, count

    def _take(self, done: Step, rate: float) -> None:
        """One step of the weights, and of batch norm's running statistics."""
        learned = {name: self.parameters[name] for name in sorted(self.box.learned)}
        self.parameters |= self.descent.step(learned, done.gradients, rate)
        for call in self.training.calls:
            if isinstance(call.operator, BatchNorm) and len(call.reads) == 5:
                x, mean, var = (call.reads[i] for i in (0, 3, 4))
                if x is not None and mean is not None and var is not None:
                    self.parameters[mean], self.parameters[var] = call.operator.updated_statistics(
                        done.values[x], self.parameters[mean], self.parameters[var])

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be of this run."""
        shapes = {name: [str(a.dtype), *a.shape] for name, a in self.parameters.items()}
        held = "" if self.held_out is None else self.held_out.fingerprint
        return {"settings": self.settings.identity, "network": shapes, "train": self.examples.fingerprint,
                "held_out": held}

    def _save(self, path: Path, done: int) -> None:
        header = {"format": FORMAT, "done": done, "identity": self._identity(), "steps": self.steps, "epochs": self.epochs}
        parameters = {f"parameters/{name}": a for name, a in self.parameters.items()}
        glass_files.write(path, header, parameters | {f"memory/{name}": a for name, a in self.descent.memory.items()})

    def _resume(self, path: Path | None) -> int:
        """How many epochs are done already."""
        if path is None or not path.exists():
            return 0
        header, arrays = glass_files.read(path, "checkpoint of a glass-box training run", FORMAT)
        found = differences(header["identity"], json.loads(json.dumps(self._identity())))
        if found:
            raise UsageError(f"the checkpoint {path} is of another run", "; ".join(found)[:500],
                             "repeat the call that made it, or give another path")
        kept = {name.split("/", 1)[0]: {} for name in ("parameters/", "memory/")}
        for name, array in arrays.items():
            kept[name.split("/", 1)[0]][name.split("/", 1)[1]] = array
        self.parameters, self.descent.memory = kept["parameters"], kept["memory"]
        self.steps, self.epochs = header["steps"], header["epochs"]
        self.notes.append(f"went on from {path.name} after {header['done']} epochs")
        return int(header["done"])

    def _record(self) -> Run:
        whole = {"step", "epoch"}
        steps, epochs = ({k: np.array(v, np.int64 if k in whole else np.float64) for k, v in d.items()}
                         for d in (self.steps, self.epochs))
        about = {"images": len(self.examples), "held_out_images": 0 if self.held_out is None else len(self.held_out),
                 "parameters": sum(self.parameters[name].size for name in self.box.learned), "frozen_parameters": 0,
                 "processes": 1, "engine": "numpy", "precision": str(self.dtype)}
        origin = Origin(repr(self.settings), self.box.name, self.examples.fingerprint, self.settings.seed,
                        {"convscope": __version__, "numpy": np.__version__})
        return Run(origin=origin, steps=steps, epochs=epochs, settings=dataclasses.asdict(self.settings) | about,
                   notes=tuple(self.notes))


def _logits(y: Array, labels: Array) -> Array:
    if y.ndim != 2 or len(y) != len(labels):
        raise ShapeError("a classifier must give logits of shape (B, K)", f"got {y.shape} for {len(labels)} images",
                         "flatten what the network returns")
    return y


def _dtype(parameters: Values) -> Any:
    """The precision of a network: that of its parameters."""
    return np.result_type(*(a.dtype for a in parameters.values() if np.issubdtype(a.dtype, np.floating)))


__all__ = ["Arrays", "Examples", "Step", "in_training", "score", "step", "train"]
