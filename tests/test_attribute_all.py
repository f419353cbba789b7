"""actions.attribute_all: all methods of one image, what does not apply told, one forward shared, what is done kept.

Mutations that turn it red: `except UsageError` left out of `_maps` (CAM stops the sheet); `context.run(_ask, …)` ->
`_ask(…)` (more than one shared pass); `lighter = {}` always (rise takes a thousand masks).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import actions, registry
from convscope.actions import attributions
from convscope.attributions import _forward
from convscope.draw import promises, sheet
from convscope.errors import Cancelled, UnknownName, UsageError
from convscope.results import Heatmap
from tests.contracts.leaves import same


class Dense(nn.Module):
    """Two linear layers, so that CAM does not apply."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(1, 4, 3), nn.Linear(144, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(torch.relu(self.conv(x)).flatten(1))))


@pytest.fixture(scope="module")
def net() -> cs.Network:
    torch.manual_seed(3)
    return cs.open(Dense().eval(), (1, 8, 8), preprocess="unit", classes=["cat", "dog", "fish"])


PIXELS = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)


def test_all_methods_come_and_one_says_why_not(net: cs.Network) -> None:
    maps = actions.attribute_all(net, PIXELS)
    names = registry.names("attributions")
    assert [m.origin.method.split("(")[0].lower() for m in maps] == [n.replace("-", "") for n in names]
    out = {n: promises.verdict(m) for n, m in zip(names, maps, strict=True)}
    assert out["cam"].state == "does not apply"
    assert "CAM" in out["cam"].why
    assert np.isnan(maps[names.index("cam")].map).all()
    assert {n for n, v in out.items() if v.state == "fails"} == set(), out
    assert all(m.seconds is not None and m.seconds >= 0 for m in maps)
    assert all(np.isfinite(m.values).all() for n, m in zip(names, maps, strict=True) if out[n].state != "does not apply")


def test_every_bar_belongs_to_a_method_that_says_so(net: cs.Network) -> None:
    """A number that a method renames would silently lose its bar."""
    said = {name for m in actions.attribute_all(net, PIXELS) for name in m.proof}
    layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    pooled = cs.open(nn.Sequential(*layers), (1, 8, 8))
    said |= {name for m in actions.attribute_all(pooled, PIXELS, ["cam", "grad-cam"]) for name in m.proof}
    assert {*promises.BARS, *promises.SAMPLED, *promises.SCORED, *promises.TOLD, promises.COUNTED} <= said


def test_maps_are_those_of_the_methods_alone(net: cs.Network) -> None:
    for method in ("gradient", "grad-cam", "layer-cam", "occlusion"):
        (found,) = actions.attribute_all(net, PIXELS, [method], ["dog"])
        alone = cs.attribute(net, PIXELS, method, "dog")
        assert same(dataclasses.replace(found, seconds=None), alone)


def test_several_targets_and_options(net: cs.Network) -> None:
    maps = actions.attribute_all(net, PIXELS, ["occlusion", "lrp"], ["dog", "cat", "dog"], window=2, stride=1)
    assert [m.targets[0] for m in maps] == ["1 dog", "0 cat"] * 2
    assert all("window=2" in m.origin.method for m in maps[:2])
    assert np.allclose(maps[1].values, cs.attribute(net, PIXELS, "occlusion", "cat", window=2, stride=1).values)


def test_what_is_reduced_is_said(net: cs.Network) -> None:
    made = attributions.chosen(None, {}, (8, 8))
    assert made["rise"][0].masks == 400
    assert made["rise"][1] == ("for a sheet of all methods: masks 400",)
    assert attributions.chosen(["rise"], {}, (8, 8))["rise"][0].masks == 1000
    assert attributions.chosen(None, {"masks": 7}, (8, 8))["rise"][1] == ()
    assert attributions.chosen(None, {"window": 4}, (90, 90))["occlusion"][0].stride is None
    for name, less in attributions.LIGHTER.items():
        assert set(less) <= {p.name for p in registry.describe("attributions", name).parameters}
    assert set(attributions.PASSES) <= set(registry.names("attributions"))


