"""Train a classifier: a small loop that resumes exactly and runs unchanged under `torchrun --nproc-per-node N`.

    loss = −1/B · Σ_b log softmax(f(x_b))[y_b]            θ ← optimiser(θ, ∂loss/∂θ, rate(step))

Nothing random is carried from epoch to epoch: the order of images and the seed of dropout follow from (seed, epoch), the
rate from the step. So a checkpoint is weights, optimiser state and the record so far, and going on from it gives the bits
of a run that never stopped. The caller's random generators, module modes and gradients are left as they were.

Several processes (Li et al. 2020, "PyTorch Distributed", without its hooks on the model): each takes its part of each batch,
and the gradients of the summed loss are added up before the step. A process without images in a batch adds zeros. Batch norm
sees only its own process's part; the running statistics of process 0 are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope import __version__, checkpoints
from convscope.checkpoints import Kept
from convscope.collection import Batch, Collection
from convscope.errors import DataError, UsageError
from convscope.optimizers import make_optimizer
from convscope.processes import Group, processes
from convscope.recipe import FitSettings, images_used, order_of, rate_at
from convscope.results import Origin, Run
from convscope.scoring import Score, evaluate, forward, labelled, left_as_it_was, score
from convscope.stages import Plan
from convscope.watch import Watch

__all__ = ["FitSettings", "Score", "evaluate", "fit"]
Progress = Callable[[int, int, str], None]  # (steps done, steps in all, what is going on)

def fit(model: nn.Module, train: Collection, held_out: Collection | None, preprocess: Callable[..., Any],
        settings: FitSettings | None = None, progress: Progress | None = None, checkpoint: str | Path | None = None,
        kept: Kept | None = None, watched: bool = False) -> Run:
    """Train `model` in place on the labelled images of `train`; the record of it.

    `checkpoint` is a file written after every epoch; if it is there already, training goes on from it. Ctrl-C keeps it.
    `kept` says where and how often to keep weights along the way, the initial ones among them. `watched` measures the
    layers and the loop as `watch` does; weights and losses are the same bits.
    `steps` has a value a step: step, epoch, loss (mean over the batch, nats), rate. `epochs`: epoch, loss and accuracy (met
    while training), held_out_loss and held_out_accuracy (NaN without held-out images), seconds. A loss that is not finite
    ends the run before that step is taken; `notes` tells. What requires no gradient stays as it is, statistics of its batch
    norm included, unless a stage names it (`stages.py`). Errors: DataError (labels), ShapeError (outputs), UsageError (a
    checkpoint of another run), StoreError (a damaged one).

    >>> from convscope.data import open_collection
    >>> from convscope.images import PRESETS
    >>> rest, held_out = open_collection("digits").split(0.2, seed=0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> run = fit(net, rest, held_out, PRESETS["digits"], FitSettings(epochs=2))
    >>> len(run.epochs["loss"]), bool(run.epochs["held_out_accuracy"][-1] > 0.4)
    (2, True)
    """
    settings = settings or FitSettings()
    job = _Job(model, labelled(train), None if held_out is None else labelled(held_out), preprocess, settings, kept)
    path = None if checkpoint is None else Path(checkpoint)
    eye = Watch(model, job.optimizer) if watched else None
    with left_as_it_was(model), processes(job.device) as group, eye or contextlib.nullcontext():
        try:
            run = job.run(group, progress if group.rank == 0 else None, path)
            return run if eye is None else _with_health(run, eye.result())
        except KeyboardInterrupt as stop:
            there = path is not None and path.exists()
            how = f"{path} holds the epochs before; the same call goes on from it" if there else "no epoch was kept"
            done = len(job.epochs["epoch"])
            raise KeyboardInterrupt(f"training stopped after {done} of {settings.epochs} epochs; {how}") from stop


def _with_health(run: Run, seen: Run) -> Run:
    """The record with what the watch saw; its steps are counted on from a checkpoint's."""
    began = len(run.steps["step"]) - len(seen.steps["step"])
    steps = run.steps | {"grad_norm": np.concatenate([np.full(began, np.nan), seen.steps["grad_norm"]])}
    health = seen.health | ({"step": seen.health["step"] + began} if seen.health else {})
    return dataclasses.replace(run, steps=steps, layers=seen.layers, health=health, loop=seen.loop,
                               notes=run.notes + seen.notes)


@dataclass(eq=False)
class _Job:
    model: nn.Module
    train: Collection
    held_out: Collection | None
    preprocess: Callable[..., Any]
    settings: FitSettings
    kept: Kept | None = None
    steps: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in ("step", "epoch", "loss", "rate")})
    epochs: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in (
        "epoch", "loss", "accuracy", "held_out_loss", "held_out_accuracy", "seconds")})
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.plan = Plan(self.model, self.settings)
        self.parameters = self.plan.parameters
        if not self.parameters:
            raise UsageError(f"nothing to train in {type(self.model).__name__}", "no parameter requires a gradient",
                             "set requires_grad on some, or name what is to train: stages='all:10'")
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(self.settings, self.plan.groups)
        self.notes += self.plan.notes

    def run(self, group: Group, progress: Progress | None, path: Path | None) -> Run:
        size = self.settings.batch_size
        if size < group.world:
            raise UsageError("batch_size must be at least the number of processes",
                             f"{size} images, {group.world} processes", "each takes its part of every batch")
        for tensor in _tensors(self.model).values():
            group.copy_from_first(tensor)
        n = images_used(len(self.train), size)
        if n < len(self.train):
            self.notes.append("the last batch of one image was left out of every epoch")
        per_epoch = -(-n // size)
        begun = self._resume(path, group)
        if begun == 0:
            self._keep(0, 0, group)
        for epoch in range(begun, self.settings.epochs):
            started = time.perf_counter()
            sums = self._epoch(epoch, n, group, progress)
            if not np.isfinite(sums).all():
                step = epoch * per_epoch + len([e for e in self.steps["epoch"] if e == epoch])
                self.notes.append(f"stopped in epoch {epoch}: the loss of step {step} was not finite, so it was not taken")
                break
            self._close_epoch(epoch, sums, group, time.perf_counter() - started)
            self._keep(epoch + 1, None, group)
            if path is not None and group.rank == 0:
                checkpoints.save(path, self._state(epoch + 1, group.world))
            group.add_up(torch.zeros(1, device=self.device))  # nobody runs ahead of the file
        return self._record(group)

    def _epoch(self, epoch: int, n: int, group: Group, progress: Progress | None) -> tuple[float, float, float]:
        """One pass: sum of losses, right answers, images."""
        order = order_of(self.settings.seed, epoch, len(self.train), n)
        size, per_epoch = self.settings.batch_size, -(-n // self.settings.batch_size)
        _seed(self.device, (self.settings.seed * 1_000_003 + epoch) * 1009 + group.rank)
        self.model.train()
        self.plan.begin(epoch)
        loss = right = count = 0.0
        for k, batch in enumerate(_parts(self.train, self.preprocess, order, size, group)):
            step = epoch * per_epoch + k
            rate = rate_at(self.settings, step, self.settings.epochs * per_epoch)
            batch_loss, batch_right, images = self._gradients(batch, group)
            if images == 0:
                continue  # every image of this batch failed; they are in `skipped`
            if not math.isfinite(batch_loss):
                return math.nan, right, count
            for options in self.optimizer.param_groups:
                options["lr"] = rate * options.get("share", 1.0)
            self.optimizer.step()
            self._keep(None, step + 1, group)
            loss, right, count = loss + batch_loss, right + batch_right, count + images
            for key, value in (("step", step), ("epoch", epoch), ("loss", batch_loss / images), ("rate", rate)):
                self.steps[key].append(value)
            if progress is not None:
                progress(step + 1, self.settings.epochs * per_epoch,
                         f"epoch {epoch + 1}/{self.settings.epochs}, loss {batch_loss / images:.4f}")
        if count == 0:
            raise DataError("no image of a whole epoch could be used", f"{len(self.train)} images", "look at `skipped`")
        return loss, right, count

    def _gradients(self, batch: Batch | None, group: Group) -> tuple[float, float, float]:
        """Gradients of the batch's mean loss, over all processes. Sum of losses, right answers, images."""
        images = group.add_up(torch.tensor([0.0 if batch is None else float(len(batch.ids))], device=self.device)).item()
        self.optimizer.zero_grad(set_to_none=True)
        told = torch.zeros(2, device=self.device)
        if batch is not None:
            output, labels = forward(self.model, batch, self.device)
            loss = F.cross_entropy(output, labels, reduction="sum")
            (loss / images).backward()
            right = (output.argmax(1) == labels).sum()
            told = torch.stack([loss.detach(), right]).to(torch.promote_types(loss.dtype, torch.float32))
        if group.world > 1:
            used = torch.tensor([p.grad is not None for p in self.parameters], device=self.device).float()
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
            flat = group.add_up(torch.cat([told, used, *(g.reshape(-1) for g in grads)]))
            told, used, *parts = flat.split([2, len(used), *(p.numel() for p in self.parameters)])
            for p, someone, part in zip(self.parameters, used.tolist(), parts, strict=True):
                p.grad = part.view_as(p).to(p.dtype).clone() if someone else None
        return told[0].item(), told[1].item(), images

    def _keep(self, epochs: int | None, steps: int | None, group: Group) -> None:
        """Keep the weights for good, if it is the turn of these epochs or steps."""
        if self.kept is None or group.rank != 0:
            return
        for unit, done in (("epochs", epochs), ("steps", steps)):
            if done is not None:
                self.kept.see(unit, done, self.model.state_dict())

    def _close_epoch(self, epoch: int, sums: tuple[float, float, float], group: Group, seconds: float) -> None:
        loss, right, count = sums
        for buffer in self.model.buffers():
            group.copy_from_first(buffer)
        held = Score(math.nan, math.nan, 0)
        if self.held_out is not None:
            held = score(self.model, self.held_out, self.preprocess, 256, group)
        row = (epoch, loss / count, right / count, held.loss, held.accuracy, seconds)
        for values, value in zip(self.epochs.values(), row, strict=True):
            values.append(value)

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be of this run."""
        shapes = {name: list(t.shape) for name, t in _tensors(self.model).items()}
        held = "" if self.held_out is None else self.held_out.fingerprint
        return {"settings": self.settings.identity, "network": shapes, "train": self.train.fingerprint,
                "held_out": held, "preprocess": repr(self.preprocess)}

    def _state(self, done: int, world: int) -> dict[str, Any]:
        tensors, kept = _tensors(self.model), self.model.state_dict().keys()  # 'model' can be loaded as weights elsewhere
        return {"done": done, "processes": world, "identity": self._identity(), "steps": self.steps, "epochs": self.epochs,
                "model": {k: v for k, v in tensors.items() if k in kept},
                "transient": {k: v for k, v in tensors.items() if k not in kept}, "optimizer": self.optimizer.state_dict()}

    def _resume(self, path: Path | None, group: Group) -> int:
        """The first epoch that is still to do."""
        if path is None or not path.exists():
            return 0
        state = checkpoints.load(path, self._identity())
        with torch.no_grad():
            for name, tensor in _tensors(self.model).items():
                tensor.copy_({**state["model"], **state["transient"]}[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.epochs = state["steps"], state["epochs"]
        self.notes.append(f"went on from {path.name} after {state['done']} epochs")
        if state["processes"] != group.world:
            self.notes.append(f"begun by {state['processes']} processes, now {group.world}: equal up to rounding")
        return state["done"]

    def _record(self, group: Group) -> Run:
        for part in (self.train, *([] if self.held_out is None else [self.held_out])):
            if part.skipped:
                self.notes.append(f"{len(part.skipped)} images of {part.name} were skipped, e.g. {part.skipped[0].id}: "
                                  f"{part.skipped[0].reason}")
        whole = {"step", "epoch"}
        steps, epochs = ({k: np.array(v, np.int64 if k in whole else np.float64) for k, v in d.items()}
                         for d in (self.steps, self.epochs))
        about = {"images": len(self.train), "held_out_images": 0 if self.held_out is None else len(self.held_out),
                 "parameters": sum(p.numel() for p in self.parameters), "frozen_parameters": self.plan.frozen,
                 "processes": group.world}
        origin = Origin(repr(self.settings), type(self.model).__name__, self.train.fingerprint, self.settings.seed,
                        {"convscope": __version__, "torch": str(torch.__version__)})
        return Run(origin=origin, steps=steps, epochs=epochs, settings=dataclasses.asdict(self.settings) | about,
                   notes=tuple(self.notes))


def _parts(train: Collection, preprocess: Callable[..., Any], order: Any, size: int, group: Group) -> Iterator[Batch | None]:
    """This process's part of every batch of `order`; None where it has no image."""
    spans = [np.array_split(order[a : a + size], group.world)[group.rank] for a in range(0, len(order), size)]
    mine = train.batches(preprocess, len(spans[0]), order=np.concatenate(spans))  # only the last span may be shorter
    batch = next(mine, None)
    with contextlib.closing(mine):
        for k in range(len(spans)):
            if batch is not None and (batch.stop - 1) // len(spans[0]) == k:
                yield batch
                batch = next(mine, None)
            else:
                yield None


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, those that a state dict leaves out as well."""
    found = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach() for name, tensor in found}


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators that dropout draws from, and no others."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
