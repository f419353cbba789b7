"""How well do predicted regions lie on the true ones?

    IoU_k = |P_k ∩ T_k| / |P_k ∪ T_k|,   mean over the classes that occur      (Everingham et al. 2010, PASCAL VOC)
    near edges: the same, counted only on pixels at most n from a border between classes (Kohli et al. 2009, the trimap)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.errors import ShapeError, UsageError
from convscope.results import Table
from convscope.segmenting.scenes import Labelled

BAND = 2  # pixels on either side of an edge


def overlaps(model: nn.Module, data: Labelled, preprocess: Callable[..., Any], band: int = BAND,
             batch_size: int = 32) -> Table:
    """How good is a segmenter? Intersection over union by class, on all pixels and on those near edges.

    Rows: the classes, then 'mean' over those that occur (in truth or prediction). Columns: pixels (in truth), iou, pixels
    near edges, iou near edges: 0 … 1, NaN for a class that does not occur. Evaluation mode; the model is left as it was.
    Errors: ShapeError (outputs that are no (B, K, H, W) of the labels' size), UsageError.
    """
    if band < 1:
        raise UsageError("the band along edges must be at least one pixel wide", f"got {band}", f"{BAND} is usual")
    k = len(data.classes)
    whole, near = np.zeros((2, k, k), np.int64)
    for start, found in _predictions(model, data, preprocess, batch_size):
        labels = data.labels[start : start + len(found)]
        whole += confusion(labels, found, k)
        edges = near_edges(labels, band)
        near += confusion(np.where(edges, labels, -1), found, k)
    columns: dict[str, NDArray[Any]] = {"class": np.array([*data.classes, "mean"])}
    for suffix, counts in (("", whole), (" near edges", near)):
        iou = ious(counts)
        pixels = counts.sum(1)
        columns[f"pixels{suffix}"] = np.array([*pixels, pixels.sum()])
        columns[f"iou{suffix}"] = np.array([*iou, np.nanmean(iou) if not np.isnan(iou).all() else np.nan])
    units = {"iou": "intersection over union, 0 … 1", "iou near edges": f"the same, at most {band} px from a border",
             "pixels": "in truth", "pixels near edges": "in truth"}
    right = np.trace(whole) / max(int(whole.sum()), 1)
    return Table(columns=columns, units=units, title=f"Overlap on {data.name}",
                 notes=(f"{len(data)} images, {100 * right:.1f} % of the pixels right",))


def predict(model: nn.Module, data: Labelled, preprocess: Callable[..., Any], batch_size: int = 32) -> NDArray[np.int64]:
    """The highest class of every pixel, (N, H, W), in evaluation mode; the model is left as it was."""
    return np.concatenate([found for _, found in _predictions(model, data, preprocess, batch_size)])


def confusion(labels: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(K, K) counts, truth by prediction; pixels whose label is −1 are left out.

    >>> confusion(np.array([0, 1, 1, -1]), np.array([0, 0, 1, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    known = labels >= 0
    return np.bincount(labels[known] * classes + found[known], minlength=classes**2).reshape(classes, classes)


def ious(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) from a confusion matrix: hits / (truth + prediction − hits); NaN where a class is in neither.

    >>> ious(np.array([[1, 0], [1, 1]])).tolist()
    [0.5, 0.5]
    """
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def near_edges(labels: NDArray[np.int64], band: int) -> NDArray[np.bool_]:
    """(N, H, W): pixels with one of another class at most `band` rows and columns away. The image's border is no edge.

    >>> near_edges(np.array([[[0, 0, 0, 1, 1, 1]]]), 2)[0, 0].tolist()
    [False, True, True, True, True, False]
    """
    padded = np.pad(labels, ((0, 0), (band, band), (band, band)), mode="edge")
    side = 2 * band + 1
    rows = np.lib.stride_tricks.sliding_window_view(padded, side, 1)
    low, high = rows.min(-1), rows.max(-1)
    columns = np.lib.stride_tricks.sliding_window_view
    return columns(low, side, 2).min(-1) != columns(high, side, 2).max(-1)


def _predictions(model: nn.Module, data: Labelled, preprocess: Callable[..., Any],
                 size: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with in_evaluation(model), torch.no_grad():
        for start in range(0, len(data), size):
            scores = scored(model, images_of(data, range(start, min(start + size, len(data))), preprocess).to(device), data)
            yield start, scores.argmax(1).cpu().numpy()


def images_of(data: Labelled, which: Any, preprocess: Callable[..., Any]) -> Tensor:
    """(B, C, H, W): these images as the network reads them."""
    return torch.stack([torch.from_numpy(np.ascontiguousarray(preprocess(data.pixels[int(i)]))) for i in which])


def scored(model: nn.Module, x: Tensor, data: Labelled) -> Tensor:
    """Logits (B, K, H, W), checked."""
    found: Any = model(x)
    size = data.labels.shape[1:]
    if not isinstance(found, Tensor) or found.ndim != 4 or tuple(found.shape[2:]) != size:
        shape = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError("a segmenter must give scores (B, K, H, W), as large as the labels",
                         f"got {shape} for labels of {size[0]}×{size[1]}", "`convscope edit NETWORK segment` makes one")
    if found.shape[1] < len(data.classes):
        raise ShapeError(f"the network tells {found.shape[1]} classes apart", f"{data.name} has {len(data.classes)}",
                         "give it one output a class")
    return found


@contextlib.contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
