"""Tiny networks for the contract suites: each has one trait that tools for larger networks get wrong.

`NETS[name]()` gives a fresh `(model, x)`: the model in eval mode with seeded weights, batch norm with statistics that do
something, five classes; and a batch of two inputs. Building one leaves torch's random generator as it was.

>>> model, x = NETS["plain"]()
>>> tuple(x.shape), tuple(model(x).shape)
((2, 3, 16, 16), (2, 5))
"""

from __future__ import annotations

import functools
import zlib
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

K = 5  # classes
NETS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {}


def _net(name: str, *shape: int) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Enter a class or function that makes a module into NETS, with the shape (C, H, W) of its input."""

    def enter(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        NETS[name] = functools.partial(_build, make, name, shape)
        return make

    return enter


def _build(make: Callable[[], nn.Module], name: str, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode()))  # not hash(): that differs from process to process
        model = make()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, 0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
        return model.eval(), torch.randn(2, *shape)


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, K))


@_net("plain", 3, 16, 16)
def plain() -> nn.Module:
    """Convolution, ReLU, max pooling, twice; then linear layers."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 8, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(128, 10), relu3=nn.ReLU(), fc2=nn.Linear(10, K)))


@_net("functional_relu", 3, 16, 16)
class FunctionalReLU(nn.Module):
    """ReLU, pooling and flattening as functions and methods: no module that a hook could find."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(32, K)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


@_net("reused_relu", 3, 16, 16)
class ReusedReLU(nn.Module):
    """One ReLU module, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 8, 3)
        self.fc1, self.fc2, self.relu = nn.Linear(200, 10), nn.Linear(10, K), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.fc2(self.relu(self.fc1(x.flatten(1))))


@_net("in_place", 3, 16, 16)
class InPlace(nn.Module):
    """In-place ReLU as module, function and method, and an in-place sum: what a hook kept may have been written over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.conv3, self.relu, self.head = nn.Conv2d(6, 8, 3), nn.ReLU(inplace=True), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        y = self.conv2(x)
        y += x
        y = F.relu(y, inplace=True)
        return self.head(self.conv3(y).relu_())


class _Block(nn.Module):
    """A residual block as in ResNet, v1: the ReLU module is used twice, the sum comes before the second use."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))


@_net("residual", 3, 16, 16)
def residual() -> nn.Module:
    """Two residual blocks with batch norm: one shortcut as it is, one with a convolution of its own."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(6), relu=nn.ReLU(inplace=True),
        block1=_Block(6, 6, 1), block2=_Block(6, 8, 2), head=_head(8)))


@_net("concat", 3, 16, 16)
class Concat(nn.Module):
    """Four branches joined along the channels, as in Inception."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.branch1 = nn.Sequential(nn.Conv2d(6, 3, 1), nn.ReLU())
        self.branch2 = nn.Sequential(nn.Conv2d(6, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.branch3 = nn.Sequential(nn.Conv2d(6, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 5, padding=2), nn.ReLU())
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(6, 2, 1), nn.ReLU())
        self.head = _head(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1))


@_net("grouped", 4, 16, 16)
def grouped() -> nn.Module:
    """Convolutions in two groups and depthwise (a multiplier of 1 and of 2), with ReLU6; four input channels."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(4, 8, 3, padding=1, groups=2), relu1=nn.ReLU6(),
        depthwise=nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), bn=nn.BatchNorm2d(8), relu2=nn.ReLU6(),
        doubled=nn.Conv2d(8, 16, 3, padding=1, groups=8), pointwise=nn.Conv2d(16, 6, 1), head=_head(6)))


@_net("dilated", 3, 18, 18)
def dilated() -> nn.Module:
    """Dilated convolutions, one of them with different steps in height and width; average pooling."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=2, dilation=2), relu1=nn.ReLU(), pool=nn.AvgPool2d(2),
        conv2=nn.Conv2d(6, 8, (3, 2), padding=(3, 0), dilation=(3, 2)), relu2=nn.ReLU(), head=_head(8)))


@_net("ceil_pool", 3, 16, 16)
def ceil_pool() -> nn.Module:
    """Overlapping pooling windows that stand out over the border (`ceil_mode`), maximum and average."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
        pool2=nn.MaxPool2d(3, 2, ceil_mode=True), conv2=nn.Conv2d(6, 8, 3, padding=1), relu2=nn.ReLU(),
        pool3=nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        pool4=nn.MaxPool2d(2, 2, ceil_mode=True), flatten=nn.Flatten(), fc=nn.Linear(32, K)))


@_net("shared_module", 3, 16, 16)
class SharedModule(nn.Module):
    """One convolution called twice, on maps of two sizes: two layers, one set of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.pool = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(2)
        self.head = _head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv(F.relu(self.stem(x)))))
        return self.head(F.relu(self.conv(x)))


@_net("no_bias", 3, 16, 16)
def no_bias() -> nn.Module:
    """No bias anywhere, ReLU and max pooling only: the score is the sum of input × gradient."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1, bias=False), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 8, 3, bias=False), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc=nn.Linear(72, K, bias=False)))


@_net("non_square", 3, 20, 14)
def non_square() -> nn.Module:
    """Height is not width, of the input, kernels, strides and padding."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, (5, 3), stride=(2, 1), padding=(2, 0)), relu1=nn.ReLU(), pool1=nn.MaxPool2d((2, 3), (2, 3)),
        conv2=nn.Conv2d(6, 8, (1, 3), padding=(0, 1)), relu2=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(160, K)))


@_net("grey", 1, 12, 12)
def grey() -> nn.Module:
    """One input channel; tanh and average pooling, as in the first LeNets."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 4, 5, padding=2), tanh1=nn.Tanh(), pool1=nn.AvgPool2d(2),
        conv2=nn.Conv2d(4, 6, 3), tanh2=nn.Tanh(), pool2=nn.AvgPool2d(2), flatten=nn.Flatten(), fc=nn.Linear(24, K)))


@_net("norm_first", 3, 16, 16)
def norm_first() -> nn.Module:
    """Batch norm and ReLU before the convolution, which pads: folding the norm into it would be wrong at the border."""
    return nn.Sequential(OrderedDict(
        bn0=nn.BatchNorm2d(3), conv1=nn.Conv2d(3, 6, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(6), relu1=nn.ReLU(), conv2=nn.Conv2d(6, 8, 3, stride=2, padding=1), bn2=nn.BatchNorm2d(8),
        conv3=nn.Conv2d(8, 8, 3, padding=1), relu2=nn.ReLU(), dropout=nn.Dropout(), head=_head(8)))


@_net("rows_lstm", 1, 12, 10)
class RowsLSTM(nn.Module):
    """A recurrent network that reads a grey image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(10, 8, batch_first=True), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = self.lstm(x[:, 0])
        return self.fc(rows[:, -1])
