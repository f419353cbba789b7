"""Layer-wise relevance propagation (Bach et al. 2015; Montavon et al. 2019, "Layer-Wise Relevance Propagation: An
Overview").

    R_i = Σ_j (share of x_i in z_j) · R_j        z_j = Σ_i x_i w_ij + b_j,  R = score at the top
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.attributions import _baseline, _map, _recurrent, _roles
from convscope.attributions import _relevance as relevance
from convscope.attributions import _relevance_rules as rules
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap, Table
from convscope.run import Target

SLACK = 1e-4  # of Σ|R|: what rounding may leave unexplained
PRESETS = {  # rule of linear layers, of convolutions, of the layers that read the image ('': as the others of their kind)
    "zero": ("epsilon", "epsilon", ""), "epsilon": ("epsilon", "epsilon", ""),
    "epsilon-plus": ("epsilon", "alpha-beta", ""), "epsilon-alpha2-beta1": ("epsilon", "alpha-beta", ""),
    "epsilon-gamma": ("epsilon", "gamma", ""), "epsilon-gamma-box": ("epsilon", "gamma", "box")}


@dataclass(frozen=True)
class LRP:
    """How much of the score does each pixel account for, shared out layer by layer?

    Every layer hands the relevance of its outputs to its inputs: R_i = Σ_j q_ij / Σ_i q_ij · R_j, with q_ij = x_i w_ij (ε),
    its part of the sign of z_j strengthened (γ), its positive and negative parts told apart (αβ), or what the layers that
    read the image need (zB, w², flat). Values (B, C, H, W) in units of the score. Additions and concatenations split in
    proportion; a convolution and the batch norm behind it are one layer; the gate of a product and the normaliser of a layer
    norm get nothing.

    Proof: what every layer received = what it handed on + share of biases + share of ε. Given are the largest rest (relative
    to Σ|R| received), the rest between score and image (both under 1e-4), and the shares, relative to Σ scores.
    `conservation` lists all layers.

    Misleads where the bias share is large: that part of the score lies on no pixel; and αβ and box maps resemble each other
    for all classes. Errors: UsageError, ShapeError, DataError. Source: Bach et al. 2015; Montavon et al. 2019.

    >>> import torch
    >>> from torch import nn
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)), (1, 2, 2))
    >>> found = LRP("zero")(net, torch.ones(1, 1, 2, 2), Target("0", 0))
    >>> abs(found.values.sum() - found.scores.sum()) < 1e-6
    np.True_
    """

    preset: str = param("epsilon-plus", "which rules: for linear layers, convolutions, and those that read the image",
                        choices=("zero", "epsilon", "epsilon-plus", "epsilon-alpha2-beta1", "epsilon-gamma",
                                 "epsilon-gamma-box"))
    first: str = param("preset", "another rule for the layers that read the image",
                       choices=("preset", "epsilon", "gamma", "alpha-beta", "box", "w-square", "flat"))
    epsilon: float = param(0.01, "what is added to |z|: the larger, the fewer and the clearer the contributions", low=0)
    relative: bool = param(True, "ε in standard deviations of each image's z; otherwise in units of z")
    gamma: float = param(0.25, "how much more contributions of the sign of z count", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        found = self.relevance(at, x, target)
        proof = summary(found)
        rest, everywhere = proof["unexplained, of Σ|R| (worst layer)"], proof["unexplained in all, of Σ|R|"]
        notes = tuple(f"relevance is not conserved: {of:.2g} of it is missing {where}" for of, where in (
            (rest, f"in {proof['worst layer']}"), (everywhere, "between score and image")) if float(of) >= SLACK)
        return _map.heatmap(net, self, x, target, found.values, found.scores, unit="score", proof=proof, notes=notes)

    def relevance(self, net: Network, x: Tensor, target: Target) -> relevance.Found:
        """Relevance of `x`, which has this network's size, with the ledger of all layers."""
        chosen = self.chosen(net)
        joint = _roles.pairs(net, target)
        folded = {conv: norm for conv, norm in joint.items() if chosen[conv] != "epsilon"}
        behind = {norm for conv, norm in joint.items() if conv not in folded}  # ε: the sum of the two is stabilised
        settings = self.settings(net, x, chosen)

        def linear(call: relevance.Call) -> Tensor:
            rule = chosen[call.node]
            if rule != "epsilon":
                return rules.RULES[rule](call, rules.affine_of(call), settings)
            z = rules.affine(call)
            return z if call.node in joint else rules.stabilised(call, z, settings)

        def norm(call: relevance.Call) -> tuple[Tensor, ...]:
            value = rules.affine(call)
            return (rules.stabilised(call, value[0], settings), *value[1:]) if call.node in behind else value

        def both(call: relevance.Call, conv: relevance.Call) -> tuple[Tensor, ...]:
            value = rules.RULES[chosen[conv.node]](call, rules.affine_of(call, conv), settings)
            return (value, *call.run(call.args[0].detach())[1:])

        table = {**rules.handlers(), **dict.fromkeys(_roles.LINEAR, linear), "lstm": _recurrent.lstm_relevance,
                 _roles.BATCH_NORM: norm, _roles.BATCH_NORM + "_pair": both}
        return relevance.propagate(net, lambda _: relevance.Walk(net, table, folded, "LRP"), x, target)

    def chosen(self, net: Network) -> dict[Node, str]:
        """The rule of each linear layer and convolution."""
        dense, conv, image = PRESETS[self.preset]
        image = image if self.first == "preset" else self.first
        nodes = [n for n in net.program.graph.nodes if n.op == "call_function" and layers.op_name(n) in _roles.LINEAR]
        found = {node: dense if layers.op_name(node) == "linear" else conv for node in nodes}
        readers = [node for node in nodes if _roles.reads_image(net, node)]
        if image and not readers:
            raise UsageError(f"LRP's rule {image!r} does not apply to {net.name}",
                             f"no layer with weights reads the image itself: {net.layers[0].address} stands between",
                             "use another preset, and first='preset'")
        return found | (dict.fromkeys(readers, image) if image else {})

    def settings(self, net: Network, x: Tensor, chosen: dict[Node, str]) -> rules.Settings:
        """Numbers for the rules; for 'box' also the pixel range, which must hold the image."""
        alpha = 2.0 if self.preset == "epsilon-alpha2-beta1" else 1.0
        epsilon = 0.0 if self.preset == "zero" else self.epsilon
        low = high = None
        if "box" in chosen.values():
            low, high = (v.reshape(1, -1, 1, 1) for v in _baseline.known_range(net, x, "the rule 'box'"))
            slack = 1e-4 * (high - low)
            if bool((x < low - slack).any()) or bool((x > high + slack).any()):
                raise UsageError("the rule 'box' needs an image within the pixel range",
                                 "some pixels are darker than black or brighter than white",
                                 "check the preprocessing, or use another preset")
        return rules.Settings(epsilon, self.relative, self.gamma, alpha, low, high)


