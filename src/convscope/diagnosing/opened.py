"""A training program by reference: a factory that gives (model, data, loss, optimizer), or a network with data beside it.

train.py:setup                 def setup(): return model, data, loss, optimizer        (or a dict with these names)
zoo:lenet5 with --data DIR     images through the network's own preprocessing; cross-entropy and Adam unless said
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from convscope import opening
from convscope.data import open_collection
from convscope.diagnosing import given
from convscope.diagnosing.examples import Examples, tensor
from convscope.diagnosing.program import Program, left_alone
from convscope.errors import DataError, OpeningError, UsageError
from convscope.images import PRESETS, sized
from convscope.opening import factory

WORDS = ("model", "data", "loss", "optimizer")
MOST = 2048  # images read


def program(reference: str, data: Any = None, loss: Any = None, optimizer: Any = None, *,
            network: Mapping[str, Any] | None = None, **words: Any) -> Program:  # fmt: skip
    """Open a program. `network`: how to open a network (`opening.open`); `words` as in `given.program`. Errors: as there."""
    loss = _function(loss)
    if ":" in reference and not reference.startswith(("zoo:", "demo:", "timm:", "torchvision:", "hf:")):
        found = _made(reference)
        if found is not None:
            more = {k: v for k, v in found.items() if k not in WORDS}
            parts = {"model": found["model"], "data": found.get("data") if data is None else _data(data, None),
                     "loss": loss or found.get("loss"), "optimizer": optimizer or found.get("optimizer")}  # fmt: skip
            return given.program(*(parts[w] for w in WORDS), **{**more, **{k: v for k, v in words.items() if v is not None}})
    net = opening.open(reference, **(network or {}))
    if net.module is None:
        raise UsageError(f"training {net.name}", "it is a graph for inference", "give the module it was made from")
    if data is None:
        raise UsageError("data to train on", "none was given", "--data FOLDER, an archive, digits, or an .npz with x and y")
    examples = _data(data, net)
    held = words.pop("held_out", None)
    if isinstance(held, float):
        examples, held = _split(examples, held)
    return given.program(net.module, examples, loss or "cross-entropy", optimizer or "adam:0.001", held_out=held, **words)


def _made(reference: str) -> dict[str, Any] | None:
    """What a factory gives, where it gives a program; None where it gives a network."""
    with left_alone():
        torch.manual_seed(0)  # data may be drawn where the file is read, weights where the function is called
        thing, args, kwargs, _, _, _ = factory.named(reference)
        if isinstance(thing, torch.nn.Module) or not callable(thing):
            return None
        torch.manual_seed(0)
        try:
            made: Any = thing(*args, **kwargs)
        except Exception as problem:  # whatever the user's own function raises is told with its remedy
            raise OpeningError(f"{reference} fails when it is called", f"{type(problem).__name__}: {problem}",
                               "call it in Python and mend it there") from problem  # fmt: skip
    if isinstance(made, dict):
        found: dict[str, Any] = made
    elif isinstance(made, tuple) and 2 <= len(cast("tuple[Any, ...]", made)) <= 4:
        found = dict[str, Any](zip(WORDS, cast("tuple[Any, ...]", made), strict=False))
    else:
        return None
    if "model" not in found:
        raise UsageError(f"a program of {reference}", f"it gives {', '.join(found)}", "give model, data, loss and optimizer")
    return found


def _function(loss: Any) -> Any:
    """'file.py:loss' → that function; a name stays a name."""
    if isinstance(loss, str) and ":" in loss:
        made, args, kwargs, _, _, _ = factory.named(loss)
        return made if callable(made) and "(" not in loss else made(*args, **kwargs)
    return loss


def _data(data: Any, net: Any) -> Any:
    """An .npz with x and y as it is; anything else as a collection of images."""
    if isinstance(data, (str, Path)) and str(data).endswith(".npz") and Path(data).is_file():
        with np.load(data, allow_pickle=False) as archive:
            if "x" in archive.files and (net is None or net.preprocess is None):
                return tuple(tensor(archive[k], k) for k in ("x", "y") if k in archive.files)
    if not isinstance(data, (str, Path)):
        return data
    if str(data).endswith(".npz") and not Path(data).is_file():
        raise DataError(f"data in {data}", "there is no such file", "the path is taken from where you are")
    if net is None:
        raise UsageError("data of a program that brings its own preprocessing", f"got {data}", "an .npz with arrays x and y")
    images = open_collection(data)
    prepared = sized(net.preprocess or PRESETS["unit"], tuple(net.input_shape[1:]))  # as `fit` does
    order = np.random.default_rng(0).permutation(len(images))[:MOST]
    parts = [(b.x, b.labels) for b in images.batches(prepared, 256, order=np.sort(order))]
    x = torch.cat([torch.as_tensor(p[0]) for p in parts])
    y = torch.from_numpy(np.concatenate([p[1] for p in parts]).astype(np.int64))
    notes = () if len(images) <= MOST else (f"{MOST:,} of {len(images):,} images were looked at (seed 0)",)
    if net.preprocess is None:
        notes += ("no preprocessing is known: pixels were taken as 0 … 1, at the network's size; --preprocess says another",)
    return Examples(x, None if bool((y < 0).all()) else y, total=len(images), notes=notes)


def _split(examples: Any, share: float) -> tuple[Examples, Examples]:
    found = given.read(examples)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(found)))
    cut = max(1, round(share * len(found)))
    parts = [Examples(found.x[i], None if found.y is None else found.y[i], found.batch, found.shuffled, len(i),
                      notes=found.notes) for i in (order[cut:], order[:cut])]  # fmt: skip
    return parts[0], parts[1]
