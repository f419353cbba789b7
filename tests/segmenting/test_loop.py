"""Training for every pixel: by hand, resumed to the same bits, unknown pixels, autoencoders, no trace left; errors.

Turns red: in `segmenting/loop.py`, `order[k * size : (k + 1) * size]` -> `order[:size]`; or `optimizer.load_state_dict` left
out (a resumed run differs).
"""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convscope as cs
from convscope.errors import ShapeError, UsageError
from convscope.images import PRESETS
from convscope.recipe import FitSettings, order_of
from convscope.segmenting import Labelled, Task, scenes, train

SIGNED = PRESETS["signed"]


def small(outputs: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.2),
                         nn.Conv2d(6, outputs, 1))


def test_steps_are_those_written_by_hand() -> None:
    data = scenes(5, 24)
    model = nn.Conv2d(3, 5, 3, padding=1)
    twin = copy.deepcopy(model)
    run = train(model, Task(data, SIGNED), FitSettings(epochs=2, batch_size=2, optimizer="sgd", rate=0.1, seed=4))
    assert run.notes == ("the last batch of one image was left out of every epoch",)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    losses = []
    for epoch in range(2):
        order = order_of(4, epoch, 5, 4)
        for which in (order[:2], order[2:4]):
            x = torch.stack([torch.from_numpy(SIGNED(data.pixels[i])) for i in which])
            logs = F.log_softmax(twin(x), 1)
            loss = -logs.gather(1, torch.from_numpy(data.labels[which])[:, None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    np.testing.assert_allclose(run.steps["loss"], losses, rtol=1e-5)
    torch.testing.assert_close(model.weight, twin.weight)


def test_a_run_taken_up_again_gives_the_same_bits_and_leaves_no_trace(tmp_path: Path) -> None:
    task = Task(scenes(6, 24), SIGNED, scenes(3, 24, seed=1))
    whole, parts = small(), small()
    how = {"batch_size": 3, "rate": 0.01}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].sum()  # type: ignore[index]
    once = train(whole, task, FitSettings(epochs=3, **how))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1], states[2]) == (random.getstate(), np.random.get_state()[1].sum())  # type: ignore[index]
    assert whole.training
    assert all(p.grad is None for p in whole.parameters())
    train(parts, task, FitSettings(epochs=2, **how), checkpoint=tmp_path / "run.pt")
    again = small()
    run = train(again, task, FitSettings(epochs=3, **how), checkpoint=tmp_path / "run.pt")
    assert run.notes == ("went on from run.pt after 2 epochs",)
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert run.steps["loss"].tolist() == once.steps["loss"].tolist()
    assert run.epochs["held_out_iou"].tolist() == once.epochs["held_out_iou"].tolist()
    with pytest.raises(UsageError, match=r"is of another run; settings\.rate"):
        train(small(), task, FitSettings(epochs=3, batch_size=3, rate=0.5), checkpoint=tmp_path / "run.pt")


def test_unknown_pixels_teach_nothing() -> None:
    data = scenes(2, 24)
    labels = data.labels.copy()
    labels[:, :, 12:] = -1
    pixels = data.pixels.copy()
    pixels[:, :, 20:] = 0  # a 1×1 convolution that is told nothing there cannot notice
    results = []
    for shown in (data.pixels, pixels):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 5, 1)
        train(model, Task(Labelled("half", shown, labels, data.classes), SIGNED), FitSettings(epochs=2, batch_size=2))
        results.append(model.weight.detach().clone())
    assert torch.equal(*results)
    nothing = Labelled("none", data.pixels, np.full_like(labels, -1), data.classes)
    with pytest.raises(UsageError, match=r"the loss of step 0 is nan.*labels known: False"):
        train(small(), Task(nothing, SIGNED), FitSettings(epochs=1, batch_size=2))


def test_an_autoencoder_learns_the_image_itself() -> None:
    torch.manual_seed(0)
    net, _ = cs.edit(cs.open(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.Flatten(),
                                           nn.Linear(288, 2)), example=(3, 24, 24)), "mirror")
    assert net.module is not None
    data = scenes(12, 24)
    task = Task(data, SIGNED, scenes(4, 24, seed=1), wanted="pixels")
    run = train(net.module, task, FitSettings(epochs=12, batch_size=2, rate=0.01))
    assert run.epochs["held_out_loss"][-1] < 0.65 * run.epochs["held_out_loss"][0]
    assert np.isnan(run.epochs["held_out_iou"]).all()
    with pytest.raises(ShapeError, match=r"must give what it reads; it reads \(3, 24, 24\) and gives \(5, 24, 24\)"):
        train(small(), Task(data, SIGNED, wanted="pixels"))
    with pytest.raises(UsageError, match="cannot learn 'edges' here"):
        Task(data, SIGNED, wanted="edges")


def test_progress_may_stop_it_and_nothing_trainable_is_told() -> None:
    seen: list[tuple[int, int, str]] = []

    def stop(done: int, total: int, text: str) -> None:
        seen.append((done, total, text))
        if done == 2:
            raise KeyboardInterrupt

    model = small().eval()
    with pytest.raises(KeyboardInterrupt):
        train(model, Task(scenes(4, 24), SIGNED), FitSettings(epochs=2, batch_size=2), progress=stop)
    assert seen[-1][:2] == (2, 4)
    assert seen[0][2].startswith("epoch 1/2, loss ")
    assert not model.training
    with pytest.raises(UsageError, match="nothing to train in Sequential"):
        train(small().requires_grad_(False), Task(scenes(4, 24), SIGNED))
