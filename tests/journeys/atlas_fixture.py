"""Writes a plausible small atlas in the page's data format: shapes in colours, a network with shortcuts and branches.

The numbers are drawn from a seeded generator, the geometry (sizes, receptive fields) is real, so that what the page draws
can be checked. `write_atlas(folder)` is what the browser tests open; `write_atlas(folder, images=2000, units=512,
stages=7)` shows whether the page stays smooth.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from convscope.geometry import Field, Window, output_size, size_formula

STATIC = Path(__file__).parents[2] / "src/convscope/web/static"
SIZE = 96  # pixels of an input image
THUMB = 64
CLASSES = ("disc", "square", "triangle", "ring", "stripes", "chequer")
COLOURS = ((214, 69, 65), (45, 125, 154), (240, 173, 78), (106, 153, 78), (126, 87, 194), (84, 110, 122))


def write_atlas(folder: Path, images: int = 90, units: int = 16, stages: int = 3, pages: int = 3) -> Path:
    """Write the whole atlas folder: the page, its data and its pictures."""
    for sub in ("app", "data/layer", "data/image", "thumbs", "pictures"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for file in STATIC.iterdir():
        shutil.copy(file, folder / ("index.html" if file.name == "index.html" else f"app/{file.name}"))
    rng = np.random.default_rng(0)
    labels = [int(k) for k in rng.integers(0, len(CLASSES), images)]
    pictures = [_picture(k, rng) for k in labels]
    layers = _layers(units, stages)
    _put(folder, "network", _network(layers, images))
    _put(folder, "collection", _collection(folder, labels, pictures, pages, rng))
    for layer in layers:
        if layer["page"]:
            _put(folder, f"layer/{layer['slug']}", _units(folder, layer, labels, images, rng))
    for index in range(min(pages, images)):
        _put(folder, f"image/{index}", _image(folder, index, pictures[index], layers, rng))
    _put(folder, "map", _map(labels, rng))
    return folder


def _put(folder: Path, key: str, value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    (folder / f"data/{key}.js").write_text(f"convscope.put({json.dumps(key)}, {text});\n", encoding="utf-8")


def _picture(kind: int, rng: np.random.Generator) -> Image.Image:
    """One shape on a quiet ground, drawn twice as large and reduced, so that its edges are smooth."""
    n = 2 * SIZE
    ground = tuple(int(v) for v in rng.integers(215, 246, 3))
    picture = Image.new("RGB", (n, n), ground)
    draw = ImageDraw.Draw(picture)
    colour = tuple(int(np.clip(c + rng.normal(0, 22), 0, 255)) for c in COLOURS[rng.integers(len(COLOURS))])
    r = int(rng.integers(n // 6, n // 3))
    x, y = (int(v) for v in rng.integers(r, n - r, 2))
    box = (x - r, y - r, x + r, y + r)
    if CLASSES[kind] == "disc":
        draw.ellipse(box, fill=colour)
    elif CLASSES[kind] == "square":
        draw.rectangle(box, fill=colour)
    elif CLASSES[kind] == "triangle":
        draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=colour)
    elif CLASSES[kind] == "ring":
        draw.ellipse(box, outline=colour, width=max(8, r // 3))
    elif CLASSES[kind] == "stripes":
        for i in range(-r, r, 24):
            draw.rectangle((x - r, y + i, x + r, y + i + 11), fill=colour)
    else:
        for i in range(-r, r, 24):
            for j in range(-r, r, 24):
                if (i // 24 + j // 24) % 2:
                    draw.rectangle((x + i, y + j, x + i + 23, y + j + 23), fill=colour)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


class _Builder:
    """Layers one after another, with the sizes and fields that geometry gives."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.state: dict[str, tuple[int, int, Field | None]] = {"input": (3, SIZE, Field())}

    def add(
        self,
        address: str,
        operator: str,
        parents: list[str],
        channels: int | None = None,
        window: Window | None = None,
        units: bool = False,
    ) -> str:
        c, n, field = self.state[parents[0]]
        out, formula, parameters, macs = n, None, 0, 0
        for parent in parents[1:]:
            other = self.state[parent][2]
            field = None if field is None or other is None else field.merge(other)
        if operator == "cat":
            channels = sum(self.state[p][0] for p in parents)
        channels = c if channels is None else channels
        if window is not None and field is not None:
            out = output_size(n, window.kernel, window.stride, window.padding)
            formula = size_formula(n, window.kernel, window.stride, window.padding, 1, out)
            field = field.through(window)
        if operator == "conv2d" and window is not None:
            parameters = channels * c * window.kernel**2
            macs = parameters * out * out
        elif operator == "batch_norm":
            parameters = 2 * channels
        elif operator == "linear":
            parameters, macs = c * channels + channels, c * channels
        flat = operator in ("flatten", "linear")
        if operator == "adaptive_avg_pool2d":
            out, field = 1, Field(None)
        self.state[address] = (channels, out, field)
        shape = [1, channels] if flat else [1, channels, out, out]
        size = None if field is None or field.size is None else [field.size] * 2
        self.layers.append(
            {
                "address": address,
                "slug": address.replace(":", "~"),
                "operator": operator,
                "input_shapes": [[1, self.state[p][0], self.state[p][1], self.state[p][1]] for p in parents],
                "output_shape": shape,
                "parents": parents,
                "parameters": parameters,
                "macs": macs,
                "saved": 4 * math.prod(shape),
                "field": None
                if flat
                else {
                    "size": size,
                    "stride": [float(field.stride)] * 2,
                    "start": [float(field.start)] * 2,
                    "coverage": field.coverage(SIZE),
                }
                if field
                else None,
                "settings": {}
                if window is None
                else {"kernel_size": [window.kernel] * 2, "stride": [window.stride] * 2, "padding": [window.padding] * 2},
                "formula": formula,
                "module": address.rpartition(".")[0],
                "module_type": operator.title().replace("_", ""),
                "source": f"shapes_net.py:{20 + len(self.layers)} in forward: x = self.{address.split('.')[-1]}(x)",
                "units": channels if units else None,
                "page": units,
                "zeros": 0.35 + 0.5 * (len(self.layers) % 7) / 7 if operator == "relu" else None,
            }
        )
        return address