def summary(found: relevance.Found) -> dict[str, float | str]:
    """The ledger in a few numbers."""
    worst = max(found.rows, key=lambda r: r.unexplained, default=relevance.Row("", ""))
    score, image = float(found.scores.double().sum()), float(found.values.double().sum())
    bias, epsilon = sum(r.bias for r in found.rows), sum(r.epsilon for r in found.rows)
    size = max((r.size for r in found.rows), default=0.0) or 1.0
    return {"unexplained, of Σ|R| (worst layer)": worst.unexplained, "worst layer": worst.address,
            "unexplained in all, of Σ|R|": abs(score - image - bias - epsilon) / size, "bias share": bias / (score or 1),
            "ε share": epsilon / (score or 1), "share on the image": image / (score or 1)}


def conservation(method: LRP, net: Network, x: Tensor, target: Target) -> Table:
    """Is relevance conserved? One row a layer, from the score down to the image, sums over the batch."""
    at, x = _map.prepared(net, x)
    rows = tuple(reversed(method.relevance(at, x, target).rows))
    columns = {"layer": np.array([r.address for r in rows]), "operator": np.array([r.operator for r in rows])}
    numbers = ("out", "into", "bias", "epsilon", "unexplained")
    columns |= {name: np.array([getattr(r, name) for r in rows]) for name in numbers}
    units = {"out": "relevance received, score", "into": "handed on, score", "bias": "share of biases, score",
             "epsilon": "share of ε, score", "unexplained": "|received − handed on − shares| / Σ|R| received"}
    return Table(columns=columns, units=units, title=f"conservation of relevance in {net.name}",
                 origin=net.origin(method, x))
