"""Does each label belong to its input?

    agreement A = mean over examples of the share of its k nearest neighbours that have its label
    chance: the same with labels permuted, P times; z = (A − mean)/std.   Numbers: A = correlation with the neighbours' mean
    z near 0 ⟹ labels tell as much of the inputs as labels drawn at random     (Friedman & Rafsky 1983; Cover & Hart 1967)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._data import first_weighted, flat, graded, labels, poor, prints
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.examples import Examples
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

MOST, NEAR, LEAST = 600, 5, 100  # examples compared, neighbours, examples below which nothing is said


@dataclass(frozen=True)
class Pairs:
    """Do inputs and labels belong together?

    Twice asked. Is the label of one input another when the data is read again? And do near inputs (N, …), standardised,
    have like labels (N,): agreement of five nearest neighbours against `permutations` of the labels, on at most 600.

    Misleads where near inputs differ by nature (parity, hashes, raw sound): then training that generalises acquits, and
    without a held-out set nothing above a hint is said of tables that are learned. Errors: none.
    Source: Cover & Hart 1967, "Nearest neighbor pattern classification"; Friedman & Rafsky 1983.

    >>> from convscope.diagnosing import given
    >>> x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    >>> program = given.program(torch.nn.Linear(2, 2), (x, (x[:, 0] > 0.5).long()), "cross-entropy", "sgd:0.1", epochs=1)
    >>> list(Pairs()(Evidence(program, seconds=0.1)))
    []
    """

    needs: ClassVar[str] = "program"
    permutations: int = param(40, "permutations of the labels that say what chance is", low=10)
    far: float = param(3.0, "standard deviations from chance from which on labels belong to their inputs", low=1)
    seed: int = param(0, "seed of the permutations", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        e = evidence.program.examples
        changed = different(e)
        if changed is not None and changed[0] > 0.05 * changed[1]:
            whole = e.once is not None and len(e.once[0]) >= len(e)
            yield Suspicion(
                "D7", EXACT, "the loss stays at chance, or what is learned is lost in the next epoch",
                f"of {changed[1]:,} inputs that come again in a second reading, {changed[0]:,} have another label: "
                "inputs are put "
                "into a new order and their labels are not", "shuffle inputs and labels by the same permutation",
                {"inputs read twice": float(changed[1]), "with another label": float(changed[0]), "allowed": 0.0},
                where="data", code="- x = x[permutation]\n+ x, y = x[permutation], y[permutation]",
                disproof="an input has the same label in every reading", shows=True,
                change=changes.rewritten(_as_first_read, "pairs as first read") if whole else None,
            )  # fmt: skip
            return
        z, got, chance = self.agreement(evidence, e)
        if not math.isfinite(z) or z >= self.far:
            return
        held = evidence.program.held_out
        beyond = self.agreement(evidence, held) if held is not None else (math.nan, math.nan, math.nan)
        strength = self._strength(evidence, beyond[0])
        if strength is None:
            return
        numbers: dict[str, float | str] = {
            "agreement of neighbours": got, "by chance": chance, "z": z, "labels belong above": self.far,
        }  # fmt: skip
        if math.isfinite(beyond[0]):
            numbers |= {"held-out agreement": beyond[1], "held-out z": beyond[0]}
        yield Suspicion(
            "D7", strength, "training fits by memory only, or not at all",
            "near inputs have no more labels in common than labels drawn at random"
            + (", while held-out ones do" if beyond[0] > 2 * self.far else "")
            + ": inputs and labels have come apart, so there is nothing to learn but single examples",
            "read inputs and labels by the same index; sort or shuffle both together", numbers,
            where="data", code="- y = y[permutation]\n+ x, y = x[permutation], y[permutation]",
            disproof="labels of a few inputs, looked at, are right", shows=strength >= EXACT,
        )  # fmt: skip

    def _strength(self, evidence: Evidence, beyond: float) -> float | None:
        tiny = evidence.tiny  # any labels can be learned by heart; and readings that differ may be the augmentation's doing
        if evidence.program.examples.epochs or (tiny.steps >= 80 and tiny.score.share < 0.5):
            return HINT
        if beyond > 2 * self.far:  # the same data, held out, has what the training set lacks
            return EXACT
        held = evidence.program.held_out
        if not poor(evidence):
            if held is None or held.y is None:
                return HINT
            judged = evidence.judge(replace(evidence.trial.program or evidence.twin, examples=held))
            return None if judged.learned else LIKELY
        grade = graded(evidence)
        return min(grade, STRONG if evidence.program.examples.x.ndim == 4 else LIKELY)

    def agreement(self, evidence: Evidence, e: Examples) -> tuple[float, float, float]:
        """z, agreement, mean agreement by chance; NaN where there are too few examples or no labels of one number."""
        none = (math.nan, math.nan, math.nan)
        y = labels(evidence, e)
        numeric = y is None and e.y is not None and evidence.targets.kind == "values" and e.y.numel() == len(e)
        if (y is None and not numeric) or len(e) < LEAST or not measured(evidence):
            return none
        x, index = flat(e.x, MOST, self.seed)
        told = e.y.double().reshape(-1) if numeric and e.y is not None else y
        assert told is not None
        told = told[index].cpu()
        if len(x) < LEAST or len(torch.unique(told)) < 2:
            return none
        apart = torch.cdist(x, x)
        apart.fill_diagonal_(math.inf)
        near = apart.topk(NEAR, largest=False).indices.cpu()
        if bool((apart.gather(1, near.to(apart.device)) == 0).double().mean() > 0.5):  # repeats: codes, not places
            return none
        generator = torch.Generator().manual_seed(self.seed)
        got = _agree(told, near)
        chance = torch.stack(
            [_agree(told[torch.randperm(len(told), generator=generator)], near) for _ in range(self.permutations)]
        )
        return float((got - chance.mean()) / chance.std().clamp(min=1e-9)), float(got), float(chance.mean())


def _agree(y: Tensor, near: Tensor) -> Tensor:
    if y.is_floating_point():
        both = torch.stack([y, y[near].mean(1)])
        return torch.nan_to_num(torch.corrcoef(both)[0, 1])
    return (y[near] == y[:, None]).double().mean()


def measured(evidence: Evidence) -> bool:
    """Are inputs quantities, near or far? Word numbers are not."""
    x, call = evidence.program.examples.x, first_weighted(evidence)
    return (x.is_floating_point() or x.dtype == torch.uint8) and not (call is not None and call.op == "embedding")


def different(e: Examples) -> tuple[int, int] | None:
    """(inputs that have another label in the second reading, inputs found in both); None where it was read once."""
    if len(e.epochs) < 2 or e.y is None:
        return None
    (x, y), (x2, y2) = e.epochs[0], e.epochs[1]
    if y is None or y2 is None:
        return None
    first: dict[bytes, set[bytes]] = {}
    for row, label in zip(prints(x), prints(y), strict=True):
        first.setdefault(row, set()).add(label)
    both = [(first[row], label) for row, label in zip(prints(x2), prints(y2), strict=True) if row in first]
    return sum(label not in known for known, label in both), len(both)


def _as_first_read(program: Program) -> Program:
    e = program.examples
    assert e.once is not None
    return replace(program, examples=replace(e, x=e.once[0], y=e.once[1], shuffled=True, epochs=()))
