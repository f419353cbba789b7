"""Labels that do not belong to their inputs: permuted once, or in every epoch.

Mutation that turns this red: in pairs.py, `if beyond > 2 * self.far:` → `if beyond < 2 * self.far:`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

from convscope.checks.pairs import Pairs
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import read
from tests.checks import small
from tests.checks.blobs import blobs, line, slope


def _permuted(y: Tensor) -> Tensor:
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


def test_permuted_labels_beside_sound_held_out_ones_are_exact() -> None:
    x, y = blobs()
    program = small.made(small.net(), data=(x, _permuted(y)), held_out=blobs(150, seed=1), epochs=5)
    (one,) = small.found(Pairs(), program)
    assert (one.fault, one.strength, one.shows) == ("D7", 1.0, True)
    assert float(one.evidence["z"]) < 3 < 6 < float(one.evidence["held-out z"])


def test_permuted_targets_of_a_regression_are_likely() -> None:
    x, y = slope()
    (one,) = small.found(Pairs(), small.made(line(), "adam:0.001", (x, _permuted(y)), loss="mse", epochs=5))
    assert (one.fault, one.strength) == ("D7", 0.6)


def test_agreement_against_a_slow_twin() -> None:
    x, y = blobs(120)
    program = small.made(small.net(), data=(x, y), epochs=1)
    _, got, chance = Pairs().agreement(Evidence(program), program.examples)
    rows = (x - x.mean(0)) / x.std(0, unbiased=False)
    shares = []
    for i in range(120):
        away = [(float((rows[i] - rows[j]).square().sum()), j) for j in range(120) if j != i]
        shares.append(sum(int(y[j] == y[i]) for _, j in sorted(away)[:5]) / 5)
    assert got == pytest.approx(sum(shares) / 120, abs=1e-9)
    p = torch.bincount(y).double()
    assert chance == pytest.approx(float((p * (p - 1)).sum() / (120 * 119)), abs=0.02)


class _Moving(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, both: bool) -> None:
        self.x, self.y = blobs()
        self.both = both
        self.generator = torch.Generator().manual_seed(3)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.x[at], self.y[at]


class _Order(Sampler[int]):
    def __init__(self, data: _Moving) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self.data), generator=self.data.generator)
        self.data.x = self.data.x[order]
        if self.data.both:
            self.data.y = self.data.y[order]
        return iter(range(len(self.data)))


def test_inputs_moved_without_their_labels_are_exact_and_the_first_pairs_mend() -> None:
    data = _Moving(both=False)
    program = small.made(small.net(), data=DataLoader(data, 32, sampler=_Order(data)), epochs=20)
    (one,) = small.found(Pairs(), program)
    assert (one.strength, one.shows) == (1.0, True)
    assert one.evidence["inputs read twice"] == 300
    control, changed = small.shares(program, one.change, 100)
    assert changed > 0.9 > control + 0.3


def test_pairs_moved_together_are_sound() -> None:
    data = _Moving(both=True)
    examples = read(DataLoader(data, 32, sampler=_Order(data)))
    assert len(examples.epochs) == 2
    assert small.found(Pairs(), small.made(small.net(), data=examples, epochs=20)) == []


def test_a_hard_task_that_is_learned_is_acquitted() -> None:
    bits = torch.randint(0, 2, (400, 8), generator=torch.Generator().manual_seed(0)).float()
    x = bits + 0.1 * torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    y = (bits[:, 0] + bits[:, 1]).long() % 2  # near inputs agree by chance alone, or little more
    program = small.made(small.net(), "adam:0.03", (x[:300], y[:300]), held_out=(x[300:], y[300:]), epochs=60)
    assert [s.strength for s in small.found(Pairs(), program, 3.0) if s.strength > 0.3] == []


def test_word_numbers_are_not_near_or_far() -> None:
    words = torch.randint(0, 50, (300, 4), generator=torch.Generator().manual_seed(0))
    model = small.net(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(16, 3))
    program = small.made(model, "sgd:0.001", (words, blobs()[1]), epochs=1)
    assert Evidence(program).after.poor
    assert small.found(Pairs(), program) == []


def test_sound_pairs_are_left_alone_and_odd_programs_are_no_matter() -> None:
    assert small.found(Pairs(), small.made(small.net(), data=blobs(), epochs=2)) == []
    assert small.found(Pairs(), small.made(line(), data=slope(), loss="mse", epochs=2)) == []
    shuffled = DataLoader(TensorDataset(*blobs()), 32, shuffle=True, generator=torch.Generator().manual_seed(0))
    assert small.found(Pairs(), small.made(small.net(), data=shuffled, epochs=2)) == []
    for name, evidence in small.odd().items():
        assert [s.fault for s in Pairs()(evidence)] == [], name
