"""Keys: what they do to images, against a slow twin; files that nobody else may read; nothing that tells the secret.

Turns red: in `keys/key.py`, `matrix = self._secret if back` -> `if not back` · `0o600` -> `0o644` · `mode & 0o077` ->
`mode & 0o007` · `* np.sign(np.diagonal(r))` left out.
"""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.errors import ShapeError, StoreError, UsageError
from convscope.keys.key import KINDS, Key


def twin(key: Key, x: np.ndarray) -> np.ndarray:
    """The definition, block by block and number by number."""
    k, secret, y = key.block, key._secret, np.zeros_like(x)
    for b in range(len(x)):
        places = [(r, c) for r in range(0, x.shape[2], k) for c in range(0, x.shape[3], k)]
        for t, (r, c) in enumerate(places):
            out = y[b, :, r : r + k, c : c + k]
            if key.kind == "shuffle":
                r, c = places[secret[t]]
                out[...] = x[b, :, r : r + k, c : c + k]
                continue
            numbers = [x[b, i, r + u, c + v] for i in range(x.shape[1]) for u in range(k) for v in range(k)]
            n = len(numbers)
            keyed = ([numbers[secret[i]] for i in range(n)] if key.kind == "permutation"
                     else [sum(secret[i, j] * numbers[j] for j in range(n)) for i in range(n)])
            out[...] = np.array(keyed).reshape(x.shape[1], k, k)
    return y


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(KINDS), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(2, 3),
       st.integers(0, 99))
def test_images_against_the_definition(kind: str, c: int, k: int, h: int, w: int, seed: int) -> None:
    if c * k * k < 2:
        k = 2
    key = Key.new(kind, k, (c, h * k, w * k), seed)
    x = np.random.default_rng(seed).normal(size=(2, c, h * k, w * k))
    y = key(x)
    np.testing.assert_allclose(y, twin(key, x), atol=1e-12)
    np.testing.assert_allclose(key.undo(y), x, atol=1e-12)
    np.testing.assert_allclose((y * y).sum(), (x * x).sum())  # orthogonal
    np.testing.assert_array_equal(key(x[1:]), y[1:])  # a batch gives what singles give
    single = key(torch.from_numpy(x).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), y, atol=1e-5)


def test_pixels_stay_pixels_where_they_only_move() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    for kind in ("permutation", "shuffle"):
        key = Key.new(kind, 4, (3, 8, 8), 1)
        assert key(x).dtype == np.uint8
        np.testing.assert_array_equal(key.undo(key(x)), x)
        assert (np.sort(key(x), axis=None) == np.sort(x, axis=None)).all()
    with pytest.raises(ShapeError, match=r"an orthogonal key mixes numbers, and its values leave 0 … 255; got uint8"):
        Key.new("orthogonal", 4, (3, 8, 8))(x)


def test_orthogonal_keys_are_uniform() -> None:
    """Of Haar's distribution each entry has mean 0 and variance 1/n; without the signs the diagonal's mean is off."""
    n, count = 4, 400
    many = np.stack([Key.new("orthogonal", 2, (1, 2, 2), seed)._secret for seed in range(count)])
    assert np.abs(many.mean(0)).max() < 5 / math.sqrt(n * count)
    np.testing.assert_allclose((many**2).mean(0), 1 / n, atol=0.05)
    assert 0.4 < (np.linalg.det(many) > 0).mean() < 0.6


