"""The doctor against odd programs: nothing of the user's moves, and what cannot be checked is refused in words.

Mutation that turns this red: in given.py, without `@left_alone()`; in rebinding.py, `made = _keep(value, copy.copy(value),
memo)` → `made = value`; in program.py, `except Exception` in `_deep` → `except RuntimeError`; in trial.py, `_step` that
always calls `optimizer.step()`.
"""

from __future__ import annotations

import random
import time
import warnings
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import convscope as cs
from convscope.checks._output import _peeled
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import read
from convscope.diagnosing.trial import train
from convscope.errors import DataError, UsageError
from tests.traces import unchanged

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
SEEN: list[int] = []


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def kinds(model: nn.Module, data: Any, loss: Any = "cross-entropy", optimizer: Any = "adam:0.01", **words: Any) -> list[str]:
    """Fault codes of the alarms; nothing of the user's has moved."""
    with unchanged(model, X, Y):
        found = cs.check(model, data, loss, optimizer, seconds=0.6, **words)
    return [f.fault or f.severity for f in found.findings if f.severity != "advice"]


class Drawn(Dataset[Any]):
    """Every item draws from all of the process's generators and from one of its own."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        noise = random.random() + np.random.rand() + float(torch.rand(1)) + self.own.random()
        return X[i] + 0.01 * noise, int(Y[i])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(TensorDataset(X, Y))


@pytest.mark.parametrize("source", [
    DataLoader(TensorDataset(X, Y), 32, shuffle=True), Drawn(), DataLoader(Stream(), 16),
    DataLoader(Drawn(), 32, shuffle=True, num_workers=1, persistent_workers=True)],
    ids=["shuffled", "augmented", "stream", "workers"])  # fmt: skip
def test_reading_draws_nothing_of_the_users(source: Any) -> None:
    own = source.own.bit_generator.state if isinstance(source, Drawn) else None
    model = mlp()
    with unchanged(model):
        given.program(model, source, "cross-entropy", "adam")
    assert own is None or own == source.own.bit_generator.state
    assert getattr(source, "_iterator", None) is None


def test_reading_leaves_the_samplers_generator_where_it_was() -> None:
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    read(DataLoader(Drawn(), 32, sampler=RandomSampler(range(96), generator=generator)))
    assert torch.equal(state, generator.get_state())


def counted(output: Tensor, target: Tensor) -> Tensor:
    SEEN.append(len(output))
    return F.cross_entropy(output, target)


class Kept:
    """A loss that counts, averages and lists."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.calls, self.mean, self.list = model, 0, torch.zeros(()), list[float]()

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        value = F.cross_entropy(output, target) + 1e-4 * sum(p.square().sum() for p in self.model.parameters())
        self.calls += 1
        self.list.append(float(value.detach()))
        self.mean.mul_(0.9).add_(0.1 * value.detach())
        return value

    def method(self, output: Tensor, target: Tensor) -> Tensor:
        return self(output, target)


def test_what_a_loss_keeps_stays_as_it_was() -> None:
    SEEN.clear()
    model = mlp()
    assert kinds(model, (X, Y), counted) == ["fine"]
    kept = Kept(model)
    for loss in (kept, kept.method):
        assert kinds(model, (X, Y), loss) == ["fine"]
    assert (SEEN, kept.calls, kept.list, float(kept.mean)) == ([], 0, [], 0.0)


def test_hooks_of_the_user_run_on_the_copy_and_write_there() -> None:
    seen: list[float] = []
    held: dict[str, Tensor] = {}
    model = mlp()
    model[0].register_forward_hook(lambda m, i, o: seen.append(float(o.mean())))
    model[1].register_forward_hook(lambda m, i, o: cast("dict[str, Any]", held).update(features=o))
    assert kinds(model, (X, Y), lambda o, y: F.cross_entropy(o, y) + 1e-3 * held["features"].square().mean()) == ["fine"]
    assert not seen
    assert not held


def test_a_model_that_cannot_be_copied_is_built_by_hand() -> None:
    class Stubborn(nn.Sequential):
        def __deepcopy__(self, memo: Any) -> Any:
            raise ValueError("not me")

    model: Any = Stubborn(*mlp())
    program = given.program(model, (X, Y), "cross-entropy", "adam:0.01")
    before = model[0].weight.detach().clone()
    assert train(program.twin(), steps=5).moved > 0
    assert torch.equal(before, model[0].weight)
    assert kinds(model, (X, Y)) == ["fine"]


def test_an_optimiser_that_asks_for_the_loss_again() -> None:
    model = mlp()
    assert kinds(model, (X, Y), "cross-entropy", torch.optim.LBFGS(model.parameters())) == ["fine"]


