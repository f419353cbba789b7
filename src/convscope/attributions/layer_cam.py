"""LayerCAM (Jiang, Zhang, Hou, Cheng, Wei 2021, "Exploring Hierarchical Class Activation Maps for Localization").

    L[b, i, j] = Σ_k max(∂S/∂A_k(i, j), 0) · A_k(i, j),    or with relu  max(L, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convscope.attributions import _layer, _map
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class LayerCAM:
    """Where in any layer, also an early one, do the maps push the score up?

    Every value of a map has a weight of its own: the gradient of the score there, where it is positive. So the map keeps
    its place also in early, finer layers. Values (B, 1, H, W): the small map, resized bilinearly, in units of the score;
    below zero only where the layer's values are. The paper draws max(L, 0): `relu=True`.

    Proof: the size of the small map, and L beside Σ_k ∂S/∂A_k · A_k, the same with negative gradients kept: their sums
    (what the rule leaves out is the difference).

    Misleads by leaving out whatever speaks against the target. Errors: UsageError (no layer with maps), UnknownName,
    ShapeError, DataError. Source: Jiang et al. 2021.

    >>> from torch import nn, ones
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> LayerCAM()(Network.open(body, (1, 4, 4)), ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    layer: str | None = param(None, "whose maps to read; by default the last with a map larger than 1×1 below the target")
    relu: bool = param(False, "keep only what is above zero, after the sum over channels, as the paper draws it")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        maps = _layer.maps(at, x, target, _layer.chosen(at, target, self.layer, "LayerCAM"))
        signed = (maps.slopes.relu() * maps.values).sum(1, keepdim=True)
        small = signed.relu() if self.relu else signed
        both = (maps.slopes[:1] * maps.values[:1]).double().sum()
        proof = _layer.about(maps, signed) | {"sum of the first image's map": float(signed[0].double().sum()),
                                              "sum with negative gradients kept": float(both)}
        return _map.heatmap(at, self, x, target, _layer.resized(small, x.shape[2:]), maps.scores, unit="score", proof=proof,
                            notes=_layer.silent(small, "LayerCAM"))
