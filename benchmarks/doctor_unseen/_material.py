"""The data of the Keras and the unusual programs: tables of scikit-learn, digits, and small drawn things, from a seed."""

from __future__ import annotations

import numpy as np
from sklearn import datasets


def digits(seed: int, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 8) grey values 0 … 16 and their ten classes."""
    x, y = datasets.load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(x))[:n]
    return x[rows].reshape(-1, 8, 8).astype("float32"), y[rows].astype("int64")


def table(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """'iris', 'wine', 'breast_cancer' or 'diabetes' as it comes, in a shuffled order."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(x))
    return x[rows].astype("float32"), y[rows].astype("float32" if name == "diabetes" else "int64")


def standard(x: np.ndarray) -> np.ndarray:
    return ((x - x.mean(0)) / (x.std(0) + 1e-7)).astype("float32")


def onehot(y: np.ndarray, k: int) -> np.ndarray:
    return np.eye(k, dtype="float32")[y]


def waves(seed: int, n: int = 300, steps: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sines (n, steps, 1), and the next value of each (n, 1)."""
    rng = np.random.default_rng(seed)
    begin, speed = rng.uniform(0, 6.3, (n, 1)), rng.uniform(0.2, 0.5, (n, 1))
    line = np.sin(begin + speed * np.arange(steps + 1)) + 0.05 * rng.normal(size=(n, steps + 1))
    return line[:, :-1, None].astype("float32"), line[:, -1:].astype("float32")


def sentences(seed: int, n: int = 500, words: int = 60, length: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Made-up reviews of word numbers: words under 10 are kind, from 10 to 19 unkind, the others say nothing; 1 is kind."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.integers(20, words, (n, length))
    for i in range(n):
        places = rng.permutation(length)[:4]
        x[i, places] = rng.integers(0, 10, 4) + (0 if y[i] else 10)
    return x.astype("int64"), y.astype("int64")


def blobs(seed: int, n: int = 240, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Grey images (n, 1, size, size) of a bright disc on noise, and the disc's mask (n, 1, size, size)."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    middle, radius = rng.uniform(4, size - 4, (n, 2, 1, 1)), rng.uniform(2, 4, (n, 1, 1))
    mask = ((row - middle[:, 0]) ** 2 + (column - middle[:, 1]) ** 2 < radius**2).astype("float32")
    return (0.3 * rng.normal(size=mask.shape) + mask)[:, None].astype("float32"), mask[:, None]


def tints(seed: int, n: int = 300, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Photos (n, size, size, 3) in 0 … 1 with a coloured square: the class says which of the three colours is brightest."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 0.5, (n, size, size, 3)), rng.integers(0, 3, n)
    for i in range(n):
        r, c = rng.integers(0, size - 5, 2)
        x[i, r : r + 5, c : c + 5, y[i]] += 0.45
    return x.astype("float32"), y.astype("int64")


def graphs(seed: int, n: int = 300, nodes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """(n, nodes, nodes + 3): normalised adjacency and three features of a node; class 1: feature 0 is large at hubs."""
    rng = np.random.default_rng(seed)
    edges = np.triu(rng.random((n, nodes, nodes)) < 0.35, 1)
    edges = (edges + edges.transpose(0, 2, 1) + np.eye(nodes)).astype(float)
    degree = edges.sum(-1, keepdims=True)
    y = rng.integers(0, 2, n)
    features = rng.normal(size=(n, nodes, 3))
    features[:, :, 0] += (2 * y[:, None] - 1) * (degree[..., 0] - degree[..., 0].mean(1, keepdims=True))
    around = edges / np.sqrt(degree * degree.transpose(0, 2, 1))
    return np.concatenate([around, features], -1).astype("float32"), y.astype("int64")
