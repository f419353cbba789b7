"""Turn a module into a functional graph of ATen operations, and leave the module as it was.

`torch.export.export(…, strict=False)` followed by `.run_decompositions({})` gives the *inference* graph: batch norm fixed,
dropout gone, in-place operations made functional, every reused module a call of its own. The batch axis stays free.

The user's module is never touched: a *twin* shares its tensors but has its own `__dict__`, flags and containers, and is the
one that is switched to evaluation and traced. Whatever `forward` writes on `self` lands on the twin.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from convscope.errors import ExportError, ShapeError, UsageError

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Exported:
    """A graph, and whether its batch axis is free (else the batch size it is bound to)."""

    program: ExportedProgram
    batch: int | None
    notes: tuple[str, ...] = ()


def twin(module: nn.Module) -> nn.Module:
    """A second module over the same tensors: same code, own containers and flags, in evaluation mode."""
    made: dict[int, nn.Module] = {}

    def build(old: nn.Module) -> nn.Module:
        if id(old) in made:
            return made[id(old)]
        new = old.__class__.__new__(old.__class__)
        made[id(old)] = new
        for key, value in old.__dict__.items():
            held = isinstance(value, (dict, list, set))
            new.__dict__[key] = copy.copy(value) if held else value
        new.__dict__["_modules"] = {k: None if v is None else build(v) for k, v in old._modules.items()}
        new.__dict__["training"] = False
        for key, value in new.__dict__.items():  # modules kept outside _modules, e.g. in a plain list
            if key != "_modules" and isinstance(value, list):
                new.__dict__[key] = [build(v) if isinstance(v, nn.Module) else v for v in value]
        return new

    return build(module)


def as_inputs(example: Any, module: nn.Module) -> Inputs:
    """What to call the module with: a tensor, a shape `(C, H, W)` or `(B, C, H, W)`, a tuple of tensors, or a dict of keywords."""
    if example is None:
        raise UsageError("which input does this network take?", "no example was given",
                         "pass example=tensor or example=(3, 224, 224); on the command line --input 3x224x224")
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)) and example and all(isinstance(n, int) for n in example):
        return (random_input(tuple(example), module),), {}
    if isinstance(example, (tuple, list)) and any(isinstance(v, Tensor) for v in example):
        return tuple(example), {}
    if hasattr(example, "__array__"):
        return (torch.as_tensor(example),), {}
    raise UsageError(f"cannot use {type(example).__name__} as an example input", "expected a tensor, a shape, a tuple of tensors "
                     "or a dict of keyword inputs", "for example example=torch.rand(1, 3, 224, 224)")


def random_input(shape: tuple[int, ...], module: nn.Module) -> Tensor:
    """A reproducible normal input of the module's own dtype and device. `(C, H, W)` and `(n,)` get a batch of 1."""
    if any(n < 1 for n in shape):
        raise ShapeError(f"an input of shape {shape} is empty", "every size must be at least 1", "for example 3x224x224")
    full = (1, *shape) if len(shape) in (1, 3) else shape
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(full, generator=generator).to(dtype=like.dtype, device=like.device)


def export(module: nn.Module, inputs: Inputs) -> Exported:
    """The graph of a twin of `module` at the example's sizes, with a free batch axis where the network allows one."""
    args, kwargs = inputs
    tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
    if not tensors:
        raise UsageError("no tensor among the example inputs", f"got {args!r} {kwargs!r}", "pass at least one tensor")
    batch = tensors[0].shape[0] if tensors[0].ndim > 1 else None
    if batch is not None:
        try:
            # torch.export takes sizes 0 and 1 for constants, so the free axis is shown with two examples.
            pair = _map(inputs, lambda t: t[:1].repeat(2, *[1] * (t.ndim - 1)) if t.ndim and t.shape[0] == batch else t)
            program = _export(module, pair, batch_free=True)
            first = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name in program.graph_signature.user_inputs)
            if not isinstance(first.meta["val"].shape[0], int):
                return Exported(program, None)
        except Exception as problem:  # noqa: BLE001 - any failure here is tried again with the batch as given, which reports it
            return Exported(_export(module, inputs, batch_free=False), batch, (f"the batch is bound to {batch}: with two examples the "
                            f"network says '{str(problem).strip().splitlines()[0][:120]}'",))
    note = f"the batch is bound to {batch}: the network mixes or fixes it" if batch is not None else "the input has no batch axis"
    return Exported(_export(module, inputs, batch_free=False), batch, (note,))


