"""The Keras programs of the doctor's benchmark: all there, built alike from a seed, and measured by a rule that can fail.

Mutation: replace `rng = begin(seed)` of `_three_numbers` in `keras_softmax.py` by `rng = np.random.default_rng()`, and the
test that builds every case twice turns red.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

if os.environ.setdefault("KERAS_BACKEND", "torch") != "torch":
    pytest.skip("Keras is set to another backend", allow_module_level=True)
pytest.importorskip("keras")

from benchmarks.doctor_cases import CASES, SYMPTOMS, Case, Setup, case, cases
from benchmarks.doctor_cases.measure import Measured, measured, report, score, symptom

from convscope.diagnosing.faults import FAULTS

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)  # in Keras

KERAS: dict[str, Case] = {name: one for name, one in cases().items() if one.framework == "Keras"}
ASKED = {
    *(f"SO-{number}" for number in (
        33969059, 41596619, 41823068, 43055289, 44758894, 46869312, 47241622, 47735201, 48221692, 49583466, 51749207,
        52983831, 53700537, 54738769, 55198221, 56452176, 58844149, 61498304, 62313327, 64387251, 64395424, 66087653,
        66840108, 68701979, 68751439, 68773774, 69787272, 69901379,
    )),
    "DL-39525358", "DL-47724077", "DL-31627380", "D4ML-091", "D4ML-099", "HEALTHY-AT-blob-a8640f1a",
    *(f"HEALTHY-AT-circle-{number}" for number in ("46edd947", "84b9e92c", "88f274c5")),
}  # fmt: skip


def test_every_program_asked_for_is_there() -> None:
    assert set(KERAS) >= ASKED
    assert len(ASKED) == 33 + 4


def test_an_id_stands_once_and_a_symptom_is_one_of_five() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        case("SO-33969059", "O1")
    with pytest.raises(ValueError, match="'maybe' is none of yes, weak, no, raised, unknown"):
        case("SO-1", "O1", symptom="maybe")


@pytest.mark.parametrize("one", KERAS.values(), ids=lambda one: one.id)
def test_what_is_said_of_a_case(one: Case) -> None:
    assert {one.fault, *one.also} - {""} <= set(FAULTS)
    assert one.symptom in SYMPTOMS
    assert one.about
    assert (one.fixed is None) == (one.fault == "")


def contents(setup: Setup) -> list[np.ndarray]:
    """Everything that was drawn: the tables and the weights."""
    held = setup.held_out or ()
    return [np.asarray(part) for part in (*setup.train, *held, *setup.model.get_weights())]


@pytest.mark.parametrize("one", KERAS.values(), ids=lambda one: one.id)
def test_a_seed_makes_the_same_program_again(one: Case) -> None:
    first, again, other = contents(one.build(0)), contents(one.build(0)), contents(one.build(1))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, other, strict=True))
    assert [a.shape for a in first] == [a.shape for a in other]


@pytest.mark.parametrize(
    "build", [b for one in KERAS.values() for b in (one.build, one.fixed) if b], ids=lambda b: b.__name__
)
def test_the_tables_fit_the_model(build: Callable[[int], Setup]) -> None:
    setup = build(1)
    for x, y in [pair for pair in (setup.train, setup.held_out) if pair is not None]:
        assert x.dtype == np.float32
        assert len(x) == len(y) > 0
        assert x.shape[1:] == setup.model.input_shape[1:]
    assert setup.loss is None
    assert setup.optimizer is None
    assert setup.model.compiled
    assert 0 < setup.epochs <= 600
    assert setup.batch > 0


def test_the_scores_of_known_outputs() -> None:
    y = np.array([0, 1, 1, 0])
    assert score(np.array([[2.0, 1], [0, 3], [5, 1], [9, 0]]), y) == ("accuracy", 0.75, 0.5)  # class indices
    assert score(np.eye(3)[[0, 1, 2, 2]], np.eye(3)[[0, 1, 1, 1]]) == ("accuracy", 0.5, 0.75)  # one-hot
    assert score(np.array([[0.4], [0.6], [1.7], [0.1]]), y, -1)[1] == 0.75  # 1.7 rounds to no class
    assert score(np.array([[-4.0], [0.6], [1.7], [0.1]]), y)[1] == 0.75  # a logit of .1 is class 1
    assert score(np.array([[0.4], [0.6], [0.7], [0.1]]), y)[1] == 1  # a probability of .1 is not
    assert score(np.zeros((4, 5)), np.zeros((4, 6)))[0] == "none"


def test_classes_stand_on_the_axis_that_is_not_in_the_targets() -> None:
    words = np.random.default_rng(0).integers(0, 3, (2, 5))
    assert score(np.eye(3)[words], words) == score(np.eye(3)[words], words, -1)  # (B, T, K)
    assert score(np.moveaxis(np.eye(3)[words], 2, 1), words)[1] == 1  # (B, K, T)


def test_the_score_of_numbers_is_the_explained_share() -> None:
    ramp = np.linspace(0, 1, 50)
    assert score(ramp[:, None], ramp) == ("R2", 1.0, 0.0)
    kind, value, _ = score(np.full((50, 1), 0.5), ramp)
    assert kind == "R2"
    assert value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("found", "twin", "sign"),
    [
        (Measured("raised"), None, "raised"),
        (Measured("none"), None, "unknown"),
        (Measured("none", own=0.29), None, "yes"),
        (Measured("none", own=0.31), None, "no"),
        (Measured("none", losses=(float("inf"),)), None, "yes"),
        (Measured("R2", 0.9, own=0.1), None, "no"),
        (Measured("accuracy", 0.59, 0.1), None, "yes"),
        (Measured("accuracy", 0.85, 0.76), None, "yes"),
        (Measured("accuracy", 0.99, 0.1, losses=(1.0, float("nan"))), None, "yes"),
        (Measured("accuracy", 0.99, 0.1, 0.05, 0.2), None, "yes"),
        (Measured("accuracy", 0.99, 0.1, own=0.03), None, "yes"),
        (Measured("R2", 0.29), None, "yes"),
        (Measured("R2", 0.9), Measured("R2", 0.94), "weak"),
        (Measured("R2", 0.9), Measured("R2", 0.92), "no"),
        (Measured("R2", 0.9), None, "no"),
    ],
)
def test_the_rule_of_the_symptom(found: Measured, twin: Measured | None, sign: str) -> None:
    assert symptom(found, twin) == sign


def test_two_programs_do_what_is_said_of_them() -> None:
    assert report(CASES["SO-56452176"], 0).splitlines()[0] == "SO-56452176 seed 0 A6: yes"
    found = measured(CASES["SO-66840108"].build, 0)
    assert found.kind == "raised"
    assert "between 0 and 1" in found.text


def line(seed: int) -> Setup:
    """A torch program: a straight line, which a linear layer fits."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 1, generator=generator)
    torch.manual_seed(seed)
    model = torch.nn.Linear(1, 1)
    rule = torch.optim.SGD(model.parameters(), 0.1)
    return Setup(model, (x, 3 * x + 1), (x, 3 * x + 1), torch.nn.functional.mse_loss, rule, epochs=30)


def test_a_torch_program_is_trained_and_scored() -> None:
    found = measured(line, 0)
    assert found.kind == "R2"
    assert found.score > 0.99
    assert found.held_out == found.score
    assert len(found.losses) == 30
    assert found.losses[-1] < 1e-3 < found.losses[0]


def test_a_program_of_a_loop_and_of_a_metric_of_its_own() -> None:
    called: list[int] = []

    def looped(seed: int) -> Setup:
        setup: dict[str, Any] = {**line(seed).__dict__, "loop": lambda: called.append(1), "metric": lambda said, right: 0.5}
        return Setup(**setup)

    found = measured(looped, 0)
    assert called == [1]
    assert found.own == 0.5
    assert found.losses == ()
    assert "by its own metric 0.500" in found.text


def test_an_objective_of_the_output_alone_has_no_score() -> None:
    def unlike(seed: int) -> Setup:
        made = line(seed)
        x = made.train[0]
        return Setup(made.model, (x, x.expand(-1, 3)), None, lambda out, _: out.square().mean(), made.optimizer, epochs=2)

    found = measured(unlike, 0)
    assert found.kind == "none"
    assert found.text.startswith("no score; loss ")
    assert symptom(found, None) == "unknown"
