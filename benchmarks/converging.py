"""Do pictures rise above the strongest real image? For sampled channels of five layers of trained networks.

For every channel the leaf's own question is asked (256 steps, its defaults) with the record of a sweep: the picture, as it
is shown, against the strongest response to any real image. *Live*: some real image excites the channel (largest response
above 0) and not all alike.

*Grid peak*: power of the pictures at the frequencies k/s that a network of stride s favours, over the median power around
them; mean of the pictures of a layer (each with power 1), the largest over k. To be compared with the same *off the grid*,
at frequencies between those; a search over *unmoved pixels* (8 channels) shows that the measure can tell.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
sys.path[:0] = [str(ROOT), str(DATA)]

from convscope import registry  # noqa: E402
from convscope.data import open_collection  # noqa: E402
from convscope.features._given import Given  # noqa: E402
from convscope.fit import FitSettings, fit  # noqa: E402
from convscope.images import Preprocess  # noqa: E402
from convscope.network import Network, units_of  # noqa: E402
from convscope.sweep import Sweep  # noqa: E402

Case = tuple[Network, Any, tuple[str, ...]]
STEPS = 256
HEAD = ("| layer | channels | live | seen | above the strongest real image | median ratio | picture | grid peak "
        "| off the grid | of unmoved pixels | s |\n" + "|---" * 11 + "|")


class AlexNetType(nn.Module):
    """Large first windows, overlapping pooling, normalisation across channels, dense layers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 5, padding=2), nn.LocalResponseNorm(5)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 5, padding=2), nn.LocalResponseNorm(5)
        self.conv3, self.conv4 = nn.Conv2d(32, 48, 3, padding=1), nn.Conv2d(48, 32, 3, padding=1)
        self.pool, self.drop = nn.MaxPool2d(3, 2), nn.Dropout()
        self.fc1, self.fc2 = nn.Linear(32 * 4, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm1(torch.relu(self.conv1(x))))
        x = self.pool(self.norm2(torch.relu(self.conv2(x))))
        x = self.pool(torch.relu(self.conv4(torch.relu(self.conv3(x)))))
        return self.fc2(self.drop(torch.relu(self.fc1(x.flatten(1)))))


class VGGType(nn.Module):
    """Pairs of 3×3 convolutions, halved by pooling, dense layers."""

    def __init__(self) -> None:
        super().__init__()
        stage = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True),  # noqa: E731
                                           nn.Conv2d(o, o, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.stage1, self.stage2, self.stage3 = stage(1, 12), stage(12, 24), stage(24, 32)
        self.fc1, self.fc2 = nn.Linear(32 * 9, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(self.stage3(self.stage2(self.stage1(x))).flatten(1))))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.short = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.short(x))


