"""From a reference and a collection to a trained network on disk: what `convscope fit` and `convscope demo` share.

A folder holds a checkpoint to go on from (`checkpoint.pt`, or `checkpoint.npz` of the NumPy engine), `weights.safetensors`,
`preprocess.json`, `classes.txt` and `run.npz`; with `keep_every`, weights along the way in `kept/`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from convscope import opening, store
from convscope.checkpoints import Kept
from convscope.collection import Collection
from convscope.data import open_collection
from convscope.errors import DataError, UsageError, unknown
from convscope.fit import FitSettings, fit
from convscope.images import PRESETS, Preprocess, sized
from convscope.network import Network
from convscope.opening.beside import Beside
from convscope.results import Run

Progress = Callable[[int, int, str], None]
ENGINES = ("torch", "numpy")


def train(
    network: Any,
    images: Any,
    *,
    held_out: float,
    out: Path | None,
    progress: Progress | None,
    preprocess: Preprocess | None,
    weights: str | Path | None,
    settings: Mapping[str, Any],
) -> tuple[Network, Run]:
    """Train a copy of `network` on a share of `images`; the user's own module, or opened network, is left as it is.

    `settings` are those of `FitSettings`, and `engine` ('torch' or 'numpy') with, for 'numpy', `precision`, for 'torch',
    `keep_every` (5, '5 epochs' or '100 steps').
    """
    source = _source(network)
    module, example = source.module, source.example
    beside = Beside.of((None if weights is None else Path(weights).parent, source.folder))
    if weights is not None:
        from convscope.opening import weights as reader

        module, _ = reader.load_into(module, Path(weights), ours=source.ours)
    if module is source.module and not source.ours:
        import copy

        module = copy.deepcopy(module)
    collection = open_collection(images)
    rest, held = collection.split(held_out, int(settings.get("seed", 0)))
    prepared = sized(preprocess or source.preprocess or beside.preprocess() or PRESETS["unit"], _shape(example, rest))
    _check_outputs(module, prepared, rest)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    run = _fitted(module, (rest, held), prepared, dict(settings), progress, out)
    net = Network.open(
        module,
        torch.from_numpy(prepared(rest[0]))[None],
        source.name,
        reference=network if isinstance(network, str) else "",
        classes=collection.classes,
        preprocess=prepared,
    )
    if out is not None and os.environ.get("RANK", "0") == "0":
        keep(out, module, prepared, collection.classes, run)
    return net, run


def _source(network: Any) -> opening.Source:
    """What is to be trained: a reference, a module, or the module of a network that is open (an edited one, say)."""
    if not isinstance(network, Network):
        return opening.find(network)
    if network.module is None:
        raise UsageError("a network without a module cannot be trained", f"{network!r} is a graph alone",
                         "give its module, or a reference to code that makes one")
    return opening.Source(network.module, network.name, tuple(network.input_shape[1:]), network.preprocess, ours=False)


def _fitted(
    module: torch.nn.Module,
    images: tuple[Collection, Collection],
    prepared: Preprocess,
    settings: dict[str, Any],
    progress: Progress | None,
    out: Path | None,
) -> Run:
    """The run, by the engine that is asked for. Each keeps a checkpoint of its own kind."""
    engine, precision = settings.pop("engine", "torch"), settings.pop("precision", None)
    watched = settings.pop("watch", False)
    kept = _kept(settings.pop("keep_every", None), engine, out)
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    chosen = FitSettings(**settings)
    if settings.get("epochs", chosen.epochs) != chosen.epochs:
        raise UsageError(f"the stages take {chosen.epochs} epochs", f"got epochs={settings['epochs']}", "leave --epochs out")
    if engine == "torch":
        if precision is not None:
            raise UsageError(
                "precision is a setting of the NumPy engine", f"got {precision!r}", "add --engine numpy, or leave it out"
            )
        checkpoint = None if out is None else out / "checkpoint.pt"
        return fit(module, *images, prepared, chosen, progress, checkpoint, kept, watched)
    if watched:
        raise UsageError("the NumPy engine cannot be watched", "there is no torch in its loop", "use --engine torch")
    from convscope.mechanics import engine as numpy_engine

    return numpy_engine.fit(
        module,
        *images,
        prepared,
        chosen,
        precision=precision or "float32",
        progress=progress,
        checkpoint=None if out is None else out / "checkpoint.npz",
    )


def _kept(every: Any, engine: str, out: Path | None) -> Kept | None:
    """Where and how often to keep weights along the way."""
    if every is None:
        return None
    if engine != "torch":
        raise UsageError("the NumPy engine keeps no weights along the way", f"got keep_every={every!r}",
                         "use --engine torch")
    if out is None:
        raise UsageError("there is no folder to keep weights in", f"got keep_every={every!r}", "name it: --out FOLDER")
    return Kept.read(out / "kept", every)


def _shape(example: Any, rest: Any) -> tuple[int, ...]:
    """(C, H, W) that the network reads: its own example's, else that of the first image."""
    if isinstance(example, torch.Tensor):
        return tuple(example.shape[1:])
    if isinstance(example, tuple) and len(example) in (3, 4):
        return tuple(example[-3:])
    h, w, c = rest[0].shape
    return c, h, w


def _check_outputs(module: torch.nn.Module, preprocess: Preprocess, rest: Any) -> None:
    """One image through a twin, so that a wrong number of classes is said before an epoch is spent."""
    from convscope.export import twin

    with torch.no_grad():
        outputs = twin(module)(torch.from_numpy(preprocess(rest[0]))[None])
    classes = len(rest.classes)
    if outputs.ndim != 2 or outputs.shape[1] < classes:
        raise DataError(
            f"{classes} classes do not fit this network",
            f"its output is {tuple(outputs.shape)}",
            f"give it {classes} outputs, for example (num_classes={classes}), or a new head: convscope edit … replace-head",
        )


def keep(out: Path, module: torch.nn.Module, preprocess: Preprocess, classes: tuple[str, ...], run: Run) -> None:
    """Write what `opening.demo` and the command line open again: weights, preprocessing, class names, the record."""
    from safetensors.torch import save

    with store.atomic(out / "weights.safetensors") as file:
        # tensors that share their numbers are written once each: the format knows no sharing
        file.write(save({k: v.detach().clone().contiguous() for k, v in module.state_dict().items()}))
    preprocess.save(out / "preprocess.json")
    with store.atomic(out / "classes.txt") as file:
        file.write("\n".join(classes).encode())
    store.write(dataclasses.replace(run), out / "run.npz")
