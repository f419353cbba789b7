"""Questions that measurement settles: on shifted inputs centring wins; condition numbers by hand.

Mutation that turns this red: in settling.py, `values[-1] / values[values >` → `values[0] / values[values >`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.actions.doctoring import SETTLED
from convscope.diagnosing import given, settling
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program
from convscope.errors import UnknownName
from tests.checks import small
from tests.traces import unchanged


def _shifted() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A linear task whose inputs have mean 50."""
    x = 50 + torch.randn(128, 4, generator=torch.Generator().manual_seed(0))
    y = (x - 50) @ torch.tensor([[1.0], [-2.0], [0.5], [1.0]])
    torch.manual_seed(0)
    return nn.Linear(4, 1), (x, y)


def _program(rate: float = 1e-4) -> Program:
    model, data = _shifted()
    return given.program(model, data, "mse", f"sgd:{rate}")


def test_centring_wins_on_shifted_inputs() -> None:
    model, data = _shifted()
    program = given.program(model, data, "mse", "sgd:0.1")
    with unchanged(model, *data):
        found = settling.settle(program, "normalise", steps=80, seeds=2)
    (one,) = found.findings
    assert one.severity == "advice"
    assert one.confirmed
    assert one.symptom.startswith("yes: inputs")
    assert found.checked["inputs"].tolist() == ["as they are", "centred", "standardised"]
    assert found.checked["broke"].tolist() == [2, 0, 0]  # a rate that is fine when centred makes raw inputs explode
    raw, centred = (float(one.evidence[f"condition number, {k}"]) for k in ("as they are", "centred"))
    assert raw > 1000 * centred
    assert set(found.curves) == {"normalise control", "normalise remedy"}


def test_the_condition_number_by_hand() -> None:
    x = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    # second moments of (x, 1): diag(18/4, 2/4, 1)
    assert settling.condition(Examples(torch.from_numpy(x), None)) == pytest.approx(9.0)
    m = 10 + np.array([[1.0], [-1.0]])  # [[101, 10], [10, 1]]
    values = np.linalg.eigvalsh(np.array([[101.0, 10.0], [10.0, 1.0]]))
    assert settling.condition(Examples(torch.from_numpy(m), None)) == pytest.approx(values[1] / values[0])
    assert settling.condition(Examples(torch.ones(5, 2), None)) == float("inf")


def test_the_best_rate_of_five() -> None:
    program = small.made(small.net(), "sgd:0.003")
    found = settling.settle(program, "rate", steps=60, seeds=2)
    assert found.checked["rate"].tolist() == ["3e-05", "0.0003", "0.003", "0.03", "0.3"]
    assert found.findings[0].symptom.startswith(("yes: rate 0.3 ", "yes: rate 0.03 "))
    assert found.findings[0].confirmed


def test_order_where_it_matters_and_batches() -> None:
    x, y = small.rings(128)
    order = y.argsort()
    program = small.made(small.net(), "sgd:0.2", (x[order], y[order]), shuffle=False, batch_size=8)
    found = settling.settle(program, "shuffle", steps=150, seeds=3)
    assert found.checked["order"].tolist() == ["in order", "shuffled"]
    assert found.findings[0].symptom.startswith("yes: order shuffled")
    sizes = settling.settle(small.made(small.net(), batch_size=32), "batch", steps=10, seeds=1).checked["batch"].tolist()
    assert sizes == ["8", "16", "32", "64", "128"]


def test_one_seed_is_never_clear() -> None:
    found = settling.settle(_program(), "rate", steps=10, seeds=1)
    assert found.findings[0].confirmed is None


def test_the_same_seed_gives_the_same_rows() -> None:
    a, b = (settling.settle(_program(), "normalise", steps=20, seeds=2, seed=4) for _ in range(2))
    for key, values in a.checked.items():
        np.testing.assert_array_equal(values, b.checked[key])


def test_questions_are_those_of_the_door() -> None:
    assert tuple(settling.QUESTIONS) == SETTLED
    with pytest.raises(UnknownName, match="normalize"):
        settling.settle(_program(), "normalize", 10, 1)


def test_progress_may_stop_it() -> None:
    def stop(done: int, total: int, text: str) -> None:
        assert (done, total) == (0, 6)
        raise KeyboardInterrupt

    model, data = _shifted()
    with unchanged(model), pytest.raises(KeyboardInterrupt):
        settling.settle(given.program(model, data, "mse", "sgd:0.1"), "normalise", 10, 2, progress=stop)