def resnet_type() -> nn.Module:
    """Six blocks of two convolutions with shortcuts and batch norm, global mean."""
    return nn.Sequential(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
                         Block(12, 12, 1), Block(12, 24, 2), Block(24, 24, 1), Block(24, 32, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def fashion(name: str) -> Case:
    """A network of a type, trained on 12,000 images of Fashion-MNIST at their own 28×28; compared with all of them."""
    from load import load_set  # type: ignore[import-not-found]

    make, layers = {
        "alexnet-type": (AlexNetType, ("conv1", "conv2", "conv3", "conv4", "fc1")),
        "vgg-type": (VGGType, ("stage1.2", "stage2.0", "stage2.2", "stage3.2", "fc1")),
        "resnet-type": (resnet_type, ("0", "3.conv2", "4.conv2", "5.conv2", "6.conv2")),
    }[name]
    pictures, labels = load_set("fashion_train")
    train = open_collection(list(zip(pictures, labels.tolist(), strict=True)), name="fashion")
    preprocess = Preprocess(size=(28, 28), mean=(0.2860,), std=(0.3530,), channels="L")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
    run = fit(module, train, None, preprocess, FitSettings(epochs=3, rate=0.002))
    print(f"\n{name}: trained for 3 epochs, accuracy {run.epochs['accuracy'][-1]:.3f} on the training images", flush=True)
    return Network.open(module.eval(), (1, 28, 28), name, preprocess=preprocess), train, layers


def stored(name: str) -> Case:
    """A trained network of the sample data, compared with all images that there are for it."""
    from load import load_image, load_model, load_set  # type: ignore[import-not-found]

    module, info = load_model(name)
    scale = lambda values: tuple(v / 255 for v in values)  # noqa: E731
    preprocess = Preprocess(size=(info["size"],) * 2, resize="crop", resize_to=info.get("resize"), mean=scale(info["mean"]),
                            std=scale(info["std"]))
    net = Network.open(module, (3, info["size"], info["size"]), name, preprocess=preprocess)
    if name == "squeezenet1_1":
        files = [p.relative_to(DATA / "images").as_posix() for p in sorted((DATA / "images").rglob("*.*"))
                 if p.suffix.lower() in (".jpeg", ".jpg", ".png")]
        photos = open_collection("photos")
        several = [load_image(f) for f in files] + [np.broadcast_to(p, (*p.shape[:2], 3)) for p in map(photos.__getitem__,
                                                                                                    range(len(photos)))]
        fire = [f"features.{i}.expand3x3" for i in (4, 7, 10, 12)]
        return net, open_collection([(np.array(p), -1) for p in several], name="photographs"), ("features.0", *fire)
    pictures, labels = load_set("cifar10_train_lossless")
    return (net, open_collection(list(zip(pictures, labels.tolist(), strict=True)), name="CIFAR-10"),
            ("bn1", "layer1.1.relu2", "layer2.0.relu2", "layer2.2.relu2", "layer3.1.relu2"))


CASES = {**dict.fromkeys(("squeezenet1_1", "resnet20_cifar10"), stored),
         **dict.fromkeys(("alexnet-type", "vgg-type", "resnet-type"), fashion)}


def power(pictures: NDArray[Any], frequencies: Iterable[tuple[float, float]]) -> NDArray[np.float64]:
    """(F,) mean over pictures (N, H, W, 3) of |Fourier transform|² at frequencies in cycles/px, each colour with power 1."""
    x = pictures.astype(np.float64).transpose(0, 3, 1, 2).reshape(-1, *pictures.shape[1:3])
    x = x - x.mean((1, 2), keepdims=True)
    h, w = x.shape[1:]
    x = x * np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1]
    x = x / np.sqrt((x**2).sum((1, 2), keepdims=True) + 1e-12)
    at = np.array(list(frequencies))
    rows = np.exp(-2j * np.pi * at[:, :1] * np.arange(h))
    columns = np.exp(-2j * np.pi * at[:, 1:] * np.arange(w))
    return (np.abs(np.einsum("fh,nhw,fw->nf", rows, x, columns, optimize=True)) ** 2).mean(0)


def grid_peak(pictures: NDArray[Any], stride: int, off: float = 0.0) -> float:
    """The largest ratio of the power at multiples of 1/stride to the median around each; NaN where none can be told.

    With `off`, the same at frequencies off the grid by that share of 1/stride: what chance makes of as many ratios.
    """
    h, w = pictures.shape[1:3]
    if stride < 2 or min(h, w) < 12 * stride:  # neighbours of one multiple would lie at another
        return float("nan")
    found = []
    near = [(i / h, j / w) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    ring = [(r * np.sin(t) / stride, r * np.cos(t) / stride) for r in (0.18, 0.24, 0.3) for t in np.arange(12) * np.pi / 6]
    for i in range(stride // 2 + 1):
        for j in range(stride):
            if i == j == 0:
                continue
            middle = ((i + off) / stride, (j + off) / stride)
            at, around = (power(pictures, [(middle[0] + a, middle[1] + b) for a, b in some]) for some in (near, ring))
            found.append(float(at.mean() / np.median(around)))
    return max(found)


def converge(names: list[str], most: int, seed: int = 0) -> None:
    """Print a row for every layer."""
    method = registry.load("features", "activation-maximisation")
    for name in names:
        net, collection, layers = CASES[name](name)
        with tempfile.TemporaryDirectory() as folder:
            record = Sweep(top=1)(net, collection, net.preprocess, folder, layers=layers)
            given = Given(record=record, images=collection.__getitem__, count=len(collection))
            print(f"\n{name}, {len(collection):,} images\n\n" + HEAD)
            for layer in layers:
                row(net, layer, given, method, most, seed)


def row(net: Network, layer: str, given: Given, method: Any, most: int, seed: int) -> None:
    low, high = given.extremes(layer) or (np.zeros(0), np.zeros(0))
    live = np.flatnonzero((high > 0) & (high > low))
    chosen = np.sort(np.random.default_rng(seed).permutation(live)[:most])
    began = time.process_time()
    found = [method(steps=STEPS, batch=1)(net, f"{layer}/{u}", given) for u in chosen]
    took = time.process_time() - began
    tiles = np.concatenate([f.tiles for f in found])
    ratio = np.array([f.values["response"][0] / f.values["strongest"][0] for f in found])
    weak = [f"{u} ({r:.2f})" for u, r in zip(chosen, ratio, strict=True) if r < 1]
    fields = net[layer].fields or ()
    stride = int(max([f.stride for f in fields], default=1))
    unmoved = method(steps=STEPS // 4, batch=1, basis="pixels", shake=0.0)
    still = [unmoved(net, f"{layer}/{u}", given).tiles for u in chosen[:8]]
    while stride > 2 and min(tiles.shape[1:3]) < 12 * stride:
        stride //= 2  # the finer ones are multiples of 1/stride too
    peaks = [grid_peak(tiles, stride), grid_peak(tiles, stride, 0.5), grid_peak(np.concatenate(still), stride)]
    told = " | ".join("" if np.isnan(p) else f"{p:.2f}" for p in peaks)
    print(f"| {layer} | {units_of(net[layer])} | {len(live)} | {len(chosen)} | {np.mean(ratio >= 1):.1%} | "
          f"{np.median(ratio):.2f} | {tiles.shape[1]}×{tiles.shape[2]} | {told} | {took:.0f} |"
          + (f" <!-- below: {', '.join(weak[:8])} -->" if weak else ""), flush=True)
