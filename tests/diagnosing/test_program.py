"""Twins: nothing of the user's is shared with them, and a loss that refers to the model refers to the copy.

Mutation that turns this red: in program.py, `loss=rebound(self.loss, memo)` → `loss=self.loss`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.diagnosing import given
from convscope.diagnosing.program import Program, Recipe, left_alone, named_optimizer, reads_output_alone
from convscope.diagnosing.trial import train
from convscope.errors import UnknownName, UsageError
from tests.traces import unchanged

GLOBAL = nn.Linear(3, 2)
X, Y = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2


class WithLoss(nn.Linear):
    """A network that has its loss as a method."""

    def objective(self, output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y) + self.weight.square().sum()


def _penalty(model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y) + sum(p.square().sum() for p in model.parameters())


def _global(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y) + GLOBAL.weight.square().sum()


class Wrapped(nn.Module):
    """A loss that is a module and keeps the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        return _penalty(self.model, output, y)


def _losses(model: Any) -> dict[str, tuple[nn.Module, Callable[..., Any]]]:
    parameters = list(model.parameters())
    own = WithLoss(3, 2)
    return {
        "closure": (model, lambda o, y: _penalty(model, o, y)),
        "closure over parameters": (model, lambda o, y: F.cross_entropy(o, y) + sum(p.square().sum() for p in parameters)),
        "partial": (model, functools.partial(_penalty, model)),
        "partial by name": (model, functools.partial(lambda o, y, net: _penalty(net, o, y), net=model)),
        "bound method": (own, own.objective),
        "global": (GLOBAL, _global),
        "module": (model, Wrapped(model)),
    }


@pytest.mark.parametrize("how", list(_losses(nn.Linear(3, 2))))
def test_a_loss_that_refers_to_the_model_refers_to_the_twin(how: str) -> None:
    model, loss = _losses(nn.Linear(3, 2))[how]
    program = given.program(model, (X, Y), loss, "sgd:0.1")
    with unchanged(model, X, Y):
        twin = program.twin()
        with torch.no_grad():
            for p in twin.model.parameters():
                p.zero_()
        zero = torch.zeros(16, 2)
        assert float(twin.value(zero, Y).detach()) == pytest.approx(float(F.cross_entropy(zero, Y)))  # no penalty on zeros
        assert float(program.value(zero, Y).detach()) > float(F.cross_entropy(zero, Y))
        value = program.twin().value(zero, Y)
        value.backward()
        assert all(p.grad is None for p in model.parameters())


def test_a_loss_without_the_model_is_the_same_function() -> None:
    model = nn.Linear(3, 2)
    assert given.program(model, (X, Y), F.cross_entropy, "sgd:0.1").twin().loss is F.cross_entropy


def test_training_a_twin_touches_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).eval()
    optimizer = torch.optim.Adam(model.parameters())
    program = given.program(model, (X, Y), "cross-entropy", optimizer)
    with unchanged(model, X, Y):
        assert len(train(program.twin(), steps=5).losses) == 5
    assert optimizer.state_dict()["state"] == {}


class Kept(nn.Linear):
    """A network that keeps a tensor of its last graph, which `copy.deepcopy` refuses."""

    def forward(self, input: Tensor) -> Tensor:
        self.last = super().forward(input)
        return self.last


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_a_module_that_cannot_be_deep_copied() -> None:
    model = Kept(3, 2)
    model.eval()
    model(X)
    program = given.program(model, (X, Y), "cross-entropy", "sgd:0.5")
    with unchanged(model, X, Y):
        twin = program.twin()
        assert not twin.model.training
        assert len(train(twin, steps=5).losses) == 5
        assert not torch.equal(twin.model.get_parameter("weight"), model.weight)


def test_a_recipe_is_read_off_an_optimiser_and_made_again() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    made = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": [model[1].weight]}], lr=0.01, weight_decay=0.3
    )
    recipe = Recipe.of(made, model)
    assert recipe.owned == {"0.weight", "0.bias", "1.weight"}
    assert recipe.rate == 0.1
    again = recipe.make(model)
    assert again is not None
    for a, b in zip(made.param_groups, again.param_groups, strict=True):
        assert [id(p) for p in a["params"]] == [id(p) for p in b["params"]]
        assert {k: v for k, v in a.items() if k != "params"} == {k: v for k, v in b.items() if k != "params"}


def test_parameters_that_are_not_the_models() -> None:
    model = nn.Linear(3, 2)
    recipe = Recipe.of(torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=1.0), model)
    assert (recipe.foreign, recipe.owned, recipe.make(model)) == (2, set(), None)


def test_other_recipes() -> None:
    recipe = Recipe.of("sgd:0.1,momentum=0.9", nn.Linear(3, 2))
    assert recipe.scaled(10).rate == pytest.approx(1.0)
    assert recipe.with_(momentum=0.0).option("momentum") == 0.0
    assert recipe.owning(["more"]).owned == {"weight", "bias", "more"}
    assert Recipe.of(lambda ps: torch.optim.Adagrad(ps), nn.Linear(3, 2)).kind is torch.optim.Adagrad
    assert Recipe.of(None, nn.Linear(3, 2)).kind is torch.optim.Adam


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("sdg:0.1", UsageError, "an optimiser named 'sdg'"),
        ("sgd:fast", UsageError, "'fast' is no number"),
        ("sgd:0.1,momentun=0.9", UnknownName, "momentun"),
    ],
)
def test_what_is_wrong_with_an_optimiser_is_said(text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        named_optimizer(text)


@pytest.mark.parametrize(
    ("loss", "alone"),
    [
        (lambda output: output.mean(), True),
        (lambda output, target: output.mean(), False),
        (lambda output, target=None: output.mean(), False),
        (lambda *all: all[0].mean(), False),
        (nn.MSELoss(), False),
        (F.cross_entropy, False),
    ],
)
def test_does_a_loss_read_the_output_alone(loss: Any, alone: bool) -> None:
    assert reads_output_alone(loss) is alone


def test_left_alone_also_where_it_raises() -> None:
    model = nn.Linear(3, 2)
    model.weight.grad = torch.ones(2, 3)

    def stopped() -> None:
        with left_alone(model):
            model.eval()
            model.weight.grad = None
            torch.rand(3)
            raise KeyboardInterrupt

    with unchanged(model), pytest.raises(KeyboardInterrupt):
        stopped()


def test_a_program_is_made_with_its_device() -> None:
    program: Program = given.program(nn.Linear(3, 2), (X, Y), "cross-entropy")
    assert program.device == torch.device("cpu")