def test_a_secret_is_new_each_time_and_a_seed_makes_it_again() -> None:
    a, b = (Key.new("orthogonal", 4, (1, 8, 8)) for _ in range(2))
    assert not np.allclose(a._secret, b._secret)
    c, d = (Key.new("orthogonal", 4, (1, 8, 8), seed=3) for _ in range(2))
    np.testing.assert_array_equal(c._secret, d._secret)
    assert c.print != d.print  # salted: a guessed seed cannot be tried on a print
    assert "who knows or guesses the seed has the key" in c.notes[0]
    assert a.notes == ()
    small = Key.new("shuffle", 4, (1, 8, 8))
    assert small.notes == ("there are only 24 such keys: all can be tried",)
    assert small.bits == pytest.approx(math.log2(24))
    assert all((Key.new("shuffle", 4, (1, 4, 8))._secret == [1, 0]).all() for _ in range(8))  # never one that does nothing


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    for kind in KINDS:
        key = Key.new(kind, 2, (1, 8, 4))
        path = key.save(tmp_path / f"{kind}.key")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        back = Key.load(path)
        assert repr(back) == repr(key)
        x = np.random.default_rng(0).random((1, 1, 8, 4))
        np.testing.assert_array_equal(back(x), key(x))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{kind}.key" for kind in KINDS)  # no half-written file
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"cannot write the key .*; there is one already, and what it keyed would be lost"):
        key.save(path)
    assert path.read_bytes() == before
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(StoreError, match=rf"is open to others; its mode is {mode:04o}, not 0600; `chmod 600"):
            Key.load(path)
    with pytest.raises(StoreError, match=r"cannot write the key .*; No such file"):
        key.save(tmp_path / "nowhere" / "a.key")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    with pytest.raises(StoreError, match=r"cannot read the key .*; No such file.*; `convscope key new FILE` makes one"):
        Key.load(path)
    good = Key.new("permutation", 2, (1, 4, 4)).save(path).read_bytes()
    path.unlink()

    def damaged(content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(StoreError, match=r"cannot read the key .*; it is damaged, or no key; without it keyed"):
            Key.load(path)

    for content in (b"", b"hello", good[:100], good[:-30]):
        damaged(content)
    for name, value in (("secret", np.array([0, 0, 1, 2])), ("kind", np.array("magic")), ("block", np.array(4)),
                        ("format", np.array(2)), ("more", np.array(0))):
        with np.load(io.BytesIO(good)) as kept:
            members = {k: kept[k] for k in kept.files} | {name: value}
        content = io.BytesIO()
        np.savez(content, **members)
        damaged(content.getvalue())
    np.save(tmp_path / "array.npy", np.zeros(3))
    damaged((tmp_path / "array.npy").read_bytes())


def test_nothing_but_the_file_holds_the_secret() -> None:
    key = Key.new("permutation", 4, (1, 8, 8), seed=5)
    secret = ", ".join(map(str, key._secret.tolist()))
    for text in (repr(key), str(key), f"{key}", json.dumps(key.notes)):
        assert secret not in text
        assert not any(part in text for part in ("secret", "salt"))
    assert repr(key) == f"Key(permutation, block 4, channels 1, print {key.print})"
    assert not hasattr(key, "__dict__")
    for way in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(UsageError, match=r"a key is not pickled or copied into other files"):
            way(key)


@pytest.mark.parametrize(("words", "message"), [
    (("magic", 4, (1, 8, 8)), r"no kind of key is called 'magic'; there are orthogonal, permutation, shuffle"),
    (("orthogonal", 0, (1, 8, 8)), r"a key is for blocks of k×k pixels in images \(C, H, W\); got block 0"),
    (("orthogonal", 4, (8, 8)), r"a key is for blocks of k×k pixels"),
    (("shuffle", 8, (1, 8, 8)), r"a shuffle of one block changes nothing; block 8 in 8×8 pixels, 1 channels; take a"),
    (("permutation", 1, (1, 8, 8)), r"a permutation of one number changes nothing; .*; take a larger one"),
    (("orthogonal", 64, (3, 64, 64)), r"a block of 12,288 numbers; its matrix would have 150,994,944; at most 4,096 go"),
])
def test_settings_that_make_no_key(words: tuple[str, int, tuple[int, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Key.new(*words)


def test_images_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"blocks of 3×3 do not tile 8×8 pixels; 2 rows and 2 columns are left over"):
        Key.new("orthogonal", 3, (1, 8, 8))
    key = Key.new("shuffle", 4, (1, 8, 8))
    with pytest.raises(ShapeError, match=r"this key is for images \(B, 1, 8×8\); got \(1, 1, 12, 8\)"):
        key(np.zeros((1, 1, 12, 8)))
    free = Key.new("orthogonal", 4, (1, 8, 8))
    assert free(np.zeros((1, 1, 12, 8))).shape == (1, 1, 12, 8)  # a block-wise key takes any number of blocks
    with pytest.raises(ShapeError, match=r"this key is for images \(B, 1, H×W\); got \(1, 3, 8, 8\)"):
        free(np.zeros((1, 3, 8, 8)))
