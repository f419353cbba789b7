"""Are all inputs and targets finite, and do they vary?

    x_ij ∈ {NaN, ±∞} for some example i      ⟹ the loss of its batch, and from then on every weight, is NaN
    x_i = x_k for all examples i, k          ⟹ no network can tell them apart
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from convscope.checks._data import Features, chosen, features, listed
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, Change, Suspicion
from convscope.fields import param, validate

FAINT = 0.2  # worth a word, behind everything else


@dataclass(frozen=True)
class FiniteInputs:
    """Are there inputs or targets that are not finite, or that never vary?

    Counts the values of x (N, …) and y (N, …) that are NaN or infinite, by feature (column of a table, channel of images),
    and the features that are one number. One NaN makes the loss of its batch NaN, and the step that follows every weight.

    Misleads where the network itself masks NaN. A constant column alone is harmless: it is a second bias. Errors: none.
    Source: IEEE 754 arithmetic; Géron 2019, "Hands-On Machine Learning", ch. 2.

    >>> from convscope.diagnosing import given
    >>> x = torch.tensor([[1.0, float("nan")], [2.0, 3.0]])
    >>> program = given.program(torch.nn.Linear(2, 1), (x, torch.rand(2, 1)), "mse", "sgd:0.1")
    >>> [s.fault for s in FiniteInputs()(Evidence(program))]
    ['D10']
    """

    needs: ClassVar[str] = "program"
    most: int = param(100, "columns from which on constant ones are taken for borders of images", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        e = evidence.program.examples
        if not e.x.is_complex() and bool(torch.isfinite(e.x).all()):
            yield from self._constant(e.x)
        elif not e.x.is_complex():
            yield from self._inputs(evidence, features(e.x))
        if e.y is not None and not e.y.is_complex():
            yield from _targets(e.y)

    def _inputs(self, evidence: Evidence, found: Features) -> Iterator[Suspicion]:
        x = evidence.program.examples.x
        odd = ~torch.isfinite(x.reshape(len(x), -1)).all(1)
        if not bool(odd.any()):
            return
        bad, total = int(odd.sum()), len(x)
        columns = np.flatnonzero(found.finite < 1)
        broke, raised = evidence.trial.broke, evidence.trial.problem.splitlines()[:1]
        few = bad <= 0.05 * total
        yield Suspicion(
            "D10", EXACT, "the loss is NaN" if broke is not None
            else f"it raises: {raised[0][:120]}" if raised else "some inputs are NaN or infinite",
            f"{bad:,} of {total:,} examples hold a value that is not finite; what is multiplied by NaN is NaN, so the "
            "loss of their batch is, and after its step every weight",
            "drop these rows" if few else "fill what is missing with the column's mean or median, before anything is scaled",
            {"examples that are not finite": float(bad), "of": float(total), "allowed": 0.0,
             "in features": listed([str(c) for c in columns]), "the first": float(torch.nonzero(odd)[0]),
             **({"first step with a NaN loss": float(broke)} if broke is not None else {})},
            where="inputs",
            code="+ good = np.isfinite(x.reshape(len(x), -1)).all(1)\n- fit(x, y)\n+ fit(x[good], y[good])" if few
            else "+ x = np.where(np.isfinite(x), x, np.nanmedian(x, axis=0))",
            disproof="the loss is NaN too without these rows",
            change=_dropped(~odd) if few else filled(found),
            shows=broke is not None or bool(raised),
        )  # fmt: skip

    def _constant(self, x: Tensor) -> Iterator[Suspicion]:
        if len(x) < 2:
            return
        if bool((x == x[:1]).all()):
            yield Suspicion(
                "D10", EXACT, "the network answers the same for every example",
                f"all {len(x):,} inputs are one and the same, so there is nothing to tell the targets apart by",
                "look at how the inputs are read and prepared: a division by a wrong range, a constant slice, "
                "integers cut to 0",
                {"different inputs": 1.0, "needed": 2.0, "the first value": float(x.reshape(-1)[0])},
                where="inputs", disproof="a second, different input", shows=True,
            )  # fmt: skip
        elif x.ndim == 2 and x.shape[1] <= self.most and bool((still := (x == x[:1]).all(0)).any()):
            yield Suspicion(
                "D10", FAINT, f"{int(still.sum())} of {len(still)} input columns are constant",
                "a constant column tells nothing; divided by its standard deviation 0 it becomes NaN",
                "leave these columns out",
                {"constant columns": listed([str(c) for c in torch.nonzero(still).reshape(-1).tolist()]),
                 "of": float(len(still))},
                where="inputs", disproof="the column varies in examples that were not read", harmless=True,
            )  # fmt: skip


def _targets(y: Tensor) -> Iterator[Suspicion]:
    odd = ~torch.isfinite(y.reshape(len(y), -1)).all(1)
    if bool(odd.any()):
        yield Suspicion(
            "D10", EXACT, "the loss is NaN", f"{int(odd.sum()):,} of {len(y):,} targets are not finite, and so is "
            "their loss",
            "drop the rows without a target",
            {"targets that are not finite": float(odd.sum()), "of": float(len(y)), "allowed": 0.0},
            where="targets", code="+ good = np.isfinite(y)\n- fit(x, y)\n+ fit(x[good], y[good])",
            disproof="the loss is NaN too without these rows", change=_dropped(~odd), shows=True,
        )  # fmt: skip


def _dropped(good: Tensor) -> Change | None:
    if not bool(good.any()):
        return None
    return changes.rewritten(lambda program: _without(program, good), f"{int((~good).sum())} rows dropped")


def _without(program: Program, good: Tensor) -> Program:
    held = program.held_out
    if held is not None:
        index = torch.nonzero(torch.isfinite(held.x.reshape(len(held.x), -1)).all(1)).reshape(-1)
        held = replace(held, x=held.x[index], y=None if held.y is None else held.y[index], total=len(index))
    held = held if held is not None and len(held) else None
    return replace(chosen(program, torch.nonzero(good).reshape(-1)), held_out=held)


def filled(found: Features) -> Change:
    """What is not finite becomes the mean of its feature."""

    def fill(x: Tensor) -> Tensor:
        axes = changes.feature_axes(x)
        shape = [1 if a in axes else x.shape[a] for a in range(x.ndim)]
        mean = torch.nan_to_num(torch.from_numpy(found.mean)).reshape(shape).to(x)
        return torch.where(torch.isfinite(x), x, mean)

    return changes.inputs(fill, "gaps filled with the mean")
