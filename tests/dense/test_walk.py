"""A scan equals the loop over windows: every tiny network, random networks, every stride and way.

Turns red: `-(-(axis.before + tap.pad) // tap.stride)` → `(axis.before + tap.pad) // tap.stride` in `axes.after`; `axis.d *
tap.stride` → `axis.d`; `begin * spread` → `begin` in `pieces._slice`; `fill = -torch.inf` → `0.0`; `tap.pad)` → `0)` in
`primitives._counts`; `- tap.pad + t` → `+ t` in `strips.reach`; `movedim(at + 1, k)` → `movedim(at, k)` in
`fragments._split`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.dense import choose, reading, tiles, window
from convscope.dense.axes import Grid, windows
from convscope.dense.fragments import Fragments
from convscope.dense.pieces import Grids
from convscope.dense.walk import Pieces, walk
from convscope.network import Network
from tests.dense.loops import window_by_window
from tests.nets import NETS
from tests.traces import unchanged

CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}


def grids_of(x: Tensor, size: tuple[int, int], stride: int = 1) -> Grids:
    return (Grid(windows(x.shape[1], size[0], stride), stride), Grid(windows(x.shape[2], size[1], stride), stride))


def off(net: Network, module: nn.Module, x: Tensor, stride: int = 1) -> float:
    """How far the scan is from the slow twin."""
    read = reading.read(net)
    grids = grids_of(x, read.size, stride)
    ours = walk(read, x, grids, Pieces()).unflatten(0, (grids[0].count, grids[1].count))
    return float((ours - window_by_window(module, x, read.size, stride)).abs().max())


@pytest.mark.parametrize("name", [n for n in NETS if n != "rows_lstm"])
def test_tiny_networks(name: str) -> None:
    module, x = NETS[name]()
    module, x = module.double(), x.double()
    net = Network.open(module, x[:1])
    n, m = net.input_shape[2:]
    image = torch.randn(net.input_shape[1], n + 7, m + 5, dtype=torch.float64)
    with unchanged(module, image):
        for stride in (1, 3, 4):
            assert off(net, module, image, stride) < CLOSE[torch.float64], stride
    assert not reading.read(net).barriers


@pytest.mark.parametrize("name", ["plain", "residual", "functional_relu", "ceil_pool"])
def test_float32(name: str) -> None:
    module, x = NETS[name]()
    net = Network.open(module, x[:1])
    assert off(net, module, torch.randn(net.input_shape[1], 22, 20)) < CLOSE[torch.float32]


class Random(nn.Module):
    """A network drawn at random: a chain of windows, a skip or a concatenation here and there, and a head."""

    def __init__(self, draw: Any, side: int, padded: bool) -> None:
        super().__init__()
        self.parts, self.how = nn.ModuleList(), list[str]()
        channels, size = 2, side
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.sampled_from(["conv", "max", "avg", "skip", "cat", "grouped"]))
            k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
            pad = draw(st.integers(0, k // 2)) if padded else 0
            reach = d * (k - 1) + 1 if kind in ("conv", "max") else k
            if size + 2 * pad < reach + s:
                continue
            after = channels
            if kind == "conv":
                after = draw(st.integers(1, 4)) * 2
                part: nn.Module = nn.Conv2d(channels, after, k, s, pad, d)
            elif kind == "grouped":
                part = nn.Conv2d(channels, channels, k, s, pad, groups=2, bias=False)
            elif kind == "max":
                part = nn.MaxPool2d(k, s, pad, d, ceil_mode=padded and draw(st.booleans()))
            elif kind == "avg":
                ceil, count = padded and draw(st.booleans()), draw(st.booleans())
                part = nn.AvgPool2d(k, s, pad, ceil_mode=ceil, count_include_pad=count)
            else:
                if not padded:
                    continue
                part = nn.Conv2d(channels, channels, 3, 1, 1)
                after = channels * (2 if kind == "cat" else 1)
            made = part(torch.zeros(1, channels, size, size))
            if made.shape[-1] < 1 or size + 2 * pad < reach:
                continue
            channels, size = after, made.shape[-1]
            self.parts.append(part)
            self.how.append(kind)
        mean = draw(st.booleans())
        self.head = (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)) if mean
                     else nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 3), nn.Tanh(), nn.Linear(3, 2)))

    def forward(self, x: Tensor) -> Tensor:
        for part, kind in zip(self.parts, self.how, strict=True):
            y = part(x)
            x = torch.relu(x + y if kind == "skip" else torch.cat([y, x], 1) if kind == "cat" else y)
        return self.head(x)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.data())
def test_random_networks(data: st.DataObject) -> None:
    side, stride, padded = data.draw(st.integers(8, 15)), data.draw(st.integers(1, 5)), data.draw(st.booleans())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Random(data.draw, side, padded).double().eval()
        net = Network.open(module, torch.zeros(1, 2, side, side, dtype=torch.float64))
        x = torch.randn(2, side + data.draw(st.integers(0, 9)), side + data.draw(st.integers(0, 9)), dtype=torch.float64)
    assert off(net, module, x, stride) < CLOSE[torch.float64]
    read = reading.read(net)
    if not read.local:
        return
    grids = grids_of(x, read.size)
    ours = walk(read, x, grids, Fragments(read.strides))
    assert float((ours - walk(read, x, grids, Pieces())).abs().max()) < CLOSE[torch.float64]


def test_one_convolution_by_hand() -> None:
    # Two windows of 3 in a row of 4 pixels; kernel (1, 2) with a padding of 1: the ends feel zeros in each window.
    module = nn.Sequential(nn.Conv2d(1, 1, (1, 2), padding=(0, 1), bias=False), nn.Flatten())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[[[1.0, 10.0]]]]))
    net = Network.open(module, (1, 1, 3))
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    found = walk(reading.read(net), x, grids_of(x, (1, 3)), Pieces())
    assert found.tolist() == [[10.0, 21.0, 32.0, 3.0], [20.0, 32.0, 43.0, 4.0]]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 3, ceil_mode=True), nn.AvgPool2d((3, 2), 2, (1, 0)),
                                  nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(2, 3, ceil_mode=True),
                                  nn.AvgPool2d(3, 1, 1, divisor_override=5)], ids=str)  # fmt: skip
def test_pooling_of_signed_values(pool: nn.Module) -> None:
    module = nn.Sequential(pool, nn.Flatten()).eval()
    net = Network.open(module, torch.zeros(1, 2, 8, 9, dtype=torch.float64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.randn(2, 13, 13, dtype=torch.float64) - 1
    assert off(net, module, x) < CLOSE[torch.float64]
    assert off(net, module, x, 2) < CLOSE[torch.float64]


class Odd(nn.Module):
    """Response normalisation, a layer of padding, same padding, channels shuffled and split, two pools at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, (3, 4), padding="same")
        self.lrn, self.zero = nn.LocalResponseNorm(5), nn.ZeroPad2d((1, 0, 2, 1))
        self.conv2, self.shuffle, self.act = nn.Conv2d(8, 8, 3, stride=2), nn.ChannelShuffle(2), nn.PReLU(8)
        self.norm, self.fc = nn.BatchNorm1d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn(self.conv1((x - 0.5) / 0.25))
        x = self.act(self.shuffle(self.conv2(self.zero(x))))
        a, b = x.split(4, 1)
        x = torch.cat([b, a.sigmoid()], 1)
        return torch.softmax(self.fc(self.norm(x.mean((2, 3)) + x.amax((2, 3)))), 1)


