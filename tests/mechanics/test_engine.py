"""The NumPy engine against torch: one step of many networks, the first fifty steps of training, weights put back.

Mutations that turn this red (each tried): running statistics not updated · `backward_for` of a convolution without its
weight · delta not divided by the batch · learning rate of the first step for all · `put_back` without counting batches ·
`found` (weights computed from others) not raised · `Prepared.batches` yields no None.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from convscope import descent, glass_training, registry
from convscope.collection import Collection
from convscope.data import open_collection
from convscope.errors import DataError, UsageError
from convscope.fit import fit as fit_in_torch
from convscope.images import PRESETS, sized
from convscope.mechanics import engine
from convscope.optimizers import make_optimizer
from convscope.recipe import FitSettings
from tests.nets import NETS

DIGITS = open_collection("digits")
FEW = DIGITS.take(range(400))
SGD = FitSettings(epochs=2, batch_size=16, optimizer="sgd", rate=0.05, momentum=0.9, weight_decay=1e-4, schedule="cosine")
ADAMW = FitSettings(epochs=2, batch_size=16, optimizer="adamw", rate=0.003, weight_decay=0.01)


class InFloat64(nn.Module):
    """A network in double precision that takes single-precision images, as the loop gives them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.double())


def zoo(name: str, seed: int = 0, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return registry.factory(name)(**options)


def preprocess(*shape: int) -> Any:
    return sized(PRESETS["unit"], shape)


@pytest.mark.parametrize("settings", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize(("name", "shape"), [("lenet5", (1, 28, 28)), ("digits", (1, 8, 8))])
def test_the_first_fifty_steps_are_torchs(name: str, shape: tuple[int, ...], settings: FitSettings) -> None:
    ours, theirs = zoo(name), InFloat64(zoo(name))
    wanted = fit_in_torch(theirs, FEW, None, preprocess(*shape), settings)
    found = engine.fit(ours, FEW, None, preprocess(*shape), settings, precision="float64")
    assert len(found.steps["loss"]) == 50
    assert np.abs(found.steps["loss"] - wanted.steps["loss"]).max() <= 1e-6  # the requirement
    assert np.abs(found.steps["loss"] - wanted.steps["loss"]).max() <= 1e-9  # and what is reached
    assert found.steps["loss"][-5:].mean() < 0.99 * found.steps["loss"][:5].mean()  # and it does learn
    for key in ("step", "epoch", "rate"):
        assert found.steps[key].tolist() == wanted.steps[key].tolist()
    assert found.epochs["accuracy"].tolist() == wanted.epochs["accuracy"].tolist()
    for key, tensor in theirs.net.state_dict().items():
        assert torch.allclose(ours.state_dict()[key].double(), tensor.double(), rtol=0, atol=1e-6), key


def check_one_step(module: nn.Module, x: torch.Tensor, settings: FitSettings = SGD) -> None:
    """Values, every gradient, running statistics and the weights after a step, in float64, in training."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # torch would draw other masks
    module, x = module.double(), x.double()
    box = glass_training.in_training(engine.trainable(copy.deepcopy(module), x[:1], "net"))
    labels = torch.arange(len(x)) % 3
    done = glass_training.step(box, box.parameters, x.numpy(), labels.numpy())
    module.train()
    optimizer = make_optimizer(settings, module.parameters())
    loss = F.cross_entropy(module(x), labels)
    loss.backward()
    assert done.loss / done.images == pytest.approx(loss.item(), abs=1e-9)
    for name, p in module.named_parameters():
        if p.grad is not None:
            assert np.abs(done.gradients[name] - p.grad.numpy()).max() <= 1e-9, name
    learned = {name: box.parameters[name] for name in box.learned}
    moved = descent.make(settings).step(learned, done.gradients, settings.rate)
    optimizer.step()
    for name, p in module.named_parameters():
        if name in moved:
            assert np.abs(moved[name] - p.detach().numpy()).max() <= 1e-9, name


@pytest.mark.parametrize("name", sorted(set(NETS)))
def test_a_step_of_each_tiny_network(name: str) -> None:
    model, x = NETS[name]()
    check_one_step(model, x)


@pytest.mark.parametrize(("name", "shape"), [
    ("lenet5", (1, 28, 28)), ("mlp", (1, 28, 28)), ("digits", (1, 8, 8)), ("perceptron", (1, 8, 8)),
    ("squeezenet1_1", (3, 33, 33)), ("resnet18", (3, 40, 32)),
])
def test_a_step_of_networks_of_the_zoo(name: str, shape: tuple[int, ...]) -> None:
    check_one_step(zoo(name), torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)), ADAMW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012", "squeezenet1_0"])
def test_a_step_of_networks_as_large_as_alexnet(name: str) -> None:
    side = 227 if name == "alexnet_2012" else 224
    check_one_step(zoo(name), torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)))


def test_running_statistics_and_the_count_of_batches_go_back() -> None:
    ours, theirs = zoo("digits"), zoo("digits")
    settings = FitSettings(epochs=1, batch_size=50)
    fit_in_torch(InFloat64(theirs), FEW, None, preprocess(1, 8, 8), settings)
    engine.fit(ours, FEW, None, preprocess(1, 8, 8), settings, precision="float64")
    state = ours.state_dict()
    assert state["bn2.num_batches_tracked"].item() == 8 == theirs.state_dict()["bn2.num_batches_tracked"].item()
    assert (state["bn2.running_var"] - theirs.state_dict()["bn2.running_var"]).abs().max() < 1e-6
    assert not torch.equal(state["bn2.running_mean"], torch.zeros(32))


def test_held_out_scores_are_torchs(tmp_path: Path) -> None:
    rest, held = FEW.split(0.25, seed=1)
    ours, theirs = zoo("digits"), InFloat64(zoo("digits"))
    wanted = fit_in_torch(theirs, rest, held, preprocess(1, 8, 8), ADAMW)
    found = engine.fit(ours, rest, held, preprocess(1, 8, 8), ADAMW, precision="float64")
    for key in ("loss", "accuracy", "held_out_loss", "held_out_accuracy"):
        assert np.abs(found.epochs[key] - wanted.epochs[key]).max() < 1e-8, key
    assert found.settings["engine"] == "numpy"
    assert found.settings.keys() >= wanted.settings.keys()


def test_what_requires_no_gradient_stays() -> None:
    model = zoo("lenet5")
    model.conv1.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    engine.fit(model, FEW, None, preprocess(1, 28, 28), FitSettings(epochs=1))
    after = model.state_dict()
    assert torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert not torch.equal(before["conv2.weight"], after["conv2.weight"])


def test_dropout_draws_by_the_seed() -> None:
    def run(seed: int, p: float) -> list[float]:
        torch.manual_seed(0)
        model = nn.Sequential(OrderedDict(flat=nn.Flatten(), drop=nn.Dropout(p), fc=nn.Linear(64, 10)))
        settings = FitSettings(epochs=1, batch_size=100, seed=seed)
        return engine.fit(model, FEW, None, preprocess(1, 8, 8), settings).steps["loss"].tolist()

    with torch.random.fork_rng(devices=[]):
        assert run(0, 0.5) == run(0, 0.5)
        assert run(0, 0.5) != run(0, 0.0)
        assert len(set(run(0, 0.5))) == 4


def test_images_that_cannot_be_read_are_left_out_and_said() -> None:
    def read(i: int) -> Any:
        if i % 10 == 3 or 20 <= i < 30:
            raise DataError(f"image {i} is broken")
        return FEW.read(i)

    broken = Collection("broken", FEW.ids[:40], FEW.labels[:40], FEW.classes, read, FEW.sizes[:40])
    examples = engine.Prepared(broken, PRESETS["digits"])
    batches = list(examples.batches(np.arange(40), 10))
    assert [None if b is None else len(b[0]) for b in batches] == [9, 9, None, 9]
    assert batches[3] is not None
    assert batches[3][1].tolist() == [int(FEW.labels[i]) for i in range(30, 40) if i != 33]
    run = engine.fit(zoo("digits"), broken, None, PRESETS["digits"], FitSettings(epochs=1, batch_size=8))
    assert "13 images of broken were skipped, e.g. digits/0003: image 3 is broken" in run.notes


def test_what_this_engine_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(OrderedDict(flat=nn.Flatten(), fc=weight_norm(nn.Linear(64, 10))))
    with pytest.raises(UsageError, match=r"cannot be trained by the NumPy engine; .* is computed from fc\..*original"):
        engine.fit(model, FEW, None, PRESETS["digits"], FitSettings(epochs=1))
    with pytest.raises(UsageError, match="no precision named 'float16'; use float32 or float64"):
        engine.fit(zoo("digits"), FEW, None, PRESETS["digits"], FitSettings(epochs=1), precision="float16")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="runs in one process; torchrun started 2; leave torchrun out"):
        engine.fit(zoo("digits"), FEW, None, PRESETS["digits"], FitSettings(epochs=1))
