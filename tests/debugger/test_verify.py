"""The debugger: right arrays accuse nobody, replayed mistakes are named, layouts understood, bad input explained.

Mutation: let `Theirs.right` answer `difference < 2 * allowed or True` in debugger/blame.py, and the first wrong array is
never found: this file turns red. So it does where `joined` in blame.py returns `dict(known)` alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.debugger.replay import LOSS, Replay, Run
from convscope.debugger.verify import Problem, verify
from convscope.errors import ConvscopeError, DataError, ShapeError, UnknownName, UsageError
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.operators import Operator, mistakes
from tests.nets import NETS

LABELS = (1, 3)


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Replay]:
    return _replay("plain")


def _replay(name: str, training: bool = False) -> tuple[Any, Replay]:
    model, x = NETS[name]()
    net = cs.open(model, x)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=tuple(x.shape)))
    return net, Replay(Capture(net, x, Loss(labels=LABELS), training))


def arrays_of(replay: Replay, run: Run, activations: bool = True) -> dict[str, Any]:
    """What somebody's program would have saved of a run."""
    found: dict[str, Any] = {"input": replay.x, "labels": np.array(LABELS), "loss": np.array(run.loss)}
    for call in replay.box.calls:
        if not call.address or isinstance(run.values[call.name], tuple):
            continue
        address = call.address if ":" in call.address else f"{call.address}:0"
        if activations:
            found[f"{address}.activation"] = run.values[call.name]
        found[f"{address}.delta"] = run.deltas[call.name]
    return found | {f"{p}.gradient": run.deltas[p] for p in replay.box.learned}


def operator(replay: Replay, call: str) -> Operator:
    found = replay.operator_of(call)
    assert found is not None
    return found


def made(replay: Replay, call: str, key: str) -> dict[str, Any]:
    """The arrays of a run with one mistake."""
    mistake = next(m for m in mistakes.of(operator(replay, call)) if m.key == key)
    return arrays_of(replay, replay.run({call: (mistake,)}))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["plain", "residual", "concat", "grouped", "grey", "rows_lstm"])
def test_right_arrays_accuse_nobody(name: str, kind: Any) -> None:
    net, replay = _replay(name)
    given = {k: v if k in ("input", "labels") else v.astype(kind) for k, v in arrays_of(replay, replay.right).items()}
    found = verify(net, given, Problem(training=False))
    assert [f.severity for f in found.findings] == ["fine"]
    assert set(found.checked["verdict"]) == {"right"}


def test_arrays_of_torch_in_float32_accuse_nobody() -> None:
    """Computed in float32 from the start, by torch's own kernels."""
    model, x = NETS["plain"]()
    given: dict[str, Any] = {"input": x.numpy(), "labels": np.array(LABELS)}
    value = x
    kept: dict[str, Any] = {}
    for name, module in model.named_children():
        value = module(value)
        value.retain_grad()
        kept[name] = value
    nn.functional.cross_entropy(value, torch.tensor(LABELS)).backward()
    for name, tensor in kept.items():
        given |= {f"{name}.activation": tensor, f"{name}.delta": tensor.grad}
    given |= {f"{name}.gradient": p.grad for name, p in model.named_parameters()}
    found = verify(cs.open(model, x), given)
    assert [f.severity for f in found.findings] == ["fine"], found.findings[0]
    assert "float32" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("conv2", "kernel not flipped"),
        ("conv2", "padding cropped at the end only"),
        ("conv2", "only the last filter"),
        ("conv1", "weight gradient: only the last example"),
        ("conv1", "bias gradient: mean over positions instead of the sum"),
        ("relu1", "derivative forgotten"),
        ("pool2", "delta spread to all positions"),
        ("fc1", "weight not transposed"),
        ("flatten", "flatten mixed up: HWC instead of CHW"),
        (LOSS, "softmax derivative twice"),
        (LOSS, "sign flipped"),
        (LOSS, "labels off by one, too high"),
        (LOSS, "not divided by the batch"),
    ],
)
def test_a_mistake_is_named(plain: tuple[Any, Replay], call: str, key: str) -> None:
    net, replay = plain
    found = verify(net, made(replay, call, key)).findings
    assert len(found) == 1
    assert key in found[0].cause
    assert found[0].cause.startswith(call)
    assert "this mistake reproduces your array to" in found[0].proof
    assert found[0].remedy


