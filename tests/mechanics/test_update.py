"""One training step: shares that add up to the gradient, the filter and the losses after it, nobody's module touched.

Turns red: in `mechanics/update.py`, `asked.rate / count if mean` -> `asked.rate if mean`, or `len(weight) // groups` ->
`len(weight)`.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import ConvscopeError, UnknownName, UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.mechanics.update import Update, explain_update
from convscope.network import Network
from convscope.results import Steps
from tests.contracts.leaves import opened
from tests.nets import NETS
from tests.traces import unchanged

LABELS = (3, 1, 3)


@functools.cache
def subject() -> tuple[nn.Module, Tensor, Network]:
    """Convolutions with padding, stride and groups, two dense layers, three images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False), nn.ReLU(),
            nn.Flatten(), nn.Linear(6 * 4 * 3, 7), nn.Sigmoid(), nn.Linear(7, 5)).double()
        x = torch.randn(3, 2, 10, 8, dtype=torch.float64)
    return module, x, Network.open(module, x, "subject")


def trained(module: nn.Module, x: Tensor, labels: Any, rate: float, reduction: str = "mean") -> tuple[float, nn.Module]:
    """The loss, and a copy of the module after one step of torch.optim.SGD."""
    again = copy.deepcopy(module)
    optimizer = torch.optim.SGD(again.parameters(), lr=rate)
    loss = F.cross_entropy(again(x).flatten(1), torch.tensor(labels), reduction=reduction)
    loss.backward()
    optimizer.step()
    return loss.item(), again


def loss_of(module: nn.Module, x: Tensor, reduction: str = "mean") -> float:
    with torch.no_grad():
        return F.cross_entropy(module(x), torch.tensor(LABELS), reduction=reduction).item()


def line(found: Steps, start: str) -> float:
    (one,) = [each for each in found.lines if each.text.startswith(start)]
    return one.value


def grid(found: Steps, start: str) -> Any:
    (one,) = [each for each in found.grids if each.name == start]
    return one.values


