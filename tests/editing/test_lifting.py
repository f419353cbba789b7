"""A network taken apart and written out is the same network: answers, names, layers, and both modes.

Mutation that turns it red: in `modules.py`, `nn.Dropout(a["p"])` -> `nn.Dropout(0.5)`. (`lifting._written` is not covered:
torch's own tracing already reads what was written in place by its last name.)
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.editing import Draft
from convscope.errors import ExportError, UsageError
from convscope.network import Network
from tests.nets import NETS
from tests.traces import unchanged

ZOO = ["lenet5", "squeezenet1_1", "resnet18", "googlenet", "mobilenet_v2", "densenet121", "inception_v3", "vgg11"]


def again(net: Network) -> Network:
    return Draft.of(net).finish()[0]


@pytest.mark.parametrize("name", NETS)
def test_nothing_changes(name: str) -> None:
    model, x = NETS[name]()
    with unchanged(model, x):
        net = Network.open(model, x, name)
        twin = again(net)
    assert torch.equal(twin.run(x).output, net.run(x).output)
    assert [layer.address for layer in twin.layers] == [layer.address for layer in net.layers]
    assert twin.module is not None
    assert set(twin.module.state_dict()) == set(model.state_dict())
    own = {p.data_ptr() for p in model.parameters()}
    assert not [p for p in twin.module.parameters() if p.data_ptr() in own]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in ("lenet5", "squeezenet1_1") else pytest.mark.slow)
                                  for n in ZOO])
def test_nothing_changes_in_known_architectures(name: str) -> None:
    net = cs.open(f"zoo:{name}")
    twin = again(net)
    x = torch.randn(2, *net.input_shape[1:])
    assert torch.equal(twin.run(x).output, net.run(x).output)
    assert sum(layer.macs for layer in twin.layers) == sum(layer.macs for layer in net.layers)
    assert [layer.address for layer in twin.layers if layer.parameters] == [a.address for a in net.layers if a.parameters]


class Modes(nn.Module):
    """All that has two modes, as modules and as functions, in place and not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.3), nn.Dropout2d(0.3)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False)
        self.fc, self.drop2 = nn.Linear(8, 5), nn.Dropout(0.2, inplace=True)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu_(self.norm(self.conv(x))))
        y = self.norm2(self.conv2(x))
        y = F.batch_norm(y, self.mean, self.variance, None, None, self.training, 0.2)
        y = F.dropout(y, 0.4, self.training)
        return self.fc(self.drop2(y.mean((2, 3))))


def test_both_modes_are_those_of_the_original() -> None:
    model, x = Modes(), torch.randn(6, 3, 8, 8)
    twin = again(Network.open(model.eval(), x)).module
    assert twin is not None
    for train in (False, True, False):  # statistics moved in training show in the evaluation after it
        outputs = []
        for one in (model, twin):
            one.train(train)
            torch.manual_seed(5)
            outputs.append(one(x))
        assert torch.equal(*outputs)
    assert all(torch.equal(value, twin.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.norm.num_batches_tracked == 1


def test_training_it_moves_it_as_the_original_moves() -> None:
    model, x = Modes(), torch.randn(6, 3, 8, 8)
    twin = again(Network.open(model.eval(), x)).module
    assert twin is not None
    for one in (model.train(), twin.train()):
        torch.manual_seed(5)
        descent = torch.optim.SGD(one.parameters(), 0.1)
        for _ in range(3):
            descent.zero_grad()
            one(x).square().mean().backward()
            descent.step()
    state = twin.state_dict()
    assert all(torch.allclose(value, state[key], atol=1e-6) for key, value in model.state_dict().items())


class Written(nn.Module):
    """What is written in place is read again under its old name."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        z = y.add_(1)
        z.relu_()
        return y + z + x


def test_what_is_written_in_place_is_read_as_written() -> None:
    x = torch.randn(2, 3, 4, 4)
    net = Network.open(Written(), x)
    assert torch.equal(again(net).run(x).output, Written()(x))


class Part(nn.Module):
    """Writes into a part of a value that is read again whole."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0].add_(1)
        return y + 1


def test_a_part_written_in_place_is_refused_or_right() -> None:
    x = torch.randn(2, 3, 4, 4)
    net = Network.open(Part(), x)
    draft = Draft.of(net)  # by the graph of inference, which has no such thing
    assert "taken apart as an inference graph" in draft.notes[0]
    assert torch.equal(draft.finish()[0].run(x).output, Part()(x))


class Tied(nn.Module):
    """Two names for one parameter, and a parameter that is used as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter(torch.full((4,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x))) * self.scale @ self.a.weight


def test_shared_parameters_stay_shared() -> None:
    model, x = Tied(), torch.randn(2, 4)
    twin = again(Network.open(model, x))
    assert torch.equal(twin.run(x).output, model(x))
    assert twin.module is not None
    assert len(list(twin.module.parameters())) == 2
    copied = copy.deepcopy(twin.module)
    assert len(list(copied.parameters())) == 2


def test_a_batch_that_is_bound_is_refused() -> None:
    class Bound(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(3, 2, -1).relu()

    with pytest.raises(UsageError, match=r"an edit of Bound; its batch is bound to 2: .*; let forward treat"):
        Draft.of(Network.open(Bound(), torch.randn(2, 3, 4)))


def test_weight_norm_is_kept_as_it_is_computed() -> None:
    model = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    x = torch.randn(2, 3, 6, 6)
    twin = again(Network.open(model, x))
    assert torch.allclose(twin.run(x).output, model(x), atol=1e-6)
    assert twin.module is not None
    assert set(twin.module.state_dict()) == set(model.state_dict())


def test_more_than_one_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y.relu()

    net = Network.open(Two(), (torch.randn(2, 3), torch.randn(2, 3)))
    with pytest.raises((UsageError, ExportError), match=r"an edit of Two; it takes 2 inputs"):
        Draft.of(net)
