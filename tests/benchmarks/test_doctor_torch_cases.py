"""The PyTorch programs of the doctor's benchmark: all there, alike from a seed, faulty in what they say only.

Mutation: replace `order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))` of `wrong_pairs` in
`torch_faults.py` by `order = torch.arange(len(y))`, and the test of the pairs turns red.
"""

from __future__ import annotations

import importlib
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.doctor_cases import CASES, SYMPTOMS, Case, Setup
from benchmarks.doctor_cases._data import cars, digits, drawn, ranged, signals, standardised
from benchmarks.doctor_cases._nets import Noisy, Penalised, half_shuffled, mlp, of_probabilities, resnet
from benchmarks.doctor_cases.ported_images import across_batch, scaled, small, thinned, wrongly_reduced
from torch.nn import functional as F
from torch.utils.data import DataLoader

from convscope.diagnosing.faults import FAULTS

MODULES = (
    "ported_images", "ported_tables", "loops_digits", "loops_modes", "torch_faults", "healthy_images", "healthy_tables",
    "healthy_sequences", "healthy_objectives",
)  # fmt: skip
for _module in MODULES:
    importlib.import_module(f"benchmarks.doctor_cases.{_module}")
OURS = {name: one for name, one in CASES.items() if one.framework != "Keras"}
SOUND = {name: one for name, one in OURS.items() if not one.fault}
ASKED_PT = (
    "no_zero_grad", "no_step", "not_in_optimizer", "frozen_all", "detach", "no_grad_forward", "scheduler_per_batch",
    "clip_tiny", "fp16_underflow", "never_train_mode", "validate_in_train_mode", "batch_of_one", "bn_momentum",
    "broadcast_loss", "softmax_dim0", "logsoftmax_twice", "nll_on_probabilities", "no_shuffle", "wrong_pairs", "nan_rows",
    "test_not_scaled", "offset_input", "duplicate_rows", "argmax_dim0",
)  # fmt: skip
EXAMPLES = (
    "mnist-CNN", "variational-autoencoder", "DCGAN", "ResNet-18-fine-tune", "time-sequence-LSTM", "super-resolution",
    "forward-forward",
)  # fmt: skip


def test_every_program_asked_for_is_there() -> None:
    ported = [name for name in OURS if name.startswith("TDC-")]
    assert len(ported) == 61
    assert [sum(kind in name for name in ported) for kind in ("baseCNN", "deepCNN", "regrNN", "IPS")] == [20, 22, 17, 2]
    assert {*(f"PT-{name}" for name in ASKED_PT), "TC-so60335387", "TC-forum84911"} <= set(OURS)
    assert {f"HEALTHY-PTEX-{name}" for name in EXAMPLES} <= set(SOUND)
    assert len(SOUND) >= 80


@pytest.mark.parametrize("one", OURS.values(), ids=lambda one: one.id)
def test_what_is_said_of_a_case(one: Case) -> None:
    assert {one.fault, *one.also} - {""} <= set(FAULTS)
    assert one.symptom in SYMPTOMS
    assert one.symptom != "unknown", "not measured"
    assert one.about
    assert (one.fixed is None) == (one.fault == "")
    if not one.fault:
        assert one.id.startswith("HEALTHY-")
        assert one.symptom == "no"


