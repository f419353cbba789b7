"""Training part by part: who moves in which epoch, at which rate, and that it resumes and is the same in two processes.

Mutations that turn this red (each tried): the stage's parts alone train (no union) · `begin` not called · the share not
multiplied · batch norm of frozen parts left in training · stages left out of the identity · requires_grad not given back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope import actions
from convscope.errors import UnknownName, UsageError
from convscope.fit import FitSettings, fit
from convscope.stages import Plan
from tests.test_fit import DIGITS, FEW, UNIT, same, state
from tests.torchrun import run_by_two

STAGED = FitSettings(batch_size=40, optimizer="sgd", rate=0.1, momentum=0.9, weight_decay=0.1, stages="fc:1,mid:1,all:1",
                     old_rate=0.1)


class Small(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
            self.mid, self.plain = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False)
            self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.plain(self.mid(self.norm(self.first(x)).relu())).relu()
        return self.fc(x.flatten(1))


def moved(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    return {k.split(".")[0] for k in a if not torch.equal(a[k], b[k])}


def after(stages: str) -> tuple[dict, dict, Small]:
    model = Small()
    before = state(model)
    fit(model, FEW, None, UNIT, FitSettings(batch_size=40, optimizer="sgd", rate=0.1, weight_decay=0.1, stages=stages))
    return before, state(model), model


def test_each_stage_moves_its_parts_and_those_before() -> None:
    for stages, expected in (("fc:1", {"fc"}), ("head:2", {"fc"}), ("fc:1,mid:1", {"fc", "mid", "plain"}),
                             ("mid+fc:1", {"fc", "mid", "plain"}), ("fc:1,norm:1", {"fc", "norm"}),
                             ("fc:1,all:1", {"first", "norm", "mid", "plain", "fc"})):
        before, then, model = after(stages)
        assert moved(before, then) == expected, stages  # running statistics of batch norm too: `norm` and `plain`
        assert all(p.requires_grad for p in model.parameters())


def test_frozen_parameters_stay_and_so_do_their_statistics() -> None:
    model = Small()
    for part in (model.first, model.norm, model.mid):
        part.requires_grad_(False)
    before = state(model)
    run = fit(model, FEW, FEW, UNIT, FitSettings(epochs=2, optimizer="sgd", rate=0.1, weight_decay=0.5))
    assert moved(before, state(model)) == {"fc"}
    assert run.settings["frozen_parameters"] == 40 + 8 + 148
    assert run.settings["parameters"] == 650
    assert run.notes == ("196 parameters stay as they are: frozen", "2 batch norms of frozen parts keep their statistics")
    assert [p.requires_grad for p in model.parameters()] == [False] * 6 + [True] * 2
    run = fit(model, FEW, FEW, UNIT, FitSettings(optimizer="sgd", rate=0.1, stages="head:1,all:1"))  # a stage thaws
    assert moved(before, state(model)) == {"first", "norm", "mid", "plain", "fc"}
    assert run.settings["frozen_parameters"] == 0
    assert [p.requires_grad for p in model.parameters()] == [False] * 6 + [True] * 2


def test_the_old_part_takes_smaller_steps() -> None:
    """One step of SGD: the difference of the old part is exactly a tenth, that of the new one the same."""
    models = []
    for share in (1.0, 0.1):
        model = Small()
        before = state(model)
        run = fit(model, FEW, None, UNIT, FitSettings(epochs=1, batch_size=160, optimizer="sgd", rate=0.5, old_rate=share))
        models.append({k: v - before[k] for k, v in model.named_parameters()})
    assert run.notes == ("196 old parameters train at 0.1 of the rate",)
    assert run.steps["rate"].tolist() == [0.5]
    for name, step in models[0].items():
        torch.testing.assert_close(models[1][name], step * (1 if name.startswith("fc") else 0.1), atol=2e-7, rtol=1e-4)


def test_the_new_part_is_the_first_stage() -> None:
    plan = Plan(Small(), FitSettings(stages="mid:1,all:2", old_rate=0.25))
    assert [(g["share"], sum(p.numel() for p in g["params"])) for g in plan.groups] == [(1.0, 148), (0.25, 698)]
    assert plan.notes == ["epoch 0 trains 148 of 846 parameters: mid", "epochs 1 to 2 train 846 of 846 parameters: also all",
                          "698 old parameters train at 0.25 of the rate"]


def test_what_the_head_is() -> None:
    named = nn.ModuleDict({"head": nn.Linear(2, 3), "after": nn.Linear(3, 3)})
    new = nn.ModuleDict({"head": nn.Linear(2, 3), "new_head": nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))})
    rest = Small()
    rest.first.requires_grad_(False)
    plans = [Plan(m, FitSettings()) for m in (Small(), named, new, rest)]
    assert [plan._count(plan.part("head")) for plan in plans] == [650, 9, 24, 650]


def test_stopped_between_stages_it_resumes_to_the_bit(tmp_path: Path) -> None:
    whole = Small()
    expected = fit(whole, FEW, FEW, UNIT, STAGED)
    for stop in (2, 5, 6, 9, 12):
        def progress(done: int, total: int, text: str, stop: int = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        path = tmp_path / f"{stop}.pt"
        with pytest.raises(KeyboardInterrupt):
            fit(Small(), FEW, FEW, UNIT, STAGED, progress, path)
        model = Small(99) if path.exists() else Small()
        run = fit(model, FEW, FEW, UNIT, STAGED, None, path)
        assert same(state(model), state(whole)), stop
        np.testing.assert_array_equal(run.steps["loss"], expected.steps["loss"])
    with pytest.raises(UsageError, match=r"of another run; settings.stages: 'fc:1,mid:1,all:1' there, 'fc:3' here"):
        fit(Small(), FEW, FEW, UNIT, FitSettings(batch_size=40, optimizer="sgd", rate=0.1, momentum=0.9, weight_decay=0.1,
                                                 stages="fc:3", old_rate=0.1), None, path)


TWO = """
import os, sys, torch
from tests.test_stages import FEW, STAGED, UNIT, Flat, fit
model = Flat(int(os.environ["RANK"]))
fit(model, FEW, None, UNIT, STAGED)
torch.save(model.state_dict(), f"{sys.argv[1]}/{os.environ['RANK']}.pt")
"""


class Flat(Small):
    """Without batch norm, whose batches two processes halve."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.norm, self.plain = nn.Identity(), nn.Identity()


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    run_by_two(TWO, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert same(first, second)
    model = Flat()
    fit(model, FEW, None, UNIT, STAGED)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(first[name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("stages", "error", "message"), [
    ("fc", UsageError, "cannot read the stage 'fc'; it is no PART:EPOCHS with at least one epoch; for example head:5"),
    ("fc:0", UsageError, "cannot read the stage 'fc:0'"),
    ("fc:1,,all:1", UsageError, "cannot read the stage ''"),
    ("fd:1", UnknownName, "no part with parameters named 'fd'; closest: 'fc'; use an address of `convscope trace`, head or"),
])
def test_stages_that_cannot_be(stages: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(Small(), FEW, None, UNIT, FitSettings(stages=stages))


def test_the_sentence_takes_stages_and_no_epochs_beside_them(tmp_path: Path) -> None:
    _, run = actions.fit("zoo:digits", DIGITS.take(range(200)), stages="fc:1,all:1", old_rate=0.5, out=tmp_path)
    assert run.settings["epochs"] == 2
    assert run.notes[0] == "epoch 0 trains 650 of 24,058 parameters: fc"
    with pytest.raises(UsageError, match="the stages take 2 epochs; got epochs=3; leave --epochs out"):
        actions.fit("zoo:digits", "digits", stages="fc:1,all:1", epochs=3)
    with pytest.raises(UsageError, match=r"NumPy engine trains all parts alike; stages='', old_rate=0.5; leave them out"):
        actions.fit("zoo:digits", "digits", old_rate=0.5, engine="numpy")


def test_checkpoints_from_before_there_were_stages_go_on() -> None:
    assert "stages" not in FitSettings().identity
    assert STAGED.identity["stages"] == STAGED.stages
