"""The training loop: learns, resumes to the bit, leaves no trace, and is the same in two processes.

Mutations that turn this red (each tried): no `_seed` per epoch · order from the seed alone · optimizer state not loaded ·
`reduction="mean"` in `_gradients` · no `add_up` of gradients · `used` ignored (all gradients zero-filled) · rate not set ·
checkpoint written before the epoch is recorded · images counted as an integer (0.0 elsewhere: processes disagree).
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.collection import Collection
from convscope.data import open_collection
from convscope.errors import DataError, ShapeError, UsageError
from convscope.fit import FitSettings, evaluate, fit
from convscope.images import PRESETS
from convscope.recipe import rate_at
from tests.torchrun import run_by_two

DIGITS = open_collection("digits")
FEW = DIGITS.take(range(160))
UNIT = PRESETS["digits"]


def net(dropout: float = 0.3, norm: bool = True, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                  nn.Dropout(dropout), nn.Linear(36, 10)]
        return nn.Sequential(*layers)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_learns_the_digits() -> None:
    rest, held = DIGITS.split(0.2, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                              nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10))
    told = []
    run = fit(model, rest, held, UNIT, FitSettings(epochs=10, rate=0.005, schedule="one-cycle"), lambda *a: told.append(a))
    assert run.epochs["held_out_accuracy"][-1] >= 0.97
    assert evaluate(model, held, UNIT)[:2] == (run.epochs["held_out_accuracy"][-1], run.epochs["held_out_loss"][-1])
    assert len(run.steps["loss"]) == 10 * 23 == len(told)
    assert told[0][:2] == (1, 230)
    assert told[-1][:2] == (230, 230)
    assert told[-1][2].startswith("epoch 10/10, loss 0.")
    settings = FitSettings(rate=0.005, schedule="one-cycle")
    assert run.steps["rate"].tolist() == [rate_at(settings, k, 230) for k in range(230)]
    assert (run.settings["images"], run.settings["held_out_images"], run.settings["optimizer"]) == (1438, 359, "adamw")
    assert run.origin.input == rest.fingerprint


def test_one_step_is_torchs_own() -> None:
    """Plain SGD, one batch with all images: θ − rate·∂(mean cross-entropy)/∂θ."""
    ours, theirs = net(0, norm=False), net(0, norm=False)
    run = fit(ours, FEW, None, UNIT, FitSettings(epochs=1, batch_size=160, optimizer="sgd", rate=0.5))
    x = torch.stack([torch.from_numpy(UNIT(FEW[i])) for i in range(160)])
    loss = nn.functional.cross_entropy(theirs(x), torch.from_numpy(FEW.labels))
    loss.backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q - 0.5 * q.grad, atol=1e-6, rtol=1e-5)
    assert run.steps["loss"][0] == pytest.approx(loss.item(), abs=1e-6)
    assert run.epochs["loss"][0] == pytest.approx(loss.item(), abs=1e-6)
    assert math.isnan(run.epochs["held_out_loss"][0])


def test_the_rate_of_each_step_is_the_schedules() -> None:
    ours, theirs = net(0, norm=False), net(0, norm=False)
    settings = FitSettings(epochs=3, batch_size=160, optimizer="sgd", rate=0.5, schedule="cosine")
    fit(ours, FEW, None, UNIT, settings)
    x = torch.stack([torch.from_numpy(UNIT(FEW[i])) for i in range(160)])
    for step in range(3):
        loss = nn.functional.cross_entropy(theirs(x), torch.from_numpy(FEW.labels))
        grads = torch.autograd.grad(loss, theirs.parameters())
        with torch.no_grad():
            for p, g in zip(theirs.parameters(), grads, strict=True):
                p -= rate_at(settings, step, 3) * g
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-4)


def test_every_epoch_has_an_order_of_its_own_and_sees_every_image_once() -> None:
    seen: list[int] = []

    def read(i: int) -> tuple:
        seen.append(i)
        return FEW.read(i)

    fit(net(), Collection("watched", FEW.ids, FEW.labels, FEW.classes, read, FEW.sizes), None, UNIT, FitSettings(epochs=3))
    orders = [seen[k : k + 160] for k in (0, 160, 320)]
    assert [sorted(order) for order in orders] == [list(range(160))] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert orders[0] != sorted(orders[0])


class Stop(Exception):
    pass


@pytest.mark.parametrize("settings", [
    FitSettings(epochs=4, batch_size=32, schedule="cosine", seed=5),
    FitSettings(epochs=4, batch_size=32, optimizer="sgd", rate=0.05, momentum=0.9, weight_decay=1e-3, schedule="one-cycle"),
    FitSettings(epochs=4, batch_size=33, optimizer="adagrad", rate=0.01),
])
def test_interrupted_at_any_epoch_it_resumes_to_the_bit(settings: FitSettings, tmp_path: Path) -> None:
    whole = net()
    expected = fit(whole, FEW, DIGITS.take(range(160, 200)), UNIT, settings)
    per_epoch = -(-160 // settings.batch_size)
    for stop in range(1, 4 * per_epoch + 1, 3):
        def progress(done: int, total: int, text: str, stop: int = stop) -> None:
            if done == stop:
                raise Stop

        path = tmp_path / f"{stop}.pt"
        with pytest.raises(Stop):
            fit(net(), FEW, DIGITS.take(range(160, 200)), UNIT, settings, progress, path)
        resumed = net(seed=99)  # other weights: they come from the checkpoint, or from the seed if there is none yet
        if not path.exists():
            resumed = net()
        run = fit(resumed, FEW, DIGITS.take(range(160, 200)), UNIT, settings, None, path)
        assert same(state(resumed), state(whole)), stop
        for key in expected.steps:
            np.testing.assert_array_equal(run.steps[key], expected.steps[key])
        for key in set(expected.epochs) - {"seconds"}:
            np.testing.assert_array_equal(run.epochs[key], expected.epochs[key])
        assert run.notes == ((f"went on from {stop}.pt after {(stop - 1) // per_epoch} epochs",) if stop > per_epoch else ())


def test_a_finished_run_and_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    first, again, longer, whole = net(), net(), net(), net()
    fit(first, FEW, None, UNIT, FitSettings(epochs=2), None, path)
    fit(again, FEW, None, UNIT, FitSettings(epochs=2), None, path)
    assert same(state(first), state(again))
    fit(longer, FEW, None, UNIT, FitSettings(epochs=3), None, path)
    fit(whole, FEW, None, UNIT, FitSettings(epochs=3))
    assert same(state(longer), state(whole))
    for model, train, fields in ((net(), FEW, {"rate": 0.1}), (net(), FEW.take(range(100)), {}), (net(norm=False), FEW, {})):
        with pytest.raises(UsageError, match=r"is of another run; "):
            fit(model, train, None, UNIT, FitSettings(epochs=3, **fields), None, path)


def test_weights_of_a_checkpoint_load_elsewhere(tmp_path: Path) -> None:
    model = net()
    fit(model, FEW, None, UNIT, FitSettings(epochs=1), None, tmp_path / "c.pt")
    other = net(seed=1)
    other.load_state_dict(torch.load(tmp_path / "c.pt", weights_only=True)["model"], strict=True)
    assert same(state(other), state(model))


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    def progress(done: int, total: int, text: str) -> None:
        if done == 8:
            raise KeyboardInterrupt

    settings = FitSettings(epochs=4, batch_size=32)
    with pytest.raises(KeyboardInterrupt, match=r"after 1 of 4 epochs; .*c.pt holds the epochs before; the same call"):
        fit(net(), FEW, None, UNIT, settings, progress, tmp_path / "c.pt")
    with pytest.raises(KeyboardInterrupt, match="stopped after 1 of 4 epochs; no epoch was kept"):
        fit(net(), FEW, None, UNIT, settings, progress)


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_no_trace_but_the_weights(fails: bool) -> None:
    def progress(done: int, total: int, text: str) -> None:
        if fails and done == 2:
            raise Stop

    model = net()
    model[0].weight.requires_grad_(False)
    model[6].bias.grad = kept = torch.ones(10)
    model.train()
    model[1].eval()
    modes, frozen = [m.training for m in model.modules()], model[0].weight.clone()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    try:
        fit(model, FEW, FEW, UNIT, FitSettings(epochs=1, batch_size=50), progress)
    except Stop:
        assert fails
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
    assert [m.training for m in model.modules()] == modes
    assert model[6].bias.grad is kept
    assert torch.equal(kept, torch.ones(10))
    assert model[6].weight.grad is None
    assert torch.equal(model[0].weight, frozen)
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_seed_decides_everything() -> None:
    runs = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        model = net()
        torch.manual_seed(noise)
        fit(model, FEW, None, UNIT, FitSettings(epochs=2, seed=seed))
        runs.append(state(model))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_images_that_fail_are_left_out_and_told() -> None:
    whole = torn()
    good = FEW.take(range(0, 160, 3))
    run = fit(net(), whole, good, UNIT, FitSettings(epochs=2))
    assert len(whole.skipped) == 106
    assert run.notes == ("106 images of torn were skipped, e.g. digits/0001: 1 is torn",)
    run = fit(net(0), whole.take([0, 1]), None, UNIT, FitSettings(epochs=3, batch_size=1, optimizer="sgd"))
    assert len(run.steps["loss"]) == 3  # one of two steps had no image
    with pytest.raises(DataError, match="none of the 2 images of torn can be used"):
        fit(net(), whole.take([1, 2]), None, UNIT)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    run = fit(model, FEW.take(range(129)), None, UNIT, FitSettings(epochs=2, batch_size=32))
    assert len(run.steps["loss"]) == 8
    assert run.notes == ("the last batch of one image was left out of every epoch",)


def test_a_loss_that_explodes_ends_the_run(tmp_path: Path) -> None:
    model = net(norm=False)
    settings = FitSettings(epochs=5, batch_size=40, optimizer="sgd", rate=1e30)
    run = fit(model, FEW, None, UNIT, settings, None, tmp_path / "c.pt")
    assert run.notes[0].startswith("stopped in epoch 0: the loss of step ")
    assert np.isfinite(run.steps["loss"]).all()
    assert len(run.epochs["epoch"]) == 0
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(("model", "error", "message"), [
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), ShapeError, "tells 3 classes apart"),
    (nn.Flatten(), UsageError, "nothing to train in Flatten; no parameter requires a gradient"),
])
def test_models_that_cannot_be_trained(model: nn.Module, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(model, FEW, None, UNIT)


def test_collections_without_labels() -> None:
    blank = FEW.take(range(160))
    blank.labels = np.full(160, -1)
    with pytest.raises(DataError, match="digits has no labels"):
        fit(net(), blank, None, UNIT)


CASES = ("plain", "norm", "idle", "torn")
TWO_SETTINGS = FitSettings(epochs=2, batch_size=51, optimizer="sgd", rate=0.1, momentum=0.9, weight_decay=0.1)
TWO = """
import os, sys, torch
from tests.test_fit import CASES, case, fit, FEW, UNIT
for name in CASES:
    model, train, settings = case(name, seed=int(os.environ["RANK"]))
    run = fit(model, train, FEW, UNIT, settings, None, f"{sys.argv[1]}/{name}.pt")
    if os.environ["RANK"] == "1":
        torch.save({"model": model.state_dict(), "loss": run.steps["loss"].tolist(),
                    "held": run.epochs["held_out_loss"].tolist()}, f"{sys.argv[1]}/{name}-1.pt")
