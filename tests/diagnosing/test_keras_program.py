"""A compiled Keras model as a program: its names, its loss, its optimiser.

Mutation that turns this red: in keras_program.py, `y = y[:, None]  # as fit() does` → `y = y[None]`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from convscope.diagnosing import given, keras_program
from convscope.diagnosing.trial import train
from convscope.errors import UsageError

if os.environ.setdefault("KERAS_BACKEND", "torch") != "torch":
    pytest.skip("Keras runs on another backend here", allow_module_level=True)
keras: Any = pytest.importorskip("keras")

X = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 48)


def _model(units: int, activation: str, loss: Any, optimizer: Any = "sgd", penalty: float = 0.0) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((5,)),
                              keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(penalty)),
                              keras.layers.Dense(units, activation=activation)])  # fmt: skip
    model.compile(optimizer=optimizer, loss=loss)
    return model


@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize(
    ("units", "activation", "loss", "y"),
    [
        (3, "softmax", "sparse_categorical_crossentropy", Y),
        (3, "softmax", "categorical_crossentropy", np.eye(3, dtype=np.float32)[Y]),
        (1, "sigmoid", "binary_crossentropy", (Y > 0).astype(np.float32)),
        (1, "linear", "mse", X[:, 0] + X[:, 1]),
        (3, "linear", "mae", X[:, :3]),
    ],
)
def test_the_loss_is_what_keras_evaluates(units: int, activation: str, loss: str, y: np.ndarray, penalty: float) -> None:
    model = _model(units, activation, loss, penalty=penalty)
    program = given.program(model, (X, y))
    expected = model.evaluate(X, y, batch_size=48, verbose=0)
    twin = program.twin()
    value = twin.value(twin.model.eval()(twin.examples.x), twin.examples.y)
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_names_are_stable_under_copying() -> None:
    program = given.program(_model(3, "softmax", "sparse_categorical_crossentropy"), (X, Y))
    names = [n for n, _ in program.model.named_parameters()]
    assert [n for n, _ in program.twin().model.named_parameters()] == names
    assert [n.split(".")[-1] for n in names] == ["kernel", "bias", "kernel", "bias"]
    assert program.optimizer.owned == set(names)


def test_a_twin_trains_and_the_users_does_not() -> None:
    model = _model(3, "softmax", "sparse_categorical_crossentropy", keras.optimizers.Adam(0.01))
    before = [w.value.detach().clone() for w in model.weights]
    twin = given.program(model, (X, Y)).twin()
    trial = train(twin, steps=60)
    assert trial.problem == ""
    assert trial.last < trial.first
    assert trial.moved > 0
    for a, w in zip(before, model.weights, strict=True):
        assert torch.equal(a, w.value)


def test_dropout_follows_the_mode() -> None:
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dropout(0.5)])
    module = keras_program.KerasModule(model)
    x = torch.ones(4, 5)
    assert torch.equal(module.eval()(x), x)
    assert not torch.equal(module.train()(x), x)


@pytest.mark.parametrize(
    ("made", "kind", "options"),
    [
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (lambda: keras.optimizers.Adam(0.01, epsilon=1e-4), torch.optim.Adam, {"lr": 0.01, "eps": 1e-4}),
        (lambda: keras.optimizers.RMSprop(0.02), torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.9}),
    ],
)
def test_the_optimiser_is_torchs_of_the_same_name(made: Any, kind: Any, options: dict[str, float]) -> None:
    recipe = given.program(_model(3, "softmax", "sparse_categorical_crossentropy", made()), (X, Y)).optimizer
    assert recipe.kind is kind
    for key, value in options.items():
        assert recipe.option(key) == pytest.approx(value)


def test_a_model_that_is_not_compiled() -> None:
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(1)])
    assert keras_program.is_keras(model)
    assert not keras_program.is_keras(torch.nn.Linear(5, 1))
    with pytest.raises(UsageError, match="not compiled"):
        given.program(model, (X, Y))
    assert given.program(model, (X, X[:, :1]), "mse", "sgd:0.1").optimizer.rate == 0.1
