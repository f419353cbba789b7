"""Ablation: a unit wired to a class is found; every change equals a pass with a hook; samples and labels.

Turns red: in `responses/_cut.py`, `start[self.before[-1]] = _changed(` -> `start[self.before[0]] = _changed(` · in
`responses/ablation.py`, `total / seen` -> `total / len(chosen)`.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import run
from convscope.data import Collection
from convscope.errors import UnknownName, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.responses._cut import Cut
from convscope.responses._effects import labels_of, sample
from convscope.responses._study import Study
from convscope.responses.ablation import Ablation
from tests.contracts.leaves import opened
from tests.contracts.studies import collection, studied, study
from tests.responses.wired import wired
from tests.traces import unchanged


@functools.cache
def known(classes: int = 3) -> Study:
    """Class k hears unit k alone."""
    net = Network.open(wired(classes), torch.zeros(1, 3, 32, 32))
    return study(net, collection(12, 32, 32, 3), Preprocess(mean=(0.45,), std=(0.25,)), (), Path(tempfile.mkdtemp()))


def hooked(module: nn.Module, part: nn.Module, x: Tensor, change: Callable[[Tensor], None]) -> Tensor:
    """The reference: a whole pass of a module, with a forward hook that writes into one part's output."""

    def hook(_: Any, __: Any, output: Tensor) -> Tensor:
        output = output.clone()
        change(output)
        return output

    handle = part.register_forward_hook(hook)
    try:
        with torch.no_grad():
            return module(x)
    finally:
        handle.remove()


def images(made: Study) -> tuple[Tensor, np.ndarray]:
    batch = next(made.collection.batches(made.preprocess, len(made.collection)))
    return batch.x, batch.labels


def test_a_unit_wired_to_a_class_is_found() -> None:
    table = Ablation()(known(5), "relu")
    clean = run.run(known(5).net, images(known(5))[0]).output.mean(0)
    for unit in range(5):
        assert str(table.columns["falls"][unit]).startswith(f"{unit} (−")
        assert table.columns["fall"][unit] == pytest.approx(-float(clean[unit]))
        assert table.columns["rises"][unit] == "—"
        assert table.columns["mean_change"][unit] == pytest.approx(float(clean[unit]) / 5)
    assert (table.columns["mean_change"][5:] == 0).all()
    assert table.notes[2] == "no accuracy: the images have 3 classes, the network 5 outputs"


def test_one_unit_class_by_class() -> None:
    made = known()
    x, labels = images(made)
    table = Ablation(unit=1)(made, "relu")
    clean = run.run(made.net, x).output.numpy()
    without = clean.copy()
    without[:, 1] = 0
    assert table.columns["class"].tolist() == ["0", "1", "2"]
    np.testing.assert_allclose(table.columns["change"], (without - clean).mean(0), atol=1e-6)
    for k in range(3):
        own = labels == k
        assert table.columns["images"][k] == own.sum()
        assert table.columns["own_change"][k] == pytest.approx((without - clean)[own, k].mean(), abs=1e-6)
        assert table.columns["accuracy"][k] == pytest.approx((clean[own].argmax(1) == k).mean())
        assert table.columns["without"][k] == pytest.approx((without[own].argmax(1) == k).mean())
    whole = Ablation()(made, "relu")
    gain = (without.argmax(1) == labels).mean() - (clean.argmax(1) == labels).mean()
    assert whole.columns["accuracy_change"][1] == pytest.approx(gain)


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize(("name", "layer"), [("plain", "conv1"), ("plain", "fc1"), ("residual", "block2.bn1"),
                                             ("residual", "block1.conv2"), ("concat", "branch2.2"), ("norm_first", "bn0")])
def test_every_change_equals_a_hooked_pass(fill: str, name: str, layer: str) -> None:
    """Skip connections and branches around the layer included."""
    model, made, _ = studied(name)
    x, _ = images(made)
    with torch.no_grad():
        clean = model(x)
    with unchanged(model):
        table = Ablation(fill=fill)(made, layer)
    part = model.get_submodule(layer)
    value = run.run(made.net, x, keep=[layer])[layer]
    for unit in range(value.shape[1]):
        level = 0.0 if fill == "zero" else float(value[:, unit].double().mean())
        reference = (hooked(model, part, x, lambda v, u=unit, c=level: v[:, u].fill_(c)) - clean).double().mean(0)
        assert table.columns["fall"][unit] == pytest.approx(min(float(reference.min()), 0), abs=1e-6)
        assert table.columns["rise"][unit] == pytest.approx(max(float(reference.max()), 0), abs=1e-6)
        assert table.columns["mean_change"][unit] == pytest.approx(float(reference.abs().mean()), abs=1e-6)
    assert "compared with whole passes: largest difference 0" in table.notes[1]


