"""Keras programs in which nothing is wrong, though some of them look it."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import digits, onehot, sentences, standard, table, waves
from keras import Input, Model, Sequential, layers
from sklearn.datasets import make_multilabel_classification


@case("UNSEEN-keras-healthy-residual", "", framework="Keras", symptom="no", about="accuracy 0.963")
def residual(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    inputs = Input((8, 8, 1))
    h = layers.Conv2D(12, 3, padding="same", activation="relu")(inputs)
    for _ in range(2):
        branch = layers.Conv2D(12, 3, padding="same", activation="relu")(h)
        h = layers.Activation("relu")(layers.Add()([h, layers.Conv2D(12, 3, padding="same")(branch)]))
    outputs = layers.Dense(10, activation="softmax")(layers.Flatten()(h))
    model = Model(inputs, outputs)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[..., None] / 16, onehot(y, 10)), epochs=8)


@case("UNSEEN-keras-healthy-raw-behind-norm", "", framework="Keras", symptom="no", about="accuracy 0.955")
def raw_behind_norm(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("wine", seed)
    model = Sequential(
        [
            Input((13,)),
            layers.BatchNormalization(),
            layers.Dense(24, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x, y), batch=16, epochs=20)


@case("UNSEEN-keras-healthy-adapted", "", framework="Keras", symptom="no", about="accuracy 0.982")
def adapted(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("breast_cancer", seed)
    scale = layers.Normalization()
    scale.adapt(x[:450])
    inputs = Input((30,))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Dense(16, activation="tanh")(scale(inputs)))
    model = Model(inputs, outputs)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[:450], y[:450]), (x[450:], y[450:]), epochs=15)


@case("UNSEEN-keras-healthy-logits", "", framework="Keras", symptom="no", about="accuracy 0.95")
def logits(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    model = Sequential(
        [Input((8, 8)), layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dropout(0.2), layers.Dense(10)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return Setup(model, (x, y), epochs=12)  # grey values up to 16: harmless here


@case("UNSEEN-keras-healthy-tags", "", framework="Keras", symptom="no", about="accuracy 0.84")
def tags(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = make_multilabel_classification(600, 20, n_classes=5, n_labels=3, random_state=seed)
    model = Sequential([Input((20,)), layers.Dense(48, activation="relu"), layers.Dense(5, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["binary_accuracy"])
    return Setup(model, (standard(x), y.astype("float32")), epochs=15)


@case("UNSEEN-keras-healthy-linear-regression", "", framework="Keras", symptom="no", about="R2 0.998")
def linear_regression(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 6)).astype("float32")
    y = (x @ rng.normal(size=(6, 2)) + 0.1 * rng.normal(size=(400, 2))).astype("float32")
    model = Sequential([Input((6,)), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return Setup(model, (x, y), epochs=10)


@case("UNSEEN-keras-healthy-forecast", "", framework="Keras", symptom="no", about="R2 0.952")
def forecast(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = waves(seed)
    model = Sequential(
        [
            Input((20, 1)),
            layers.Conv1D(16, 5, activation="relu"),
            layers.Conv1D(16, 5, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, activation="tanh"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), keras.losses.Huber())
    return Setup(model, (x, np.clip(y, -0.98, 0.98)), epochs=12)


@case("UNSEEN-keras-healthy-reviews", "", framework="Keras", symptom="no", about="accuracy 1")
def reviews(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = sentences(seed)
    model = Sequential(
        [Input((12,)), layers.Embedding(60, 16), layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x, y), epochs=10)


@case("UNSEEN-keras-healthy-autoencoder", "", framework="Keras", symptom="no", about="R2 0.89")
def autoencoder(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x = digits(seed)[0].reshape(-1, 64) / 16
    model = Sequential([Input((64,)), layers.Dense(24, activation="relu"), layers.Dense(64, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return Setup(model, (x, x), epochs=20)


@case("UNSEEN-keras-healthy-hinge", "", framework="Keras", symptom="no", about="R2 0.901")
def hinge(seed: int) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("breast_cancer", seed)
    model = Sequential([Input((30,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="tanh")])
    model.compile("adam", "hinge")
    return Setup(model, (standard(x), (2.0 * y - 1).astype("float32")[:, None]), epochs=15)
