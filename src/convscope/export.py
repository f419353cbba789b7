"""Turn a module into a functional graph of ATen operations, and leave the module as it was.

`torch.export.export(…, strict=False)` followed by `.run_decompositions({})` gives the *inference* graph: batch norm fixed,
dropout gone, in-place operations made functional, every reused module a call of its own. The batch axis stays free.

The user's module is never touched: a *twin* shares its tensors but has its own `__dict__`, flags and containers, and is the
one that is switched to evaluation and traced. Whatever `forward` writes on `self` lands on the twin. Forward hooks are
part of the network (pruning and weight norm are hooks, and others may change values), so they run while it is traced;
notes say so.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import linecache
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from convscope.constants import own_weights
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
        new.__dict__["_modules"] = {k: None if v is None else build(bare(v)) for k, v in old._modules.items()}
        new.__dict__ |= {"training": False, "_compiled_call_impl": None}  # compiled code is not the Python that we trace
        for key, value in new.__dict__.items():  # modules kept outside _modules, in a plain list or dict
            if key == "_modules" or not isinstance(value, (list, dict)):
                continue
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for at, module in [(at, v) for at, v in pairs if isinstance(v, nn.Module)]:
                value[at] = build(module)
        return new

    return build(module)


def as_inputs(example: Any, module: nn.Module) -> Inputs:
    """What to call the module with: a tensor, a shape `(C, H, W)` or `(B, C, H, W)`, a tuple of inputs, or a dict."""
    if example is None:
        raise UsageError(
            "which input does this network take?",
            "no example was given",
            "pass example=tensor or example=(3, 224, 224); on the command line --input 3x224x224",
        )
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)) and example and all(isinstance(n, int) for n in example):
        return (random_input(tuple(example), module),), {}
    if isinstance(example, (tuple, list)) and next(_tensors(example), None) is not None:
        return tuple(example), {}
    if hasattr(example, "__array__"):
        return (torch.as_tensor(example),), {}
    raise UsageError(
        f"cannot use {type(example).__name__} as an example input",
        "expected a tensor, a shape, a tuple of tensors or a dict of keyword inputs",
        "for example example=torch.rand(1, 3, 224, 224)",
    )


def random_input(shape: tuple[int, ...], module: nn.Module) -> Tensor:
    """A reproducible normal input of the module's own dtype and device. `(C, H, W)` and `(n,)` get a batch of 1."""
    if any(n < 1 for n in shape):
        raise ShapeError(f"an input of shape {shape} is empty", "every size must be at least 1", "for example 3x224x224")
    full = (1, *shape) if len(shape) in (1, 3) else shape
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(full, generator=generator).to(dtype=like.dtype, device=like.device)


def bare(module: nn.Module) -> nn.Module:
    """The module inside wrappers that compute nothing: torch.compile, DataParallel, DistributedDataParallel."""
    while True:
        inner = module._modules.get("_orig_mod")
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if inner is None:
            return module
        module = inner


def export(module: nn.Module, inputs: Inputs) -> Exported:
    """The graph of a twin of `module` at the example's sizes, with a free batch axis where the network allows one."""
    module = bare(module)
    _check_ready(module)
    args, kwargs = inputs
    tensors = list(_tensors(inputs))
    if not tensors:
        raise UsageError("no tensor among the example inputs", f"got {args!r} {kwargs!r}", "pass at least one tensor")
    hooks = _hooks_note(module)
    batch = tensors[0].shape[0] if tensors[0].ndim > 1 else None
    if batch is None:
        return Exported(_export(module, inputs, batch_free=False), None, ("the input has no batch axis", *hooks))
    reason = "it mixes or fixes it"
    try:
        # torch.export takes sizes 0 and 1 for constants, so the free axis is shown with two examples.
        pair = _map(inputs, lambda t: t[:1].repeat(2, *[1] * (t.ndim - 1)) if t.ndim and t.shape[0] == batch else t)
        program = _export(module, pair, batch_free=True)
        if _row_per_image(program):
            return Exported(program, None, hooks)
    except (
        ExportError
    ) as problem:  # tried again with the batch as given, which reports what is wrong with the network itself
        reason = f"with two examples it says: {problem.found[:160]}"
    program = _export(module, inputs, batch_free=False)
    return Exported(program, batch, (f"the batch is bound to {batch}: {reason}", *hooks))


def _row_per_image(program: ExportedProgram) -> bool:
    """Is the first axis of the input free, and does every tensor that comes out have one entry an image?"""
    named = {n.name: n.meta.get("val") for n in program.graph.nodes}
    first = next(named[name] for name in program.graph_signature.user_inputs if isinstance(named.get(name), Tensor))
    outputs = [named[name] for name in program.graph_signature.user_outputs if isinstance(named.get(name), Tensor)]
    free = not isinstance(first.shape[0], int)
    return free and all(out.ndim > 0 and str(out.shape[0]) == str(first.shape[0]) for out in outputs)