@pytest.mark.parametrize(("layer", "channel"), [("0", 3), ("2", 0), ("2", 5), ("5", 2), ("7", 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_step_is_that_of_torch(layer: str, channel: int, reduction: str) -> None:
    module, x, net = subject()
    with unchanged(module, x):
        found = explain_update(net, x, Loss(labels=LABELS, reduction=reduction), Update(layer, channel, rate=0.3))
    before, after = trained(module, x, LABELS, 0.3, reduction)
    weight = dict(after.named_parameters())[f"{layer}.weight"][channel].detach().numpy()
    np.testing.assert_allclose(grid(found, "after"), weight, atol=1e-12)
    assert line(found, "loss before the step") == pytest.approx(before, abs=1e-12)
    assert line(found, "loss after it, every layer moved") == pytest.approx(loss_of(after, x, reduction), abs=1e-12)
    assert found.difference < 1e-10
    assert found.lines[-1].value == found.value
    assert found.terms is not None
    assert found.terms.products.sum() == pytest.approx(found.value, abs=1e-12)
    assert abs(found.value) == pytest.approx(np.abs(grid(found, "its gradient")).max(), abs=1e-14)
    assert (found.direction, found.at[0]) == ("update", channel)


@pytest.mark.parametrize(("layer", "channel"), [("0", 3), ("2", 5), ("5", 2)])
def test_examples_and_positions_add_up_to_the_gradient(layer: str, channel: int) -> None:
    module, x, net = subject()
    found = explain_update(net, x, Loss(labels=LABELS), Update(layer, channel))
    gradient = grid(found, "its gradient")
    alone = []
    for b, label in enumerate(LABELS):  # what autograd gives each example alone
        again = copy.deepcopy(module)
        F.cross_entropy(again(x[b:b + 1]), torch.tensor([label])).backward()
        alone.append(dict(again.named_parameters())[f"{layer}.weight"].grad[channel].numpy() / 3)  # type: ignore[index]
    np.testing.assert_allclose(sum(alone), gradient, atol=1e-12)
    square = (gradient ** 2).sum()
    shares = [(one * gradient).sum() / square for one in alone]
    np.testing.assert_allclose(found.table["share"], shares, atol=1e-12)
    np.testing.assert_allclose(found.table["gradient_norm"], [np.linalg.norm(one) for one in alone], atol=1e-12)
    cosines = [(one * gradient).sum() / np.linalg.norm(one) / np.sqrt(square) for one in alone]
    np.testing.assert_allclose(found.table["cosine"], cosines, atol=1e-10)
    assert found.table["label"].tolist() == list(LABELS)
    maps = grid(found, "share of each position, one map an example")
    np.testing.assert_allclose(maps.reshape(3, -1).sum(axis=1), shares, atol=1e-12)
    assert maps.shape == {"0": (3, 10, 8), "2": (3, 4, 3), "5": (3, 1)}[layer]


def test_the_products_stand_where_they_do_in_the_whole_layer() -> None:
    _, x, net = subject()
    found = explain_update(net, x, Loss(labels=LABELS), Update("2", 5)).terms
    kept = Capture(net, x, Loss(labels=LABELS))
    assert found is not None
    assert (found.left_at[:, 1] == 5).all()
    assert (found.right_at[:, 1] >= 2).all()  # the second group's channels
    np.testing.assert_array_equal(kept.delta("2")[tuple(found.left_at.T)], found.left_values)
    np.testing.assert_array_equal(kept.value("1")[tuple(found.right_at.T)], found.right_values)


def test_a_single_position_pulls_as_its_own_gradient_does() -> None:
    """The share of one place is what is left if the delta is zero everywhere else, along the whole gradient."""
    module, x, net = subject()
    found = explain_update(net, x, Loss(labels=LABELS), Update("0", 1))
    gradient, maps = grid(found, "its gradient"), grid(found, "share of each position, one map an example")
    again = copy.deepcopy(module)
    y = again[0](x)
    loss = F.cross_entropy(again[1:](y), torch.tensor(LABELS))
    (delta,) = torch.autograd.grad(loss, y, retain_graph=True)
    only = torch.zeros_like(delta)
    only[2, 1, 0, 7] = delta[2, 1, 0, 7]
    (one,) = torch.autograd.grad(y, again[0].weight, only)
    assert maps[2, 0, 7] == pytest.approx((one[1].numpy() * gradient).sum() / (gradient ** 2).sum(), abs=1e-14)


def test_one_by_one_is_sgd_on_each_example_in_turn() -> None:
    module, x, net = subject()
    found = explain_update(net, x, Loss(labels=LABELS), Update("0", 2, rate=0.3))
    for rate, way in ((0.1, ", rate 0.3/3"), (0.3, ", rate 0.3")):
        again = module
        for b, label in enumerate(LABELS):
            _, again = trained(again, x[b:b + 1], [label], rate)
        name = f"after 3 steps, one example at a time{way}"
        np.testing.assert_allclose(grid(found, name), again[0].weight[2].detach().numpy(), atol=1e-12)  # type: ignore[index]
        assert line(found, f"loss {name} = ") == pytest.approx(loss_of(again, x), abs=1e-12)
    summed = explain_update(net, x, Loss(labels=LABELS, reduction="sum"), Update("0", 2, rate=0.1))
    same = grid(found, "after 3 steps, one example at a time, rate 0.3/3")
    np.testing.assert_allclose(grid(summed, "after 3 steps, one example at a time"), same, atol=1e-12)


def test_losses_example_by_example_and_of_the_filter_alone() -> None:
    module, x, net = subject()
    found = explain_update(net, x, Loss(labels=LABELS), Update("2", 1, rate=0.3))
    _, after = trained(module, x, LABELS, 0.3)
    for model, column in ((module, "loss"), (after, "loss_after")):
        with torch.no_grad():
            each = F.cross_entropy(model(x), torch.tensor(LABELS), reduction="none").numpy()
        np.testing.assert_allclose(found.table[column], each, atol=1e-12)
    alone = copy.deepcopy(module)
    with torch.no_grad():
        alone[2].weight[1] = after[2].weight[1]  # type: ignore[index]
    assert line(found, "loss if only the weights of filter 1 moved") == pytest.approx(loss_of(alone, x), abs=1e-12)
    moved = [each for each in explain_update(net, x, Loss(labels=LABELS), Update("0", 1, rate=0.3)).lines
             if each.text.startswith("0.bias[1] = ")]
    assert moved[0].value == pytest.approx(after[0].bias[1].item(), abs=1e-12)  # type: ignore[index]


def test_a_convolution_that_is_called_twice_gets_the_sum_of_both() -> None:
    model, x, net = opened("shared_module")
    with unchanged(model, x):
        found = explain_update(net, x, Loss(labels=(1, 2)), Update("conv", 3))
    assert found.difference < 1e-10
    assert [each.text for each in found.lines][-1].startswith("∂L/∂weight over 2 calls = ")
    assert sum(g.name.startswith("share of each position") for g in found.grids) == 2
    total = sum(float(g.values.sum()) for g in found.grids if g.name.startswith("share of each position"))
    assert total == pytest.approx(1, abs=1e-12)


def test_training_uses_the_batch_and_leaves_single_steps_out() -> None:
    model, x, net = opened("residual")
    with unchanged(model, x):
        found = explain_update(net, x, Loss(labels=(1, 2)), Update("conv1", 0, training=True))
    again = copy.deepcopy(model).double().train()
    loss = F.cross_entropy(again(x.double()), torch.tensor((1, 2)))
    loss.backward()
    np.testing.assert_allclose(grid(found, "its gradient"), again.conv1.weight.grad[0].numpy(), atol=1e-10)  # type: ignore
    assert line(found, "loss before the step") == pytest.approx(loss.item(), abs=1e-10)
    assert "steps one by one are left out: one example alone has other statistics" in found.notes


def test_a_filter_that_hears_nothing_is_not_changed() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        module[0].bias[1] = -100.0  # type: ignore[index]
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    found = explain_update(Network.open(module, x), x, Loss(labels=(2,)), Update("0", 1))
    assert (found.value, found.table["share"].tolist(), found.table["cosine"].tolist()) == (0.0, [0.0], [0.0])
    assert found.notes[-1] == "the gradient of this filter is zero: the step does not change it"
    assert [g.name for g in found.grids if g.name.startswith("after")] == ["after"]  # one example: nothing side by side


@pytest.mark.parametrize("name", NETS)
def test_every_convolution_and_dense_layer_of_every_net(name: str) -> None:
    model, x, net = opened(name)
    answered = 0
    for layer in net.layers:
        with unchanged(model, x):
            if layer.operator.startswith("conv") or layer.operator == "linear":
                found = explain_update(net, x, Loss(labels=(1, 2)), Update(layer.address, 1))
                assert found.difference < 1e-10
                assert float(found.notes[1].split(" differ by ")[1].split()[0]) < 1e-10
                answered += 1
            else:
                with pytest.raises(UsageError, match=r"has no filters|cannot be worked out"):
                    explain_update(net, x, Loss(labels=(1, 2)), Update(layer.address))
    assert answered


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"layer": "1"}, UsageError, "1 has no filters; it is a tanh; choose a convolution or a dense layer"),
        ({"layer": "0", "channel": 4}, UnknownName, "no filter 4 in 0; it has 4; use 0 … 3"),
        ({"layer": "0", "rate": 0.0}, UsageError, "a learning rate of 0.0; no step can be made with it; use a"),
        ({"layer": "0", "rate": float("nan")}, UsageError, "a learning rate of nan"),
        ({"layer": "nowhere"}, UnknownName, "no layer named 'nowhere'"),
    ],
)
def test_what_cannot_be_asked(asked: dict[str, Any], error: type[ConvscopeError], text: str) -> None:
    _, x, net = subject()
    with pytest.raises(error, match="^" + text.replace("(", r"\(").replace(")", r"\)")):
        explain_update(net, x, Loss(labels=LABELS), Update(**asked))


def test_weights_that_are_computed_and_layers_that_mix_examples_are_refused() -> None:
    x = torch.randn(2, 4, dtype=torch.float64)
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))).double()
    with pytest.raises(UsageError, match="the weights of 0 are not parameters; they are computed or fixed; choose a layer"):
        explain_update(Network.open(normed, x), x, Loss(labels=(0, 1)), Update("0"))

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.reshape(-1, 2)).reshape(-1, 6)

    with pytest.raises(UsageError, match=r"fc does not keep the examples apart; it reads \(4, 2\); choose a layer whose"):
        explain_update(Network.open(Mixed().double(), x), x, Loss(labels=(0, 1)), Update("fc"))


def test_squared_error_has_no_labels() -> None:
    module, x, net = subject()
    wanted = np.linspace(-1, 1, 15).reshape(3, 5)
    found = explain_update(net, x, Loss("mse", wanted=wanted), Update("7", 0, rate=0.2))
    with torch.no_grad():
        each = ((module(x).numpy() - wanted) ** 2).mean(axis=1)
    assert "label" not in found.table
    np.testing.assert_allclose(found.table["loss"], each, atol=1e-12)
    assert found.difference < 1e-10