def test_an_optimiser_that_cannot_be_built_again_is_told() -> None:
    class Own(torch.optim.SGD):
        def __init__(self, params: Any, gift: int) -> None:
            super().__init__(params, lr=0.1)

    model = mlp()
    with pytest.raises(UsageError, match="Own for a copy of the model; TypeError"):
        cs.check(model, (X, Y), "cross-entropy", Own(model.parameters(), 1))


def test_float64_arrays_stay_for_a_float64_model() -> None:
    program = given.program(mlp().double(), (X.double().numpy(), Y.numpy()), "cross-entropy", "adam")
    assert program.examples.x.dtype == torch.float64
    assert given.program(mlp(), (X.double().numpy(), Y.numpy()), "cross-entropy", "adam").examples.x.dtype == torch.float32


def test_numbers_that_a_forward_pass_computes_are_calls_without_units() -> None:
    class Own(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            self.level = input.mean()
            return super().forward(input - self.level)

    evidence = Evidence(given.program(Own(*mlp()), (X, Y), "cross-entropy", "adam"))
    assert any(s.size == () for s in evidence.signals)


def test_batches_that_are_dicts_are_read_by_name() -> None:
    batch = {"id": ["a"] * 96, "label": Y, "image": X}
    x, y = read([batch]).x, read([batch]).y
    assert y is not None
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    with pytest.raises(DataError, match="a dict of a, b, c; name them x and y"):
        read([{"a": X, "b": Y, "c": Y}])


def test_more_parts_than_two_are_said() -> None:
    assert "each item has 3 parts" in " ".join(read(TensorDataset(X, Y, Y)).notes)
    assert "each item has 3 parts" in " ".join(read([(X, Y, Y)]).notes)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.inner(torch.cat([a, b], 1))


@pytest.mark.parametrize(("model", "data", "words", "message"), [
    (Two(), (X, Y), {}, "forward of Two needs a, b"),
    (mlp(), ((X[:, :3], X[:, 3:]), Y), {}, r"a tuple of 2: \(96, 3\), \(96, 3\); pack them into one x"),
    (mlp(), [((X[:, :3], X[:, 3:]), Y)], {}, "inputs of a batch as one tensor"),
    (mlp(), (X, Y), {"batch_size": 0}, "batch_size of at least 1; got 0"),
    (mlp(), (X, Y), {"epochs": 0}, "epochs of at least 1; got 0"),
    (mlp(), (X, Y), {"seconds": 0}, "seconds above 0"),
    (mlp(), (X, Y), {"epoch": 3}, "no option of check named 'epoch'; closest: 'epochs'"),
    (nn.Sequential(nn.LazyLinear(3)), (X, Y), {}, "0.weight is not initialised yet"),
], ids=["two inputs", "tuple", "batch of tuples", "batch", "epochs", "seconds", "option", "lazy"])  # fmt: skip
def test_what_cannot_be_checked_is_refused_in_words(model: Any, data: Any, words: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        cs.check(model, data, "cross-entropy", **words)


def test_a_scripted_model_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that scripts are an old way
        scripted: Any = torch.jit.trace(mlp(), X[:1])
    with pytest.raises(UsageError, match="it is scripted; give the module that it was made from"):
        cs.check(scripted, (X, Y), "cross-entropy")


def test_a_slow_network_is_looked_at_on_fewer_examples() -> None:
    class Slow(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            time.sleep(0.004 * len(input))
            return super().forward(input)

    many = torch.randn(600, 6, generator=torch.Generator().manual_seed(1))
    evidence = Evidence(given.program(Slow(*mlp()), (many, many[:, :3].argmax(1)), "cross-entropy", "adam"), seconds=1.0)
    assert 32 <= evidence.before.examples <= 0.6 / 0.004
    assert any("a forward pass takes long" in note for note in evidence.notes)
    quick = Evidence(given.program(mlp(), (many, many[:, :3].argmax(1)), "cross-entropy", "adam"))
    assert quick.before.examples == 512


@pytest.mark.parametrize(("line", "left"), [
    ("return torch.softmax(self.b(x), dim=1)", "return self.b(x)"), ("x = F.softmax(x, 1)", "x = x"),
    ("return self.b(x).softmax(dim=1)", "return self.b(x)"), ("torch.softmax(", ""),
    ("return self.softmax", "")])  # fmt: skip
def test_a_line_of_the_users_without_one_call(line: str, left: str) -> None:
    assert _peeled(line, "softmax") == left


def test_one_class_alone_is_judged_by_the_loss() -> None:
    evidence = Evidence(given.program(mlp(), (X, torch.zeros(96, dtype=torch.long)), "cross-entropy", "adam"), seconds=1.0)
    assert evidence.after.metric == "loss"
    assert kinds(mlp(), (X[:1], Y[:1])) != ["unknown"]


def test_what_is_raised_is_told_once() -> None:
    found = cs.check(mlp(), (X, Y - 1), "cross-entropy", "adam", seconds=0.6).findings[0]
    assert found.symptom == "the loss raises an error: IndexError: Target -1 is out of bounds."
