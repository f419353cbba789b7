"""Sound programs on sequences and texts: recurrent, convolutional and attentive networks, all of which learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import Pair, signals, split, texts, waves
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import accuracy, loader
from torch import Tensor, nn
from torch.nn import functional as F

Adam = torch.optim.Adam


class Recurrent(nn.Module):
    """A recurrent layer behind an embedding or not, and a head on every state or on the last."""

    def __init__(self, kind: Callable[..., Any], inward: int, units: int, outputs: int, *, words: int = 0,
                 every: bool = False, layers: int = 1) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Embedding(words, inward) if words else nn.Identity()
        self.body = kind(inward, units, num_layers=layers, batch_first=True)
        self.head, self.every = nn.Linear(units, outputs), every

    def forward(self, x: Tensor) -> Tensor:
        """(B, steps, …) to (B, steps, outputs) or (B, outputs)."""
        states = self.body(self.embed(x))[0]
        return self.head(states if self.every else states[:, -1])


class Bag(nn.Module):
    """The mean of the words' vectors, and a dense layer."""

    def __init__(self, words: int, wide: int = 16) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(words, wide), nn.Linear(wide, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, words) to (B, 2)."""
        return self.head(self.embed(x).mean(1))


class Attentive(nn.Module):
    """One transformer block over embedded words with places, the mean of its states, a head (Vaswani et al. 2017)."""

    def __init__(self, words: int, steps: int, wide: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, wide)
        self.place = nn.Parameter(0.02 * torch.randn(steps, wide))
        self.attend = nn.MultiheadAttention(wide, 2, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(wide), nn.LayerNorm(wide)
        self.dense, self.head = nn.Sequential(nn.Linear(wide, 32), nn.GELU(), nn.Linear(32, wide)), nn.Linear(wide, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, words) to (B, 2)."""
        states = self.embed(x) + self.place
        looked = self.norm1(states)
        states = states + self.attend(looked, looked, looked, need_weights=False)[0]
        return self.head((states + self.dense(self.norm2(states))).mean(1))


def convolved() -> nn.Module:
    """Two strided convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 5, 2, 2), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 5, 2, 2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip


def letters(seed: int, n: int = 600, steps: int = 16) -> tuple[Pair, Pair]:
    """Sequences of eight letters that mostly follow one another by a fixed rule, and each one's successor."""
    rng = torch.Generator().manual_seed(seed + 500)
    follows = torch.randperm(8, generator=rng)
    x = torch.zeros(n, steps + 1, dtype=torch.int64)
    x[:, 0] = torch.randint(0, 8, (n,), generator=rng)
    for at in range(steps):
        random = torch.randint(0, 8, (n,), generator=rng)
        x[:, at + 1] = torch.where(torch.rand(n, generator=rng) < 0.9, follows[x[:, at]], random)
    return split(x[:, :-1], x[:, 1:], seed)


def as_steps(seed: int) -> tuple[Pair, Pair]:
    """Signals as (N, steps, 1)."""
    (x, y), (held, labels) = signals(seed, steps=24)
    return (x.transpose(1, 2), y), (held.transpose(1, 2), labels)


def next_letter(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy at every step: (B, steps, 8) against (B, steps)."""
    return F.cross_entropy(output.transpose(1, 2), target)


def letters_right(output: Tensor, target: Tensor) -> float:
    """The share of steps whose successor is named."""
    return float((output.argmax(2) == target).float().mean())


def sequence(
    seed: int, net: Callable[[], nn.Module], data: Callable[[int], tuple[Pair, Pair]], loss: Any, rate: float = 0.003,
    *, epochs: int = 10, metric: Any = None,
) -> Setup:  # fmt: skip
    """A sequence program with Adam."""
    torch.manual_seed(seed)
    model = net()
    train, held = data(seed)
    return Setup(model, train, held, loss, Adam(model.parameters(), rate), 32, epochs, metric=metric)


def clipped(seed: int) -> Setup:
    """A tanh RNN whose gradient is clipped at 1, as is usual: it bites now and then only."""
    setup = sequence(seed, lambda: Recurrent(nn.RNN, 1, 32, 1, every=True), waves, F.mse_loss)
    x, y = setup.train
    data = loader(x, y, seed)

    def loop() -> None:
        for _ in range(10):
            for x, y in data:
                setup.optimizer.zero_grad()
                F.mse_loss(setup.model(x), y).backward()
                nn.utils.clip_grad_norm_(setup.model.parameters(), 1.0)
                setup.optimizer.step()

    return Setup(setup.model, data, setup.held_out, F.mse_loss, setup.optimizer, 32, 10, loop=loop)


SOUND: dict[str, tuple[str, Any]] = {
    "PTEX-time-sequence-LSTM": ("the next value of sines, two LSTM layers", partial(
        sequence, net=lambda: Recurrent(nn.LSTM, 1, 24, 1, every=True, layers=2), data=waves, loss=F.mse_loss, rate=0.01)),
    "gru-waves": ("the next value of sines, GRU", partial(
        sequence, net=lambda: Recurrent(nn.GRU, 1, 24, 1, every=True), data=waves, loss=F.mse_loss, rate=0.01)),
    "rnn-clipped": ("the next value of sines, tanh RNN, clipping at 1 in the loop", clipped),
    "conv1d-signals": ("sine, square or saw-tooth", partial(sequence, net=convolved, data=signals, loss=F.cross_entropy)),
    "gru-signals": ("the same from a GRU's last state", partial(
        sequence, net=lambda: Recurrent(nn.GRU, 1, 32, 3), data=as_steps, loss=F.cross_entropy, rate=0.01, epochs=15)),
    "text-bag": ("praise or blame from the mean of word vectors", partial(
        sequence, net=lambda: Bag(60), data=texts, loss=F.cross_entropy, rate=0.01, epochs=12)),
    "text-lstm": ("praise or blame, LSTM", partial(
        sequence, net=lambda: Recurrent(nn.LSTM, 16, 32, 2, words=60), data=texts, loss=F.cross_entropy, rate=0.005,
        epochs=12)),
    "text-transformer": ("praise or blame, a transformer block", partial(
        sequence, net=lambda: Attentive(60, 12), data=texts, loss=F.cross_entropy, rate=0.003, epochs=12)),
    "next-letter": ("the next of eight letters, 90 % sure", partial(
        sequence, net=lambda: Recurrent(nn.GRU, 8, 32, 8, words=8, every=True), data=letters, loss=next_letter, rate=0.01,
        epochs=6, metric=letters_right)),
    "text-bag-accuracy": ("the same with a metric of the user's", partial(
        sequence, net=lambda: Bag(60, 8), data=texts, loss=F.cross_entropy, rate=0.02, epochs=12, metric=accuracy)),
}  # fmt: skip

for id, (words, build) in SOUND.items():
    program(f"HEALTHY-{id}", "", words)(partial(build))
