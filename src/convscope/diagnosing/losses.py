"""What is this loss? Found out by calling it, never by its name: L(o, t) is compared with the known ones on made-up outputs.

    L(o_k, t) = a · f(o_k, t) + b   for six random o_k      ⟹ it is f; a tells the sign and the reduction, b is a penalty

What is none of the known ones is still asked: does it apply a softmax itself (L(o + c) = L(o))? Does one example's
gradient hang on its batch mates? Does it grow with the batch? What would the best constant answer give, and the best of all?
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convscope.diagnosing.bounds import best_constant, best_free, prior
from convscope.diagnosing.families import FAMILIES, quiet
from convscope.diagnosing.program import Program
from convscope.diagnosing.targets import Targets

DRAWS = 6
FIT = 2e-4  # relative residual under which a loss is one of the known ones


@dataclass(frozen=True)
class LossFacts:
    """What a loss was found to be. `family` '' where it is none of the known ones."""

    family: str = ""  # a key of FAMILIES
    factor: float = 1.0  # a: how many times the mean; negative: climbed
    penalty: float = 0.0  # b: what it adds whatever the outputs
    reads: str = "values"  # 'logits', 'probabilities', 'log-probabilities', 'values'
    applies_softmax: bool = False  # over the classes, by itself
    coupled: float = 0.0  # how far one example's gradient changes with its batch mates, relative
    grows: float = 1.0  # loss of the batch taken twice, over the loss of the batch
    scalar: bool = True
    constant: float = math.nan  # the loss of the best constant answer
    floor: float = math.nan  # the loss of the best answers of all
    problem: str = ""  # what it raised
    warnings: tuple[str, ...] = ()
    broadcast: float = 0.0  # how far the loss moves when outputs get the targets' shape, relative
    gradient: float = math.nan  # norm of ∂L/∂output at the start, relative to the output's
    notes: tuple[str, ...] = field(default=())

    @property
    def classifies(self) -> bool:
        """A loss of classes?"""
        return self.family in ("cross-entropy", "nll", "probability cross-entropy", "normalised cross-entropy", "bce",
                               "bce logits", "hinge", "focal")  # fmt: skip


WIDE = {"logits": ("normal",), "values": ("wide", "normal"), "log-probabilities": ("normal",), "probabilities": ("unit",)}
NARROW = {"values": ("unit",), "log-probabilities": ("log",), "probabilities": ("simplex",)}  # outputs on which it is asked


def facts(program: Program, output: Tensor, target: Tensor | None, targets: Targets) -> LossFacts:
    """Ask the loss. `output` (B, …) and `target` as the network and the loader give them."""
    o, t = output.detach() if output.dtype == torch.float64 else output.detach().float(), target
    at_start, problem, warned = _call(program, o, t)
    if at_start is None:
        return LossFacts(problem=problem, warnings=warned)
    if at_start.numel() != 1:
        return LossFacts(
            scalar=False, warnings=warned, problem=f"the loss has shape {tuple(at_start.shape)}, it must be one number"
        )
    family, factor, penalty, reads = _recognised(program, o, t)
    found = {
        "family": family, "factor": factor, "penalty": penalty, "reads": reads, "warnings": warned,
        "applies_softmax": _shift_free(program, o, t), "coupled": _coupled(program, o, t), "grows": _grows(program, o, t),
        "broadcast": _broadcast(program, o, t), "gradient": _slope(program, o, t),
    }  # fmt: skip
    if target is not None or program.objective:
        known = prior(family, o, t)
        found["constant"] = best_constant(program, o, t) if known is None else factor * known + penalty
        found["floor"] = best_free(program, o, t, family, targets)
    return LossFacts(**found)  # type: ignore[arg-type]


def _call(program: Program, o: Tensor, t: Tensor | None) -> tuple[Tensor | None, str, tuple[str, ...]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            value = program.value(o, t)
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything; it is what we report
            return None, f"{type(error).__name__}: {error}", tuple(str(w.message) for w in seen)
    if not isinstance(value, Tensor):
        value = torch.as_tensor(float(value))
    return value, "", tuple(dict.fromkeys(str(w.message) for w in seen))


def _recognised(program: Program, o: Tensor, t: Tensor | None) -> tuple[str, float, float, str]:
    """The first family whose values lie on one line with the loss's: on free outputs first, and without an addend first."""
    if t is None or o.ndim == 0:
        return "", 1.0, 0.0, "values"
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand((DRAWS, *o.shape), generator=generator).to(o.device)
    normal = torch.randn((DRAWS, *o.shape), generator=generator).to(o.device)
    simplex = draws / draws.sum(2, keepdim=True) if o.ndim >= 2 and o.shape[1] > 1 else draws
    inputs = {"normal": normal, "unit": draws, "simplex": simplex, "log": simplex.log()}
    if t.is_floating_point() and float(t.abs().max()) > 10:  # at the targets' own scale, or float32 hides what outputs do
        inputs["wide"] = normal * float(t.float().std(unbiased=False)) + float(t.float().mean())
    with torch.no_grad():
        asked = {name: torch.stack([quiet(program, x, t) for x in xs]) for name, xs in inputs.items()}
        for on in WIDE, NARROW:
            adds = None
            for family, (reads, f) in FAMILIES.items():
                for kind in (k for k in on.get(reads, ()) if k in inputs):
                    line = _line(f, inputs[kind], asked[kind], t)
                    if line is not None and line[1] == 0:
                        return family, *line, reads
                    adds = adds or (None if line is None else (family, *line, reads))
            if adds is not None:
                return adds
    return "", 1.0, 0.0, "values"


