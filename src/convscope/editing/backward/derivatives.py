"""The derivative of every nonlinearity that has a name, and of averaging; plain calls as modules that compute the same.

    v·φ′(x)     written with x, or with y = φ(x) where that is shorter: tanh′ = 1 − y², σ′ = y·(1 − y)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.fx import Node

aten = torch.ops.aten

MADE: dict[str, Callable[[dict[str, Any]], nn.Module]] = {  # plain calls, as the module that computes the same
    "relu": lambda _: nn.ReLU(), "tanh": lambda _: nn.Tanh(), "sigmoid": lambda _: nn.Sigmoid(), "silu": lambda _: nn.SiLU(),
    "mish": lambda _: nn.Mish(), "hardswish": lambda _: nn.Hardswish(), "hardsigmoid": lambda _: nn.Hardsigmoid(),
    "relu6": lambda _: nn.ReLU6(), "gelu": lambda s: nn.GELU(s["approximate"]), "selu": lambda _: nn.SELU(),
    "leaky_relu": lambda s: nn.LeakyReLU(s["negative_slope"]), "hardtanh": lambda s: nn.Hardtanh(s["min_val"], s["max_val"]),
    "softplus": lambda s: nn.Softplus(s["beta"], s["threshold"]), "elu": lambda s: nn.ELU(s["alpha"]),
    "softmax": lambda s: nn.Softmax(s["dim"]), "log_softmax": lambda s: nn.LogSoftmax(s["dim"]),
    "max_pool2d": lambda s: nn.MaxPool2d(s["kernel_size"], s["stride"] or None, s["padding"], s["dilation"],
                                         ceil_mode=s["ceil_mode"]),
    "avg_pool2d": lambda s: nn.AvgPool2d(s["kernel_size"], s["stride"] or None, s["padding"], s["ceil_mode"],
                                         s["count_include_pad"], s["divisor_override"]),
    "adaptive_avg_pool2d": lambda s: nn.AdaptiveAvgPool2d(s["output_size"]), "dropout": lambda s: nn.Dropout(s["p"]),
}  # fmt: skip

# v·φ′(x): the call, and what it takes of (module, v, x, y).
SLOPES: dict[type[nn.Module], tuple[Any, Callable[[Any, Node, Node, Node], tuple[Any, ...]]]] = {
    nn.Tanh: (aten.tanh_backward.default, lambda _, v, x, y: (v, y)),  # noqa: ARG005 - the same four for all
    nn.Sigmoid: (aten.sigmoid_backward.default, lambda _, v, x, y: (v, y)),  # noqa: ARG005
    nn.ReLU6: (aten.hardtanh_backward.default, lambda _, v, x, y: (v, x, 0.0, 6.0)),  # noqa: ARG005
    nn.Hardtanh: (aten.hardtanh_backward.default, lambda m, v, x, y: (v, x, m.min_val, m.max_val)),  # noqa: ARG005
    nn.LeakyReLU: (aten.leaky_relu_backward.default, lambda m, v, x, y: (v, x, m.negative_slope, False)),  # noqa: ARG005
    nn.ELU: (aten.elu_backward.default, lambda m, v, x, y: (v, m.alpha, 1.0, 1.0, False, x)),  # noqa: ARG005
    nn.SELU: (aten.elu_backward.default, lambda _, v, x, y: (  # noqa: ARG005
        v, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0, False, x)),
    nn.GELU: (aten.gelu_backward.default, lambda _, v, x, y: (v, x)),  # noqa: ARG005 - its approximation is named
    nn.SiLU: (aten.silu_backward.default, lambda _, v, x, y: (v, x)),  # noqa: ARG005
    nn.Mish: (aten.mish_backward.default, lambda _, v, x, y: (v, x)),  # noqa: ARG005
    nn.Hardswish: (aten.hardswish_backward.default, lambda _, v, x, y: (v, x)),  # noqa: ARG005
    nn.Hardsigmoid: (aten.hardsigmoid_backward.default, lambda _, v, x, y: (v, x)),  # noqa: ARG005
    nn.Softplus: (aten.softplus_backward.default, lambda m, v, x, y: (v, x, m.beta, m.threshold)),  # noqa: ARG005
}
NONLINEAR = (nn.ReLU, *SLOPES)

# The way back of averaging, and the poolings that give their switches along.
AVERAGES = {nn.AvgPool2d: aten.avg_pool2d_backward.default, nn.AvgPool3d: aten.avg_pool3d_backward.default}
ADAPTIVE = {nn.AdaptiveAvgPool2d: aten._adaptive_avg_pool2d_backward.default,
             nn.AdaptiveAvgPool3d: aten._adaptive_avg_pool3d_backward.default}  # fmt: skip
WITH_SWITCHES = {f"{kind}{n}d{rest}" for n in (1, 2, 3) for kind, rest in (("adaptive_max_pool", ""),
                                                                            ("max_pool", "_with_indices"))}



def arguments(node: Node) -> dict[str, Any]:
    """The arguments of a call of ATen by the names of its schema, defaults included."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named |= {a.name: value for a, value in zip(schema.arguments, node.args, strict=False)}
    return named | dict(node.kwargs)
