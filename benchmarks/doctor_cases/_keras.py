"""Keras on torch for the cases: a beginning from a seed, a compiled stack of layers, and the tables that they train on.

Rows are float32. `signals` stands for generated tables that are too large to make by `make_classification`: white noise of
standard deviation 1, on which every class lays its own smooth pattern.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from sklearn import datasets

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

nn: Any = keras.layers  # the cases take these names from here, where the backend has been chosen
optimizers: Any = keras.optimizers
made: Any = datasets

Floats = NDArray[np.float32]
Table = tuple[Floats, Floats]

UNIFORM, NORMAL = "random_uniform", "random_normal"  # within .05 of nought, and of standard deviation .05


def begin(seed: int) -> np.random.Generator:
    """To be called before the first layer is made, as it is then that Keras draws the seeds of its initialisers."""
    keras.utils.set_random_seed(seed)
    return np.random.default_rng(seed)


def compiled(
    shape: Sequence[int], layers: Iterable[Any], loss: Any, optimizer: Any, metrics: Sequence[Any] = ("accuracy",)
) -> keras.Model:
    """The layers one after the other, behind an input of `shape` (without the batch), compiled."""
    model = keras.Sequential([keras.Input(tuple(shape)), *layers])
    model.compile(loss=loss, optimizer=optimizer, metrics=list(metrics))
    return model


def one_hot(labels: NDArray[Any], k: int) -> Floats:
    return np.eye(k, dtype=np.float32)[labels.astype(int)]


def standard(x: NDArray[Any]) -> Floats:
    """Every column with mean 0 and standard deviation 1; a constant column becomes 0."""
    spread = x.std(0)
    return ((x - x.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)


def classes(seed: int, rows: int, features: int, k: int = 2) -> Table:
    """`make_classification` as it stands (two clusters a class, 1 % of labels drawn at random), class indices as floats."""
    informative = 2 if k == 2 else 5
    x, y = made.make_classification(rows, features, n_informative=informative, n_classes=k, random_state=seed)
    return x.astype(np.float32), y.astype(np.float32)


def signals(rng: np.random.Generator, rows: int, shape: Sequence[int], k: int = 2, strength: float = 1.0) -> Table:
    """White noise (rows, *shape), the last axis being channels, each class with its own smooth pattern; class indices."""
    patterns = rng.normal(size=(k, *shape))
    for axis, size in enumerate(shape[:-1], start=1):
        sigma = [0.0] * patterns.ndim
        sigma[axis] = size / 12
        patterns = gaussian_filter(patterns, sigma, mode="wrap")
    patterns *= strength / patterns.std()
    y = rng.permutation(np.arange(rows) % k)
    x = rng.standard_normal((rows, *shape), dtype=np.float32)
    x += patterns.astype(np.float32)[y]
    return x, y.astype(np.float32)


def digits(size: int = 8) -> tuple[Floats, NDArray[np.int64]]:
    """The 1797 digits of scikit-learn in 0 … 1, (N, size, size, 1), and their classes."""
    bunch = made.load_digits()
    images = (bunch.images / 16).astype(np.float32)
    if size != 8:
        images = np.asarray(zoom(images, (1, size / 8, size / 8), order=1)).clip(0, 1)
    return images[..., None], bunch.target


def coloured_digits(rng: np.random.Generator, rows: int, size: int) -> tuple[Floats, NDArray[np.int64]]:
    """Digits in a colour of their own on a ground of another, (rows, size, size, 3) in 0 … 1, and their classes."""
    images, labels = digits(size)
    chosen = rng.permutation(len(images))[:rows]
    ink, ground = rng.uniform(0.5, 1, (rows, 1, 1, 3)), rng.uniform(0, 0.4, (rows, 1, 1, 3))
    share = images[chosen]
    return (share * ink + (1 - share) * ground).astype(np.float32), labels[chosen]
