"""Unusual PyTorch: several outputs, losses and targets of the user's own making, each faulty.

`fixed=True` builds the repaired program.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import digits, sentences, standard, table
from torch import Tensor, nn


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.kind, self.amount = nn.Linear(48, 10), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.kind(h), self.amount(h)


@case("UNSEEN-odd-two-heads-price", "D4", symptom="yes", about="accuracy of the digits .115, with the fix .925")
def two_heads(seed: int, fixed: bool = False) -> Setup:
    """Which digit, and how much ink in grey levels of 0 … 255 over all pixels: the second task drowns the first."""
    x, y = digits(seed)
    ink = x.sum((1, 2)) * 255 / 16
    ink = standard(ink) if fixed else ink
    both = torch.tensor(np.stack([y, ink], 1).astype("float32"))
    model = TwoHeads()

    def loss(out: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(out[0], target[:, 0].long()) + F.mse_loss(out[1].squeeze(1), target[:, 1])

    return Setup(
        model,
        (torch.tensor(x).flatten(1) / 16, both),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        epochs=12,
    )


@case("UNSEEN-odd-pinball-broadcast", "O8", symptom="yes", about="R2 0.01, with the fix 0.548")
def pinball_broadcast(seed: int, fixed: bool = False) -> Setup:
    x, y = table("diabetes", seed)
    x, y = torch.tensor(standard(x)), torch.tensor(standard(y))
    model = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Linear(32, 1))

    def pinball(out: Tensor, target: Tensor, q: float = 0.5) -> Tensor:
        error = target - (out.squeeze(-1) if fixed else out)
        return torch.max(q * error, (q - 1) * error).mean()

    return Setup(model, (x, y), loss=pinball, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), epochs=15)


@case("UNSEEN-odd-log-cosh-overflow", "D4", symptom="yes", about="R2 nan, with the fix 0.592")
def log_cosh(seed: int, fixed: bool = False) -> Setup:
    """cosh of an error beyond 89 is infinite in single precision."""
    x, y = table("diabetes", seed)
    y = (standard(y) if fixed else y)[:, None]
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    return Setup(
        model,
        (torch.tensor(standard(x)), torch.tensor(y)),
        loss=lambda out, t: torch.log(torch.cosh(out - t)).mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        epochs=15,
    )


@case("UNSEEN-odd-text-nll-of-softmax", "O5", also=("O3",), symptom="no", about="accuracy 1, with the fix accuracy 1")
def text_nll(seed: int, fixed: bool = False) -> Setup:
    x, y = sentences(seed)

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.out = nn.EmbeddingBag(60, 16), nn.Linear(16, 2)

        def forward(self, words: Tensor) -> Tensor:
            z = self.out(self.bag(words))
            return F.log_softmax(z, dim=1) if fixed else F.softmax(z, dim=1)

    model = Bag()
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=F.nll_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        epochs=10,
    )


@case("UNSEEN-odd-double-labels", "D6", symptom="raised", about="raises RuntimeError, with the fix 1")
def double_labels(seed: int, fixed: bool = False) -> Setup:
    x, y = table("wine", seed)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    y = torch.tensor(y) if fixed else torch.tensor(y).double()
    return Setup(
        model,
        (torch.tensor(standard(x)).double(), y),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        batch=16,
        epochs=15,
    )


@case("UNSEEN-odd-poisson-exp-twice", "O10", also=("O5",), symptom="yes", about="R2 -0.009, with the fix R2 0.828")
def poisson_twice(seed: int, fixed: bool = False) -> Setup:
    """PoissonNLLLoss takes the logarithm of the rate unless it is told otherwise; the model has an exp of its own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 5)).astype("float32")
    y = rng.poisson(np.exp(0.8 * x[:, :1] - 0.6 * x[:, 1:2] + 0.5)).astype("float32")
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))

    class Rate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(self.net(x))

    model = Rate()
    return Setup(
        model,
        (torch.tensor(x), torch.tensor(y)),
        loss=nn.PoissonNLLLoss(log_input=not fixed),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        epochs=12,
    )
