"""The data of the PyTorch cases: the digits of scikit-learn, and images, tables, sequences and texts by formula.

Nothing is read from disk or net, so a case runs anywhere. Images are (N, C, H, W) float32 in 0..255 unless said otherwise,
tables (N, features) float32 in raw units, class labels int64. Every function gives `(train, held_out)`, each a pair (x, y).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[Tensor, Tensor]


def split(x: Tensor, y: Tensor, seed: int, share: float = 0.8) -> tuple[Pair, Pair]:
    """Both parts of a random split, the first of them `share` of the rows."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = round(share * len(x))
    return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])


@cache
def _digits() -> Pair:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) * (255 / 16), torch.tensor(labels, dtype=torch.int64)


def digits(seed: int, size: int = 8) -> tuple[Pair, Pair]:
    """The 1797 handwritten digits of scikit-learn (8×8, 10 classes), enlarged to `size`."""
    x, y = _digits()
    if size != 8:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    return split(x, y, seed)


def coloured(seed: int, size: int = 16) -> tuple[Pair, Pair]:
    """The digits in a random colour on a random darker ground, with noise: the colour tells nothing of the class."""
    rng = torch.Generator().manual_seed(seed + 1000)
    x, y = _digits()
    x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False) / 255
    ink = 0.6 + 0.4 * torch.rand(len(x), 3, 1, 1, generator=rng)
    ground = 0.4 * torch.rand(len(x), 3, 1, 1, generator=rng)
    x = ground + x * (ink - ground) + 0.03 * torch.randn(len(x), 3, size, size, generator=rng)
    return split(x.clamp(0, 1) * 255, y, seed)


def drawn(seed: int, n: int = 1200, size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, 1, size, size) of a disc, square, triangle or cross anywhere, their class and their mask."""
    rng = np.random.default_rng(seed + 2000)
    rows, columns = np.mgrid[:size, :size]
    kinds = rng.integers(0, 4, n)
    masks = np.zeros((n, size, size), bool)
    for at, kind in enumerate(kinds):
        radius = rng.uniform(0.22, 0.36) * size
        down, right = (rng.uniform(radius, size - 1 - radius, 2) - np.array([rows, columns]).T).T.swapaxes(1, 2)
        masks[at] = (
            down**2 + right**2 <= radius**2,
            np.maximum(abs(down), abs(right)) <= 0.8 * radius,
            (abs(right) <= (radius - down) / 2) & (abs(down) <= radius),
            np.minimum(abs(down), abs(right)) <= 0.3 * radius,
        )[kind]
        if kind == 3:
            masks[at] &= np.maximum(abs(down), abs(right)) <= radius
    light, dark = rng.uniform(0.5, 1.0, (n, 1, 1)), rng.uniform(0.0, 0.3, (n, 1, 1))
    images = np.where(masks, light, dark) + rng.normal(0, 0.05, masks.shape)
    pixels = torch.tensor(images.clip(0, 1) * 255, dtype=torch.float32)[:, None]
    return pixels, torch.tensor(kinds, dtype=torch.int64), torch.tensor(masks, dtype=torch.float32)[:, None]


def shapes(seed: int, n: int = 1200, size: int = 16) -> tuple[Pair, Pair]:
    """`drawn` with the class (disc, square, triangle, cross)."""
    images, kinds, _ = drawn(seed, n, size)
    return split(images, kinds, seed)


def cars(seed: int) -> tuple[Pair, Pair]:
    """392 cars in the columns of the auto-mpg table, made by formula: cylinders, displacement (cubic inches), power (hp),
    weight (pounds), acceleration (s to 60 mph), year, and the origin as three columns; target (N, 1): miles per gallon."""
    rng = np.random.default_rng(seed + 3000)
    n = 392
    origin = rng.choice(3, n, p=[0.62, 0.17, 0.21])
    cylinders = np.where(origin == 0, rng.choice([4, 6, 8], n, p=[0.28, 0.30, 0.42]), rng.choice([4, 6], n, p=[0.93, 0.07]))
    displacement = 48.0 * cylinders - 75 + rng.normal(0, 18, n)
    power = 30 + 0.38 * displacement + rng.normal(0, 11, n)
    weight = 1500 + 7.2 * displacement + rng.normal(0, 190, n)
    acceleration = 23 - 0.062 * power + rng.normal(0, 1.4, n)
    year = rng.integers(70, 83, n)
    mpg = 62000 / weight + 0.72 * (year - 76) - 0.03 * (power - 100) + 1.2 * (origin > 0) + rng.normal(0, 1.2, n)
    x = np.column_stack([cylinders, displacement, power, weight, acceleration, year, np.eye(3)[origin]])
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(mpg[:, None], dtype=torch.float32), seed)


def clinic(seed: int) -> tuple[Pair, Pair]:
    """413 patients in raw clinical columns (age, blood pressure, cholesterol, …) and whether the heart is ill (35 %)."""
    rng = np.random.default_rng(seed + 4000)
    n = 413
    age, pressure = rng.normal(54, 9, n), rng.normal(132, 18, n)
    cholesterol, pulse = rng.normal(245, 52, n), 205 - 0.9 * age + rng.normal(0, 20, n)
    pain, sugar, depression = rng.integers(0, 4, n), rng.integers(0, 2, n), rng.exponential(1.0, n)
    score = 0.05 * (age - 54) + 0.02 * (pressure - 132) + 0.006 * (cholesterol - 245) - 0.03 * (pulse - 156)
    score = score + 0.7 * (pain - 1.5) + 0.9 * (depression - 1) - 1.0 + rng.logistic(0, 0.7, n)
    x = np.column_stack([age, pressure, cholesterol, pulse, pain, sugar, depression])
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(score > 0).long(), seed)


def houses(seed: int, n: int = 1500) -> tuple[Pair, Pair]:
    """Eight standardised columns of a housing table and a price (N, 1) in hundreds of thousands, smooth in them."""
    rng = np.random.default_rng(seed + 5000)
    x = rng.normal(0, 1, (n, 8))
    price = 2.1 + 0.8 * x[:, 0] + 0.3 * np.sin(2 * x[:, 1]) + 0.4 * x[:, 2] * x[:, 3] - 0.2 * abs(x[:, 4])
    price = price + rng.normal(0, 0.15, n)
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(price[:, None], dtype=torch.float32), seed)


def waves(seed: int, n: int = 600, steps: int = 32) -> tuple[Pair, Pair]:
    """Sines (N, steps, 1) of random frequency and phase, slightly noisy, and each value's successor (N, steps, 1)."""
    rng = torch.Generator().manual_seed(seed + 6000)
    phase = 6.283 * torch.rand(n, 1, generator=rng)
    pace = 0.2 + 0.4 * torch.rand(n, 1, generator=rng)
    wave = torch.sin(phase + pace * torch.arange(steps + 1)) + 0.02 * torch.randn(n, steps + 1, generator=rng)
    return split(wave[:, :-1, None], wave[:, 1:, None], seed)


