"""FullGrad (Srinivas and Fleuret 2019, "Full-Gradient Representation for Neural Network Visualization").

    S(x) = Σ ∂S/∂x ⊙ x + Σ_nodes Σ δ ⊙ b          δ = ∂S/∂y,  b = y − J·x: what a node y = f(x) adds beside its linear part

    paper:   A = ψ(∂S/∂x ⊙ x) + Σ_nodes ψ(δ ⊙ b),   ψ: absolute, from 0 to 1 in each node, summed over channels, resized
    signed:  the same with ψ: summed over channels, resized with its sum kept
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.attributions import _bias, _forward, _layer, _map
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class FullGrad:
    """Which pixels, and which biases at which place, make up the whole score?

    Input × gradient explains a score only up to what biases add on the way. Here every operation of the graph says what it
    adds beside its linear part: a convolution its bias, batch norm its shift (mean and bias), a curved activation what its
    tangent leaves out. Together with input × gradient these terms are the score, exactly. Values (B, 1, H, W): `paper`, a
    map without sign or unit, each node counted alike; or `signed`, in units of the score, whose sum is the score but for
    the terms at layers without maps (linear ones), which no pixel can carry.

    Proof: |input term + bias terms − score| relative to the score (completeness) and to the sum of the terms' sizes; the
    shares of input, of maps and of layers without maps.

    Misleads in its paper form: a node that hardly matters is scaled up as one that decides. Errors: UsageError (a fixed
    batch that layers mix), ShapeError, DataError. Source: Srinivas and Fleuret 2019.

    >>> from torch import nn
    >>> body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    >>> FullGrad()(Network.open(body, (1, 4, 4)), torch.ones(1, 1, 4, 4), Target("0", 0)).proof["completeness error"] < 1e-5
    True
    """

    aggregate: str = param("paper", "absolute values, each node scaled to 0 … 1, as in the paper; or with sign",
                           choices=("paper", "signed"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        apart = _bias.keeps_images_apart(at)
        if not apart and (at.batch or 1) > 1:
            raise UsageError(f"FullGrad does not apply to batches of {at.batch} in {at.name}",
                             "its layers mix the batch with other axes, so that terms cannot be told apart by image",
                             "open it with an example of one image")
        found = [self.of(at, part, target, count) for part, count in _map.pieces(at, x, len(x) if apart else 1)]
        values, scores, parts = (torch.cat(one) for one in zip(*found, strict=True))
        total, size = parts[:, :3].sum(1), parts[:, 3]
        missing = (total - scores.double()).abs()
        error = float((missing / scores.double().abs().clamp_min(1e-300)).max()) if bool(missing.any()) else 0.0
        means = parts[:, :3].mean(0).tolist()
        proof: dict[str, float | str] = {
            "completeness error": error, "relative to the terms' sizes": float((missing / size.clamp_min(1e-300)).max()),
            "input term": means[0], "bias terms on maps": means[1], "bias terms of layers without maps": means[2]}
        failed = float((missing / torch.maximum(size, scores.double().abs()).clamp_min(1e-300)).max()) > 1e-4
        notes = ("the promise fails: the terms do not sum to the score",) if failed else ()
        if self.aggregate == "signed":
            notes = (*notes, "terms of layers without maps are in the proof, not in the map")
        return _map.heatmap(at, self, x, target, values, scores, proof=proof, notes=notes,
                            unit="score" if self.aggregate == "signed" else "sum of maps scaled to 0 … 1")

    def of(self, net: Network, x: Tensor, target: Target, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (n, 1, H, W), scores (n,), and (n, 4): input term, terms on maps, other terms, and the sum of their sizes."""
        ready = _forward.shared(net, x) or _forward.Forward.of(net, x)
        (slope,) = ready.gradients(target, [ready.x])
        first = (slope * ready.x.detach())
        size = tuple(x.shape[2:])
        drawn = self.drawn(first, size)
        parts = x.new_zeros((len(x), 4), dtype=torch.float64)
        parts[:, 0] = _bias.total(first, len(x))
        parts[:, 3] = _bias.total(first.abs(), len(x))
        for term in _bias.terms(ready, target):
            parts[:, 1 if term.map is not None else 2] += term.share
            parts[:, 3] += term.share.abs() if term.map is None else _bias.total(term.map.abs(), len(x))
            if term.map is not None:
                drawn = drawn + self.drawn(term.map, size)
        return drawn[:count], ready.score(target).detach()[:count], parts[:count]

    def drawn(self, term: Tensor, size: tuple[int, ...]) -> Tensor:
        """ψ of one term (B, U, h, w) -> (B, 1, H, W). A term that is the same everywhere is nothing, not full strength."""
        if self.aggregate == "signed":
            return _layer.spread(term.sum(1, keepdim=True), size)
        strength = term.abs()
        low, high = strength.amin((1, 2, 3), keepdim=True), strength.amax((1, 2, 3), keepdim=True)
        width = torch.where(high > low, high - low, torch.ones_like(high))
        return _layer.resized(((strength - low) / width).sum(1, keepdim=True), size)
