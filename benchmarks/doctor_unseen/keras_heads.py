"""Keras programs with a fault in the last layer, the loss or the labels. `fixed=True` builds the repaired program."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from benchmarks.doctor_unseen import Setup, case
from benchmarks.doctor_unseen._material import digits, onehot, standard, table, waves
from keras import Input, Model, Sequential, layers
from sklearn.datasets import make_multilabel_classification


def mlp(width: int, units: int, last: str | None, hidden: str = "relu") -> Sequential:
    return Sequential(
        [
            Input((width,)),
            layers.Dense(32, activation=hidden),
            layers.Dense(16, activation=hidden),
            layers.Dense(units, activation=last),
        ]
    )


@case("UNSEEN-keras-cancer-softmax-1", "O1", framework="Keras", symptom="yes", about="accuracy 0.638, with the fix 0.989")
def cancer_softmax(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("breast_cancer", seed)
    x = standard(x)
    model = mlp(30, 1, "sigmoid" if fixed else "softmax")
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return Setup(model, (x[:450], y[:450]), (x[450:], y[450:]), batch=32, epochs=12)


@case(
    "UNSEEN-keras-lstm-softmax-forecast",
    "O1",
    also=("O4",),
    framework="Keras",
    symptom="yes",
    about="R2 -1.85, with the fix R2 0.979",
)
def lstm_softmax(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = waves(seed)
    model = Sequential([Input((20, 1)), layers.LSTM(12), layers.Dense(1, activation=None if fixed else "softmax")])
    model.compile(loss="mean_squared_error", optimizer=keras.optimizers.Adam(0.01))
    return Setup(model, (x, y), batch=50, epochs=8)


@case("UNSEEN-keras-sparse-onehot", "D6", framework="Keras", symptom="raised", about="raises ValueError, with the fix 0.902")
def sparse_onehot(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    x, y = x[..., None] / 16, keras.utils.to_categorical(y, 10)
    inputs = Input((8, 8, 1))
    h = layers.Conv2D(8, 3, activation="relu")(inputs)
    h = layers.Flatten()(h)
    model = Model(inputs, layers.Dense(10, activation="softmax")(h))
    model.compile("adam", "categorical_crossentropy" if fixed else "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x, y), epochs=6)


@case(
    "UNSEEN-keras-categorical-integers",
    "D6",
    framework="Keras",
    symptom="raised",
    about="raises ValueError, with the fix 0.989",
)
def categorical_integers(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("wine", seed)
    model = mlp(13, 3, "softmax", "tanh")
    model.compile("adam", "sparse_categorical_crossentropy" if fixed else "categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (standard(x), y), batch=16, epochs=20)


@case(
    "UNSEEN-keras-labels-from-one",
    "D6",
    also=("O7",),
    framework="Keras",
    symptom="raised",
    about="raises IndexError, with the fix accuracy 0.953",
)
def labels_from_one(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("iris", seed)
    model = mlp(4, 3, "softmax")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (standard(x), y if fixed else y + 1), batch=8, epochs=20)


@case("UNSEEN-keras-softmax-from-logits", "O2", framework="Keras", symptom="yes", about="accuracy 0.576, with the fix 0.971")
def softmax_from_logits(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed, 800)
    model = Sequential(
        [
            Input((8, 8)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
            layers.Softmax(),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not fixed)
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), loss=loss, metrics=["accuracy"])
    return Setup(model, (x, y), batch=64, epochs=10)


@case(
    "UNSEEN-keras-linear-bce",
    "O3",
    framework="Keras",
    symptom="no",
    about="accuracy .982 at the threshold 1/2, with the fix .986; the loss begins at 10",
)
def linear_bce(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("breast_cancer", seed)
    model = mlp(30, 1, "sigmoid" if fixed else None)
    model.compile(keras.optimizers.RMSprop(0.001), keras.losses.BinaryCrossentropy(), metrics=["accuracy"])
    return Setup(model, (standard(x), y.astype("float32")), epochs=12)


@case("UNSEEN-keras-linear-categorical", "O3", framework="Keras", symptom="yes", about="accuracy 0.105, with the fix 0.868")
def linear_categorical(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    inputs = Input((8, 8, 1))
    h = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    h = layers.MaxPooling2D()(h)
    h = layers.Dropout(0.1)(layers.Flatten()(h))
    outputs = layers.Dense(10, activation="softmax" if fixed else None)(h)
    model = Model(inputs, outputs)
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return Setup(model, (x[..., None] / 16, onehot(y, 10)), epochs=10)


@case(
    "UNSEEN-keras-sigmoid-diabetes",
    "O4",
    also=("D4",),
    framework="Keras",
    symptom="yes",
    about="R2 -3.85, with the fix R2 0.596",
)
def sigmoid_diabetes(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("diabetes", seed)
    if fixed:
        y = standard(y)
    model = mlp(10, 1, None if fixed else "sigmoid")
    model.compile(loss="mse", optimizer="adam", metrics=["mae"])
    return Setup(model, (standard(x), y[:, None]), epochs=20)


@case("UNSEEN-keras-relu-zscores", "O4", framework="Keras", symptom="weak", about="R2 0.401, with the fix 0.96")
def relu_zscores(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(500, 5)).astype("float32")
    y = standard(np.stack([x[:, 0] * x[:, 1], np.sin(2 * x[:, 2]), x[:, 3] - x[:, 4]], 1))
    model = Sequential(
        [Input((5,)), layers.Dense(64, activation="relu"), layers.Dense(3, activation=None if fixed else "relu")]
    )
    model.compile(loss="mae", optimizer=keras.optimizers.Adam(0.01))
    return Setup(model, (x, y), batch=25, epochs=15)


@case(
    "UNSEEN-keras-tags-softmax",
    "O5",
    also=("O4",),
    framework="Keras",
    symptom="yes",
    about="accuracy 0.501, with the fix accuracy 0.742",
)
def tags_softmax(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = make_multilabel_classification(600, 20, n_classes=5, n_labels=3, random_state=seed)
    model = mlp(20, 5, "sigmoid" if fixed else "softmax")
    model.compile("adam", "binary_crossentropy" if fixed else "categorical_crossentropy")
    return Setup(model, (standard(x), y.astype("float32")), epochs=15)


@case("UNSEEN-keras-iris-mse", "O5", framework="Keras", symptom="no", about="accuracy 0.987, with the fix 0.987")
def iris_mse(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = table("iris", seed)
    model = mlp(4, 3, "softmax")
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy" if fixed else "mse", metrics=["accuracy"])
    return Setup(model, (standard(x), onehot(y, 3)), batch=16, epochs=20)


@case("UNSEEN-keras-labels-scaled-too", "D5", framework="Keras", symptom="yes", about="accuracy 0.094, with the fix 0.838")
def labels_scaled_too(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    x, y = x.reshape(-1, 64) / 16.0, y if fixed else (y / 16.0).astype("float32")
    model = mlp(64, 10, "softmax")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[:500], y[:500]), (x[500:], y[500:]), epochs=12)


@case(
    "UNSEEN-keras-digits-one-sigmoid",
    "O7",
    also=("O5",),
    framework="Keras",
    symptom="raised",
    about="raises RuntimeError, with the fix accuracy 0.827",
)
def digits_one_sigmoid(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    model = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax") if fixed else layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy" if fixed else "binary_crossentropy", metrics=["accuracy"])
    return Setup(model, (x[..., None] / 16, y), epochs=8)


@case(
    "UNSEEN-keras-classes-as-numbers",
    "O5",
    also=("O7",),
    framework="Keras",
    symptom="weak",
    about="R2 0.438, with the fix accuracy 0.898",
)
def classes_as_numbers(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x, y = digits(seed)
    model = mlp(64, 10 if fixed else 1, "softmax" if fixed else None)
    model.compile("adam", "sparse_categorical_crossentropy" if fixed else "mse", metrics=["accuracy"])
    return Setup(model, (x.reshape(-1, 64) / 16, y), epochs=15)


@case(
    "UNSEEN-keras-autoencoder-grey",
    "O4",
    also=("D1",),
    framework="Keras",
    symptom="yes",
    about="R2 -2.21, with the fix R2 0.611",
)
def autoencoder_grey(seed: int, fixed: bool = False) -> Setup:
    keras.utils.set_random_seed(seed)
    x = digits(seed)[0].reshape(-1, 64) * (1 / 16 if fixed else 255 / 16)
    inputs = Input((64,))
    code = layers.Dense(16, activation="relu")(layers.Dense(48, activation="relu")(inputs))
    outputs = layers.Dense(64, activation="sigmoid")(layers.Dense(48, activation="relu")(code))
    model = Model(inputs, outputs)
    model.compile("adam", "mse")
    return Setup(model, (x, x), epochs=15)
