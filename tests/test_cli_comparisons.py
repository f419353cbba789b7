"""The sentence `compare` and its command: checkpoints of one network, files in order, one export for all.

Turns red: in `actions/comparisons.py`, `key=_natural` left out · `_at={}` left out · `parameter_names.get(key) in state`
-> `in {}`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import convscope as cs
from convscope import actions
from convscope.actions.comparisons import weight_files, with_weights
from convscope.cli import main
from convscope.errors import OpeningError, UsageError
from convscope.network import Network
from tests.traces import unchanged


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights kept while a small network was trained."""
    out = tmp_path_factory.mktemp("run")
    actions.fit("zoo:digits", "digits", out=out, epochs=2, batch_size=512, keep_every=1)
    return out / "kept"


def test_training_then_comparing(kept: Path) -> None:
    assert [p.name for p in weight_files(kept)] == [f"epoch-000{k}.safetensors" for k in (0, 1, 2)]
    found = cs.compare("zoo:digits", "conv1", "filmstrip", checkpoints=kept, most=2)
    assert found.columns == 3
    assert [u.split()[1] for u in found.units[:3]] == ["epoch-0000", "epoch-0001", "epoch-0002"]
    assert (found.values["change"].reshape(2, 3)[:, 1:] > 0).all()
    table = cs.compare("zoo:digits", checkpoints=weight_files(kept)[::2])
    from safetensors.torch import load_file

    first, last = (load_file(kept / f"epoch-000{k}.safetensors")["conv2.weight"] for k in (0, 2))
    row = [*zip(table.columns["layer"], table.columns["tensor"], strict=True)].index(("conv2", "weight"))
    assert table.columns["relative"][row] == pytest.approx(float((last - first).norm() / first.norm()), rel=1e-5)


def test_a_network_with_other_weights_is_that_network(kept: Path) -> None:
    net = cs.open("zoo:digits")
    for other, path in zip(with_weights(net, weight_files(kept)), weight_files(kept), strict=True):
        whole = cs.open("zoo:digits", weights=path)
        x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        assert torch.equal(other(x), whole(x))
        assert other.print == whole.print
        assert other.notes == whole.notes
        assert other.name == path.stem
        wide = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        assert torch.equal(other(wide), whole(wide))


def test_the_users_own_modules_stay_as_they_are(kept: Path) -> None:
    from convscope.zoo.digits import digits

    module = digits()
    with unchanged(module):
        found = cs.compare(cs.open(module, (1, 8, 8)), "conv1", "distance", checkpoints=kept)
    assert found.title == "2 networks against epoch-0000"
    with pytest.raises(UsageError, match="needs at least two networks"), unchanged(module):
        cs.compare(cs.open(module, (1, 8, 8)))


def test_two_networks_shown_the_same_images(kept: Path) -> None:
    digits = cs.open_collection("digits").take(range(40))
    two = [cs.open("zoo:digits"), cs.open("zoo:lenet5")]
    found = cs.compare(two, "conv1", "cka", images=digits)
    assert found.columns["layer of digits"].tolist() == ["conv1"]
    assert sum("preprocessing not given; assumed: L; " in note for note in found.notes) == 2  # 8×8 and 28×28


def test_files_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("step-10.pt", "step-9.pt", "notes.txt", ".hidden.pt", "step-100.pt"):
        (tmp_path / name).touch()
    assert [p.name for p in weight_files(tmp_path)] == ["step-9.pt", "step-10.pt", "step-100.pt"]
    chosen = [tmp_path / "step-10.pt", tmp_path / "step-9.pt"]
    assert weight_files(chosen) == chosen
    (tmp_path / "empty").mkdir()
    with pytest.raises(OpeningError, match=r"no weights in .*empty; no file ends in \.safetensors, .*; `convscope fit …"):
        weight_files(tmp_path / "empty")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    model = nn.Conv2d(1, 2, 3)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.save(model.state_dict(), tmp_path / name / "weights.pt")
    net = Network.open(model, (1, 6, 6))
    files = [tmp_path / name / "weights.pt" for name in ("a", "b")]
    assert [one.name for one in with_weights(net, files)] == ["a-weights", "b-weights"]


def test_refusals(kept: Path) -> None:
    with pytest.raises(UsageError, match="no network was given; the list is empty; give a network and checkpoints, or two"):
        cs.compare([])
    with pytest.raises(UsageError, match="filmstrip has no parameter 'images_most'"):
        cs.compare("zoo:digits", "conv1", "filmstrip", checkpoints=kept, images_most=3)
    with pytest.raises(OpeningError, match="do not fit"):
        cs.compare("zoo:lenet5", checkpoints=kept)
    import dataclasses

    bare = dataclasses.replace(cs.open("zoo:digits"), module=None)
    with pytest.raises(UsageError, match="digits cannot take other weights; it was opened without a module; open it from"):
        cs.compare(bare, checkpoints=kept)


def test_the_command(kept: Path, tmp_path: Path) -> None:
    words = ["compare", "zoo:digits", "--checkpoint", str(kept), "--json"]
    words += ["--layer", "conv1", "--method", "filmstrip"]
    strip = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "strip.png")])
    assert strip.exit_code == 0, strip.output
    assert json.loads(strip.stdout)["columns"] == 3
    assert (tmp_path / "strip.png").stat().st_size > 10_000
    one, two = (str(kept / f"epoch-000{k}.safetensors") for k in (0, 2))
    both = ["compare", "zoo:digits", "--checkpoint", one, "--checkpoint", two, "--json"]
    table = CliRunner().invoke(main, both)
    assert json.loads(table.stdout)["title"] == "epoch-0002 against epoch-0000"
    images = ["--images", "digits", "--most", "30"]
    match = CliRunner().invoke(main, [*both, "--method", "matched-units", "--layer", "conv1", *images])
    assert match.exit_code == 0, match.output
    assert len(json.loads(match.stdout)["columns"]["match"]) == 16
    refused = CliRunner().invoke(main, [*both, "--method", "cka"])
    assert refused.exit_code == 2
    assert "CKA needs images" in refused.stderr
    alone = CliRunner().invoke(main, ["compare", "zoo:digits"])
    assert alone.exit_code == 2
    assert "give a second network, or checkpoints of one: --checkpoint FILE" in alone.stderr
    strange = CliRunner().invoke(main, [*both, "--estimator", "biased"])
    assert "distance has no option --estimator; it has --statistics" in strange.stderr


def test_weights_are_the_first_networks(kept: Path) -> None:
    one = str(kept / "epoch-0002.safetensors")
    told = CliRunner().invoke(main, ["compare", "zoo:digits", "zoo:digits", "--weights", one, "--layer", "conv1", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["title"] == "digits#2 against digits#1"
    assert np.array(found["columns"]["relative"], float)[0] > 0
