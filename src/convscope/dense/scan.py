"""Where in a picture does the network see a class? The scores of all windows, as a map and as boxes.

    score[y, x] = f(X[:, g·y : g·y + n, g·x : g·x + m])[target]        n × m: what the network reads; g: the stride

equal to a loop over all windows (see `choose` for how); at every scale the picture is resized and scanned again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import inputs, run
from convscope.dense import choose, peaks, tiles, window
from convscope.dense.axes import Grid, windows
from convscope.dense.choose import Way
from convscope.dense.peaks import Boxes
from convscope.dense.pieces import Grids
from convscope.errors import ShapeError, UsageError
from convscope.fields import param, validate
from convscope.images import Pixels
from convscope.network import Network
from convscope.results import Heatmap, Picture, Table

Progress = Callable[[int, int, str], None]
MEANINGS = {
    "score": "of the window", "class": "what the window was scored for", "left": "px", "top": "px", "width": "px",
    "height": "px", "scale": "how much the picture was resized", "row": "the window's centre, px", "column": "the same",
}


@dataclass(frozen=True)
class Scan:
    """The scores on the picture (one map a scale), the best windows, and those windows drawn on the picture."""

    heatmap: Heatmap
    peaks: Table
    picture: Picture
    scores: tuple[NDArray[np.floating], ...]  # (P, Q) a scale: the scores of the windows themselves


@dataclass(frozen=True)
class DenseScan:
    """Where in a larger picture does a network see a class?

    score[y, x] = f(X[:, g·y : g·y + n, g·x : g·x + m])[target] for all windows of the network's own size n × m, `stride` g
    pixels apart, at every scale. (C, H, W) gives (P, Q) scores, P = ⌊(H − n)/g⌋ + 1. They equal a loop over windows (to 10⁻⁵
    in float32, and checked on `samples` of them in every scan) but for the way 'context'. On the heat-map a pixel has the
    score of the window whose centre it is (its pixel (n − 1)//2, (m − 1)//2); where no window is centred there is no number.

    It misleads where the network never saw what lies between objects: it must answer at every window, and its highest
    scores may be on things that it was never taught. Errors: UsageError (settings; a way that the network forbids: the layer
    and why), ShapeError (a picture smaller than a window at a scale).

    Source: Giusti et al. 2013; Li, Zhao, Wang 2014; Sermanet et al. 2014 (see `convscope.dense`).

    >>> from convscope.network import Network
    >>> net = Network.open(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 5), torch.nn.Flatten()), (1, 5, 5))
    >>> DenseScan()(net, torch.zeros(1, 8, 9), 0).scores[0].shape
    (4, 5)
    """

    stride: int = param(1, "pixels from one window to the next", unit="px", low=1)
    scales: str = param("1", "sizes at which the picture is scanned, comma-separated: 1,0.7,0.5")
    way: str = param("auto", "how windows share what they share: auto is the cheapest exact way; context is not exact",
                     choices=("auto", "windows", "coarse", "dilated", "fragments", "zones", "context"))
    score: str = param("output", "output: the class's own; margin: that less the best of the others",
                       choices=("output", "margin"))
    top: int = param(10, "how many boxes", low=1)
    overlap: float = param(0.3, "boxes that overlap more (intersection over union) are dropped", low=0.0, high=1.0)
    threshold: float | None = param(None, "boxes of lower score are dropped")
    memory: int = param(128, "bound on the maps held at once; larger pictures are scanned in tiles", unit="MB", low=1)
    samples: int = param(16, "windows that are also run one by one, to compare", low=0)
    seed: int = param(0, "which windows those are")

    def __post_init__(self) -> None:
        validate(self)
        self.sizes()

    def sizes(self) -> tuple[float, ...]:
        """The scales as numbers."""
        try:
            found = tuple(float(part) for part in self.scales.split(","))
        except ValueError as problem:
            raise UsageError(f"DenseScan.scales must be numbers, got {self.scales!r}", str(problem),
                             "for example 1,0.7,0.5") from problem
        if not all(0 < s <= 16 for s in found):
            raise UsageError(f"DenseScan.scales must be over 0 and up to 16, got {self.scales!r}", f"read as {found}",
                             "1 is the picture as it is, 0.5 half its size")
        return found

    def __call__(self, net: Network, image: Pixels | Tensor, target: str | int | None = None,
                 progress: Progress | None = None) -> Scan:
        """Scan uint8 pixels (H, W, C), or (C, H, W) numbers as the network reads them."""
        asked = None if target is None else _class(net, target)
        pictures = [self._resized(net, image, scale) for scale in self.sizes()]
        plans = [self._plan(net, x) for x, _ in pictures]
        total, done = sum(grids[0].count * grids[1].count for grids, _ in plans), 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, total, f"scan: {done:,} of {total:,} windows")

        maps = [_Map(self, plan, x, asked, scale).scored(told)
                for plan, (x, _), scale in zip(plans, pictures, self.sizes(), strict=True)]
        assumed = tuple(dict.fromkeys(note for _, notes in pictures for note in notes))
        return self._put_together(net, image, maps, (asked, assumed))

    def _plan(self, net: Network, x: Tensor) -> tuple[Grids, Way]:
        size = net.input_shape[2:]
        counts = [windows(n, w, self.stride) for n, w in zip(x.shape[1:], size, strict=True)]
        if 0 in counts:
            raise ShapeError(f"no window of {size[0]}×{size[1]} pixels fits",
                             f"the picture has {x.shape[1]}×{x.shape[2]} at this scale", "use a larger picture or scale")
        grids = (Grid(counts[0], self.stride), Grid(counts[1], self.stride))
        return grids, choose.choose(net, self.way, grids)

    def _resized(self, net: Network, image: Pixels | Tensor, scale: float) -> tuple[Tensor, tuple[str, ...]]:
        """(C, H, W) of the picture at a scale, as the network reads it."""
        if len(net.input_shape) != 4:
            raise UsageError(f"{net.name} does not read windows of an image", f"it takes {net.input_shape}",
                             "scan a classifier of images")
        if isinstance(image, Tensor):
            if image.ndim != 3 or image.shape[0] != net.input_shape[1] or not image.is_floating_point():
                raise ShapeError(f"{net.name} reads {net.input_shape[1]} channels of numbers",
                                 f"got {image.dtype} of shape {tuple(image.shape)}", "give a float tensor (C, H, W)")
            if scale != 1:
                raise UsageError("numbers that the network reads are not resized", f"got scale {scale:g}",
                                 "give uint8 pixels (H, W, C) for several scales")
            return image.detach().to(dtype=net.dtype, device=net.device), ()
        own, note = inputs.preprocess_of(net)
        size = (max(round(image.shape[0] * scale), 1), max(round(image.shape[1] * scale), 1))
        prepared = dataclasses.replace(own, size=size, resize="stretch", resize_to=None)
        if note:
            note = f"preprocessing not given; assumed: 0 … {own.range:g}, minus {own.mean[0]:g}, divided by {own.std[0]:g}"
        x = torch.from_numpy(np.ascontiguousarray(prepared(image)))
        return x.to(dtype=net.dtype, device=net.device), (note,) if note else ()

    def _put_together(self, net: Network, image: Pixels | Tensor, maps: list[_Map],
                      asked: tuple[int | None, tuple[str, ...]]) -> Scan:
        target, assumed = asked
        shown = _shown(net, image)
        size = (shown.shape[0], shown.shape[1])
        found = peaks.best(peaks.joined([one.boxes(size) for one in maps]), self.top, self.overlap, self.threshold)
        name = "the best class" if target is None else run.class_name(net, target)
        several = len(maps) > 1
        notes = (*dict.fromkeys(note for one in maps for note in one.notes(several)), *assumed,
                 f"hatched: no window of {maps[0].size[0]}×{maps[0].size[1]} is centred there")
        origin = net.origin(self, maps[0].x, self.seed)
        heat = Heatmap(
            values=np.stack([one.on(size) for one in maps])[:, None], images=np.repeat(shown[None], len(maps), 0),
            targets=tuple(f"{name}, scale {one.scale:g}" if several else name for one in maps),
            scores=np.array([np.nanmax(one.values[..., 0]) for one in maps]), notes=notes, origin=origin,
            unit="output of the network" if self.score == "output" else "output, less the best of the other classes",
            proof=_proof(maps))
        centre = found.box[:, :2] + found.box[:, 2:] / 2
        columns: dict[str, NDArray[Any]] = {"score": found.score}
        columns["class"] = np.array([run.class_name(net, int(k)) for k in found.kind], dtype=np.str_)
        columns |= {key: found.box[:, k] for k, key in enumerate(("left", "top", "width", "height"))}
        columns |= {"scale": found.scale, "row": centre[:, 1], "column": centre[:, 0]}
        limits = (f"greedy non-maximum suppression: boxes that overlap by more than {self.overlap:g} are dropped",)
        table = Table(columns=columns, units=MEANINGS, title=f"where {net.name} sees {name}",
                      notes=(*limits, *notes[:-1], *_said(maps)),
                      origin=origin)
        picture = Picture(tiles=peaks.framed(shown, found)[None], units=(name,), title=f"where {net.name} sees {name}",
                          scale="rgb", notes=(f"{len(found)} boxes, the best one red", *limits), origin=origin)
        return Scan(heat, table, picture, tuple(one.values[..., 0] for one in maps))


class _Map:
    """The scores of all windows at one scale."""

    def __init__(self, method: DenseScan, plan: tuple[Grids, Way], x: Tensor, target: int | None, scale: float) -> None:
        self.method, self.x, self.target, self.scale = method, x, target, scale
        self.grids, self.way = plan
        self.size = self.way.reading.size
        self.values: NDArray[Any] = np.zeros(0)  # (P, Q, 2): score, class
        self.off, self.compared = 0.0, 0
        self.spread = 0.0

    def scored(self, told: Callable[[int], None]) -> _Map:
        job = tiles.Job(self.way.work, self.way.margin, self._read, told)
        found = tiles.run(job, self.way.reading, self.x, self.grids, self.method.memory * 10**6)
        self.values = found.double().cpu().numpy()
        self.spread = float(self.values[..., 0].std())
        self._compare()
        return self

    def _read(self, outputs: Tensor) -> Tensor:
        """(N, K) -> (N, 2): score and class of each window."""
        if self.method.score == "margin" and outputs.shape[1] < 2:
            raise UsageError("a margin needs other classes", f"{self.way.reading.net.name} has one output",
                             "use score='output'")
        if self.target is None:
            two = outputs.topk(min(2, outputs.shape[1]), 1)
            score, kind = two.values[:, 0], two.indices[:, 0]
            score = score - two.values[:, 1] if self.method.score == "margin" else score
        else:
            score, kind = outputs[:, self.target], torch.full_like(outputs[:, 0], self.target)
            if self.method.score == "margin":
                others = torch.cat([outputs[:, : self.target], outputs[:, self.target + 1 :]], 1)
                score = score - others.max(1).values
        return torch.stack([score, kind.to(score)], 1)

    def _compare(self) -> None:
        """The same windows one by one: how far the scan is from the loop."""
        count = self.grids[0].count * self.grids[1].count
        self.compared = min(self.method.samples, count) if self.way.name != "windows" else 0
        if self.compared == 0:
            return
        picked = np.random.default_rng(self.method.seed).choice(count, self.compared, replace=False)
        places = [divmod(int(k), self.grids[1].count) for k in picked]
        alone = self._read(window.at(self.way.reading.net, self.x, places, self.grids)).double().cpu().numpy()
        self.off = float(np.abs(alone[:, 0] - self.values[tuple(zip(*places, strict=True))][:, 0]).max())

    def notes(self, several: bool) -> list[str]:
        at = f"scale {self.scale:g}: " if several else ""
        counts = f"{self.grids[0].count}×{self.grids[1].count} windows of {self.size[0]}×{self.size[1]} px"
        found = [f"{at}{counts}, {self.grids[0].stride} px apart; way: {self.way.name}", *self.way.notes]
        if not self.way.exact:
            found.append(f"{at}NOT the window loop: windows are padded with the pixels around them; on {self.compared} "
                         f"of them (seed {self.method.seed}) scores differ by up to {self.off:.3g}; the standard "
                         f"deviation of all scores is {self.spread:.3g}")
        return found

    def boxes(self, size: tuple[int, int]) -> Boxes:
        """Every window as a box on the picture of this size."""
        ratios = [n / m for n, m in zip(size, self.x.shape[1:], strict=True)]
        rows, columns = np.indices(self.values.shape[:2]) * self.grids[0].stride
        count = rows.size
        box = np.stack([columns.ravel() * ratios[1], rows.ravel() * ratios[0], np.full(count, self.size[1] * ratios[1]),
                        np.full(count, self.size[0] * ratios[0])], 1)
        kinds = self.values[..., 1].ravel().astype(np.int64)
        return Boxes(self.values[..., 0].ravel(), box, np.full(count, self.scale), kinds)

    def on(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """(H, W): each pixel has the score of the window that is centred on it, or nearest to that; NaN beyond."""
        index: list[NDArray[np.int64]] = []
        inside: list[NDArray[np.bool_]] = []
        for k in (0, 1):
            here = (np.arange(size[k]) + 0.5) * self.x.shape[1 + k] / size[k] - 0.5  # in pixels of the scaled picture
            at = np.floor((here - (self.size[k] - 1) // 2) / self.grids[k].stride + 0.5).astype(np.int64)
            inside.append((at >= 0) & (at < self.grids[k].count))
            index.append(np.clip(at, 0, self.grids[k].count - 1))
        found = self.values[..., 0][np.ix_(*index)]
        return np.where(np.logical_and.outer(*inside), found, np.nan)


def _proof(maps: list[_Map]) -> dict[str, float | str]:
    compared = sum(one.compared for one in maps)
    if compared == 0:
        return {}
    return {"windows run one by one": float(compared), "largest difference": max(one.off for one in maps)}


def _said(maps: list[_Map]) -> tuple[str, ...]:
    """The same in words."""
    proof = _proof(maps)
    if not proof:
        return ()
    count, off = proof["windows run one by one"], proof["largest difference"]
    return (f"{count:g} windows were also run one by one (seed {maps[0].method.seed}): largest difference {off:.2g}",)


def _class(net: Network, target: str | int) -> int:
    zero = torch.zeros(1, *net.input_shape[1:], dtype=net.dtype, device=net.device)
    found = run.target(net, target, zero)
    if found.index is None:
        raise UsageError("a scan asks for a class", f"{target!r} is a unit", "give a class by name or index, or none at all")
    return found.index


def _shown(net: Network, image: Pixels | Tensor) -> Pixels:
    """uint8 (H, W, 3) of the picture, to draw on."""
    if not isinstance(image, Tensor):
        return np.repeat(image, 3, 2) if image.shape[2] == 1 else np.ascontiguousarray(image[..., :3])
    own, _ = inputs.preprocess_of(net)
    if own.depth != image.shape[0]:
        return np.zeros((*image.shape[1:], 3), np.uint8)
    return own.inverse(image.double().cpu().numpy())
