"""Remedies against the same edit by hand; the user's own is never touched.

Mutation that turns this red: in changes.py, `gain / math.sqrt(max(fan_in, 1))` → `gain` · `- mean) / std` → `- mean) * std`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given as drawn_by
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.diagnosing import changes, given
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.suspicion import Change
from convscope.diagnosing.trial import output_of, train
from tests.checks import small
from tests.traces import unchanged


def _softmaxed() -> nn.Module:
    return small.net(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(1))


def test_leaving_a_call_out_is_training_without_the_module() -> None:
    model = _softmaxed()
    program = small.made(model)
    with unchanged(model, program.examples.x):
        changed = changes.without(["softmax#0"]).apply(program.twin())
        a = train(changed, steps=15).losses
    by_hand = copy.deepcopy(model)
    by_hand[3] = nn.Identity()  # type: ignore[index]
    assert a.tolist() == train(small.made(by_hand).twin(), steps=15).losses.tolist()


def test_another_loss_and_one_wrapped() -> None:
    program = small.made(small.net())
    o, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert changes.losing(F.nll_loss, "nll").apply(program.twin()).value(o, y) == F.nll_loss(o, y)
    twice = changes.wrapping(lambda f: lambda a, b: 2 * f(a, b), "twice").apply(program.twin())
    assert twice.value(o, y) == 2 * F.cross_entropy(o, y)
    assert program.loss is F.cross_entropy


def test_an_output_that_goes_through_a_function() -> None:
    model = small.net()
    program = small.made(model)
    with unchanged(model):
        changed = changes.through(torch.sigmoid, "sigmoid").apply(program.twin())
    x = program.examples.x
    assert torch.equal(output_of(changed, x), torch.sigmoid(model(x)))
    assert type(model) is nn.Sequential


def test_other_options_and_rates() -> None:
    program = small.made(small.net(), "sgd:0.1")
    changed = changes.optimizing("both", 10, momentum=0.5).apply(program.twin())
    assert (changed.optimizer.rate, changed.optimizer.option("momentum")) == (1.0, 0.5)
    assert (program.optimizer.rate, program.optimizer.option("momentum")) == (0.1, 0)


@settings(max_examples=25, deadline=None)
@drawn_by(
    seed=st.integers(0, 99),
    shape=st.sampled_from([(3,), (2, 5, 5), (4, 6)]),
    shift=st.floats(-50, 50),
    scale=st.floats(0.1, 9),
)
def test_standardised_inputs_have_mean_0_and_spread_1(seed: int, shape: tuple[int, ...], shift: float, scale: float) -> None:
    x = shift + scale * torch.randn(40, *shape, generator=torch.Generator().manual_seed(seed))
    held = x[:10] + 1
    program = given.program(nn.Flatten(), (x, torch.zeros(40)), "mse", _nothing, held_out=(held, torch.zeros(10)))
    changed = changes.standardised(program.examples).apply(program)
    axes = changes.feature_axes(x)
    assert torch.allclose(changed.examples.x.mean(axes), torch.zeros(()), atol=1e-3)
    assert torch.allclose(changed.examples.x.std(axes, unbiased=False), torch.ones(()), atol=1e-3)
    assert changed.held_out is not None
    torch.testing.assert_close(changed.held_out.x, (held - x.mean(axes, keepdim=True)) / x.std(axes, False, keepdim=True),
                               rtol=1e-3, atol=1e-3)  # fmt: skip
    assert torch.equal(program.examples.x, x)


def _nothing(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([*parameters, nn.Parameter(torch.zeros(1))], lr=0.1)


def test_a_constant_column_and_missing_values_stay_what_they_are() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [math.nan, 5.0]])
    changed = changes.standardised(Examples(x, None)).apply(given.program(nn.Linear(2, 1), x, lambda o: o.mean()))
    assert torch.equal(changed.examples.x[:, 1], torch.zeros(3))
    assert changed.examples.x[:2, 0].tolist() == [-1.0, 1.0]
    assert math.isnan(float(changed.examples.x[2, 0]))


def test_standardised_targets() -> None:
    y = 7 + 3 * torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    program = given.program(nn.Linear(1, 1), (torch.zeros(50, 1), y), "mse")
    found = changes.standardised_targets(program.examples).apply(program).examples.y
    assert found is not None
    assert (float(found.mean()), float(found.std(unbiased=False))) == (
        pytest.approx(0, abs=1e-5),
        pytest.approx(1, abs=1e-5),
    )


def test_weights_drawn_anew_have_their_fan_ins_spread() -> None:
    model = nn.Sequential(
        nn.Linear(400, 300), nn.ReLU(), nn.Unflatten(1, (3, 10, 10)), nn.Conv2d(3, 200, 5), nn.BatchNorm2d(200)
    )
    program = given.program(model, (torch.zeros(4, 400), torch.zeros(4)), "mse")
    with unchanged(model):
        twin = changes.drawn(1).apply(program.twin()).model
    linear, conv = twin.get_parameter("0.weight"), twin.get_parameter("3.weight")
    assert float(linear.detach().std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert float(conv.detach().std()) == pytest.approx(math.sqrt(2 / 75), rel=0.02)
    assert not twin.get_parameter("0.bias").any()
    assert bool((twin.get_parameter("4.weight") == 1).all())
    again = changes.drawn(1).apply(program.twin()).model.get_parameter("0.weight")
    assert torch.equal(linear, again)


def test_thawed_parameters_are_trained() -> None:
    model = small.net().requires_grad_(False)
    model[2].requires_grad_(True)
    program = small.made(model)
    with unchanged(model):
        trial = train(changes.thawed(["0.weight"]).apply(program.twin()), steps=3)
    assert trial.program is not None
    assert not torch.equal(trial.program.model.get_parameter("0.weight"), model.get_parameter("0.weight"))
    assert torch.equal(trial.program.model.get_parameter("0.bias"), model.get_parameter("0.bias"))


def test_order_modules_and_one_after_the_other() -> None:
    program = small.made(small.net(), shuffle=False)
    assert changes.shuffled().apply(program.twin()).examples.shuffled
    leaky = changes.modules(lambda path, m: nn.LeakyReLU() if isinstance(m, nn.ReLU) else None, "leaky")
    changed = leaky.then(changes.optimizing("faster", 2.0)).apply(program.twin())
    assert isinstance(changed.model.get_submodule("1"), nn.LeakyReLU)
    assert changed.optimizer.rate == 2 * program.optimizer.rate
    assert isinstance(program.model.get_submodule("1"), nn.ReLU)
    both = Change("a", lambda p: p).then(Change("b", lambda p: p))
    assert both.name == "a, then b"


def test_inputs_and_answers_of_every_reading_are_mapped() -> None:
    x, y = torch.ones(4, 2), torch.ones(4)
    pair: tuple[Tensor, Tensor | None] = (x, y)
    examples = Examples(x, y, again=pair, epochs=(pair, pair), once=pair)
    program = given.program(nn.Linear(2, 1), examples, "mse")
    changed = changes.inputs(lambda v: v + 1, "x").then(changes.answers(lambda v: v * 5, "y")).apply(program).examples
    for one in ((changed.x, changed.y), changed.again, changed.once, *changed.epochs):
        assert one is not None
        assert one[1] is not None
        assert (float(one[0].mean()), float(one[1].mean())) == (2.0, 5.0)
