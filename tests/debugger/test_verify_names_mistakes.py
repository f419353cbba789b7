"""The debugger against a separate implementation: it names what was done wrong there, and accuses nobody who is right.

`naive.py` makes the mistakes, `confusion.py` says which cases there are and when one counts as named.
The quick tests ask a fixed sample of the cases; all of them are asked by the slow one.

Turns red: in `debugger/blame.py`, `yield BACKWARD, self.between(blamed)` -> `yield BACKWARD, []`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from convscope import actions
from convscope.debugger.verify import Problem, verify
from tests.debugger.confusion import Case, arrays, cases, opened, right, said, verdict
from tests.debugger.handmade import PAIRS
from tests.debugger.naive import MISTAKES

WANTED = 0.95
SAMPLE = {"one_filter": 61, "few_filters": 97, "pooled": 31, "branches": 29, "rnn": 7, "lstm": 7}  # every n-th case
each_net = pytest.mark.parametrize("name", PAIRS)


def check(asked: Iterable[Case]) -> int:
    """At least 95 % are named; else the message says what was named instead. How many there were."""
    asked = list(asked)
    wrong = [f"{case} -> {cause}" for case in asked if not right(case, cause := verdict(case))]
    assert len(wrong) <= (1 - WANTED) * len(asked), f"{len(wrong)} of {len(asked)}:\n" + "\n".join(wrong)
    return len(asked)


def test_a_sample_of_all_cases_is_named() -> None:
    asked = [case for name, n in SAMPLE.items() for case in cases([name], ("float64", "float32"), every=n)]
    assert check(asked) >= 40
    assert len({(case.kind, case.mistake) for case in asked}) >= 24


def test_there_are_more_than_twenty_kinds_at_different_depths() -> None:
    found = list(cases())
    assert len({(case.kind, case.mistake) for case in found}) == sum(map(len, MISTAKES.values()))  # each shows somewhere
    assert len({case.layer for case in found if case.mistake == "kernel not flipped"}) >= 3


@pytest.mark.slow
@each_net
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_case_is_named(name: str, dtype: str) -> None:
    check(cases([name], (dtype,)))


@each_net
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seen", ["all", "deltas", "gradients", "activations"])
def test_nobody_is_accused_who_is_right(name: str, dtype: str, seen: str) -> None:
    _, net = opened(name)
    ends = {"all": "", "deltas": "delta", "gradients": ".gradient", "activations": ".activation"}[seen]
    given = {k: v for k, v in arrays(name, "", "", dtype).items() if k.endswith(ends) or k in ("input", "labels")}
    found = verify(net, given, Problem(training=True if name == "branches" else None))
    assert said(found) == "fine", said(found)
    assert (found.checked["verdict"] == "right").all()


@each_net
def test_sums_in_another_order_and_precision_are_right(name: str) -> None:
    """What torch itself computes in float32, in its own order of sums."""
    pair, net = opened(name)
    given = from_float32(pair)
    found = verify(net, given, Problem(training=True if name == "branches" else None))
    assert said(found) == "fine", said(found)


def from_float32(pair: Any) -> dict[str, Any]:
    import copy

    module = copy.deepcopy(pair.module).float()
    loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(pair.x).float()), torch.tensor(pair.labels))
    loss.backward()
    found = {f"{k}.gradient": v.grad.numpy() for k, v in module.named_parameters() if v.grad is not None}
    return {"input": pair.x.astype(np.float32), "labels": np.array(pair.labels), "loss": loss.detach().numpy(), **found}


@pytest.mark.parametrize(("name", "array"), [
    ("few_filters", "conv2.input_delta"), ("few_filters", "conv1.weight.gradient"), ("pooled", "pool1.delta"),
    ("branches", "bn2.weight.gradient"), ("lstm", "layer.weight_hh_l0.gradient"), ("rnn", "fc.activation"),
])
def test_random_numbers_are_none_of_the_known_mistakes(name: str, array: str) -> None:
    _, net = opened(name)
    given = dict(arrays(name, "", "", "float64"))
    given[array] = np.random.default_rng(7).normal(size=given[array].shape) * np.abs(given[array]).max()
    found = verify(net, given, Problem(training=True if name == "branches" else None))
    blamed = found.findings[0]
    assert (blamed.severity, blamed.where) == ("error", array)
    assert blamed.cause == "none of the known mistakes reproduces it"
    assert found.checked["array"][found.checked["verdict"] == "wrong"].tolist() == [array]


def test_the_question_that_everybody_asks(tmp_path: Any) -> None:
    """Two convolutions, two dense layers, one filter each: a file of arrays in, the mistake out."""
    pair, net = opened("one_filter")
    np.savez(tmp_path / "mine.npz", **pair.arrays({"conv2": "kernel not flipped"}))
    found = actions.verify(net, tmp_path / "mine.npz")
    assert found.findings[0].where == "conv2.input_delta"
    assert found.findings[0].cause.startswith("conv2: kernel not flipped: ")
    assert "it explains all 7 wrong arrays" in found.findings[0].proof