def _export(module: nn.Module, inputs: Inputs, batch_free: bool) -> ExportedProgram:
    args, kwargs = _map(inputs, lambda t: t.detach())
    free = (_axes(args), _axes(kwargs)) if batch_free else None
    shapes = None if free is None else ((*free[0],) if not kwargs else _named(module, args, kwargs))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(twin(module), args, kwargs or None, dynamic_shapes=shapes, strict=False)
            return program.run_decompositions({})
        except Exception as problem:  # every way in which a user's forward can fail while it is traced
            raise explain(problem, module) from problem


def _axes(values: Any) -> Any:
    each = {k: {0: Dim.AUTO} if isinstance(v, Tensor) and v.ndim else None for k, v in dict(
        values.items() if isinstance(values, dict) else enumerate(values)).items()}
    return each if isinstance(values, dict) else tuple(each.values())


def _named(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    import inspect

    names = list(inspect.signature(module.forward).parameters)
    return dict(zip(names, _axes(args), strict=False)) | _axes(kwargs)


def _map(inputs: Inputs, change: Any) -> Inputs:
    args, kwargs = inputs
    return (tuple(change(v) if isinstance(v, Tensor) else v for v in args),
            {k: change(v) if isinstance(v, Tensor) else v for k, v in kwargs.items()})


def explain(problem: Exception, module: nn.Module) -> ExportError:
    """Say which line of the user's code stopped the export, and what to do about it."""
    text = str(problem).strip()
    line = _user_line(problem)
    first = text.splitlines()[0] if text else type(problem).__name__
    where = f"at {line}" if line else "no line of your own code is on the stack"
    if re.search(r"data-dependent|GuardOnDataDependent|Could not guard|_local_scalar_dense|Cannot branch", type(problem).__name__ + text):
        return ExportError(f"{type(module).__name__} decides on the values of its data, so it is no single graph", where,
                           "replace the branch by torch.where or torch.cond, or open the part before it")
    if re.search(r"mat1 and mat2|size mismatch|Expected.*(channels|size)|must match|invalid for input of size|Kernel size can't be greater"
                 r"|expected input|Output size is too small", text):
        return ExportError(f"{type(module).__name__} does not accept this input", f"{first} ({where})",
                           "give the input size it was built for: --input CxHxW, or example=…")
    return ExportError(f"{type(module).__name__} cannot be turned into a graph", f"{type(problem).__name__}: {first[:200]} ({where})",
                       "change that line, or open a submodule")


def _user_line(problem: BaseException) -> str:
    """'net.py:12 in forward: if x.sum() > 0:' — the innermost frame that is neither torch's nor ours."""
    import linecache

    own = re.compile(r"[\\/](torch|sympy|convscope|contextlib\.py|functools\.py)[\\/]?")
    found = ""
    seen: BaseException | None = problem
    while seen is not None:
        tb = seen.__traceback__
        while tb is not None:
            file, name = tb.tb_frame.f_code.co_filename, tb.tb_frame.f_code.co_name
            if not own.search(file) and not file.startswith("<"):
                found = f"{file}:{tb.tb_lineno} in {name}: {linecache.getline(file, tb.tb_lineno).strip()}"
            tb = tb.tb_next
        if found:
            return found
        seen = seen.__cause__ or seen.__context__
    return found
