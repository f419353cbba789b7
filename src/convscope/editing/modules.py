"""Modules of torch.nn and the words that make them: from a call of the graph to a module, from a module to its constructor.

    constructor(nn.MaxPool2d(3, 2))  →  'nn.MaxPool2d(kernel_size=3, stride=2)'
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from convscope import layers
from convscope.editing import parts

_SKIPPED = {"device", "dtype", "inplace", "self"}
_OWN_STATE = {"training", "inplace"}


@dataclass(frozen=True)
class Found:
    """The module that computes a call: where its weights live, whose tensors they are, and the value it works on."""

    path: str  # '' if it has no weights
    module: nn.Module
    tensors: dict[str, str]  # the module's own name -> placeholder
    value: Node


def computing(node: Node, name: str, names: dict[str, str]) -> Found | None:
    """The torch.nn module that computes this call, if its weights have the usual names (`…weight`, `…bias`)."""
    reader = _READERS.get(name)
    if reader is None:
        return None
    arguments = _arguments(node)
    module = reader(arguments)
    value = arguments.get("input", arguments.get("self"))
    if module is None or not isinstance(value, Node):
        return None
    tensors: dict[str, str] = {}
    paths: set[str] = set()
    for own in ("weight", "bias", "running_mean", "running_var"):
        given = arguments.get(own)
        if not isinstance(given, Node):
            continue
        where = names.get(given.name, "")
        path, _, last = where.rpartition(".")
        if last != own or path == "":
            return None
        paths.add(path)
        tensors[own] = given.name
    if len(paths) > 1 or (not paths and name not in _WITHOUT_WEIGHTS):
        return None
    return Found(next(iter(paths), ""), module, tensors, value)


def joining(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[nn.Module, tuple[Any, ...]] | None:
    """The module for a plain call that joins or bends values (an addition, a concatenation, a ReLU), and its values."""
    if name == "add" and not kwargs and all(isinstance(a, Node) for a in args):
        return parts.Add(), args
    if name == "cat" and not kwargs and isinstance(args[0], (list, tuple)):
        return parts.Concat(*args[1:]), tuple(args[0])
    if name in _BENT and len(args) == 1 and not kwargs:
        return _BENT[name](), args
    return None


def _arguments(node: Node) -> dict[str, Any]:
    """The arguments of a call by the names of its schema, defaults included."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named |= {a.name: value for a, value in zip(schema.arguments, node.args, strict=False)}
    return named | dict(node.kwargs)


def _shape(value: Any) -> tuple[int, ...]:
    return layers.shape_of(value.meta["val"]) if isinstance(value, Node) else ()


def _conv(a: dict[str, Any]) -> nn.Module | None:
    shape = _shape(a["weight"])
    kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}.get(len(shape))
    if kind is None:
        return None
    padding = a["padding"]
    return kind(shape[1] * a["groups"], shape[0], shape[2:], _all(a["stride"], shape), padding if isinstance(padding, str)
                else _all(padding, shape), _all(a["dilation"], shape), a["groups"], bias=isinstance(a["bias"], Node),
                device="meta")


