"""Blocked rectifiers: a start from which no gradient comes back, and how to leave it.

    ∂L/∂x = g·[0 < x < top]                        where that is zero for a whole image:
    ∂L/∂x = g, except where x ≤ 0 and g > 0, or x ≥ top and g < 0        (L is descended: g > 0 would push x further away)

The rule is local to each rectifier and each image, so an image whose gradient arrives is not touched. Source: Olah,
Mordvintsev, Schubert 2017 (Lucid's redirected ReLU gradients).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from convscope import layers


class _Redirected(torch.autograd.Function):
    """clamp(x, 0, top), whose gradient takes the other way where it would be nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, top: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = low, top
        return x.clamp(low, top)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, top), g = ctx.saved_tensors, ctx.limits, gradients[0]
        plain = torch.where((x > low) & (x < top), g, torch.zeros_like(g))
        away = ((x <= low) & (g > 0)) | ((x >= top) & (g < 0))
        blocked = (plain.flatten(1).abs().amax(1) == 0).reshape(-1, *[1] * (g.ndim - 1))
        return torch.where(blocked, torch.where(away, torch.zeros_like(g), g), plain), None, None


def _relu(x: Tensor) -> Any:
    return _Redirected.apply(x, 0.0, float("inf"))


def _relu6(x: Tensor) -> Any:
    return _Redirected.apply(x, 0.0, 6.0)


def _hardtanh(x: Tensor, low: float = -1.0, top: float = 1.0) -> Any:
    return _Redirected.apply(x, float(low), float(top))


def _clamp(x: Tensor, min: float | None = None, max: float | None = None) -> Any:
    infinite = float("inf")
    return _Redirected.apply(x, -infinite if min is None else float(min), infinite if max is None else float(max))


_TWINS = {"relu": _relu, "relu_": _relu, "relu6": _relu6, "relu6_": _relu6, "hardtanh": _hardtanh, "hardtanh_": _hardtanh,
          "clamp": _clamp, "clamp_": _clamp, "clamp_min": _clamp, "clamp_min_": _clamp}


def redirected(graph: GraphModule) -> GraphModule:
    """A copy of a graph in which no rectifier blocks a whole image."""
    twin = torch.fx.Graph()
    twin.output(twin.graph_copy(graph.graph, {}))
    for node in twin.nodes:
        numbers = not any(isinstance(limit, torch.fx.Node) for limit in node.args[1:])  # clamp may take tensors
        if node.op == "call_function" and layers.op_name(node) in _TWINS and numbers:
            node.target = _TWINS[layers.op_name(node)]
    return GraphModule(torch.nn.Module(), twin)
