"""What is to be trained: model, loss, optimiser, data. And a twin of them all: the user's own are never touched.

A loss that refers to the model (a penalty on its weights, say) is rebuilt so that it refers to the twin.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope import chance, export
from convscope.diagnosing.calls import Rule
from convscope.diagnosing.examples import Examples
from convscope.errors import UsageError, unknown
from convscope.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Recipe:
    """An optimiser, by its class and its groups of parameters: [(names, options)]. `make` builds it for a twin."""

    kind: type[torch.optim.Optimizer]
    groups: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    foreign: int = 0  # parameters that are not the model's

    @classmethod
    def of(cls, optimizer: Any, model: nn.Module) -> Recipe:
        """Read one off: an optimiser, its class, a name ('adam'), or a function of the parameters."""
        if isinstance(optimizer, str):
            kind, options = named_optimizer(optimizer)
            optimizer = kind(trainable(model).values(), **options)
        elif optimizer is None:
            optimizer = torch.optim.Adam(trainable(model).values())
        elif not isinstance(optimizer, torch.optim.Optimizer):
            optimizer = optimizer(list(trainable(model).values()))
        names = {id(p): n for n, p in model.named_parameters()}
        groups, foreign = [], 0
        for group in optimizer.param_groups:
            owned = [names[id(p)] for p in group["params"] if id(p) in names]
            foreign += len(group["params"]) - len(owned)
            known = inspect.signature(type(optimizer)).parameters
            options = {k: v for k, v in group.items() if k != "params" and k in known}
            groups.append((tuple(owned), options))
        return cls(type(optimizer), tuple(groups), foreign)

    def make(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """For this model; None if it owns none of its parameters."""
        known = dict(model.named_parameters())
        groups = [{"params": [known[n] for n in names if n in known], **options} for names, options in self.groups]
        groups = [g for g in groups if g["params"]]
        more: Any = {"lr": 0.001} if groups and "lr" not in groups[0] else {}
        return self.kind(groups, **more) if groups else None

    @property
    def rate(self) -> float:
        """The highest learning rate of all groups."""
        return max((float(options.get("lr", 0.0)) for _, options in self.groups), default=0.0)

    @property
    def owned(self) -> set[str]:
        return {n for names, _ in self.groups for n in names}

    def option(self, name: str, default: float = 0.0) -> Any:
        """The first group's option."""
        return self.groups[0][1].get(name, default) if self.groups else default

    def with_(self, **options: Any) -> Recipe:
        """The same with other options in every group."""
        return replace(self, groups=tuple((names, {**old, **options}) for names, old in self.groups))

    def scaled(self, factor: float) -> Recipe:
        """The same with every rate multiplied."""
        return replace(self, groups=tuple((n, {**o, "lr": float(o.get("lr", 0.001)) * factor}) for n, o in self.groups))

    def owning(self, names: list[str]) -> Recipe:
        """The same with these parameters in its first group too."""
        first, options = self.groups[0] if self.groups else ((), {"lr": 0.001})
        rest = self.groups[1:]
        return replace(self, groups=((tuple(dict.fromkeys((*first, *names))), options), *rest))

    def __str__(self) -> str:
        shown = {
            k: v
            for k, v in (self.groups[0][1] if self.groups else {}).items()
            if k in ("lr", "momentum", "weight_decay", "eps", "betas")
        }
        return f"{self.kind.__name__}({', '.join(f'{k}={v}' for k, v in shown.items())})"


@dataclass(frozen=True, eq=False)
class Program:
    """All that a training run needs. `loss(output, target)`, or `loss(output)` where `objective`."""

    model: nn.Module
    loss: Callable[..., Any]
    optimizer: Recipe
    examples: Examples
    held_out: Examples | None = None
    epochs: int | None = None
    objective: bool = False  # the loss reads the output alone
    name: str = ""
    framework: str = "torch"  # or 'keras'
    metric: Callable[..., Any] | None = None
    rates: tuple[float, ...] = ()  # the rate at the begin of each epoch, relative to the first, where a schedule was given
    rules: dict[str, Rule] = field(default_factory=dict[str, Rule])  # calls that do something else (`calls.replacing`)
    notes: tuple[str, ...] = field(default=())

    def twin(self) -> Program:
        """The same over a deep copy of the model; a loss that refers to the model refers to the copy."""
        memo: dict[int, Any] = {}
        with left_alone(self.model):
            model = _deep(self.model, memo)
        return replace(self, model=model, loss=rebound(self.loss, memo))

    def value(self, output: Any, target: Tensor | None) -> Any:
        """The loss of outputs. What the user's function returns, unchecked."""
        return self.loss(output) if self.objective or target is None else self.loss(output, target)

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))


