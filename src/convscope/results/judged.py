"""What is told: diagnoses, training records, receipts of edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.results.base import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Finding:
    """One diagnosis: what is seen, the numbers behind it, why, and what mends it."""

    severity: str  # 'error', 'advice', 'fine', 'unknown'
    symptom: str  # in the user's words: 'conv2: ∂L/∂x is wrong'
    where: str = ""  # layer or array
    evidence: dict[str, float | str] = field(default_factory=dict[str, "float | str"])
    cause: str = ""
    remedy: str = ""
    proof: str = ""  # what was tried, and what came of it; empty: nothing was tried
    fault: str = ""  # of training: its code in `diagnosing/faults.py`, 'O2'
    code: str = ""  # the remedy as a change of the user's program: lines that begin with '-' and '+'
    disproof: str = ""  # what would show that this is not the cause
    confirmed: bool | None = None  # by a controlled run; None: not tried


@dataclass(frozen=True, kw_only=True)
class Findings(Result):
    """What is wrong? Diagnoses, the gravest first, and everything that was looked at."""

    kind: ClassVar[str] = "findings"
    title: str
    findings: tuple[Finding, ...]
    checked: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # one row for each thing looked at
    curves: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # (seeds, steps) loss: 'O2 control', 'O2 remedy'
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column of `checked` means
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run(Result):
    """A training record: one row a step or an epoch."""

    kind: ClassVar[str] = "run"
    steps: dict[str, NDArray[Any]]  # 'step', 'epoch', 'loss', 'rate', … one value a training step
    epochs: dict[str, NDArray[Any]]  # 'epoch', 'loss', 'accuracy', 'held_out_accuracy', 'seconds'
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()  # L: calls of the network in the order in which they ran, where they were watched
    health: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # 'step' (T,); the others (L, T), NaN: not seen
    loop: dict[str, Any] = field(default_factory=dict[str, Any])  # what the training loop was seen to do; plain values


@dataclass(frozen=True)
class Size:
    """What is a network as a whole? Counted on its graph, one image."""

    layers: int
    parameters: int
    macs: int  # multiply-accumulates of one forward pass
    input: tuple[int, ...]  # (C, H, W)
    output: tuple[int, ...]  # without the batch


@dataclass(frozen=True, kw_only=True)
class Receipt(Result):
    """What did an edit change? Layers, sizes, cost, and how far the answers moved on real images."""

    kind: ClassVar[str] = "receipt"
    title: str  # 'alexnet: convolutionalize'
    changes: tuple[str, ...]  # in words, one a change, with the numbers
    before: Size
    after: Size
    rows: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # layers that differ: 'layer', 'before', 'after'
    drift: dict[str, float] = field(default_factory=dict[str, float])  # how far the outputs moved; empty: not comparable
    drift_on: str = ""  # on what it was measured: '28 images', or why it was not
    code: str = ""  # the same change in plain PyTorch
    source: str = ""  # the edited network as a Python file
    notes: tuple[str, ...] = ()
