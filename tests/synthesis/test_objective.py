"""Objectives against their formulas, and the grammar.

Turns red: in `objective.Direction.score`, `cosine.clamp(min=0.1)` -> `cosine`; in `parse`, drop `sign *`;
in `Spread.score`, `- alike.diagonal()` -> nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError, UnknownName, UsageError
from convscope.synthesis.objective import (
    Activity,
    Apart,
    Channel,
    Class,
    Direction,
    Neuron,
    Place,
    Seen,
    Spread,
    Sum,
    before,
    parse,
)
from tests.contracts.leaves import opened


def seen(name: str = "plain", *layers: str) -> tuple[Seen, dict[str, Tensor]]:
    _, x, net = opened(name)
    values = {k: net.run(x, keep=[k])[k] for k in layers}
    return Seen((net,), {Place(0, k): v for k, v in values.items()}, (16, 16)), values


def test_units_layers_and_classes() -> None:
    s, v = seen("plain", "conv2", "fc2")
    a = v["conv2"]
    assert torch.equal(Channel("conv2", 3).score(s), a[:, 3].mean((1, 2)))
    assert torch.equal(Neuron("conv2", 3).score(s), a[:, 3, 4, 4])  # of the middle four the lower right
    assert torch.equal(Neuron("conv2", 3, (0, 7)).score(s), a[:, 3, 0, 7])
    assert torch.allclose(Activity("conv2").score(s), (a**2).mean((1, 2, 3)) / 2)
    assert torch.equal(Class("fc2", 2).score(s), v["fc2"][:, 2])
    assert torch.equal(Neuron("fc2", 2).score(s), v["fc2"][:, 2])


def test_the_gradient_of_activity_is_the_activation() -> None:
    s, v = seen("plain", "conv2")
    a = v["conv2"].clone().requires_grad_()
    own = Seen(s.nets, {Place(0, "conv2"): a}, s.canvas)
    (gradient,) = torch.autograd.grad(Activity("conv2").score(own).sum(), a)
    assert torch.allclose(gradient, a.detach() / a[0].numel())


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_direction_position_by_position(power: float) -> None:
    s, v = seen("plain", "conv2")
    direction = np.random.default_rng(0).normal(size=8)
    wanted = []
    for one in v["conv2"].double().numpy():
        total = 0.0
        for y in range(8):
            for x in range(8):
                a = one[:, y, x]
                dot = float(a @ direction)
                cosine = dot / (np.linalg.norm(a) * np.linalg.norm(direction))
                total += dot * max(cosine, 0.1) ** power if power else dot
        wanted.append(total / 64)
    assert Direction("conv2", direction, power).score(s).tolist() == pytest.approx(wanted, rel=1e-4)


def test_spread_is_minus_the_mean_cosine_of_gram_matrices() -> None:
    s, _ = seen("plain", "conv2")
    values = torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    own = Seen(s.nets, {Place(0, "conv2"): values}, s.canvas)
    flat = values.flatten(2).double().numpy()
    grams = [(f @ f.T).ravel() / np.linalg.norm(f @ f.T) for f in flat]
    wanted = [-np.mean([grams[i] @ grams[j] for j in range(3) if j != i]) for i in range(3)]
    assert Spread("conv2").score(own).tolist() == pytest.approx(wanted, rel=1e-5)
    assert Spread("conv2").score(own.some(0, 1)).tolist() == pytest.approx([0], abs=1e-6)


def test_several_images_of_one_goal_are_kept_apart_in_shares_of_their_score() -> None:
    """Turns red: `score.detach().abs()` -> `score.abs()`."""
    s, _ = seen("plain", "conv2")
    goal, spread = Channel("conv2", 1), Spread("conv2")
    values = torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    own = Seen(s.nets, {Place(0, "conv2"): values}, s.canvas)
    apart = Apart(goal, spread, 2.0)
    size = goal.score(own).detach().abs()
    assert apart.score(own).tolist() == pytest.approx((goal.score(own) + 2 * size * spread.score(own)).tolist())
    (found,) = torch.autograd.grad(apart.score(own).sum(), values)
    (wanted,) = torch.autograd.grad((goal.score(own) + 2 * size * spread.score(own)).sum(), values)
    assert torch.equal(found, wanted)
    assert apart.places() == goal.places()


def test_objectives_add_and_scale() -> None:
    s, _ = seen("plain", "conv2", "conv1")
    a, b = Channel("conv2", 1), Neuron("conv1", 2)
    both = 2 * a - b * 0.5 + -a
    assert torch.allclose(both.score(s), a.score(s) - 0.5 * b.score(s))
    assert both.places() == {Place(0, "conv2"), Place(0, "conv1")}


def test_the_grammar() -> None:
    net = opened("plain")[2]
    assert parse([net], "conv2/3") == Neuron("conv2", 3)
    assert parse([net], "conv2/3", unit="channel") == Channel("conv2", 3)
    assert parse([net], "conv2/3@1,2") == Neuron("conv2", 3, (1, 2))
    assert parse([net], "relu2/3") == Neuron("conv2", 3)  # before the activation function
    assert parse([net], "relu2/3", raw=False) == Neuron("relu2", 3)
    assert parse([net], "conv2") == Activity("conv2")
    assert parse([net], "class:2") == Class("fc2", 2)
    assert parse([net], "-conv2/3") == Sum((Neuron("conv2", 3),), (-1.0,))
    found = parse([net], "conv2/3 + 0.5*conv1/1 - 2*class:1")
    assert found == Sum((Neuron("conv2", 3), Neuron("conv1", 1), Class("fc2", 1)), (1.0, 0.5, -2.0))
    assert parse([net, net], "conv2/3 - 2:conv2/3") == Sum((Neuron("conv2", 3), Neuron("conv2", 3, None, 1)), (1.0, -1.0))


@pytest.mark.parametrize(("text", "error", "words"), [
    ("nothing/3", UnknownName, "nothing"),
    ("conv2/99", ConvscopeError, "conv2"),
    ("x*conv2/3", UsageError, "the weight 'x' in .*no number.*write 0.5"),
    ("conv2/3 + ", UsageError, "a part of it is empty"),
    ("2:conv2/3", UsageError, r"network 2 in 2:conv2/3; there are 1; give it: --against"),
    ("class:tabby", ConvscopeError, "tabby"),
    ("class:conv2/1", UnknownName, "it names a layer"),
])  # fmt: skip
def test_what_the_grammar_refuses(text: str, error: type[Exception], words: str) -> None:
    net = opened("plain")[2]
    with pytest.raises(error, match=words):
        parse([net], text)


def test_reading_before_an_activation_function() -> None:
    assert before(opened("plain")[2], "relu3") == "fc1"
    assert before(opened("plain")[2], "pool1") == "pool1"
    reused = opened("reused_relu")[2]
    assert [before(reused, a) for a in ("relu", "relu:1", "relu:2")] == ["conv1", "conv2", "fc1"]
    residual = opened("residual")[2]
    assert before(residual, "block1.relu:1") == "block1.add"
    grouped = opened("grouped")[2]
    assert before(grouped, "relu1") == "conv1"
