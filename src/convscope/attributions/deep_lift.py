"""DeepLIFT, rescale rule (Shrikumar, Greenside, Kundaje 2017, "Learning Important Features Through Propagating Activation
Differences").

    A = m ⊙ (x − x')        Σ A = S(x) − S(x')        of an activation m = (f(z) − f(z')) / (z − z')
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _baseline, _map
from convscope.attributions import _deep_lift_rules as rules
from convscope.attributions import _relevance as relevance
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

SLACK = 1e-4  # what rounding may leave of the difference


@dataclass(frozen=True)
class DeepLIFT:
    """How does each pixel's difference from a baseline add up to the score's difference?

    Image and baseline x' run through the network, and each operation hands down the slope of the chord between its two
    values instead of the tangent. Activations: Δy/Δz (the derivative where z and z' agree). Max pooling: the higher of the
    two maxima names the winner. Products: ½(u + u')Δv + ½(v + v')Δu; softmax, layer norm and their like are made of these.
    Values (B, C, H, W) in units of the score.

    Proof: the largest |Σ A − (S(x) − S(x'))| of the batch's images, relative to |S(x) − S(x')|; under 1e-4.

    Misleads where the baseline is itself evidence: what x and x' have in common gets nothing. Errors: UsageError,
    ShapeError, DataError. Source: Shrikumar, Greenside, Kundaje 2017.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> DeepLIFT()(net, torch.ones(1, 1, 2, 2), Target("0", 0)).values.shape
    (1, 1, 2, 2)
    """

    baseline: str = param("zero", "zeros in the network's units, black or mid-grey pixels, the image's own mean colour, or "
                          "the image blurred", choices=("zero", "black", "grey", "mean", "blur"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        _, words = _baseline.baseline(net, x, self.baseline)
        starts: list[Tensor] = []

        def start(part: Tensor) -> relevance.Walk:
            base, _ = _baseline.baseline(net, part, self.baseline)
            kept: rules.OnBaseline = {}
            with torch.no_grad():
                starts.append(target.score(at, base, rules=rules.recorded(at, kept)))
            return relevance.Walk(at, rules.handlers(kept), method="DeepLIFT", base=base, counted=False)

        found = relevance.propagate(at, start, x, target)
        before = torch.cat(starts)[: len(x)]
        change = (found.scores - before).double()
        rest = (found.values.double().sum((1, 2, 3)) - change).abs()
        error = float((rest / change.abs().masked_fill(change == 0, 1)).max())
        proof: dict[str, float | str] = {"Σ A − (S(x) − S(x')), relative": error, "S(x'), first image": float(before[0])}
        notes = (f"baseline: {words}",)
        if error >= SLACK:
            notes += (f"the parts do not add up: {error:.2g} of the score's difference is missing (rounding, where the "
                      "difference is much smaller than its parts)",)
        return _map.heatmap(net, self, x, target, found.values, found.scores, unit="score", proof=proof, notes=notes)
