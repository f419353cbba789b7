"""A record is read back as it was written, and says what is missing.

Turns red: in `selectivity`, `(len(kept) - 1)` -> `len(kept)`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convscope import record
from convscope.errors import StoreError, UnknownName
from convscope.record import Record, class_means, selectivity
from convscope.sweep import Sweep
from tests.test_sweep import GREY, digits, net


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return Sweep(top=3, batch=16)(net(), digits(50), GREY, tmp_path_factory.mktemp("sweep"), layers=("0", "2"), embed=("2",))


def test_what_was_swept_is_written_down(swept: Record) -> None:
    again = Record(swept.folder)
    assert again.facts == swept.facts
    assert again.ids == digits(50).ids
    assert np.array_equal(again.labels, digits(50).labels)
    assert again.facts.maps == ((6, 6), (6, 6))
    assert (again.facts.top, again.facts.batch, again.facts.classes, again.facts.images) == (3, 16, 10, 50)
    assert again.about["origin"]["method"] == "Sweep(top=3, batch=16, measure='all')"


def test_a_table_has_a_row_a_unit_and_a_meaning_a_column(swept: Record) -> None:
    table = swept.table("2")
    assert all(len(column) == 4 for column in table.columns.values())
    assert set(table.columns) <= set(table.units)
    assert table.notes == ("50 images measured",)
    fires, zeros = table.columns["fires"], table.columns["zeros"]
    assert np.allclose(fires + zeros, 1)  # a ReLU gives nothing below zero
    assert (table.columns["minimum"] >= 0).all()


def test_what_is_not_there_is_named(swept: Record, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no measured layer named '5'; .*; name it in --layers when sweeping"):
        swept.tally("5")
    with pytest.raises(UnknownName, match=r"no embedded layer named '0'; .*; name it in --embed when sweeping"):
        swept.embeddings("0")
    with pytest.raises(StoreError, match=r"no record in .*; make one: convscope respond"):
        Record(tmp_path)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(StoreError, match=r"cannot read .*state.npz; .*; sweep again into an empty folder"):
        record.read_state(path)
    record.write_state(path, {"next": 3}, {"0/value": np.arange(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="cannot read"):
        record.read_state(path)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"facts": {"network": "x"}}))
    with pytest.raises(StoreError, match=r"no record in .*; make one"):
        Record(tmp_path)


def test_header_and_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"0/value": np.arange(6, dtype=np.float32).reshape(2, 3), "0/tree/1/0/mean": np.array([np.nan, 1e300])}
    record.write_state(tmp_path / "s.npz", {"next": 3, "skipped": [["ä", "why"]]}, arrays)
    header, got = record.read_state(tmp_path / "s.npz")
    assert header == {"next": 3, "skipped": [["ä", "why"]]}
    assert all(got[k].tobytes() == v.tobytes() and got[k].dtype == v.dtype for k, v in arrays.items())


def test_selectivity_by_hand() -> None:
    """(m − o)/(m + o): class means 3, 1, 2 give m = 3, o = 1.5; equal means give 0; one class alone gives 1."""
    means = np.array([[3.0, 2.0, 5.0], [1.0, 2.0, 0.0], [2.0, 2.0, 0.0]])
    assert np.allclose(selectivity(means), [1.5 / 4.5, 0, 1])
    assert np.isnan(selectivity(means[:1])).all()
    assert np.allclose(selectivity(np.vstack([means, np.full((1, 3), np.nan)])), [1.5 / 4.5, 0, 1])  # a class without images


def test_class_means_are_unknown_without_images() -> None:
    got = class_means({"class_sum": np.array([[6.0], [0.0]]), "class_count": np.array([[3.0], [0.0]])})
    assert got[0, 0] == 2
    assert np.isnan(got[1, 0])
