"""The NumPy engine of `convscope fit`: a module becomes a glass box, the box is trained, the weights go back.

    module → graph (torch.export) → GlassBox → glass_training.train → state dict of the module

torch opens the network and reads the images; between these two, forward, backward and every step are NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope import glass_training
from convscope.collection import Collection
from convscope.errors import UsageError
from convscope.glass import GlassBox
from convscope.mechanics.reading import glass_box
from convscope.network import Network
from convscope.operators.batch_norm import BatchNorm
from convscope.recipe import FitSettings
from convscope.results import Run
from convscope.scoring import labelled

PRECISIONS = ("float32", "float64")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A collection as the NumPy loop wants it: preprocessed, in batches of arrays."""

    collection: Collection
    preprocess: Callable[..., Any]

    @property
    def fingerprint(self) -> str:
        return f"{self.collection.fingerprint} {self.preprocess!r}"

    def __len__(self) -> int:
        return len(self.collection)

    def batches(self, order: Any, size: int) -> Iterator[tuple[Any, Any] | None]:
        """x and labels of every `size` images of `order`; None where all of them failed."""
        given = self.collection.batches(self.preprocess, size, order=order)
        batch = next(given, None)
        for stop in range(size, len(order) + size, size):
            if batch is not None and batch.stop == min(stop, len(order)):
                yield batch.x.numpy(), batch.labels
                batch = next(given, None)
            else:
                yield None


def fit(module: nn.Module, train: Collection, held_out: Collection | None, preprocess: Callable[..., Any],
        settings: FitSettings, *, precision: str = "float32", progress: Progress | None = None,
        checkpoint: Path | None = None) -> Run:
    """Train `module` in place with no torch in the loop; the record of it, as `fit.fit` gives one.

    float32 is torch's own precision and faster; float64 shows that two implementations agree, its weights are rounded when
    they go back. Misleads: dropout given as a function (not a module) is not in the graph, and is left out. Errors:
    UsageError (an operation that nobody speaks for, a weight computed from others, several processes), and those of
    `glass_training.train`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"no precision named {precision!r}", "", f"use {' or '.join(PRECISIONS)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("the NumPy engine runs in one process", f"torchrun started {os.environ['WORLD_SIZE']}",
                         "leave torchrun out, or use --engine torch")
    if settings.stages or settings.old_rate != 1:
        found = f"stages={settings.stages!r}, old_rate={settings.old_rate:g}"
        raise UsageError("the NumPy engine trains all parts alike", found, "leave them out, or use --engine torch")
    examples = Prepared(labelled(train), preprocess)
    held = None if held_out is None else Prepared(labelled(held_out), preprocess)
    box = trainable(module, torch.from_numpy(preprocess(train[0]))[None], type(module).__name__).astype(np.dtype(precision))
    trained, run = glass_training.train(box, examples, held, settings, progress, checkpoint)
    put_back(trained, module, len(run.steps["step"]))
    skipped = tuple(f"{len(c.collection.skipped)} images of {c.collection.name} were skipped, e.g. "
                    f"{c.collection.skipped[0].id}: {c.collection.skipped[0].reason}"
                    for c in (examples, held) if c is not None and c.collection.skipped)
    return replace(run, notes=run.notes + skipped)


def trainable(module: nn.Module, example: Any, name: str) -> GlassBox:
    """The glass box of a module, in float64; `learned` are the parameters that require a gradient.

    Errors: UsageError where a weight is computed from parameters (weight norm): the graph has it computed once.
    """
    net = Network.open(module, example, name)
    box = glass_box(net)
    wanted = {k for k, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    nodes = {node.name: node for node in net.program.graph.nodes}
    for computed in box.parameters.keys() - set(net.parameter_names.values()) - net.tensors.keys():
        sources, found = [nodes[computed]], set[str]()
        while sources:
            node = sources.pop()
            found |= {net.parameter_names.get(node.name, "")} & wanted
            sources += node.all_input_nodes
        if found:
            raise UsageError(f"{name} cannot be trained by the NumPy engine",
                             f"{computed} is computed from {', '.join(sorted(found))} ahead of the image",
                             "use --engine torch, or remove the reparametrisation (weight norm) first")
    return replace(box, learned=box.learned & wanted)


def put_back(box: GlassBox, module: nn.Module, steps: int) -> None:
    """Write the weights of a box into the module that it was read from; batch norm counts the batches it has seen."""
    state = module.state_dict()
    changed = {k: torch.from_numpy(np.array(v)) for k, v in box.parameters.items() if k in state}
    for call in box.calls:
        mean = call.reads[3] if isinstance(call.operator, BatchNorm) and len(call.reads) == 5 else None
        counter = (mean or "").removesuffix("running_mean") + "num_batches_tracked"
        if mean is not None and counter in state:
            changed[counter] = changed[counter] + steps if counter in changed else state[counter] + steps
    module.load_state_dict(changed, strict=False)


__all__ = ["PRECISIONS", "Prepared", "fit", "put_back", "trainable"]
