"""A trial is the training that the user would write: the same bits.

Mutation that turns this red: in trial.py, `torch.manual_seed(seed)` → `torch.manual_seed(seed + 1)`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.diagnosing import given
from convscope.diagnosing.trial import answer, train
from tests.traces import unchanged

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def _net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


@pytest.mark.parametrize("kind", ["sgd:0.1,momentum=0.9", "adam:0.01"])
def test_it_is_the_loop_that_one_would_write(kind: str) -> None:
    model = _net()
    program = given.program(model, (X, Y), F.cross_entropy, kind, batch_size=16)
    with unchanged(model, X, Y):
        trial = train(program.twin(), seed=5, steps=11, seconds=60)

    by_hand = copy.deepcopy(model).train()
    optimizer: Any = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9) if "sgd" in kind else \
        torch.optim.Adam(by_hand.parameters(), lr=0.01)  # fmt: skip
    torch.manual_seed(5)
    losses: list[float] = []
    for epoch in range(3):
        order = np.random.default_rng((5, epoch)).permutation(50)
        for a in range(0, 50, 16):
            index = torch.from_numpy(order[a : a + 16])
            loss = F.cross_entropy(by_hand(X[index]), Y[index])
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if len(losses) == 11:
                break
    assert trial.losses.tolist() == losses
    assert trial.program is not None
    for a, b in zip(trial.program.model.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_moved_and_how_far() -> None:
    net = nn.Linear(4, 3)
    program = given.program(net, (X, Y), F.cross_entropy, "sgd:0.1", batch_size=50)
    trial = train(program.twin(), steps=1)
    twin = copy.deepcopy(net)
    F.cross_entropy(twin(X), Y).backward()
    grads = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]).double()
    weights = torch.cat([p.detach().flatten() for p in twin.parameters()]).double()
    assert trial.gradients[0] == pytest.approx(float(grads.norm()), rel=1e-5)
    assert trial.first_moved == trial.moved == pytest.approx(float(0.1 * grads.norm() / weights.norm()), rel=1e-4)


def test_the_users_epochs_and_schedule_bound_it() -> None:
    program = given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1", batch_size=25, epochs=3)
    trial = train(program.twin(), steps=500)
    assert (len(trial.losses), trial.epochs, trial.finished) == (6, 3.0, True)
    base = torch.optim.SGD(_net().parameters(), lr=0.1)
    scheduled = given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1", epochs=3, batch_size=50,
                              scheduler=torch.optim.lr_scheduler.ExponentialLR(base, 0.5))  # fmt: skip
    assert scheduled.rates == (1.0, 0.5, 0.25)
    still = given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1", epochs=3, batch_size=50)
    a, b = (train(p.twin(), steps=3).losses for p in (scheduled, still))
    assert a[0] == b[0]
    assert a[1] == b[1]  # the first step has the full rate
    assert a[2] != b[2]


def test_losses_that_are_not_finite_and_errors_end_it() -> None:
    broke = train(given.program(_net(), (X * math.inf, Y), F.cross_entropy, "sgd:0.1").twin())
    assert (broke.broke, len(broke.losses)) == (0, 1)
    wrong = train(given.program(_net(), (X[:, :3], Y), F.cross_entropy, "sgd:0.1").twin())
    assert "mat1 and mat2" in wrong.problem
    number = train(given.program(_net(), (X, Y), lambda o, t: F.cross_entropy(o, t).item(), "sgd:0.1").twin())
    assert number.problem == "TypeError: the loss is float, not a tensor: backward() has nothing to go back through"


def test_it_can_be_watched_and_bounded() -> None:
    seen: list[int] = []
    train(given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1").twin(), steps=4, watch=lambda k, p: seen.append(k))
    assert seen == [0, 1, 2, 3]
    assert (
        len(train(given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1").twin(), steps=10**6, seconds=0.05).losses)
        < 10**4
    )


def test_answers_are_those_of_evaluation_mode() -> None:
    program = given.program(_net(), (X, Y), F.cross_entropy, "sgd:0.1").twin()
    expected = program.model.eval()(X)
    torch.testing.assert_close(answer(program, X, size=7), expected)
