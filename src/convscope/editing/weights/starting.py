"""Where weights start: the fan and the gain of a layer, its input maps, and the scale that gives its output unit variance.

    fan_in    inputs that one output reads: C/g · kh · kw
    fan_out   outputs that one input is read by: U/g · kh · kw
    gain      what the nonlinearity behind needs so that variances stay: ReLU √2, leaky √(2/(1 + a²)), tanh 5/3, none 1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Interpreter, Node

from convscope.editing.draft import Draft

WEIGHTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LIKE_RELU = {"ReLU", "ReLU6", "relu", "relu6", "hardtanh", "threshold"}
_TAKEN_FOR_RELU = {"GELU", "SiLU", "Mish", "ELU", "CELU", "Softplus", "Hardswish", "PReLU", "gelu", "silu", "mish", "elu",
                   "celu", "softplus", "hardswish", "prelu", "Hardtanh"}  # fmt: skip
_OTHERS = {"Tanh": 5 / 3, "tanh": 5 / 3, "SELU": 0.75, "selu": 0.75, "Sigmoid": 1.0, "sigmoid": 1.0, "Hardsigmoid": 1.0,
           "hardsigmoid": 1.0}
_PASSING = ("Norm", "Pool", "Dropout", "Flatten", "Identity", "Add", "Concat", "pool", "dropout", "flatten", "view",
            "reshape", "batch_norm", "add", "cat", "mean", "clone", "contiguous", "squeeze")  # fmt: skip


def fans(module: nn.Module) -> tuple[float, float]:
    """fan_in, fan_out.

    >>> fans(nn.Conv2d(8, 16, 3, groups=2))
    (36.0, 72.0)
    """
    weight = module.get_parameter("weight")
    groups, kernel = getattr(module, "groups", 1), math.prod(weight.shape[2:])
    reads, read = (weight.shape[1], weight.shape[0] / groups)
    if isinstance(module, _TRANSPOSED):
        steps = math.prod(module.stride)
        return read * kernel / steps, reads * kernel
    return float(reads * kernel), read * kernel


def gain(draft: Draft, node: Node) -> tuple[float, str]:
    """The gain for the nonlinearity behind a layer, and its name: '' where none comes before the next layer."""
    waiting, seen = list(node.users), set[Node]()
    while waiting:
        one = waiting.pop(0)
        if one in seen or one.op not in ("call_module", "call_function"):
            continue
        seen.add(one)
        kind = draft.kind(one).split(".")[0]
        if kind in _LIKE_RELU or kind in _TAKEN_FOR_RELU:
            return math.sqrt(2), kind
        if kind in ("LeakyReLU", "leaky_relu"):
            held: Any = draft.module(one) if one.op == "call_module" else None
            slope: Any = (*one.args, 0.01)[1] if held is None else held.negative_slope
            return math.sqrt(2 / (1 + float(slope) ** 2)), kind
        if kind in _OTHERS:
            return _OTHERS[kind], kind
        if any(part in kind for part in _PASSING):
            waiting += one.users
    return 1.0, ""


def assumed(kind: str) -> bool:
    """Is the gain that of ReLU for want of one of its own?"""
    return kind in _TAKEN_FOR_RELU


class _Reached(Exception):
    """No error: the value is there."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Upto(Interpreter):
    """Runs up to one node and hands over what that would read."""

    def __init__(self, draft: Draft, node: Node) -> None:
        super().__init__(draft.root)
        self.node = node

    def run_node(self, n: Node) -> Any:
        if n is self.node:
            raise _Reached(self.fetch_args_kwargs_from_env(n)[0][0])
        return super().run_node(n)


def inputs_of(draft: Draft, node: Node, batches: Iterable[Tensor]) -> Tensor:
    """What a layer reads on these images, (B, C, h, w)."""
    found: list[Tensor] = []
    for x in batches:
        try:
            with torch.no_grad():
                _Upto(draft, node).run(x)
        except _Reached as reached:
            found.append(reached.value)
    return torch.cat(found)


class UnitVariance(Interpreter):
    """Layer by layer: divide the weights by the standard deviation of the layer's output, then go on with the new output."""

    TOLERANCE = 0.01
    ROUNDS = 10

    def __init__(self, draft: Draft, nodes: list[Node], report: Callable[[int, int, str], None]) -> None:
        super().__init__(draft.root)
        self.draft, self.nodes, self.report = draft, nodes, report
        self.scales: dict[Node, float] = {}
        self.flat: list[Node] = []  # their output is one value, whatever their weights

    def run_node(self, n: Node) -> Any:
        y = super().run_node(n)
        if n not in self.nodes:
            return y
        scale, weight = 1.0, self.draft.module(n).get_parameter("weight")
        for _ in range(self.ROUNDS):
            variance = float(y.double().var())
            if variance < 1e-20:
                self.flat.append(n)
                break
            if abs(variance - 1) <= self.TOLERANCE:
                break
            scale /= math.sqrt(variance)
            weight.data.div_(math.sqrt(variance))
            y = super().run_node(n)
        self.scales[n] = scale
        self.report(len(self.scales), len(self.nodes), self.draft.address(n))
        return y
