"""Gradient saliency (Simonyan, Vedaldi, Zisserman 2013, "Deep Inside Convolutional Networks").

    A[b, c, i, j] = ∂S(x_b) / ∂x[b, c, i, j]
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope import layers
from convscope.attributions import _map
from convscope.fields import validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Rule, Target

STEP = 1e-7  # of the finite difference: its error is about 1e-9 of the slope by rounding, less by curvature
AWAY = 1e-3  # how far from the image, in units of its root mean square: flat areas lie on kinks of max-pooling


@dataclass(frozen=True)
class Gradient:
    """Which pixels would change the score most if they changed a little?

    The signed raw gradient A = ∂S/∂x, values (B, C, H, W), in units of score per input unit (of the preprocessed image,
    not of pixels). The paper draws the largest |A| over channels; the sign is kept here.

    Proof: ⟨∂S/∂x, d⟩ against the central difference (S(x + hd) − S(x − hd)) / 2h in float64, along a random direction d
    that is always the same, at a point beside the first image (by 0.1 % of its size), where there are no kinks; relative.

    Misleads where the score is saturated (no slope, though the object is there), and is noisy from pixel to pixel. Errors:
    ShapeError, DataError. Source: Simonyan, Vedaldi, Zisserman 2013.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> Gradient()(net, torch.zeros(1, 1, 2, 2), Target("0", 0)).values.shape
    (1, 1, 2, 2)
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        values, scores = _map.gradient(at, x, target)
        proof: dict[str, float | str] = {"disagreement with a finite difference": disagreement(at, x[:1], target)}
        return _map.heatmap(net, self, x, target, values, scores, unit="score per input unit", proof=proof)


def disagreement(net: Network, x: Tensor, target: Target) -> float:
    """|slope − finite difference| along a fixed random direction, relative to the size that slopes have along such ones."""
    exact, rules = in_double(net)
    generator = torch.Generator().manual_seed(0)
    away, direction = torch.randn((2, *x.shape), generator=generator, dtype=torch.float64).to(x.device)
    size = x.double().square().mean().sqrt().clamp_min(1e-3)
    point = x.double() + AWAY * size * away
    slopes, _ = _map.gradient(exact, point, target, rules)
    h = STEP * size
    ahead, behind = (_map.scores(exact, point + side * h * direction, target, 1, rules) for side in (1, -1))
    slope, difference = float((slopes * direction).sum()), float((ahead - behind) / (2 * h))
    scale = max(abs(slope), abs(difference), float(slopes.norm()))
    return abs(slope - difference) / scale if scale > 0 else 0.0


def in_double(net: Network) -> tuple[Network, dict[str, Rule]]:
    """The same graph on float64 tensors, and rules for the operations that name a type of their own (zeros, casts).

    Opening the network again in float64 would do the same and cost seconds.
    """

    def doubled(call: Any, *args: Any, **kwargs: Any) -> Any:
        named = kwargs.get("dtype")
        return call(*args, **kwargs | ({"dtype": torch.float64} if named is not None and named.is_floating_point else {}))

    with torch.inference_mode(False):  # what is made in inference mode can never take part in a gradient
        tensors = {k: v.double() if v.is_floating_point() else v for k, v in net.tensors.items()}
    typed = {layers.op_name(node) for node in net.program.graph.nodes if "dtype" in node.kwargs}
    return dataclasses.replace(net, tensors=tensors, _at={}), dict.fromkeys(typed, doubled)
