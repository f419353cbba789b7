"""Excitation backpropagation (Zhang, Lin, Brandt, Shen, Sclaroff 2016, "Top-down Neural Attention by Excitation Backprop").

    P(a_i) = Σ_j P(a_j) · a_i w_ij⁺ / Σ_i a_i w_ij⁺        a_i ≥ 0: the probability that unit i wins
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.attributions import _baseline, _map, _roles
from convscope.attributions import _excitation_rules as excitation
from convscope.attributions import _relevance as relevance
from convscope.attributions import _relevance_rules as rules
from convscope.attributions import _secant as secant
from convscope.attributions._relevance import Call
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

NAME = "excitation backpropagation"

@dataclass(frozen=True)
class ExcitationBackprop:
    """Where would a winner-take-all search from the target end up among the pixels?

    A walker starts at the target and steps from unit j to one of its inputs i with probability proportional to a_i w_ij⁺:
    activation times excitatory weight. Values (B, C, H, W) are its marginal probabilities, without a unit, at most 1 in sum.
    A convolution and the batch norm behind it are one layer; sums count their positive terms; gates are weights. The layer
    that reads the image takes pixels as their distance from black (from the image's darkest where that is not known). With
    `contrastive`, the same map for a unit with all weights of the top layer negated is taken off: what speaks for the target
    and not for the others; signed, 0 in sum.

    Proof: probability is conserved from layer to layer: the largest rest, what reaches the image, and what ended in units
    that are active by their bias alone.

    Misleads where weights against the target matter: they are not looked at. Does not apply to networks whose activations
    may be negative (tanh, GELU, SiLU, …). Errors: UsageError, ShapeError, DataError. Source: Zhang et al. 2016.

    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    >>> ExcitationBackprop()(net, torch.ones(1, 1, 2, 2), Target("0", 0)).values.shape
    (1, 1, 2, 2)
    """

    contrastive: bool = param(True, "take off the map of the target's opposite")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        found = self.winners(at, x, target, None)
        values, notes = found.values, ()
        if self.contrastive:
            top = top_layer(at, target)
            against = self.winners(at, x, target, top)
            values = values - against.values
            notes = (f"less the map of the opposite: the weights of {top.name} negated",)
        count = len(x)
        worst = max(found.rows, key=lambda r: r.unexplained, default=relevance.Row("", ""))
        proof: dict[str, float | str] = {
            "unexplained, of P (worst layer)": worst.unexplained, "worst layer": worst.address,
            "probability that reaches the image": float(found.values.double().sum()) / count,
            "ended in units active by bias alone": sum(r.bias + r.epsilon for r in found.rows) / count}
        return _map.heatmap(net, self, x, target, values, found.scores, unit="probability", proof=proof, notes=notes)

    def winners(self, net: Network, x: Tensor, target: Target, negated: Node | None) -> relevance.Found:
        """Marginal winning probabilities of the pixels; `negated`: the layer whose weights change their sign."""

        def source(call: Call) -> Tensor:
            own = call.args[0]
            if not _roles.reads_image(net, call.node):
                return excitation.positive(own)
            image = call.walk.image
            black = (image.amin((2, 3), keepdim=True) if net.preprocess is None
                     else _baseline.known_range(net, image, NAME)[0][:, None, None])
            return call.walk.leaf(call, (image - black).clamp(min=0).reshape(own.shape))

        def linear(call: Call, held: Call | None = None) -> Tensor:
            a = rules.affine_of(call, held)
            weight = -a.weight if (held or call).node is negated else a.weight
            return excitation.passed(call, a.z, a.op(source(call), weight.clamp(min=0)))

        def both(call: Call, held: Call) -> tuple[Tensor, ...]:
            return linear(call, held), *call.run(call.args[0].detach())[1:]

        def norm(call: Call) -> tuple[Tensor, ...]:
            scale = rules.folded(call)[0].clamp(min=0).reshape(1, -1, *(1,) * (call.args[0].ndim - 2))
            y, *rest = call.run(call.args[0].detach())
            return excitation.passed(call, y, source(call) * scale), *rest

        table = {**excitation.handlers(), **dict.fromkeys(_roles.LINEAR, linear), _roles.BATCH_NORM: norm,
                 _roles.BATCH_NORM + "_pair": both}
        pairs = _roles.pairs(net, target)

        def start(_: Tensor) -> relevance.Walk:
            return relevance.Walk(net, table, pairs, NAME, "its values may be negative", positive=True)

        return relevance.propagate(net, start, x, target, lambda score: secant.ratio(torch.ones_like(score), score))


def top_layer(net: Network, target: Target) -> Node:
    """The last linear layer or convolution on the way to the score."""
    last = net.output.node if target.unit is None else net[target.unit.layer].node
    found: Any = None
    for node in net.program.graph.nodes:
        if node.op == "call_function" and layers.op_name(node) in _roles.LINEAR:
            found = node
        if node.name == last:
            break
    if found is None:
        raise UsageError("contrastive excitation backpropagation negates the top layer's weights",
                         f"no convolution or linear layer stands before {last}", "use contrastive=False")
    return found
