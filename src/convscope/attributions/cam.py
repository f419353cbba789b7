"""Class activation mapping (Zhou, Khosla, Lapedriza, Oliva, Torralba 2016, "Learning Deep Features for Discriminative
Localization").

    M[b, i, j] = Σ_k w_k · A_k(i, j)          S = (1/hw) Σ_ij M[i, j] + b
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _head, _layer, _map
from convscope.errors import UsageError
from convscope.fields import validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class CAM:
    """What does each place of the last maps add to the score of a class?

    M = Σ_k w_k·A_k with the class's own weights w, for networks that end in a mean over whole maps and at most one linear
    layer; then the mean of M plus the bias is the score, exactly. Values (B, 1, H, W): the small map, signed, resized
    bilinearly; in units of the score.

    Proof: |mean(M) + b − S|, relative; and the size of the small map.

    Misleads about fine detail: a value of the small map stands for its whole receptive field. Errors: UsageError where the
    network ends otherwise (take Grad-CAM), ShapeError, DataError. Source: Zhou et al. 2016.

    >>> from torch import nn
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> CAM()(Network.open(body, (1, 4, 4)), torch.ones(1, 1, 4, 4), Target("0", 0)).proof["layer"]
    '0'
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        head = _head.head(at, target)
        if isinstance(head, str):
            raise UsageError(f"CAM does not apply to {target.label!r} of {net.name}", head,
                             "it needs a mean over whole maps and one linear layer; take grad-cam")
        maps = _layer.maps(at, x, target, head.layer)
        small = _layer.weighted(maps.values, head.weights.expand(len(x), -1), relu=False)
        proof = _layer.about(maps, small) | {
            "disagreement of its mean, plus the bias, with the score":
                disagreement(small.double().mean((1, 2, 3)), head.bias, maps.scores)}
        return _map.heatmap(at, self, x, target, _layer.resized(small, x.shape[2:]), maps.scores, unit="score", proof=proof,
                            notes=_layer.silent(small, "CAM"))


def disagreement(part: Tensor, bias: float, score: Tensor) -> float:
    """The largest |part + bias − score| over the batch, relative to the largest of the three."""
    scale = torch.maximum(part.abs(), score.double().abs()).clamp_min(max(abs(bias), torch.finfo(torch.float32).tiny))
    return float(((part + bias - score).abs() / scale).max())
