"""Gradient × input (Shrikumar, Greenside, Shcherbina, Kundaje 2016, "Not Just a Black Box").

    A[b, c, i, j] = x[b, c, i, j] · ∂S(x_b)/∂x[b, c, i, j]

A network of convolutions, ReLUs and pooling without any bias is homogeneous, S(t·x) = t·S(x) for t > 0, and there Euler's
theorem gives Σ A = S(x). What biases add is missing from the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.attributions import _map, _rectify
from convscope.fields import validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target

# Operations with y(t·x) = t·y(x) for t > 0 whatever their settings (arguments that are all made from the image).
HOMOGENEOUS = frozenset({
    "_to_copy", "_unsafe_view", "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "alias",
    "amax", "avg_pool1d", "avg_pool2d", "cat", "channel_shuffle", "chunk", "clone", "contiguous", "detach", "dropout",
    "expand", "flatten", "flip", "getitem", "leaky_relu", "lift_fresh_copy", "max", "max_pool1d", "max_pool2d",
    "max_pool2d_with_indices", "mean", "native_channel_shuffle", "neg", "permute", "pixel_shuffle", "prelu", "relu",
    "repeat", "reshape", "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "sum", "t", "to",
    "transpose", "unbind", "unsqueeze", "upsample_bilinear2d", "upsample_nearest2d", "view",
})
BIASED = {"conv2d": 2, "conv1d": 2, "conv3d": 2, "convolution": 2, "linear": 2, "conv_transpose2d": 2}  # place of the bias


@dataclass(frozen=True)
class GradientTimesInput:
    """How much does each pixel contribute, if the network were the linear function that it looks like at this image?

    A = x · ∂S/∂x, values (B, C, H, W), signed, in units of the score, with x in the network's own units (after
    preprocessing: a pixel of the mean colour contributes nothing).

    Proof: on a network without biases ΣA = S(x); the relative difference |ΣA − S| / max(|S|, |ΣA|), the largest of the
    batch, and whether the network is bias-free (which operations are not homogeneous, if it is not).

    Misleads: what biases decide is missing; input zero gets zero whatever it means. Errors: ShapeError, DataError. Source:
    Shrikumar et al. 2016.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)), (1, 2, 2))
    >>> GradientTimesInput()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["applies"]
    'yes: no bias between the image and the target'
    """

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W)."""
        at, x = _map.prepared(net, x)
        slopes, scores = _map.gradient(at, x, target)
        values = x * slopes
        sums, wanted = values.double().sum((1, 2, 3)), scores.double()
        scale = sums.abs().maximum(wanted.abs())
        off = float(((sums - wanted).abs() / scale.clamp_min(1e-300)).max())
        biases = inhomogeneous(at, target)
        shown = ", ".join(biases[:3]) + (f" and {len(biases) - 3} more" if len(biases) > 3 else "")
        proof: dict[str, float | str] = {
            "difference of the sum to the score": off,
            "applies": f"no: the sum need not be the score, for {shown}" if biases else
                       "yes: no bias between the image and the target"}
        notes = (f"the promise fails: the sum differs from the score by {off:.1%}",) if not biases and off > 1e-3 else ()
        return _map.heatmap(net, self, x, target, values, scores, unit="score", proof=proof, notes=notes)


def inhomogeneous(net: Network, target: Target) -> list[str]:
    """What between image and target is not homogeneous of degree one: 'conv1 (bias)', 'tanh1 (tanh)'."""
    nodes = _rectify.path(net, target)
    live = {net.inputs[0], *nodes}
    addresses = {layer.node: layer.address for layer in net.layers}
    found = ((addresses.get(node.name, node.name), _reason(net, node, live)) for node in nodes)
    return [f"{address} ({reason})" for address, reason in found if reason]


def _reason(net: Network, node: Node, live: set[Node]) -> str:
    """Why a call is not homogeneous; '' if it is. What is not known to be counts as not."""
    name, settings = layers.op_name(node), layers.tensor_arguments(node)[1]
    made = [a in live for a in node.all_input_nodes]
    if name in BIASED:
        place = BIASED[name]
        bias = node.args[place] if len(node.args) > place else None
        return "bias" if isinstance(bias, Node) and _is_nonzero(net, bias) else ""
    if "batch_norm" in name:
        return "" if _is_centred(net, node) else "batch norm"
    if name in HOMOGENEOUS or (name in ("add", "sub", "maximum", "minimum", "matmul", "bmm", "mul", "div") and
                               _is_homogeneous_pair(name, node, made)):
        return ""
    if name in ("constant_pad_nd", "pad"):
        return "" if settings.get("mode", "constant") != "constant" or not settings.get("value") else "padding"
    return "" if _rectify.is_rectifier(node) and name in ("clamp_min", "threshold") else name


def _is_homogeneous_pair(name: str, node: Node, made: list[bool]) -> bool:
    """Sums of what comes from the image; products of it with what does not."""
    if name in ("add", "sub", "maximum", "minimum"):
        return all(made) and all(isinstance(a, Node) for a in node.args[:2])
    first = node.args[0] in node.all_input_nodes and made[0]
    return sum(made) == 1 and (name != "div" or first) and node.args[0] is not node.args[1]


def _is_nonzero(net: Network, node: Node) -> bool:
    tensor: Mapping[str, Tensor] = net.tensors
    return node.name not in tensor or bool(tensor[node.name].any())


def _is_centred(net: Network, node: Node) -> bool:
    """Batch norm with fixed statistics and β = γ·μ/√(σ² + eps): its constant term is zero."""
    given = dict(zip(("weight", "bias", "running_mean", "running_var"), node.args[1:5], strict=False))
    found = {k: net.tensors.get(a.name) for k, a in given.items() if isinstance(a, Node)}
    mean, var, beta, gamma = (found.get(k) for k in ("running_mean", "running_var", "bias", "weight"))
    if mean is None or var is None:
        return False
    shift = -mean / var.sqrt() * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    return not bool(shift.any())
