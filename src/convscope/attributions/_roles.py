"""What role does each ATen operation play when something is carried back from the score? And what the graph says of it.

Sets of ATen names that relevance and multipliers treat alike; convolutions that a batch norm follows; gates of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.network import Network
from convscope.run import Target

# Linear without a constant term, or choosing one of the inputs: the gradient is the ratio's way down.
PLAIN = frozenset((
    "_adaptive_avg_pool2d", "_prelu_kernel", "_to_copy", "_unsafe_view", "_upsample_nearest_exact2d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "alias", "amax",
    "as_strided", "avg_pool1d", "avg_pool2d", "avg_pool3d", "cat", "channel_shuffle", "chunk", "clone", "contiguous",
    "cumsum", "dropout", "expand", "expand_as", "flatten", "flip", "gather", "im2col", "index", "index_select",
    "leaky_relu", "max", "max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "maximum", "mean",
    "movedim", "narrow", "neg", "permute", "pixel_shuffle", "pixel_unshuffle", "prelu", "reflection_pad1d",
    "reflection_pad2d", "relu", "repeat", "replication_pad2d", "reshape", "roll", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "sum", "t", "to", "transpose", "unbind", "unfold", "unsqueeze",
    "upsample_bicubic2d", "upsample_bilinear2d", "upsample_nearest2d", "view", "where",
))
AFFINE = frozenset((
    "_native_batch_norm_legit_no_training", "add", "batch_norm", "constant_pad_nd", "pad", "rsub", "sub",
))
LINEAR = frozenset((
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "linear",
))
PRODUCTS = frozenset((
    "bmm", "matmul", "mm", "mul",
))
ELEMENTWISE = frozenset((
    "abs", "celu", "clamp", "clamp_max", "clamp_min", "cos", "elu", "erf", "exp", "gelu", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "log", "log1p", "log_sigmoid", "mish", "pow", "reciprocal", "relu6", "rsqrt", "selu",
    "sigmoid", "silu", "sin", "softplus", "softshrink", "softsign", "sqrt", "square", "tanh", "threshold",
))
SMOOTH = frozenset(("sigmoid", "tanh", "silu", "gelu", "softplus", "mish", "erf"))  # bend on the scale of 1
BATCH_NORM = "_native_batch_norm_legit_no_training"  # in use: what every opened graph has
COPIES = frozenset(("clone", "alias", "detach", "contiguous", "_to_copy", "to", "lift_fresh_copy", "dropout"))
RESHAPES = frozenset(("view", "reshape", "flatten", "unsqueeze", "squeeze"))  # every number stays in its place
BOUNDED = frozenset(("sigmoid", "hardsigmoid", "softmax", "_softmax", "hardtanh", "clamp", "rsqrt", "reciprocal"))
_ON_THE_WAY = frozenset((
    "_to_copy", "alias", "clone", "contiguous", "detach", "div", "dropout", "expand", "getitem", "lift_fresh_copy",
    "mean", "permute", "reshape", "select", "slice", "squeeze", "to", "transpose", "unsqueeze", "view",
))


def by_name(net: Network) -> dict[str, list[Node]]:
    """The graph's operations by ATen name, in the order in which they run."""
    found: dict[str, list[Node]] = {}
    for node in net.program.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "_schema", None) is not None:
            found.setdefault(layers.op_name(node), []).append(node)
    return found


def pairs(net: Network, target: Target) -> dict[Node, Node]:
    """Convolutions and linear layers whose output feeds a batch norm and nothing else: the two are one affine map."""
    asked = net[target.unit.layer].node if target.unit is not None else ""
    found: dict[Node, Node] = {}
    for node in net.program.graph.nodes:
        if node.op != "call_function" or layers.op_name(node) != BATCH_NORM or not isinstance(node.args[0], Node):
            continue
        before = node.args[0]
        mapped = before.op == "call_function" and layers.op_name(before) in LINEAR and not _transposed(before)
        if mapped and len(before.users) == 1 and before.name != asked and _width(before) <= 5:
            found[before] = node
    return found


def _transposed(node: Node) -> bool:
    return "transpose" in layers.op_name(node) or (layers.op_name(node) == "convolution" and bool(node.args[6]))


def _width(node: Node) -> int:
    """A linear layer's features stand last: they are batch norm's channels only in a matrix."""
    axes = len(layers.shape_of(node.meta["val"]))
    return axes if layers.op_name(node) != "linear" or axes == 2 else 99


def reads_image(net: Network, node: Node) -> bool:
    """Does this operation read the image itself, through nothing but copies and reshaping?"""
    source = node.args[0]
    while isinstance(source, Node) and source.op == "call_function" and layers.op_name(source) in COPIES | RESHAPES:
        source = source.args[0]
    return source is net.inputs[0]


def gate(node: Node, operands: Sequence[Tensor]) -> int | None:
    """Which operand of a product of two that depend on the image is the gate? None: neither, or both alike.

    The one that comes out of a bounded function (sigmoid, softmax, …); otherwise the one with fewer numbers, spread over the
    other (a weight a channel).
    """
    bounded = [_is_bounded(a) for a in node.args[:2]]
    if bounded[0] != bounded[1]:
        return bounded.index(True)
    sizes = [a.numel() for a in operands]
    if sizes[0] != sizes[1] and layers.op_name(node) == "mul":
        return sizes.index(min(sizes))
    return None


def _is_bounded(node: Any) -> bool:
    while isinstance(node, Node) and node.op == "call_function" and layers.op_name(node) not in BOUNDED:
        if layers.op_name(node) not in _ON_THE_WAY:
            return False
        node = node.args[0]
    return isinstance(node, Node) and node.op == "call_function"
