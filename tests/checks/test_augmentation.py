"""Augmentation that drowns the inputs.

Mutation that turns this red: in augmentation.py, `share <= self.most` → `share >= self.most`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convscope.checks.augmentation import Augmentation, same, within
from convscope.diagnosing.examples import read
from tests.checks import small
from tests.checks.blobs import blobs


class _Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Points read with new noise each time."""

    def __init__(self, noise: float) -> None:
        self.x, self.y = blobs()
        self.noise, self.generator = noise, torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.x[at] + self.noise * torch.randn(8, generator=self.generator), self.y[at]


def _loader(noise: float) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(_Noisy(noise), 32, shuffle=True, generator=torch.Generator().manual_seed(0))


def test_strong_noise_is_d12_and_one_fixed_reading_is_learned() -> None:
    program = small.made(small.net(), data=_loader(30.0), held_out=blobs(90, seed=1), epochs=5)
    (one,) = small.found(Augmentation(), program)
    assert (one.fault, one.strength) == ("D12", 0.8)
    assert float(one.evidence["variance that changes, share"]) > 0.9
    assert "held-out accuracy" in one.evidence
    assert one.change is not None
    fixed = one.change.apply(program.twin()).examples
    assert fixed.epochs == ()
    first, again = (torch.cat([x for x, _ in fixed.batches(0, epoch)]) for epoch in (0, 1))
    assert torch.equal(first.sum(1).sort().values, again.sum(1).sort().values)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_mild_noise_is_left_alone(noise: float) -> None:
    assert small.found(Augmentation(), small.made(small.net(), data=_loader(noise), epochs=10)) == []


def test_shares_of_known_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 3, generator=generator)
    a, b = (x + 2 * torch.randn(2000, 3, generator=generator) for _ in range(2))
    assert within(a, b) == pytest.approx(4 / 5, abs=0.03)  # noise of variance 4 on a signal of variance 1
    assert within(x, x) == 0.0
    assert same(x[:50], x[:50]) == 1.0
    assert same(torch.full((4, 2), torch.nan), x[:4, :2]) != same(x[:4], x[:4])


def test_data_read_once_is_left_alone_and_odd_programs_are_no_matter() -> None:
    assert read(_loader(1.0)).once is not None
    assert small.found(Augmentation(), small.made(small.net(), data=blobs(), epochs=2)) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in Augmentation()(evidence)] == [], name
