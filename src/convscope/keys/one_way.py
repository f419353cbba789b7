"""The one-way option: store features of a frozen front part instead of images, and see what they still show.

    Φ = front(x), frozen;  a head is trained on (Φ, class);  an inverter on (Φ, x) of some images and judged on others

No key is needed, and none can leak; but a front part that keeps what a classifier needs keeps much of the picture too
(Dosovitskiy and Brox 2016, "Inverting visual representations with convolutional networks"). What the inverter rebuilds is a
lower bound of what is there: a larger one, with more images, may see more. Deeper layers hold less of the image, and less
that a new task could use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope import inputs
from convscope.collection import Collection
from convscope.errors import DataError
from convscope.fit import FitSettings, fit
from convscope.keys import inverter
from convscope.keys.inverter import Effort
from convscope.keys.known import quality
from convscope.network import Network
from convscope.results import Picture, Table

Progress = Callable[[int, int, str], None]
MOST, SHOWN = 2000, 8
MEANINGS = {
    "layer": "where the front part ends",
    "numbers": "how many numbers are stored of an image",
    "accuracy": "of a head trained on them, on held-out images; NaN without labels",
    "psnr": "of held-out images rebuilt by an inverter trained on others, dB, mean",
    "floor": "the same of the mean image: what knowing nothing of an image gives",
    "ssim": "of the rebuilt images, mean",
    "explained": "share of the images' variance that is rebuilt",
}


def inverted_features(net: Network, addresses: Sequence[str], images: Collection, effort: Effort | None = None,
                      settings: FitSettings | None = None, progress: Progress | None = None) -> tuple[Table, Picture]:
    """For each layer: what a head learns from its values, and what an inverter rebuilds from them. Four fifths train.

    Errors: UnknownName (layers), DataError (too few images), those of `fit`.
    """
    effort, settings = effort or Effort(), settings or FitSettings(epochs=8)
    net_layers = [net[address] for address in addresses]
    x, index, assumed = _read(net, images, settings.seed)
    pixels = _pixels(net, x)
    cut = round(0.8 * len(x))
    if len(x) < 10:
        raise DataError("an inverter learns from images", f"{len(x)} could be used", "give ten at least")
    plain = pixels[cut:].double().numpy()
    mean = np.broadcast_to(pixels[:cut].mean(0, keepdim=True).double().numpy(), plain.shape)
    floor = float(quality(plain, mean)["psnr"].mean())
    rows: list[tuple[Any, ...]] = []
    tiles, names = [plain[:SHOWN]], [images.ids[i] for i in index[cut:][:SHOWN]]
    for number, layer in enumerate(net_layers):
        phi = _features(net, layer.address, x)
        report = None if progress is None else _report(progress, number, len(net_layers), layer.address)
        back = inverter.rebuilt(inverter.trained(phi[:cut], pixels[:cut], effort, settings.seed, report), phi[cut:])
        found = quality(plain, back)
        right = _head(phi, index, images, cut, settings)
        rows.append((layer.address, int(phi[0].numel()), right, float(found["psnr"].mean()), floor,
                     float(found["ssim"].mean()), _explained(plain, back)))
        tiles.append(back[:SHOWN])
        names += [f"{layer.address}: {p:.1f} dB" for p in found["psnr"][:SHOWN]]
    notes = (f"{cut} images to learn from, {len(x) - cut} judged" + (f"; sampled of {len(images):,}, seed {settings.seed}"
                                                                    if len(x) < len(images) else ""),
             f"inverter: {effort.steps} steps, width {effort.width}; head: {settings.epochs} epochs, seed {settings.seed}",
             "a lower bound: another inverter may see more", *([assumed] if assumed else []))
    origin = net.origin("one-way", seed=settings.seed)
    columns = {name: np.array(column) for name, column in zip(MEANINGS, zip(*rows, strict=True), strict=True)}
    table = Table(columns=columns, units=MEANINGS, title=f"features of {net.name} instead of images", notes=notes,
                  origin=origin)
    picture = Picture(tiles=_shown(np.concatenate(tiles)), units=tuple(names), title=f"rebuilt from features of {net.name}",
                      scale="rgb", columns=len(tiles[0]), notes=notes, origin=origin)
    return table, picture


def _read(net: Network, images: Collection, seed: int) -> tuple[Tensor, NDArray[np.int64], str]:
    """(N, C, H, W) as the network reads them, in a random order, and their numbers in the collection."""
    preprocess, assumed = inputs.preprocess_of(net)
    order = np.random.default_rng(seed).permutation(len(images))[:MOST]
    batches = list(images.batches(preprocess, 64, order=order))
    return torch.cat([b.x for b in batches]), np.concatenate([b.index for b in batches]), assumed


def _pixels(net: Network, x: Tensor) -> Tensor:
    """What the network reads, as values of 0 … 1."""
    preprocess, _ = inputs.preprocess_of(net)
    mean, std = (torch.tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std))
    return ((x * std + mean) / preprocess.range).clamp(0, 1)


def _features(net: Network, address: str, x: Tensor) -> Tensor:
    """(N, F, h, w) values of a layer; a vector has one position, other shapes are laid out as one."""
    with torch.no_grad():
        phi = torch.cat([net.run(part, keep=[address])[address].float().cpu() for part in x.split(64)])
    return phi if phi.ndim == 4 else phi.reshape(len(phi), -1, 1, 1)


def _head(phi: Tensor, index: NDArray[np.int64], images: Collection, cut: int, settings: FitSettings) -> float:
    """Accuracy on the judged images of a small dense head trained on the others."""
    labels = images.labels[index]
    if (labels < 0).any() or len(images.classes) < 2:
        return math.nan
    values = phi.flatten(1).numpy()
    scale = values[:cut].std() + 1e-6
    parts = [Collection("features", tuple(images.ids[i] for i in index[part]), labels[part], images.classes,
                        lambda i, v=values[part]: (v[i], ()), np.full(len(index[part]), values[0].nbytes, np.int64))
             for part in (slice(None, cut), slice(cut, None))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        head = nn.Sequential(nn.Linear(values.shape[1], 64), nn.ReLU(), nn.Linear(64, len(images.classes)))
    run = fit(head, parts[0], parts[1], lambda v: (v / scale).astype(np.float32), settings)
    return float(run.epochs["held_out_accuracy"][-1])


def _explained(plain: NDArray[np.float64], back: NDArray[np.float64]) -> float:
    """1 − squared error / squared distance from the mean of each pixel."""
    spread = ((plain - plain.mean(0)) ** 2).sum()
    return float(1 - ((plain - back) ** 2).sum() / spread) if spread > 0 else math.nan


def _shown(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(N, C, H, W) of 0 … 1 → uint8 (N, H, W, 3)."""
    pixels = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
    three = pixels[:, :3] if pixels.shape[1] >= 3 else np.repeat(pixels[:, :1], 3, axis=1)
    return np.ascontiguousarray(three.transpose(0, 2, 3, 1))


def _report(progress: Progress, number: int, count: int, address: str) -> Progress:
    return lambda done, total, _: progress(number * total + done, count * total, f"one-way: {address}")
