"""Watching a loop: bit-equal to not watching, the numbers right, each fault of a loop seen and none in a healthy one.

Mutation: in `watching/places.py`, let `put` append the mode (on top of the stack) instead of inserting it: a user's `with`
then pops the eye in its own place, and `test_users_modes_stay_in_their_places` turns red. Or let `_judge_order` call
`left_over` before the gradients are judged clean (drop `not` in `before_backward`): the loop without zero_grad turns it red.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

import convscope as cs
from convscope import store
from convscope.errors import UsageError
from convscope.watch import KerasCallback, LightningCallback
from convscope.watching.samples import moments, sample
from tests.watching.loops import Loop, Net, bits


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


# --- nothing is changed


@pytest.mark.parametrize("how", [{}, {"full": True}, {"every": 3}], ids=["sampled", "full", "every 3"])
def test_training_is_bit_equal(how: dict[str, Any]) -> None:
    bare = Loop(optimizer=adam)
    bare.begin()
    bare.go()
    watched = Loop(optimizer=adam, settings=how)
    watched.watched()
    for a, b in zip(bits(bare), bits(watched), strict=True):
        assert torch.equal(a, b)
    assert [m.training for m in bare.net.modules()] == [m.training for m in watched.net.modules()]


def stop(k: int) -> None:
    if k == 6:
        raise KeyboardInterrupt


@pytest.mark.parametrize("how", [{}, {"full": True}])
def test_an_interrupted_loop_is_kept_and_nothing_is_left(how: dict[str, Any]) -> None:
    loop = Loop(optimizer=adam, settings=how, seen=stop)
    model, optimizer = loop.begin()
    with pytest.raises(KeyboardInterrupt), cs.watch(model, optimizer, **how) as run:
        loop.go()
    bare = Loop(optimizer=adam, seen=stop)
    bare.begin()
    with pytest.raises(KeyboardInterrupt):
        bare.go()
    assert all(torch.equal(a, b) for a, b in zip(bits(bare), bits(loop), strict=True))
    assert run.result().loop["steps"] == 7
    assert not _get_current_function_mode_stack()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())


class Counting(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_users_modes_stay_in_their_places() -> None:
    loop = Loop(settings={"every": 2})
    model, optimizer = loop.begin()
    own, x = Counting(), torch.randn(8, 1, 8, 8)
    with cs.watch(model, optimizer, every=3) as run, torch.device("cpu"):
        for _ in range(9):
            with own:
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
                before = own.calls
                torch.ones(1)
                assert own.calls > before
                assert own in _get_current_function_mode_stack()
            assert own not in _get_current_function_mode_stack()
    assert not _get_current_function_mode_stack()
    assert run.result().loop["left_over"] == 0


# --- the numbers


class Known(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x))


def test_one_step_by_hand() -> None:
    model = Known()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with cs.watch(model, optimizer) as run:
        optimizer.zero_grad()
        model(torch.tensor([[3.0, 1.0], [1.0, 1.0]])).sum().backward()  # relu: (3, 0) and (1, 0); ∂L/∂W = [[4, 2], [0, 0]]
        optimizer.step()
    found = run.result()
    assert found.layers == ("fc", "fc>relu")
    fc, relu = 0, 1
    assert found.steps["loss"].tolist() == [4]
    assert found.steps["grad_norm"] == pytest.approx([math.sqrt(20)])
    h = {k: v[:, 0] for k, v in found.health.items() if k != "step"}
    assert h["activation_mean"].tolist() == [0, 1]
    assert h["activation_std"][fc] == pytest.approx(math.sqrt(5))
    assert (h["zeros"][relu], h["dead"][relu]) == (0.5, 0.5)
    assert math.isnan(h["dead"][fc])
    assert h["gradient_std"].tolist() == [0.5, 0]  # at fc: 1 0 1 0
    assert h["weight_norm"][fc] == pytest.approx(math.sqrt(2))
    assert h["weight_gradient_norm"][fc] == pytest.approx(math.sqrt(20))
    assert h["update_ratio"][fc] == pytest.approx(0.5 * math.sqrt(20) / math.sqrt(2))
    assert found.loop["sign"] == pytest.approx(-1)


def test_saturation_of_sigmoid_and_tanh() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Sigmoid())
    with torch.no_grad():
        model[0].weight.fill_(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with cs.watch(model, optimizer) as run:
        torch.tanh(10 * model(torch.tensor([[-9.0], [0.0], [9.0], [0.1]]))).sum().backward()
        optimizer.step()
    found = run.result()
    assert found.layers == ("0", "0>sigmoid", "0>sigmoid>tanh")
    assert found.health["saturated"][1:, 0].tolist() == [0.5, 0.75]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([0, 1, -1]), st.integers(16, 60))
def test_a_sample_is_of_the_tensor_and_small_tensors_are_whole(shape: list[int], axis: int, most: int) -> None:
    tensor = torch.arange(math.prod(shape)).reshape(shape).float() + 1
    taken = sample(tensor, most, axis)
    assert taken.unique().numel() == taken.numel()
    assert set(taken.flatten().tolist()) <= set(tensor.flatten().tolist())
    assert taken.numel() <= 2 ** len(shape) * most
    if math.prod(shape) <= 1 or (len(shape) == 1 and shape[0] <= most):
        assert taken.numel() == tensor.numel()
    if len(shape) > 1:  # each row is of one unit
        unit = tensor.movedim(axis % len(shape), 0).flatten(1)
        for row in taken.flatten(1) if taken.ndim > 1 else taken[:, None]:
            assert any(set(row.tolist()) <= set(u.tolist()) for u in unit)


def test_moments_are_numpys() -> None:
    parts = [torch.randn(3, 7), F.relu(torch.randn(2, 4, 5)) * torch.tensor([0.0, 1.0])[:, None, None]]
    found = moments(parts)
    for j, part in enumerate(parts):
        x = part.double().numpy()
        assert found["mean"][j] == pytest.approx(x.mean())
        assert found["std"][j] == pytest.approx(x.std())
        assert found["zeros"][j] == pytest.approx((x == 0).mean())
    assert found["dead"].tolist() == [0, 0.5]


def test_a_layer_used_twice_is_two_layers_and_weight_norm_keeps_its_name() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            x = x @ torch.eye(4)
            return self.fc(torch.relu(self.fc(x)).tanh()) * self.scale

    model = Twice()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with cs.watch(model, optimizer) as run:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
    assert run.result().layers == ("fc", "fc>relu", "fc>relu>tanh", "fc:1", "scale")
    assert run.result().loop["forwards"] == 2


# --- the loop

NONE = ["left_over", "step_before_backward", "cleared_before_step", "steps_without_change", "foreign", "mode_eval",
        "loss_detached", "mode_mixed", "no_grad_train_mode", "forwards_unused", "norm_updates_extra", "rate_changes",
        "clipped", "half"]
CLEAN: dict[str, Any] = {
    **dict.fromkeys(NONE, 0), "unowned": [], "frozen": [], "no_gradient": [], "softmax_dims": [], "never_stepped": False,
    "detached": {}, "first_nonfinite": None, "output_argmax_dims": [1]}


def test_a_healthy_loop_shows_no_fault() -> None:
    found = Loop().watched().loop
    assert {k: found[k] for k in CLEAN} == CLEAN
    assert (found["steps"], found["backwards"], found["forwards"], found["forwards_no_grad"]) == (12, 12, 18, 6)
    assert found["zero_grads"] == 11  # before the first step there is nothing to clear
    assert found["mode_train"] == 12
    assert found["backwards_per_step"] == 1
    assert found["sign"] == pytest.approx(-1)
    assert found["batch_sizes"] == [8]
    assert found["after_output"] == ["cross_entropy"]
    assert found["has_modes"]


@pytest.mark.parametrize("order", ["forward zero backward step", "forward backward step zero", "zero forward backward step"])
@pytest.mark.parametrize("none", [True, False])
def test_every_sound_order_is_sound(order: str, none: bool) -> None:
    loop = Loop(order=order)
    model, optimizer = loop.begin()
    clear = optimizer.zero_grad
    with cs.watch(model, optimizer, full=True) as run:
        optimizer.zero_grad = lambda: clear(set_to_none=none)
        loop.go()
    found = run.result().loop
    assert {k: found[k] for k in CLEAN} == CLEAN


def frozen() -> Net:
    net = Net()
    for p in net.parameters():
        p.requires_grad_(False)
    net.fc2.bias.requires_grad_(True)
    return net


def test_no_zero_grad() -> None:
    found = Loop(order="forward backward step").watched().loop
    assert (found["left_over"], found["zero_grads"]) == (11, 0)


def test_no_step() -> None:
    found = Loop(order="zero forward backward").watched().loop
    assert found["never_stepped"]
    assert found["backwards"] == 12


def test_step_before_backward() -> None:
    found = Loop(order="zero forward step backward").watched().loop
    assert found["step_before_backward"] == 12
    assert found["steps_without_change"] == 12
    assert Loop(order="forward step").watched().loop["step_before_backward"] == 12


def test_cleared_between_backward_and_step() -> None:
    found = Loop(order="forward backward zero step").watched().loop
    assert found["cleared_before_step"] == 12
    assert found["step_before_backward"] == 0


def test_not_in_the_optimizer() -> None:
    def old_head(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.fc2 = nn.Linear(16, 10)
        return optimizer

    found = Loop(optimizer=old_head).watched().loop
    assert (found["unowned"], found["foreign"]) == (["fc2.weight", "fc2.bias"], 2)
    part = Loop(optimizer=lambda m: torch.optim.SGD(m.fc1.parameters(), lr=0.1)).watched().loop
    assert "conv.weight" in part["unowned"]
    assert part["foreign"] == 0


def test_frozen_layers() -> None:
    found = Loop(model=frozen, optimizer=lambda m: torch.optim.SGD(m.parameters(), lr=0.1)).watched().loop
    assert found["frozen"] == [f"{k}.{w}" for k in ("conv", "norm", "fc1", "fc2") for w in ("weight", "bias")][:-1]


@pytest.mark.parametrize("cut", ["detach", "data", "numpy"])
def test_a_cut_between_layers(cut: str) -> None:
    found = Loop(model=lambda: Net(cut)).watched().loop
    assert found["detached"] == {"fc1>relu": 12}
    assert found["no_gradient"] == ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc1.weight", "fc1.bias"]


@pytest.mark.parametrize("loss", [
    lambda out, y: F.cross_entropy(out.detach(), y).requires_grad_(),
    lambda out, y: torch.tensor(F.cross_entropy(out, y).item(), requires_grad=True)])
def test_a_loss_that_is_cut_off(loss: Any) -> None:
    found = Loop(loss=loss).watched().loop
    assert found["loss_detached"] == 12
    assert found["steps_without_change"] == 12
    assert len(found["no_gradient"]) == 8


def test_a_forward_pass_without_gradients() -> None:
    found = Loop(grad=False).watched().loop
    assert found["loss_detached"] == 12
    assert found["forwards_no_grad"] == 18
    assert found["mode_train"] == 0


def test_a_scheduler_for_each_batch() -> None:
    found = Loop(scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5)).watched().loop
    assert found["rate_changes"] == 11
    assert found["rate_last"] == pytest.approx(0.05 * 0.5**11)
    assert found["rate_by_step"][:2] == [0.05, 0.025]


def test_clipping_that_always_bites() -> None:
    found = Loop(clip=1e-6, settings={"full": True, "max_samples": 4096}).watched().loop
    assert found["clipped"] == 1
    assert found["clip_factor"] * found["gradient_norm_before"] == pytest.approx(1e-6, rel=0.01)


def test_half_precision_underflow() -> None:
    found = Loop(dtype=torch.float16, loss=lambda out, y: F.cross_entropy(out.float(), y) * 1e-7).watched().loop
    assert found["half"] > 0.9
    assert found["underflow"] > 0.9
    assert math.isnan(Loop().watched().loop["underflow"])


def test_modes() -> None:
    never = Loop(mode=False).watched().loop
    assert (never["mode_eval"], never["mode_train"]) == (12, 0)
    for how in ({"full": True}, {}):  # sampled: batch norm's own counter tells
        validated = Loop(validate="no_grad", steps=24, settings=how).watched().loop
        assert validated["norm_updates_extra"] == 15
    assert Loop(validate="no_grad").watched().loop["no_grad_train_mode"] == 6
    graph = Loop(validate="").watched().loop
    assert (graph["forwards_unused"], graph["unused_train_mode"], graph["mode_train"]) == (6, 6, 12)


def test_axes_of_softmax_and_argmax() -> None:
    found = Loop(loss=lambda out, y: F.nll_loss(F.softmax(out, dim=0).log(), y), axis=0).watched().loop
    assert found["output_argmax_dims"] == [0]
    assert found["softmax_dims"] == [{"function": "softmax", "dim": 0, "ndim": 2, "calls": 12, "over_batch": True}]
    assert found["after_output"] == ["softmax", "log", "nll_loss"]


def test_where_a_number_first_was_none() -> None:
    def spoil(k: int) -> None:
        if k == 4:
            with torch.no_grad():
                loop.net.fc1.weight[0, 0] = math.inf

    loop = Loop(seen=spoil)
    found = loop.watched().loop
    assert found["first_nonfinite"] == {"step": 5, "layer": "fc1", "what": "activation"}
    assert found["loss_nonfinite_step"] == 5
    assert not math.isfinite(found["loss_last"])


def test_climbing_is_seen() -> None:
    def climb(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)

    assert Loop(optimizer=climb).watched().loop["sign"] == pytest.approx(1)


# --- other loops


def test_accumulated_gradients_are_sound() -> None:
    loop = Loop(order="zero forward backward forward backward step", validate="eval no_grad")
    found = loop.watched().loop
    assert {k: found[k] for k in CLEAN} == CLEAN
    assert found["backwards_per_step"] == 2


def test_a_gradient_scaler_is_taken_out() -> None:
    plain = Loop(steps=3)
    bare = plain.watched()
    loop = Loop(steps=3)
    model, optimizer = loop.begin()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    with cs.watch(model, optimizer, full=True) as run:
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    found = run.result()
    assert found.steps["loss"] == pytest.approx(bare.steps["loss"], rel=0.1)
    assert found.health["gradient_std"][0, 0] == pytest.approx(bare.health["gradient_std"][0, 0], rel=0.3)
    assert found.loop["half"] > 0.1
    assert found.loop["clipped"] == 0
    assert found.loop["left_over"] == 0


def test_closures_are_seen() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 1), torch.randn(8, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (model(x) - 1).square().mean()
        loss.backward()
        return loss

    with cs.watch(model, optimizer) as run:
        for _ in range(2):
            optimizer.step(closure)
    found = run.result().loop
    assert found["backwards"] >= 4
    assert (found["step_before_backward"], found["left_over"], found["steps_without_change"]) == (0, 0, 0)


def test_two_optimisers_that_take_turns() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"g": nn.Linear(2, 2), "d": nn.Linear(2, 1)})
    g, d = (torch.optim.SGD(model[k].parameters(), lr=0.1) for k in "gd")
    with cs.watch(model, [g, d], full=True) as run:
        for _ in range(4):
            z = torch.randn(4, 2)
            d.zero_grad()
            (model["d"](torch.randn(4, 2)) - model["d"](model["g"](z).detach())).mean().backward()
            d.step()
            g.zero_grad()
            model["d"](model["g"](z)).mean().backward()
            g.step()
    found = run.result().loop
    assert (found["left_over"], found["steps"], found["unowned"], found["foreign"]) == (0, 8, [], 0)
    assert found["step_before_backward"] == 0


def test_a_compiled_part_is_said() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.compile(backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with cs.watch(model, optimizer) as run:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    found = run.result()
    assert any("compiled or scripted" in note for note in found.notes)
    assert found.loop["steps"] == 3
    assert np.isfinite(found.steps["grad_norm"]).all()


def test_an_epoch_is_told_or_seen(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.DataLoader([(torch.randn(4), k % 2) for k in range(12)], batch_size=4, shuffle=True)
    for told in (True, False):
        with cs.watch(model, optimizer, full=True) as run:
            for epoch in range(3):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                if told:
                    run.note(held_out_loss=epoch)
                    run.epoch()
        found = run.result()
        assert found.loop["steps_per_epoch"] == 3
        assert found.epochs["loss"] == pytest.approx(found.steps["loss"].reshape(3, 3).mean(1))
        assert found.steps["epoch"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        if told:
            assert found.epochs["held_out_loss"].tolist() == [0, 1, 2]
    path = run.save(tmp_path / "run.npz")
    again = store.read(path)
    assert again.layers == found.layers
    assert again.loop["steps_per_epoch"] == 3
    assert again.loop["detached"] == {}
    np.testing.assert_array_equal(again.health["gradient_std"], found.health["gradient_std"])


def test_a_lightning_trainer_is_watched() -> None:
    """A stub that asks for the moments by name, as Lightning's trainer does."""
    model, optimizer = Loop().begin()
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    callback = LightningCallback(full=True)
    trainer = SimpleNamespace(optimizers=[optimizer], callback_metrics={"val_loss": torch.tensor(2.0)})
    callback.setup(trainer, model, "fit")
    callback.on_train_start(trainer, model)
    for _ in range(2):
        for k in range(3):
            callback.on_train_batch_start(trainer, model, None, k)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        callback.on_train_epoch_end(trainer, model)
    callback.on_exception(trainer, model, KeyboardInterrupt())
    assert callback.run is not None
    found = callback.run.result()
    assert (found.loop["steps"], found.loop["steps_per_epoch"], found.loop["left_over"]) == (6, 3, 0)
    assert found.epochs["held_out_loss"].tolist() == [2, 2]
    assert callback.state_dict() == {}
    assert not _get_current_function_mode_stack()