def _line(f: Callable[[Tensor, Tensor], Tensor], xs: Tensor, asked: Tensor, t: Tensor) -> tuple[float, float] | None:
    if not bool(torch.isfinite(asked).all()):
        return None
    try:
        known = torch.stack([f(x.double(), t).double() for x in xs])
    except (RuntimeError, IndexError, ValueError):
        return None
    if not bool(torch.isfinite(known).all()) or float(known.std()) < 1e-9 * (1 + float(known.abs().max())):
        return None
    centred, mean = known - known.mean(), asked.mean()
    a = float((centred * (asked - mean)).sum() / centred.square().sum())
    left = float((asked - mean - a * centred).abs().max())
    spread = float((asked - mean).abs().max())
    if spread == 0 or left > FIT * spread:
        return None
    b = float(mean) - a * float(known.mean())
    return a, b if abs(b) > 1e-4 * (abs(float(mean)) + 1e-12) else 0.0


def _shift_free(program: Program, o: Tensor, t: Tensor | None) -> bool:
    """Is L(o + c) = L(o) for a number c for each example, on outputs of which it depends otherwise?"""
    if o.ndim < 2 or o.shape[1] < 2:
        return False
    g = torch.Generator().manual_seed(1)
    z = torch.randn(o.shape, generator=g).to(o.device)
    c = 3 * torch.randn((len(o), 1, *o.shape[2:]), generator=g).to(o.device)
    with torch.no_grad():
        a, b, other = (float(quiet(program, v, t)) for v in (z, z + c, 2 * z))
    return all(map(math.isfinite, (a, b, other))) and abs(a - b) < 1e-4 * (1 + abs(a)) < abs(a - other) + 1e-4 and a != other


def _gradient(program: Program, o: Tensor, t: Tensor | None) -> Tensor | None:
    leaf = o.clone().requires_grad_()
    with torch.enable_grad():
        value = quiet(program, leaf, t)
        if not value.requires_grad or not bool(torch.isfinite(value)):
            return None
        with contextlib.suppress(RuntimeError):  # a loss of mixed precision may refuse to go back: no gradient is told
            return torch.autograd.grad(value, leaf, allow_unused=True)[0]
        return None


def _coupled(program: Program, o: Tensor, t: Tensor | None) -> float:
    """How far the gradients of the first half change, relative, when the outputs of the second half do."""
    half = len(o) // 2
    if half < 1:
        return 0.0
    g = torch.Generator().manual_seed(2)
    unit = torch.rand(o.shape, generator=g).clamp(0.05, 0.95).to(o.device)
    other = torch.cat([unit[:half], torch.rand(unit[half:].shape, generator=g).clamp(0.05, 0.95).to(o.device)])
    a, b = _gradient(program, unit, t), _gradient(program, other, t)
    if a is None or b is None:
        return 0.0
    return float((a[:half] - b[:half]).norm() / a[:half].norm().clamp(min=1e-30))


def _grows(program: Program, o: Tensor, t: Tensor | None) -> float:
    g = torch.Generator().manual_seed(3)
    z = torch.rand(o.shape, generator=g).clamp(0.05, 0.95).to(o.device)
    with torch.no_grad():
        once = float(quiet(program, z, t)) - 0.0
        twice = float(quiet(program, torch.cat([z, z]), None if t is None else torch.cat([t, t])))
    return twice / once if once and math.isfinite(once) and math.isfinite(twice) else 1.0


def _broadcast(program: Program, o: Tensor, t: Tensor | None) -> float:
    """How far the loss moves when outputs are given in the targets' shape; 0 where shapes agree."""
    if t is None or o.shape == t.shape or o.numel() != t.numel() or not len(o) > 1:
        return 0.0
    g = torch.Generator().manual_seed(4)
    z = torch.rand(o.shape, generator=g).clamp(0.05, 0.95).to(o.device)
    with torch.no_grad():
        as_is, shaped = float(quiet(program, z, t)), float(quiet(program, z.reshape(t.shape), t))
    return abs(as_is - shaped) / (abs(shaped) + 1e-12) if math.isfinite(as_is) and math.isfinite(shaped) else 0.0


def _slope(program: Program, o: Tensor, t: Tensor | None) -> float:
    g = _gradient(program, o, t)
    return math.nan if g is None else float(g.norm())


__all__ = ["FAMILIES", "LossFacts", "best_constant", "best_free", "facts", "quiet"]
