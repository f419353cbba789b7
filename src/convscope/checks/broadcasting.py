"""(N, 1) against (N,): every output is compared with every target.

    mean_{i,j} (o_i − t_j)² = mean_i (o_i − t̄)² + var(t):   lowest where all outputs are the mean of the targets

A loss of pairs changes when the outputs change places and the targets do not; this one does not.
Documented with NumPy's broadcasting rules (Harris et al. 2020, "Array programming with NumPy").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Broadcasting:
    """Does the loss compare every output with every target?

    Formula: outputs and targets have as many numbers and different shapes; L does not change when the outputs (B, …) change
    places, and it does once they have the targets' shape. The lowest loss is then the targets' variance.
    Misleads: never where the targets of a batch differ; where they are all alike, nothing can be said, and nothing is.
    Errors: none. Source: Harris et al. 2020.

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> def loss(output, target): return (output - target).square().mean()
    >>> program = given.program(torch.nn.Linear(3, 1), (torch.rand(8, 3), torch.rand(8)), loss)
    >>> [s.fault for s in Broadcasting()(Evidence(program))]
    ['O8']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-5, "relative change of the loss that counts as none (float32)", low=0, high=0.1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, y = evidence.tensor, evidence.y
        if out is None or y is None or evidence.objective or out.shape == y.shape or out.numel() != y.numel():
            return
        if len(out) < 3 or evidence.loss.problem:
            return
        here, there = shared.moves(evidence), shared.moves(evidence, tuple(y.shape))
        if not (here <= self.slack < there) or shared.says_nothing(evidence):
            return
        shapes = f"{tuple(out.shape)} and {tuple(y.shape)}"
        code = ("- loss(output, y)\n+ loss(output.squeeze(-1), y)" if out.ndim > y.ndim else
                "- loss(output, y)\n+ loss(output, y.squeeze(-1))")  # fmt: skip
        yield Suspicion(
            "O8", EXACT, "every prediction is the mean of the targets, and the loss stays at their variance",
            f"outputs and targets have the shapes {shapes}: the loss broadcasts them to a table of every output against "
            "every target, and the best answer to all targets at once is their mean",
            "give outputs and targets one shape",
            {"change of the loss when outputs change places": here, "the same, in the targets' shape": there,
             "taken for none": self.slack, "lowest loss within reach": evidence.loss.floor,
             "loss of the best constant answer": evidence.loss.constant},
            "loss", code, "the loss changes when two outputs change places",
            changes.wrapping(_shaped, "outputs in the targets' shape"), shows=True,
        )  # fmt: skip


def _shaped(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda output, target: loss(output.reshape(target.shape), target)
