"""Train a detector twice: on its patches, then also on what it took for its class where there is none.

A network that has seen a few hundred patches answers at every window of a photograph, mostly about things that it was never
shown. So it is scanned over pictures without its class, and its worst mistakes are added to the training images as examples
of what is not meant (Sung and Poggio 1998, "Example-based learning for view-based human face detection", call it
bootstrapping; later "hard negative mining").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from convscope.collection import Collection
from convscope.data import open_collection
from convscope.dense.scan import DenseScan
from convscope.fit import FitSettings, fit
from convscope.images import Pixels, Preprocess
from convscope.network import Network
from convscope.results import Run

Progress = Callable[[int, int, str], None]
FACELESS = ("brick", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "ihc", "moon", "motorcycle_left",
            "page", "rocket", "text")  # scikit-image's photographs without a human face; chelsea is a cat
SCALES = (0.5, 0.35, 0.25, 0.17)
MISTAKES, LEAST = 6, -1.0  # at most so many a picture and scale, of at least this margin
SETTINGS = FitSettings(epochs=20, batch_size=16, rate=0.002, schedule="cosine")


def false_alarms(net: Network, pictures: Sequence[Pixels], target: int, scales: Sequence[float] = SCALES) -> list[Pixels]:
    """The windows (n, m, C) that score highest for a class in pictures that do not show it, the worst of each first."""
    n, m = net.input_shape[2:]
    assert net.preprocess is not None
    found: list[Pixels] = []
    for image in pictures:
        for scale in scales:
            size = (max(round(image.shape[0] * scale), 1), max(round(image.shape[1] * scale), 1))
            if size[0] < n or size[1] < m:
                continue
            method = DenseScan(scales=str(scale), score="margin", samples=0, top=MISTAKES, threshold=LEAST)
            columns = method(net, image, target).peaks.columns
            plain = Preprocess(size, "stretch", channels=net.preprocess.channels)
            pixels = np.rint(plain(image) * 255).astype(np.uint8).transpose(1, 2, 0)
            for top, left in zip(columns["top"], columns["left"], strict=True):
                y, x = round(top * size[0] / image.shape[0]), round(left * size[1] / image.shape[1])
                found.append(pixels[y : y + n, x : x + m])
    return found


def train_on_faces(module: nn.Module, preprocess: Preprocess, progress: Progress | None = None) -> tuple[Run, Collection]:
    """Train `module` in place on scikit-image's 200 patches; the record of the second training, and the patches.

    A fifth of the patches is held out. Faces are also shown mirrored. The second training begins anew from the same weights.
    """
    patches = open_collection("faces")
    rest, held = patches.split(0.2, 0)
    shown = [(np.asarray(rest[i]), int(rest.labels[i])) for i in range(len(rest))]
    shown += [(np.ascontiguousarray(pixels[:, ::-1]), 1) for pixels, label in shown if label == 1]
    start = {name: value.clone() for name, value in module.state_dict().items()}
    fit(module, open_collection(shown), held, preprocess, SETTINGS, progress)
    photos = open_collection("photos")
    pictures = [photos[i] for i, name in enumerate(photos.ids) if name.split("/")[1].split(".")[0] in FACELESS]
    example = torch.zeros(1, *np.moveaxis(shown[0][0], 2, 0).shape)
    net = Network.open(module.eval(), example, preprocess=preprocess)
    mistakes = false_alarms(net, pictures, target=1)
    module.load_state_dict(start)
    run = fit(module, open_collection([*shown, *((pixels, 0) for pixels in mistakes)]), held, preprocess, SETTINGS, progress)
    note = f"the second of two trainings: with {len(mistakes)} mistakes of the first, from {len(pictures)} pictures"
    return replace(run, notes=(*run.notes, note)), patches
