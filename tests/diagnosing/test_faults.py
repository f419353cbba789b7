"""Every fault has one place in the causal order.

Mutation that turns this red: in faults.py, leave "D10" out of ORDER.
"""

from __future__ import annotations

import pytest

from convscope.diagnosing.faults import FAULTS, ORDER, fault
from convscope.errors import UnknownName


def test_the_order_holds_every_fault_once() -> None:
    assert sorted(ORDER) == sorted(FAULTS)


def test_causes_come_before_their_effects() -> None:
    for cause, effect in (("D10", "A5"), ("D1", "P1"), ("D1", "A2"), ("P1", "A2"), ("O2", "A4"), ("P7", "P2"), ("A8", "A3")):
        assert fault(cause).order < fault(effect).order


def test_an_unknown_code_is_said() -> None:
    with pytest.raises(UnknownName, match="O99"):
        fault("O99")
