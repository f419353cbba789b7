"""Keras programs whose softmax stands over a single unit: its output is 1 whatever comes in, and no gradient passes it.

Facts of each program (layers, loss, optimiser, shapes) after the questions whose numbers the ids bear; Sequential models of
Keras 3 on torch. Where there were more rows than the symptom needs, there are fewer here, as `about` says.
"""

from __future__ import annotations

import numpy as np
from benchmarks.doctor_cases import Setup, case
from benchmarks.doctor_cases._keras import UNIFORM, begin, classes, compiled, made, nn, optimizers, signals, standard


def _three_numbers(seed: int, mended: bool) -> Setup:
    rng = begin(seed)
    x = rng.uniform(0, 1e4, (5000, 3)).astype(np.float32)
    y = x @ np.array([0.5, 1, 2], np.float32)
    if mended:
        x, y = standard(x), standard(y)
    drop = [] if mended else [nn.Dropout(0.5)]
    layers = [nn.Dense(3, "tanh", kernel_initializer=UNIFORM), *drop, nn.Dense(2, "tanh", kernel_initializer=UNIFORM)]
    last = nn.Dense(1, None if mended else "softmax", kernel_initializer=UNIFORM)
    model = compiled((3,), [*layers, *([] if mended else [nn.Dropout(0.5)]), last], "mean_squared_error",
                     optimizers.SGD(0.1), ())  # fmt: skip
    return Setup(model, (x, y), epochs=10 if mended else 5)


@case(
    "SO-33969059",
    "O1",
    also=("O4", "D1", "D4"),
    framework="Keras",
    symptom="yes",
    about="5,000 rows for 100,000; seeds 0 and 1: R² -7.24 and -6.96; mended 0.99 and 1.00",
)
def so_33969059(seed: int) -> Setup:
    """A linear formula of three numbers up to 10,000, a sum up to 35,000."""
    return _three_numbers(seed, False)


@so_33969059.fixed
def so_33969059_fixed(seed: int) -> Setup:
    return _three_numbers(seed, True)


def _long_sequences(seed: int, output: str) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 300, (128, 1))
    model = compiled((128, 1), [nn.LSTM(128), nn.Dense(1, output)], "binary_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (x, y), batch=50, epochs=4)


@case(
    "SO-47241622",
    "O1",
    framework="Keras",
    symptom="yes",
    about="300 rows for 40,000, batches of 50 for 200, 4 epochs; "
    "seeds 0 and 1: accuracy 0.50 (majority 0.50); mended 1.00 and 0.71",
)
def so_47241622(seed: int) -> Setup:
    return _long_sequences(seed, "softmax")


@so_47241622.fixed
def so_47241622_fixed(seed: int) -> Setup:
    return _long_sequences(seed, "sigmoid")


def _convolved_sequences(seed: int, output: str) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 458, (600, 1))
    layers = [
        nn.Conv1D(20, 4, padding="same", activation="relu"), nn.MaxPooling1D(), nn.Dropout(0.3), nn.Flatten(),
        nn.Dense(50, "relu"), nn.Dense(1, output),
    ]  # fmt: skip
    return Setup(compiled((600, 1), layers, "binary_crossentropy", optimizers.Nadam(0.001)), (x, y), batch=8, epochs=5)


@case(
    "SO-51749207",
    "O1",
    framework="Keras",
    symptom="yes",
    about="5 epochs for 100; seeds 0 and 1: accuracy 0.50 (majority 0.50); mended 1.00",
)
def so_51749207(seed: int) -> Setup:
    return _convolved_sequences(seed, "softmax")


@so_51749207.fixed
def so_51749207_fixed(seed: int) -> Setup:
    return _convolved_sequences(seed, "sigmoid")