def _check_ready(module: nn.Module) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lazy = next((k for k, v in tensors if isinstance(v, (nn.UninitializedParameter, nn.UninitializedBuffer))), None)
    if lazy is not None:
        raise ExportError(
            f"{type(module).__name__} is lazy: {lazy} has no size yet",
            "it takes its sizes from a first input",
            "run it once",
        )
    meta = next((k for k, v in tensors if v.device.type == "meta"), None)
    if meta is not None:
        raise ExportError(
            f"{type(module).__name__} is on the meta device",
            f"{meta} has a size but no numbers",
            "give it numbers: module.to_empty(device='cpu') and load_state_dict",
        )


def _hooks_note(module: nn.Module) -> tuple[str, ...]:
    held = [name for name, m in module.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    shown = ", ".join(name or "the network" for name in held[:3]) + (" …" if len(held) > 3 else "")
    return (f"forward hooks are part of the graph: {shown}",) if held else ()


def with_modes(module: nn.Module, inputs: Inputs, batch_free: bool) -> ExportedProgram:
    """The graph before it is decomposed: batch norm and dropout are there, with the flag that a mode sets."""
    return _export(bare(module), inputs, batch_free, decomposed=False)


def _export(module: nn.Module, inputs: Inputs, batch_free: bool, decomposed: bool = True) -> ExportedProgram:
    args, kwargs = _map(inputs, lambda t: t.detach())
    with torch.random.fork_rng(devices=[]), _quiet():
        try:
            shapes = _axes(inspect.signature(module.forward).bind(*args, **kwargs).arguments) if batch_free else None
            program = torch.export.export(twin(module), args, kwargs or None, dynamic_shapes=shapes, strict=False)
            own_weights(program)
            return program.run_decompositions({}) if decomposed else program
        except Exception as problem:  # a user's forward can fail in any way while it is traced
            raise explain(problem, module) from problem


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch while it traces, its log and the graphs it prints: what matters comes back in an ExportError."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _axes(value: Any) -> Any:
    """The arguments of a call with every tensor replaced by 'its first axis is free'."""
    if isinstance(value, Tensor):
        return {0: Dim.AUTO} if value.ndim else None
    if isinstance(value, Mapping):
        return {k: _axes(v) for k, v in value.items()}
    return type(value)(map(_axes, value)) if isinstance(value, (list, tuple)) else None


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of lists, tuples and dicts with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {k: _map(v, change) for k, v in value.items()}
    return type(value)(_map(v, change) for v in value) if isinstance(value, (list, tuple)) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for v in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(v)


def explain(problem: Exception, module: nn.Module) -> ExportError:
    """Say which line of the user's code stopped the export, and what to do about it."""
    text = str(problem).strip()
    line = _user_line(problem)
    first = text.splitlines()[0] if text else type(problem).__name__
    where = f"at {line}" if line else "no line of your own code is on the stack"
    if re.search(
        r"data-dependent|GuardOnDataDependent|Could not guard|_local_scalar_dense|Cannot branch",
        type(problem).__name__ + text,
    ):
        return ExportError(
            f"{type(module).__name__} decides on the values of its data, so it is no single graph",
            where,
            "replace the branch by torch.where or torch.cond, or open the part before it",
        )
    if re.search(r"should be the same|same dtype|expected (m1|mat1) and|expected scalar type", text):
        return ExportError(
            f"{type(module).__name__} does not accept this type of input",
            f"{first} ({where})",
            "give the example in the network's own type, e.g. example.to(next(net.parameters()).dtype)",
        )
    if re.search(
        r"mat1 and mat2|same reduction dim|size mismatch|Expected.*(channels|size)|must match|invalid for input of size"
        r"|Kernel size can't be greater|expected input|Output size is too small",
        text,
    ):
        return ExportError(
            f"{type(module).__name__} does not accept this input",
            f"{first} ({where})",
            "give the input size it was built for: --input CxHxW, or example=…",
        )
    return ExportError(
        f"{type(module).__name__} cannot be turned into a graph",
        f"{type(problem).__name__}: {first[:200]} ({where})",
        "change that line, or open a submodule",
    )


def _user_line(problem: BaseException) -> str:
    """'net.py:12 in forward: if x.sum() > 0:' — the innermost frame that is neither torch's nor ours."""
    own = re.compile(r"[\\/](torch|sympy|convscope|contextlib\.py|functools\.py)[\\/]?")
    found = ""
    seen: BaseException | None = problem
    while seen is not None:
        tb = seen.__traceback__
        while tb is not None:
            file, name = tb.tb_frame.f_code.co_filename, tb.tb_frame.f_code.co_name
            if not own.search(file) and not file.startswith("<"):
                found = f"{short(file)}:{tb.tb_lineno} in {name}: {linecache.getline(file, tb.tb_lineno).strip()}"
            tb = tb.tb_next
        if found:
            return found
        seen = seen.__cause__ or seen.__context__
    return found


def short(file: str) -> str:
    """A path as a person would say it: from the current folder, else its last two parts."""
    path = Path(file)
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the current folder is gone
        return path.relative_to(Path.cwd()).as_posix()
    return "/".join(path.parts[-2:])
