"""Train a network that answers for every pixel. It resumes exactly, as `fit` does, and by the same settings.

    labels   loss = −1/P · Σ_p log softmax(f(x))[y_p, p]         P pixels of the batch whose label is known
    pixels   loss = 1/(B·C·H·W) · Σ (f(x) − x)²                  an autoencoder: the image itself is what is wanted

The order of images and the seed of dropout follow from (seed, epoch), the rate from the step (see `recipe.py`). One process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope import __version__, checkpoints
from convscope.errors import ShapeError, UsageError
from convscope.optimizers import make_optimizer
from convscope.recipe import FitSettings, images_used, order_of, rate_at
from convscope.results import Origin, Run
from convscope.scoring import left_as_it_was
from convscope.segmenting.overlap import confusion, images_of, in_evaluation, ious, scored
from convscope.segmenting.scenes import Labelled

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Task:
    """What is learned from what. `wanted`: 'labels' (a class a pixel) or 'pixels' (the image itself, as it is read)."""

    train: Labelled
    preprocess: Callable[..., Any]
    held_out: Labelled | None = None
    wanted: str = "labels"

    def __post_init__(self) -> None:
        if self.wanted not in ("labels", "pixels"):
            raise UsageError(f"a network cannot learn {self.wanted!r} here", "labels or pixels", "wanted='labels'")

    def loss(self, model: nn.Module, data: Labelled, which: Any, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Mean loss of these images; the outputs, and what was wanted of them."""
        x = images_of(data, which, self.preprocess).to(device)
        if self.wanted == "labels":
            out, labels = scored(model, x, data), torch.from_numpy(data.labels[np.asarray(which)]).to(device)
            return F.cross_entropy(out, labels, ignore_index=-1), out, labels
        out = model(x)
        if out.shape != x.shape:
            raise ShapeError("an autoencoder must give what it reads", f"it reads {tuple(x.shape[1:])} and gives "
                             f"{tuple(out.shape[1:])}", "`convscope edit NETWORK mirror` makes one; for classes "
                             "wanted='labels'")
        return F.mse_loss(out, x), out, x


def train(model: nn.Module, task: Task, settings: FitSettings | None = None, progress: Progress | None = None,
          checkpoint: str | Path | None = None) -> Run:
    """Train `model` in place; the record of it. Modes, gradients and random generators come back as they were.

    `checkpoint`: a file written after every epoch; if it is there already, training goes on from it, to the same bits.
    `steps`: step, epoch, loss, rate. `epochs`: epoch, loss (mean over the steps), held_out_loss, held_out_iou (mean
    intersection over union; NaN for pixels, or without held-out images), seconds. Errors: UsageError (nothing to train, a
    checkpoint of another run, a loss that is not finite), ShapeError (outputs), StoreError (a damaged checkpoint).

    >>> from convscope.images import PRESETS
    >>> from convscope.segmenting import scenes
    >>> net = nn.Conv2d(3, 5, 3, padding=1)
    >>> run = train(net, Task(scenes(4, 24), PRESETS["signed"]), FitSettings(epochs=2, batch_size=2))
    >>> len(run.steps["loss"])
    4
    """
    job = _Job(model, task, settings or FitSettings())
    path = None if checkpoint is None else Path(checkpoint)
    with left_as_it_was(model):
        return job.run(progress, path)


