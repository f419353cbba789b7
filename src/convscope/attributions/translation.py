"""Translation and insertion studies (Zeiler and Fergus 2014, section 4.2: how a score moves when the object does).

    V[i, j] = S(hole with the patch centred at (i, j)) − S(hole)            hole: x, its box filled (x itself with `keep`)

The patch is what x shows in the box. Each pasted image is computed only where it differs from the one with the hole
(`incremental`), which changes nothing but the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attributions import _fill, _map
from convscope.attributions._covered import Covered, Progress, Window
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

GRID = 16  # places along the shorter side, where no step is given


@dataclass(frozen=True)
class Translation:
    """How does the score change when a part of the image is moved, or copied, to every other place?

    A box is cut out, the hole filled, and what was in it pasted centred at every place of a grid, its own among them. Each
    pixel has the value of the nearest place: the score gained over the image with the hole (`value='score'`: the score
    itself). A flat map: the answer does not depend on where the part stands. Values (B, 1, H, W), in units of the score.

    Proof: the largest difference to full passes of the network itself, on three places. Misleads: at the border the patch is
    cropped, so that values fall there for that reason alone; a pasted square has edges, and covers what stood there; the
    fill may be evidence itself. Errors: UsageError (a box outside the image), ShapeError, DataError.
    Source: Zeiler and Fergus 2014; exact pasting in place of shifted images is our own.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4))
    >>> Translation(box="1,1,3,3")(net, torch.ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    box: str | None = param(None, "left,top,right,bottom of the part to move, the last two not included; by default the "
                                  "square in the middle, half as wide as the image's shorter side", unit="px")
    step: int | None = param(None, "from place to place; by default a sixteenth of the image's shorter side", unit="px",
                             low=1)
    keep: bool = param(False, "leave the original where it is: what does a second one add?")
    value: str = param("gain", "the score gained over the image without the patch, or the score itself",
                       choices=("gain", "score"))
    fill: str = param("mean", "mean, grey, zero, blur, noise, or a colour in pixel units such as #808080 or 128,128,128")
    batch: int = param(32, "most pasted images computed together", low=1)
    seed: int = param(0, "seed of the noise", low=0)

    def __post_init__(self) -> None:
        validate(self)
        _fill.check(self.fill)
        if self.box is not None:
            _read(self.box)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'places')` may raise to stop."""
        at, x = _map.prepared(net, x)
        height, width = x.shape[2:]
        y0, y1, x0, x1 = box = self.part(height, width)
        step = self.step or max(1, round(min(height, width) / GRID))
        rows, columns = moves(y0 + (y1 - y0) // 2, step, height), moves(x0 + (x1 - x0) // 2, step, width)
        shifts = [(int(down), int(right)) for down in rows for right in columns]
        windows = [pasted(box, shift, (height, width)) for shift in shifts]
        holes = x.clone()
        if not self.keep:
            holes[:, :, y0:y1, x0:x1] = _fill.filled(net, x, self.fill, self.seed)[:, :, y0:y1, x0:x1]
        near = [nearest(n, first + moved) for n, first, moved in
                ((height, y0 + (y1 - y0) // 2, rows), (width, x0 + (x1 - x0) // 2, columns))]
        values, without, worst = np.zeros((len(x), 1, height, width)), [], 0.0
        for b in range(len(x)):  # image by image: a map does not depend on the batch it came in
            told = None if progress is None else _counted(progress, b * len(windows), len(x) * len(windows))
            asked = Covered(at, holes[b : b + 1], [target], self.batch)
            found = asked.scores(windows, x[b : b + 1], told, shifts)
            mine, full = asked.against_full(windows, x[b : b + 1], found, shifts=shifts)
            worst = max(worst, float((mine - full).abs().max()))
            without.append(float(asked.clean[0]))
            grid = found[:, 0].numpy().reshape(len(rows), len(columns)) - (without[b] if self.value == "gain" else 0.0)
            values[b, 0] = grid[near[0][:, None], near[1]]
        cut = sum((b - a) * (d - c) < (y1 - y0) * (x1 - x0) for a, b, c, d in windows)
        what = f"the part at {x0},{y0},{x1},{y1} (left,top,right,bottom) "
        what += "copied" if self.keep else f"moved, its hole filled with {_fill.said(net, x, self.fill, self.seed)},"
        numbers = ", ".join(f"{v:.4g}" for v in without[:4]) + (", …" if len(without) > 4 else "")
        notes = (f"{what} to {len(windows):,} places, {step} px apart: a pixel has the value of the nearest",
                 f"score {'of the image as it is' if self.keep else 'with the hole alone'}: {numbers}",
                 f"cropped by the border at {cut:,} of {len(windows):,} places")
        kept = torch.from_numpy(values).to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        unit = "gain of the score" if self.value == "gain" else "score"
        return _map.heatmap(net, self, x, target, kept, _map.scores(at, x, target, len(x)), unit=unit, notes=notes,
                            proof={"largest difference to full passes": worst})

    def part(self, height: int, width: int) -> Window:
        """y0, y1, x0, x1 of the part that is moved. Errors: UsageError (it does not fit)."""
        if self.box is None:
            side = max(1, min(height, width) // 2)
            top, left = (height - side) // 2, (width - side) // 2
            return top, top + side, left, left + side
        left, top, right, bottom = _read(self.box)
        if right > width or bottom > height:
            raise UsageError(f"the box {self.box} does not lie in the image", f"it is {width} px wide and {height} high",
                             "give left,top,right,bottom in pixels of the image that the network reads")
        return top, bottom, left, right


def moves(centre: int, step: int, n: int) -> NDArray[np.int64]:
    """How far a patch can move along an axis of n pixels, in steps, so that its centre stays inside; 0 is among them.

    >>> moves(3, 2, 8).tolist()
    [-2, 0, 2, 4]
    """
    return step * np.arange(-(centre // step), (n - 1 - centre) // step + 1)


def nearest(n: int, centres: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the number of the centre that each pixel is nearest to; of two, the first."""
    return np.abs(np.arange(n)[:, None] - centres).argmin(1)


def pasted(box: Window, shift: tuple[int, int], size: tuple[int, int]) -> Window:
    """Where the moved box lies in the image, cut at its borders."""
    (y0, y1, x0, x1), (down, right) = box, shift
    return max(y0 + down, 0), min(y1 + down, size[0]), max(x0 + right, 0), min(x1 + right, size[1])


def _read(box: str) -> Window:
    """left, top, right, bottom."""
    try:
        left, top, right, bottom = (int(part) for part in box.split(","))
    except ValueError as problem:
        raise _wrong(box, "it is not four whole numbers") from problem
    if not (0 <= left < right and 0 <= top < bottom):
        raise _wrong(box, "it is empty, or begins outside the image")
    return left, top, right, bottom


def _wrong(box: str, found: str) -> UsageError:
    return UsageError(f"the box {box!r} is no part of an image", found, "give left,top,right,bottom, as in 40,40,120,120")


def _counted(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one image, told as that of all; 'places' are its windows."""
    return lambda done, _, __: progress(before + done, total, "places")
