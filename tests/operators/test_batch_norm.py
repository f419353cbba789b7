"""Batch normalisation in both modes. Mutation that turns this red: in batch_norm.py `self.training` to `not self.training`
in backward; in _standardise.py drop `x_hat * (d * x_hat).mean(…)`; in `updated_statistics` divide by n instead of n − 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.errors import DataError, ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators.batch_norm import BatchNorm
from tests.operators.against_torch import SEEDS, close, hold, hold_differences, numbers, recorded
from tests.operators.written import hold_written, texts


def arrays(seed: int, shape: tuple[int, ...], affine: bool = True, running: bool = True) -> list[np.ndarray | None]:
    c = shape[1]
    learned = [numbers(seed + 1, c), numbers(seed + 2, c)] if affine else [None, None]
    return [numbers(seed, *shape, scale=3.0) + 1, *learned,
            *([numbers(seed + 3, c), numbers(seed + 4, c) ** 2 + 0.1] if running
                                                             else [None, None])]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3), st.booleans(), st.booleans(),
       st.sampled_from([1e-5, 1e-3, 0.5]), SEEDS)
def test_agrees_with_torch(batch: int, channels: int, rest: list[int], affine: bool, training: bool, eps: float,
                           seed: int) -> None:
    def function(x, weight, bias, mean, var):
        kept = [None if t is None else t.detach().clone() for t in (mean, var)]
        return F.batch_norm(x, *kept, weight, bias, training=training, momentum=0.3, eps=eps)

    given_arrays = arrays(seed, (batch, channels, *rest), affine, running=not training)
    hold(BatchNorm(eps, 0.3, training), function, *given_arrays)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(1, 4), st.sampled_from([0.0, 0.1, 1.0]), SEEDS)
def test_running_statistics_move_as_torch_moves_them(batch: int, channels: int, momentum: float, seed: int) -> None:
    x, _, _, mean, var = arrays(seed, (batch, channels, 2))
    theirs = [torch.from_numpy(a.copy()) for a in (mean, var)]
    F.batch_norm(torch.from_numpy(x), *theirs, training=True, momentum=momentum)
    for mine, other in zip(BatchNorm(momentum=momentum, training=True).updated_statistics(x, mean, var), theirs,
                           strict=True):
        close(mine, other.numpy())
    assert BatchNorm().updated_statistics(x, mean, var)[0] is mean


@pytest.mark.parametrize("training", [False, True])
def test_agrees_with_difference_quotients(training: bool) -> None:
    hold_differences(BatchNorm(training=training), *arrays(5, (3, 2, 2))[:3],
                     *([] if training else arrays(5, (3, 2, 2))[3:]))


def test_backward_answers_for_the_arrays_that_were_given() -> None:
    x = numbers(0, 4, 2)
    assert len(BatchNorm(training=True).backward(x, x)) == 1
    assert len(BatchNorm(training=True).backward(x, x, np.ones(2))) == 2


def test_is_read_from_an_exported_graph() -> None:
    x = torch.from_numpy(numbers(0, 3, 4, 2, 2))
    assert recorded(nn.BatchNorm2d(4, eps=1e-3).eval(), x, kind=BatchNorm) == BatchNorm(1e-3)
    assert recorded(nn.BatchNorm2d(4, affine=False).eval(), x, kind=BatchNorm) == BatchNorm()
    assert recorded(nn.BatchNorm2d(4, momentum=0.2), x, kind=BatchNorm) == BatchNorm(momentum=0.2, training=True)
    assert recorded(nn.BatchNorm2d(4, track_running_stats=False).eval(), x, kind=BatchNorm) == BatchNorm(training=True)


def test_costs_and_windows() -> None:
    shapes = ((2, 64, 7, 7), (64,), (64,), (64,), (64,))
    assert BatchNorm().parameters(*shapes) == 128  # running statistics are buffers
    assert BatchNorm().macs(*shapes) == 0
    assert BatchNorm().windows(*shapes) == (Window(), Window())
    assert BatchNorm(training=True).windows(*shapes) == (WHOLE, WHOLE)


def test_errors() -> None:
    x = numbers(0, 2, 3, 4)
    with pytest.raises(UsageError, match=r"outside training needs running statistics.*none were given.*training=True"):
        BatchNorm().forward(x)
    with pytest.raises(DataError, match=r"deviation of one value a channel.*more than one image"):
        BatchNorm(training=True).forward(x[:1, :, :1])
    with pytest.raises(ShapeError, match=r"shape \(2,\) do not fit 3 channels.*one value a channel: \(3,\)"):
        BatchNorm(training=True).forward(x, np.ones(2))
    with pytest.raises(ShapeError, match=r"batch normalisation of an input of shape \(3,\).*axis 1 must count channels"):
        BatchNorm(training=True).forward(np.ones(3))


# --- written out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_written_out_as_autograd_has_it(training: bool, affine: bool) -> None:
    def function(x, weight, bias, mean, var):
        kept = [t.detach().clone() for t in (mean, var)]
        return F.batch_norm(x, *kept, weight, bias, training=training)

    hold_written(BatchNorm(training=training), function, *arrays(3, (3, 4, 2, 5), affine))
    hold_written(BatchNorm(training=training), function, *arrays(3, (3, 4), affine))


def test_both_modes_stand_side_by_side() -> None:
    """x = 1, 3 in one channel; running mean 0, variance 4; weight 10: −10 in training, 5 in evaluation."""
    x = np.array([[1.0], [3.0]])
    given = np.array([10.0]), np.array([0.0]), np.array([0.0]), np.array([4.0])
    training = BatchNorm(eps=0.0, training=True).explain_value((0, 0), x, *given)
    evaluation = BatchNorm(eps=0.0).explain_value((0, 0), x, *given)
    assert texts(training) == [
        "μ = mean of the 2 values of channel 0 (2 images × 1 positions) = 4/2 = 2",
        "σ² = mean of their (x − μ)² = 2/2 = 1", "σ = √(σ² + eps) = √(1 + 0) = 1", "x̂ = (x − μ)/σ = (1 − 2)/1 = −1",
        "in evaluation it would be 5, with the running μ = 0 and σ² = 4",
        "y = weight · x̂ + bias = 10 · (−1) + 0 = −10"]
    assert texts(evaluation)[-2:] == ["in training it would be −10, with the batch's own μ = 2 and σ² = 1",
                                      "y = weight · x̂ + bias = 10 · 0.5 + 0 = 5"]
    assert [line.value for line in evaluation.lines][-2:] == [-10, 5]
    alone = BatchNorm(eps=0.0).explain_value((0, 0), x[:1], *given)  # one value has no deviation: no other mode
    assert not any("in training" in text for text in texts(alone))
    assert not any("in evaluation" in t for t in texts(BatchNorm(training=True).explain_value((0, 0), x)))


def test_the_gradient_in_training_has_three_parts() -> None:
    x, delta = np.array([[1.0], [3.0], [8.0]]), np.array([[1.0], [0.0], [0.0]])
    working = BatchNorm(eps=0.0, training=True).explain_gradient(0, (0, 0), delta, x)
    assert working.formula == "∂L/∂x = (d − mean(d) − x̂·mean(d·x̂))/σ,  d = δ · weight"
    sigma, x_hat = np.sqrt(26 / 3), -3 / np.sqrt(26 / 3)
    parts = [line.value for line in working.lines][-4:]
    close(np.array(parts[:3]), np.array([1, -1 / 3, -x_hat * x_hat / 3]) / sigma)
    assert sum(parts[:3]) == pytest.approx(parts[3])
    assert [t.split(":")[0] for t in texts(working)[-4:-1]] == ["directly", "through μ", "through σ"]
    constant = BatchNorm(eps=0.0).explain_gradient(0, (0, 0), delta, x, None, None, np.zeros(1), np.array([4.0]))
    assert texts(constant)[-1] == "∂L/∂x = d/σ = 1/2 = 0.5 (μ and σ are constants)"
    assert "in training it would be" in texts(constant)[-2]


def test_the_backward_pass_in_words() -> None:
    shapes = (8, 64, 7, 7), (64,), (64,), (64,), (64,)
    trained, fixed = BatchNorm(training=True).gradients(*shapes), BatchNorm().gradients(*shapes)
    assert [g.of for g in trained] == ["x", "weight", "bias"]
    assert trained[0].sizes == "means over 8·7·7 = 392 values"
    assert fixed[0].how == "δ·weight/σ: μ and σ are constants"
    assert trained[1].sizes == "25088/64 = 392 terms each"
    with pytest.raises(UsageError, match=r"running_mean of BatchNorm has no gradient.*choose among x, weight, bias"):
        BatchNorm().explain_gradient(3, (0,), np.ones((2, 1)), *arrays(0, (2, 1)))
