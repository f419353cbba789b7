"""What is to be trained: model, loss, optimiser, data. And a twin of them all: the user's own are never touched.

A loss that refers to the model (a penalty on its weights, say) is rebuilt so that it refers to the twin.
"""

from __future__ import annotations

import copy
import inspect
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
from convscope.diagnosing.rebinding import rebound, rehook
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
        try:
            return self.kind(groups, **more) if groups else None
        except (TypeError, ValueError) as problem:
            raise UsageError(f"{self.kind.__name__} for a copy of the model", f"{type(problem).__name__}: {problem}",
                             "give one whose options are in its groups, or a name: adam:0.001") from problem  # fmt: skip

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
    gap: bool = False  # what is wrong shows on held-out examples: remedies are judged on those
    notes: tuple[str, ...] = field(default=())

    def twin(self) -> Program:
        """The same over a deep copy of the model; a loss that refers to the model refers to the copy."""
        memo: dict[int, Any] = {}
        with left_alone(self.model):
            model = _deep(self.model, memo)
            rehook(model, memo)
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


def _deep(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        with warnings.catch_warnings():  # Keras copies its optimiser through an old protocol of NumPy's, and warns of it
            warnings.simplefilter("ignore")
            return copy.deepcopy(model, memo)
    except Exception:  # noqa: BLE001 - tensors of a graph, locks, a __deepcopy__ of the user's: built by hand instead
        memo.clear()
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