def _all(value: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One number for all axes, or one each."""
    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return found * (len(shape) - 2) if len(found) == 1 else found


def _transposed(a: dict[str, Any]) -> nn.Module | None:
    shape = _shape(a["weight"])
    kind = {3: nn.ConvTranspose1d, 4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}.get(len(shape))
    if kind is None:
        return None
    return kind(shape[0], shape[1] * a["groups"], shape[2:], _all(a["stride"], shape), _all(a["padding"], shape),
                _all(a["output_padding"], shape), a["groups"], isinstance(a["bias"], Node), _all(a["dilation"], shape),
                device="meta")


def _linear(a: dict[str, Any]) -> nn.Module:
    k, n = _shape(a["weight"])
    return nn.Linear(n, k, bias=isinstance(a["bias"], Node), device="meta")


def _batch_norm(a: dict[str, Any]) -> nn.Module | None:
    shape = _shape(a["input"])
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(len(shape))
    tracked, affine = isinstance(a["running_mean"], Node), isinstance(a["weight"], Node)
    if kind is None or (affine and not isinstance(a["bias"], Node)):
        return None
    return kind(shape[1], a["eps"], a["momentum"], affine, tracked)


def _dropout(a: dict[str, Any]) -> nn.Module:
    return nn.Dropout(a["p"])


_READERS: dict[str, Callable[[dict[str, Any]], nn.Module | None]] = {
    "conv1d": _conv, "conv2d": _conv, "conv3d": _conv,
    "conv_transpose1d": _transposed, "conv_transpose2d": _transposed, "conv_transpose3d": _transposed,
    "linear": _linear, "batch_norm": _batch_norm, "_native_batch_norm_legit_no_training": _batch_norm,
    "dropout": _dropout, "dropout_": _dropout, "feature_dropout": lambda a: nn.Dropout2d(a["p"]),
    "alpha_dropout": lambda a: nn.AlphaDropout(a["p"]),
}  # fmt: skip
_WITHOUT_WEIGHTS = {"dropout", "dropout_", "feature_dropout", "alpha_dropout"}


_BENT: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "silu": nn.SiLU,
                                     "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid}


def fixed(module: nn.Module) -> nn.Module:
    """A batch norm with the same tensors that keeps to its statistics in train() too (`parts.FixedBatchNorm2d`)."""
    if not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return module
    kind = parts.FixedBatchNorm1d if isinstance(module, nn.BatchNorm1d) else parts.FixedBatchNorm2d
    made = kind(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    made._parameters, made._buffers = dict(module._parameters), dict(module._buffers)
    return made.eval()


# ---- the words that make a module ----------------------------------------------------------------------------------------


def constructor(module: nn.Module) -> str | None:
    """'nn.Conv2d(3, 64, 3, padding=1)', or None where the class does not keep what it was made with or is a user's."""
    kind, found = type(module), _made_with(module)
    ours = kind.__module__ == parts.__name__
    if found is None or not (ours or (kind.__module__.startswith("torch.nn.") and getattr(nn, kind.__name__, None) is kind)):
        return None
    said = [*map(repr, found[0]), *(f"{k}={v!r}" for k, v in found[1].items())]
    return f"{'' if ours else 'nn.'}{kind.__name__}({', '.join(said)})"


def _made_with(module: nn.Module) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments that make this module again; those with their default value are left out."""
    kind = type(module)
    if kind is nn.Identity:
        return [], {}  # it takes anything, and keeps nothing
    required: list[Any] = []
    optional: dict[str, Any] = {}
    given = {} if kind.__init__ is nn.Module.__init__ else inspect.signature(kind.__init__).parameters
    for name, p in given.items():
        if name in _SKIPPED:
            continue
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            return None
        value = _value(module, name)
        if value is inspect.Parameter.empty:
            return None
        if p.default is not inspect.Parameter.empty and value == p.default and type(value) is type(p.default):
            continue
        if p.default is inspect.Parameter.empty:
            required.append(value)
        else:
            optional[name] = value
    return required, optional


def _value(module: nn.Module, name: str) -> Any:
    if name == "bias" and not hasattr(module, "_qkv_same_embed_dim"):
        return getattr(module, "bias", None) is not None and module.bias is not False
    if name == "elementwise_affine" or name == "affine":
        return bool(getattr(module, name))
    value = getattr(module, name, inspect.Parameter.empty)
    plain = isinstance(value, (int, float, bool, str, type(None))) or (
        isinstance(value, (tuple, list)) and all(isinstance(v, (int, float)) for v in value)
    )
    if not plain:
        return inspect.Parameter.empty
    if isinstance(value, (tuple, list)):
        return _short(tuple(value), name)
    return value


def _short(value: tuple[Any, ...], name: str) -> Any:
    """(3, 3) is said as 3 where torch takes either."""
    either = name in ("kernel_size", "stride", "padding", "dilation", "output_padding")
    return value[0] if either and value and len(set(value)) == 1 else value


def same_settings(module: nn.Module) -> bool:
    """Do the constructor's arguments make this very module: same class, same settings, same tensors in size?"""
    found = _made_with(module)
    if found is None or constructor(module) is None:
        return False
    with torch.device("meta"):
        try:
            again = type(module)(*found[0], **found[1])
        except (TypeError, ValueError):
            return False
    a = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    b = {k: tuple(v.shape) for k, v in again.state_dict().items()}
    return a == b and _settings(module) == _settings(again)


def _settings(module: nn.Module) -> dict[str, Any]:
    found = {k: v for k, v in vars(module).items() if not k.startswith("_") and k not in _OWN_STATE}
    return {k: _short(tuple(v), k) if isinstance(v, (list, tuple)) else v for k, v in found.items()
            if not isinstance(v, Tensor) and not callable(v)}
