"""Sound programs on tables: regressions and classifications, scaled or not, all of which learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.doctor_cases import Setup
from benchmarks.doctor_cases._data import Pair, cars, clinic, houses, rings, split, standardised
from benchmarks.doctor_cases._measured import program
from benchmarks.doctor_cases._nets import mlp
from sklearn.datasets import load_diabetes, load_iris, load_wine
from torch import Tensor, nn
from torch.nn import functional as F

Adam, SGD = torch.optim.Adam, torch.optim.SGD
Parts = Callable[[int], tuple[Pair, Pair]]


def table(
    seed: int, net: Callable[[], nn.Module], data: Parts, loss: Any, optimizer: Callable[[Any], torch.optim.Optimizer],
    *, batch: int = 32, epochs: int = 40, schedule: Any = None,
) -> Setup:  # fmt: skip
    """A table program from its parts."""
    torch.manual_seed(seed)
    model = net()
    train, held = data(seed)
    chosen = optimizer(model.parameters())
    return Setup(model, train, held, loss, chosen, batch, epochs, scheduler=schedule(chosen) if schedule else None)


def scaled(seed: int, data: Parts) -> tuple[Pair, Pair]:
    """Standardised columns."""
    return standardised(data(seed))


def both_scaled(seed: int, data: Parts) -> tuple[Pair, Pair]:
    """Standardised columns and targets."""
    (x, y), (held, wanted) = standardised(data(seed))
    return (x, (y - y.mean()) / y.std()), (held, (wanted - y.mean()) / y.std())


def as_floats(seed: int, data: Parts) -> tuple[Pair, Pair]:
    """Classes 0 and 1 as a column of floats."""
    (x, y), (held, labels) = data(seed)
    return (x, y[:, None].float()), (held, labels[:, None].float())


def thresholds(seed: int, n: int = 1000) -> tuple[Pair, Pair]:
    """Columns of whole numbers 0..9, unscaled, and a decision tree's answer to them."""
    rng = np.random.default_rng(seed + 100)
    x = rng.integers(0, 10, (n, 6))
    y = np.where(x[:, 0] > 4, x[:, 1] > 6, np.where(x[:, 2] > 3, x[:, 3] > 2, x[:, 4] > 5))
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.int64), seed)


def measured(load: Callable[..., Any], kind: torch.dtype, seed: int) -> tuple[Pair, Pair]:
    """A small table that comes with scikit-learn."""
    x, y = load(return_X_y=True)
    target = torch.tensor(y, dtype=kind)
    return split(torch.tensor(x, dtype=torch.float32), target if kind == torch.int64 else target[:, None], seed)


def counts(seed: int, n: int = 1000) -> tuple[Pair, Pair]:
    """How many events: Poisson numbers whose logarithm of the rate is a smooth function."""
    rng = np.random.default_rng(seed + 200)
    x = rng.normal(0, 1, (n, 4))
    y = rng.poisson(np.exp(1.2 + 0.6 * x[:, 0] + 0.4 * np.sin(2 * x[:, 1])))
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32), seed)


def lines(seed: int, n: int = 400) -> tuple[Pair, Pair]:
    """A linear law with noise: a network without a hidden layer is right for it."""
    rng = np.random.default_rng(seed + 300)
    x = rng.normal(0, 1, (n, 5))
    y = x @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.7 + rng.normal(0, 0.2, n)
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32), seed)


def parabola(seed: int) -> tuple[Pair, Pair]:
    """y = x² in 0..1."""
    x = torch.linspace(-1, 1, 500)[:, None]
    return split(x, x.square(), seed)


def several(seed: int) -> tuple[Pair, Pair]:
    """Three targets at once."""
    (x, y), (held, wanted) = both_scaled(seed, houses)
    more, beside = (torch.cat([t, torch.sin(r[:, :1]), r[:, 1:2] * r[:, 2:3]], 1) for t, r in ((y, x), (wanted, held)))
    return (x, more), (held, beside)


