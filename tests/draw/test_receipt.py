"""receipt: sizes and counts before and after, the layers that differ, the drift; what is not shown is said.

Mutations that turn it red: `after - before` -> `before - after`; `changed[:most]` -> `changed`;
the branch of no drift left out.
"""

from __future__ import annotations

import re

import numpy as np

from convscope import draw
from convscope.draw import receipt as drawer
from convscope.results import Receipt, Size

MANY = {"layer": np.array([f"conv{i}" for i in range(50)]),
        "before": np.full(50, "8×5×5"), "after": np.full(50, "4×5×5")}
RECEIPT = Receipt(title="net: prune", changes=("half of conv0's units are gone",), before=Size(3, 200, 0, (3, 8, 8), (5,)),
                  after=Size(3, 150, 40, (3, 8, 8), (5,)), rows=MANY, drift={"largest difference": 0.25},
                  drift_on="7 images")


def test_before_and_after_stand_side_by_side() -> None:
    rows = [re.split(r"  +", line.strip()) for line in draw.text(RECEIPT, 100).splitlines()]
    assert ["input", "3×8×8", "3×8×8"] in rows
    assert ["parameters", "200", "150", "−25.0%"] in rows
    assert ["MACs", "0", "40", "+40"] in rows
    assert ["layers", "3", "3", "same"] in rows
    assert ["conv0", "8×5×5", "4×5×5"] in rows
    assert ["… 10 more"] in rows
    assert "drift of the outputs on 7 images: largest difference 0.25" in draw.text(RECEIPT, 100)


def test_a_file_of_rows_holds_all_of_them() -> None:
    header, rows = drawer.records(RECEIPT)
    assert header == ["what", "before", "after", "change"]
    assert [row[0] for row in rows[-2:]] == ["conv48", "conv49"]


def test_no_drift_is_said_with_its_reason() -> None:
    none = Receipt(title="", changes=(), before=RECEIPT.before, after=RECEIPT.after, drift_on="the outputs differ in size")
    assert "drift not measured: the outputs differ in size" in draw.text(none, 100)