def named_optimizer(text: str) -> tuple[Any, dict[str, Any]]:
    """'sgd:0.1,momentum=0.9' → the class and its options. Errors: UsageError.

    >>> named_optimizer("sgd:0.1,momentum=0.9")[1]
    {'lr': 0.1, 'momentum': 0.9}
    """
    name, _, rest = text.partition(":")
    if name.lower() not in OPTIMIZERS:
        known = ", ".join(sorted(OPTIMIZERS))
        raise UsageError(f"an optimiser named {name!r}", f"there are {known}", "for example adam:0.001")
    options: dict[str, Any] = {"lr": 0.01 if name.lower() == "sgd" else 0.001}
    for piece in filter(None, (p.strip() for p in rest.split(","))):
        key, _, value = piece.rpartition("=")
        try:
            options[key or "lr"] = float(value)
        except ValueError as problem:
            raise UsageError(f"cannot read the optimiser {text!r}", f"{value!r} is no number",
                             "NAME:RATE,option=number, for example sgd:0.1,momentum=0.9") from problem  # fmt: skip
    kind = OPTIMIZERS[name.lower()]
    odd = [k for k in options if k not in inspect.signature(kind).parameters]
    if odd:
        raise unknown("option", odd[0], inspect.signature(kind).parameters, f"of {kind.__name__}")
    return kind, options


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that can get a gradient, by name."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}


def reads_output_alone(loss: Callable[..., Any]) -> bool:
    """Does a loss take one argument? `loss = f(output)`.

    >>> reads_output_alone(lambda output: -output.mean()), reads_output_alone(nn.MSELoss())
    (True, False)
    """
    called = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        given = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in given if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = any(p.kind is p.VAR_POSITIONAL for p in given)
    return len(needed) == 1 and not several and len([p for p in given if p.kind is not p.VAR_KEYWORD]) == 1


def rebound(function: Callable[..., Any], memo: dict[int, Any]) -> Callable[..., Any]:
    """The same function over the copies in `memo`: in its closure, defaults, bound object and the globals it names."""
    if isinstance(function, functools.partial):
        return functools.partial(
            rebound(function.func, memo),
            *(_new(a, memo) for a in function.args),
            **{k: _new(v, memo) for k, v in function.keywords.items()},
        )
    if isinstance(function, types.MethodType):
        return types.MethodType(function.__func__, _new(function.__self__, memo))
    if isinstance(function, types.FunctionType):
        cells = tuple(types.CellType(_new(c.cell_contents, memo)) if _full(c) else c for c in function.__closure__ or ())
        named = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
        changed = {n: new for n, v in named.items() if (new := _new(v, memo)) is not v}
        if not changed and all(
            a is b or a.cell_contents is b.cell_contents for a, b in zip(cells, function.__closure__ or (), strict=True)
        ):
            return function
        made = types.FunctionType(
            function.__code__, {**function.__globals__, **changed}, function.__name__, function.__defaults__, cells
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made
    if isinstance(function, nn.Module) or not hasattr(function, "__dict__"):
        return _new(function, memo)
    changed = {name: new for name, v in vars(function).items() if (new := _new(v, memo)) is not v}
    if not changed:
        return function
    made = copy.copy(function)  # an object that is called: a penalty that holds the model, say
    vars(made).update(changed)
    return made


def _full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _new(value: Any, memo: dict[int, Any]) -> Any:
    """The copy of what belongs to the model; functions rebuilt; everything else as it is."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, (nn.Module, Tensor)) or type(value).__module__.startswith("convscope.diagnosing"):
        return copy.deepcopy(value, memo)
    if isinstance(value, (list, tuple)) and any(isinstance(v, (nn.Module, Tensor)) for v in value):
        return type(value)(_new(v, memo) for v in value)
    if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)) and getattr(value, "__closure__", None):
        return rebound(value, memo)
    return value


def _deep(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        with warnings.catch_warnings():  # Keras copies its optimiser through an old protocol of NumPy's, and warns of it
            warnings.simplefilter("ignore")
            return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError, NotImplementedError):  # a module that keeps tensors of a graph, or locks
        made = export.twin(model)
        for inner in made.modules():
            for key, p in inner._parameters.items():
                if p is not None:
                    inner._parameters[key] = memo.setdefault(id(p), nn.Parameter(p.detach().clone(), p.requires_grad))
            for key, b in inner._buffers.items():
                if b is not None:
                    inner._buffers[key] = memo.setdefault(id(b), b.detach().clone())
        memo[id(model)] = made
        for (_, old), (_, new) in zip(model.named_modules(), made.named_modules(), strict=False):
            new.training = old.training
        return made


@contextmanager
def left_alone(model: nn.Module | None = None) -> Iterator[None]:
    """Random generators (torch, NumPy, Python) are afterwards what they were; so are the modes and gradients of `model`."""
    numpy = np.random.get_state()
    modes = [] if model is None else [(m, m.training) for m in model.modules()]
    grads = [] if model is None else [(p, p.grad) for p in model.parameters()]
    with chance.kept(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            np.random.set_state(numpy)
            for module, training in modes:
                module.training = training
            for p, grad in grads:
                p.grad = grad
