"""What every edit in `edits/` keeps, on nets of `tests/nets.py`: the user's network as it was, one that runs, trains and is
opened again, a receipt; or a refusal with its three parts.

Fast tests take the nets in QUICK, slow ones all. Turns red: in `editing/writing.py`, `old.detach().clone()` ->
`old.detach()`: training the edited network then moves the weights of the draft that it came from.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convscope import actions, registry
from convscope.editing import keeping
from convscope.errors import ConvscopeError
from convscope.network import Network
from convscope.results import Receipt
from tests.contracts.leaves import check_description, check_stored_and_drawn, opened, same
from tests.contracts.studies import collection
from tests.nets import NETS
from tests.traces import unchanged

LEAVES = registry.names("edits")
QUICK = ("plain", "residual", "concat", "rows_lstm")
CASES = [pytest.param(leaf, net, id=f"{leaf}-{net}", marks=() if net in QUICK else pytest.mark.slow)
         for leaf in LEAVES for net in NETS]
NEEDS: dict[str, dict[str, Any]] = {"insert": {"after": "?"}, "remove": {"layer": "?"}, "widen": {"layer": "?"},
                                    "invert": {"layer": "?"}, "dense": {"neighbours": True}}  # '?': a layer of the network
each_leaf = pytest.mark.parametrize("leaf", LEAVES)


def asked(leaf: str, net: Network) -> dict[str, Any]:
    """The parameters without which an edit cannot be asked for: of a layer, the first that has weights."""
    first = next((layer.address for layer in net.layers if layer.parameters), net.layers[0].address)
    return {k: first if v == "?" else v for k, v in NEEDS.get(leaf, {}).items()}


@functools.cache
def answer(leaf: str, name: str) -> tuple[Network, Receipt] | ConvscopeError:
    model, x, net = opened(name)
    data = collection(24, *x.shape[2:], x.shape[1]) if x.ndim == 4 else None
    try:
        with unchanged(model, x):
            return actions.edit(net, leaf, data=data, **asked(leaf, net))
    except ConvscopeError as refusal:
        return refusal


def done(leaf: str, name: str) -> tuple[Network, Receipt]:
    found = answer(leaf, name)
    if isinstance(found, ConvscopeError):
        pytest.skip(f"refused: {found}")
    return found


@each_leaf
def test_it_describes_itself(leaf: str) -> None:
    check_description("edits", leaf)


@each_leaf
def test_it_can_edit_something(leaf: str) -> None:
    if leaf == "keyed":
        pytest.skip("it cannot work without a key; its own tests make one")
    assert any(not isinstance(answer(leaf, name), ConvscopeError) for name in QUICK)


@pytest.mark.parametrize(("leaf", "name"), CASES)
def test_it_answers_or_says_why_not(leaf: str, name: str, tmp_path: Path) -> None:
    found = answer(leaf, name)
    if isinstance(found, ConvscopeError):
        assert found.asked
        assert found.found
        assert found.remedy
        return
    net, receipt = found
    assert receipt.changes
    assert all(receipt.changes)
    assert receipt.before.parameters == sum(layer.parameters for layer in opened(name)[2].layers)
    assert receipt.after.parameters == sum(layer.parameters for layer in net.layers)
    assert receipt.drift or receipt.drift_on
    assert receipt.origin.network == opened(name)[2].print
    check_stored_and_drawn(receipt, tmp_path)


@pytest.mark.parametrize(("leaf", "name"), CASES)
def test_the_edited_network_runs_trains_and_is_opened_again(leaf: str, name: str, tmp_path: Path) -> None:
    net, receipt = done(leaf, name)
    x = torch.randn(2, *net.input_shape[1:], generator=torch.Generator().manual_seed(3), dtype=net.dtype)
    before = net.run(x).output
    assert torch.isfinite(before).all()
    assert torch.allclose(torch.cat([net.run(x[i : i + 1]).output for i in range(2)]), before, atol=1e-5)
    reference = keeping.keep(net, receipt, tmp_path / "kept")
    again = actions.open(reference)
    assert torch.equal(again.run(x).output, before)
    assert [layer.address for layer in again.layers] == [layer.address for layer in net.layers]
    assert net.module is not None
    model = copy.deepcopy(net.module).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    loss = model(torch.cat([x, x + 1])).square().mean()
    if trained and loss.requires_grad:
        loss.backward()
        assert any(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)


@each_leaf
def test_the_same_seed_gives_the_same_network(leaf: str) -> None:
    name = next((n for n in QUICK if not isinstance(answer(leaf, n), ConvscopeError)), None)
    if name is None:
        pytest.skip("refused on every quick net")
    first, receipt = done(leaf, name)
    found = answer.__wrapped__(leaf, name)
    assert not isinstance(found, ConvscopeError)
    assert found[0].print == first.print
    assert same(found[1], receipt)


@each_leaf
def test_training_the_edited_network_leaves_the_original_alone(leaf: str) -> None:
    name = next((n for n in QUICK if not isinstance(answer(leaf, n), ConvscopeError)), None)
    if name is None:
        pytest.skip("refused on every quick net")
    model, _, _ = opened(name)
    found = answer.__wrapped__(leaf, name)
    assert not isinstance(found, ConvscopeError)
    edited = found[0].module
    assert isinstance(edited, nn.Module)
    with unchanged(model), torch.no_grad():
        for p in edited.parameters():
            p += 1
    own = {id(p) for p in model.parameters()} | {p.data_ptr() for p in model.parameters()}
    assert not [p for p in edited.parameters() if id(p) in own or (p.numel() and p.data_ptr() in own)]
