"""Guided Grad-CAM (Selvaraju et al. 2017, section 3.2): the fine detail of one method where the other is above zero.

    A = G ⊙ max(L, 0)↑        G: guided backpropagation, L: Grad-CAM, ↑: resized bilinearly to the image
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from convscope.attributions import _layer, _map, _rectify
from convscope.attributions.grad_cam import GradCAM
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class GuidedGradCAM:
    """Which edges of the image lie where the class has its evidence?

    Guided backpropagation, pixel by pixel, times Grad-CAM after its ReLU, resized bilinearly. Values (B, C, H, W), signed
    as guided backpropagation is, in score² per input unit (a product of two maps that both carry the score's unit).

    Proof: at how many of the rectifiers between image and target the guided rule ran; the share of the image where Grad-CAM
    is zero and nothing can be seen.

    Misleads as guided backpropagation does: only the place depends on the class, the detail is the image's edges (Adebayo
    et al. 2018). Errors: UsageError (no ReLU, no layer with maps), UnknownName, ShapeError, DataError. Source: Selvaraju et
    al. 2017.

    >>> from torch import nn, ones
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    >>> GuidedGradCAM()(Network.open(body, (1, 4, 4)), ones(1, 1, 4, 4), Target("0", 0)).values.shape
    (1, 1, 4, 4)
    """

    layer: str | None = param(None, "whose maps Grad-CAM reads; by default the last larger than 1×1 below the target")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        guided, scores, proof, notes = _rectify.rectified(at, x, target, "guided-grad-cam", _rectify.guided)
        maps, small = GradCAM(self.layer).small(at, x, target)
        place = _layer.resized(small.relu(), x.shape[2:])
        hidden = float((place == 0).double().mean())
        proof |= _layer.about(maps, small) | {"share of the image where Grad-CAM is zero": hidden}
        return _map.heatmap(at, self, x, target, guided * place, scores, unit="score² per input unit", proof=proof,
                            notes=(*notes, *_layer.silent(place, "Grad-CAM")))
