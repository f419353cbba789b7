"""Metrics that measure something else.

Mutation that turns this red: in metric.py, `and 1 not in dims` → `and 1 in dims`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.checks.metric import Metric
from convscope.diagnosing.evidence import Evidence
from convscope.results import Run
from tests.checks import small


def _right(output: Tensor, y: Tensor) -> float:
    return float((output.argmax(1) == y).float().mean())


def _over_the_batch(output: Tensor, y: Tensor) -> float:
    return float((output.argmax(0)[: len(y)] == y[: output.shape[1]]).sum() / len(y))


def _numpy(output: Any, y: Any) -> float:
    return float((np.asarray(output).argmax(1) == np.asarray(y)).mean())


def _error(output: Tensor, y: Tensor) -> float:
    return 1 - _right(output, y)


def _constant(output: Tensor, y: Tensor) -> float:
    return 0.25


def _raises(output: Tensor, y: Tensor) -> float:
    raise RuntimeError("no metric")


def _found(metric: Any) -> list[Any]:
    return small.found(Metric(), small.made(small.net(), metric=metric))


def test_argmax_over_the_batch_is_found() -> None:
    (one,) = _found(_over_the_batch)
    assert (one.fault, one.strength, one.shows) == ("E4", 1.0, True)
    assert float(one.evidence["metric of perfect answers"]) < 0.05
    assert "+ prediction = output.argmax(1)" in one.code


def test_a_metric_that_does_not_know_right_from_wrong() -> None:
    (one,) = _found(_constant)
    assert one.fault in ("E2", "E4")


@pytest.mark.parametrize("metric", [None, _right, _numpy, _error, _raises])
def test_metrics_that_fit_are_left_alone(metric: Any) -> None:
    assert _found(metric) == []


def test_a_watched_loop_that_takes_argmax_over_its_batch() -> None:
    program = small.made(small.net())
    for dims, codes in (([0], ["E4"]), ([0, 1], []), ([1], []), ([], [])):
        run = Run(steps={}, epochs={}, loop={"output_argmax_dims": dims})
        assert [s.fault for s in Metric()(Evidence(program, run, 0.5))] == codes


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Metric()(evidence)), list), name
        assert torch.get_default_dtype() is torch.float32
