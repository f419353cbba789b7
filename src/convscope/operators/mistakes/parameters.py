"""Mistakes in the gradients of weights and biases: sums that were left out, or divided.

    ∂L/∂weight = Σ_b Σ_i δ[b,i] · (what the weight met there)        ∂L/∂bias = Σ_b Σ_i δ[b,i]

All of these are the right gradient of another δ (that of one example, of one position), or the right gradient divided.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from convscope.operators.batch_norm import BatchNorm
from convscope.operators.conv import Conv
from convscope.operators.conv_transpose import ConvTranspose
from convscope.operators.linear import AddMM, Linear
from convscope.operators.mistakes._mistake import PARAMETERS, backward

LEARNING = (Conv, ConvTranspose, Linear, AddMM, BatchNorm)
MAPS = (Conv, ConvTranspose, BatchNorm)


def _kept(op: Any, gradients: tuple[Any, ...], arrays: tuple[Any, ...], which: str) -> tuple[Any, ...]:
    """Only the gradients of the parameters that `which` names: 'weight', 'bias' or '' for all."""
    names = [op.arrays[i] if i < len(op.arrays) else "" for i in range(len(arrays))]
    return tuple(g if n in op.learned and which in ("", n) else None for g, n in zip(gradients, names, strict=True))


def _of_other_delta(which: str, keep: Any) -> Any:
    """The gradient that a part of δ has: `keep(mask)` sets what stays to 1."""

    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        mask = np.zeros_like(delta)
        keep(mask)
        return _kept(op, op.backward(delta * mask, *arrays), arrays, which)

    return make


def _divided(which: str, count: Any) -> Any:
    """The right gradient, divided."""

    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        gradients = op.backward(delta, *arrays)
        return _kept(op, tuple(None if g is None else g / count(delta) for g in gradients), arrays, which)

    return make


def _times(which: str, factor: float) -> Any:
    """The right gradient, times a number."""
    return _divided(which, lambda _: 1 / factor)


def _nothing(which: str) -> Any:
    def make(op: Any, delta: Any, *arrays: Any) -> Any:
        return _kept(op, tuple(None if a is None else np.zeros_like(a, np.float64) for a in arrays), arrays, which)

    return make


def _set(mask: Any, where: Any) -> None:
    mask[where] = 1


def _positions(delta: Any) -> int:
    return prod(delta.shape[2:])


def _first_position(mask: Any) -> None:
    _set(mask, (slice(None), slice(None), *(0,) * (mask.ndim - 2)))


def _last_position(mask: Any) -> None:
    _set(mask, (slice(None), slice(None), *(-1,) * (mask.ndim - 2)))


_PARTS = (  # key, operators, what was done, what stays of δ
    ("only the first example", LEARNING, "the first example of the batch stands for all", lambda m: _set(m, slice(0, 1))),
    ("only the last example", LEARNING, "each example overwrote the one before", lambda m: _set(m, slice(-1, None))),
    ("only the first position", MAPS, "the first position stands for all, instead of their sum", _first_position),
    ("only the last position", MAPS, "each position overwrote the one before, instead of being added", _last_position),
)
_MEANS = (
    (
        "mean over the batch instead of the sum",
        LEARNING,
        "it was divided by the number of examples once more",
        lambda d: d.shape[0],
    ),
    ("mean over positions instead of the sum", MAPS, "it was divided by the number of positions", _positions),
    (
        "mean over batch and positions instead of the sum",
        MAPS,
        "it was divided by the number of examples and of positions",
        lambda d: d.shape[0] * _positions(d),
    ),
)
_SUM = "add up over the batch and all positions, and divide by nothing: δ has the loss's 1/B in it already"
for _which, _name in (("weight", "weight gradient"), ("bias", "bias gradient"), ("", "weight and bias gradient")):
    for _key, _operators, _did, _keep in _PARTS:
        backward(_operators, f"{_name}: {_did}", _SUM, PARAMETERS, f"{_name}: {_key}")(_of_other_delta(_which, _keep))
    for _key, _operators, _did, _count in _MEANS:
        backward(_operators, f"{_name}: {_did}", _SUM, PARAMETERS, f"{_name}: {_key}")(_divided(_which, _count))
    backward(
        LEARNING,
        f"{_name}: the sign is turned",
        "the gradient points uphill; the update subtracts it",
        PARAMETERS,
        f"{_name}: sign flipped",
    )(_times(_which, -1.0))
    backward(
        LEARNING,
        f"{_name}: it was added twice",
        "set gradients to zero before each backward pass",
        PARAMETERS,
        f"{_name}: doubled",
    )(_times(_which, 2.0))
    backward(LEARNING, f"{_name}: it stayed zero", _SUM, PARAMETERS, f"{_name}: never filled")(_nothing(_which))
