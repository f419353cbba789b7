"""Keras programs with a fault in the data, the layers or the optimiser. `fixed=True` builds the repaired program."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import digits, sentences, standard, table
from keras import Input, Sequential, layers
from sklearn.datasets import make_classification, make_moons


@case("UNSEEN-keras-wine-raw-sgd", "D1", framework="Keras", symptom="yes", about="accuracy 0.399, with the fix 0.949")
def wine_raw(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("wine", seed)
    model = Sequential([Input((13,)), layers.Dense(24, activation="relu"), layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (standard(x) if fixed else x, y), batch=16, epochs=20)


@case("UNSEEN-keras-adam-rate-1", "P1", framework="Keras", symptom="yes", about="accuracy 0.093, with the fix 0.91")
def adam_rate(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    model = Sequential(
        [
            Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate=0.001 if fixed else 1.0), "sparse_categorical_crossentropy")
    return Setup(model, (x[..., None], y), epochs=8)


@case("UNSEEN-keras-zero-kernels", "A7", framework="Keras", symptom="yes", about="accuracy 0.399, with the fix 0.989")
def zero_kernels(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("wine", seed)
    begin = "glorot_uniform" if fixed else "zeros"
    model = Sequential(
        [
            Input((13,)),
            layers.Dense(20, activation="relu", kernel_initializer=begin),
            layers.Dense(20, activation="relu", kernel_initializer=begin),
            layers.Dense(3, activation="softmax", kernel_initializer=begin),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (standard(x), y), batch=16, epochs=20)


@case("UNSEEN-keras-all-frozen", "P6", framework="Keras", symptom="yes", about="accuracy 0.097, with the fix 0.682")
def all_frozen(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    base = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model = Sequential([Input((8, 8, 1)), base, layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
    for layer in model.layers[: 0 if fixed else None]:
        layer.trainable = False
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[..., None] / 16, y), epochs=10)


@case("UNSEEN-keras-l2-one", "P8", framework="Keras", symptom="yes", about="accuracy 0.115, with the fix 0.962")
def l2_one(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    weight = 1e-4 if fixed else 1.0
    model = Sequential(
        [
            Input((64,)),
            layers.Dense(64, activation="relu", kernel_regularizer=keras.regularizers.L2(weight)),
            layers.Dense(32, activation="relu", kernel_regularizer=keras.regularizers.L2(weight)),
            layers.Dense(10, activation="softmax", kernel_regularizer=keras.regularizers.L2(weight)),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x.reshape(-1, 64) / 16, y), epochs=15)


@case(
    "UNSEEN-keras-shuffled-inputs-alone", "D7", framework="Keras", symptom="yes", about="accuracy 0.631, with the fix 0.956"
)
def shuffled_alone(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("breast_cancer", seed)
    x = standard(x)
    if not fixed:
        np.random.default_rng(seed).shuffle(x)
    model = Sequential([Input((30,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[:450], y[:450]), (x[450:], y[450:]), epochs=12)


@case("UNSEEN-keras-moons-linear", "A1", framework="Keras", symptom="weak", about="accuracy 0.88, with the fix 0.988")
def moons_linear(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = make_moons(500, noise=0.1, random_state=seed)
    hidden = "relu" if fixed else None
    model = Sequential(
        [
            Input((2,)),
            layers.Dense(32, activation=hidden),
            layers.Dense(32, activation=hidden),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (x.astype("float32"), y), epochs=12)


@case("UNSEEN-keras-sgd-1e-6", "P2", framework="Keras", symptom="yes", about="accuracy 0.524, with the fix 1")
def slow_sgd(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = sentences(seed)
    model = Sequential(
        [
            Input((12,)),
            layers.Embedding(60, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    optimizer = keras.optimizers.Adam(0.01) if fixed else keras.optimizers.SGD(learning_rate=1e-6)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (x, y), epochs=12)


@case("UNSEEN-keras-nan-cells", "D10", framework="Keras", symptom="yes", about="R2 nan, with the fix 0.501")
def nan_cells(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("diabetes", seed)
    x, y = standard(x), standard(y)
    rng = np.random.default_rng(seed)
    x[rng.integers(0, len(x), 12), rng.integers(0, 10, 12)] = 0.0 if fixed else np.nan
    model = Sequential([Input((10,)), layers.Dense(32, activation="elu"), layers.Dense(1)])
    model.compile("adam", "mse")
    return Setup(model, (x, y[:, None]), epochs=15)


@case("UNSEEN-keras-dropout-09", "A12", framework="Keras", symptom="yes", about="accuracy 0.111, with the fix 0.927")
def dropout_09(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    rate = 0.1 if fixed else 0.9
    model = Sequential([Input((64,))])
    for width in (48, 48, 48):
        model.add(layers.Dense(width, activation="relu"))
        model.add(layers.Dropout(rate))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[:450].reshape(-1, 64) / 16, y[:450]), (x[450:].reshape(-1, 64) / 16, y[450:]), epochs=12)


@case("UNSEEN-keras-fraud", "D8", framework="Keras", symptom="yes", about="accuracy 0.971, with the fix 0.977")
def fraud(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = make_classification(1200, 10, n_informative=4, weights=[0.97], class_sep=0.6, flip_y=0, random_state=seed)
    if fixed:
        few = np.flatnonzero(y == 1)
        more = np.random.default_rng(seed).choice(few, 1100)
        x, y = np.concatenate([x, x[more]]), np.concatenate([y, y[more]])
    model = Sequential([Input((10,)), layers.Dense(8, activation="relu"), layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (standard(x), y), batch=64, epochs=15)


@case(
    "UNSEEN-keras-deep-sigmoid",
    "A4",
    also=("A3",),
    framework="Keras",
    symptom="yes",
    about="accuracy 0.115, with the fix accuracy 0.898",
)
def deep_sigmoid(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    model = Sequential([Input((64,))])
    for _ in range(9):
        model.add(
            layers.Dense(
                32, activation="relu" if fixed else "sigmoid", kernel_initializer="he_normal" if fixed else "glorot_uniform"
            )
        )
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x.reshape(-1, 64) / 16, y), epochs=12)
