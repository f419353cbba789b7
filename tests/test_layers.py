"""Layers are calls: each has its own address, its parents, its parameters counted once and its line of the user's code.

Turns red: in `layers._addresses`, `taken[address] += 1` -> `taken[address] += 0`; in `_Reading.layer`, drop `counted |= …`.
"""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.network import Network
from convscope.results import Layer

IMAGE = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)


def opened(module: nn.Module, x: Tensor = IMAGE) -> Network:
    return Network.open(module.eval(), x)


def addresses(net: Network) -> list[str]:
    found = [layer.address for layer in net.layers]
    assert len(set(found)) == len(found), "two layers share an address"
    return found


class Block(nn.Module):
    """A residual block with everything that is easily lost on the way: dropout, in-place, one ReLU twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.drop(self.norm(self.relu(self.conv(x)))) + x)


class Reuse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.relu(self.b(self.relu(self.a(x)))) + 1)


def test_a_reused_module_is_a_layer_for_each_call() -> None:
    net = opened(Reuse())
    assert addresses(net) == ["a", "relu", "b", "relu:1", "add", "relu:2"]
    assert [layer.parents for layer in net.layers] == [("input",), ("a",), ("relu",), ("b",), ("relu:1",), ("add",)]


def test_a_shared_block_counts_its_parameters_once() -> None:
    block = Block()
    net = opened(nn.Sequential(nn.Conv2d(1, 2, 1), block, block))
    names = addresses(net)
    assert names[1:7] == ["1.conv", "1.relu", "1.norm", "1.drop", "1.add", "1.relu:1"]
    assert names[7:] == ["2.conv", "2.relu", "2.norm", "2.drop", "2.add", "2.relu:1"]
    assert (net["1.conv"].parameters, net["2.conv"].parameters) == (38, 0)
    assert (net["1.norm"].parameters, net["1.norm"].buffers, net["2.norm"].buffers) == (4, 4, 0)
    assert sum(layer.parameters for layer in net.layers) == 4 + 38 + 4


def test_parents_go_through_copies_and_tuples() -> None:
    net = opened(nn.Sequential(nn.Conv2d(1, 2, 1), Block()))
    assert net["1.add"].parents == ("1.drop", "0")
    assert net["1.drop"].parents == ("1.norm",)


class Cat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.cat([self.a(x), self.b(x), self.a(x).clone().detach()], 1).split([3, 4], 1)
        return first * second[:, :3]


def test_concatenation_and_split() -> None:
    net = opened(Cat())
    assert addresses(net) == ["a", "b", "a:1", "concat", "split_with_sizes", "slice", "mul"]
    assert net["concat"].parents == ("a", "b", "a:1")
    assert net["mul"].parents == ("split_with_sizes", "slice")
    assert net["slice"].parents == ("split_with_sizes",)
    assert (net["a"].parameters, net["a:1"].parameters) == (20, 0)
    assert net["concat"].output_shape == (1, 7, 6, 6)


class Rows(nn.Module):
    """An image read row by row."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.cell, self.head = cell(8, 4, num_layers=2, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x[:, 0])[0][:, -1])


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_one_layer(cell: type[nn.LSTM] | type[nn.GRU]) -> None:
    module = Rows(cell)
    net = opened(module)
    layer = net["cell"]
    assert layer.operator == cell.__name__.lower()
    assert layer.parameters == sum(p.numel() for p in module.cell.parameters())
    assert layer.output_shape == (1, 8, 8)
    assert net["head"].output_shape == (1, 3)


def test_tied_weights_are_counted_at_the_first() -> None:
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    net = opened(nn.Sequential(a, b), torch.rand(1, 4))
    assert [layer.parameters for layer in net.layers] == [20, 4]


def test_the_source_names_the_users_line_and_no_long_path() -> None:
    net = opened(Reuse())
    assert re.fullmatch(r"tests/test_layers\.py:\d+ in forward: return F\.relu\(self\.relu\(.*", net["relu:1"].source)


def test_modules_are_named_with_their_class() -> None:
    net = opened(nn.Sequential(nn.Conv2d(1, 2, 1), Block()))
    assert (net["1.norm"].module, net["1.norm"].module_type) == ("1.norm", "BatchNorm2d")
    assert (net["1.add"].module, net["1.add"].module_type) == ("1", "Block")


def test_permutations_that_cancel_are_plumbing() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).permute(0, 2, 3, 1).permute(0, 3, 1, 2))

    assert addresses(opened(Last())) == ["a", "b"]


def test_units_follow_the_channels_into_the_last_dimension() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.d = nn.Conv2d(1, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.d(self.a(x).permute(0, 2, 3, 1))

    net = opened(Last())
    assert (net["a"].unit_axis, net["d"].unit_axis) == (1, 3)


class Outputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> tuple[int, Tensor, Tensor]:
        self.calls.add_(1)
        return 7, self.a(x), self.b(x)


def test_the_answer_is_the_first_tensor_that_forward_returns() -> None:
    """Not the last layer, and not the changed buffer, which torch.export puts first."""
    net = opened(Outputs())
    assert net.output.address == "a"
    assert net(IMAGE).shape == (1, 2, 6, 6)


def test_macs_and_parameters_agree_with_pytorchs_counter_and_torchinfo() -> None:
    import torchinfo
    from torch.utils.flop_counter import FlopCounterMode

    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.Linear(5, 3),
    ).eval()
    net = opened(module)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(IMAGE)
    macs = sum(layer.macs for layer in net.layers)
    assert macs == counter.get_total_flops() / 2
    told = torchinfo.summary(module, input_data=IMAGE, verbose=0)
    assert sum(layer.parameters for layer in net.layers) == told.total_params
    by_module = {info.var_name: info.macs for info in told.summary_list}
    for address in ("6", "7"):
        layer: Layer = net[address]
        assert layer.macs == module[int(address)].weight.numel()  # type: ignore[union-attr]
        assert by_module[address] == layer.macs + layer.output_shape[1]  # torchinfo counts the bias as well
