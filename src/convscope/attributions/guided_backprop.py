"""Guided backpropagation (Springenberg, Dosovitskiy, Brox, Riedmiller 2014, "Striving for Simplicity").

    A = ∂S/∂x with, at every rectifier,  R_below = R · [x > 0] · [R > 0]
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convscope.attributions import _map, _rectify
from convscope.fields import validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class GuidedBackprop:
    """Which pixels push the score up along paths that only ever add to it?

    The gradient with a stricter rule at each rectifier: R_below = R · [x > 0] · [R > 0], so that nothing negative passes.
    The rule works on the graph: functional, in-place and reused ReLUs are all reached. ReLU6 and clamps at zero count as
    rectifiers (with [0 < x < 6] for [x > 0]); other activations keep their derivative. Values (B, C, H, W), signed (the
    first layer has no rectifier below it), in score per input unit.

    Proof: at how many of the rectifiers between image and target the rule ran.

    Misleads: it hardly depends on the class and little on the weights of upper layers; it shows edges of the image (Nie et
    al. 2018, Adebayo et al. 2018). Errors: UsageError (a network without ReLU), ShapeError, DataError. Source: Springenberg
    et al. 2014.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 2))
    >>> GuidedBackprop()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["rectifiers that the rule reached"]
    '1 of 1'
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        values, scores, proof, notes = _rectify.rectified(at, x, target, "guided-backprop", _rectify.guided)
        return _map.heatmap(net, self, x, target, values, scores, unit="score per input unit", proof=proof, notes=notes)
