"""Which calls do the same at every size of the map, and which are only another way to look at it?

The names are those of `Draft.kind` without the overload: 'Conv2d' of a module, 'conv2d' of a call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import Node
from torch.fx.node import map_arg

from convscope.editing.draft import Draft

RESHAPES = {"Flatten", "Unflatten", "view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"}
PERMUTES = {"permute", "transpose", "t", "swapaxes", "swapdims"}
DENSE = {"Linear", "linear", "matmul", "mm", "addmm"}
SUMS = {"mean", "sum", "amax", "amin"}
ADAPTIVE = {"AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}
AVERAGES = {"AvgPool2d", "avg_pool2d"}
SOFT = {"Softmax", "LogSoftmax", "softmax", "log_softmax", "_softmax", "_log_softmax"}
JOINS = {"Concat", "cat", "concat", "concatenate"}
PIECES = {"chunk", "split", "split_with_sizes", "unbind", "tensor_split"}

# Windows and weights per channel: the same sentence at every position, on (B, C, h, w).
ON_MAPS = {
    "Conv2d", "conv2d", "ConvTranspose2d", "conv_transpose2d", "convolution", "MaxPool2d", "max_pool2d", "LPPool2d",
    "AvgPool2d", "avg_pool2d", "BatchNorm2d", "batch_norm", "LocalResponseNorm", "Dropout2d", "feature_dropout", "Softmax2d",
    "ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "pad", "constant_pad_nd",
    "reflection_pad2d", "replication_pad2d", "PixelShuffle", "PixelUnshuffle", "pixel_shuffle", "pixel_unshuffle",
    "ChannelShuffle", "channel_shuffle",
}  # fmt: skip
# The same at every size, but each value hears of the whole map: at another size the answer is not that of a window.
WHOLE = {"GroupNorm", "InstanceNorm2d", "group_norm", "instance_norm", "native_group_norm"}
SCALED = {"Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"}

_POINTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign, nn.Tanh,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
    nn.Threshold, nn.Identity, nn.Dropout, nn.AlphaDropout,
)  # fmt: skip
_POINTWISE_CALLS = {
    "to", "_to_copy", "contiguous", "clone", "alias", "detach", "lift_fresh_copy", "dropout", "alpha_dropout", "relu6",
    "Add",
    "native_dropout", "type_as", "hardtanh", "selu", "subtract", "multiply", "divide", "true_divide", "square", "negative",
    "softplus", "mish", "silu", "hardswish", "hardsigmoid", "celu", "absolute", "clip", "log_sigmoid",
}  # fmt: skip


def base(draft: Draft, node: Node) -> str:
    """'add' of 'add.Tensor'."""
    return draft.kind(node).split(".")[0]


def pointwise(draft: Draft, node: Node) -> bool:
    """Does the call treat every number alike, whatever its place?"""
    if node.op == "call_module":
        return isinstance(draft.module(node), _POINTWISE_MODULES) or base(draft, node) == "Add"
    tags: Any = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or base(draft, node) in _POINTWISE_CALLS


def setting(draft: Draft, node: Node, name: str, default: Any = None) -> Any:
    """One argument of a call by its name, of a module or of an ATen operation."""
    if node.op == "call_module":
        return getattr(draft.module(node), name, default)
    if not hasattr(node.target, "_schema"):  # a function of torch that an edit put in
        return node.kwargs.get(name, default)
    arguments: Any = node.target._schema.arguments  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in arguments if a.has_default_value()}
    named |= {a.name: value for a, value in zip(arguments, node.args, strict=False)} | dict(node.kwargs)
    found = named.get(name)
    return default if found is None else found


def constant(draft: Draft, node: Node) -> tuple[torch.Tensor, bool]:
    """The value of a call that reads weights alone, and whether any of them is trained."""
    if node.op == "get_attr":
        path, _, last = str(node.target).rpartition(".")
        value = getattr(draft.root.get_submodule(path), last)
        return value.detach(), value.requires_grad
    trained = False

    def of(read: Node) -> Any:
        nonlocal trained
        value, learns = constant(draft, read)
        trained |= learns
        return value

    target: Any = node.target
    with torch.no_grad():
        args, kwargs = map_arg((node.args, dict(node.kwargs)), of)
        return target(*args, **kwargs), trained