def first_batch(data: Any, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a program would read first."""
    if isinstance(data, DataLoader):
        return next(iter(data))
    return data[0][:rows], data[1][:rows]


def contents(setup: Setup) -> list[torch.Tensor]:
    """What was drawn: the first batch and the weights."""
    return [*first_batch(setup.train, setup.batch), *(p.detach().clone() for p in setup.model.parameters())]


def alike(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Bit-equal, NaN with NaN."""
    return all(np.array_equal(a.numpy(), b.numpy(), equal_nan=True) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("one", OURS.values(), ids=lambda one: one.id)
def test_a_seed_makes_the_same_program_again(one: Case) -> None:
    first, again, other = (contents(one.build(seed)) for seed in (0, 0, 1))
    assert alike(first, again)
    assert not alike(first, other)
    assert [a.shape for a in first] == [a.shape for a in other]


@pytest.mark.parametrize("one", OURS.values(), ids=lambda one: one.id)
def test_the_parts_fit_each_other(one: Case) -> None:
    """A first loss: finite but where the fault is in the numbers, and a gradient for what the optimiser holds."""
    if one.symptom == "raised":
        pytest.skip("torch refuses it, as another test says")
    setup = one.build(1)
    x, y = first_batch(setup.train, setup.batch)
    loss = setup.loss(setup.model(x), y)
    assert loss.ndim == 0
    assert math.isfinite(loss.item()) or "nan_rows" in one.id
    if not one.fault:
        loss.backward()
        owned = [p for group in setup.optimizer.param_groups for p in group["params"]]
        assert {id(p) for p in owned} == {id(p) for p in setup.model.parameters() if p.requires_grad}
        assert all(p.grad is not None and p.grad.isfinite().all() for p in owned)
    if setup.held_out is not None:
        assert setup.held_out[0].shape[1:] == x.shape[1:]
        assert setup.held_out[0].dtype == x.dtype


@pytest.mark.parametrize("name", [name for name, one in OURS.items() if one.symptom == "raised"])
def test_what_torch_refuses(name: str) -> None:
    setup = OURS[name].build(0)
    expected = "Expected more than 1 value per channel" if "batch_of_one" in name else "does not require grad"
    run = setup.loop or partial(setup.model.train(), first_batch(setup.train, 1)[0])
    with pytest.raises((RuntimeError, ValueError), match=expected):
        run()


@pytest.mark.parametrize("name", ["PT-no_step", "PT-no_step-before_backward", "PT-no_step-cleared", "PT-no_grad_forward",
                                  "PT-detach-item", "PT-frozen_all-refused"])  # fmt: skip
def test_a_loop_that_moves_nothing(name: str) -> None:
    setup = OURS[name].build(0)
    before = [p.detach().clone() for p in setup.model.parameters()]
    if OURS[name].symptom != "raised":
        setup.loop()  # type: ignore[misc]
    assert all(torch.equal(a, b) for a, b in zip(before, setup.model.parameters(), strict=True))


def test_the_repaired_loop_moves_everything() -> None:
    sound = OURS["PT-no_step"].fixed(0)  # type: ignore[misc]
    before = [p.detach().clone() for p in sound.model.parameters()]
    sound.loop()  # type: ignore[misc]
    assert not any(torch.equal(a, b) for a, b in zip(before, sound.model.parameters(), strict=True))
    held, labels = sound.held_out
    assert float((sound.model(held).argmax(1) == labels).float().mean()) > 0.85


def test_loops_that_move_something_and_not_what_they_should() -> None:
    clipped = OURS["PT-clip_tiny"].build(0)
    before = [p.detach().clone() for p in clipped.model.parameters()]
    clipped.loop()  # type: ignore[misc]
    moves = [(a - b.detach()).square().sum() for a, b in zip(before, clipped.model.parameters(), strict=True)]
    moved = math.sqrt(float(sum(moves)))
    most = 8 * 45 * 0.05 * 1e-6 / (1 - 0.9)  # epochs, batches, rate, clip, and momentum's geometric sum
    assert 0 < moved <= most
    orphaned = OURS["PT-not_in_optimizer"].build(0)
    head = orphaned.model[-1].weight.detach().clone()
    orphaned.loop()  # type: ignore[misc]
    assert torch.equal(head, orphaned.model[-1].weight)
    slowed = OURS["PT-scheduler_per_batch"].build(0)
    slowed.loop()  # type: ignore[misc]
    assert slowed.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.8 ** (10 * 45))
    assert not OURS["PT-never_train_mode"].build(0).model[2].num_batches_tracked


def test_pairs_that_do_not_belong_together() -> None:
    (x, y), _ = digits(3)
    setup, sound = OURS["PT-wrong_pairs"].build(3), OURS["PT-wrong_pairs"].fixed(3)  # type: ignore[misc]
    assert torch.equal(setup.train[0], x / 255)
    assert torch.equal(sound.train[1], y)
    assert 0.02 < float((setup.train[1] == y).float().mean()) < 0.25
    shuffled = list(half_shuffled(x, y, 3, 64))
    assert torch.equal(torch.cat([b for _, b in shuffled]), y)
    seen = torch.cat([a for a, _ in shuffled])
    assert not torch.equal(seen, x)
    assert torch.equal(seen.flatten(1).sum(1).sort().values, x.flatten(1).sum(1).sort().values)


def test_the_data() -> None:
    (x, y), (held, labels) = digits(0)
    assert (x.shape, held.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    assert (float(x.min()), float(x.max())) == (0.0, 255.0)
    assert set(y.tolist()) == set(labels.tolist()) == set(range(10))
    counts = thinned((x, y), 0)[1].bincount(minlength=10)
    assert counts[0] == y.bincount()[0]
    assert counts[9] < 0.08 * y.bincount()[9]
    images, kinds, masks = drawn(0, 80)
    inside = (images * masks).flatten(1).sum(1) / masks.flatten(1).sum(1)
    outside = (images * (1 - masks)).flatten(1).sum(1) / (1 - masks).flatten(1).sum(1)
    assert bool((inside > outside + 30).all())
    assert set(kinds.tolist()) == {0, 1, 2, 3}
    (rows, mpg), _ = cars(0)
    assert len(rows) == 314
    assert 5 < float(mpg.min()) < float(mpg.max()) < 60
    assert (float(ranged(rows, rows).min()), float(ranged(rows, rows).max())) == (0.0, 1.0)
    (waves, _), _ = standardised(signals(0))
    assert float(waves.mean().abs()) < 1e-5
    assert float(waves.std()) == pytest.approx(1, abs=1e-3)
    twice = OURS["TDC-regrNN-double_normalization"].build(0).train[0]
    assert torch.allclose(twice, ranged(rows, rows) / (rows.amax(0) - rows.amin(0)))


def test_noise_is_new_at_each_reading_and_as_strong_as_asked() -> None:
    clean = torch.full((1, 1, 40, 40), 0.5)
    data = Noisy(clean, torch.zeros(1), 0.1, 0.5, 0)
    (first, _), (second, _) = data[0], data[0]
    assert not torch.equal(first, second)
    assert float(Noisy(clean, torch.zeros(1), 0.1, 0.0, 0)[0][0].std()) == pytest.approx(0.1, rel=0.1)
    values, how_often = np.unique(first.numpy(), return_counts=True)
    assert how_often.max() == 20 * 20  # the erased square has one value
    assert 0 <= values[how_often.argmax()] <= 1


def test_the_losses_against_loops() -> None:
    torch.manual_seed(0)
    output, target = torch.randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    shares = output.exp() / output.exp().sum(dim=1, keepdim=True)
    assert float(of_probabilities(shares, target)) == pytest.approx(float(F.cross_entropy(output, target)), rel=1e-5)
    total = sum(-math.log(float(shares[row, label])) for row, label in enumerate(target.tolist()))
    assert float(wrongly_reduced(output, target)) == pytest.approx(total / 4, rel=1e-5)
    down = output.exp() / output.exp().sum(dim=0)
    slow = sum(-math.log(float(down[row, label])) for row, label in enumerate(target.tolist())) / 6
    assert float(across_batch(output, target)) == pytest.approx(slow, rel=1e-5)
    model = mlp(4, 3, 4)
    squares = sum(float(w) ** 2 for layer in (model[0], model[2]) for w in layer.weight.flatten().tolist())
    penalised = Penalised(F.cross_entropy, model, 0.1)(output, target)
    assert penalised.item() == pytest.approx(float(F.cross_entropy(output, target)) + 0.1 * squares, rel=1e-5)


def test_the_networks_have_the_layers_they_are_named_after() -> None:
    with_weights = [m for m in resnet(3).modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(with_weights) == 20 + 2  # and two short cuts
    widths = [m.out_features for m in small(0).model if isinstance(m, torch.nn.Linear)]
    assert widths == [512, 10]
    assert float(scaled(torch.tensor(255.0))) == 1


@pytest.mark.parametrize("name", ["HEALTHY-mlp-digits", "HEALTHY-iris", "HEALTHY-tiny", "HEALTHY-text-bag"])
def test_a_healthy_run_learns(name: str) -> None:
    setup = OURS[name].build(2)
    x, y = setup.train
    order = torch.Generator().manual_seed(2)
    for _ in range(setup.epochs):
        for rows in torch.randperm(len(x), generator=order).split(setup.batch):
            setup.optimizer.zero_grad()
            setup.loss(setup.model(x[rows]), y[rows]).backward()
            setup.optimizer.step()
    held, labels = setup.held_out
    assert float((setup.model(held).argmax(1) == labels).float().mean()) > 0.9
