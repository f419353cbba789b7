"""Networks that exist twice: as a torch module and as steps of `tests/debugger/naive.py`, with the same numbers in both."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.debugger import naive
from tests.debugger.naive import Step, chain


@dataclass(frozen=True, eq=False)
class Pair:
    """A module (float64), the same as steps, a batch and its labels."""

    name: str
    module: nn.Module
    steps: tuple[Step, ...]
    x: Any  # (B, C, H, W) float64
    labels: tuple[int, ...]

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        return {k: v.detach().numpy() for k, v in self.module.named_parameters()}

    def arrays(self, mistakes: dict[str, str] | None = None, dtype: Any = np.float64) -> dict[str, Any]:
        """What the hand-made network works out, with these mistakes in it."""
        return naive.run(self.steps, self.x, self.labels, self.parameters, mistakes, dtype)


PAIRS: dict[str, Callable[[], Pair]] = {}


def _pair(make: Callable[[], tuple[nn.Module, tuple[Step, ...], tuple[int, ...], int]]) -> Callable[[], Pair]:
    """Registers a maker of (module, steps, image shape, batch) under its name; built once, from seed 0."""

    @functools.cache
    def build() -> Pair:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module, steps, shape, batch = make()
        module = module.double().train()
        rng = np.random.default_rng(0)
        x = rng.normal(size=(batch, *shape))
        return Pair(make.__name__, module, steps, x, tuple(int(n) for n in rng.permutation(10)[:batch]))

    PAIRS[make.__name__] = build
    return build


def _two_conv_two_dense(width: int) -> tuple[nn.Module, tuple[Step, ...]]:
    """28×28, two 5×5 convolutions without pooling, two dense layers; each activation function once."""
    module = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, width, 5), tanh1=nn.Tanh(), conv2=nn.Conv2d(width, width, 5), relu2=nn.ReLU(),
        flatten=nn.Flatten(), fc1=nn.Linear(400 * width, 10), sigmoid3=nn.Sigmoid(), fc2=nn.Linear(10, 10)))
    kinds = ("conv", "tanh", "conv", "relu", "flatten", "dense", "sigmoid", "dense")
    names = tuple(name for name, _ in module.named_children())
    return module, chain(*((name, kind, {}) for name, kind in zip(names, kinds, strict=True)))


@_pair
def one_filter() -> Any:
    """Two convolutional and two dense layers, one filter each: the question that everybody asks first."""
    return *_two_conv_two_dense(1), (1, 28, 28), 3


@_pair
def few_filters() -> Any:
    """The same with three filters each."""
    return *_two_conv_two_dense(3), (1, 28, 28), 2


@_pair
def pooled() -> Any:
    """Strides, padding, dilation, groups, overlapping and plain pooling, on maps that are wider than high."""
    module = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(2, 4, 3, stride=2, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(3, 2, 1),
        conv2=nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2), tanh2=nn.Tanh(), pool2=nn.AvgPool2d(2),
        conv3=nn.Conv2d(4, 4, 3, padding=1), relu3=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(48, 10)))
    steps = chain(
        ("conv1", "conv", {"stride": 2, "padding": 1}), ("relu1", "relu", {}),
        ("pool1", "max_pool", {"kernel": 3, "stride": 2, "padding": 1}),
        ("conv2", "conv", {"padding": 2, "dilation": 2, "groups": 2}), ("tanh2", "tanh", {}),
        ("pool2", "avg_pool", {"kernel": 2}), ("conv3", "conv", {"padding": 1}), ("relu3", "relu", {}),
        ("flatten", "flatten", {}), ("fc", "dense", {}))
    return module, steps, (2, 24, 32), 3


class Branches(nn.Module):
    """Batch norm in training, a residual sum, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 3, padding=1)
        self.pool, self.flatten, self.fc = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(7 * 9, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)) + x)
        return self.fc(self.flatten(self.pool(torch.cat([self.left(x), self.right(x)], 1))))


@_pair
def branches() -> Any:
    """Batch norm in training, a residual sum, a concatenation; batch norm's scales and shifts are not 1 and 0."""
    module = Branches()
    for norm in (module.bn1, module.bn2):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    steps = (
        Step("conv1", "conv", ("input",), {"padding": 1}), Step("bn1", "batch_norm", ("conv1",)),
        Step("relu1", "relu", ("bn1",)), Step("conv2", "conv", ("relu1",), {"padding": 1}),
        Step("bn2", "batch_norm", ("conv2",)), Step("add", "add", ("bn2", "relu1")), Step("relu2", "relu", ("add",)),
        Step("left", "conv", ("relu2",)), Step("right", "conv", ("relu2",), {"padding": 1}),
        Step("concat", "concat", ("left", "right")), Step("pool", "max_pool", ("concat",), {"kernel": 2}),
        Step("flatten", "flatten", ("pool",)), Step("fc", "dense", ("flatten",)))
    return module, steps, (2, 6, 6), 3


class Rows(nn.Module):
    """A recurrent layer that reads an image row by row, and a dense layer on its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.fc = layer, nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x[:, 0])
        return self.fc(states[:, -1])


def _rows(kind: str, layer: nn.Module) -> Any:
    steps = chain(("select", "rows", {}), ("layer", kind, {}), ("select:1", "last", {}), ("fc", "dense", {}))
    return Rows(layer), steps, (1, 6, 5), 3


@_pair
def rnn() -> Any:
    """A plain recurrent layer over rows."""
    return _rows("rnn", nn.RNN(5, 5, batch_first=True))


@_pair
def lstm() -> Any:
    """An LSTM over rows."""
    return _rows("lstm", nn.LSTM(5, 5, batch_first=True))
