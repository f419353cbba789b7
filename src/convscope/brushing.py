"""Paint on an image and see the classes move: what the page's brush asks, answered by changed passes (`incremental`).

A stroke is a line of points (x, y) in pixels of the network's input, a radius and what the brush leaves behind. A pixel is
painted if its centre lies within the radius of the line; later strokes lie over earlier ones. The answer is that of a full
pass up to rounding; `check` runs one and says by how much they differ.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import outputs, run
from convscope.attributions import _fill
from convscope.draw import raster
from convscope.errors import UsageError
from convscope.incremental.executor import Incremental
from convscope.network import Network

FILLS = ("grey", "mean", "blur", "noise", "image")  # 'image' paints the picture back
STROKES, POINTS = 500, 20_000  # at most
SHOWN = 5  # classes before and now
FORM = '{"image": 3, "strokes": [{"fill": "grey", "radius": 8, "points": [[10, 20], [14, 22]]}]}'


@dataclass(frozen=True)
class Stroke:
    """One line of the brush."""

    fill: str
    radius: float
    points: tuple[tuple[float, float], ...]  # (x, y), in pixels

    @classmethod
    def read(cls, asked: Any) -> Stroke:
        """From the page's JSON. Errors: UsageError."""
        if not isinstance(asked, Mapping) or asked.get("fill") not in FILLS:
            found = asked.get("fill") if isinstance(asked, Mapping) else asked
            raise UsageError(f"a stroke's fill is one of {', '.join(FILLS)}", f"got {found!r:.60}", f"like this: {FORM}")
        radius, points = asked.get("radius"), asked.get("points")
        if not _number(radius) or not 0.5 <= float(radius) <= 512:  # type: ignore[arg-type]
            raise UsageError("a stroke's radius is 0.5 … 512 pixels", f"got {radius!r:.60}", f"like this: {FORM}")
        if not isinstance(points, list) or not points or not all(_place(p) for p in points):
            raise UsageError("a stroke's points are pairs of finite numbers", f"got {points!r:.60}", f"like this: {FORM}")
        return cls(asked["fill"], float(radius), tuple((float(x), float(y)) for x, y in points))  # type: ignore[arg-type]


def strokes(asked: Any) -> tuple[Stroke, ...]:
    """All strokes of a question. Errors: UsageError."""
    if not isinstance(asked, list) or len(asked) > STROKES:
        found = f"got {len(asked):,}" if isinstance(asked, list) else f"got {asked!r:.60}"
        raise UsageError(f"strokes are a list of at most {STROKES}", found, f"like this: {FORM}")
    read = tuple(Stroke.read(one) for one in asked)
    if sum(len(one.points) for one in read) > POINTS:
        raise UsageError(f"strokes have at most {POINTS:,} points in all", "there are more", "use a larger brush, or reset")
    return read


class Easel:
    """One image that is painted on. The clean pass is made once; fills are made when first used."""

    def __init__(self, net: Network, x: Tensor) -> None:
        self.net = net.at(x.shape[1:])
        self.passes = Incremental(net, x)
        self.x = net.check_input(x)
        self.fills: dict[str, Tensor] = {"image": self.x}
        self.reading = outputs.read(self.net)
        self.before, self.kind = self.reading.each(self.passes.clean.flatten(1).float()), self.reading.does
        self.under: tuple[tuple[Stroke, ...], Tensor] = ((), self.x)  # the strokes that were there, and the image with them

    def answer(self, painted: Sequence[Stroke], check: bool = False) -> dict[str, Any]:
        """The classes before and now, in the order of before; `check`: how far that is from a full pass."""
        image = self.painted(tuple(painted))
        began = time.perf_counter()
        output = self.passes.changed(image).flatten(1).float()
        took = time.perf_counter() - began
        now = self.reading.each(output)
        count = min(SHOWN, now.shape[1])
        shown = list(dict.fromkeys([*self.before[0].topk(count).indices.tolist(), *now[0].topk(count).indices.tolist()]))
        answer: dict[str, Any] = {
            "classes": [{"index": k, "name": run.class_name(self.net, k), "before": float(self.before[0, k]),
                         "now": float(now[0, k]), "output": float(output[0, k])} for k in shown],
            "kind": self.kind, "milliseconds": round(1000 * took, 2),
            "painted": float((image != self.x).any(1).float().mean()),
        }
        if check:
            began = time.perf_counter()
            whole = run.run(self.net, image).output.flatten(1).float()
            answer["check"] = {"difference": float((whole - output).abs().max()), "largest": float(whole.abs().max()),
                               "milliseconds": round(1000 * (time.perf_counter() - began), 2)}
        return answer

    def painted(self, asked: tuple[Stroke, ...]) -> Tensor:
        """(1, C, H, W): the image with the strokes on it."""
        done, image = self.under
        if asked[: len(done)] != done:
            done, image = (), self.x
        for stroke in asked[len(done) :]:
            mask = torch.from_numpy(covered(stroke, image.shape[2], image.shape[3])).to(image.device)
            image = torch.where(mask, self.fill(stroke.fill), image)
            if stroke is not asked[-1]:
                done = (*done, stroke)
                self.under = (done, image)
        return image

    def fill(self, name: str) -> Tensor:
        if name not in self.fills:
            self.fills[name] = _fill.filled(self.net, self.x, name)
        return self.fills[name]

    def pictures(self, inverse: Any) -> dict[str, bytes]:
        """What each fill looks like, as PNG by name. `inverse`: from the network's units to pixels."""
        return {name: raster.png(inverse(self.fill(name)[0].double().cpu().numpy())) for name in FILLS}


def covered(stroke: Stroke, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W): the pixels whose centres lie within the radius of the stroke's line.

    >>> covered(Stroke("grey", 0.6, ((0.5, 0.5), (2.5, 0.5))), 2, 4).astype(int).tolist()
    [[1, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros((height, width), bool)
    at = np.array(stroke.points)
    for start, end in zip(at, at[1:] if len(at) > 1 else at, strict=False):
        low, high = np.minimum(start, end) - stroke.radius, np.maximum(start, end) + stroke.radius
        x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, (width, height)))
        x1, y1 = (int(v) for v in np.clip(np.ceil(high), 0, (width, height)))
        if x0 >= x1 or y0 >= y1:
            continue
        x, y = np.arange(x0, x1) + 0.5, np.arange(y0, y1)[:, None] + 0.5
        (dx, dy), length = end - start, float(((end - start) ** 2).sum())
        t = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / length, 0, 1) if length > 0 else 0.0
        mask[y0:y1, x0:x1] |= (x - start[0] - t * dx) ** 2 + (y - start[1] - t * dy) ** 2 <= stroke.radius**2
    return mask


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _place(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(_number(v) for v in point)
