"""store: what is kept comes back bit for bit, what is damaged says so, and no key leads out of the folder.

Mutations that turn it red: `_decode` returning a list for 'tuple' (round trip); dropping zlib.error from `_DAMAGE` (flips);
`part.replace(path)` moved before the `yield` (kill); `is_relative_to` check removed (links); capitals left as they are in
`_name_of` (keys); the checksum's `archive.read` replaced by a partial read (flips).
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope import store
from convscope.errors import StoreError, UsageError
from convscope.results import KINDS, Result, Run, Table
from convscope.store import Store
from tests.draw import samples

TABLE = Table(columns={"a": np.arange(3)})


def same(a: object, b: object) -> bool:
    """Equal in type, dtype, shape and bits, through every container. NaN equals NaN, −0.0 does not equal 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.generic):
        assert isinstance(b, np.generic)
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return list(a) == list(b) and all(same(x, y) for x, y in zip(a.values(), b.values(), strict=True))
    if isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple))
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return repr(a) == repr(b)


@pytest.mark.parametrize("seed", range(25))
def test_every_kind_comes_back_bit_for_bit(seed: int, tmp_path: Path) -> None:
    results = samples.varied(seed) + samples.empty() + samples.nasty()
    assert {r.kind for r in results} == set(KINDS)
    for result in results:
        path = store.write(result, tmp_path / "x.npz")
        assert same(store.read(path), result), result.kind
        assert store.kind(path) == result.kind


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.fractions(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3), max_leaves=12)


@given(plain)
@settings(max_examples=60, deadline=None)
def test_any_plain_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "settings.npz"
    result = Run(steps={}, epochs={}, settings={"value": value})
    assert same(store.read(store.write(result, path)), result)


def test_the_same_result_gives_the_same_bytes_and_is_a_plain_archive(tmp_path: Path) -> None:
    a = store.write(samples.varied(1)[3], tmp_path / "a.npz").read_bytes()
    time.sleep(0.01)
    assert store.write(samples.varied(1)[3], tmp_path / "b.npz").read_bytes() == a
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        header = json.loads(archive["__result__"].tobytes())
    assert (header["kind"], header["format"]) == ("table", store.FORMAT)


@pytest.mark.parametrize("dtype", ["?", "i1", ">i4", "u8", "f2", ">f8", "c16", "U3", "S2", "M8[D]", "i4,(2,)f4"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (3, 0, 2)])
def test_arrays_of_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.frombuffer(np.random.default_rng(0).bytes(4096), np.uint8)[:np.dtype(dtype).itemsize * int(np.prod(shape))]
    array = (array % 2 if dtype == "?" else array % 64).view(dtype).reshape(shape)
    for layout in (array, np.asfortranarray(array), array[..., ::-1] if shape else array):
        found = store.read(store.write(Table(columns={"x": layout}), tmp_path / "x.npz"))
        assert same(found, Table(columns={"x": layout}))


def test_a_version_string_of_another_library_is_kept_as_words(tmp_path: Path) -> None:
    version = type("Version", (str,), {"__str__": lambda self: "something else"})("2.13.0")
    origin = dataclasses.replace(samples.ORIGIN, versions={"torch": version})
    kept = store.read(store.write(dataclasses.replace(TABLE, origin=origin), tmp_path / "x.npz"))
    assert kept.origin.versions == {"torch": "2.13.0"}


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), np.array([object()]), np.ma.masked_array([1.0]), 1j])
def test_what_has_no_exact_form_is_refused_and_leaves_nothing(value: object, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"settings\['bad'\] cannot be stored exactly; it is a .*; use numbers, strings"):
        store.write(Run(steps={}, epochs={}, settings={"bad": value}), tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", range(6))
def test_a_file_cut_anywhere_is_refused_in_our_words(kind: int, tmp_path: Path) -> None:
    path = store.write(samples.varied(3)[kind], tmp_path / "x.npz")
    whole = path.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:end])
        with pytest.raises(StoreError, match=r"is not a result that convscope wrote, or it is damaged; .*; make it again"):
            store.read(path)


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    result = samples.varied(4)[1]
    path = store.write(result, tmp_path / "x.npz")
    whole = path.read_bytes()
    noticed = 0
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            assert same(store.read(path), result), f"byte {at}"  # a date, say
        except StoreError:
            noticed += 1
    assert noticed > len(whole) / 3 / 2


