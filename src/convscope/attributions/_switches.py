"""The deconvnet's way back through pooling and normalisation (Zeiler and Fergus 2014, section 2.1).

Max pooling: each value goes back to the place it came from (the switch), all other places are zero. Where windows overlap,
several values may go to one place: autograd adds them ('add'); an unpooling that writes them one after the other keeps the
last in reading order ('overwrite'). Local response normalisation: the paper undoes no contrast normalisation, so what comes
back passes unchanged.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.attributions import _rectify
from convscope.network import Network
from convscope.run import Rule, Target

MAX_POOLS = ("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d")
OTHER_MAX_POOLS = ("max_pool1d", "max_pool3d", "max_pool3d_with_indices", "adaptive_max_pool1d", "adaptive_max_pool3d")
AVERAGES = ("avg_pool2d", "adaptive_avg_pool2d", "mean", "avg_pool1d", "adaptive_avg_pool1d", "_adaptive_avg_pool2d")
_OF_LRN = {"pow", "add", "mul", "avg_pool2d", "avg_pool3d", "squeeze", "unsqueeze", "view", "reshape", "pad",
           "constant_pad_nd", "square", "div"}


class Unpooling:
    """Rules for max pooling and local response normalisation on the way back, that count what they met. For one run."""

    def __init__(self, net: Network, target: Target, overlap: str) -> None:
        self.overlap = overlap
        path = _rectify.path(net, target)
        self.pools = [n for n in path if layers.op_name(n) in MAX_POOLS]
        self.left = [n for n in path if layers.op_name(n) in OTHER_MAX_POOLS]
        self.averages = [n for n in path if layers.op_name(n) in AVERAGES]
        self.norms = [n for n in path if is_response_norm(n)]
        self.reached: set[str] = set()
        self.switches = self.collided = 0  # how many switches there are, and how many point where an earlier one did
        self.rules: dict[str, Rule] = {
            name: _rectify.by_node(net, name, self._pool) for name in {layers.op_name(n) for n in self.pools}}
        if self.norms:
            self.rules["div"] = _rectify.by_node(net, "div", self._divide)

    def _pool(self, node: Node, call: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        name = layers.op_name(node)
        if node not in self.pools:
            return call(x, *args, **kwargs)
        pooled = F.adaptive_max_pool2d if name == "adaptive_max_pool2d" else F.max_pool2d
        settings = layers.tensor_arguments(node)[1]
        given = {k: v for k, v in settings.items() if k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode",
                                                           "output_size") and v != []}
        y, places = _Unpool.apply(x, lambda t: pooled(t, **given, return_indices=True), self, node.name)
        return y if name == "max_pool2d" else (y, places)

    def _divide(self, node: Node, call: Any, x: Any, other: Any, **kwargs: Any) -> Any:
        if node not in self.norms:
            return call(x, other, **kwargs)
        return _Through.apply(x, other)


class _Unpool(torch.autograd.Function):
    """Max pooling; on the way back every value goes to its switch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Any, unpooling: Unpooling, name: str) -> tuple[Tensor, Tensor]:
        y, places = pool(x)
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(places)
        ctx.shape, ctx.unpooling, ctx.name = x.shape, unpooling, name
        unpooling.switches += places.numel()
        unpooling.collided += places.numel() - int(used(places, x.shape).sum())
        return y, places

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (places,) = ctx.saved_tensors
        ctx.unpooling.reached.add(ctx.name)
        return unpool(grads[0], places, ctx.shape, ctx.unpooling.overlap), None, None, None


class _Through(torch.autograd.Function):
    """x / denominator; on the way back to x alone, unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, denominator: Tensor) -> Tensor:  # noqa: ARG004
        return x / denominator

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # noqa: ARG004 (autograd names it)
        return grads[0], None


def unpool(r: Tensor, places: Tensor, shape: torch.Size, overlap: str) -> Tensor:
    """`r` (B, C, h, w) at its `places` in zeros of `shape` (B, C, H, W). The same bits whatever the number of threads."""
    flat, at = r.flatten(2), places.flatten(2)
    if overlap == "overwrite":
        order = torch.arange(at.shape[2], device=at.device).expand_as(at)
        last = torch.full((*at.shape[:2], shape[2] * shape[3]), -1, dtype=at.dtype, device=at.device)
        last = last.scatter_reduce(2, at, order, "amax")  # which value is written last to each place
        flat = torch.where(last.gather(2, at) == order, flat, torch.zeros_like(flat))
    out = torch.zeros((*flat.shape[:2], shape[2] * shape[3]), dtype=r.dtype, device=r.device)
    return out.scatter_add(2, at, flat).view(shape)


def used(places: Tensor, shape: torch.Size) -> Tensor:
    """(B, C, H·W) booleans: does a switch point here?"""
    at = places.flatten(2)
    return torch.zeros((*at.shape[:2], shape[2] * shape[3]), dtype=torch.bool, device=at.device).scatter(2, at, True)


def is_response_norm(node: Node) -> bool:
    """Is this x / (k + α·mean of x² over channels)^β, as a module or written out? Its denominator is made from x alone."""
    if layers.op_name(node) != "div" or len(node.args) < 2 or not all(isinstance(a, Node) for a in node.args[:2]):
        return False
    x, waiting, seen = node.args[0], [node.args[1]], set[str]()
    while waiting:
        made = waiting.pop()
        if made is x:
            continue
        assert isinstance(made, Node)
        if layers.op_name(made) not in _OF_LRN:
            return False
        seen.add(layers.op_name(made))
        waiting += [a for a in made.all_input_nodes if layers.is_tensor(a)]
    return "pow" in seen and bool(seen & {"avg_pool2d", "avg_pool3d"})
