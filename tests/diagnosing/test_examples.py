"""Every form in which data come, as one sample in memory; readings that differ; generators left as they were.

Mutation that turns this red: in examples.py, `default_rng((seed, epoch))` → `default_rng((seed, 0))`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from convscope.diagnosing.examples import Examples, read, tensor
from convscope.errors import DataError, UsageError

X, Y = torch.arange(60.0).reshape(20, 3), torch.arange(20) % 4


class Noisy(Dataset[Any]):
    """Another input at every reading."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return X[at] + torch.rand(3), Y[at]


class Rows:
    """A loader of one's own: batches by iteration, and nothing else known."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X.tolist(), Y.tolist()),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), 6),
        [(X[:8], Y[:8]), (X[8:], Y[8:])],
        Rows([{"image": X[:10], "label": Y[:10]}, {"image": X[10:], "label": Y[10:]}]),
    ],
    ids=["pair", "list", "arrays", "lists", "dataset", "loader", "batches", "dictionaries"],
)
def test_every_form_gives_the_same_examples(source: Any) -> None:
    found = read(source)
    assert torch.equal(found.x, X)
    assert found.y is not None
    assert torch.equal(found.y.long(), Y)
    assert found.x.dtype == torch.float32
    assert found.epochs == ()


def test_inputs_alone() -> None:
    for source in (X, X.numpy(), (X,)):
        found = read(source)
        assert found.y is None
        assert torch.equal(found.x, X)


def test_batch_and_order_are_the_loaders_own() -> None:
    generator = torch.Generator().manual_seed(0)
    assert (read(DataLoader(TensorDataset(X, Y), 6)).batch, read(DataLoader(TensorDataset(X, Y), 6)).shuffled) == (6, False)
    assert read(DataLoader(TensorDataset(X, Y), 6, shuffle=True, generator=generator)).shuffled
    assert (read((X, Y)).batch, read((X, Y)).shuffled, read((X, Y), 7, False).shuffled) == (32, True, False)


def test_a_loaders_generator_is_where_it_was() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    read(DataLoader(Noisy(), 4, shuffle=True, generator=generator))
    assert torch.equal(generator.get_state(), before)


def test_augmentation_shows_in_two_readings() -> None:
    found = read(DataLoader(Noisy(), 5))
    assert found.again is not None
    assert found.once is not None
    assert not torch.equal(found.again[0], found.once[0])
    assert len(found.epochs) == 2
    first, second = (torch.cat([x for x, _ in found.batches(0, k)]) for k in (0, 1))
    assert not torch.equal(first, second)
    steady = read(DataLoader(TensorDataset(X, Y), 5))
    assert steady.again is not None
    assert torch.equal(steady.again[0], X)


def test_many_examples_are_sampled_and_that_is_said() -> None:
    x = np.arange(5000, dtype=np.float32)[:, None]
    found = read((x, np.zeros(5000)))
    assert (len(found), found.total) == (4096, 5000)
    assert "4,096 of 5,000 examples" in found.notes[0]
    assert (float(found.x[0]), float(found.x[-1])) == (0.0, 4999.0)  # evenly spread: sorted data are not cut
    assert float(read((x, np.zeros(5000)), shuffle=False).x[-1]) == 4095.0


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 70), batch=st.integers(1, 33), seed=st.integers(0, 9), epoch=st.integers(0, 3), shuffled=st.booleans()
)
def test_an_epoch_is_every_example_once(n: int, batch: int, seed: int, epoch: int, shuffled: bool) -> None:
    x = torch.arange(float(n))
    found = Examples(x, x.long(), batch, shuffled)
    parts = list(found.batches(seed, epoch))
    seen = torch.cat([p for p, _ in parts])
    lone = n > 1 and batch > 1 and n % batch == 1  # one example alone is left out: batch norm cannot train on it
    assert len(seen) == n - lone
    assert len(seen.unique()) == len(seen)
    assert all(y is not None and torch.equal(y, p.long()) for p, y in parts)
    assert torch.equal(seen, torch.cat([p for p, _ in found.batches(seed, epoch)]))
    if not shuffled:
        assert torch.equal(seen, x[: len(seen)])
    elif n > 20:
        assert not torch.equal(seen, torch.cat([p for p, _ in found.batches(seed, epoch + 1)]))


def test_the_first_few() -> None:
    found = read((X, Y)).take(5)
    assert torch.equal(found.x, X[:5])
    assert found.total == 20


def test_kinds_of_numbers() -> None:
    assert tensor(np.zeros(3, np.float64), "x").dtype == torch.float32
    assert tensor(np.zeros(3, np.uint16), "x").dtype == torch.int64
    assert tensor(np.zeros(3, np.uint8), "x").dtype == torch.uint8
    assert tensor(np.array([1, 2.5, True], object), "x").tolist() == [1.0, 2.5, 1.0]
    leaf = torch.ones(2, requires_grad=True)
    assert not tensor(leaf * 2, "x").requires_grad


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ((X, Y[:7]), DataError, "20 inputs, 7 targets"),
        ((X[:0], Y[:0]), DataError, "there are no examples"),
        (np.array([["cat", 1]], object), DataError, "'cat' is str"),
        (iter([(X, Y)]), UsageError, "used up by reading"),
        (7, DataError, "got int"),
        (DataLoader(TensorDataset(X[:0], Y[:0]), 4), DataError, "no batch"),
    ],
)
def test_what_cannot_be_read_is_said(source: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(source)