def test_nothing_changed_gives_the_same_bits_and_nothing_before_is_run() -> None:
    _, x, net = opened("residual")
    cut = Cut(net, "block2.conv1", x)
    seen: list[str] = []
    cut.visit = lambda layer, value: seen.append(layer.address)
    assert torch.equal(cut.after(lambda value: value), cut.clean)
    assert torch.equal(cut.clean, run.run(net, x).output)
    assert "block2.bn1" in seen
    assert not {"conv1", "block1.conv1", "block2.conv1"} & set(seen)


def test_batches_give_what_one_batch_gives() -> None:
    _, made, embed = studied("plain")
    one, many = (Ablation(together=b, fill="mean")(made, embed[0]) for b in (50, 4))
    for name in ("fall", "rise", "mean_change"):
        np.testing.assert_allclose(one.columns[name], many.columns[name], atol=1e-6)


def test_the_sample_takes_as_many_of_each_class_as_can_be() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20 + [-1] * 5)
    found = sample(labels, 20, 0)
    counts = {int(k): int((labels[found] == k).sum()) for k in (0, 1, 2, -1)}
    assert len(set(found.tolist())) == 20
    assert counts[1] == 3
    assert max(counts[0], counts[2], counts[-1]) <= 6
    assert found.tolist() == sorted(found.tolist()) == sample(labels, 20, 0).tolist()
    assert found.tolist() != sample(labels, 20, 1).tolist()
    assert sample(labels, 99, 0).tolist() == list(range(78))


def test_sampled_and_unread_images_are_said() -> None:
    _, made, embed = studied("plain")
    assert Ablation(most=9)(made, embed[0]).notes[0].startswith("9 of 16 images, seed 0")  # image 5 is not among them
    assert Ablation()(made, embed[0]).notes[0] == "15 of 16 images, seed 0; 1 more could not be read"


def relabelled(made: Study, labels: list[int], classes: tuple[str, ...], names: tuple[str, ...] = ()) -> Study:
    """A study-like thing: only what labels_of looks at."""
    images = made.collection
    twin = Collection("t", images.ids, np.array(labels), classes, images.read, images.sizes)
    found = object.__new__(Study)
    for name, value in {"record": made.record, "net": dataclasses.replace(made.net, classes=names), "collection": twin,
                        "preprocess": made.preprocess}.items():
        object.__setattr__(found, name, value)
    return found


def test_which_output_a_label_means() -> None:
    _, made, _ = studied("plain")  # five outputs
    labels = [0, 1, -1, 0] * 4
    assert labels_of(relabelled(made, labels, tuple("abcde")))[0].tolist() == labels
    by_name, notes = labels_of(relabelled(made, labels, ("dog", "cat"), ("cat", "cow", "dog", "elk", "fox")))
    assert (by_name[:4].tolist(), notes) == ([2, 0, -1, 2], ())
    assert labels_of(relabelled(made, labels, ("a", "b")))[1] == (
        "no accuracy: the images have 2 classes, the network 5 outputs",)
    assert labels_of(relabelled(made, [-1] * 16, ()))[1] == ("the images have no labels: no accuracy",)


def test_what_cannot_be_ablated_says_so() -> None:
    made = known()
    with pytest.raises(UnknownName, match="no unit 16 in relu; it has 16; use 0 … 15"):
        Ablation(unit=16)(made, "relu")
    with pytest.raises(UsageError, match=r"Ablation\.fill must be one of zero, mean"):
        Ablation(fill="noise")
    maps = Network.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), torch.zeros(1, 3, 8, 8))
    other = study(maps, collection(4, 8, 8, 3), Preprocess(), (), Path(tempfile.mkdtemp()))
    with pytest.raises(UsageError, match=r"Sequential does not answer with classes; its output is \(1, 4, 6, 6\)"):
        Ablation()(other, "0")
    layers = tuple(dataclasses.replace(k, unit_axis=None) for k in made.net.layers)
    bare = Study(made.record, dataclasses.replace(made.net, layers=layers), made.collection, made.preprocess)
    with pytest.raises(UsageError, match=r"relu has no units; its output is .*; choose a layer with channels"):
        Ablation()(bare, "relu")
