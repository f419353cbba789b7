"""Gradients that vanish and that explode over the depth.

Mutation that turns this red: in depth.py, `ratio = a / b` → `ratio = b / a`.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from convscope.checks.depth import Depth
from tests.checks import small


def _deep(activation: type[nn.Module], depth: int, scale: float = 1.0) -> nn.Sequential:
    layers = [m for _ in range(depth) for m in (nn.Linear(16, 16), activation())]
    model = small.net(nn.Linear(8, 16), activation(), *layers, nn.Linear(16, 3))
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * scale * math.sqrt(2 / p.shape[1]))
    return model


def test_deep_sigmoids_vanish_and_relu_mends() -> None:
    program = small.made(_deep(nn.Sigmoid, 8), "sgd:0.1")
    (one,) = small.found(Depth(), program)
    assert (one.fault, one.strength) == ("A4", 0.8)
    assert "sigmoid" in one.cause
    control, changed = small.shares(program, one.change)
    assert changed > control + 0.2


def test_wide_weights_explode() -> None:
    program = small.made(_deep(nn.Tanh, 12, 1.0), "sgd:0.01")
    assert small.found(Depth(), program) == []
    model = _deep(nn.ReLU, 8)
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(1e-5)  # small before, as large behind: its relative gradient is the largest
    (one,) = small.found(Depth(), small.made(model, "sgd:0.01"))
    assert one.fault == "A5"
    assert float(one.evidence["first over last relative gradient"]) > 1e3


def test_healthy_depths_are_left_alone() -> None:
    assert small.found(Depth(), small.made(_deep(nn.ReLU, 10))) == []
    assert small.found(Depth(), small.made(small.net())) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Depth()(evidence)), list), name