def test_one_forward_is_shared(net: cs.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    whole = _forward.Forward.of

    def counted(*args: object) -> _forward.Forward:
        made.append(1)
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(_forward.Forward, "of", counted)
    actions.attribute_all(net, PIXELS, ["grad-cam", "layer-cam", "grad-cam-plus-plus"])
    assert len(made) == 1
    for heat in actions.attribute_each(net, PIXELS, ["grad-cam", "layer-cam"]):
        assert _forward.shared(net, torch.zeros(1, 1, 8, 8)) is None, heat  # nothing leaks to whoever takes the maps


def test_what_is_done_before_a_stop_is_there(net: cs.Network) -> None:
    seen: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, text: str) -> None:
        seen.append((done, total, text))
        if text == "maps: occlusion":
            raise Cancelled("stopped")

    maps: list[Heatmap] = []
    asked = actions.attribute_each(net, PIXELS, ["gradient", "occlusion"], None, progress)
    with pytest.raises(Cancelled):
        _take(asked, maps)
    assert [m.origin.method for m in maps] == ["Gradient()"]
    assert seen[0][0] == 0
    assert all(0 <= done <= total for done, total, _ in seen)


def _take(asked: Iterator[Heatmap], into: list[Heatmap]) -> None:
    for heat in asked:
        into.append(heat)  # one by one: what came before the stop stays


def test_progress_ends_at_the_end(net: cs.Network) -> None:
    seen: list[tuple[int, int, str]] = []
    actions.attribute_all(net, PIXELS, ["gradient", "rise"], None, lambda *told: seen.append(told), masks=40)
    assert [d for d, _, _ in seen] == sorted(d for d, _, _ in seen)
    assert seen[-1][:2] == (seen[-1][1], seen[-1][1])


def test_mistakes_in_the_question_stop_it(net: cs.Network) -> None:
    with pytest.raises(UnknownName, match="no attribution named 'gradeint'; closest: 'gradient'"):
        actions.attribute_all(net, PIXELS, ["gradeint"])
    with pytest.raises(UnknownName, match="no parameter of gradient named 'window'"):
        actions.attribute_all(net, PIXELS, ["gradient"], window=2)
    with pytest.raises(UnknownName, match="no layer named 'convv'; closest: 'conv'"):
        actions.attribute_all(net, PIXELS, layer="convv")
    with pytest.raises(UsageError, match=r"RISE.masks must be in \[2, ∞\]"):
        actions.attribute_all(net, PIXELS, masks=1)


def test_the_model_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    model = Dense().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rng = torch.get_rng_state()
    actions.attribute_all(cs.open(model, (1, 8, 8)), PIXELS, ["gradient", "grad-cam", "lrp", "cam"])
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert torch.equal(rng, torch.get_rng_state())
    assert all(p.grad is None and not p._backward_hooks for p in model.parameters())
    assert all(not m._forward_hooks for m in model.modules())


DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "load.py").exists(), reason="the sample data are not here")
def test_a_photograph_on_squeezenet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA.resolve()))
    import load  # type: ignore[import-not-found]

    model, info = load.load_model("squeezenet1_1")
    preprocess = {"size": [227, 227], "resize": "crop", "resize_to": 256, "mean": [m / 255 for m in info["mean"]],
                  "std": [1 / 255] * 3}  # fmt: skip
    net = cs.open(model, (3, 227, 227), preprocess=preprocess, classes=info["classes"])
    maps = actions.attribute_all(net, load.load_image("open/cat.png"), targets=["Egyptian cat", "tiger cat"])
    assert len(maps) == 2 * len(registry.names("attributions"))
    assert {str(promises.verdict(m)) for m in maps if promises.verdict(m).state in ("fails", "does not apply")} == set()
    assert len(sheet.figure(maps).axes) == 1 + 3 * len(registry.names("attributions"))
