"""What the methods that make heat-maps share: a checked input, the score of many images, its gradient, and the result.

A method is called as `method(net, x, target) -> Heatmap` with `x` (B, C, H, W) in the network's own units and a
`run.Target`; it works on a detached copy of `x` and never on the user's module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attributions import _forward
from convscope.errors import DataError, ShapeError
from convscope.images import Pixels
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Rule, Target


def prepared(net: Network, x: Tensor) -> tuple[Network, Tensor]:
    """The network at the size of `x`, and `x` as a detached copy (B, C, H, W). Errors: ShapeError, DataError."""
    with torch.inference_mode(False):
        x = net.check_input(x).detach().clone()
    if x.ndim != 4 or not x.is_floating_point():
        raise ShapeError("a heat-map needs images B×C×H×W of floating point",
                         f"{net.name} reads {tuple(x.shape)} of {x.dtype}",
                         "use net.run and autograd for inputs that are no images")
    bad = (~torch.isfinite(x)).flatten(1).any(1)
    if bool(bad.any()):
        raise DataError("cannot explain an image with NaN or infinite values",
                        f"image {int(bad.nonzero()[0])} of the batch has some",
                        "look for where they arise in your preprocessing")
    return net.at(x.shape[1:]), x


def pieces(net: Network, x: Tensor, size: int) -> Iterator[tuple[Tensor, int]]:
    """`x` in runs of at most `size` images, and how many of each count: a batch that the network fixes is filled up."""
    step = net.batch or size
    for part in x.split(step):
        missing = (net.batch or 0) - len(part)
        yield (torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing > 0 else part), len(part)


def scores(net: Network, x: Tensor, target: Target, size: int, rules: Mapping[str, Rule] | None = None) -> Tensor:
    """(B,) the target's value for each image."""
    return torch.cat([target.score(net, part, rules=rules)[:count] for part, count in pieces(net, x, size)])


def gradient(net: Network, x: Tensor, target: Target, rules: Mapping[str, Rule] | None = None) -> tuple[Tensor, Tensor]:
    """∂score/∂x (B, C, H, W) and the scores (B,). Parameters get none; works inside no_grad and inference_mode."""
    found: list[tuple[Tensor, Tensor]] = []
    for part, count in pieces(net, x, len(x)):
        ready = None if rules else _forward.shared(net, part)
        if ready is not None:
            (slope,) = ready.gradients(target, [ready.x])
            found.append((slope[:count], ready.score(target)[:count].detach()))
            continue
        with torch.inference_mode(False), torch.enable_grad():
            own = part.detach().clone().requires_grad_()
            score = target.score(net, own, rules=rules, grad=True)
            if score.grad_fn is None:  # a score that does not depend on the image at all
                slope = torch.zeros_like(own)
            else:
                slope = torch.autograd.grad(score.sum(), own, allow_unused=True)[0]
                slope = torch.zeros_like(own) if slope is None else slope
        found.append((slope[:count].detach(), score[:count].detach()))
    return torch.cat([g for g, _ in found]), torch.cat([s for _, s in found])


def shown(net: Network, x: Tensor) -> tuple[Pixels, tuple[str, ...]]:
    """(B, H, W, 3) uint8 to draw beneath the map, and a note where the colours had to be made up."""
    if net.preprocess is not None and net.preprocess.depth == x.shape[1]:
        return net.preprocess.inverse(x.double().cpu().numpy()), ()
    values = x.double().cpu().numpy()
    low, high = values.min(), values.max()
    grey = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 127.5)
    first = grey[:, :3] if grey.shape[1] >= 3 else np.repeat(grey[:, :1], 3, axis=1)
    note = f"preprocessing not given: the image is drawn with {low:.3g} as black and {high:.3g} as white"
    return np.rint(first).astype(np.uint8).transpose(0, 2, 3, 1).copy(), (note,)


def heatmap(net: Network, method: Any, x: Tensor, target: Target, values: Tensor | NDArray[Any], score: Tensor, *,
            notes: tuple[str, ...] = (), **facts: Any) -> Heatmap:
    """The result of a method. `facts`: unit, proof."""
    images, remarks = shown(net, x)
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    return Heatmap(values=array, images=images, targets=(target.label,) * len(x), scores=score.detach().cpu().numpy(),
                   notes=(*notes, *remarks), origin=net.origin(method, x), **facts)
