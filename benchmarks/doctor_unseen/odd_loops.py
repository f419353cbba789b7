"""Unusual PyTorch with a training loop of its own, in which the fault is. `fixed=True` builds the repaired program."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import blobs, digits, sentences, standard, table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def stream(seed: int, *parts: torch.Tensor, batch: int = 32) -> DataLoader:
    return DataLoader(TensorDataset(*parts), batch_size=batch, shuffle=True, generator=torch.Generator().manual_seed(seed))


@case("UNSEEN-odd-loop-encoder-forgotten", "P6", symptom="yes", about="R2 0.107, with the fix 0.434")
def encoder_forgotten(seed: int, fixed: bool = False) -> Setup:
    """An autoencoder in two modules: the optimiser is given the decoder alone."""
    x = torch.tensor(digits(seed)[0]).flatten(1) / 16
    encoder = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 4))
    decoder = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 64), nn.Sigmoid())
    model = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.Adam(model.parameters() if fixed else decoder.parameters(), lr=5e-3)
    loader = stream(seed, x, x)

    def loop() -> None:
        for _ in range(12):
            for batch, _ in loader:
                optimizer.zero_grad()
                loss = ((decoder(encoder(batch)) - batch) ** 2).mean()
                loss.backward()
                optimizer.step()

    return Setup(model, (x, x), loss=nn.MSELoss(), optimizer=optimizer, epochs=12, loop=loop)


@case("UNSEEN-odd-loop-cleared-before-step", "P5", symptom="yes", about="accuracy 0.528, with the fix 1")
def cleared_before_step(seed: int, fixed: bool = False) -> Setup:
    x, y = sentences(seed)
    xt, yt = torch.tensor(x), torch.tensor(y)
    model = nn.Sequential(nn.EmbeddingBag(60, 16), nn.Linear(16, 2))
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    loader = stream(seed, xt, yt)

    def loop() -> None:
        for _ in range(10):
            for words, kind in loader:
                if fixed:
                    optimizer.zero_grad()
                loss(model(words), kind).backward()
                if not fixed:
                    optimizer.zero_grad()
                optimizer.step()

    return Setup(model, (xt, yt), loss=loss, optimizer=optimizer, epochs=10, loop=loop)


@case("UNSEEN-odd-loop-gradients-pile-up", "P4", symptom="yes", about="R2 -6.54e+26, with the fix 0.568")
def pile_up(seed: int, fixed: bool = False) -> Setup:
    x, y = table("diabetes", seed)
    xt, yt = torch.tensor(standard(x)), torch.tensor(standard(y))[:, None]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = stream(seed, xt, yt)

    def loop() -> None:
        for _ in range(12):
            for inputs, wanted in loader:
                loss = F.smooth_l1_loss(model(inputs), wanted)
                if fixed:
                    model.zero_grad()
                loss.backward()
                optimizer.step()

    return Setup(model, (xt, yt), loss=nn.SmoothL1Loss(), optimizer=optimizer, epochs=12, loop=loop)


@case("UNSEEN-odd-loop-decay-each-batch", "P9", symptom="yes", about="accuracy 0.117, with the fix 0.9")
def decay_each_batch(seed: int, fixed: bool = False) -> Setup:
    x, y = digits(seed)
    xt, yt = torch.tensor(x)[:, None] / 16, torch.tensor(y)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=2e-3), nn.CrossEntropyLoss()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)
    loader = stream(seed, xt, yt)

    def loop() -> None:
        for _ in range(12):
            for images, kinds in loader:
                optimizer.zero_grad(set_to_none=True)
                loss(model(images), kinds).backward()
                optimizer.step()
                if not fixed:
                    scheduler.step()
            if fixed:
                scheduler.step()

    return Setup(model, (xt, yt), loss=loss, optimizer=optimizer, epochs=12, loop=loop)


@case("UNSEEN-odd-loop-stays-in-eval", "E1", symptom="yes", about="accuracy 0.888, with the fix 0.991")
def stays_in_eval(seed: int, fixed: bool = False) -> Setup:
    """After the first look at the held-out images the network is never put back into training mode."""
    x, y = blobs(seed)
    xt, yt = torch.tensor(x) * 20 + 100, torch.tensor(y)
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
    )
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), nn.BCEWithLogitsLoss()
    loader = stream(seed, xt[:192], yt[:192], batch=24)

    def loop() -> None:
        model.train()
        for _ in range(8):
            if fixed:
                model.train()
            for images, masks in loader:
                optimizer.zero_grad()
                loss(model(images), masks).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                loss(model(xt[192:]), yt[192:])

    return Setup(
        model, (xt[:192], yt[:192]), (xt[192:], yt[192:]), loss=loss, optimizer=optimizer, batch=24, epochs=8, loop=loop
    )


@case("UNSEEN-odd-loop-clipped-to-nothing", "P13", symptom="yes", about="accuracy 0.427, with the fix 0.994")
def clipped(seed: int, fixed: bool = False) -> Setup:
    x, y = table("wine", seed)
    xt, yt = torch.tensor(standard(x)), torch.tensor(y)
    model = nn.Sequential(nn.Linear(13, 32), nn.GELU(), nn.Linear(32, 3))
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
    loader = stream(seed, xt, yt, batch=16)

    def loop() -> None:
        for _ in range(15):
            for rows, kinds in loader:
                optimizer.zero_grad()
                loss(model(rows), kinds).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0 if fixed else 1e-3)
                optimizer.step()

    return Setup(model, (xt, yt), loss=loss, optimizer=optimizer, batch=16, epochs=15, loop=loop)


@case("UNSEEN-odd-loop-summed-loss", "O9", also=("P1",), symptom="yes", about="accuracy 0.115, with the fix accuracy 0.985")
def summed_loss(seed: int, fixed: bool = False) -> Setup:
    """Per-example losses are added, not averaged, with a rate that would be right for a mean."""
    x, y = digits(seed)
    xt, yt = torch.tensor(x).flatten(1) / 16, torch.tensor(y)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = stream(seed, xt, yt, batch=64)

    def loss(out: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(out, kinds, reduction="none")
        return each.mean() if fixed else each.sum()

    def loop() -> None:
        for _ in range(10):
            for rows, kinds in loader:
                optimizer.zero_grad()
                loss(model(rows), kinds).backward()
                optimizer.step()

    return Setup(model, (xt, yt), loss=loss, optimizer=optimizer, batch=64, epochs=10, loop=loop)
