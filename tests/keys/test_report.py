"""The whole report: the weak key falls, the notes say the plain words, and the secret is nowhere in it.

Turns red: in `keys/report.py`, `known.own[:0]` -> `known.own` · `gift_keyed[:count]` -> `gift[:count]` · `PLAIN_WORDS` left
out of the notes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convscope import draw, store
from convscope.data import open_collection
from convscope.errors import DataError
from convscope.fit import FitSettings
from convscope.images import PRESETS
from convscope.keys import report
from convscope.keys.accuracy import accuracies
from convscope.keys.inverter import Effort
from convscope.keys.key import KINDS, Key
from convscope.keys.known import EXACT
from convscope.keys.one_way import inverted_features
from convscope.keys.patches import overlap_net, patch_net
from convscope.keys.report import PLAIN_WORDS, Report, attack_report
from convscope.network import Network
from convscope.results import Table
from tests.traces import unchanged


def rows(table: Table, name: str) -> list[float]:
    return [float(p) for n, p in zip(table.columns["attack"], table.columns["psnr"], strict=True) if n.startswith(name)]


@pytest.fixture(scope="module")
def reports() -> dict[str, tuple[Key, Report]]:
    digits = open_collection("digits").take(range(240))
    keys = {kind: Key.new(kind, 2 if kind == "shuffle" else 4, (1, 8, 8), 4) for kind in KINDS}
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(report, "LEAKED", 2)
        fewer.setattr(report, "SHOWN", 2)
        return {kind: (key, attack_report(key, digits, effort=Effort(60))) for kind, key in keys.items()}


def test_a_weak_key_falls(reports: dict[str, tuple[Key, Report]]) -> None:
    """The positive control: permutation by statistics and one pair, all kinds by a few pairs."""
    weak = reports["permutation"][1].table
    assert rows(weak, "statistics")[1] == EXACT
    assert rows(weak, "statistics")[0] < 20  # what the attacker was not given was not used
    assert rows(weak, "known pairs")[1:] == [EXACT] * 3
    assert rows(weak, "known pairs")[0] > 20  # one image with pixels alike in both its blocks
    for kind, (_, found) in reports.items():
        nothing, mean = rows(found.table, "nothing")[0], rows(found.table, "the mean image")[0]
        assert rows(found.table, "known pairs")[-1] == EXACT
        assert rows(found.table, "learned inverse")[0] > max(nothing, mean), kind
        assert rows(found.table, "gradient leakage")[0] > 60
        assert nothing < 12
        assert found.table.columns["exact"][-1] == 1


def test_it_says_what_it_is(reports: dict[str, tuple[Key, Report]]) -> None:
    for kind, (_, found) in reports.items():
        assert PLAIN_WORDS in found.table.notes
        assert PLAIN_WORDS in found.picture.notes
        assert "obfuscation and no proof of secrecy" in PLAIN_WORDS
        others = next(n for n in found.table.notes if n.startswith(f"not for keys of the kind {kind}: "))
        assert ("jigsaw" in others) == (kind != "shuffle")
        assert "judged on 60 images that the attacker never saw plain" in " ".join(found.table.notes)
        assert found.picture.columns == 2
        assert len(found.picture.units) == len(found.picture.tiles)
        assert len(found.picture.tiles) % 2 == 0


def test_no_secret_is_in_what_is_kept(reports: dict[str, tuple[Key, Report]], tmp_path: Path) -> None:
    for key, found in reports.values():
        for result in (found.table, found.picture):
            text = result.to_json() + draw.text(result) + draw.html(result)
            assert ", ".join(map(str, key._secret.ravel()[:6].tolist())) not in text
            assert key._salt.hex() not in text
            kept = store.write(result, tmp_path / "kept.npz")
            assert store.read(kept).origin.method == f"attack report on {key!r}"


def test_progress_goes_on_and_may_stop() -> None:
    told: list[tuple[int, int]] = []
    images = open_collection("digits").take(range(40))
    attack_report(Key.new("shuffle", 4, (1, 8, 8), 0), images, effort=Effort(5),
                  progress=lambda done, total, text: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack_report(Key.new("shuffle", 4, (1, 8, 8), 0), images, progress=stop)
    with pytest.raises(DataError, match=r"an attack report compares images; 7 could be used; give eight at least"):
        attack_report(Key.new("shuffle", 4, (1, 8, 8), 0), images.take(range(7)))


def test_accuracy_on_keyed_images_is_that_on_plain_ones() -> None:
    """Windows that are the blocks learn as well; the interval is said."""
    found = accuracies(Key.new("orthogonal", 4, (1, 8, 8), 0), open_collection("digits"), PRESETS["digits"],
                       FitSettings(epochs=3, batch_size=128))
    columns = found.columns
    assert columns["network"].tolist() == ["patch_net", "patch_net", "overlap_net", "overlap_net"]
    assert columns["images"].tolist() == ["plain", "keyed"] * 2
    assert (columns["accuracy"] > 0.7).all()
    assert abs(columns["accuracy"][0] - columns["accuracy"][1]) < 0.08
    assert ((columns["low"] < columns["accuracy"]) & (columns["accuracy"] < columns["high"])).all()
    assert "one seed" in found.notes[-1]
    assert patch_net(seed=1)[0].weight.sum() != overlap_net(seed=1)[0].weight.sum()


def test_features_instead_of_images() -> None:
    """A layer that keeps all is rebuilt, one number of an image is not; a head learns from the former."""
    model = patch_net()
    net = Network.open(model, (1, 8, 8), preprocess=PRESETS["digits"])
    digits = open_collection("digits").take(range(300))
    with unchanged(model):
        table, picture = inverted_features(net, ["0", "7"], digits, Effort(120), FitSettings(epochs=8))
    c = table.columns
    assert c["numbers"].tolist() == [128, 10]
    assert c["psnr"][0] > c["psnr"][1] > c["floor"][1]
    assert c["psnr"][0] > c["floor"][0] + 8
    assert c["accuracy"][0] > 0.7
    assert 0.8 < c["explained"][0] <= 1
    assert len(picture.tiles) == 3 * picture.columns
    unlabelled = open_collection([(digits[i], None) for i in range(30)])
    again, _ = inverted_features(net, ["0"], unlabelled, Effort(2))
    assert np.isnan(again.columns["accuracy"]).all()
    with pytest.raises(DataError, match=r"an inverter learns from images; 5 could be used; give ten at least"):
        inverted_features(net, ["0"], digits.take(range(5)))
