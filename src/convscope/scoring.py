"""How good is a classifier on a collection? Accuracy and cross-entropy, leaving the network as it was.

    accuracy = 1/N · Σ_n [argmax_k f(x_n)_k = y_n]            loss = −1/N · Σ_n log softmax(f(x_n))[y_n]   (nats)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.collection import Batch, Collection
from convscope.errors import DataError, ShapeError
from convscope.processes import Group


class Score(NamedTuple):
    """How good is a classifier on a collection? Share of right answers, mean cross-entropy in nats, images counted."""

    accuracy: float
    loss: float
    images: int


def evaluate(model: nn.Module, collection: Collection, preprocess: Callable[..., Any], batch_size: int = 256) -> Score:
    """How often is the network right, in evaluation mode, on images whose label is known?

    Accuracy 0 … 1, loss in nats (formulas at the top of this file); alike for every `batch_size`. Errors: DataError
    (no labels, no readable image), ShapeError (outputs that are no logits (B, K), fewer outputs than classes).

    >>> from convscope import data, images
    >>> constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)
    >>> for p in constant.parameters(): _ = p.zero_()
    >>> found = evaluate(constant, data.open_collection("digits"), images.PRESETS["digits"])
    >>> round(found.loss, 4), round(found.accuracy, 3)  # ln 10; it always says 0
    (2.3026, 0.099)
    """
    with left_as_it_was(model):
        return score(model, labelled(collection), preprocess, batch_size, Group())


def score(model: nn.Module, collection: Collection, preprocess: Callable[..., Any], size: int, group: Group) -> Score:
    """Every process scores every `world`-th image; the sums are in float64."""
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    order = np.arange(group.rank, len(collection), group.world)
    with torch.no_grad():
        for batch in collection.batches(preprocess, size, order=order):
            output, labels = forward(model, batch, device)
            loss = F.cross_entropy(output.double(), labels, reduction="sum")
            sums += torch.stack([(output.argmax(1) == labels).sum().double(), loss, torch.ones_like(loss) * len(labels)])
    right, loss, count = group.add_up(sums).tolist()
    if count == 0:
        raise DataError(f"no image of {collection.name} could be used", f"{len(collection)} failed", "look at `skipped`")
    return Score(right / count, loss / count, int(count))


def forward(model: nn.Module, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits (B, K) and labels (B,)."""
    labels = torch.from_numpy(batch.labels).to(device)
    output: Any = model(batch.x.to(device))
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(labels):
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ShapeError("a classifier must give logits of shape (B, K)", f"got {found} for {len(labels)} images",
                         "wrap the network so that it returns its logits alone")
    if int(labels.max()) >= output.shape[1]:
        raise ShapeError(f"the network tells {output.shape[1]} classes apart", f"a label is {int(labels.max())}",
                         "give it one output a class")
    return output, labels


def labelled(collection: Collection) -> Collection:
    """The images whose label is known."""
    known = np.flatnonzero(collection.labels >= 0)
    if len(known) == 0:
        raise DataError(f"{collection.name} has no labels", f"{len(collection)} images, all unknown",
                        "use a folder of class folders, or an archive with labels")
    return collection if len(known) == len(collection) else collection.take(known)


@contextlib.contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Modes, gradients, what is frozen, and random generators come back, whatever happens. (But not weights.)"""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            for p, grad, wanted in gradients:
                p.grad = grad
                p.requires_grad_(wanted)
