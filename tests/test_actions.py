"""The sentences, as Python says them, and what they leave behind: nothing.

Turns red: in `actions.make`, drop the test for strange parameters; in `export._export`, export `module` instead of a twin.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import actions, data, registry
from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.results import Heatmap, Picture, Table, Trace
from tests.traces import unchanged


def model() -> nn.Module:
    """A small network for digits, in training mode and with a hook of the user's own: both must survive."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.Linear(216, 10)
    )
    made[1].eval()
    return made


SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def few() -> data.Collection:
    return data.open_collection("digits").take(range(40))


def quick(method: str) -> dict[str, Any]:
    """Settings that make an optimisation short."""
    given = {p.name for p in registry.describe("features", method).parameters}
    return {name: value for name, value in {"steps": 2, "octaves": 1}.items() if name in given}


def sentences(few: data.Collection, out: Path) -> dict[str, Callable[[nn.Module], Any]]:
    """Every sentence, on the user's module."""
    image = few[3]

    def opened(m: nn.Module) -> Any:
        return cs.open(m, SHAPE, preprocess="unit")

    said: dict[str, Callable[[nn.Module], Any]] = {
        "open": opened,
        "trace": lambda m: cs.trace(m, SHAPE),
        "predict": lambda m: cs.predict(opened(m), image),
        "respond": lambda m: cs.respond(opened(m), few, out / "record", embed=("0", "2")),
        "atlas": lambda m: cs.atlas(opened(m), few, out / "atlas", pages=1, steps=2, units=8, minutes=0.2),
        "fit": lambda m: cs.fit(m, few, epochs=1),
        "run": lambda m: opened(m).run(torch.zeros(2, *SHAPE), keep=["2"]),
        "failing layer": lambda m: opened(m).run(torch.zeros(2, *SHAPE), keep=["nowhere"]),
        "failing target": lambda m: cs.attribute(opened(m), image, target="no such class"),
        "failing size": lambda m: cs.open(m, (3, 8, 8)),
        "failing image": lambda m: cs.predict(opened(m), "no/such/file.png"),
        "failing method": lambda m: cs.attribute(opened(m), image, method="no-such"),
        "failing parameter": lambda m: cs.attribute(opened(m), image, method="occlusion", window=-1),
    }
    said["attribute all"] = lambda m: cs.attribute_all(opened(m), image, masks=20)
    for method in registry.names("attributions"):
        fails = "failing " if method == "cam" else ""  # there is no mean over maps here, and that must leave no trace either
        said[f"{fails}attribute {method}"] = lambda m, method=method: cs.attribute(opened(m), image, method=method)
    for method in registry.names("features"):
        said[f"feature {method}"] = lambda m, method=method: cs.feature(
            opened(m), "0", method, image=image, images=few, **quick(method)
        )
    for method in registry.names("responses"):
        said[f"study {method}"] = lambda m, method=method: (
            cs.respond(opened(m), few, out / "record", embed=("0", "2")),
            cs.study(opened(m), few, out / "record", "2", method),
        )
    return said


NAMES = sorted(sentences(data.open_collection("digits").take(range(4)), Path()))


@pytest.mark.parametrize("name", NAMES)
def test_no_trace_is_left(name: str, few: data.Collection, tmp_path: Path) -> None:
    module = model()
    with unchanged(module):
        if name.startswith("failing"):
            with pytest.raises(ConvscopeError):
                sentences(few, tmp_path)[name](module)
        else:
            sentences(few, tmp_path)[name](module)
    assert module.training
    assert not module[1].training


def test_results_are_of_their_kinds(few: data.Collection) -> None:
    net = cs.open(model(), SHAPE, preprocess="unit")
    assert isinstance(cs.trace(net), Trace)
    assert isinstance(cs.predict(net, few[0]), Table)
    assert isinstance(cs.attribute(net, few[0]), Heatmap)
    assert isinstance(cs.feature(net, "0"), Picture)


def test_prediction_is_the_softmax_of_the_outputs(few: data.Collection) -> None:
    module = model().eval()
    net = cs.open(module, SHAPE, preprocess="unit")
    found = cs.predict(net, few[5], top=10)
    with torch.no_grad():
        wanted = (
            module(torch.from_numpy(few[5].astype(np.float32)[None, ..., 0][None] / 255)).softmax(1)[0].sort(descending=True)
        )
    np.testing.assert_allclose(found.columns["probability"], wanted.values.numpy(), rtol=1e-5)
    assert found.columns["index"].tolist() == wanted.indices.tolist()
    assert "softmax" in found.units["probability"]


def test_assumed_preprocessing_is_said(few: data.Collection) -> None:
    found = cs.predict(cs.open(model(), SHAPE), few[0])
    assert any("preprocessing not given; assumed" in note for note in found.notes)


def test_builtin_image_by_id_equals_its_pixels() -> None:
    net = cs.open(model(), SHAPE, preprocess="unit")
    by_id = cs.predict(net, "digits/0042").columns["output"]
    np.testing.assert_array_equal(by_id, cs.predict(net, data.open_collection("digits")[42]).columns["output"])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((8, 8)), "pixels are uint8"),
        ("digits/9999", "no image named"),
        (np.zeros((1, 1, 1, 1), np.uint8), "pixels are uint8"),
    ],
)
def test_bad_images_are_refused_in_words(image: Any, sentence: str) -> None:
    with pytest.raises(ConvscopeError, match=sentence):
        cs.predict(cs.open(model(), SHAPE, preprocess="unit"), image)


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, 1, 3), np.uint8), np.zeros((300, 200, 1), np.uint8), np.zeros((9, 7), np.uint8)]
)
def test_odd_images_are_brought_to_size(pixels: Any) -> None:
    found = cs.attribute(cs.open(model(), SHAPE, preprocess="unit"), pixels)
    assert found.values.shape == (1, 1, 8, 8)


def test_four_channels_into_three_is_refused() -> None:
    net = cs.open(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), (3, 4, 4), preprocess="unit")
    with pytest.raises(ConvscopeError, match="channels"):
        cs.predict(net, np.zeros((4, 4, 4), np.uint8))


def test_strange_parameters_are_named() -> None:
    with pytest.raises(UsageError, match=r"occlusion has no parameter 'windw'; it has .*window"):
        actions.make("attributions", "occlusion", {"windw": 3})


def test_wrong_number_of_classes_is_said_before_training(few: data.Collection) -> None:
    with pytest.raises(DataError, match=r"10 classes do not fit this network; its output is \(1, 3\)"):
        cs.fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), few)


def test_fit_keeps_what_opens_again(few: data.Collection, tmp_path: Path) -> None:
    net, run = cs.fit("zoo:perceptron", "digits", out=tmp_path, epochs=3)
    again = cs.open(
        "zoo:perceptron",
        weights=tmp_path / "weights.safetensors",
        preprocess=str(tmp_path / "preprocess.json"),
        classes=tmp_path / "classes.txt",
    )
    np.testing.assert_array_equal(cs.predict(net, few[0]).columns["output"], cs.predict(again, few[0]).columns["output"])
    assert again.classes == tuple("0123456789")
    assert len(run.epochs["loss"]) == 3


def test_names_at_the_door_stay_functions() -> None:
    import convscope.atlas
    import convscope.fit  # noqa: F401

    assert callable(cs.fit)
    assert callable(cs.atlas)
    assert set(cs.__all__) <= set(dir(cs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cs.nonsense  # type: ignore[attr-defined]
