"""Keyed images on disk, back again, and a network trained on them as they are.

Turns red: in `keys/stored.py`, `.transpose(0, 2, 3, 1))` of `keep` left out · `str(members["key"]) != repr(key)` left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convscope.data import open_collection
from convscope.errors import DataError, UsageError
from convscope.fit import FitSettings
from convscope.images import PRESETS, Preprocess
from convscope.keys import fitting, stored
from convscope.keys.key import KINDS, Key
from convscope.keys.patches import patch_net
from tests.traces import unchanged


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str, tmp_path: Path) -> None:
    digits = open_collection("digits").take(range(30))
    key, path = Key.new(kind, 4, (1, 8, 8), 0), tmp_path / "keyed.npz"
    kept = stored.keep(key, digits, path)
    assert (kept.count, kept.shape) == (30, (8, 8, 1))
    assert kept.dtype == ("float32" if kind == "orthogonal" else "uint8")
    found = stored.open_keyed(path)
    assert found.ids == digits.ids
    assert found.classes == digits.classes
    np.testing.assert_array_equal(found.labels, digits.labels)
    x = PRESETS["digits"](digits[3])
    np.testing.assert_allclose(stored.as_stored(found[3]), key(x[None])[0], atol=1e-6)
    assert (kept.low, kept.high) == (pytest.approx(min(found[i].min() for i in range(30))),
                                     pytest.approx(max(found[i].max() for i in range(30))))
    assert stored.restore(key, path, tmp_path / "plain.npz") == 30
    plain = open_collection(tmp_path / "plain.npz")
    for i in range(30):
        np.testing.assert_array_equal(plain[i], digits[i])
    np.testing.assert_array_equal(plain.labels, digits.labels)
    other = Key.new(kind, 4, (1, 8, 8), 0)  # the same secret, but not that file
    with pytest.raises(UsageError, match=r"was not keyed with this key; it names Key\(.*, this is Key\("):
        stored.restore(other, path, tmp_path / "plain.npz")


def test_moved_pixels_are_pixels_for_any_reader(tmp_path: Path) -> None:
    digits, key = open_collection("digits").take(range(12)), Key.new("permutation", 4, (1, 8, 8), 0)
    stored.keep(key, digits, tmp_path / "keyed.npz")
    found = open_collection(tmp_path / "keyed.npz")
    assert found.labels.tolist() == digits.labels.tolist()
    np.testing.assert_array_equal(found[5], key(digits[5].transpose(2, 0, 1)[None])[0].transpose(1, 2, 0))


def test_a_preprocessing_goes_before_the_key(tmp_path: Path) -> None:
    digits, key = open_collection("digits").take(range(12)), Key.new("permutation", 4, (3, 8, 8), 0)
    reading = Preprocess((8, 8), "stretch", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    assert stored.keep(key, digits, tmp_path / "keyed.npz", reading).dtype == "float32"
    found = stored.open_keyed(tmp_path / "keyed.npz")
    np.testing.assert_allclose(stored.as_stored(found[5]), key(reading(digits[5])[None])[0], atol=1e-6)
    stored.restore(key, tmp_path / "keyed.npz", tmp_path / "back.npz")
    with np.load(tmp_path / "back.npz") as back:
        np.testing.assert_allclose(back["x"][5], reading(digits[5]).transpose(1, 2, 0), atol=1e-6)


def test_a_network_learns_from_what_nobody_can_read(tmp_path: Path) -> None:
    path, model = tmp_path / "keyed.npz", patch_net()
    stored.keep(Key.new("orthogonal", 4, (1, 8, 8)), open_collection("digits"), path)
    with unchanged(model):
        net, run = fitting.fit_keyed(model, path, tmp_path / "run", settings=FitSettings(epochs=3))
    assert run.epochs["held_out_accuracy"][-1] > 0.75
    assert net.classes == tuple("0123456789")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.pt", "classes.txt", "run.npz",
                                                                    "weights.safetensors"]
    with pytest.raises(DataError, match=r"10 classes do not fit this network; its output is \(1, 4\); give it as many"):
        fitting.fit_keyed(patch_net(classes=4), path)


def test_what_is_no_file_of_keyed_images(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, x=np.zeros((2, 4, 4, 1), np.uint8))
    for wrong in (path, tmp_path / "nowhere.npz"):
        with pytest.raises(DataError, match=r"cannot read .* as keyed images; .*`convscope key apply` writes them"):
            stored.open_keyed(wrong)
    with pytest.raises(UsageError, match=r"keyed images are kept as .npz, not 'images.png'; its name ends in .png"):
        stored.keep(Key.new("shuffle", 4, (1, 8, 8)), open_collection("digits"), tmp_path / "images.png")
