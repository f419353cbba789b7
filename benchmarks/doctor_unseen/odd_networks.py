"""Unusual PyTorch: transformers, graphs, volumes, own gradients, streams, double precision, each with a fault.

`fixed=True` builds the repaired program.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import blobs, digits, graphs, sentences, tints, waves
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset


class Reader(nn.Module):
    """A transformer over words that gives the two classes of a review."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(60, 16), nn.Parameter(0.02 * torch.randn(12, 16))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=batch_first)
        self.out = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(self.words(x) + self.places).mean(1))


@case(
    "UNSEEN-odd-transformer-batch-second", "A9", also=("O9",), symptom="no", about="accuracy 1, with the fix accuracy 0.998"
)
def transformer_axes(seed: int, fixed: bool = False) -> Setup:
    """Rows are sentences, but the encoder takes the first axis for time: it attends across the batch."""
    x, y = sentences(seed)
    model = Reader(batch_first=fixed)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        batch=50,
        epochs=8,
    )


class Attention(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.words, self.score, self.out = nn.Embedding(60, 16), nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x)
        weight = F.softmax(self.score(torch.tanh(h)), dim=self.axis)
        return self.out((weight * h).sum(1)).squeeze(-1)


@case("UNSEEN-odd-attention-over-batch", "O9", symptom="no", about="accuracy 1, with the fix 1")
def attention_axis(seed: int, fixed: bool = False) -> Setup:
    x, y = sentences(seed)
    model = Attention(1 if fixed else 0)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y).float()),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        batch=25,
        epochs=10,
    )


class GCN(nn.Module):
    """Graph convolutions h <- f(A h W) on packed (A | features), then the mean over the nodes."""

    def __init__(self, depth: int, act: Any, nodes: int = 8) -> None:
        super().__init__()
        self.nodes, self.act = nodes, act
        self.layers = nn.ModuleList(nn.Linear(3 if i == 0 else 16, 16) for i in range(depth))
        self.out = nn.Linear(16, 2)

    def forward(self, packed: Tensor) -> Tensor:
        around, h = packed[..., : self.nodes], packed[..., self.nodes :]
        for layer in self.layers:
            h = self.act(around @ layer(h))
        return self.out(h.mean(1))


@case("UNSEEN-odd-graph-deep-sigmoid", "A4", also=("A3",), symptom="yes", about="accuracy 0.517, with the fix accuracy 0.8")
def graph_sigmoid(seed: int, fixed: bool = False) -> Setup:
    x, y = graphs(seed)
    model = GCN(2, torch.relu) if fixed else GCN(8, torch.sigmoid)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        epochs=15,
    )