def test_odd_operations() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Odd().double().eval()
        x = torch.randn(3, 17, 16, dtype=torch.float64)
    net = Network.open(module, torch.zeros(1, 3, 12, 11, dtype=torch.float64))
    assert reading.read(net).barriers == []
    assert off(net, module, x, 1) < CLOSE[torch.float64]
    assert off(net, module, x, 2) < CLOSE[torch.float64]


def test_tiles_give_what_the_whole_gives() -> None:
    for name, way in (("plain", "zones"), ("functional_relu", "dilated"), ("plain", "context")):
        module, x = NETS[name]()
        net = Network.open(module.double(), x[:1].double())
        image = torch.randn(3, 40, 33, dtype=torch.float64)
        for stride in (1, 3):
            grids = grids_of(image, (16, 16), stride)
            chosen = choose.choose(net, way, grids)
            job = tiles.Job(chosen.work, chosen.margin)
            whole = tiles.run(job, chosen.reading, image, grids, 10**10)
            small = tiles.cost(chosen.reading, grids).peak // 4
            cut = tiles.run(job, chosen.reading, image, grids, small)
            assert len(tiles.tiles(chosen.reading, grids, small)) > 3
            assert float((whole - cut).abs().max()) < CLOSE[torch.float64], (name, way, stride)


def test_the_loop_is_the_slow_twin() -> None:
    module, x = NETS["plain"]()
    net = Network.open(module, x[:1])
    image = torch.randn(3, 19, 18)
    found = window.loop(net, image, grids_of(image, (16, 16), 2), batch=3)
    assert torch.allclose(found, window_by_window(module, image, (16, 16), 2).flatten(0, 1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("alexnet", 95), ("alexnet_2012", 227), ("vgg11", 64), ("squeezenet1_1", 65),
                                            ("googlenet", 64), ("resnet18", 48)])
def test_networks_of_the_zoo(name: str, side: int) -> None:
    from convscope import registry

    module = registry.factory(name)().eval()
    net = Network.open(module, (3, side, side))
    x = torch.randn(3, side + 2, side + 1)
    found = window_by_window(module, x, (side, side))
    assert off(net, module, x) < 1e-5 * max(1.0, float(found.abs().max()))
