"""Unusual PyTorch in which nothing is wrong, though some of it looks it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import blobs, digits, graphs, sentences, standard, table, tints
from benchmarks.doctor_unseen.odd_networks import GCN, Binary, Reader, Stream
from benchmarks.doctor_unseen.odd_objectives import VAE, Coupling, Siamese, contrastive, elbo, pairs
from torch import Tensor, nn
from torch.utils.data import DataLoader


@case("UNSEEN-odd-healthy-flow", "", symptom="no", about="objective 5.064 > 3.191")
def flow(seed: int) -> Setup:
    x = torch.tensor(standard(table("iris", seed)[0]))
    model = Coupling(4)
    return Setup(
        model, x, loss=lambda log_p: -log_p.mean(), optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), epochs=20
    )


@case("UNSEEN-odd-healthy-vae", "", symptom="no", about="own metric 0.704")
def vae(seed: int) -> Setup:
    x = torch.tensor(digits(seed)[0]).flatten(1) / 16
    model = VAE(64, 8)
    return Setup(
        model,
        (x, x),
        loss=elbo(2e-6),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=20,
        metric=lambda out, y: 1 - float(((out[:, :64] - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()),
    )


@case("UNSEEN-odd-healthy-reinforce", "", symptom="no", about="loss -0.05479 > -0.2251")
def reinforce(seed: int) -> Setup:
    rng = np.random.default_rng(seed)
    state, action = rng.normal(size=(800, 4)).astype("float32"), rng.integers(0, 3, 800)
    reward = (action == (state @ rng.normal(size=(4, 3))).argmax(1)) - 1 / 3
    y = torch.tensor(np.stack([action, reward], 1).astype("float32"))
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))

    def loss(logits: Tensor, taken: Tensor) -> Tensor:  # negative from the start, as it must be
        return -(F.softmax(logits, -1).gather(1, taken[:, :1].long()).squeeze(1) * taken[:, 1]).mean()

    return Setup(
        policy,
        (torch.tensor(state), y),
        loss=loss,
        optimizer=torch.optim.Adam(policy.parameters(), lr=0.01),
        batch=64,
        epochs=12,
    )


@case("UNSEEN-odd-healthy-siamese", "", symptom="no", about="the repaired twin of siamese-same-is-one: right in .995")
def siamese(seed: int) -> Setup:
    x, same = pairs(seed)
    model = Siamese()
    return Setup(model, (x, 1 - same), loss=contrastive, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), epochs=12)


@case("UNSEEN-odd-healthy-double", "", symptom="no", about="R2 0.989")
def double(seed: int) -> Setup:
    """Double precision, two targets, parameter groups with rates of their own."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (400, 3))
    y = np.stack([np.sin(3 * x[:, 0]) * x[:, 1], x[:, 2] ** 2 - x[:, 0]], 1)
    model = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 2)).double()
    groups = [
        {"params": model[0].parameters(), "lr": 0.02},
        {"params": model[2].parameters(), "lr": 0.01, "weight_decay": 1e-5},
    ]
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.HuberLoss(),
        optimizer=torch.optim.AdamW(groups, lr=1e-3),
        epochs=20,
    )


@case("UNSEEN-odd-healthy-transformer", "", symptom="no", about="accuracy 1")
def transformer(seed: int) -> Setup:
    x, y = sentences(seed)
    model = Reader(batch_first=True)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        batch=50,
        epochs=8,
    )


@case("UNSEEN-odd-healthy-graph", "", symptom="no", about="accuracy 0.817")
def graph(seed: int) -> Setup:
    x, y = graphs(seed)
    model = GCN(2, torch.relu)
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        epochs=15,
    )


@case("UNSEEN-odd-healthy-stream", "", symptom="no", about="accuracy 0.95")
def stream(seed: int) -> Setup:
    x, y = digits(seed)
    loader = DataLoader(Stream(torch.tensor(x).flatten(1) / 16, torch.tensor(y)), batch_size=20)
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


@case("UNSEEN-odd-healthy-straight-through", "", symptom="no", about="accuracy 0.97")
def straight_through(seed: int) -> Setup:
    x, y = digits(seed)
    model = Binary(True)
    return Setup(
        model,
        (torch.tensor(x).flatten(1) / 16 - 0.5, torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=15,
    )


@case("UNSEEN-odd-healthy-channels-last", "", symptom="no", about="accuracy 1")
def channels_last(seed: int) -> Setup:
    x, y = tints(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.GroupNorm(3, 12),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 3),
    ).to(memory_format=torch.channels_last)
    pictures = torch.tensor(x).permute(0, 3, 1, 2)  # strides of a channels-last tensor already
    return Setup(
        model,
        (pictures, torch.tensor(y)),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        epochs=12,
    )


@case("UNSEEN-odd-healthy-two-optimisers", "", symptom="no", about="accuracy 0.967")
def two_optimisers(seed: int) -> Setup:
    """Body and head are stepped by optimisers of their own, and gradients are gathered over two batches on purpose."""
    x, y = digits(seed)
    xt, yt = torch.tensor(x).flatten(1) / 16, torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    slow, fast = torch.optim.Adam(model[0].parameters(), lr=2e-3), torch.optim.Adam(model[2].parameters(), lr=5e-3)

    def loop() -> None:
        for _ in range(12):
            for n, rows in enumerate(torch.randperm(len(xt)).split(16)):
                (F.cross_entropy(model(xt[rows]), yt[rows]) / 2).backward()
                if n % 2:
                    slow.step(), fast.step()
                    slow.zero_grad(), fast.zero_grad()

    both = torch.optim.Adam([{"params": model[0].parameters(), "lr": 2e-3}, {"params": model[2].parameters(), "lr": 5e-3}])
    return Setup(model, (xt, yt), loss=nn.CrossEntropyLoss(), optimizer=both, batch=32, epochs=12, loop=loop)


@case("UNSEEN-odd-healthy-dice", "", symptom="no", about="accuracy 0.992")
def dice(seed: int) -> Setup:
    x, y = blobs(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Sigmoid()
    )

    def loss(out: Tensor, mask: Tensor) -> Tensor:
        return F.binary_cross_entropy(out, mask) + 1 - (2 * (out * mask).sum() + 1) / (out.sum() + mask.sum() + 1)

    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        batch=24,
        epochs=8,
    )