@case("UNSEEN-odd-volume-pooled-away", "A10", symptom="yes", about="accuracy 0.379, with the fix 0.954")
def volume_pooled(seed: int, fixed: bool = False) -> Setup:
    """Does a bar in an 8 x 8 x 8 volume run along depth, height or width? Three poolings leave a single voxel."""
    rng = np.random.default_rng(seed)
    x, y = 0.4 * rng.normal(size=(240, 1, 8, 8, 8)), rng.integers(0, 3, 240)
    for i in range(240):
        place: list[Any] = list(rng.integers(1, 7, 3))
        place[y[i]] = slice(1, 7)
        x[i, 0][tuple(place)] += 1.0
    stages: list[nn.Module] = []
    for a, b in ((1, 6), (6, 6)):
        stages += [nn.Conv3d(a, b, 3, padding=1), nn.ReLU()] + ([] if fixed else [nn.AvgPool3d(2)])
    stages += (
        [nn.MaxPool3d(4), nn.Flatten(), nn.Linear(6 * 8, 3)] if fixed else [nn.AvgPool3d(2), nn.Flatten(), nn.Linear(6, 3)]
    )
    model = nn.Sequential(*stages)
    return Setup(
        model,
        (torch.tensor(x).float(), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        batch=24,
        epochs=10,
    )


class Sign(torch.autograd.Function):
    """Binary units; the gradient should pass straight through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, through: bool) -> Tensor:
        ctx.through = through
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return (grads[0] if ctx.through else torch.zeros_like(grads[0])), None


class Binary(nn.Module):
    def __init__(self, through: bool) -> None:
        super().__init__()
        self.first, self.second, self.third, self.through = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 10), through

    def forward(self, x: Tensor) -> Tensor:
        x = Sign.apply(self.first(x), self.through)
        return self.third(Sign.apply(self.second(x), self.through))


@case("UNSEEN-odd-binary-zero-gradient", "P7", symptom="weak", about="accuracy 0.682, with the fix 0.95")
def binary_gradient(seed: int, fixed: bool = False) -> Setup:
    x, y = digits(seed)
    model = Binary(fixed)
    return Setup(
        model,
        (torch.tensor(x).flatten(1) / 16 - 0.5, torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=12,
    )


class Stream(IterableDataset):
    """Digits as they lie in their folders, one class after the other."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x, self.y, strict=True)


@case("UNSEEN-odd-stream-by-class", "D9", symptom="yes", about="accuracy 0.237, with the fix 0.952")
def stream_sorted(seed: int, fixed: bool = False) -> Setup:
    x, y = digits(seed)
    rows = np.arange(len(y)) if fixed else np.argsort(y, kind="stable")
    loader = DataLoader(Stream(torch.tensor(x[rows]).flatten(1) / 16, torch.tensor(y[rows])), batch_size=20)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return Setup(
        model,
        loader,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.2),
        batch=20,
        epochs=10,
        shuffle=False,
    )


class Tail(nn.Module):
    def __init__(self, which: int) -> None:
        super().__init__()
        self.rnn, self.out, self.which = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 1), which

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.out(states[:, self.which])


@case("UNSEEN-odd-gru-first-step", "A9", symptom="yes", about="R2 0.002, with the fix 0.98")
def gru_first(seed: int, fixed: bool = False) -> Setup:
    """The state after the first step is read, not the one after the last."""
    x, y = waves(seed)
    model = Tail(-1 if fixed else 0)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        epochs=10,
    )


class ChannelsLast(nn.Module):
    """Gets NHWC pictures, as they come from a file."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.right = right
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        x = x.permute(0, 3, 1, 2) if self.right else x.reshape(n, c, h, w)
        return self.out(F.adaptive_max_pool2d(F.relu(self.conv(x)), 1).flatten(1))


@case("UNSEEN-odd-reshape-for-permute", "A9", symptom="no", about="accuracy 0.99, with the fix 1")
def reshape_permute(seed: int, fixed: bool = False) -> Setup:
    x, y = tints(seed)
    model = ChannelsLast(fixed)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        batch=30,
        epochs=12,
    )


def dice(out: Tensor, mask: Tensor) -> Tensor:
    both = (out * mask).sum((1, 2, 3))
    return (1 - (2 * both + 1) / (out.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


@case("UNSEEN-odd-dice-on-logits", "O3", symptom="yes", about="accuracy 0.887, with the fix 0.995")
def dice_logits(seed: int, fixed: bool = False) -> Setup:
    x, y = blobs(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    if fixed:
        model.append(nn.Sigmoid())
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=dice,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        batch=24,
        epochs=10,
    )


@case(
    "UNSEEN-odd-segmentation-rounded-logits",
    "E2",
    symptom="yes",
    about="accuracy 0.99, by its own metric 0.011, with the fix 0.99, by its 0.990",
)
def segmentation_rounded(seed: int, fixed: bool = False) -> Setup:
    """The network is fine; its user's accuracy rounds logits as if they were probabilities."""
    x, y = blobs(seed)
    model = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    said = (lambda out: (out > 0).float()) if fixed else torch.round
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        batch=24,
        epochs=10,
        metric=lambda out, t: float((said(torch.as_tensor(out)) == t).float().mean()),
    )
