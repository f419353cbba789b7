"""∂f/∂x_i = 0 for every example: the network does not hear that part of its input.

A sequence of which only the first step is read out, pixels cut away early, channels that a slice leaves out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import LIKELY, STRONG, Suspicion
from convscope.diagnosing.trial import output_of
from convscope.fields import param, validate


@dataclass(frozen=True)
class UnheardInputs:
    """Does the output depend on all of the input?

    Exact at the begin: the gradient of three random sums of the outputs with respect to the inputs, over the batch; a
    position counts as unheard where it is exactly 0 for every example although the input varies there. Dead units can make
    the same: nothing is said where no gradient arrives at all. Misleads where a part is meant to be ignored (padding).
    Errors: none. Source: Simonyan et al. 2014 (the gradient with respect to the input).

    >>> from torch import nn
    >>> from convscope.diagnosing import given
    >>> class First(nn.Module):
    ...     def __init__(self):
    ...         super().__init__(); self.rnn, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)
    ...     def forward(self, x): return self.head(self.rnn(x)[0][:, 0])
    >>> program = given.program(First(), (torch.randn(8, 6, 3), torch.arange(8) % 2), "cross-entropy")
    >>> [s.fault for s in UnheardInputs()(Evidence(program))]
    ['A9']
    """

    needs: ClassVar[str] = "program"
    share: float = param(0.4, "share of the varying input that the output may ignore", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        x = evidence.x
        if evidence.tensor is None or not x.is_floating_point() or x.ndim < 3 or not bool(torch.isfinite(x).all()):
            return
        heard = self._heard(evidence, x)
        if heard is None:
            return
        varies = (x != x[:1]).any(0)
        ignored = varies & ~heard
        share = int(ignored.sum()) / max(int(varies.sum()), 1)
        if share <= self.share or share == 1:
            return
        poor = evidence.after.poor
        yield Suspicion(
            "A9", STRONG if poor else LIKELY, "the network is no better than if it saw a part of its input",
            f"{share:.0%} of the input has no influence on the output for any of {len(x)} examples{_where(ignored)}: its "
            "gradient is exactly 0", "read out the last step (or all of them), and slice along the axis that is meant",
            {"share of the input that is not heard": share, "allowed": self.share}, "forward",
            "- output[:, 0]\n+ output[:, -1]", "a change there changes the output", harmless=not poor,
        )  # fmt: skip

    def _heard(self, evidence: Evidence, x: Tensor) -> Tensor | None:
        """Where any output hears the input, over the batch; None where that cannot be asked."""
        program, leaf = evidence.twin, x.clone().requires_grad_()
        heard = torch.zeros_like(x[0], dtype=torch.bool)
        with left_alone(), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            torch.manual_seed(evidence.seed)
            program.model.eval()
            try:
                out = output_of(program, leaf)
                for _ in range(3):
                    (g,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), leaf, retain_graph=True)
                    heard |= (g != 0).any(0)
            except RuntimeError:
                return None  # the graph is cut, which is another check's finding
            finally:
                program.model.train()
        return heard if bool(heard.any()) else None


def _where(ignored: Tensor) -> str:
    """', steps 1 … 5 of 6', where whole steps (rows) of the first axis are not heard."""
    rows = ignored.reshape(len(ignored), -1).all(1)
    if not bool(rows.any()) or math.prod(ignored.shape) == len(rows):
        return ""
    found = torch.nonzero(rows).reshape(-1)
    return f", rows {int(found[0])} … {int(found[-1])} of {len(rows)} along its first axis"
