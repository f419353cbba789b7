"""Glass boxes on disk: back as they were, and files that lie are refused without anything being run.

Mutations that turn this red (each tried): `_check` not called · `_operator` without comparing settings · `allow_pickle=True`
(the test of the house too) · `learned` not kept.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import glass_files
from convscope.errors import StoreError
from convscope.glass import INPUT, Call, GlassBox
from convscope.operators.conv import Conv
from convscope.operators.lstm import LSTM
from convscope.operators.max_pool import MaxPool
from convscope.operators.relu import ReLU

CALLS = (
    Call("conv", Conv(stride=(1, 2), padding=1), (INPUT, "w", None), "features.0"),
    Call("relu", ReLU(), ("conv",), "features.1"),
    Call("pool", MaxPool(2, stride=None), ("relu",)),
)
BOX = GlassBox("toy", CALLS, {"w": np.arange(18.0).reshape(2, 1, 3, 3), "count": np.array(4)}, "pool", frozenset({"w"}))


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    found = glass_files.load(glass_files.save(BOX, tmp_path / "box.npz"))
    assert (found.name, found.calls, found.output, found.learned) == (BOX.name, BOX.calls, BOX.output, BOX.learned)
    assert found.parameters.keys() == BOX.parameters.keys()
    for name, array in BOX.parameters.items():
        assert np.array_equal(found.parameters[name], array)
        assert found.parameters[name].dtype == array.dtype
    x = np.random.default_rng(0).normal(size=(2, 1, 6, 6))
    assert np.array_equal(found.forward(x)["pool"], BOX.forward(x)["pool"])


def test_a_call_that_takes_an_item(tmp_path: Path) -> None:
    calls = (Call("lstm", LSTM(), (INPUT, "a", "b")), Call("first", None, ("lstm",), item=0))
    box = GlassBox("rows", calls, {"a": np.ones(1), "b": np.ones(1)}, "first")
    assert glass_files.load(glass_files.save(box, tmp_path / "box.npz")).calls == calls


def changed(path: Path, change: Any) -> Path:
    """The file with another header."""
    with np.load(path) as archive:
        members = dict(archive)
    header = json.loads(members[glass_files.HEADER].tobytes())
    change(header)
    members[glass_files.HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **members)
    return path


@pytest.mark.parametrize(("change", "message"), [
    (lambda h: h.update(format="convscope glass box 9"), "its format is 'convscope glass box 9'"),
    (lambda h: h["calls"][1]["operator"].update({"class": "os.system"}), "there is no operator 'os.system' here"),
    (lambda h: h["calls"][1]["operator"].update({"class": "Operator"}), "there is no operator 'Operator' here"),
    (lambda h: h["calls"][0]["operator"]["settings"].update({"evil": 1}), "Conv has the settings"),
    (lambda h: h["calls"][0]["operator"]["settings"].update({"stride": {"~": 1}}), "a setting cannot be a table"),
    (lambda h: h["calls"][1].update(reads=["pool"]), "the call 'relu' reads"),
    (lambda h: h["calls"][1].update(name="conv"), "the call 'conv' reads"),
    (lambda h: h["calls"][1].update(name=7), "7 should be a name"),
    (lambda h: h["calls"][1].update(operator=None), "needs an operator or the number of an item"),
    (lambda h: h.update(output="nowhere"), "the answer or a learned parameter is missing"),
    (lambda h: h.update(learned=["nowhere"]), "the answer or a learned parameter is missing"),
    (lambda h: h.update(arrays=["w", "count", "more"]), "KeyError"),
    (lambda h: h.pop("calls"), "KeyError"),
], ids=range(13))
def test_files_that_lie_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = changed(glass_files.save(BOX, tmp_path / "box.npz"), change)
    with pytest.raises(StoreError, match="is no glass-box network, or it is damaged") as caught:
        glass_files.load(path)
    assert message in str(caught.value)


def test_pickles_stay_closed(tmp_path: Path) -> None:
    path = glass_files.save(BOX, tmp_path / "box.npz")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"a0.npy": buffer.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(StoreError, match="Object arrays cannot be loaded"):
        glass_files.load(path)


def test_files_that_are_not_there_or_cut(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*; No such file"):
        glass_files.load(tmp_path / "nowhere.npz")
    path = glass_files.save(BOX, tmp_path / "box.npz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="or it is damaged"):
        glass_files.load(path)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(StoreError, match="is no glass-box network"):
        glass_files.load(tmp_path / "array.npy")
    with pytest.raises(StoreError, match="cannot be written"):
        glass_files.write(tmp_path / "x.npz", {"format": object()}, {})
