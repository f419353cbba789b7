"""What does each way back to pixels bring? FCN-32s, -16s, -8s and the mirror network on one encoder, the same budget.

    python benchmarks/segmentation.py [--images 800] [--epochs 12] [--seeds 0 1 2] [--picture masks.png] [--keep FOLDER]

Drawn scenes of 64×64 pixels (`convscope.segmenting.scenes`: discs, boxes, thin rings, thin crosses; seed 0 to train, seed 1
to measure, 200 of them). The encoder has five convolutions (batch norm, ReLU, 2×2 pooling behind each), so that its last map
is 2×2 at 32 pixels a step. A seed draws the encoder's weights and the new layers', and orders the images; within a seed all
networks begin with the same encoder and see the same images in the same order. Also: what is left of the *true* labels when
they are averaged over cells of 32, 16 or 8 pixels and enlarged again (bilinear): what enlarging gives of perfect scores.
"""

from __future__ import annotations

import argparse
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import nn

import convscope as cs
from convscope import store
from convscope.images import PRESETS
from convscope.recipe import FitSettings
from convscope.segmenting import Labelled, Task, overlaps, predict, scenes, train
from convscope.segmenting.overlap import BAND, confusion, ious, near_edges

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "FCN-32s": ("segment", {"skips": 0}),
    "FCN-32s, enlargement learned": ("segment", {"skips": 0, "upsampling": "learned"}),
    "FCN-16s": ("segment", {"skips": 1}),
    "FCN-8s": ("segment", {"skips": 2}),
    "mirror": ("mirror", {}),
}
PALETTE = np.array([[38, 38, 38], [228, 87, 70], [76, 146, 230], [247, 197, 72], [112, 200, 110]], np.uint8)
HEADER = 22  # px
PREPARED = PRESETS["signed"]


def encoder(seed: int, widths: tuple[int, ...] = (12, 24, 32, 48, 64)) -> nn.Module:
    """Five times convolution, batch norm, ReLU, pooling; then a classifier's head, which every way back leaves out."""
    torch.manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for i, width in enumerate(widths, 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(layers[f"conv{i}"].weight)  # type: ignore[arg-type]
        layers |= {f"bn{i}": nn.BatchNorm2d(width), f"relu{i}": nn.ReLU(), f"pool{i}": nn.MaxPool2d(2)}
        channels = width
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(channels, 5)}
    return nn.Sequential(layers)


def enlarging_alone(data: Labelled, cell: int) -> tuple[float, float]:
    """Mean overlap, whole and near edges, of the true labels averaged over cells and enlarged again."""
    k = len(data.classes)
    shares = F.avg_pool2d(F.one_hot(torch.from_numpy(data.labels), k).permute(0, 3, 1, 2).float(), cell)
    found = F.interpolate(shares, scale_factor=cell, mode="bilinear").argmax(1).numpy()
    near = np.where(near_edges(data.labels, BAND), data.labels, -1)
    whole, edges = (float(np.nanmean(ious(confusion(labels, found, k)))) for labels in (data.labels, near))
    return whole, edges


def measured(seed: int, way: str, sets: tuple[Labelled, Labelled], epochs: int) -> dict[str, Any]:
    """One network trained and measured: its size, overlaps by class and their mean, masks, seconds of training."""
    leaf, asked = WAYS[way]
    net = cs.open(encoder(seed), example=(3, *sets[0].labels.shape[1:]))
    edited, receipt = cs.edit(net, leaf, outputs=len(sets[0].classes), seed=seed, **asked)
    assert edited.module is not None
    started = time.process_time()
    train(edited.module, Task(sets[0], PREPARED),
          FitSettings(epochs=epochs, batch_size=16, rate=0.004, schedule="one-cycle", seed=seed))
    spent = time.process_time() - started
    table = overlaps(edited.module, sets[1], PREPARED).columns
    return {"parameters": receipt.after.parameters, "macs": receipt.after.macs, "seconds": spent, "iou": table["iou"],
            "near": table["iou near edges"], "masks": predict(edited.module, sets[1], PREPARED).astype(np.uint8)}


def kept(folder: Path | None, seed: int, way: str, sets: tuple[Labelled, Labelled], epochs: int) -> dict[str, Any]:
    """The same, from the folder where it is there already."""
    if folder is None:
        return measured(seed, way, sets, epochs)
    file = folder / f"{way.replace(', ', '-').replace(' ', '-')}-{len(sets[0])}-{epochs}-{seed}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        row = measured(seed, way, sets, epochs)
        with store.atomic(file) as out:
            np.savez(out, **row)
    with np.load(file) as held:
        return dict(held)


def painted(data: Labelled, masks: dict[str, np.ndarray], which: list[int]) -> Image.Image:
    """A row a scene: image, truth, then one mask a network, under its name."""
    rows = []
    for i in which:
        tiles = [data.pixels[i], PALETTE[data.labels[i]], *(PALETTE[m[i]] for m in masks.values())]
        rows.append(np.concatenate([np.pad(t, ((2, 2), (2, 2), (0, 0)), constant_values=255) for t in tiles], 1))
    tiles = Image.fromarray(np.concatenate(rows, 0))
    image = Image.new("RGB", (2 * tiles.width, 2 * tiles.height + HEADER), "white")
    image.paste(tiles.resize((2 * tiles.width, 2 * tiles.height), Image.Resampling.NEAREST), (0, HEADER))
    names = ["image", "truth", *masks]
    for at, name in enumerate(names):
        place = ((at + 0.5) * image.width / len(names), HEADER / 2)
        ImageDraw.Draw(image).text(place, name, "black", ImageFont.load_default(13), anchor="mm")
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--keep", type=Path, help="folder of what was measured; a run that was stopped goes on from there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sets = scenes(asked.images, 64, seed=0), scenes(200, 64, seed=1)
    print(f"{asked.images} scenes, {asked.epochs} epochs, band {BAND} px\n")
    for cell in (32, 16, 8):
        whole, edges = enlarging_alone(sets[1], cell)
        print(f"| true labels over {cell} px, enlarged | | | {whole:.3f} | {edges:.3f} |", flush=True)
    masks: dict[str, np.ndarray] = {}
    for way in asked.ways:
        found = [kept(asked.keep, seed, way, sets, asked.epochs) for seed in asked.seeds]
        masks[way] = found[0]["masks"]
        iou, near = (np.array([r[key] for r in found]) for key in ("iou", "near"))
        spent = np.mean([r["seconds"] for r in found])
        classes = " ".join(f"{n} {v:.2f}" for n, v in zip(sets[1].classes, iou.mean(0), strict=False))
        print(f"| {way} | {found[0]['parameters']:,} | {found[0]['macs'] / 1e6:.1f} M | {spread(iou[:, -1])} | "
              f"{spread(near[:, -1])} | {classes} | {spent:.0f} s |", flush=True)
    if asked.picture is not None:
        painted(sets[1], masks, list(range(6))).save(asked.picture, optimize=True)


def spread(values: np.ndarray) -> str:
    """Mean and the range over the seeds."""
    return f"{values.mean():.3f} ({values.min():.3f} … {values.max():.3f})"


if __name__ == "__main__":
    main()
