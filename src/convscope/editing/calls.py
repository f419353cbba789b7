"""A call of the graph in the words of PyTorch: `x + y`, `F.relu(x)`, `x.flatten(1)`; else it stays `torch.ops.aten.…`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from convscope.errors import ExportError

_SIGNS = {"add.Tensor": "+", "sub.Tensor": "-", "mul.Tensor": "*", "div.Tensor": "/", "add.Scalar": "+", "mul.Scalar": "*"}
_METHODS = {"flatten.using_ints": "flatten", "view.default": "reshape", "reshape.default": "reshape",
            "permute.default": "permute", "transpose.int": "transpose", "mean.dim": "mean", "sum.dim_IntList": "sum",
            "sigmoid.default": "sigmoid", "tanh.default": "tanh", "softmax.int": "softmax", "log_softmax.int": "log_softmax",
            "unsqueeze.default": "unsqueeze", "squeeze.dim": "squeeze", "sym_size.int": "size", "chunk.default": "chunk",
            "split.Tensor": "split", "exp.default": "exp", "sqrt.default": "sqrt", "expand.default": "expand",
            "clamp.default": "clamp", "amax.default": "amax", "neg.default": "neg"}  # fmt: skip
_FUNCTIONS = {"relu.default": "F.relu", "gelu.default": "F.gelu", "silu.default": "F.silu", "hardtanh.default": "F.hardtanh",
              "leaky_relu.default": "F.leaky_relu", "elu.default": "F.elu", "max_pool2d.default": "F.max_pool2d",
              "avg_pool2d.default": "F.avg_pool2d", "adaptive_avg_pool2d.default": "F.adaptive_avg_pool2d",
              "conv2d.default": "F.conv2d", "linear.default": "F.linear", "cat.default": "torch.cat",
              "matmul.default": "torch.matmul", "conv_transpose2d.input": "F.conv_transpose2d"}  # fmt: skip


def target_name(node: Node) -> str:
    """'add.Tensor' of an ATen call, 'getitem' of Python's own."""
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    return f"{schema.name.split('::')[-1]}.{target._overloadname}"


def call_text(node: Node, names: dict[Node, str]) -> str:
    """The right-hand side of `x = …`."""
    name = target_name(node)
    target: Any = node.target
    said = [literal(a, names) for a in node.args]
    named = [f"{k}={literal(v, names)}" for k, v in node.kwargs.items()]
    if target is operator.getitem:
        return f"{said[0]}[{said[1]}]"
    if not hasattr(target, "_schema"):
        return f"{_python(target)}({', '.join(said + named)})"
    if name == "batch_norm.default":  # a function that is told the mode of the module it stands in
        x, weight, bias, mean, variance, _, momentum, eps = said[:8]
        return f"F.batch_norm({x}, {mean}, {variance}, {weight}, {bias}, self.training, {momentum}, {eps})"
    if name in _SIGNS and not named and len(said) == 2:
        return f"{said[0]} {_SIGNS[name]} {said[1]}"
    if name in _METHODS:
        return f"{said[0]}.{_METHODS[name]}({', '.join(said[1:] + named)})"
    if name in _FUNCTIONS:
        return f"{_FUNCTIONS[name]}({', '.join(said + named)})"
    space = target._schema.name.split("::")[0]
    return f"torch.ops.{space}.{name}({', '.join(said + named)})"


def _python(target: Callable[..., Any]) -> str:
    """How a plain Python function is reached from the file: those of torch and of torch.nn.functional only."""
    name = target.__name__
    for prefix, space in (("F", torch.nn.functional), ("torch", torch)):
        if getattr(space, name, None) is target:
            return f"{prefix}.{name}"
    signs = {operator.add: "torch.add", operator.mul: "torch.mul"}
    if target in signs:
        return signs[target]
    raise ExportError(f"a call of {name} cannot be written out", "it is no function of torch", "use one of torch's")


def literal(value: Any, names: dict[Node, str]) -> str:
    """A value as it is written in Python."""
    if isinstance(value, Node):
        return names[value]
    if isinstance(value, (list, tuple)):
        inner = ", ".join(literal(v, names) for v in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, slice):
        return f"slice({literal(value.start, names)}, {literal(value.stop, names)}, {literal(value.step, names)})"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"float({str(value)!r})"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    return repr(value)
