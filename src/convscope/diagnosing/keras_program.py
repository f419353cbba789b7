"""A compiled Keras 3 model (on torch) as a program: its own loss, and torch's optimiser of the same name and options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from convscope.diagnosing.program import Recipe
from convscope.errors import UsageError

_KINDS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadam": "NAdam", "rmsprop": "RMSprop", "adagrad": "Adagrad",
          "adadelta": "Adadelta", "adamax": "Adamax"}  # fmt: skip


class KerasModule(nn.Module):
    """A Keras model whose mode is torch's: `training` becomes the argument that Keras wants."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x, training=self.training)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True  # noqa: ARG002 - torch's signature
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """By layer and variable: 'dense.kernel'. Keras's own names change when a model is copied."""
        seen: dict[str, int] = {}
        for variable in self.inner.weights:  # type: ignore[union-attr]
            value: Any = variable.value  # type: ignore[union-attr]
            if isinstance(value, nn.Parameter) and value.is_floating_point():
                name = ".".join(variable.path.split("/")[-2:])  # type: ignore[union-attr]
                count = seen[name] = seen.get(name, -1) + 1
                yield prefix + (f"{name}:{count}" if count else name), value


class KerasLoss:
    """The compiled loss, with the penalties of the layers, as loss(output, target). Metrics are left alone."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        import keras

        loss = self.inner.loss
        found: Any = keras.losses.get(loss) if isinstance(loss, str) else loss
        y = target.to(output.dtype) if target.dtype != torch.int64 else target
        if y.ndim == 1 and output.ndim == 2 and "sparse" not in _name(found):
            y = y[:, None]  # as fit() does
        value = found(y, output)
        value = value.mean() if value.ndim else value
        return value + sum((p for p in self.inner.losses), torch.zeros((), dtype=value.dtype))


def is_keras(model: Any) -> bool:
    """A Keras model? (Asked without importing Keras.)"""
    return any(
        c.__module__.startswith("keras.") and c.__name__ in ("Model", "Sequential", "Functional")
        for c in type(model).__mro__
    )


def parts(model: Any, loss: Any, optimizer: Any) -> tuple[nn.Module, Any, Recipe]:
    """Module, loss and recipe of a compiled model; `loss` and `optimizer` given besides win. Errors: UsageError."""
    import keras

    if keras.backend.backend() != "torch":
        raise UsageError(
            "a Keras model on torch",
            f"the backend is {keras.backend.backend()}",
            "set KERAS_BACKEND=torch before importing keras",
        )
    module = KerasModule(model)
    if loss is None and getattr(model, "loss", None) is None:
        raise UsageError("a loss", "the model is not compiled", "compile it, or give loss=")
    if isinstance(loss, str):
        loss = _Named(keras.losses.get(loss))
    made: Any = optimizer if optimizer is not None else getattr(model, "optimizer", None)
    if made is None or isinstance(made, (str, torch.optim.Optimizer)) or not hasattr(made, "learning_rate"):
        return module, KerasLoss(model) if loss is None else loss, Recipe.of(made, module)
    name = type(made).__name__.lower()
    kind: Any = getattr(torch.optim, _KINDS.get(name, "Adam"))
    options: dict[str, Any] = {"lr": float(made.learning_rate)}
    if name in ("adam", "adamw", "nadam", "adamax"):
        options |= {"betas": (made.beta_1, made.beta_2), "eps": made.epsilon}
    if name == "sgd":
        options |= {"momentum": float(made.momentum), "nesterov": bool(made.nesterov and made.momentum)}
    if name == "rmsprop":
        options |= {"alpha": made.rho, "eps": made.epsilon, "momentum": float(made.momentum)}
    if getattr(made, "weight_decay", None) and math.isfinite(float(made.weight_decay)):
        options["weight_decay"] = float(made.weight_decay)
    own = {id(v.value) for v in model.trainable_variables}
    names = tuple(n for n, p in module.named_parameters() if id(p) in own)
    return module, KerasLoss(model) if loss is None else loss, Recipe(kind, ((names, options),))


class _Named:
    """A Keras loss by name, with torch's order of arguments."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        y = target[:, None] if target.ndim == 1 and output.ndim == 2 and "sparse" not in _name(self.inner) else target
        value = self.inner(y, output)
        return value.mean() if value.ndim else value


def _name(loss: Any) -> str:
    return (getattr(loss, "__name__", "") or getattr(loss, "name", "") or type(loss).__name__).lower()
