"""The NumPy loop by itself: it learns, goes on to the same bits, stops as it should, and needs no torch.

Mutations that turn this red (each tried): optimiser's memory not kept in the checkpoint · identity not compared · masks
seeded without the step · non-finite step taken · `import torch` anywhere in `glass_training.py` or what it imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import glass_files, glass_training
from convscope.errors import DataError, ShapeError, StoreError, UsageError
from convscope.glass import INPUT, Call, GlassBox
from convscope.glass_training import Arrays, train
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.dropout import Dropout
from convscope.operators.linear import Linear
from convscope.operators.relu import ReLU
from convscope.recipe import FitSettings

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
DATA = Arrays(X, (X[:, 0] + X[:, 1] ** 2 > 0.8).astype(np.int64))
CALLS = (
    Call("fc1", Linear(), (INPUT, "fc1.weight")),
    Call("bn", BatchNorm(), ("fc1", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")),
    Call("relu", ReLU(), ("bn",)),
    Call("drop", Dropout(0.2, train=False), ("relu",)),
    Call("fc2", Linear(), ("drop", "fc2.weight", "fc2.bias")),
)
LEARNED = ("fc1.weight", "bn.weight", "bn.bias", "fc2.weight", "fc2.bias")
BOX = GlassBox("net", CALLS, {
    "fc1.weight": RNG.normal(size=(8, 6)), "bn.weight": np.ones(8), "bn.bias": np.zeros(8), "bn.running_mean": np.zeros(8),
    "bn.running_var": np.ones(8), "fc2.weight": RNG.normal(size=(2, 8)) / 3, "fc2.bias": np.zeros(2),
}, "fc2", frozenset(LEARNED))
SETTINGS = FitSettings(epochs=4, batch_size=16, rate=0.03, schedule="cosine")


def same(a: GlassBox, b: GlassBox) -> bool:
    return all(np.array_equal(a.parameters[k], b.parameters[k]) for k in a.parameters)


def test_it_learns_and_leaves_the_box_as_it_was() -> None:
    before = {k: v.copy() for k, v in BOX.parameters.items()}
    trained, run = train(BOX, DATA, DATA, FitSettings(epochs=30, batch_size=16, rate=0.03))
    assert run.epochs["held_out_accuracy"][-1] > 0.9
    assert run.epochs["held_out_loss"][-1] < run.epochs["held_out_loss"][0] / 2
    assert all(np.array_equal(BOX.parameters[k], v) for k, v in before.items())
    assert trained.calls == BOX.calls
    assert run.settings["parameters"] == sum(BOX.parameters[k].size for k in LEARNED)
    assert len(run.steps["loss"]) == 30 * 4


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    assert same(train(BOX, DATA, None, SETTINGS)[0], train(BOX, DATA, None, SETTINGS)[0])
    other = FitSettings(epochs=4, batch_size=16, rate=0.03, schedule="cosine", seed=1)
    assert not same(train(BOX, DATA, None, SETTINGS)[0], train(BOX, DATA, None, other)[0])


def test_masks_differ_from_step_to_step() -> None:
    box = glass_training.in_training(BOX)
    first, again, next_ = (glass_training.step(box, box.parameters, X[:16], DATA.labels[:16], (0, 0, k)).values["drop mask"]
                           for k in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next_)
    calls = (Call("drop", Dropout(0.5, train=False), (INPUT,)), Call("fc", Linear(), ("drop", "w")))
    alike = Arrays(np.ones((32, 8)), np.zeros(32, np.int64))
    box = GlassBox("drop", calls, {"w": RNG.normal(size=(2, 8))}, "fc", frozenset({"w"}))
    _, run = train(box, alike, None, FitSettings(epochs=2, batch_size=16, optimizer="sgd", rate=0.0))
    assert len(set(run.steps["loss"].tolist())) == 4  # same weights and images in every step: only the masks change


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_by_ctrl_c_it_goes_on_to_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    settings = FitSettings(epochs=4, batch_size=16, optimizer=optimizer, rate=0.03, schedule="cosine",
                           momentum=0.9 if optimizer == "sgd" else None)
    whole, wanted = train(BOX, DATA, None, settings)

    def stop(done: int, total: int, text: str) -> None:
        if done == 10:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 2 of 4 epochs; .*checkpoint.npz holds the epochs before"):
        train(BOX, DATA, None, settings, stop, path)
    found, run = train(BOX, DATA, None, settings, None, path)
    assert same(found, whole)
    assert run.steps["loss"].tolist() == wanted.steps["loss"].tolist()
    assert run.notes == ("went on from checkpoint.npz after 2 epochs",)
    with pytest.raises(KeyboardInterrupt, match="stopped after 2 of 4 epochs; no epoch was kept"):
        train(BOX, DATA, None, settings, stop)


def test_checkpoints_of_others(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    train(BOX, DATA, None, SETTINGS, None, path)
    with pytest.raises(UsageError, match=r"is of another run; settings\.rate: 0\.03 there, 0\.1 here; repeat the call"):
        train(BOX, DATA, None, FitSettings(epochs=4, batch_size=16, rate=0.1, schedule="cosine"), None, path)
    with pytest.raises(UsageError, match=r"network\.bn\.bias: \['float64', 8\] there, \['float32', 8\] here"):
        train(BOX.astype(np.float32), DATA, None, SETTINGS, None, path)
    glass_files.save(BOX, path)
    with pytest.raises(StoreError, match="is no checkpoint of a glass-box training run"):
        train(BOX, DATA, None, SETTINGS, None, path)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    bad = Arrays(np.where(np.arange(60)[:, None] == 7, np.inf, X), DATA.labels)
    with np.errstate(invalid="ignore"):
        trained, run = train(BOX, bad, None, FitSettings(epochs=2, batch_size=60))
    assert run.notes == ("stopped in epoch 0: the loss of step 0 was not finite, so it was not taken",)
    assert same(trained, BOX)
    assert len(run.steps["loss"]) == 0


def test_the_last_single_image_is_left_out() -> None:
    some = Arrays(X[:33], DATA.labels[:33])
    _, run = train(BOX, some, None, FitSettings(epochs=1, batch_size=16))
    assert len(run.steps["loss"]) == 2
    assert run.notes == ("the last batch of one image was left out of every epoch",)


def test_precision_is_that_of_the_parameters() -> None:
    trained, run = train(BOX.astype(np.float32), DATA, DATA, SETTINGS)
    assert {str(a.dtype) for a in trained.parameters.values()} == {"float32"}
    assert run.settings["precision"] == "float32"
    wanted = train(BOX, DATA, DATA, SETTINGS)[1].steps["loss"]
    assert np.abs(run.steps["loss"] - wanted).max() < 1e-4
    assert run.steps["loss"].tolist() != wanted.tolist()


class Nothing(Arrays):
    """Every image fails."""

    def batches(self, order: Any, size: int) -> Any:
        return iter([None] * -(-len(order) // size))


def test_what_cannot_be_trained() -> None:
    with pytest.raises(UsageError, match="nothing to train in net; no parameter is learned"):
        train(GlassBox("net", CALLS, BOX.parameters, "fc2"), DATA, None, SETTINGS)
    with pytest.raises(DataError, match="there is no class 2"):
        train(BOX, Arrays(X, DATA.labels + 1), None, SETTINGS)
    with pytest.raises(ShapeError, match="60 labels for 59 images; give one label an image"):
        Arrays(X[:59], DATA.labels)
    flat = GlassBox("flat", (Call("relu", ReLU(), ("w",)),), {"w": np.ones(3)}, "relu", frozenset({"w"}))
    with pytest.raises(ShapeError, match=r"must give logits of shape \(B, K\); got \(3,\) for 16 images"):
        train(flat, DATA, None, SETTINGS)
    with pytest.raises(DataError, match="no image of a whole epoch could be used; 60 images"):
        train(BOX, Nothing(X, DATA.labels), None, SETTINGS)
    with pytest.raises(DataError, match="no held-out image could be used; 60 failed"):
        train(BOX, DATA, Nothing(X, DATA.labels), SETTINGS)


WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("there is no torch here")
sys.meta_path.insert(0, NoTorch())
try:
    import torch
except ImportError:
    pass
else:
    sys.exit("torch could be imported")
import json
import numpy as np
from convscope import glass_files
from convscope.glass_training import Arrays, train
from convscope.recipe import FitSettings
folder = sys.argv[1]
box, images = glass_files.load(folder + "/box.npz"), np.load(folder + "/images.npz")
value = box.forward(images["x"][:4])[box.output]
trained, run = train(box, Arrays(images["x"], images["labels"]), None, FitSettings(**json.loads(sys.argv[2])))
glass_files.save(trained, folder + "/trained.npz")
print(json.dumps({"value": value.tolist(), "loss": run.steps["loss"].tolist(), "torch": "torch" in sys.modules}))
"""


def test_a_lenet_runs_and_trains_where_there_is_no_torch(tmp_path: Path) -> None:
    import torch

    from convscope import registry
    from convscope.data import open_collection
    from convscope.images import PRESETS, sized
    from convscope.mechanics.engine import trainable

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = registry.factory("lenet5")().double()
    batch = next(open_collection("digits").batches(sized(PRESETS["unit"], (1, 28, 28)), 96))
    x = batch.x.double()
    box = trainable(module, x[:1], "lenet5")
    glass_files.save(box, tmp_path / "box.npz")
    np.savez(tmp_path / "images.npz", x=x.numpy(), labels=batch.labels)
    settings = {"epochs": 2, "batch_size": 32, "optimizer": "sgd", "rate": 0.1, "momentum": 0.9}
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(tmp_path), json.dumps(settings)], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["torch"] is False
    assert np.abs(np.array(told["value"]) - module(x[:4]).detach().numpy()).max() < 1e-12
    trained, run = train(box, Arrays(x.numpy(), batch.labels), None, FitSettings(**settings))
    assert told["loss"] == run.steps["loss"].tolist()
    assert same(glass_files.load(tmp_path / "trained.npz"), trained)
