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
import torch.nn.functional as F
from torch import Tensor

from convscope.diagnosing.program import Program
from convscope.diagnosing.targets import Targets

TINY = 1e-7  # Keras keeps probabilities this far from 0 and 1
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


def _index(t: Tensor, k: int) -> Tensor:
    return (
        t.reshape(len(t), -1).argmax(1)
        if t.ndim > 1 and t.shape[1] == k and t.is_floating_point()
        else t.long().reshape(len(t), *t.shape[2:] if t.ndim > 1 and t.shape[1] == 1 else t.shape[1:])
    )


def _hot(o: Tensor, t: Tensor) -> Tensor:
    if t.shape == o.shape:
        return t.to(o.dtype)
    dim = 1 if o.ndim > 1 else 0
    index = t.long()
    if index.ndim == o.ndim and index.shape[-1] == 1:
        index = index.squeeze(-1)
    hot = F.one_hot(index.clamp(0, o.shape[dim] - 1), o.shape[dim]).to(o.dtype)
    return hot.movedim(-1, 1) if hot.ndim == o.ndim and o.ndim > 2 else hot


def _last(o: Tensor, t: Tensor) -> Tensor:
    """One-hot targets over the last axis, as Keras has them."""
    return (
        t.to(o.dtype)
        if t.shape == o.shape
        else F.one_hot(t.long().reshape(o.shape[:-1]).clamp(0, o.shape[-1] - 1), o.shape[-1]).to(o.dtype)
    )


def _like(o: Tensor, t: Tensor) -> Tensor:
    return t.to(o.dtype).reshape(o.shape)


def _p(o: Tensor) -> Tensor:
    return o.clamp(TINY, 1 - TINY)


FAMILIES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross-entropy": ("logits", lambda o, t: -(_hot(o, t) * o.log_softmax(1)).sum(1).mean()),
    "cross-entropy (last axis)": ("logits", lambda o, t: -(_last(o, t) * o.log_softmax(-1)).sum(-1).mean()),
    "nll": ("log-probabilities", lambda o, t: -(_hot(o, t) * o).sum(1).mean()),
    "probability cross-entropy": ("probabilities", lambda o, t: -(_hot(o, t) * o.log()).sum(1).mean()),
    "clipped cross-entropy": ("probabilities", lambda o, t: -(_last(o, t) * _p(o).log()).sum(-1).mean()),
    "normalised cross-entropy":
        ("probabilities", lambda o, t: -(_last(o, t) * _p(o / o.sum(-1, keepdim=True)).log()).sum(-1).mean()),
    "bce": ("probabilities", lambda o, t: F.binary_cross_entropy(_p(o), _like(o, t))),
    "bce logits": ("logits", lambda o, t: F.binary_cross_entropy_with_logits(o, _like(o, t))),
    "mse": ("values", lambda o, t: (o - _like(o, t)).square().mean()),
    "mse one-hot": ("values", lambda o, t: (o - _hot(o, t)).square().mean()),
    "mae": ("values", lambda o, t: (o - _like(o, t)).abs().mean()),
    "huber": ("values", lambda o, t: F.smooth_l1_loss(o, _like(o, t))),
    "rmse": ("values", lambda o, t: (o - _like(o, t)).square().mean().sqrt()),
    "hinge": ("values", lambda o, t: F.multi_margin_loss(o, _index(t, o.shape[1]))),
    "binary hinge": ("values", lambda o, t: (1 - (2 * _like(o, t) - 1) * o).clamp(min=0).mean()),
    "poisson": ("logits", lambda o, t: (o.exp() - _like(o, t) * o).mean()),
    "kl": ("log-probabilities", lambda o, t: (_like(o, t) * (_like(o, t).clamp(min=1e-30).log() - o)).sum(1).mean()),
    "msle": ("values", lambda o, t: ((1 + o.clamp(min=0)).log() - (1 + _like(o, t)).log()).square().mean()),
    "mape": ("values", lambda o, t: ((o - _like(o, t)) / _like(o, t).abs().clamp(min=1e-7)).abs().mean()),
    "mse of softmax": ("logits", lambda o, t: (o.softmax(1) - _hot(o, t)).square().mean()),
    "cross-entropy smoothed":
        ("logits", lambda o, t: -((0.9 * _hot(o, t) + 0.1 / o.shape[1]) * o.log_softmax(1)).sum(1).mean()),
}  # fmt: skip
WIDE = {"logits": ("normal",), "values": ("wide", "normal"), "log-probabilities": ("normal",), "probabilities": ("unit",)}
NARROW = {"values": ("unit",), "log-probabilities": ("log",), "probabilities": ("simplex",)}  # outputs on which it is asked
SOFTMAXES = ("cross-entropy", "cross-entropy (last axis)", "cross-entropy smoothed")


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
        known = _prior(family, o, t)
        found["constant"] = best_constant(program, o, t) if known is None else factor * known + penalty
        found["floor"] = best_free(program, o, t, family, targets)
    return LossFacts(**found)  # type: ignore[arg-type]