def rare(seed: int) -> tuple[Pair, Pair]:
    """A table in which 5 % are ill, told by two columns."""
    rng = np.random.default_rng(seed + 400)
    x = rng.normal(0, 1, (2000, 6))
    y = (x[:, 0] + x[:, 1] + 0.1 * rng.normal(0, 1, 2000) > 2.33)[:, None]
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32), seed)


def few(seed: int) -> tuple[Pair, Pair]:
    """Twenty rows of a linear law."""
    (x, y), held = lines(seed)
    return (x[:20], y[:20]), held


def pinball(output: Tensor, target: Tensor) -> Tensor:
    """The loss of the median, and of other quantiles (Koenker and Bassett 1978), here .5."""
    rest = target - output
    return torch.maximum(0.5 * rest, -0.5 * rest).mean()


def normed(*widths: int) -> nn.Module:
    """A perceptron with batch norm before its first layer, which scales raw columns."""
    return nn.Sequential(nn.BatchNorm1d(widths[0]), *mlp(*widths))


iris = partial(scaled, data=partial(measured, load_iris, torch.int64))
wine = partial(scaled, data=partial(measured, load_wine, torch.int64))
diabetes = partial(both_scaled, data=partial(measured, load_diabetes, torch.float32))
motor = partial(both_scaled, data=cars)
adam = partial(Adam, lr=0.001)
SOUND: dict[str, tuple[str, Any]] = {
    "cars": ("car table, both standardised", partial(table, net=lambda: mlp(9, 64, 64, 1), data=motor, loss=F.mse_loss,
                                                     optimizer=adam)),
    "cars-raw-target": ("target 10..45 left as it is", partial(
        table, net=lambda: mlp(9, 64, 64, 1), data=partial(scaled, data=cars), loss=F.mse_loss,
        optimizer=partial(Adam, lr=0.003), epochs=60)),
    "cars-raw-batchnorm": ("raw columns behind batch norm", partial(
        table, net=lambda: normed(9, 64, 64, 1), data=cars, loss=F.mse_loss, optimizer=partial(Adam, lr=0.003), epochs=60)),
    "houses": ("housing table", partial(table, net=lambda: mlp(8, 64, 64, 1), data=houses, loss=F.mse_loss, optimizer=adam)),
    "houses-huber": ("Huber loss, SGD .05", partial(
        table, net=lambda: mlp(8, 64, 64, 1), data=houses, loss=nn.HuberLoss(),
        optimizer=partial(SGD, lr=0.05, momentum=0.9))),
    "houses-l1": ("absolute error", partial(
        table, net=lambda: mlp(8, 64, 64, 1), data=houses, loss=nn.L1Loss(), optimizer=adam)),
    "houses-quantile": ("pinball loss", partial(
        table, net=lambda: mlp(8, 64, 64, 1), data=houses, loss=pinball, optimizer=partial(Adam, lr=0.003))),
    "houses-rmsprop": ("RMSprop", partial(
        table, net=lambda: mlp(8, 32, 1, activation=nn.Tanh), data=houses, loss=F.mse_loss,
        optimizer=partial(torch.optim.RMSprop, lr=0.002))),
    "houses-dropout": ("dropout .1 between the layers", partial(
        table, net=lambda: nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 1)), data=houses,
        loss=F.mse_loss, optimizer=partial(Adam, lr=0.003))),
    "several-targets": ("three targets", partial(
        table, net=lambda: mlp(8, 64, 64, 3), data=several, loss=F.mse_loss, optimizer=partial(Adam, lr=0.003))),
    "diabetes": ("noisy: R2 about .5 is all there is", partial(
        table, net=lambda: mlp(10, 16, 1), data=diabetes, loss=F.mse_loss, optimizer=adam)),
    "poisson": ("counts, softplus output, Poisson loss", partial(
        table, net=lambda: mlp(4, 32, 1, last=(nn.Softplus(),)), data=counts,
        loss=nn.PoissonNLLLoss(log_input=False), optimizer=partial(Adam, lr=0.003))),
    "linear-regression": ("no hidden layer, rightly", partial(
        table, net=lambda: nn.Linear(5, 1), data=lines, loss=F.mse_loss, optimizer=partial(SGD, lr=0.05), epochs=20)),
    "twenty-rows": ("twenty rows, a linear law", partial(
        table, net=lambda: nn.Linear(5, 1), data=few, loss=F.mse_loss, optimizer=partial(SGD, lr=0.05), batch=5, epochs=60)),
    "parabola": ("y = x², tanh", partial(
        table, net=lambda: mlp(1, 32, 1, activation=nn.Tanh), data=parabola, loss=F.mse_loss,
        optimizer=partial(Adam, lr=0.01))),
    "parabola-sigmoid": ("targets in 0..1, sigmoid output", partial(
        table, net=lambda: mlp(1, 32, 1, activation=nn.Tanh, last=(nn.Sigmoid(),)), data=parabola, loss=F.mse_loss,
        optimizer=partial(Adam, lr=0.02))),
    "tree-raw": ("whole numbers 0..9 unscaled, a decision tree's answers", partial(
        table, net=lambda: mlp(6, 64, 64, 2), data=thresholds, loss=F.cross_entropy, optimizer=partial(Adam, lr=0.003),
        epochs=60)),
    "iris": ("iris", partial(table, net=lambda: mlp(4, 16, 3), data=iris, loss=F.cross_entropy,
                             optimizer=partial(Adam, lr=0.01))),
    "iris-raw": ("iris in centimetres", partial(
        table, net=lambda: mlp(4, 16, 3), data=partial(measured, load_iris, torch.int64), loss=F.cross_entropy,
        optimizer=partial(Adam, lr=0.01))),
    "wine-adagrad": ("wine, Adagrad .1", partial(
        table, net=lambda: mlp(13, 16, 3), data=wine, loss=F.cross_entropy, optimizer=partial(torch.optim.Adagrad, lr=0.1))),
    "wine-single-rows": ("batches of one, SGD .01", partial(
        table, net=lambda: mlp(13, 16, 3), data=wine, loss=F.cross_entropy, optimizer=partial(SGD, lr=0.01), batch=1,
        epochs=15)),
    "rings-bce": ("two rings, sigmoid and BCE", partial(
        table, net=lambda: mlp(2, 32, 32, 1, last=(nn.Sigmoid(),)), data=partial(as_floats, data=rings), loss=nn.BCELoss(),
        optimizer=partial(Adam, lr=0.01))),
    "rings-logits": ("two rings, one logit", partial(
        table, net=lambda: mlp(2, 16, 16, 1, activation=nn.LeakyReLU), data=partial(as_floats, data=rings),
        loss=nn.BCEWithLogitsLoss(), optimizer=partial(SGD, lr=0.1, momentum=0.9))),
    "rings-two-units": ("two rings, two logits, tanh", partial(
        table, net=lambda: mlp(2, 16, 16, 2, activation=nn.Tanh), data=rings, loss=F.cross_entropy,
        optimizer=partial(Adam, lr=0.01))),
    "clinic-logistic": ("logistic regression on clinical columns", partial(
        table, net=lambda: nn.Linear(7, 2), data=partial(scaled, data=clinic), loss=F.cross_entropy,
        optimizer=partial(Adam, lr=0.01))),
    "rare-class": ("5 % ill, and found", partial(
        table, net=lambda: mlp(6, 32, 1), data=rare, loss=nn.BCEWithLogitsLoss(), optimizer=partial(Adam, lr=0.003),
        epochs=20)),
    "rare-class-weighted": ("5 % ill, weighted", partial(
        table, net=lambda: mlp(6, 32, 1), data=rare, loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(10.0)),
        optimizer=partial(Adam, lr=0.003), epochs=20)),
}  # fmt: skip

for id, (words, build) in SOUND.items():
    program(f"HEALTHY-{id}", "", words)(partial(build))