KERAS = """
import os, sys
os.environ['KERAS_BACKEND'] = 'torch'
import keras, numpy as np, torch
from convscope.watch import KerasCallback
def train(callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation='relu', name='hidden'),
                              keras.layers.Dropout(0.2), keras.layers.Dense(3, name='head')])
    model.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
    x, y = np.random.default_rng(0).normal(size=(32, 6)), np.arange(32) % 3
    model.fit(x, y, batch_size=8, epochs=3, validation_data=(x, y), verbose=0, callbacks=callbacks)
    return model
callback = KerasCallback(full=True)
watched, bare = train([callback]), train([])
assert all(np.array_equal(a, b) for a, b in zip(watched.get_weights(), bare.get_weights()))
run = callback.run.result()
import importlib.util
import json
told = [run.layers, run.loop, sorted(run.epochs), run.health['update_ratio'][0].tolist(), run.steps['loss'].tolist()]
print(json.dumps(told))
"""


@pytest.mark.slow
def test_keras_on_torch_is_watched() -> None:
    if importlib.util.find_spec("keras") is None:  # importing it here would choose its backend
        pytest.skip("keras is not installed")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KERAS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    layers, loop, epochs, ratios, losses = json.loads(done.stdout.strip().splitlines()[-1])
    assert loop["steps"] == 12
    assert loop["backwards"] == 12
    assert (loop["left_over"], loop["step_before_backward"], loop["steps_without_change"]) == (0, 0, 0)
    assert loop["steps_per_epoch"] == 4
    assert (loop["unowned"], loop["no_gradient"]) == ([], [])
    assert "held_out_accuracy" in epochs
    assert len([name for name in layers if ">relu" in name]) == 1
    assert all(0 < r < 1 for r in ratios)
    assert all(0 < loss < 5 for loss in losses)


