"""Grad-CAM++ (Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, "Generalized Gradient-based Visual Explanations for Deep
Convolutional Networks", equation 19).

With Y = exp(S) and g = ∂S/∂A_k(i, j), in a network that is piecewise linear between A and S:

    α = g² / (2 g² + (Σ_ab A_k(a, b)) g³)      w_k = Σ_ij α · max(exp(S)·g, 0)      L = Σ_k w_k · A_k
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _layer, _map
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

SMALLEST = 1e-6  # of |2 + ΣA·g|: relative to g², so that it acts alike on large and on tiny gradients


@dataclass(frozen=True)
class GradCAMPlusPlus:
    """Where in a layer are the maps that the score likes, if each appearance of an object counts alike?

    As Grad-CAM, with weights w_k = Σ_ij α·max(exp(S)·g, 0) and the paper's α, its denominator included. Divided by g² it is
    α = 1 / (2 + ΣA·g) where g ≠ 0 and zero elsewhere, so that no square of a tiny gradient is lost in rounding. exp(S) is
    one factor of the whole map and would overflow: the map is given in units of exp(S). To compare images, multiply by
    exp(scores). Values (B, 1, H, W), the small map resized bilinearly; it is above zero where the maps are.

    Proof: the share of positions where the denominator is near zero (there α has no meaning). The formula holds for
    Y = exp(S) and layers between A and S that are piecewise linear; `notes` name activations there that are not.

    Misleads like Grad-CAM, and drops every negative gradient. Errors: UsageError (no layer with maps), UnknownName,
    ShapeError, DataError. Source: Chattopadhay et al. 2018.

    >>> from torch import nn
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> GradCAMPlusPlus()(Network.open(body, (1, 4, 4)), torch.ones(1, 1, 4, 4), Target("0", 0)).unit
    'exp(score) · activation'
    """

    layer: str | None = param(None, "whose maps to read; by default the last with a map larger than 1×1 below the target")
    relu: bool = param(False, "keep only what is above zero, after the sum over channels, as the paper draws it")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        maps = _layer.maps(at, x, target, _layer.chosen(at, target, self.layer, "Grad-CAM++"))
        alphas, doubtful = alpha(maps.values, maps.slopes)
        signed = _layer.weighted(maps.values, (alphas * maps.slopes.relu()).sum((2, 3)), relu=False)
        small = signed.relu() if self.relu else signed
        curved = _layer.curved_between(at, target, maps.layer)
        proof = _layer.about(maps, signed) | {
            "share of positions where the denominator vanishes": doubtful,
            "piecewise linear from layer to score": f"no: {curved}" if curved else "yes"}
        notes = (f"the formula's second and third derivatives leave out the curvature of {curved}",) if curved else ()
        notes = (*notes, *_layer.silent(small, "Grad-CAM++"))
        return _map.heatmap(at, self, x, target, _layer.resized(small, x.shape[2:]), maps.scores,
                            unit="exp(score) · activation", proof=proof, notes=notes)


def alpha(values: Tensor, slopes: Tensor) -> tuple[Tensor, float]:
    """α (B, U, h, w), and the share of positions with a positive gradient where the denominator is too near zero."""
    below = 2 + values.sum((2, 3), keepdim=True) * slopes
    near = (below.abs() < SMALLEST) & (slopes > 0)
    safe = torch.where(below.abs() < SMALLEST, torch.full_like(below, SMALLEST).copysign(below), below)
    found = torch.where(slopes == 0, torch.zeros_like(below), 1 / safe)
    return found, float(near.double().mean())