"""


class Idle(nn.Module):
    """A parameter that never gets a gradient: weight decay must not shrink it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(0, norm=False)
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def torn() -> Collection:
    """Two of three images fail, so that a process often has none of a batch of two."""
    def read(i: int) -> tuple:
        if i % 3:
            raise DataError(f"{i} is torn")
        return FEW.read(i)

    return Collection("torn", FEW.ids, FEW.labels, FEW.classes, read, FEW.sizes)


def case(name: str, seed: int = 0) -> tuple[nn.Module, Collection, FitSettings]:
    if name == "torn":
        return net(0, norm=False, seed=seed), torn(), FitSettings(epochs=1, batch_size=2, optimizer="sgd", rate=0.1)
    return Idle() if name == "idle" else net(0, norm=name == "norm", seed=seed), FEW.take(range(155)), TWO_SETTINGS


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """155 images in batches of 51: parts of 26 and 25, and a last batch of 2. Process 1 starts from other weights."""
    run_by_two(TWO, tmp_path)
    for name in CASES:
        found = torch.load(tmp_path / f"{name}-1.pt", weights_only=True)
        kept = torch.load(tmp_path / f"{name}.pt", weights_only=True)["model"]
        assert same(kept, found["model"]), name  # process 0 wrote one, process 1 the other
        model, train, settings = case(name)
        run = fit(model, train, FEW, UNIT, settings)
        if name == "norm":  # each process normalises over its own part: not the same numbers, but it learns alike
            assert abs(found["held"][-1] - run.epochs["held_out_loss"][-1]) < 0.5
            continue
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(found["model"][key], tensor, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(found["loss"], run.steps["loss"], atol=1e-6)
        np.testing.assert_allclose(found["held"], run.epochs["held_out_loss"], atol=1e-6)
        if name == "idle":
            assert torch.equal(found["model"]["idle"], torch.ones(3))
