"""A deep plain network that does not learn, and batch norm that mends it.

Mutation that turns this red: in missing_norm.py, `len(convs) < self.deep` → `len(convs) > self.deep`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.checks.missing_norm import MissingNorm
from tests.checks import small


def _images() -> tuple[Tensor, Tensor]:
    """A bright row or a bright column in noise."""
    generator = torch.Generator().manual_seed(0)
    x, y = 0.3 * torch.randn(96, 1, 6, 6, generator=generator), torch.arange(96) % 2
    for i in range(96):
        at = int(torch.randint(0, 6, (1,), generator=generator))
        if y[i]:
            x[i, 0, at] += 1
        else:
            x[i, 0, :, at] += 1
    return x, y


def _chain(depth: int, norm: bool = False) -> nn.Sequential:
    def block(i: int) -> list[nn.Module]:
        return [nn.Conv2d(8 if i else 1, 8, 3, padding=1), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU()]

    layers = [m for i in range(depth) for m in block(i)]
    return small.net(*layers, nn.Flatten(), nn.Linear(288, 2))


def test_a_deep_plain_chain_that_does_not_learn() -> None:
    program = small.made(_chain(10), "sgd:0.05", _images(), epochs=2)
    (one,) = small.found(MissingNorm(), program, 0.5)
    assert (one.fault, one.strength) == ("A11", 0.6)
    control, changed = small.shares(small.made(_chain(10), "sgd:0.05", _images()), one.change, 60)
    assert changed > control + 0.2


def test_normed_shallow_and_learning_networks_are_left_alone() -> None:
    for model in (_chain(8, norm=True), _chain(3)):
        assert small.found(MissingNorm(), small.made(model, "sgd:1e-6", _images(), epochs=1), 0.5) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(MissingNorm()(evidence)), list), name