def signals(seed: int, n: int = 900, steps: int = 48) -> tuple[Pair, Pair]:
    """Noisy signals (N, 1, steps) of three kinds (sine, square, saw-tooth; random phase and pace), and their kind."""
    rng = torch.Generator().manual_seed(seed + 7000)
    kind = torch.randint(0, 3, (n,), generator=rng)
    turn = torch.rand(n, 1, generator=rng) + (0.04 + 0.05 * torch.rand(n, 1, generator=rng)) * torch.arange(steps)
    sine = torch.sin(6.283 * turn)
    forms = torch.stack([sine, sine.sign(), 2 * (turn % 1) - 1])
    x = forms[kind, torch.arange(n)] + 0.1 * torch.randn(n, steps, generator=rng)
    return split(x[:, None], kind, seed)


def texts(seed: int, n: int = 900, words: int = 12, vocabulary: int = 60) -> tuple[Pair, Pair]:
    """Sentences (N, words) of word numbers, and whether praising words (0..9) outnumber blaming ones (10..19)."""
    rng = torch.Generator().manual_seed(seed + 8000)
    mood = torch.randint(0, 2, (n,), generator=rng)
    x = torch.randint(20, vocabulary, (n, words), generator=rng)
    telling = torch.rand(n, words, generator=rng) < 0.4
    flipped = torch.rand(n, words, generator=rng) < 0.15
    praise = torch.randint(0, 10, (n, words), generator=rng)
    x = torch.where(telling, praise + 10 * (mood[:, None].bool() ^ flipped).long(), x)
    y = ((x < 10).sum(1) >= ((x >= 10) & (x < 20)).sum(1)).long()
    return split(x, y, seed)


def rings(seed: int, n: int = 800, noise: float = 0.08) -> tuple[Pair, Pair]:
    """Points (N, 2) on two rings, one within the other, and which ring."""
    rng = torch.Generator().manual_seed(seed + 9000)
    y = torch.arange(n) % 2
    turn = 6.283 * torch.rand(n, generator=rng)
    x = torch.stack([turn.cos(), turn.sin()], 1) * (1 - 0.5 * y[:, None]) + noise * torch.randn(n, 2, generator=rng)
    return split(x, y, seed)


def standardised(parts: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    """Inputs minus the training mean, over the training standard deviation, by column or channel."""
    (x, y), (held, labels) = parts
    axes = [0, *range(2, x.ndim)]
    mean, spread = x.mean(axes, keepdim=True), x.std(axes, keepdim=True) + 1e-8
    return ((x - mean) / spread, y), ((held - mean) / spread, labels)


def ranged(x: Tensor, of: Tensor) -> Tensor:
    """Columns brought to 0..1 by the least and greatest values in `of`."""
    low, high = of.amin(0, keepdim=True), of.amax(0, keepdim=True)
    return (x - low) / (high - low)
