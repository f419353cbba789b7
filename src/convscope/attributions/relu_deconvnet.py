"""The deconvnet's rule for ReLU in an otherwise plain backward pass (the rule: Zeiler and Fergus 2014; so used by
Springenberg et al. 2014 and most libraries under the name "deconvnet").

    A = ∂S/∂x with, at every rectifier,  R_below = R · [R > 0]
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
class ReLUDeconvnet:
    """Which pixels does the score come back to if ReLUs rectify on the way back and forget what they cut off?

    The gradient (it starts from 1 at the score) with R_below = R · [R > 0] at each rectifier; the forward mask is not used.
    This is one of the deconvnet's three parts: `deconvnet` starts from an activation and treats pooling and normalisation
    as the paper does. ReLU6 and clamps at zero count as rectifiers; nothing is capped on the way back. Values (B, C, H, W),
    signed, in score per input unit.

    Proof: at how many of the rectifiers between image and target the rule ran.

    Misleads: it hardly depends on the class; without max pooling the forward pass has nearly no say. Errors: UsageError (a
    network without ReLU), ShapeError, DataError. Source: Zeiler and Fergus 2014; Springenberg et al. 2014.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 2))
    >>> ReLUDeconvnet()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["rectifiers that the rule reached"]
    '1 of 1'
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        values, scores, proof, notes = _rectify.rectified(at, x, target, "relu-deconvnet", _rectify.deconvnet)
        return _map.heatmap(net, self, x, target, values, scores, unit="score per input unit", proof=proof, notes=notes)
