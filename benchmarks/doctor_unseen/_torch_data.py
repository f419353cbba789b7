"""The data of the plain PyTorch programs: scikit-learn's tables and digits, drawn images, formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn import datasets

made: Any = datasets  # make_moons and its like, which answer with (x, y)


def digits(seed: int, count: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 8, 8) in 0 … 16 and their classes, in an order drawn from the seed."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))[:count]
    return x[order].reshape(-1, 8, 8).astype("float32"), y[order].astype("int64")


def table(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A table of scikit-learn, as it is: wine, iris, breast_cancer, diabetes."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True, **({"scaled": False} if name == "diabetes" else {}))
    order = np.random.default_rng(seed).permutation(len(x))
    kind = "float32" if name == "diabetes" else "int64"
    return x[order].astype("float32"), y[order].astype(kind)


def standardised(x: np.ndarray) -> np.ndarray:
    """Every column with mean 0 and deviation 1."""
    return ((x - x.mean(0)) / (x.std(0) + 1e-8)).astype("float32")


def sines(seed: int, count: int = 400, length: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, T, 1) of noisy sines, and the value that follows (N,)."""
    draw = np.random.default_rng(seed)
    start, speed = draw.uniform(0, 6.28, (count, 1)), draw.uniform(0.2, 0.6, (count, 1))
    wave = np.sin(start + speed * np.arange(length + 1)) + draw.normal(0, 0.03, (count, length + 1))
    return wave[:, :length, None].astype("float32"), wave[:, length].astype("float32")


def shapes(seed: int, count: int = 300, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Grey images (N, 1, H, W) with one bright square or disc on noise, and its mask (N, H, W) of classes 0, 1, 2."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    x, masks = draw.normal(0.2, 0.1, (count, 1, size, size)), np.zeros((count, size, size), "int64")
    for image, mask in zip(x, masks, strict=True):
        radius, (top, left) = draw.integers(2, 5), draw.integers(4, size - 4, 2)
        if draw.random() < 0.5:
            inside = (abs(rows - top) <= radius) & (abs(columns - left) <= radius)
            mask[inside] = 1
        else:
            inside = (rows - top) ** 2 + (columns - left) ** 2 <= radius**2
            mask[inside] = 2
        image[0][inside] += 0.4 + 0.4 * (mask[inside] == 2)
    return x.astype("float32"), masks


def sentences(seed: int, count: int = 600, length: int = 12, words: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (N, T) and the class (of 4) whose words are more frequent in the sentence."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 4, count)
    own = draw.random((count, length)) < 0.45
    x = np.where(own, y[:, None] * 8 + draw.integers(0, 8, (count, length)), draw.integers(0, words, (count, length)))
    return x.astype("int64"), y.astype("int64")


def houses(seed: int, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Standardised properties (N, 6) of houses and their prices (N,), around 250,000."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 6))
    price = (
        250_000 + 60_000 * x[:, 0] + 40_000 * np.tanh(x[:, 1] * x[:, 2]) - 25_000 * x[:, 3] + draw.normal(0, 8_000, count)
    )
    return x.astype("float32"), price.astype("float32")


def tensors(*arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Tensors of arrays."""
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
