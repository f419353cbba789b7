"""What the checks of inputs and labels share: features, what the first layer reads, how well training went."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.diagnosing.calls import NORMS, WEIGHTED, Call
from convscope.diagnosing.changes import feature_axes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG
from convscope.diagnosing.trial import output_of

LEARNT = 0.9  # this far from the constant answer to the best, the training is doing well
KEPT = 1024  # features that are looked at in distances and moments


@dataclass(frozen=True, eq=False)
class Features:
    """One number a feature, over the finite values of all examples: columns of a table, channels of images."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    finite: NDArray[np.float64]  # share

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Features that are not one number, whatever its rounding."""
        return self.std > 1e-6 * np.abs(self.mean) + 1e-30


def features(x: Tensor) -> Features:
    """Of inputs (N, …)."""
    axes = feature_axes(x)
    v = x.detach().double()
    good = torch.isfinite(v)
    nan = torch.where(good, v, torch.nan)
    mean = torch.nanmean(nan, dim=axes, keepdim=True)
    std = torch.nanmean((nan - mean).square(), dim=axes).sqrt()
    low = torch.where(good, v, torch.inf).amin(axes)
    high = torch.where(good, v, -torch.inf).amax(axes)
    share = good.double().mean(axes)
    return Features(*(a.reshape(-1).cpu().numpy() for a in (mean, std, low, high, share)))


def first_weighted(evidence: Evidence) -> Call | None:
    """The first call with weights."""
    return next((c for c in evidence.calls if c.op in WEIGHTED), None)


def quantities(evidence: Evidence) -> Tensor | None:
    """(N, …) what the first weighted layer reads, where that is numbers on a scale: not codes of an embedding, not normed.

    Of examples spread over all where it reads the inputs as they are; of the first batch where something came before.
    """
    call = first_weighted(evidence)
    if call is None or call.op == "embedding":
        return None
    source = call.inputs[0] if call.inputs else -1
    if source < 0:
        x = spread_out(evidence.program.examples.x)
        return x if x.is_floating_point() or x.dtype == torch.uint8 else None
    before = evidence.calls[source]
    if before.op in NORMS or before.op == "embedding" or not before.value.is_floating_point():
        return None
    return before.value.detach()


def insensitive(evidence: Evidence, factor: float) -> bool:
    """Does the output in training mode stay when the inputs are multiplied? Then a norm takes their scale off.

    Held against noise: 'stays' is a change below 2 % of the output's spread.
    """
    if evidence.tensor is None or not evidence.x.is_floating_point():
        return False
    twin = evidence.program.twin()
    twin.model.train()
    found: list[Tensor] = []
    with left_alone(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for c in (1.0, factor):
            torch.manual_seed(evidence.seed)
            try:
                out = output_of(twin, evidence.x * c)
            except (RuntimeError, ValueError, IndexError, TypeError):  # the network refuses: nothing can be said
                return False
            found.append(out.double())
    spread = float(found[0].std(unbiased=False))
    return spread > 0 and float((found[0] - found[1]).square().mean().sqrt()) < 0.02 * spread


def poor(evidence: Evidence) -> bool:
    """Did the short training break off, or end near the constant answer?"""
    return evidence.trial.broke is not None or evidence.after.poor


def graded(evidence: Evidence, far: bool = True) -> float:
    """How much a fault of the data counts: much where it is `far` out and training went badly, hardly where it went well."""
    if poor(evidence):
        return STRONG if far else LIKELY
    return LIKELY if far and not evidence.after.share > LEARNT else HINT


def labels(evidence: Evidence, examples: Examples | None = None) -> Tensor | None:
    """(N,) one class an example; None where there is not exactly one."""
    y = (examples or evidence.program.examples).y
    kind = evidence.targets
    if y is None or not len(y) or (not kind.exclusive and kind.kind != "shares"):
        return None
    if kind.kind in ("one-hot", "shares"):
        return y.argmax(1) if y.ndim == 2 and y.shape[1] > 1 else None
    return y.reshape(len(y)).long() if y.numel() == len(y) and bool(torch.isfinite(y.double()).all()) else None


def flat(x: Tensor, most: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(n, F) standardised rows of at most `most` examples, and their numbers; rows that are not finite are left out."""
    index = torch.arange(len(x))
    if len(x) > most:
        index = torch.from_numpy(np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False)))
    rows = x[index].detach().reshape(len(index), -1).float()
    if rows.shape[1] > KEPT:
        rows = rows[:, torch.linspace(0, rows.shape[1] - 1, KEPT).round().long()]
    good = torch.isfinite(rows).all(1)
    rows, index = rows[good], index[good]
    if not len(rows):
        return rows, index
    std = rows.std(0, unbiased=False)
    std = torch.where(std > 1e-6 * (1e-30 + rows.mean(0).abs()), std, torch.inf)
    if x.ndim == 4:  # pixels share one unit: a border that hardly varies must not count like the middle
        std = torch.where(torch.isfinite(std), rows.std().clamp(min=1e-30), std)
    return (rows - rows.mean(0)) / std, index


def chosen(program: Program, index: Tensor) -> Program:
    """The program on these examples, in this order."""
    e = program.examples
    return replace(program, examples=replace(e, x=e.x[index], y=None if e.y is None else e.y[index], total=len(index),
                                             epochs=(), again=None, once=None))  # fmt: skip


def prints(x: Tensor) -> list[bytes]:
    """One digest a row."""
    rows = x.detach().cpu().reshape(len(x), -1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]


def augmented(e: Examples) -> bool:
    """Does one example come out another when it is read again?"""
    return e.once is not None and e.again is not None and not torch.equal(e.once[0], e.again[0])


def spread_out(x: Tensor, most: int = KEPT) -> Tensor:
    """At most `most` examples, evenly spread."""
    return x if len(x) <= most else x[torch.linspace(0, len(x) - 1, most).round().long()]


def listed(names: list[str], most: int = 4) -> str:
    """'0, 3, 7, 8 and 12 more'."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
