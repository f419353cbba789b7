"""Hold what an operator writes out against torch's autograd: values and gradients, at random positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from convscope.operators import Operator
from convscope.operators._working import Working
from tests.operators.against_torch import TOLERANCE, numbers, several


def texts(working: Working) -> list[str]:
    return [line.text for line in working.lines]


def comes_to(working: Working, wanted: float, what: str = "", tolerance: float = TOLERANCE) -> None:
    """The last line has the number (and its text ends in it, or in a remark); the terms add up to one of the lines."""
    far = abs(working.value - wanted)
    assert far <= tolerance * max(1.0, abs(wanted)), "\n".join([f"{what}: {wanted}", *texts(working)])
    assert all(np.isfinite(line.value) and line.text for line in working.lines)
    if working.terms is not None:
        total = float(working.terms.products.sum())
        assert any(abs(line.value - total) <= 1e-10 * max(1.0, abs(total)) for line in working.lines), what
        assert len(working.terms.left_at) == len(working.terms.right_at) == len(working.terms.products)


def hold_written(operator: Operator, function: Callable[..., Any], *arrays: Any, positions: int = 4, seed: int = 0) -> None:
    """`explain_value` and `explain_gradient` of every array against torch; `gradients` names them all."""
    rng = np.random.default_rng(seed)
    tensors = [None if a is None else torch.from_numpy(a.copy()).requires_grad_(a.dtype.kind == "f") for a in arrays]
    results = several(function(*tensors))
    deltas = tuple(numbers(seed + i, *r.shape) for i, r in enumerate(results))
    delta = deltas if len(deltas) > 1 else deltas[0]
    ours = operator.backward(delta, *arrays)
    which = [i for i, g in enumerate(ours) if g is not None]
    named = operator.gradients(*(None if a is None else a.shape for a in arrays))
    assert [g.shape for g in named] == [arrays[i].shape for i in which]
    assert [g.of for g in named][:len(operator.arrays)] == [operator.arrays[i] for i in which if i < len(operator.arrays)]
    assert all(g.how and g.macs >= 0 for g in named)
    expected = torch.autograd.grad(results, [tensors[i] for i in which], [torch.from_numpy(d) for d in deltas])
    for _ in range(positions):
        at = place(rng, results[0].shape)
        comes_to(operator.explain_value(at, *arrays), float(results[0].detach()[at]), f"value at {at}")
        for i, gradient in zip(which, expected, strict=True):
            at = place(rng, gradient.shape)
            comes_to(operator.explain_gradient(i, at, delta, *arrays), float(gradient[at]), f"gradient of {i} at {at}")


def place(rng: np.random.Generator, shape: Any) -> tuple[int, ...]:
    return tuple(int(rng.integers(n)) for n in shape)