def test_keras_needs_its_torch_backend() -> None:
    with pytest.raises(UsageError, match="the watch sees Keras models on the torch backend; got object"):
        KerasCallback().set_model(object())


def test_fit_is_watched_and_goes_on_from_a_checkpoint(tmp_path: Any) -> None:
    settings = {"images": "digits", "held_out": 0.8, "batch_size": 64}
    _, bare = cs.fit("zoo:lenet5", epochs=2, **settings)
    cs.fit("zoo:lenet5", epochs=2, out=tmp_path, watch=True, **settings)
    _, run = cs.fit("zoo:lenet5", epochs=2, watch=True, **settings)
    np.testing.assert_array_equal(run.steps["loss"], bare.steps["loss"])
    assert len(run.layers) == len(run.health["update_ratio"]) > 5
    assert run.health["step"].tolist()[:4] == [0, 1, 2, 3]
    assert np.isfinite(run.steps["grad_norm"][:4]).all()
    assert run.loop["steps"] == len(run.steps["loss"])
    with pytest.raises(UsageError, match="the NumPy engine cannot be watched"):
        cs.fit("zoo:lenet5", epochs=1, watch=True, engine="numpy", **settings)


@pytest.mark.parametrize(("asked", "says"), [
    (lambda: cs.watch(3), "watch needs the model that is trained; got int"),
    (lambda: cs.watch(nn.Linear(1, 1), "adam"), "watch needs the optimiser that takes the steps; got str"),
    (lambda: cs.watch(nn.Linear(1, 1), None, every=0), "every must be at least 1")])
def test_errors_teach(asked: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked()
