"""Reshapes that mix examples, rows read as features, maps pooled to nothing.

Mutation that turns this red: in shape.py, `off <= self.slack` → `off >= self.slack`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.checks.shape import Shape
from tests.checks import small


class Mixing(nn.Module):
    """Cuts across the batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)).T.reshape(len(x), 32))


class Thrice(nn.Linear):
    """Has three times as many rows as examples."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).reshape(-1, 1)


def _images() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


def test_a_reshape_across_the_batch_is_exact() -> None:
    (one,) = small.found(Shape(), small.made(Mixing()))
    assert (one.fault, one.strength, one.shows) == ("A9", 1.0, True)
    assert "last" in one.where


def test_too_many_rows_are_seen() -> None:
    program = small.made(Thrice(8, 3), data=(small.rings()[0], torch.zeros(256)), loss=lambda out, t: out.square().mean())
    assert [(s.fault, s.strength) for s in small.found(Shape(), program)] == [("A9", 0.8)]


def test_rows_of_images_read_by_a_linear_layer() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    (one,) = small.found(Shape(), small.made(model, data=_images()))
    assert (one.fault, one.strength) == ("A9", 0.6)


def test_convolutions_on_a_single_point() -> None:
    def block(i: int) -> list[nn.Module]:
        return [nn.Conv2d(i, 4, 3, padding=1), nn.ReLU()]

    early = nn.Sequential(*block(1), nn.MaxPool2d(8), *block(4), *block(4), nn.Flatten(), nn.Linear(4, 3))
    late = nn.Sequential(*block(1), *block(4), *block(4), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(4, 3))
    assert [(s.fault, s.strength) for s in small.found(Shape(), small.made(early, data=_images()))] == [("A10", 0.6)]
    assert small.found(Shape(), small.made(late, data=_images())) == []


def test_healthy_shapes_and_random_outputs_are_left_alone() -> None:
    class Noisy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input + torch.randn(input.shape))

    assert small.found(Shape(), small.made(small.net())) == []
    assert [
        s.fault for s in small.found(Shape(), small.made(small.net(nn.Linear(8, 9), nn.BatchNorm1d(9), nn.Linear(9, 3))))
    ] == []
    assert small.found(Shape(), small.made(Noisy(8, 3))) == []


def test_odd_programs_are_no_matter() -> None:
    for name, evidence in small.odd().items():
        assert isinstance(list(Shape()(evidence)), list), name
