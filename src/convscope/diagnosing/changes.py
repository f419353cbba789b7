"""Remedies that can be run: each a `Change`, a function from a twin of the program to the program changed.

Calls are replaced in the pass (`calls.Replacing`), losses wrapped, data mapped, the optimiser's recipe rewritten, weights
drawn anew. Nothing of it touches the user's own; the code for their program is told in words beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from convscope.diagnosing.calls import Rule, identity
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import Change


def without(keys: Iterable[str], name: str = "") -> Change:
    """These calls give what they are given: 'softmax#0', or 'dropout' for all of them."""
    keys = tuple(keys)
    return calling(dict.fromkeys(keys, identity), name or f"without {', '.join(k.split('#')[0] for k in keys)}")


def calling(rules: dict[str, Rule], name: str) -> Change:
    """These calls do something else."""
    return Change(name, lambda program: replace(program, rules={**program.rules, **rules}))


def losing(loss: Callable[[Tensor, Tensor], Tensor], name: str) -> Change:
    """Another loss of (output, target)."""
    return Change(name, lambda program: replace(program, loss=loss, objective=False))


def wrapping(around: Callable[[Callable[..., Tensor]], Callable[..., Tensor]], name: str) -> Change:
    """The user's loss within another function: `around(loss)` is the new one."""
    return Change(name, lambda program: replace(program, loss=around(program.loss)))


def through(function: Callable[[Tensor], Tensor], name: str) -> Change:
    """The network's output goes through `function` too: its class on the twin is a child whose forward ends with it."""

    def apply(program: Program) -> Program:
        kind = type(program.model)

        def forward(self: nn.Module, *given: object, **named: object) -> Tensor:
            return function(kind.forward(self, *given, **named))

        program.model.__class__ = type(kind.__name__, (kind,), {"forward": forward})
        return program

    return Change(name, apply)


def optimizing(name: str, factor: float = 1.0, **options: object) -> Change:
    """Other options of the optimiser; `factor` multiplies every rate."""
    return Change(name, lambda program: replace(program, optimizer=program.optimizer.with_(**options).scaled(factor)))


def inputs(function: Callable[[Tensor], Tensor], name: str) -> Change:
    """Other inputs: `function` maps (N, …) of training and held-out examples alike."""
    return Change(
        name,
        lambda program: replace(
            program,
            examples=_mapped(program.examples, function, None),
            held_out=None if program.held_out is None else _mapped(program.held_out, function, None),
        ),
    )


def answers(function: Callable[[Tensor], Tensor], name: str) -> Change:
    """Other targets, mapped alike."""
    return Change(
        name,
        lambda program: replace(
            program,
            examples=_mapped(program.examples, None, function),
            held_out=None if program.held_out is None else _mapped(program.held_out, None, function),
        ),
    )


def feature_axes(x: Tensor) -> tuple[int, ...]:
    """The axes over which one feature is collected: not columns of tables, channels of images, the last axis."""
    if x.ndim <= 2:
        return (0,)
    return (0, *range(2, x.ndim)) if x.ndim == 4 and x.shape[1] <= 16 else (0, *range(1, x.ndim - 1))


def standardised(examples: Examples) -> Change:
    """Every feature (channel of an image) to mean 0 and standard deviation 1, by the training examples' own statistics."""
    x, axes = examples.x.float(), feature_axes(examples.x)
    good = torch.where(torch.isfinite(x), x, torch.nan)
    mean = torch.nanmean(good, dim=axes, keepdim=True)
    std = (torch.nanmean((good - mean).square(), dim=axes, keepdim=True)).sqrt()
    std = torch.where(std > 1e-8 * (1 + mean.abs()), std, torch.ones_like(std))
    return inputs(lambda v: (v.float() - mean) / std, "inputs standardised")


def standardised_targets(examples: Examples) -> Change:
    """Targets to mean 0 and standard deviation 1; scores such as R² are the same in the original unit."""
    assert examples.y is not None
    y = examples.y.float()
    mean, std = y.mean(0, keepdim=True), y.std(0, unbiased=False, keepdim=True).clamp(min=1e-12)
    return answers(lambda v: (v.float() - mean) / std, "targets standardised")


def drawn(seed: int = 0, gain: float = math.sqrt(2.0), only: tuple[str, ...] = ()) -> Change:
    """Weights drawn anew by their fan-in (He et al. 2015), biases 0; norms and `only`'s absence left as they are."""

    def apply(program: Program) -> Program:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, p in program.model.named_parameters():
                if (only and name not in only) or not p.is_floating_point():
                    continue
                if p.ndim >= 2:
                    fan_in = p[0].numel() if program.framework == "torch" else p.numel() // p.shape[-1]
                    p.copy_(torch.randn(p.shape, generator=generator).to(p) * (gain / math.sqrt(max(fan_in, 1))))
                elif name.endswith("bias"):
                    p.zero_()
        return program

    return Change("weights drawn anew by fan-in", apply)


def thawed(names: list[str]) -> Change:
    """These parameters ask for a gradient and belong to the optimiser."""

    def apply(program: Program) -> Program:
        known = dict(program.model.named_parameters())
        for name in names:
            known[name].requires_grad_(True)
        return replace(program, optimizer=program.optimizer.owning(names))

    return Change(f"{len(names)} parameters trained too", apply)


def shuffled() -> Change:
    """Another order of the examples in every epoch."""
    return Change("shuffled", lambda program: replace(program, examples=replace(program.examples, shuffled=True)))


def rewritten(function: Callable[[Program], Program], name: str) -> Change:
    """Anything else."""
    return Change(name, function)


def modules(change: Callable[[str, nn.Module], nn.Module | None], name: str) -> Change:
    """Other modules: `change(path, module)` gives the one to put in its place, or None to leave it."""

    def apply(program: Program) -> Program:
        for path, module in list(program.model.named_modules()):
            new = change(path, module)
            if new is not None and path:
                parent, _, leaf = path.rpartition(".")
                program.model.get_submodule(parent)._modules[leaf] = new
        return program

    return Change(name, apply)


def _mapped(examples: Examples, x: Callable[[Tensor], Tensor] | None, y: Callable[[Tensor], Tensor] | None) -> Examples:
    def both(pair: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        return pair[0] if x is None else x(pair[0]), pair[1] if y is None or pair[1] is None else y(pair[1])

    new = both((examples.x, examples.y))
    return replace(
        examples,
        x=new[0],
        y=new[1],
        epochs=tuple(both(e) for e in examples.epochs),
        again=None if examples.again is None else both(examples.again),
        once=None if examples.once is None else both(examples.once),
    )