def test_a_mistake_of_a_function_that_is_used_twice_is_named_at_every_call(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    mistake = next(m for m in mistakes.of(operator(replay, "conv1")) if m.key == "weight gradient flipped")
    run = replay.run({"conv1": (mistake,), "conv2": (mistake,)})
    found = verify(net, arrays_of(replay, run)).findings
    assert len(found) == 1
    assert found[0].cause.startswith("every Conv (conv1, conv2): weight gradient flipped")
    assert "explains all 2 wrong arrays" in found[0].proof


def test_two_mistakes_are_named_one_after_the_other(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    pick = {
        c: next(m for m in mistakes.of(operator(replay, c)) if m.key == k)
        for c, k in (("relu3", "derivative forgotten"), ("conv2", "kernel not flipped"))
    }
    found = verify(net, arrays_of(replay, replay.run({c: (m,) for c, m in pick.items()}))).findings
    assert [f.cause.split(":")[0] for f in found] == ["relu3", "conv2"]


def test_a_wrong_forward_pass_is_named_at_its_first_wrong_activation(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    mistake = next(m for m in mistakes.of(operator(replay, "conv2"), "forward") if m.key == "kernel flipped")
    found = verify(net, arrays_of(replay, replay.run({"conv2": (mistake,)}))).findings
    assert (found[0].where, len(found)) == ("conv2:0.activation", 1)
    assert "conv2: kernel flipped" in found[0].cause


def test_only_the_gradients_of_the_weights_are_enough(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    some = {
        k: v
        for k, v in made(replay, "relu2", "derivative forgotten").items()
        if k in ("input", "labels") or k.endswith("weight.gradient")
    }
    found = verify(net, some).findings[0]
    assert found.where == "conv2.weight.gradient"
    assert "relu2: derivative forgotten" in found.cause


def test_random_arrays_are_none_of_the_known_mistakes(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    given = arrays_of(replay, replay.right) | {"conv2:0.delta": np.random.default_rng(0).normal(size=(2, 8, 8, 8))}
    found = verify(net, given).findings[0]
    assert found.where == "conv2:0.delta"
    assert found.cause == "none of the known mistakes reproduces it"
    assert "relu2" in found.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: 3 * v, "3 times the right array"),
        (lambda v: 0 * v, "never filled"),
        (lambda v: np.flip(v, 3), "axis 3 runs backwards"),
        (lambda v: v.swapaxes(2, 3), "rows and columns swapped"),
    ],
)
def test_an_array_that_is_changed_as_a_whole(plain: tuple[Any, Replay], change: Any, said: str) -> None:
    net, replay = plain
    given = arrays_of(replay, replay.right)
    given = {
        "input": given["input"],
        "labels": given["labels"],
        "conv2:0.delta": change(given["conv2:0.delta"]),
        "relu2:0.delta": given["relu2:0.delta"],
    }
    assert said in verify(net, given).findings[0].cause


def test_other_conventions_are_accepted_and_said(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    given = arrays_of(replay, replay.right)
    turned = {
        k: v.transpose(0, 2, 3, 1)
        if v.ndim == 4 and "weight" not in k
        else v.transpose(2, 3, 1, 0)
        if v.ndim == 4
        else v.T
        if v.ndim == 2
        else v
        for k, v in given.items()
    }
    found = verify(net, turned)
    assert found.findings[0].severity == "fine"
    said = " ".join(found.notes)
    assert "maps are read as (B, H, W, C)" in said
    assert "dense weights are read as (inputs, outputs)" in said
    assert "kernels are read as (row, column, channel, filter)" in said
    assert "rows are read as (features, B)" in said


def test_own_parameters_take_the_place_of_the_networks(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    weight = np.random.default_rng(1).normal(size=(10, 128))
    x = replay.x
    changed = Replay(Capture(net, torch.from_numpy(x), Loss(labels=LABELS)))
    changed.box.parameters["fc1.weight"] = weight
    given = arrays_of(changed, changed.run({})) | {"fc1.weight": weight}
    found = verify(net, given)
    assert found.findings[0].severity == "fine"
    assert "1 of your parameters" in " ".join(found.notes)


def test_batch_norm_in_training_is_recognised() -> None:
    net, replay = _replay("residual", training=True)
    given = arrays_of(replay, replay.right)
    assert "statistics of this batch" in " ".join(verify(net, given).notes)
    found = verify(net, made(replay, "bn1", "mean and variance treated as constants")).findings[0]
    assert "bn1: mean and variance treated as constants" in found.cause


def test_backpropagation_through_time() -> None:
    net, replay = _replay("rows_lstm")
    for key in ("truncated at one step", "forget gate's path missing"):
        assert f"lstm: {key}" in verify(net, made(replay, "lstm", key)).findings[0].cause


def test_a_map_that_was_not_cropped_is_named_though_its_shape_is_wrong(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    mistake = next(m for m in mistakes.of(operator(replay, "conv2")) if m.key == "padding not cropped")
    larger = replay.run({"conv2": (mistake,)}).parts["conv2"][0]
    found = verify(net, {"input": replay.x, "labels": LABELS, "conv2.input_delta": larger})
    assert "conv2: padding not cropped" in found.findings[0].cause
    assert found.checked["verdict"].tolist() == ["another shape"]


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        ({"conv2.delta": np.ones((2, 3, 5, 7))}, ShapeError, "conv2.delta has the shape 2×3×5×7; .* is 2×8×8×8"),
        ({"conv2.delta": np.full((2, 8, 8, 8), np.nan)}, DataError, "conv2.delta holds nan; first at index"),
        ({"conv9.delta": np.zeros(3)}, UnknownName, "no layer named 'conv9'; closest: 'conv"),
        ({"conv2.dleta": np.zeros(3)}, UnknownName, "no array of conv2 goes by that name; expected conv2.activation"),
        ({"relu1.weight.gradient": np.zeros(3)}, UnknownName, "no array of relu1 goes by that name"),
        ({"conv2.delta": np.array(["a"])}, DataError, "not numbers"),
        ({"fc1.weight": np.zeros((3, 3))}, ShapeError, r"fc1.weight has the shape \(3, 3\)"),
        ({"fc1.weight": np.zeros((10, 128))}, UsageError, "there is nothing to verify"),
        ({"fc1.dW": np.zeros((10, 128)), "fc1.weight.gradient": np.zeros((10, 128))}, UsageError, "mean the same array"),
        ({"input": np.zeros((2, 5, 16, 16)), "fc1.delta": np.zeros((2, 10))}, ShapeError, "takes B×3×16×16"),
        ({"labels": np.array([0.5, 1]), "fc1.delta": np.zeros((2, 10))}, DataError, "labels must be whole numbers"),
        ({"labels": np.array([0, 9]), "fc1.delta": np.zeros((2, 10))}, DataError, "there is no class 9"),
        ({"labels": np.full((2, 5), 0.2), "fc1.delta": np.zeros((2, 10))}, DataError, "neither class indices nor one-hot"),
    ],
)
def test_bad_arrays_are_explained(
    plain: tuple[Any, Replay], arrays: dict[str, Any], error: type[ConvscopeError], said: str
) -> None:
    net, replay = plain
    with pytest.raises(error, match=said):
        verify(net, {"input": replay.x, "labels": LABELS} | arrays)


def test_what_is_not_known_is_asked_for(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    with pytest.raises(UsageError, match="the input is not known"):
        verify(net, {"fc1.delta": np.zeros((2, 10))})
    with pytest.raises(UsageError, match=r"the labels are not known; fc1\.delta depends on them"):
        verify(net, {"input": replay.x, "fc1.delta": np.zeros((2, 10))})
    with pytest.raises(UsageError, match="targets of the squared error are not known"):
        verify(net, {"input": replay.x, "fc1.delta": np.zeros((2, 10))}, Problem(loss="mse"))
    with pytest.raises(DataError, match="there is nothing to verify"):
        verify(net, {})


def test_a_layer_with_two_calls_must_be_named_exactly() -> None:
    net, replay = _replay("reused_relu")
    delta = replay.right.deltas["relu"]
    with pytest.raises(UsageError, match=r"relu is called 3 times; its calls are relu:0, relu:1, relu:2; say which"):
        verify(net, {"input": replay.x, "labels": LABELS, "relu.delta": delta})
    assert verify(net, {"input": replay.x, "labels": LABELS, "relu:0.delta": delta}).findings[0].severity == "fine"


def test_squared_error_and_its_forgotten_two() -> None:
    model, x = NETS["plain"]()
    net, wanted = cs.open(model, x), np.random.default_rng(0).normal(size=(2, 5))
    kept = Capture(net, x, Loss("mse", wanted=wanted))
    given = {"input": x, "target": wanted, "fc2.delta": kept.delta("fc2") / 2}
    assert "loss: two forgotten" in verify(net, given, Problem(loss="mse")).findings[0].cause


def test_a_mistake_made_forward_and_backward_alike_is_named_from_gradients_alone(plain: tuple[Any, Replay]) -> None:
    net, replay = plain
    key = "flatten mixed up: rows and columns swapped"
    both = tuple(m for d in ("forward", "backward") for m in mistakes.of(operator(replay, "flatten"), d) if m.key == key)
    assert len(both) == 2
    given = arrays_of(replay, replay.run({"flatten": both}), activations=False)
    some = {k: v for k, v in given.items() if k in ("input", "labels") or k.startswith("conv1")}
    found = verify(net, some).findings
    assert len(found) == 1
    assert f"flatten: {key}" in found[0].cause
    assert "in the forward and in the backward pass alike" in found[0].cause
