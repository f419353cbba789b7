"""Keras programs whose layers are the fault: batch norm that lags, dead or vanishing units, a bottleneck, a small start.

Facts of each program (layers, loss, optimiser, shapes) after the questions whose numbers the ids bear; Sequential models of
Keras 3 on torch. Where there were more rows or pixels than the symptom needs, there are fewer here, as `about` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.doctor_cases import Setup, case
from benchmarks.doctor_cases._keras import (
    UNIFORM,
    begin,
    coloured_digits,
    compiled,
    keras,
    made,
    nn,
    one_hot,
    optimizers,
    signals,
)


def _few_batches(seed: int, momentum: float) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 60, (113, 113, 3), strength=0.1)
    layers = [
        nn.Conv2D(5, 4, strides=2, padding="same"), nn.LeakyReLU(),
        nn.Conv2D(10, 4, strides=2, padding="same"), nn.BatchNormalization(momentum=momentum), nn.LeakyReLU(),
        nn.Flatten(), nn.Dense(1, "sigmoid"),
    ]  # fmt: skip
    return Setup(compiled((113, 113, 3), layers, "binary_crossentropy", optimizers.Adam(0.001)), (x, y), batch=8, epochs=5)


@case(
    "SO-43055289",
    "A11",
    also=("D11",),
    framework="Keras",
    symptom="no",
    about="113 x 113 pixels for 225 x 225; loss .0037 in training but .033 in evaluation, mended .0027; "
    "seeds 0 and 1: accuracy 1.00 (majority 0.50); mended 1.00",
)
def so_43055289(seed: int) -> Setup:
    """Batch norm whose running statistics take hundreds of steps, in a training of forty."""
    return _few_batches(seed, 0.99)


@so_43055289.fixed
def so_43055289_fixed(seed: int) -> Setup:
    return _few_batches(seed, 0.8)


def _network_in_network(seed: int, last: str | None) -> Setup:
    rng = begin(seed)
    x, y = coloured_digits(rng, 1200, 16)
    layers = []
    for width, kernel in ((32, 5), (64, 3)):
        layers += [nn.Conv2D(width, size, padding="same", activation="relu") for size in (kernel, 1, 1)]
        layers += [nn.MaxPooling2D(), nn.Dropout(0.5)]
    layers += [nn.Conv2D(128, 3, padding="same", activation="relu"), nn.Conv2D(32, 1, activation="relu")]
    layers += [nn.Conv2D(10, 1, activation=last), nn.GlobalAveragePooling2D(), nn.Activation("softmax")]
    model = compiled((16, 16, 3), layers, "categorical_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (x, one_hot(y, 10)), epochs=10)


@case(
    "SO-47735201",
    "A2",
    also=("O10",),
    framework="Keras",
    symptom="weak",
    about="1,200 coloured digits, 16 x 16, 10 epochs; seeds 0 and 1: accuracy 0.79 (majority 0.11); mended 0.83 and 0.85",
)
def so_47735201(seed: int) -> Setup:
    """The class maps pass a ReLU before they are averaged, so that a class can only be voted for."""
    return _network_in_network(seed, "relu")


@so_47735201.fixed
def so_47735201_fixed(seed: int) -> Setup:
    return _network_in_network(seed, None)


def _sine(seed: int, mended: bool) -> Setup:
    rng = begin(seed)
    x = rng.uniform(0, 1, (5000, 1)).astype(np.float32)
    y = (np.sin(2 * np.pi * x) + 1) / 2
    start = {} if mended else {"kernel_initializer": UNIFORM}
    layers = [*(nn.Dense(20, "tanh" if mended else "sigmoid", **start) for _ in range(3)), nn.Dense(1)]
    rule = optimizers.Adam(0.01) if mended else optimizers.SGD(0.01)
    return Setup(compiled((1,), layers, "mean_squared_error", rule, ()), (x, y), epochs=10 if mended else 2)


@case(
    "SO-49583466",
    "A4",
    also=("A8", "P11", "P2"),
    framework="Keras",
    symptom="yes",
    about="seeds 0 and 1: R² 0.00 and -0.01; mended 1.00 and 0.99",
)
def so_49583466(seed: int) -> Setup:
    """A sine through three layers of sigmoids that begin small: a flat line."""
    return _sine(seed, False)


@so_49583466.fixed
def so_49583466_fixed(seed: int) -> Setup:
    return _sine(seed, True)


def _half(seed: int, mended: bool) -> Setup:
    begin(seed)
    x = np.array([[0.4], [1], [2], [3.5], [25]], np.float32)
    layers = [nn.Dense(16 if mended else 1, "relu"), nn.Dense(9, "relu"), nn.Dense(1, None if mended else "relu")]
    model = compiled((1,), layers, "mean_squared_error", optimizers.Adam(0.01), ())
    return Setup(model, (x, x[:, 0] / 2), epochs=300 if mended else 10)


@case(
    "SO-56452176",
    "A6",
    also=("A2", "P11"),
    framework="Keras",
    symptom="yes",
    about="seeds 0 and 1: R² -0.46 and 1.00; mended 1.00",
)
def so_56452176(seed: int) -> Setup:
    """Half of a number, on five numbers, through one ReLU."""
    return _half(seed, False)


@so_56452176.fixed
def so_56452176_fixed(seed: int) -> Setup:
    return _half(seed, True)


def _small_start(seed: int, mended: bool) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 500, (32, 32, 3), strength=0.1)
    start: dict[str, Any] = {"kernel_initializer": "he_normal" if mended else UNIFORM}
    start["kernel_regularizer"] = keras.regularizers.L2(1e-4 if mended else 0.01)
    layers = [nn.Conv2D(6, 5, activation="relu"), nn.MaxPooling2D(), nn.Conv2D(16, 5, activation="relu"), nn.MaxPooling2D()]
    layers.append(nn.Flatten())
    for width in (128, 64, 64, 64):
        layers += [nn.Dense(width, "relu", **start), nn.Dropout(0.05 if mended else 0.2)]
    layers.append(nn.Dense(2, "softmax"))
    model = compiled((32, 32, 3), layers, "categorical_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (x, one_hot(y, 2)), epochs=15)


@case(
    "SO-61498304",
    "A8",
    also=("P8", "A6"),
    framework="Keras",
    symptom="yes",
    about="500 rows for 1,000, 15 epochs for 25; seeds 0 and 1: accuracy 0.50 (majority 0.50); mended 1.00",
)
def so_61498304(seed: int) -> Setup:
    """Four dense layers that begin within .05 of nought, under L2 of .01 and dropout."""
    return _small_start(seed, False)


@so_61498304.fixed
def so_61498304_fixed(seed: int) -> Setup:
    return _small_start(seed, True)


def _tanh_stack(depth: int, outputs: int) -> list[Any]:
    start = {"kernel_initializer": keras.initializers.VarianceScaling(1.0, "fan_in")}
    hidden = [
        nn.Dense(5, "tanh", kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in")) for _ in range(depth)
    ]
    return [*hidden, nn.Dense(outputs, "sigmoid", **start)]


@case(
    "HEALTHY-AT-blob-a8640f1a",
    "",
    framework="Keras",
    symptom="no",
    about="120 epochs for 199; seeds 0 and 1: accuracy 0.84 and 0.83 (majority 0.33)",
)
def healthy_blob(seed: int) -> Setup:
    """Three blobs by three sigmoids and the categorical loss, which is unusual and works."""
    begin(seed)
    x, y = made.make_blobs(1000, centers=3, cluster_std=2.0, random_state=2)
    model = compiled((2,), _tanh_stack(5, 3), "categorical_crossentropy", optimizers.Adagrad(0.1))
    return Setup(model, (x.astype(np.float32), one_hot(y, 3)), batch=64, epochs=120)


def _circles(seed: int, depth: int, epochs: int) -> Setup:
    begin(seed)
    x, y = made.make_circles(1000, noise=0.1, random_state=1)
    model = compiled((2,), _tanh_stack(depth, 1), "binary_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (x.astype(np.float32), y.astype(np.float32)), batch=128, epochs=epochs)


@case(
    "HEALTHY-AT-circle-46edd947", "", framework="Keras", symptom="no", about="seeds 0 and 1: accuracy 0.84 (majority 0.50)"
)
def healthy_circle_a(seed: int) -> Setup:
    return _circles(seed, 11, 91)


@case(
    "HEALTHY-AT-circle-84b9e92c", "", framework="Keras", symptom="no", about="seeds 0 and 1: accuracy 0.84 (majority 0.50)"
)
def healthy_circle_b(seed: int) -> Setup:
    return _circles(seed, 11, 97)


@case(
    "HEALTHY-AT-circle-88f274c5",
    "",
    framework="Keras",
    symptom="no",
    about="seeds 0 and 1: accuracy 0.83 and 0.63 (majority 0.50)",
)
def healthy_circle_c(seed: int) -> Setup:
    return _circles(seed, 17, 91)
