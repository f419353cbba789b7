"""Grad-CAM (Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, "Visual Explanations from Deep Networks via
Gradient-Based Localization").

    α_k = (1/hw) Σ_ij ∂S/∂A_k(i, j)          L = Σ_k α_k · A_k,    or with relu  max(L, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convscope.attributions import _head, _layer, _map
from convscope.attributions.cam import disagreement
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class GradCAM:
    """Where in a layer are the maps that the score likes?

    Each map of the layer is weighted with the spatial mean of the gradient of the score (before any softmax of ours), and
    the weighted maps are summed. Values (B, 1, H, W): the small map, resized bilinearly, in units of the score. It is
    signed: what is below zero speaks against the target. The paper draws max(L, 0): `relu=True`, after the sum.

    Proof: where the network ends in a mean over this layer and one linear layer, L is CAM divided by the number of
    positions, so the sum of L plus the bias is the score (disagreement, relative); elsewhere no identity is promised, and
    the proof says why.

    Misleads in layers below the last: the mean of the gradient loses where the gradient was. Errors: UsageError (no layer
    with maps), UnknownName, ShapeError, DataError. Source: Selvaraju et al. 2017.

    >>> from torch import nn, ones
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> GradCAM()(Network.open(body, (1, 4, 4)), ones(1, 1, 4, 4), Target("0", 0)).proof["layer"]
    '1'
    """

    layer: str | None = param(None, "whose maps to read; by default the last with a map larger than 1×1 below the target")
    relu: bool = param(False, "keep only what is above zero, after the sum over channels, as the paper draws it")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        maps, small = self.small(at, x, target)
        proof = _layer.about(maps, small) | promise(at, target, maps, small)
        shown = small.relu() if self.relu else small
        return _map.heatmap(at, self, x, target, _layer.resized(shown, x.shape[2:]), maps.scores, unit="score", proof=proof,
                            notes=_layer.silent(shown, "Grad-CAM"))

    def small(self, net: Network, x: Tensor, target: Target) -> tuple[_layer.Maps, Tensor]:
        """The layer's maps, and L (B, 1, h, w), signed."""
        maps = _layer.maps(net, x, target, _layer.chosen(net, target, self.layer, "Grad-CAM"))
        return maps, _layer.weighted(maps.values, maps.slopes.mean((2, 3)), relu=False)


def promise(net: Network, target: Target, maps: _layer.Maps, small: Tensor) -> dict[str, float | str]:
    """What Grad-CAM promises of this network at this layer."""
    head = _head.head(net, target)
    if isinstance(head, str):
        return {"equal to CAM": f"not promised: {head}"}
    if head.layer.address != maps.layer.address:
        return {"equal to CAM": f"not promised: the mean is taken over {head.layer.address}, not over {maps.layer.address}"}
    total = small.double().sum((1, 2, 3))
    return {"disagreement of its sum, plus the bias, with the score": disagreement(total, head.bias, maps.scores)}
