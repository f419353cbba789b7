"""Mistakes in batch normalisation. With x̂ = (x − μ)/σ, d = δ · weight and means over batch and positions,

∂L/∂x = (d − mean(d) − x̂·mean(d·x̂)) / σ        in training; outside, μ and σ are constants: d / σ
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convscope.operators._standardise import per_channel, scaled
from convscope.operators.batch_norm import BatchNorm
from convscope.operators.mistakes._mistake import PARAMETERS, backward, forward

WHOLE = "μ and σ depend on x: ∂L/∂x = (d − mean(d) − x̂·mean(d·x̂)) / σ, means over batch and positions"


def _parts(op: Any, delta: Any, x: Any, given: tuple[Any, ...]) -> tuple[Any, Any, Any, tuple[int, ...]]:
    """d, x̂, σ, and the axes of the means."""
    weight, _, mean, var = (*given, *(None,) * (4 - len(given)))
    x_hat, sigma = op._standardised(x, mean, var)
    return delta if weight is None else delta * per_channel(weight, x), x_hat, sigma, (0, *range(2, x.ndim))


def _training(formula: Any) -> Any:
    """A wrong gradient by x in training, from (d, x̂, σ, mean): `mean` takes the mean over batch and positions."""

    def make(op: Any, delta: Any, x: Any, *given: Any) -> Any:
        if not op.training:
            return None
        d, x_hat, sigma, axes = _parts(op, delta, x, given)
        return (formula(d, x_hat, sigma, lambda v: v.mean(axis=axes, keepdims=True)),)

    return make


for _key, _did, _formula in (
    ("mean and variance treated as constants", "μ and σ were treated as constants", lambda d, h, s, m: d / s),
    (
        "variance treated as a constant",
        "σ was treated as a constant; only the way through μ was followed",
        lambda d, h, s, m: (d - m(d)) / s,
    ),
    (
        "mean treated as a constant",
        "μ was treated as a constant; only the way through σ was followed",
        lambda d, h, s, m: (d - h * m(d * h)) / s,
    ),
    (
        "divided by the variance instead of the deviation",
        "σ² was used where σ belongs",
        lambda d, h, s, m: (d - m(d) - h * m(d * h)) / s**2,
    ),
    ("not divided by the deviation", "the division by σ was forgotten", lambda d, h, s, m: d - m(d) - h * m(d * h)),
    (
        "x in the place of x̂",
        "the way through σ used x − μ instead of x̂",
        lambda d, h, s, m: (d - m(d) - h * s * m(d * h * s)) / s,
    ),
    (
        "sign of the variance's share turned",
        "the share of σ was added instead of subtracted",
        lambda d, h, s, m: (d - m(d) + h * m(d * h)) / s,
    ),
):
    backward(BatchNorm, _did, WHOLE, key=_key)(_training(_formula))


@backward(
    BatchNorm, "the variance was divided by n − 1 in the backward pass", "the batch's variance is divided by n: x.var()"
)
def unbiased_variance(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    """The formula of training with the variance that is divided by n − 1."""
    if not op.training:
        return None
    d, x_hat, sigma, axes = _parts(op, delta, x, given)
    n = prod(x.shape) // x.shape[1]
    wide = np.sqrt((sigma**2 - op.eps) * n / max(n - 1, 1) + op.eps)
    hat = x_hat * sigma / wide
    gx = (d - d.mean(axis=axes, keepdims=True) - hat * (d * hat).mean(axis=axes, keepdims=True)) / wide
    return (gx,)


@backward(BatchNorm, "the mean over the way through σ was divided by n − 1", "divide all means by n")
def variance_share_divided_by_n_minus_one(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    if not op.training:
        return None
    d, x_hat, sigma, axes = _parts(op, delta, x, given)
    n = prod(x.shape) // x.shape[1]
    share = x_hat * (d * x_hat).sum(axis=axes, keepdims=True) / max(n - 1, 1)
    return ((d - d.mean(axis=axes, keepdims=True) - share) / sigma,)


@backward(BatchNorm, "means were taken over the batch only, position by position", WHOLE)
def means_over_the_batch_only(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    if not op.training or x.ndim < 3:
        return None
    d, h, sigma, _ = _parts(op, delta, x, given)
    return ((d - d.mean(axis=0, keepdims=True) - h * (d * h).mean(axis=0, keepdims=True)) / sigma,)


@backward(BatchNorm, "the weight γ was forgotten in the gradient by x", "d = δ · γ, channel by channel")
def weight_forgotten(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    return (op.backward(delta, x, None, *given[1:])[0],) if given and given[0] is not None else None


@backward(BatchNorm, "eps was left out of σ", "σ = √(variance + eps)")
def eps_forgotten(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    return replace(op, eps=0.0).backward(delta, x, *given)


@backward(
    BatchNorm,
    "the statistics of the batch were differentiated, though running ones were used",
    "outside training μ and σ are constants: ∂L/∂x = δ · γ / σ",
)
def treated_as_in_training(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    if op.training or prod(x.shape) == x.shape[1]:
        return None
    return (replace(op, training=True).backward(delta, x, *given)[0],)


@backward(
    BatchNorm,
    "the running statistics were used, though the batch's belong here",
    "in training μ and σ are those of the batch: " + WHOLE,
)
def running_statistics_used(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    return (replace(op, training=False).backward(delta, x, *given)[0],) if op.training and len(given) == 4 else None


@backward(BatchNorm, "∂L/∂γ was taken with x instead of x̂", "∂L/∂γ = Σ δ · x̂", PARAMETERS)
def weight_gradient_with_x(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    return (None, (delta * x).sum(axis=(0, *range(2, x.ndim))))


@backward(BatchNorm, "∂L/∂γ was taken with x − μ instead of x̂", "∂L/∂γ = Σ δ · x̂", PARAMETERS)
def weight_gradient_not_divided_by_the_deviation(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    _, x_hat, sigma, axes = _parts(op, delta, x, given)
    return (None, (delta * x_hat * sigma).sum(axis=axes))


@backward(BatchNorm, "∂L/∂γ was taken with the output y instead of x̂", "∂L/∂γ = Σ δ · x̂", PARAMETERS)
def weight_gradient_with_y(op: Any, delta: Any, x: Any, *given: Any) -> Any:
    return (None, (delta * op.forward(x, *given)).sum(axis=(0, *range(2, x.ndim))))


@forward(
    BatchNorm, "the variance was divided by n − 1", "the batch's variance is divided by n: x.var()", key="unbiased variance"
)
def unbiased_variance_forward(op: Any, x: Any, *given: Any) -> Any:
    if not op.training:
        return None
    mean, var = op.statistics(x)
    n = prod(x.shape) // x.shape[1]
    return _normalised(x, mean, np.sqrt(var * n / max(n - 1, 1) + op.eps), given)


@forward(BatchNorm, "the other mode's statistics were used", "training: those of the batch; afterwards: the running ones")
def statistics_of_the_other_mode(op: Any, x: Any, *given: Any) -> Any:
    if (op.training and len(given) < 4) or prod(x.shape) == x.shape[1]:
        return None
    return replace(op, training=not op.training).forward(x, *given)


@forward(BatchNorm, "it was divided by the variance instead of the deviation", "divide by √(variance + eps)")
def divided_by_the_variance(op: Any, x: Any, *given: Any) -> Any:
    mean, var = op.statistics(x, *given[2:])
    return _normalised(x, mean, var + op.eps, given)


@forward(BatchNorm, "eps was added to σ instead of the variance", "σ = √(variance + eps)")
def eps_outside_the_root(op: Any, x: Any, *given: Any) -> Any:
    mean, var = op.statistics(x, *given[2:])
    return _normalised(x, mean, np.sqrt(var) + op.eps, given)


@forward(BatchNorm, "eps was left out", "σ = √(variance + eps)", key="eps forgotten")
def eps_forgotten_forward(op: Any, x: Any, *given: Any) -> Any:
    mean, var = op.statistics(x, *given[2:])
    return _normalised(x, mean, np.sqrt(var), given) if (var > 0).all() else None


@forward(BatchNorm, "weight and bias were forgotten", "y = γ · x̂ + β")
def weight_and_bias_forgotten(op: Any, x: Any, *given: Any) -> Any:
    return op.forward(x, None, None, *given[2:])


@forward(BatchNorm, "the statistics were taken over the batch only, position by position", "over batch, rows and columns")
def statistics_over_the_batch_only(op: Any, x: Any, *given: Any) -> Any:
    if not op.training or x.ndim < 3:
        return None
    sigma = np.sqrt(x.var(axis=0, keepdims=True) + op.eps)
    return scaled((x - x.mean(axis=0, keepdims=True)) / sigma, *given[:2])


def _normalised(x: Any, mean: Any, sigma: Any, given: tuple[Any, ...]) -> Any:
    return scaled((x - per_channel(mean, x)) / per_channel(sigma, x), *given[:2])
