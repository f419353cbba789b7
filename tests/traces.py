"""No trace left: what a question must not change, on success and on failure.

    with unchanged(model, x):
        convscope.attribute(model, x)

>>> import torch
>>> layer = torch.nn.Linear(2, 1)
>>> with unchanged(layer):
...     layer.tag = 1
Traceback (most recent call last):
AssertionError: a trace was left: module '' attribute 'tag' appeared
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Facts = dict[str, Any]


@contextlib.contextmanager
def unchanged(module: nn.Module, *tensors: Tensor) -> Iterator[None]:
    """Everything about `module` and `tensors`, and the process's random generators and switches, is bit-equal afterwards.

    Looked at: parameters and buffers (identity, bits, version counter, requires_grad, grad), hooks, training flags, every
    attribute of every submodule; RNG state of torch, NumPy and Python; grad mode, default dtype, threads, determinism.
    """
    before = _facts(module, tensors)
    try:
        yield
    finally:
        after = _facts(module, tensors)
        traces = [f"{k} {_word(k, before, after)}" for k in {**before, **after} if not _same(before.get(k), after.get(k))]
        if traces:
            raise AssertionError("a trace was left: " + "; ".join(traces))


def _word(key: str, before: Facts, after: Facts) -> str:
    return "vanished" if key not in after else "appeared" if key not in before else "changed"


def _facts(module: nn.Module, tensors: tuple[Tensor, ...]) -> Facts:
    numpy_state: Any = np.random.get_state()
    facts: Facts = {
        "torch's random state": torch.get_rng_state(), "NumPy's random state": numpy_state,
        "Python's random state": random.getstate(), "threads": torch.get_num_threads(), "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(), "default dtype": torch.get_default_dtype(),
        "determinism": torch.are_deterministic_algorithms_enabled()}
    for at, tensor in enumerate(tensors):
        facts |= _of_tensor(f"tensor {at}", tensor)
    for name, one in module.named_modules():
        for key, value in vars(one).items():
            facts |= _of_value(f"module {name!r} attribute {key!r}", value)
    return facts


def _of_value(name: str, value: Any) -> Facts:
    """A tensor by its bits, a container by its entries, anything else by identity."""
    if isinstance(value, Tensor):
        return _of_tensor(name, value)
    if isinstance(value, dict):
        facts: Facts = {f"{name} keys": list(value)}
        for key, entry in value.items():
            facts |= _of_value(f"{name}[{key!r}]", entry)
        return facts
    if isinstance(value, (list, set, tuple)):
        return {name: [id(entry) for entry in value]}
    plain = value is None or isinstance(value, (bool, int, float, str))
    return {name: value if plain else id(value)}


def _of_tensor(name: str, tensor: Tensor) -> Facts:
    version = None if tensor.is_inference() else tensor._version
    return {name: (id(tensor), version, tensor.requires_grad, id(tensor.grad_fn), len(tensor._backward_hooks or {})),
            f"{name} bits": tensor.detach().clone(), f"{name} grad": None if tensor.grad is None else tensor.grad.clone()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (Tensor, np.ndarray)) and isinstance(b, (Tensor, np.ndarray)):
        x, y = (v.detach().cpu().contiguous().numpy() if isinstance(v, Tensor) else v for v in (a, b))
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)
