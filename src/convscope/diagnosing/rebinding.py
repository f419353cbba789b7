"""A loss or a hook that refers to the user's model, made to refer to the model's copy, and to write nothing of the user's.

    loss = lambda output, y: F.cross_entropy(output, y) + 0.01 * model.fc.weight.square().sum()      model → its copy

Rebuilt are the user's functions, bound methods and callable objects; copied are the tensors and plain containers that they
name: what they append, count or average stays in the copies. One memo keeps what is shared shared: a hook that fills a dict
and a loss that reads it get the same copy of the dict. Not seen: what is reached through a module's or a class's attribute.
"""

from __future__ import annotations

import collections
import copy
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import Tensor, nn

PLAIN = (list, dict, set, collections.deque, collections.defaultdict, collections.OrderedDict, collections.Counter)
LIBRARIES = ("torch", "numpy", "builtins", "keras")  # their functions keep nothing of the user's
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def rebound(function: Callable[..., Any], memo: dict[int, Any]) -> Callable[..., Any]:
    """The same function over the copies in `memo`: in its closure, bound object and the globals that it names.

    >>> seen = []
    >>> def loss(output): seen.append(1); return len(seen)
    >>> rebound(loss, {})(0), seen
    (1, [])
    """
    if isinstance(function, functools.partial):
        return functools.partial(
            rebound(function.func, memo),
            *(_new(a, memo) for a in function.args),
            **{k: _new(v, memo) for k, v in function.keywords.items()},
        )
    if isinstance(function, types.MethodType):
        return types.MethodType(function.__func__, _held(function.__self__, memo))
    if isinstance(function, types.FunctionType):
        return _function(function, memo)
    return _held(function, memo)


def rehook(model: nn.Module, memo: dict[int, Any]) -> None:
    """Hooks are part of a network, so they run on its copy too; what they write goes into copies of the user's lists."""
    for module in model.modules():
        for kind in HOOKS:
            hooks = getattr(module, kind)
            for key, hook in hooks.items():
                hooks[key] = rebound(hook, memo)


def _function(function: types.FunctionType, memo: dict[int, Any]) -> Callable[..., Any]:
    if _library(function.__module__):
        return function
    if id(function) in memo:
        return memo[id(function)]
    space = dict(function.__globals__)
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    made = types.FunctionType(function.__code__, space, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__, made.__module__ = function.__kwdefaults__, function.__module__
    made.__dict__.update(function.__dict__)
    _keep(function, made, memo)  # before its parts: it may name itself
    for name in _named(function.__code__):
        if name in space:
            space[name] = _new(space[name], memo, function)
    for cell, old in zip(cells, function.__closure__ or (), strict=True):
        if _full(old):
            cell.cell_contents = _new(old.cell_contents, memo, function)
    return made


def _named(code: types.CodeType) -> Iterator[str]:
    """The names that a function and those defined in it may read from their module."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _named(inner)


def _held(thing: Any, memo: dict[int, Any]) -> Any:
    """A copy of an object that holds state: a penalty with the model, a trainer whose method is the loss."""
    plain = isinstance(thing, (nn.Module, type, types.ModuleType)) or not hasattr(thing, "__dict__")
    if id(thing) in memo or plain or _library(type(thing).__module__):
        return _new(thing, memo)
    made = _keep(thing, copy.copy(thing), memo)
    vars(made).update({name: _new(v, memo) for name, v in vars(thing).items()})
    return made


def _new(value: Any, memo: dict[int, Any], by: types.FunctionType | None = None) -> Any:
    """The copy of what belongs to the model, of tensors and plain containers; functions rebuilt; everything else as it is.

    `by`: the function that names it; functions of the same file are rebuilt with it.
    """
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, (nn.Module, Tensor)) or type(value).__module__.startswith("convscope.diagnosing"):
        return copy.deepcopy(value, memo)
    if type(value) is tuple and any(isinstance(v, (nn.Module, Tensor)) for v in cast("tuple[Any, ...]", value)):
        return tuple(_new(v, memo) for v in cast("tuple[Any, ...]", value))
    if type(value) in PLAIN:
        made = _keep(value, copy.copy(value), memo)
        for key, v in list(value.items() if isinstance(value, dict) else () if isinstance(value, set) else enumerate(value)):
            if isinstance(v, (nn.Module, Tensor)):
                made[key] = _new(v, memo)
        return made
    near = by is not None and getattr(value, "__globals__", None) is by.__globals__
    if isinstance(value, types.FunctionType) and (near or value.__closure__):
        return rebound(value, memo)
    return rebound(value, memo) if isinstance(value, (types.MethodType, functools.partial)) else value


def _keep(old: Any, made: Any, memo: dict[int, Any]) -> Any:
    memo[id(old)] = made
    memo.setdefault(id(memo), []).append(old)  # alive, or its id would be given out again
    return made


def _library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in LIBRARIES


def _full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
