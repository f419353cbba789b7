"""The mechanics page's answers: what a change does, what is kept, what is refused.

Mutations that turn these red, tried one by one: `.clone()` of the weights left out in `changed` (test_the_network…);
`_put(x[0], …)` -> `_put(x[0] * 1, …)` (test_a_pixel…); `self._runs.move_to_end(name)` -> nothing (test_two_runs…);
`abs(value) <= LARGEST` -> `True` (test_bad_questions…).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.mechanics_page import FORM, KEPT, MOST_CHANGES, Asked, Bench, changed, offline
from convscope.network import Network
from tests.nets import NETS


@pytest.fixture
def bench() -> Bench:
    model, x = NETS["plain"]()
    return Bench(cs.open(model, example=x))


@pytest.fixture
def x() -> torch.Tensor:
    return NETS["plain"]()[1][:1]


def ask(bench: Bench, x: torch.Tensor, **question: Any) -> dict[str, Any]:
    return bench.answer(x, Asked.read(question))


def state(net: Network) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in net.tensors.items()}


def test_every_kind_of_layer_answers(bench: Bench, x: torch.Tensor) -> None:
    kinds = {layer.address: ask(bench, x, layer=layer.address)["kind"] for layer in bench.net.layers}
    assert kinds["conv2"] == "conv"
    assert kinds["pool1"] == "pool"
    assert "lines" in kinds.values()
    assert "dense" in kinds.values()


@pytest.mark.parametrize("name", list(NETS))
def test_every_network_answers_and_is_left_alone(name: str) -> None:
    model, x = NETS[name]()
    net = cs.open(model, example=x)
    before, bench = state(net), Bench(net)
    for layer in net.layers:
        json.dumps(ask(bench, x[:1], layer=layer.address))
    ask(bench, x[:1], layer=net.layers[-1].address, changes=[{"pixel": [0, 1, 2], "value": 3.0}])
    assert all(torch.equal(before[k], v) for k, v in net.tensors.items())


def test_a_pixel_moves_what_can_see_it(bench: Bench, x: torch.Tensor) -> None:
    given = x.clone()
    page = ask(bench, x, layer="conv1", changes=[{"pixel": [1, 0, 5], "value": 4.0}])
    rows = {row["layer"]: row for row in page["moved"]["rows"]}
    changed_x = x.clone()
    changed_x[0, 1, 0, 5] = 4.0
    model = NETS["plain"]()[0]
    gap = (model.conv1(changed_x) - model.conv1(x)).abs().detach()  # type: ignore[operator, union-attr]
    assert rows["conv1"]["largest"] == pytest.approx(float(gap.max()), rel=1e-5)
    assert rows["conv1"]["share"] == pytest.approx(float((gap > 1e-7).double().mean()))
    assert rows["conv1"]["share"] == 6 * 2 * 3 / (6 * 16 * 16)  # six filters, a window of 3×3 with one row cut off
    assert torch.equal(x, given)
    now = torch.softmax(model(changed_x), 1)[0].detach()
    for answer in page["answers"]:
        assert answer["probability"] == pytest.approx(float(now[answer["class"]]), abs=1e-5)


def test_a_weight_moves_what_comes_behind_it_only(bench: Bench, x: torch.Tensor) -> None:
    page = ask(bench, x, layer="conv2", changes=[{"layer": "conv2", "weight": [3, 0, 1, 1], "value": 2.0}])
    names = [row["layer"] for row in page["moved"]["rows"]]
    assert names[0] == "conv2"
    assert not {"conv1", "relu1", "pool1"} & set(names)
    assert page["moved"]["still"] == 3
    assert page["moved"]["rows"][0]["share"] <= 1 / 8  # one filter of eight


def test_the_network_is_never_written(bench: Bench, x: torch.Tensor) -> None:
    before = state(bench.net)
    name = next(n for n, p in bench.net.parameter_names.items() if p == "conv1.weight")
    net, _ = changed(bench.net, x, (("conv1", (0, 0, 1, 1), 7.0), ("conv1", (0, 0, 1, 2), 8.0)))
    assert net.tensors[name][0, 0, 1].tolist()[1:] == [7.0, 8.0]
    assert all(torch.equal(before[k], v) for k, v in bench.net.tensors.items())


def test_a_shared_module_changes_in_both_its_calls() -> None:
    model, x = NETS["shared_module"]()
    net = cs.open(model, example=x)
    twice = [layer.address for layer in net.layers if layer.address.endswith(":1") and layer.operator == "conv2d"]
    assert twice, "this network calls a convolution twice"
    page = ask(Bench(net), x[:1], layer=twice[0], changes=[{"layer": twice[0], "weight": [0, 0, 0, 0], "value": 2.0}])
    assert page["moved"]["rows"][0]["layer"] == twice[0].removesuffix(":1")


def test_the_filter_stays_in_sight_after_a_change(bench: Bench, x: torch.Tensor) -> None:
    first = ask(bench, x, layer="conv1")
    other = (first["channel"] + 1) % 6
    now = ask(bench, x, layer="conv1", changes=[{"layer": "conv1", "weight": [other, 0, 1, 1], "value": 1e4}])
    assert (now["channel"], now["inner"]) == (first["channel"], first["inner"])
    assert now["label"] == first["label"]


def test_two_runs_are_kept(bench: Bench, x: torch.Tensor) -> None:
    ask(bench, x, layer="conv1")
    base = next(iter(bench._runs.values()))
    for value in (1.0, 2.0, 3.0):
        ask(bench, x, layer="conv1", changes=[{"pixel": [0, 0, 0], "value": value}])
        assert len(bench._runs) == KEPT
        assert next(iter(bench._runs.values())) is base  # the unchanged run is asked for each time
    again = ask(bench, x, layer="conv2", target=2)
    assert again["label"] == 2


def test_one_number_in_lines(bench: Bench, x: torch.Tensor) -> None:
    page = ask(bench, x, layer="conv1", channel=4)
    steps = ask(bench, x, layer="conv1", direction="input", at=[0, 2, 3, 3])["steps"]
    assert abs(steps["value"] - steps["check"]) < 1e-12
    assert steps["at"] == [0, 2, 3, 3]
    assert "steps" not in page


def test_what_an_atlas_keeps(bench: Bench, x: torch.Tensor) -> None:
    kept = offline(bench.net, x)["layers"]
    assert list(kept) == ["conv1", "conv2"]
    assert kept["conv1"]["maps"]["y"]["type"] == "f4"
    size = cs.open(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), example=(1, 3, 300, 300))
    assert offline(size, torch.zeros(1, 3, 300, 300)) == {"layers": {}}


GOOD = {"layer": "conv1"}
PIXEL = {"pixel": [0, 0, 0], "value": 1.0}


@pytest.mark.parametrize(("question", "message"), [
    ({}, "the question's 'layer' must be a layer's address; it is None"),
    ({"layer": 3}, "'layer' must be a layer's address; it is 3"),
    (GOOD | {"layr": 1}, "a question about a layer has no 'layr'"),
    (GOOD | {"channel": "0"}, "'channel' must be whole numbers from 0; it is '0'"),
    (GOOD | {"channel": True}, "'channel' must be whole numbers from 0; it is True"),
    (GOOD | {"inner": -1}, "'inner' must be whole numbers from 0; it is -1"),
    (GOOD | {"plane": 1.5}, "'plane' must be whole numbers from 0"),
    (GOOD | {"plane": 3}, "no channel 3 in the image; there are 3; use 0 … 2"),
    (GOOD | {"channel": 6}, "no filter 6 in conv1; there are 6"),
    (GOOD | {"target": 5}, "no class 5; the output has 5; use 0 … 4"),
    (GOOD | {"target": "cat"}, "no class named 'cat'"),
    (GOOD | {"target": [1]}, "'target' must be a class's number or name, or null"),
    (GOOD | {"direction": "sideways"}, "'direction' must be one of forward, input, weights"),
    (GOOD | {"direction": "input", "at": [0, 99, 0, 0]}, "no index 99"),
    (GOOD | {"changes": {}}, None),
    (GOOD | {"changes": {"a": 1}}, f"'changes' must be a list of at most {MOST_CHANGES}"),
    (GOOD | {"changes": [PIXEL] * (MOST_CHANGES + 1)}, f"'changes' must be a list of at most {MOST_CHANGES}"),
    (GOOD | {"changes": ["x"]}, "'changes' must be each a pixel, or a weight of a layer, with its value"),
    (GOOD | {"changes": [PIXEL | {"weight": [0]}]}, "'changes' must be each a pixel, or a weight of a layer"),
    (GOOD | {"changes": [PIXEL | {"value": None}]}, "'value' must be a number from −1,000,000 to 1,000,000"),
    (GOOD | {"changes": [PIXEL | {"value": float("nan")}]}, "'value' must be a number from −1,000,000 to 1,000,000"),
    (GOOD | {"changes": [PIXEL | {"value": 1e7}]}, "'value' must be a number from −1,000,000 to 1,000,000"),
    (GOOD | {"changes": [{"pixel": [0, 0], "value": 1}]}, "'pixel' must be 3 numbers in a list"),
    (GOOD | {"changes": [{"pixel": [0, 16, 0], "value": 1}]}, "no number at [0, 16, 0] of the image; its shape is 3×16×16"),
    (GOOD | {"changes": [{"weight": [0, 0, 0, 0], "value": 1}]}, "'layer' must be the address of the layer whose weight"),
    (GOOD | {"changes": [{"layer": "conv1", "weight": [9] * 9, "value": 1}]}, "'weight' must be a few numbers in a list"),
    (GOOD | {"changes": [{"layer": "conv1", "weight": [0, 0], "value": 1}]}, "no number at [0, 0] of the weight of conv1"),
    (GOOD | {"changes": [{"layer": "relu1", "weight": [0], "value": 1}]}, "relu1 has no weight that could be changed"),
    (GOOD | {"changes": [{"layer": "conv9", "weight": [0], "value": 1}]}, "conv9"),
    ({"layer": "conv9"}, "no layer named 'conv9'"),
])  # fmt: skip
def test_bad_questions_are_told_what_is_wrong(bench: Bench, x: torch.Tensor, question: Any, message: str | None) -> None:
    if message is None:
        assert ask(bench, x, **question)["moved"] is None  # nothing is no change
        return
    with pytest.raises(ConvscopeError) as told:
        bench.answer(x, Asked.read(question))
    assert message in str(told.value)


def test_the_form_is_a_question() -> None:
    question = json.loads(FORM)
    assert Asked.read(question) == Asked("conv1", channel=0, changes=(("", (0, 5, 9), 1.5),))
    assert np.isfinite(question["changes"][0]["value"])
