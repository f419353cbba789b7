"""What every method in `attributions/` keeps, on every net of `tests/nets.py`.

Turns red: in `attributions/_map.py`, `part.detach().clone()` -> `part.detach()` (a user's inference mode).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope import registry
from convscope.errors import DataError, ShapeError, UsageError
from convscope.images import PRESETS
from convscope.network import Network, print_of
from convscope.results import Heatmap
from convscope.run import Target, target
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.nets import NETS, K
from tests.traces import unchanged

LEAVES = registry.names("attributions")
each_leaf = pytest.mark.parametrize("leaf", LEAVES)
each_net = pytest.mark.parametrize("name", NETS)


def ask(leaf: str, net: Network, x: torch.Tensor, asked: Target | None = None) -> Heatmap:
    """The map; or the end of the test, where the method says with its reason that it does not apply to this network."""
    try:
        return registry.load("attributions", leaf)()(net, x, asked or target(net, 1, x))
    except UsageError as refusal:
        if "does not apply" not in refusal.asked or not (refusal.found and refusal.remedy):
            raise
        pytest.skip(str(refusal))


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("attributions", leaf)


@each_leaf
@each_net
def test_shapes_scores_and_origin(leaf: str, name: str) -> None:
    model, x, net = opened(name)
    found = ask(leaf, net, x)
    assert found.values.shape in {tuple(x.shape), (len(x), 1, *x.shape[2:])}
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() > 0 or any("is zero everywhere" in note for note in found.notes)
    assert found.images.shape == (len(x), *x.shape[2:], 3)
    assert found.images.dtype == np.uint8
    assert found.targets == ("1",) * len(x)
    # 1e-5: a score may come from the fast copy of the network, which rounds otherwise.
    np.testing.assert_allclose(found.scores, model(x)[:, 1].detach(), rtol=1e-4, atol=1e-5)
    assert found.proof
    assert found.unit
    assert found.origin.method == repr(registry.load("attributions", leaf)())
    assert found.origin.network == net.print
    assert found.origin.input == print_of(x)


@each_leaf
@each_net
def test_same_bits_twice_and_no_trace(leaf: str, name: str) -> None:
    model, x, net = opened(name)
    first = ask(leaf, net, x)
    with unchanged(model, x):
        assert same(ask(leaf, net, x), first)


@each_leaf
@each_net
def test_a_batch_gives_what_singles_give(leaf: str, name: str) -> None:
    """To 1e-5 of the largest value: convolutions choose their algorithm, and with it the rounding, by the batch size."""
    _, x, net = opened(name)
    together = ask(leaf, net, x)
    for b in range(len(x)):
        alone = ask(leaf, net, x[b : b + 1])
        np.testing.assert_allclose(alone.values[0], together.values[b], rtol=0, atol=1e-5 * np.abs(together.values[b]).max())
        np.testing.assert_allclose(alone.scores[0], together.scores[b], rtol=1e-5, atol=1e-6)


@each_leaf
def test_no_trace_when_it_fails(leaf: str) -> None:
    model, x, net = opened("residual")
    with unchanged(model, x), pytest.raises(IndexError):
        ask(leaf, net, x, Target("none", 10**6))
    broken = x.clone()
    broken[1, 0, 2, 2] = torch.nan
    with unchanged(model, broken), pytest.raises(DataError, match="an image with NaN or infinite values; image 1 of"):
        ask(leaf, net, broken)
    with unchanged(model, x), pytest.raises(ShapeError):
        ask(leaf, net, x[:, :1])


@each_leaf
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_users_grad_mode_does_not_matter(leaf: str, mode: type[contextlib.ContextDecorator]) -> None:
    model, x, net = opened("in_place")
    first = ask(leaf, net, x)
    leaf_of_graph = x.clone().requires_grad_()
    with mode(), unchanged(model, leaf_of_graph):  # type: ignore[attr-defined]
        assert same(ask(leaf, net, leaf_of_graph), first)
        assert ask(leaf, net, x + 0).values.tobytes() == first.values.tobytes()


@each_leaf
def test_units_can_be_asked_about(leaf: str) -> None:
    model, x, net = opened("residual")
    with unchanged(model, x):
        found = ask(leaf, net, x, target(net, "conv1/2@3,4", x))
    assert found.targets[0] == "conv1/2@3,4"
    rows, columns = np.nonzero(np.abs(found.map[0]))
    if leaf == "gradient":  # a position of the first convolution sees 3×3 pixels
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 3, 5)


@each_leaf
def test_another_input_size(leaf: str) -> None:
    _, _, net = opened("residual")
    x = torch.linspace(-1, 1, 3 * 18 * 20).reshape(1, 3, 18, 20)
    assert ask(leaf, net, x).map.shape == (1, 18, 20)


@each_leaf
def test_images_are_what_the_network_saw(leaf: str) -> None:
    model, x, _ = opened("plain")
    net = Network.open(model, x, preprocess=PRESETS["signed"])
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    found = ask(leaf, net, torch.from_numpy(PRESETS["signed"](pixels))[None])
    assert np.array_equal(found.images[0], pixels)
    assert not any("preprocessing" in note for note in found.notes)
    assert any("drawn with" in note for note in ask(leaf, opened("plain")[2], x).notes)


@each_leaf
@pytest.mark.parametrize("name", ["plain", "grey", "non_square"])
def test_stored_and_drawn(leaf: str, name: str, tmp_path: Path) -> None:
    _, x, net = opened(name)
    check_stored_and_drawn(ask(leaf, net, x), tmp_path)


@each_leaf
def test_it_applies_somewhere(leaf: str) -> None:
    """A refusal ends a test of the contract early: so every leaf must answer for one of these."""
    for name in ("residual", "plain"):
        with contextlib.suppress(pytest.skip.Exception):
            ask(leaf, opened(name)[2], opened(name)[1])
            return
    pytest.fail(f"{leaf} refuses both")


def test_every_class_has_a_map() -> None:
    _, x, net = opened("plain")
    maps = [ask("gradient", net, x[:1], target(net, k, x)).values.tobytes() for k in range(K)]
    assert len(set(maps)) == K