@dataclass(eq=False)
class _Job:
    model: nn.Module
    task: Task
    settings: FitSettings
    steps: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in ("step", "epoch", "loss", "rate")})
    epochs: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in (
        "epoch", "loss", "held_out_loss", "held_out_iou", "seconds")})
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not self.parameters:
            raise UsageError(f"nothing to train in {type(self.model).__name__}", "no parameter requires a gradient",
                             "set requires_grad on some")
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(self.settings, self.parameters)
        self.used = images_used(len(self.task.train), self.settings.batch_size)
        if self.used < len(self.task.train):
            self.notes.append("the last batch of one image was left out of every epoch")

    def run(self, progress: Progress | None, path: Path | None) -> Run:
        begun = 0 if path is None or not path.exists() else self._resume(path)
        for epoch in range(begun, self.settings.epochs):
            started = time.perf_counter()
            loss = self._epoch(epoch, progress)
            held, iou = self._held_out()
            row = (epoch, loss, held, iou, time.perf_counter() - started)
            for values, value in zip(self.epochs.values(), row, strict=True):
                values.append(value)
            if path is not None:
                checkpoints.save(path, {"done": epoch + 1, "identity": self._identity(), "steps": self.steps,
                                        "epochs": self.epochs, "model": self.model.state_dict(),
                                        "optimizer": self.optimizer.state_dict()})
        whole = {"step", "epoch"}
        steps, epochs = ({k: np.array(v, np.int64 if k in whole else np.float64) for k, v in d.items()}
                         for d in (self.steps, self.epochs))
        about = {"wanted": self.task.wanted, "images": len(self.task.train),
                 "parameters": sum(p.numel() for p in self.parameters)}
        origin = Origin(repr(self.settings), type(self.model).__name__, _print(self.task.train), self.settings.seed,
                        {"convscope": __version__, "torch": str(torch.__version__)})
        return Run(origin=origin, steps=steps, epochs=epochs, settings=dataclasses.asdict(self.settings) | about,
                   notes=tuple(self.notes))

    def _epoch(self, epoch: int, progress: Progress | None) -> float:
        size, total = self.settings.batch_size, -(-self.used // self.settings.batch_size)
        order = order_of(self.settings.seed, epoch, len(self.task.train), self.used)
        torch.manual_seed(self.settings.seed * 1_000_003 + epoch)  # of dropout; the caller's state comes back
        self.model.train()
        losses: list[float] = []
        for k in range(total):
            step = epoch * total + k
            loss, _, _ = self.task.loss(self.model, self.task.train, order[k * size : (k + 1) * size], self.device)
            if not math.isfinite(loss.item()):
                raise UsageError(f"the loss of step {step} is {loss.item()}", f"rate {self.settings.rate:g}, "
                                 f"{self.settings.optimizer}; labels known: {bool((self.task.train.labels >= 0).any())}",
                                 "a smaller rate, or labels that are not all −1")
            rate = rate_at(self.settings, step, self.settings.epochs * total)
            for options in self.optimizer.param_groups:
                options["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            for key, value in (("step", step), ("epoch", epoch), ("loss", losses[-1]), ("rate", rate)):
                self.steps[key].append(value)
            if progress is not None:
                progress(step + 1, self.settings.epochs * total,
                         f"epoch {epoch + 1}/{self.settings.epochs}, loss {losses[-1]:.4f}")
        return float(np.mean(losses))

    def _held_out(self) -> tuple[float, float]:
        """Mean loss, weighted by images, and mean intersection over union."""
        data, size = self.task.held_out, 32
        if data is None:
            return math.nan, math.nan
        total, k = 0.0, len(data.classes)
        counts = np.zeros((k, k), np.int64)
        with in_evaluation(self.model), torch.no_grad():
            for start in range(0, len(data), size):
                which = np.arange(start, min(start + size, len(data)))
                loss, out, _ = self.task.loss(self.model, data, which, self.device)
                total += loss.item() * len(which)
                if self.task.wanted == "labels":
                    counts += confusion(data.labels[which], out.argmax(1).cpu().numpy(), k)
        iou = ious(counts)
        return total / len(data), float(np.nanmean(iou)) if not np.isnan(iou).all() else math.nan

    def _identity(self) -> dict[str, Any]:
        shapes = {name: list(t.shape) for name, t in self.model.state_dict().items()}
        held = "" if self.task.held_out is None else _print(self.task.held_out)
        return {"settings": dataclasses.asdict(self.settings), "network": shapes, "train": _print(self.task.train),
                "held_out": held, "preprocess": repr(self.task.preprocess), "wanted": self.task.wanted}

    def _resume(self, path: Path) -> int:
        state = checkpoints.load(path, self._identity())
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.epochs = state["steps"], state["epochs"]
        self.notes.append(f"went on from {path.name} after {state['done']} epochs")
        return state["done"]


def _print(data: Labelled) -> str:
    """A fingerprint of images and labels."""
    digest = hashlib.blake2b(repr((data.pixels.shape, data.classes)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(data.pixels).data)
    digest.update(np.ascontiguousarray(data.labels).data)
    return digest.hexdigest()
