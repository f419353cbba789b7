"""The table of units is the record's, with the norm of the weights.

Turns red: in `responses/units.py`, drop `columns["norm"], `.
"""

from __future__ import annotations

import numpy as np

from convscope.responses.units import Units
from tests.contracts.studies import studied


def test_the_record_and_the_norms() -> None:
    model, study, _ = studied("plain")
    found, record = Units()(study, "conv2"), study.record.table("conv2")
    assert set(found.columns) == {*record.columns, "norm"}
    for key, column in record.columns.items():
        np.testing.assert_array_equal(found.columns[key], column)
    weights = model.conv2.weight.detach().double().numpy()  # type: ignore[union-attr,operator]
    np.testing.assert_allclose(found.columns["norm"], [np.linalg.norm(w) for w in weights])
    assert set(found.columns) <= set(found.units) | {"unit"}
    assert found.notes == ("15 images measured", "1 could not be used")


def test_a_layer_without_weights_has_no_norm() -> None:
    _, study, _ = studied("plain")
    assert "norm" not in Units()(study, "relu1").columns