def _layers(units: int, stages: int) -> list[dict[str, Any]]:
    b = _Builder()
    x = b.add("stem.conv", "conv2d", ["input"], units, Window(5, 2, 2), units=True)
    x = b.add("stem.bn", "batch_norm", [x])
    x = b.add("stem.relu", "relu", [x], units=True)
    x = b.add("pool", "max_pool2d", [x], window=Window(3, 2, 1))
    for stage in range(stages):
        for block in range(2):
            at, shortcut = f"layer{stage + 1}.{block}", x
            x = b.add(f"{at}.conv1", "conv2d", [x], units, Window(3, 1, 1), units=True)
            x = b.add(f"{at}.bn1", "batch_norm", [x])
            x = b.add(f"{at}.relu", "relu", [x], units=True)
            x = b.add(f"{at}.conv2", "conv2d", [x], units, Window(3, 1, 1), units=True)
            x = b.add(f"{at}.bn2", "batch_norm", [x])
            x = b.add(f"{at}.add", "add", [x, shortcut])
            x = b.add(f"{at}.relu:1", "relu", [x], units=True)
    ways = [b.add("mix.one", "conv2d", [x], units, Window(1), units=True)]
    for name, kernel in (("three", 3), ("five", 5)):
        reduced = b.add(f"mix.{name}.reduce", "conv2d", [x], units, Window(1), units=True)
        ways.append(b.add(f"mix.{name}.conv", "conv2d", [reduced], units, Window(kernel, 1, kernel // 2), units=True))
    pooled = b.add("mix.pool", "max_pool2d", [x], window=Window(3, 1, 1))
    ways.append(b.add("mix.project", "conv2d", [pooled], units, Window(1), units=True))
    x = b.add("mix.cat", "cat", ways)
    x = b.add("avgpool", "adaptive_avg_pool2d", [x])
    x = b.add("flatten", "flatten", [x])
    b.add("fc", "linear", [x], len(CLASSES), units=True)
    return b.layers


def _network(layers: list[dict[str, Any]], images: int) -> dict[str, Any]:
    return {
        "name": "ShapesNet",
        "reference": "shapes_net.py:shapes_net(width=16)",
        "print": "9f3c2a71d0be",
        "input_shape": [1, 3, SIZE, SIZE],
        "parameters": sum(x["parameters"] for x in layers),
        "macs": sum(x["macs"] for x in layers),
        "notes": ["Batch norm is fixed to its running statistics: this is the graph of inference."],
        "layers": layers,
        "highlights": [
            {
                "text": "Unit 3 of layer1.0.conv1 fires on one image in fifty and answers to rings alone.",
                "link": "#/unit/layer1.0.conv1/3",
            },
            {
                "text": "Seven images are named wrong; most of them are small rings taken for discs.",
                "link": "#/images?only=wrong",
            },
            {"text": "Half of all multiply-accumulates are spent in layer1.", "link": "#/?colour=macs"},
        ],
        "classes": list(CLASSES),
        "preprocess": f"resized to {SIZE}×{SIZE}, divided by 255, minus 0.5",
        "made": {
            "date": "2026-11-21 13:50 UTC",
            "versions": {"convscope": "0.1.0", "torch": "2.13.0", "python": "3.11"},
            "seconds": 41.7,
            "seed": 0,
            "command": f"convscope atlas shapes_net.py:shapes_net --images shapes/ --out atlas/  # {images} images",
            "python": 'import convscope as cs\nnet = cs.open("shapes_net.py:shapes_net")\ncs.atlas(net, "shapes/", out="a")',
        },
    }


def _collection(
    folder: Path, labels: list[int], pictures: list[Image.Image], pages: int, rng: np.random.Generator
) -> dict[str, Any]:
    sheets, columns, per_sheet = [], 20, 400
    for first in range(0, len(pictures), per_sheet):
        part = pictures[first : first + per_sheet]
        sheet = Image.new("RGB", (columns * THUMB, -(-len(part) // columns) * THUMB), "white")
        for i, picture in enumerate(part):
            sheet.paste(
                picture.resize((THUMB, THUMB), Image.Resampling.LANCZOS), (i % columns * THUMB, i // columns * THUMB)
            )
        sheets.append(f"thumbs/{first // per_sheet:03d}.jpg")
        sheet.save(folder / sheets[-1], quality=90)
    top, probability = [], []
    for label in labels:
        scores = rng.normal(0, 1, len(CLASSES))
        scores[label] += 3.2
        p = np.exp(scores) / np.exp(scores).sum()
        order = np.argsort(-p)[:5]
        top.append(order.tolist())
        probability.append(p[order].round(5).tolist())
    right = sum(t[0] == k for t, k in zip(top, labels, strict=True))
    return {
        "name": "shapes",
        "count": len(labels),
        "classes": list(CLASSES),
        "labels": labels,
        "ids": [f"{CLASSES[k]}/{i:04d}.png" for i, k in enumerate(labels)],
        "thumbs": {"size": THUMB, "columns": columns, "per_sheet": per_sheet, "sheets": sheets},
        "predictions": {"kind": "softmax of logits", "top": top, "probability": probability},
        "accuracy": right / len(labels),
        "pages": list(range(min(pages, len(labels)))),
        "skipped": [{"id": "ring/broken.png", "reason": "truncated: 1,204 of 8,816 bytes could be read"}],
        "notes": ["Every image was resized to 96×96."],
    }


def _units(folder: Path, layer: dict[str, Any], labels: list[int], images: int, rng: np.random.Generator) -> dict[str, Any]:
    units, k = layer["units"], min(9, images)
    shape = layer["output_shape"][2:] or None
    kernel = layer["settings"].get("kernel_size")
    filters = _sheet(folder, f"pictures/filters-{layer['slug']}.png", units, max(kernel[0], 3), rng) if kernel else None
    if filters:
        filters["caption"] = "Weights of each filter, mean over its input channels; one scale for all, ±0.31."
    image, value = [], []
    for _ in range(units):
        liked = int(rng.integers(len(CLASSES)))
        score = rng.gamma(2.0, 1.0, images) + np.array([2.5 * (x == liked) for x in labels])
        order = np.argsort(-score)[:k]
        image.append(order.tolist())
        value.append(score[order].round(4).tolist())
    at = rng.integers(0, shape[0], (2, units, k)).tolist() if shape else [None, None]
    zeros = rng.beta(4, 2, units)
    high = np.array([v[0] for v in value])
    counts = (rng.gamma(1.2, 900, (units, 32)) * np.exp(-np.arange(32) / 6) + rng.integers(0, 3, (units, 32))).astype(int)
    counts[:, 0] += 40000
    levels = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    return {
        "address": layer["address"],
        "units": units,
        "map": shape,
        "count": images,
        "columns": {
            "mean": rng.gamma(2, 0.2, units).round(4).tolist(),
            "deviation": rng.gamma(2, 0.3, units).round(4).tolist(),
            "minimum": [0.0] * units,
            "maximum": high.tolist(),
            "zeros": zeros.round(4).tolist(),
            "fires": (1 - zeros).round(4).tolist(),
            "preferred": rng.integers(0, len(CLASSES), units).tolist(),
            "selectivity": [*rng.beta(2, 3, units).round(4).tolist()[:-1], None],
            "norm": rng.normal(1, 0.2, units).round(4).tolist(),
        },
        "meanings": {
            "mean": "mean over all images and positions",
            "deviation": "standard deviation over all images and positions",
            "minimum": "smallest value",
            "maximum": "largest value",
            "fires": "share of values above zero, 0 … 1",
            "preferred": "class with the largest mean response",
            "zeros": "share of values that are exactly zero, 0 … 1",
            "selectivity": "(best class mean − mean of the others) / (their sum), 0 … 1",
            "norm": "Euclidean norm of the weights",
        },
        "top": {
            "k": k,
            "image": image,
            "value": value,
            "y": at[0] or [[None] * k] * units,
            "x": at[1] or [[None] * k] * units,
        },
        "quantiles": {
            "levels": levels,
            "values": np.sort(rng.gamma(1.4, 1, (units, len(levels))), axis=1).round(4).tolist(),
        },
        "histogram": {
            "low": [0.0 if layer["operator"] == "relu" else -1.5] * units,
            "high": high.tolist(),
            "counts": counts.tolist(),
        },
        "class_means": rng.gamma(2, 0.4, (units, len(CLASSES))).round(4).tolist(),
        "filters": filters,
        "notes": ["Quantiles come from a sketch; their rank error is below 1 %."],
    }


def _sheet(folder: Path, file: str, count: int, side: int, rng: np.random.Generator, smooth: bool = False) -> dict[str, Any]:
    """A sheet of signed tiles in blue, white and red, one pixel apart."""
    columns = min(16, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1, 3), 255, np.uint8)
    y, x = np.mgrid[0:side, 0:side] / max(side - 1, 1) * 2 - 1
    for u in range(count):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        wave = np.cos((np.cos(angle) * x + np.sin(angle) * y) * rng.uniform(1.5, 4) + phase) * np.exp(-(x**2 + y**2) * 0.7)
        value = np.maximum(wave, 0) if smooth else wave
        tile = np.stack([255 * np.clip(1 + 1.6 * value * s, 0, 1) for s in (1, -0.0, -1)], -1)
        tile[..., 1] = 255 * (1 - 0.75 * np.abs(value))
        r, c = u // columns * (side + 1), u % columns * (side + 1)
        sheet[r : r + side, c : c + side] = tile.astype(np.uint8)
    Image.fromarray(sheet).save(folder / file)
    return {"file": file, "tile": [side, side], "gap": 1, "columns": columns, "count": count}


def _image(
    folder: Path, index: int, picture: Image.Image, layers: list[dict[str, Any]], rng: np.random.Generator
) -> dict[str, Any]:
    picture.save(folder / f"pictures/image-{index}.png")
    heatmaps = []
    for method, proof in (("gradient", {"∑ map": 1.92}), ("occlusion", {"largest drop": 4.81, "windows": 576.0})):
        y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
        centre = rng.uniform(0.3, 0.7, 2)
        heat = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) * 40) - 0.4 * np.exp(
            -((y - 0.2) ** 2 + (x - 0.8) ** 2) * 30
        )
        plain = np.stack(
            [255 * np.clip(1 + heat, 0, 1), 255 * (1 - np.abs(heat)), 255 * np.clip(1 - heat, 0, 1)], -1
        ).astype(np.uint8)
        Image.fromarray(plain).resize((288, 288)).save(folder / f"pictures/{method}-{index}.png")
        over = Image.blend(picture.convert("L").convert("RGB"), Image.fromarray(plain), 0.6).resize((288, 288))
        over.save(folder / f"pictures/{method}-over-{index}.png")
        heatmaps.append(
            {
                "method": method,
                "target": "3 ring",
                "score": 7.31,
                "file": f"pictures/{method}-over-{index}.png",
                "plain": f"pictures/{method}-{index}.png",
                "limit": 0.84,
                "proof": proof,
                "notes": ["Grey square of 16 pixels, moved by 4."] if method == "occlusion" else [],
            }
        )
    maps = []
    for layer in layers:
        if layer["page"] and len(layer["output_shape"]) == 4:
            sheet = _sheet(
                folder,
                f"pictures/maps-{index}-{layer['slug']}.png",
                layer["units"],
                layer["output_shape"][2],
                rng,
                smooth=True,
            )
            maps.append(
                {
                    "layer": layer["address"],
                    **sheet,
                    "units": list(range(layer["units"])),
                    "limit": 3.2,
                    "signed": False,
                    "caption": f"Values of {layer['address']}.",
                }
            )
    return {
        "index": index,
        "id": f"image {index}",
        "file": f"pictures/image-{index}.png",
        "width": SIZE,
        "height": SIZE,
        "heatmaps": heatmaps,
        "maps": maps,
    }


def _map(labels: list[int], rng: np.random.Generator) -> dict[str, Any]:
    centres = rng.normal(0, 6, (len(CLASSES), 2))
    points = np.array([centres[k] for k in labels]) + rng.normal(0, 1.4, (len(labels), 2))
    tsne = np.array([10 * np.array([np.cos(k), np.sin(k)]) for k in labels]) + rng.normal(0, 2.2, (len(labels), 2))
    count = len(labels)
    return {
        "layer": "avgpool",
        "index": list(range(count)),
        "views": [
            {
                "name": "PCA",
                "points": points.round(4).tolist(),
                "axes": ["component 1 (31 % of the variance)", "component 2 (17 %)"],
                "notes": [],
            },
            {"name": "t-SNE", "points": tsne.round(4).tolist(), "axes": ["", ""], "notes": ["Perplexity 30, seed 0."]},
        ],
    }