def _prior(family: str, o: Tensor, t: Tensor | None) -> float | None:
    """The loss of the best constant answer, where there is a formula: variance, or the entropy of the classes."""
    if t is None:
        return None
    if family == "mse":
        return float(_like(o, t).reshape(len(o), -1).double().var(0, unbiased=False).mean())
    if family in ("bce", "bce logits"):
        p = _like(o, t).reshape(len(o), -1).double().mean(0)
        return float(-(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).mean())
    if family in ("cross-entropy", "nll", "probability cross-entropy", "clipped cross-entropy", "normalised cross-entropy"):
        hot = (_last if family in ("clipped cross-entropy", "normalised cross-entropy") else _hot)(o, t).double()
        p = hot.mean(0)
        if p.ndim > 1:  # a class for each position
            axis = -1 if hot is not None and family in ("clipped cross-entropy", "normalised cross-entropy") else 0
            return float(-torch.xlogy(p, p).sum(axis).mean())
        return float(-torch.xlogy(p, p).sum())
    return None


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


def quiet(program: Program, o: Tensor, t: Tensor | None) -> Tensor:
    """The loss as a number (float64), NaN where it raises."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        value = program.value(o, t)
        return (value if isinstance(value, Tensor) else torch.as_tensor(float(value))).double().reshape(-1).sum()
    return torch.tensor(math.nan, dtype=torch.float64)


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


def best_constant(program: Program, o: Tensor, t: Tensor | None, steps: int = 60) -> float:
    """The loss of the best answer that is the same for all, or a bound above it: descent on one row, from several begins."""
    begins = [o.float().mean(0, keepdim=True)]
    if t is not None and t.is_floating_point() and t.numel() == o.numel():
        begins.append(t.float().reshape(o.shape).mean(0, keepdim=True))
    if (
        t is not None
        and o.ndim > 1
        and o.shape[1] > 1
        and t.numel() == o.numel() // o.shape[1]
        and not t.is_floating_point()
    ):
        prior = _hot(o, t).mean(0, keepdim=True)
        begins += [prior, prior.clamp(min=1e-3).log()]
    found = [_descend(program, begin, lambda row: row.expand(o.shape), t, steps) for begin in begins]
    return min((f for f in found if math.isfinite(f)), default=math.nan)


def best_free(program: Program, o: Tensor, t: Tensor | None, family: str, targets: Targets, steps: int = 60) -> float:
    """The loss of the best answers of all: 0 where the family says so, else by descent on free outputs (an upper bound)."""
    if family and family not in ("cross-entropy smoothed", "poisson", "kl") and targets.kind != "shares":
        return 0.0
    return _descend(program, o.float(), lambda free: free, t, steps)


def _descend(program: Program, begin: Tensor, of: Callable[[Tensor], Tensor], t: Tensor | None, steps: int) -> float:
    free = begin.clone().requires_grad_()
    rate = 0.3 * max(float(begin.std(unbiased=False)), 0.1)
    optimizer = torch.optim.Adam([free], lr=rate)
    best = math.inf
    with torch.enable_grad():
        for _ in range(steps):
            value = quiet(program, of(free), t)
            if not bool(torch.isfinite(value)) or not value.requires_grad:
                break
            best = min(best, float(value.detach()))
            (free.grad,) = torch.autograd.grad(value, free, allow_unused=True)
            if free.grad is None:
                break
            optimizer.step()
    return best if math.isfinite(best) else math.nan
