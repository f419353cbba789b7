"""A network that reads keyed images: the same answers, to 10⁻⁵, on the digits.

Turns red: in `edits/keyed.py`, `filters.keyed_weight(first, key)` -> `first.weight` · `draft.reads = key` left out ·
`draft.preprocess = None` left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import StoreError, UsageError
from convscope.fit import FitSettings, fit
from convscope.images import PRESETS
from convscope.keys import Key
from convscope.keys.known_pairs import procrustes
from convscope.keys.patches import patch_net
from tests.traces import unchanged


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = patch_net()
    fit(model, cs.open_collection("digits").take(range(600)), None, PRESETS["digits"], FitSettings(epochs=4))
    return model.eval()


@pytest.mark.parametrize(("kind", "block"), [("orthogonal", 4), ("permutation", 2)])
def test_the_round_trip_on_the_digits(trained: nn.Module, kind: str, block: int, tmp_path: Path) -> None:
    """Train plain, key the network, store the digits keyed, read them: the same logits."""
    key = Key.new(kind, block, (1, 8, 8))
    path = key.save(tmp_path / "my.key")
    digits = cs.open_collection("digits")
    x = torch.from_numpy(np.stack([PRESETS["digits"](digits[i]) for i in range(1797)]))
    net = cs.open(trained, x[:1], preprocess="digits")
    with unchanged(trained, x):
        edited, receipt = cs.edit(net, "keyed", key=str(path), data=digits, out=tmp_path / "edited")
    with torch.no_grad():
        expected = trained(x)
    assert (edited(key(x)) - expected).abs().max() <= 1e-5
    assert (edited(x) - expected).abs().max() > 0.1  # plain images say nothing to it
    assert receipt.drift["largest difference"] <= 1e-5
    assert receipt.drift["same highest class"] == 1
    assert receipt.before == receipt.after
    assert receipt.changes == (f"0: 32 filters keyed ({kind}, block {block})",)
    assert (edited.preprocess is None) == (kind == "orthogonal")  # moved pixels are preprocessed like others
    again = cs.open(f"{tmp_path / 'edited' / 'network.py'}:network")
    torch.testing.assert_close(again(key(x[:8])), expected[:8], atol=1e-5, rtol=0)
    for text in [receipt.to_json(), receipt.source, *(str(p.read_bytes()) for p in (tmp_path / "edited").glob("*.py"))]:
        assert ", ".join(map(str, key._secret.ravel()[:8].tolist())) not in text
    scope = {"model": patch_net()}
    scope["model"].load_state_dict(trained.state_dict())
    exec(receipt.code, scope)
    with torch.no_grad():
        assert (scope["model"](key(x)) - expected).abs().max() <= 1e-5


def test_a_shuffle_goes_into_a_dense_layer(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.Tanh(), nn.Linear(16, 4))
    key = Key.new("shuffle", 2, (3, 8, 8))
    path = key.save(tmp_path / "my.key")
    x = torch.rand(5, 3, 8, 8)
    edited, receipt = cs.edit(cs.open(model, x), "keyed", key=str(path))
    torch.testing.assert_close(edited(key(x)), model(x), atol=1e-6, rtol=0)
    assert receipt.drift["largest difference"] < 1e-5


def test_the_receipt_warns_of_the_plain_filters(trained: nn.Module, tmp_path: Path) -> None:
    """It is true, too: plain and keyed filters are pairs, and 32 of 16 numbers give the key."""
    key = Key.new("orthogonal", 4, (1, 8, 8))
    edited, receipt = cs.edit(cs.open(trained, (1, 8, 8)), "keyed", key=str(key.save(tmp_path / "my.key")))
    assert any("32 filters are known pairs for whoever has the plain weights, of 16 numbers in a block" in n
               for n in receipt.notes)
    w = trained[0].weight.detach().double().flatten(1).numpy()
    assert edited.module is not None
    keyed = next(p for p in edited.module.parameters() if p.shape == (32, 1, 4, 4)).detach().double().flatten(1).numpy()
    np.testing.assert_allclose(procrustes(w, keyed), key._secret, atol=1e-5)


def test_refused(trained: nn.Module, tmp_path: Path) -> None:
    net = cs.open(trained, (1, 8, 8))
    with unchanged(trained):
        with pytest.raises(UsageError, match=r"keyed needs a key; no file was named; `convscope key new FILE` makes one"):
            cs.edit(net, "keyed")
        with pytest.raises(StoreError, match=r"cannot read the key nowhere.key"):
            cs.edit(net, "keyed", key="nowhere.key")
        wide = Key.new("orthogonal", 8, (1, 8, 8)).save(tmp_path / "wide.key")
        with pytest.raises(UsageError, match=r"kernel \(4, 4\) is no multiple of the block 8"):
            cs.edit(net, "keyed", key=str(wide))
        wide.chmod(0o644)
        with pytest.raises(StoreError, match=r"is open to others; its mode is 0644"):
            cs.edit(net, "keyed", key=str(wide))