def _one_sequence(seed: int, output: str) -> Setup:
    rng = begin(seed)
    ones = np.zeros(8, np.float32)
    ones[(first := int(rng.integers(5))) : first + 4] = 1  # four in a row; three of them follow a one
    marks = ones * np.concatenate([[0], ones[:-1]])
    layers = [nn.GRU(10, return_sequences=True), nn.GRU(10, return_sequences=True), nn.Dense(1, output)]
    model = compiled((8, 1), layers, "binary_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (ones.reshape(1, 8, 1), marks.astype(np.float32).reshape(1, 8, 1)), epochs=600)


@case(
    "SO-52983831",
    "O1",
    framework="Keras",
    symptom="yes",
    about="600 epochs of one step for 3,000; seeds 0 and 1: accuracy 0.38 (majority 0.62); mended 1.00",
)
def so_52983831(seed: int) -> Setup:
    """One sequence of eight bits, to be labelled bit by bit: is this a one after a one?"""
    return _one_sequence(seed, "softmax")


@so_52983831.fixed
def so_52983831_fixed(seed: int) -> Setup:
    return _one_sequence(seed, "sigmoid")


def _regressed(seed: int, mended: bool) -> Setup:
    begin(seed)
    x, y = made.make_regression(100, 18, n_informative=10, noise=1.0, random_state=seed)
    x, y = x.astype(np.float32), y.astype(np.float32)
    widths = ((18, "tanh"), (36, "relu"), (72, "relu"), (72, "relu"), (32, "relu"), (16, "relu"))
    layers = [*(nn.Dense(width, kind) for width, kind in widths), nn.Dense(1, None if mended else "softmax")]
    model = compiled((18,), layers, "mean_squared_error", optimizers.Adam(0.001), ())
    return Setup(model, (x, standard(y) if mended else y), batch=35, epochs=100)


@case(
    "SO-54738769",
    "O4",
    also=("O1", "D4"),
    framework="Keras",
    symptom="yes",
    about="seeds 0 and 1: R² 0.00 and -0.01; mended 1.00",
)
def so_54738769(seed: int) -> Setup:
    """Targets between -500 and 500, of which the output can give 1 alone."""
    return _regressed(seed, False)


@so_54738769.fixed
def so_54738769_fixed(seed: int) -> Setup:
    return _regressed(seed, True)


def _small_images(seed: int, output: str) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 300, (30, 30, 1))
    layers = [
        nn.Conv2D(96, 11, padding="same", activation="relu"), nn.MaxPooling2D(),
        nn.Conv2D(128, 3, padding="same", activation="relu"), nn.MaxPooling2D(),
        nn.Conv2D(128, 3, padding="same", activation="relu"), nn.MaxPooling2D(),
        nn.Flatten(), nn.Dense(300, "relu"), nn.Dropout(0.2), nn.Dense(1), nn.Activation(output),
    ]  # fmt: skip
    return Setup(compiled((30, 30, 1), layers, "binary_crossentropy", optimizers.Adam(0.001)), (x, y), epochs=3)


@case(
    "SO-58844149",
    "O1",
    framework="Keras",
    symptom="yes",
    about="300 rows for 1,000, 3 epochs for 5; seeds 0 and 1: accuracy 0.50 (majority 0.50); mended 1.00",
)
def so_58844149(seed: int) -> Setup:
    return _small_images(seed, "softmax")


@so_58844149.fixed
def so_58844149_fixed(seed: int) -> Setup:
    return _small_images(seed, "sigmoid")


def _flattened_twice(seed: int, output: str) -> Setup:
    rng = begin(seed)
    x, y = signals(rng, 1000, (10, 150))
    layers = [
        nn.Dense(32, "relu"), nn.Flatten(), nn.Dense(128, "relu"), nn.Dropout(0.2), nn.Dense(128, "relu"), nn.Flatten(),
        nn.Dense(1, output),
    ]  # fmt: skip
    model = compiled((10, 150), layers, "binary_crossentropy", optimizers.Adam(0.001))
    return Setup(model, (x, y), batch=2, epochs=2)


@case(
    "SO-66087653",
    "O1",
    framework="Keras",
    symptom="yes",
    about="2 epochs for 200; seeds 0 and 1: accuracy 0.50 (majority 0.50); mended 1.00",
)
def so_66087653(seed: int) -> Setup:
    return _flattened_twice(seed, "softmax")


@so_66087653.fixed
def so_66087653_fixed(seed: int) -> Setup:
    return _flattened_twice(seed, "sigmoid")


def _fourteen_columns(seed: int, output: str, loss: str) -> Setup:
    begin(seed)
    x, y = classes(seed, 100, 14)
    layers = [nn.Dense(64, "relu"), nn.Dense(128, "relu"), nn.Dense(64, "relu"), nn.Dense(1, output)]
    return Setup(compiled((14,), layers, loss, optimizers.Adam(0.001)), (x, y), epochs=50)


@case(
    "SO-68751439",
    "O1",
    also=("O5",),
    framework="Keras",
    symptom="yes",
    about="50 epochs for 100; seeds 0 and 1: accuracy 0.51 and 0.50 (majority 0.51 and 0.50); mended 1.00",
)
def so_68751439(seed: int) -> Setup:
    """Categorical loss of one unit: nearly nought at once, and no better than chance."""
    return _fourteen_columns(seed, "softmax", "categorical_crossentropy")


@so_68751439.fixed
def so_68751439_fixed(seed: int) -> Setup:
    return _fourteen_columns(seed, "sigmoid", "binary_crossentropy")