def test_foreign_files_and_other_versions_are_refused_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, weights=np.ones(3))
    with pytest.raises(StoreError, match="not a result that convscope wrote"):
        store.read(path)
    np.savez(path, __result__=np.array([{"format": 1}], dtype=object))  # pickled inside: must not be loaded
    with pytest.raises(StoreError, match="allow_pickle=False"):
        store.read(path)
    for header, words in (({"format": 99}, "has format 99; this convscope reads format 1; update convscope"),
                          ({"format": 1, "kind": "sketch"}, "kind 'sketch'; this convscope knows trace, steps, heatmap"),
                          ({"format": 1, "kind": "table", "fields": {"rows": []}}, "unexpected keyword"),
                          ({"format": 1, "kind": "table", "fields": {"columns": {"~": "x", "is": 1}}}, "KeyError: 'x'")):
        np.savez(path, __result__=np.frombuffer(json.dumps(header).encode(), np.uint8))
        with pytest.raises(StoreError, match=words):
            store.read(path)
    with pytest.raises(StoreError, match=r"cannot read .*nowhere.npz; No such file"):
        store.read(tmp_path / "nowhere.npz")
    with pytest.raises(StoreError, match=r"cannot read .*; Is a directory"):
        store.read(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*x.npz; No such file or directory; look at the folder's existence"):
        store.write(TABLE, tmp_path / "no" / "x.npz")


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = store.write(TABLE, tmp_path / "x.npz")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), store.atomic(path) as file:
        file.write(bytes(1 // (file.write(b"half") - 4)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_a_killed_writer_leaves_no_half_result_and_its_rest_is_swept(tmp_path: Path) -> None:
    code = ("import sys, numpy as np; from convscope.store import Store, atomic\n"
            f"with atomic({str(tmp_path / 'sub' / 'big.npz')!r}) as f:\n"
            "    f.write(b'x' * 10**6); f.flush(); print('half', flush=True); sys.stdin.read()\n")
    keep = Store(tmp_path)
    keep.put("sub/big", TABLE)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    parts = list(tmp_path.rglob("*.part"))
    assert len(parts) == 1
    assert same(keep.get("sub/big"), TABLE)
    assert keep.keys() == ("sub/big",)
    assert keep.sweep() == 0  # it may still be somebody's
    old = time.time() - store.STALE - 1
    os.utime(parts[0], (old, old))
    Store(tmp_path).put("other", TABLE)  # the first write of a store sweeps
    assert not list(tmp_path.rglob("*.part"))
    assert keep.keys() == ("other", "sub/big")


KEYS = ["layer/features.0/tsne", "a", "A", "a/b", "a.npz", "a.npz/b", "relu:1", "layer4.1.conv2/37@5,9", "Mixed_5b.Branch",
        "mixed_5b.branch", "%41", "~", "a~/b", "~/b", "x" * 500,
        "x" * 159, "x" * 160, "x" * 161, "x" * 318, "X" * 300 + "/y",
        "x" * 160 + ".y", ".hidden", "..x", "x..", "aux",
        "con.txt/nul", "a b", "é", "e\u0301", "猫/\U0001f600", "tab\tnew\nline", "*?<>|\"'",
        ".part", "x.part", "-", "a.", "nul\u0001"]


def test_keys_are_found_again_and_never_meet(tmp_path: Path) -> None:
    keep = Store(tmp_path / "new")
    assert keep.keys() == ()
    for i, key in enumerate(KEYS):
        keep.put(key, Table(columns={"i": np.array([i])}))
    assert keep.keys() == tuple(sorted(KEYS))
    assert keep.keys("layer") == tuple(sorted(k for k in KEYS if k.startswith("layer")))
    for i, key in enumerate(KEYS):
        assert keep.has(key)
        found = keep.get(key)
        assert isinstance(found, Table)
        assert found.columns["i"].tolist() == [i]
    names = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")]
    assert len({n.lower() for n in names}) == len(names)  # so on a disk that does not tell case apart
    assert all(n.isascii() and len(part) < 200 for n in names for part in n.split("/"))
    keep.delete("a")
    keep.delete("a")
    assert not keep.has("a")
    assert keep.has("A")


@given(st.text(min_size=1, max_size=300))
@settings(deadline=None)
def test_any_text_is_a_key_that_stays_inside_or_is_refused(text: str) -> None:
    try:
        name = store._file_of(text)
    except UsageError:
        return
    assert not name.startswith("/")
    assert not any(part in ("", ".", "..") or part.startswith(".") for part in name.split("/"))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-%~/")
    assert store._key_of(Path(name)) == text


@pytest.mark.parametrize(("key", "why"), [
    ("", "it is empty"), ("/etc/passwd", "it is absolute"), ("a/../../b", "'.' or '..'"), ("..", "or '..'"),
    (".", "or '..'"),
    ("a//b", "is empty"), ("a/", "is empty"), ("a\\b", "backslash"), ("a\0b", "NUL"), ("x" * 1001, "longer than 1,000"),
    ("\ud800", "not valid Unicode")])
def test_a_key_that_is_no_relative_name_is_refused(key: str, why: str, tmp_path: Path) -> None:
    keep = Store(tmp_path)
    for act in (keep.get, keep.has, keep.delete, lambda k: keep.put(k, TABLE)):
        with pytest.raises(UsageError, match=f"cannot be the key of a result; .*{why}.*; use a relative name"):
            act(key)
    assert not list(tmp_path.iterdir())


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    store.write(TABLE, outside / "secret.npz")
    (inside / "door").symlink_to(outside)
    (inside / "alias.npz").symlink_to(outside / "secret.npz")
    keep = Store(inside)
    for key in ("door/secret", "alias"):
        for act in (keep.get, keep.has, keep.delete, lambda k: keep.put(k, TABLE)):
            with pytest.raises(UsageError, match=r"leads out of .*; a symbolic link on its way points elsewhere; remove"):
                act(key)
    assert keep.keys() == ()
    assert [p.name for p in outside.iterdir()] == ["secret.npz"]


def test_a_missing_key_names_its_neighbours(tmp_path: Path) -> None:
    keep = Store(tmp_path)
    keep.put("layer/conv1", TABLE)
    (tmp_path / "Foreign.npz").write_bytes(b"not ours: our names have no capitals")
    with pytest.raises(StoreError, match=r"no result named 'layer/conv2'; closest: 'layer/conv1'; .* keeps results in"):
        keep.get("layer/conv2")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file where a folder should be")
    with pytest.raises(StoreError, match=r"cannot make the folder .*a/b; Not a directory"):
        Store(tmp_path).put("a/b/c", TABLE)


def test_listing_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Store(tmp_path)
    keep.put("a", TABLE)
    monkeypatch.setattr(store, "_opened", None)
    assert keep.keys() == ("a",)


def test_saving_is_reached_from_the_result(tmp_path: Path) -> None:
    result: Result = TABLE
    assert same(store.read(result.save(tmp_path / "t.npz")), result)
