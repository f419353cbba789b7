"""Training: fit a network to a labelled collection; the demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.collections import atlas
from convscope.actions.networks import Progress, read_preprocess
from convscope.results import Run

if TYPE_CHECKING:
    from convscope.network import Network


def fit(
    network: Any,
    images: Any,
    *,
    held_out: float = 0.2,
    out: str | Path | None = None,
    progress: Progress | None = None,
    preprocess: Any = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> tuple[Network, Run]:
    """Train a network on a labelled collection, a share held out. Returns the trained network and the record of the run.

    `out`: a folder for `checkpoint.pt` (taken up if it is there), `weights.safetensors`, `preprocess.json`, `classes.txt`
    and `run.npz`. `settings`: those of `FitSettings`; `engine="numpy"` trains by our own operators with no torch in the
    loop, in float32 or with `precision="float64"` (its checkpoint is `checkpoint.npz`). `keep_every=5` or `"100 steps"`
    keeps weights along the way, the initial ones first, in `out/kept`, for `compare`. `watch=True` measures the layers and
    the loop while training.
    """
    from convscope import training

    return training.train(
        network,
        images,
        held_out=held_out,
        out=None if out is None else Path(out),
        progress=progress,
        preprocess=read_preprocess(preprocess),
        weights=weights,
        settings=settings,
    )


def demo(out: str | Path, *, progress: Progress | None = None, **settings: Any) -> tuple[Path, float]:
    """Train the digit network on real handwritten digits, write its atlas. Returns the page and the held-out accuracy."""
    from convscope.opening import demo as trained

    net, run = trained.network("digits", progress)
    settings = {"minutes": 0.5, **settings}  # a first look shall not take long; run `convscope atlas` to go on
    return atlas(net, "digits", out, progress=progress, **settings), float(run.epochs["held_out_accuracy"][-1])
