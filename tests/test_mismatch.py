"""Planted mistakes in the preprocessing are named; right settings raise no alarm; what cannot be told is not told.

Turns red: in `evidence._run`, take `args[4], args[3]`; in `evidence.compare`, `gain > 0.1` -> `gain > -9`; in
`telling.first`, leave `doubtful` out; in `candidates._numbers`, never turn the order.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope import actions, data, mismatch
from convscope.errors import DataError
from convscope.images import PRESETS, Preprocess
from convscope.mismatch import candidates, evidence
from convscope.network import Network
from tests.traces import unchanged

SHARED = Path(__file__).parents[1] / "../shared/data"
RIGHT = Preprocess((8, 8), "stretch", mean=(0.3,), std=(0.35,), channels="L")
PLANTED = {
    "range": dataclasses.replace(RIGHT, range=255.0, mean=(0.3 * 255,)),
    "no mean": dataclasses.replace(RIGHT, mean=(0.0,)),
    "mean": dataclasses.replace(RIGHT, mean=(0.9,)),
    "twice": candidates.twice(RIGHT),
}


@functools.cache
def trained(norm: bool) -> nn.Module:
    """A network for the digits, trained in two seconds with RIGHT; `norm`: with batch norm."""
    digits = data.open_collection("digits")
    x = torch.from_numpy(np.stack([RIGHT(digits[i]) for i in range(0, 1797, 2)]))
    y = torch.from_numpy(digits.labels[::2])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12) if norm else nn.Identity(), nn.ReLU(),
                        nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 10))  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
    return net.eval()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "batch norm"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    return trained(request.param)


@functools.cache
def graph(module: nn.Module) -> Network:
    return Network.open(module, (1, 8, 8), classes=tuple("0123456789"))


def opened(module: nn.Module, p: Preprocess) -> Network:
    return dataclasses.replace(graph(module), preprocess=p)


@pytest.fixture(scope="module")
def unseen() -> data.Collection:
    return data.open_collection("digits").take(range(1, 1797, 29))


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_are_named_with_labels(module: nn.Module, unseen: data.Collection, mistake: str) -> None:
    with unchanged(module):
        found = actions.check_preprocess(opened(module, PLANTED[mistake]), unseen)
    first = found.findings[0]
    if mistake == "twice" and isinstance(module[1], nn.Identity):
        # This network is right about every image, with the mistake too: nothing tells, and that is said.
        assert found.checked["accuracy"][found.checked["candidate"] == "as given"].item() == 1
        assert first.severity == "unknown"
        return
    assert first.severity in ("error", "advice"), first
    assert first.evidence["p"] < 0.05
    wanted = {"range": "range", "no mean": "mean", "mean": "mean", "twice": "mean"}[mistake]
    assert wanted in first.where
    assert "labels went by the names of the classes" in found.notes


def test_a_right_setting_raises_no_alarm(module: nn.Module, unseen: data.Collection) -> None:
    for images in (unseen, [unseen.ids[i] for i in range(0, len(unseen), 2)]):
        found = actions.check_preprocess(opened(module, RIGHT), images)
        assert {f.severity for f in found.findings} <= {"fine", "unknown"}, found.findings[0]
        assert mismatch.glance(opened(module, RIGHT), [unseen[i] for i in range(8)]) is None


def test_without_labels_a_wrong_range_is_named(module: nn.Module, unseen: data.Collection) -> None:
    net = opened(module, PLANTED["range"])
    found = actions.check_preprocess(net, list(unseen.ids))
    assert (found.findings[0].severity, found.findings[0].where) == ("error", "range")
    assert "white is 510 and should be about 2" in found.findings[0].symptom
    assert "--range 1 --channels L --mean 0.3 --std 0.35 --resize stretch" in found.findings[0].remedy
    said = mismatch.glance(net, [unseen[i] for i in range(0, 60, 6)])
    assert said is not None
    assert said.startswith("the preprocessing looks wrong (range")


def test_several_images_get_a_line_and_one_does_not(module: nn.Module, unseen: data.Collection) -> None:
    net = opened(module, PLANTED["range"])
    many = actions.predict(net, list(unseen.ids[::6]))
    assert any(note.startswith("warning: the preprocessing looks wrong (range") for note in many.notes)
    assert not any("looks wrong" in note for note in actions.predict(net, list(unseen.ids[::6]), check=False).notes)
    assert not any("looks wrong" in note for note in actions.predict(net, unseen.ids[0]).notes)


def test_the_batch_norm_tells_the_mean_without_labels(unseen: data.Collection) -> None:
    found = actions.check_preprocess(opened(trained(True), PLANTED["mean"]), list(unseen.ids))
    assert (found.findings[0].severity, found.findings[0].where) == ("error", "mean")
    assert "batch norm of" in found.findings[0].proof


def test_few_images_or_an_untrained_network_tell_nothing(unseen: data.Collection) -> None:
    torch.manual_seed(0)
    blank = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    one = mismatch.check(opened(blank, RIGHT), [unseen[0]])
    assert (one.findings[0].severity, one.findings[0].cause) == ("unknown", "too few images")
    assert "predictions of 1 images are too few to tell (at least 4)" in one.notes
    many = actions.check_preprocess(opened(blank, RIGHT), unseen)
    assert many.findings[0].severity == "unknown"
    assert "cannot be told" in many.findings[0].symptom
    with pytest.raises(DataError, match="no image to check the preprocessing on; none could be used; give a folder"):
        mismatch.check(opened(blank, RIGHT), [])


def test_the_sample_is_said(unseen: data.Collection) -> None:
    torch.manual_seed(0)
    net = opened(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), RIGHT)
    found = actions.check_preprocess(net, "digits", seed=3)
    assert "sampled: 64 of 1,797 images, seed 3" in found.notes


def test_divergence_is_kullback_and_leiblers_of_two_gaussians() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(2.0, 3.0, (6, 4, 50))  # N U positions
    running, spread = rng.normal(0, 1, 4), rng.uniform(0.5, 4, 4)
    moments = (values.mean(2), (values**2).mean(2), running, spread)
    got = evidence.divergence(moments, np.full((1, 6), 1 / 6))[0]
    p = [torch.distributions.Normal(float(v.mean()), float(v.std())) for v in values.transpose(1, 0, 2)]
    q = [torch.distributions.Normal(float(m), float(np.sqrt(s))) for m, s in zip(running, spread, strict=True)]
    wanted = np.mean([float(torch.distributions.kl_divergence(a, b)) for a, b in zip(p, q, strict=True)])
    assert got == pytest.approx(wanted, rel=1e-5)


def test_the_first_batch_norm_is_measured_as_training_would() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=1.0), nn.Flatten(), nn.Linear(108, 4))
    digits = data.open_collection("digits").take(range(40))
    model.train()
    model(torch.from_numpy(np.stack([RIGHT(digits[i]) for i in range(40)])))  # momentum 1: it keeps these very statistics
    model.eval()
    seen = evidence.look(opened(model, RIGHT), [digits[i] for i in range(40)], None,
                         candidates.of(RIGHT, [digits[0]])[:2], None)  # fmt: skip
    assert seen[0].apart[0] == pytest.approx(0, abs=1e-3)
    assert seen[1].apart[0] > 1


def test_candidates_are_told_apart_by_the_numbers_that_come_out() -> None:
    imagenet = PRESETS["imagenet"]
    in_255 = dataclasses.replace(imagenet, range=255.0, mean=tuple(255 * m for m in imagenet.mean),
                                 std=tuple(255 * s for s in imagenet.std))  # fmt: skip
    assert candidates.differs(imagenet, in_255) == ()
    turned = dataclasses.replace(imagenet, channels="BGR", mean=imagenet.mean[::-1], std=imagenet.std[::-1])
    assert candidates.differs(imagenet, turned) == ("channel order",)
    assert candidates.differs(imagenet, dataclasses.replace(imagenet, mean=(0.0,))) == ("mean",)
    assert candidates.differs(imagenet, dataclasses.replace(imagenet, std=(1.0,))) == ("std",)
    assert candidates.differs(imagenet, dataclasses.replace(imagenet, resize="stretch", resize_to=None)) == ("size",)
    assert candidates.is_twice(candidates.twice(imagenet), imagenet)
    assert candidates.differs(candidates.once(candidates.twice(imagenet)), imagenet) == ()
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3), np.uint8)
    once = imagenet(pixels[0])
    by_hand = (once - np.array(imagenet.mean, np.float32)[:, None, None]) / np.array(imagenet.std, np.float32)[:, None, None]
    np.testing.assert_allclose(candidates.twice(imagenet)(pixels[0]), by_hand, rtol=1e-3, atol=1e-3)
    tried = candidates.of(imagenet, list(pixels))
    for at, one in enumerate(tried):
        assert all(candidates.differs(one.preprocess, other.preprocess) for other in tried[:at]), one.name


GREY = np.arange(243, dtype=np.uint8).reshape(9, 9, 3)


@pytest.mark.parametrize("p", [one.preprocess for one in candidates.of(PRESETS["imagenet"], [GREY])])
def test_every_candidate_is_fed_as_its_preprocessing_would(p: Preprocess) -> None:
    images = list(np.random.default_rng(1).integers(0, 255, (2, 40, 30, 3), np.uint8))
    small = dataclasses.replace(p, size=(16, 16), resize_to=None if p.resize_to is None else 20)
    got = evidence._input(small, images, {})
    np.testing.assert_allclose(got.numpy(), np.stack([small(image) for image in images]), rtol=1e-3, atol=1e-3)


needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the developers' sample data are not here")
CAFFE = Preprocess((227, 227), "crop", 256, (123.0, 117.0, 104.0), (1.0,), 255.0)
REAL = {
    "right": (CAFFE, ""),
    "0–1": (dataclasses.replace(CAFFE, range=1.0, mean=tuple(m / 255 for m in CAFFE.mean)), "range"),
    "0–1 without mean": (dataclasses.replace(CAFFE, range=1.0, mean=(0.0,)), "range and mean"),
    "BGR": (dataclasses.replace(CAFFE, channels="BGR", mean=CAFFE.mean[::-1]), "channel order"),
    "no mean": (dataclasses.replace(CAFFE, mean=(0.0,)), "mean"),
}


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("name", REAL)
def test_squeezenet_on_photographs(name: str) -> None:
    spec = importlib.util.spec_from_file_location("shared_load", SHARED / "load.py")
    assert spec is not None
    assert spec.loader is not None
    load: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load)
    names, labels = load.imagenet_set()
    ids = load.imagenet_ids()
    truth = np.array([ids.index(label) if isinstance(label, str) else label for label in labels])
    p, where = REAL[name]
    net = Network.open(load.load_model("squeezenet1_1")[0], (3, 227, 227), preprocess=p)
    first = mismatch.check(net, [load.load_image(n) for n in names], truth).findings[0]
    assert first.where == where
    assert first.severity in (("error", "advice") if where else ("fine",))
