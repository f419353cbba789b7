"""The no-trace check itself sees every kind of trace.

Turns red: in `traces._of_tensor`, leaving out `tensor.requires_grad`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.traces import unchanged


def _draw(*_: Any) -> None:
    torch.rand(1)


TRACES: dict[str, Callable[[Any, Any], Any]] = {
    "a weight's bits": lambda m, x: m[0].weight.data.add_(0.0).copy_(m[0].weight + 1),
    "requires_grad": lambda m, x: m[0].weight.requires_grad_(False),
    "grad": lambda m, x: m(x).sum().backward(),
    "train()": lambda m, x: m.train(),
    "a forward hook": lambda m, x: m[0].register_forward_hook(lambda *a: None),
    "a tensor hook": lambda m, x: m[0].weight.register_hook(lambda g: g),
    "a buffer": lambda m, x: m.train()(x),
    "a replaced parameter": lambda m, x: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach().clone())),
    "a replaced submodule": lambda m, x: setattr(m, "0", nn.Conv2d(1, 2, 3)),
    "an attribute": lambda m, x: setattr(m, "activations", 1),
    "the image": lambda m, x: x.add_(1),
    "the image's requires_grad": lambda m, x: x.requires_grad_(),
    "torch's generator": _draw,
    "NumPy's generator": lambda m, x: np.random.rand(),
    "Python's generator": lambda m, x: random.random(),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_seen(name: str) -> None:
    with torch.random.fork_rng():
        model, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval(), torch.rand(1, 1, 4, 4)
        with pytest.raises(AssertionError, match="a trace was left"), unchanged(model, x):
            TRACES[name](model, x)


def test_running_the_model_leaves_none() -> None:
    model, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval(), torch.zeros(1, 1, 4, 4)
    with unchanged(model, x):
        model(x)


def test_a_trace_is_seen_when_the_question_fails() -> None:
    model = nn.Linear(1, 1)

    def fail() -> None:
        with unchanged(model):
            model.eval()
            raise ValueError

    with pytest.raises(AssertionError, match="training"):
        fail()
