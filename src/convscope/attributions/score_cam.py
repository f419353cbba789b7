"""Score-CAM (Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu 2020, "Score-Weighted Visual Explanations for Convolutional
Neural Networks", algorithm 1).

    H_k = (A_k↑ − min A_k↑) / (max A_k↑ − min A_k↑)      C_k = S(x ⊙ H_k + x̄ ⊙ (1 − H_k)) − S(x̄)
    α = softmax over k of C                              L = Σ_k α_k · A_k,    or with relu  max(L, 0)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _baseline, _layer, _map, _masked
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class ScoreCAM:
    """Where in a layer are the maps that, used as a mask, keep the score up?

    No gradient: each map of the layer, resized to the image and scaled to 0 … 1, is a mask; the score of the image seen
    through it, over that of the baseline, decides the map's weight. Values (B, 1, H, W): the weighted sum of the maps,
    resized bilinearly; in units of the layer's values (the weights sum to 1). The paper draws max(L, 0): `relu=True`.

    Proof: how many channels were tried of how many; the sum of the weights; the largest weight (near 1: a single map
    decides); how many masks raised the score over the whole image's.

    Misleads where the softmax makes one map win by the scale of the scores alone, and through what the mask fades to: in a
    normalised image zero is the mean colour, not black. Errors: UsageError (no layer with maps), UnknownName, ShapeError,
    DataError. Source: Wang et al. 2020.

    >>> from torch import nn, ones
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> ScoreCAM()(Network.open(body, (1, 4, 4)), ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    layer: str | None = param(None, "whose maps to read; by default the last with a map larger than 1×1 below the target")
    most: int = param(256, "at most so many maps, those with the widest range; 0 for all", low=0)
    baseline: str = param("zero", "what a mask fades to: zeros in the network's units, black, grey, the mean colour, blur",
                          choices=("zero", "black", "grey", "mean", "blur"))
    relu: bool = param(False, "keep only what is above zero, after the sum over channels, as the paper draws it")
    batch: int = param(32, "masked images per forward pass", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target, progress: _masked.Progress | None = None) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). `progress(done, total, 'masks')` may raise to stop."""
        at, x = _map.prepared(net, x)
        layer = _layer.chosen(at, target, self.layer, "Score-CAM")
        score = _masked.scorer(at, target, self.batch)
        faded, words = _baseline.baseline(at, x, self.baseline)
        # Image by image, so that an image's map does not depend on the batch it came in.
        maps = torch.cat([_layer.values_only(at, image[None], layer) for image in x])
        weights, clean, raised = torch.zeros(maps.shape[:2], dtype=torch.float64), x.new_zeros(len(x)), 0
        tried = [self.strongest(one) for one in maps]
        for b, image in enumerate(x):
            clean[b] = score(image[None])[0]
            gains = self.gains(image, faded[b], maps[b, tried[b]], score)
            done: list[Tensor] = [torch.zeros(0, dtype=torch.float64)]
            for some in gains:
                done.append(some)
                if progress is not None:
                    progress(sum(len(t) for t in (*tried[:b], *done)), sum(map(len, tried)), "masks")
            increase = torch.cat(done)
            weights[b, tried[b].cpu()] = increase.softmax(0)
            raised += int((increase + float(score(faded[b][None])[0]) > float(clean[b])).sum())
        signed = _layer.weighted(maps, weights.to(maps), relu=False)
        small = signed.relu() if self.relu else signed
        h, w = small.shape[2:]
        total = sum(map(len, tried))
        proof: dict[str, float | str] = {
            "layer": layer.address, "map of the layer": f"{h}×{w}", "largest weight": float(weights.max()),
            "sum of the weights": float(weights.sum() / len(x)), "masks that raised the score": f"{raised} of {total}",
            "channels tried": f"{min(map(len, tried))} … {max(map(len, tried))} of {maps.shape[1]}"}
        left = "" if not self.most or self.most >= maps.shape[1] else (
            f"only the {self.most} maps with the widest range were tried, of {maps.shape[1]} (most=0 tries all)")
        notes = (f"masks fade to {words}", *([left] if left else []), *_layer.silent(small, "Score-CAM"))
        return _map.heatmap(at, self, x, target, _layer.resized(small, x.shape[2:]), clean, unit="activation", proof=proof,
                            notes=notes)

    def strongest(self, maps: Tensor) -> Tensor:
        """Indices of the maps (U, h, w) to try. A map with one value everywhere is no mask, and never tried."""
        width = maps.flatten(1).amax(1) - maps.flatten(1).amin(1)
        order = torch.argsort(width, descending=True, stable=True)
        order = order[width[order] > 0]
        return order[: self.most] if self.most else order

    def gains(self, image: Tensor, faded: Tensor, maps: Tensor, score: _masked.Score) -> Iterator[Tensor]:
        """C for each of `maps` (n, h, w), a batch at a time."""
        base = float(score(faded[None])[0])
        for _, scores in _masked.through(score, image, faded, self.masks(maps, tuple(image.shape[1:]))):
            yield scores - base

    def masks(self, maps: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        """(n, 1, H, W) from 0 to 1, a batch at a time."""
        for some in maps.split(self.batch):
            large = _layer.resized(some[:, None], size)
            low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
            width = torch.where(high > low, high - low, torch.ones_like(high))
            yield (large - low) / width
