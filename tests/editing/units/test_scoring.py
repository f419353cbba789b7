"""Scores of units: masking is removal; the first order is the slope of that; from logits or from probabilities.

Mutation that turns it red: in `scoring.py`, `new & set(node.all_input_nodes)` -> `False` (what depends on a mask stays).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.editing import Draft
from convscope.editing.units import moving, scoring
from convscope.editing.units.channels import Channels
from convscope.network import Network
from tests.nets import NETS


def plan_of(name: str) -> tuple[Channels, torch.Tensor]:
    model, x = NETS[name]()
    return Channels(Draft.of(Network.open(model, x, name))), x


def silent(done: int, total: int, what: str) -> None:
    assert 0 < done <= total
    assert what == "units masked"


@pytest.mark.parametrize("name", ["residual", "concat"])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_effect_of_a_unit_is_what_its_removal_does(name: str, labelled: bool) -> None:
    plan, x = plan_of(name)
    labels = torch.tensor([1, 3]) if labelled else torch.tensor([1, -1])
    classes = [c for c in plan.writers() if c not in plan.pins][::5]
    found = scoring.effects(plan, classes, [(x[:1], labels[:1]), (x[1:], labels[1:])] if labelled else [(x, labels)], silent)
    before = plan.draft.run(x)
    for each in classes:
        twin = Channels(plan.draft.copy())
        moving.apply(twin, moving.maps(twin, {each: 0}))
        after = twin.draft.run(x)
        want = (F.cross_entropy(after, labels) - F.cross_entropy(before, labels)) if labelled else (
            (after - before) ** 2).mean().sqrt()
        assert found[each] == pytest.approx(float(want), abs=1e-5)


def test_first_order_is_the_slope_along_a_mask() -> None:
    plan, x = plan_of("residual")
    labels = torch.tensor([0, 2])
    classes = [c for c in plan.writers() if c not in plan.pins][::7]
    found = scoring.first_order(plan, classes, [(x, labels)])
    step = 1e-2
    for each in classes:
        slopes = []
        for sign in (1, -1):
            masks = {r: 1 - sign * step * torch.from_numpy(plan.of(r.all_input_nodes[0]) == each).float()[None]
                     for r in scoring._readers(plan)}
            with torch.no_grad():
                slopes.append(scoring.losses(scoring.answer(plan, scoring.run(plan, x, masks)), labels))
        want = ((slopes[0] - slopes[1]) / (2 * step)).abs().mean()
        assert found[each] == pytest.approx(float(want), rel=0.02, abs=1e-4)


def test_norms_and_activations_by_hand() -> None:
    plan, x = plan_of("plain")
    draft = plan.draft
    classes = plan.of(draft["conv2"]).tolist()
    weight = draft.root.get_parameter("conv2.weight").detach()
    assert list(scoring.norms(plan, classes).values()) == pytest.approx(weight.abs().sum((1, 2, 3)).tolist(), rel=1e-5)
    pooled = scoring.run(plan, x)[draft["pool2"]]
    assert list(scoring.activations(plan, classes, [(x, torch.zeros(2))]).values()) == pytest.approx(
        pooled.abs().mean((0, 2, 3)).tolist(), rel=1e-5)


def test_probabilities_are_not_taken_for_logits() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([2])
    want = F.cross_entropy(logits, labels)
    assert scoring.losses(logits, labels)[0] == pytest.approx(float(want))
    assert scoring.losses(logits.softmax(1), labels)[0] == pytest.approx(float(want), rel=1e-5)


def test_unknown_labels_are_left_out_of_the_accuracy() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[1].weight[:] = torch.tensor([[1.0] * 4, [-1.0] * 4])  # type: ignore[index,union-attr]
    plan = Channels(Draft.of(Network.open(model, torch.zeros(2, 1, 2, 2))))
    x = torch.tensor([1.0, -1.0, 1.0])[:, None, None, None].expand(3, 1, 2, 2)
    assert scoring.right(plan, [(x, torch.tensor([0, 0, -1]))]) == (1, 2)
