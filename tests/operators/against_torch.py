"""Hold an operator against torch: the same arrays, forward and every gradient, in float64.

`hold` asserts, for one operator and one torch function of the same arguments: equal results and gradients (1e-10 of the
scale of the numbers), the promised output shape, one gradient for each array (None only where torch has none either),
inputs untouched, and float32 kept.
`hold_differences` asserts the gradients against central differences of our own forward.
`recorded` finds an operator in a real exported graph and asserts that it computes what the graph computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import fx, nn

from convscope import operators
from convscope.operators import Operator

TOLERANCE = 1e-10
SEEDS = st.integers(0, 2**32)


def numbers(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.asarray(scale * np.random.default_rng([seed, len(shape), *shape]).standard_normal(shape))


def close(mine: Any, theirs: Any, what: str = "", tolerance: float = TOLERANCE) -> None:
    """Equal up to `tolerance` of the largest number (at least 1)."""
    theirs = np.asarray(theirs)
    assert np.shape(mine) == theirs.shape, f"{what}: shape {np.shape(mine)} against {theirs.shape}"
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def hold(operator: Operator, function: Callable[..., Any], *arrays: np.ndarray | None, tolerance: float = TOLERANCE) -> None:
    before = [None if a is None else a.copy() for a in arrays]
    tensors = [None if a is None else torch.from_numpy(a.copy()).requires_grad_(a.dtype.kind == "f") for a in arrays]
    theirs, mine = several(function(*tensors)), several(operator.forward(*arrays))
    assert operator.output_shape(*[None if a is None else a.shape for a in arrays]) == tuple(theirs[0].shape)
    deltas = tuple(numbers(i + 1, *t.shape) for i, t in enumerate(theirs))
    for i, (ours, other) in enumerate(zip(mine, theirs, strict=True)):
        close(ours, other.detach().numpy(), f"result {i}", tolerance)
    gradients = operator.backward(deltas if len(deltas) > 1 else deltas[0], *arrays)
    wanted = [t for t in tensors if t is not None and t.requires_grad]
    expected = torch.autograd.grad(theirs, wanted, [torch.from_numpy(d) for d in deltas], allow_unused=True)
    by_tensor = {id(t): g for t, g in zip(wanted, expected, strict=True)}
    assert len(gradients) == len(arrays), "one gradient for each array"
    for i, (ours, tensor) in enumerate(zip(gradients, tensors, strict=True)):
        reference = None if tensor is None else by_tensor.get(id(tensor))
        if ours is None:
            assert reference is None, f"no gradient for array {i}"
        else:
            assert reference is not None, f"a gradient for array {i}, where torch has none"
            close(ours, reference.numpy(), f"gradient {i}", tolerance)
    for now, then in zip(arrays, before, strict=True):
        assert now is None or (now == then).all(), "an input was changed"
    _hold_float32(operator, arrays, deltas)


def _hold_float32(operator: Operator, arrays: tuple[Any, ...], deltas: tuple[np.ndarray, ...]) -> None:
    narrow = [a.astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    few = tuple(d.astype(np.float32) for d in deltas)
    results = (*several(operator.forward(*narrow)), *operator.backward(few if len(few) > 1 else few[0], *narrow))
    assert {r.dtype for r in results if r is not None} <= {np.dtype(np.float32)}


def hold_differences(operator: Operator, *arrays: np.ndarray | None, step: float = 1e-6) -> None:
    """∂L/∂a against (L(a + step) − L(a − step))/(2·step), for L = Σ δ·y, number by number."""
    outputs = several(operator.forward(*arrays))
    deltas = tuple(numbers(i + 7, *np.shape(y)) for i, y in enumerate(outputs))
    gradients = operator.backward(deltas if len(deltas) > 1 else deltas[0], *arrays)

    def total(changed: list[np.ndarray | None]) -> float:
        return sum(float((d * y).sum()) for d, y in zip(deltas, several(operator.forward(*changed)), strict=True))

    for which, gradient in enumerate(gradients):
        if gradient is None:
            continue
        found = np.zeros_like(gradient)
        for at in np.ndindex(gradient.shape):
            moved = [[a if i != which or a is None else a.copy() for i, a in enumerate(arrays)] for _ in range(2)]
            moved[0][which][at] += step
            moved[1][which][at] -= step
            found[at] = (total(moved[0]) - total(moved[1])) / (2 * step)
        close(gradient, found, f"difference quotient of array {which}", 1e-7)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps, for each call that an operator speaks for: name, settings, arrays by schema order, result."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.calls: list[tuple[str, dict[str, Any], list[Any], Any]] = []

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_function(target, args, kwargs)
        schema = getattr(target, "_schema", None)
        if schema is not None:
            given = dict(zip([a.name for a in schema.arguments], args, strict=False)) | kwargs
            arrays, settings = [], {}
            for argument in schema.arguments:
                value = given.get(argument.name, argument.default_value)
                if "Tensor" in str(argument.type):
                    arrays += several(value)
                elif argument.name in given:
                    settings[argument.name] = value
            self.calls.append((schema.name.split("::")[1], settings, arrays, result))
        return result


def recorded(module: nn.Module, *inputs: torch.Tensor, kind: type[Operator]) -> Operator:
    """Export a module in float64, read its call of `kind`, assert that it computes the same, and return it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were assigned during export", UserWarning)  # nn.RNN's lists of its weights
        program = torch.export.export(module.double(), inputs, strict=False).run_decompositions({})
    recorder = _Recorder(program.module())
    with torch.no_grad():
        recorder.run(*inputs)
    name, settings, tensors, result = next(c for c in recorder.calls if operators.for_aten(c[0]) is kind)
    arrays = [None if t is None else t.detach().numpy() for t in tensors]
    shapes = tuple(a.shape for a in arrays if a is not None)
    operator = operators.read(name, settings, shapes)
    assert type(operator) is kind
    for mine, theirs in zip(several(operator.forward(*arrays)), several(result), strict=False):
        close(mine, theirs.detach().numpy(), name)
    return operator
