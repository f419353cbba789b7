"""P8, regularisation too strong.

    ∂L/∂θ = ∂data/∂θ + ∂penalty/∂θ + λ_wd θ           the penalty rules where ‖∂penalty + λ_wd θ‖ > ‖∂data‖

The penalty in the loss is what is left of the gradient when the output is held fixed. Krogh & Hertz 1992, "A simple weight
decay can improve generalization"; Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from convscope.diagnosing.changes import optimizing, wrapping
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone, trainable
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Change, Suspicion
from convscope.diagnosing.trial import output_of
from convscope.fields import param, validate


@dataclass(frozen=True)
class Penalty:
    """Does a penalty on the weights (in the loss, or as weight decay) pull harder than the data do?

    Formula: ‖∂penalty/∂θ + λθ‖ / ‖∂data/∂θ‖ at the begin, over all parameters, without unit, on the batch (B, …). Decoupled
    decay (AdamW) is measured by what it takes of a weight in a hundred steps. Misleads: near a minimum the data's gradient
    is small and any penalty rules: the figure is for the begin. A strong penalty on a network that scores well is a choice.
    Errors: none. Source: Krogh & Hertz 1992; Loshchilov & Hutter 2019.

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=5.0)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Penalty()(Evidence(given.program(net, data, "cross-entropy", optimizer)))]
    ['P8']
    """

    needs: ClassVar[str] = "program"
    rules: float = param(1.0, "penalty's gradient over the data's, from which the penalty rules", low=0)
    notable: float = param(0.3, "the same ratio, from which it is notable", low=0)
    weaker: float = param(100.0, "how many times weaker the remedy makes it", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        recipe = evidence.program.optimizer
        decay = float(recipe.option("weight_decay", 0.0) or 0.0)
        if evidence.tensor is None or evidence.loss.problem:
            return
        decoupled = recipe.kind.__name__ == "AdamW" or bool(recipe.option("decoupled_weight_decay", False))
        got = _gradients(evidence)
        if got is None:
            return
        penalty, data, shrink = got
        by_loss = penalty / data if data > 0 else math.nan
        by_decay = decay * shrink / data if data > 0 and not decoupled else 0.0
        taken = 1 - max(0.0, 1 - decay * recipe.rate) ** 100 if decoupled else 0.0
        if by_loss > self.notable:
            yield self._suspicion(
                evidence,
                "a penalty in the loss",
                by_loss,
                wrapping(self._weakened, "a weaker penalty"),
                f"- loss + strength * penalty\n+ loss + strength / {self.weaker:g} * penalty",
            )
        if by_decay > self.notable or taken > 0.5:
            change = optimizing(f"weight_decay={decay / self.weaker:g}", weight_decay=decay / self.weaker)
            yield self._suspicion(
                evidence,
                f"weight_decay={decay:g}",
                max(by_decay, 2 * taken),
                change,
                f"- weight_decay={decay:g}\n+ weight_decay={decay / self.weaker:g}",
            )

    def _suspicion(self, evidence: Evidence, what: str, ratio: float, change: Change, code: str) -> Suspicion:
        strong = ratio > self.rules
        fixed = evidence.loss.penalty
        return Suspicion(
            "P8",
            (STRONG if not evidence.after.learned else LIKELY) if strong else LIKELY if not evidence.after.learned else HINT,
            "the score stays near that of a constant answer while the weights shrink",
            f"{what} pulls the weights towards 0 {ratio:.2g} times as hard as the data pull them towards the answer",
            f"make it {self.weaker:g} times weaker",
            {
                "penalty's gradient over the data's": ratio,
                "threshold": self.rules,
                "penalty in the first loss": fixed,
                "‖Δθ‖/‖θ‖ of the trial": evidence.trial.moved,
            },
            "loss" if "loss" in what else "optimizer",
            code,
            "without the penalty it learns no better",
            change,
            harmless=not strong,
        )

    def _weakened(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The user's loss with its penalty's gradient (and its value) made weaker."""
        keep = 1 - 1 / self.weaker

        def value(output: Tensor, *rest: Any) -> Tensor:
            held = loss(output.detach(), *rest)
            return loss(output, *rest) - keep * (held - held.detach())

        return value


def _gradients(evidence: Evidence) -> tuple[float, float, float] | None:
    """(‖∂penalty‖, ‖∂data‖, ‖θ‖ of what the optimiser owns) at the begin; None where there is no gradient."""
    program = evidence.program.twin()
    wanted = trainable(program.model)
    parameters = [p for n, p in wanted.items() if n in program.optimizer.owned]
    if not parameters:
        return None
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(evidence.seed)
        program.model.train()
        try:
            out = output_of(program, evidence.x)
            loss, held = program.value(out, evidence.y), program.value(out.detach(), evidence.y)
            every = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
            none: tuple[Tensor | None, ...] = (None,) * len(parameters)
            alone = torch.autograd.grad(held, parameters, allow_unused=True) if held.requires_grad else none
        except Exception:  # noqa: BLE001 - told by `evidence.loss`
            return None
    zeros = [torch.zeros_like(p) for p in parameters]
    g = [z if a is None else a for a, z in zip(every, zeros, strict=True)]
    h = [z if a is None else a for a, z in zip(alone, zeros, strict=True)]
    return _norm(h), _norm([a - b for a, b in zip(g, h, strict=True)]), _norm([p.detach() for p in parameters])


def _norm(values: list[Tensor]) -> float:
    return math.sqrt(sum(float(v.double().square().sum()) for v in values))
