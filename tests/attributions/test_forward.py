"""Methods share one forward pass; starting at a layer and starting at the image give the same.

Turns red: in `attributions/_forward.py`, `offer.made = Forward.of(net, x)` -> `return Forward.of(net, x)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from convscope import registry, run
from convscope.attributions import _forward, _layer
from convscope.attributions.gradient import Gradient
from convscope.network import Network
from convscope.run import Target, target
from tests.contracts.leaves import opened
from tests.traces import unchanged

SHARERS = ("cam", "grad-cam", "grad-cam-plus-plus", "layer-cam", "full-grad")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """One entry for each run of a graph, from here on."""
    made: list[Network] = []
    right = run.Runner.__init__

    def counted(self: Any, net: Network, *rest: Any) -> None:
        made.append(net)
        right(self, net, *rest)

    monkeypatch.setattr(run.Runner, "__init__", counted)
    return made


def test_all_methods_of_an_image_ask_one_forward(passes: list[Network]) -> None:
    _, x, net = opened("residual")
    asked = target(net, 1, x)
    passes.clear()
    alone = [registry.load("attributions", name)()(net, x, asked) for name in SHARERS]
    assert len(passes) == len(SHARERS)
    passes.clear()
    with _forward.sharing(net, x):
        together = [registry.load("attributions", name)()(net, x, asked) for name in SHARERS]
        other_target = registry.load("attributions", "grad-cam")()(net, x, target(net, 2, x))
        unit = registry.load("attributions", "grad-cam")()(net, x, target(net, "block1.conv1/3", x))
        assert len(passes) == 1
        slope = Gradient()(net, x, asked)  # its proof runs a copy in float64; its own gradient is there
        assert sum(one is net for one in passes) == 1
    passes.clear()
    for ours, theirs in zip(alone, together, strict=True):
        np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=1e-6 * np.abs(ours.values).max())
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-6)
    np.testing.assert_array_equal(slope.values, Gradient()(net, x, asked).values)
    assert np.abs(other_target.values - together[1].values).max() > 0
    assert unit.scores.shape == (2,)


def test_other_images_do_not_use_it(passes: list[Network]) -> None:
    _, x, net = opened("residual")
    with _forward.sharing(net, x):
        _forward.shared(net, x)
        passes.clear()
        assert _forward.shared(net, x + 1) is None
        assert _forward.shared(net, x[:1]) is None
        assert _forward.shared(opened("concat")[2], x) is None
        assert _forward.shared(net, x.clone()) is _forward.shared(net, x)
        assert passes == []
    assert _forward.shared(net, x) is None


def test_it_is_given_up_when_something_fails() -> None:
    model, x, net = opened("residual")

    def broken_off() -> None:
        with _forward.sharing(net, x):
            assert _forward.shared(net, x) is not None
            raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        broken_off()
    assert _forward.shared(net, x) is None


@pytest.mark.parametrize("address", ["conv1", "bn1", "block1.relu", "block1.add", "block2.relu:1"])
@pytest.mark.parametrize("asked", [1, "head.1/3", "block2.bn2/1@0,4"])
def test_from_the_layer_is_as_from_the_image(address: str, asked: int | str) -> None:
    model, x, net = opened("residual")
    if asked == "block2.bn2/1@0,4" and address == "block2.relu:1":
        pytest.skip("the layer comes after the target")
    wanted = target(net, asked, x)
    with unchanged(model, x):
        short = _layer.maps(net, x, wanted, net[address])
    with _forward.sharing(net, x):
        whole = _layer.maps(net, x, wanted, net[address])
    for one, other in ((short.values, whole.values), (short.slopes, whole.slopes), (short.scores, whole.scores)):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))
    assert bool(short.slopes.any())


def test_nothing_above_the_target_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, net = opened("residual")
    ran: list[str] = []
    right = run.Runner.run_node
    monkeypatch.setattr(run.Runner, "run_node", lambda self, n: ran.append(n.name) or right(self, n))
    _layer.maps(net, x, target(net, "block1.bn1/2", x), net["conv1"])
    assert net["block1.bn1"].node in ran
    assert net["block1.conv2"].node not in ran


def test_the_users_grad_mode_does_not_matter() -> None:
    _, x, net = opened("residual")
    first = _forward.Forward.of(net, x).gradients(Target("1", 1), [])
    assert first == []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), _forward.sharing(net, x):
            ready = _forward.shared(net, x)
            assert ready is not None
            (slope,) = ready.gradients(Target("1", 1), [ready.x])
            assert bool(slope.any())
            constant = torch.ones(3)
            assert not ready.gradients(Target("1", 1), [constant])[0].any()
