"""θ changes by optimizer.step() alone, after backward(), before the gradients are cleared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class StepsTaken:
    """Does each backward pass end in a step, in the right order?

    Exact where the loop was watched: backward passes without any step; steps before the first backward pass of their
    window; gradients cleared between backward() and step(); no backward pass at all. Misleads where another optimiser, not
    watched, takes the steps. Source: the loop itself.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1)
    >>> with cs.watch(net, torch.optim.SGD(net.parameters(), lr=1e-3)) as run:
    ...     for _ in range(6): net(torch.ones(4, 2)).sum().backward()
    >>> cs.check(run.result()).findings[0].fault
    'P5'
    """

    needs: ClassVar[str] = "run"
    least: int = param(3, "passes that must have been seen", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        steps, backwards, observed = loop.count("steps"), loop.count("backwards"), loop.count("observed")
        facts = loop.said("steps", "backwards", "step_before_backward", "cleared_before_step", "steps_without_change")
        right = "  optimizer.zero_grad()\n  loss.backward()\n"
        first, last = loop.number("loss_first"), loop.number("loss_last")
        falls = first - last > 0.2 * abs(first)  # somebody else takes the steps
        if steps == 0 and backwards >= self.least and not falls:
            yield self._said(
                f"{backwards} backward passes and not one step",
                "gradients are computed and never used: optimizer.step() is missing",
                "take a step after backward()",
                facts,
                f"{right}+ optimizer.step()",
            )
            return
        if loop.count("loss_detached") or loop.count("forwards_no_grad") >= loop.count("forwards") > 0:
            return  # the graph is cut: another check's finding, of which this is the effect
        if loop.count("unowned") or loop.number("underflow") > 0.5:
            return
        cleared = loop.count("cleared_before_step")
        owns = (
            loop.count("parameters") and len(loop.names("unowned")) < loop.count("parameters") and not loop.count("foreign")
        )
        if (
            owns
            and observed >= self.least
            and cleared >= 0.8 * observed
            and backwards
            and loop.count("step_before_backward") == 0
        ):
            yield self._said(
                "gradients are cleared between backward() and step()",
                f"in {cleared} of {observed} steps seen every "
                "gradient was zero again when the step was taken, so nothing moved",
                "clear before backward(), not after",
                facts,
                f"{right}- optimizer.zero_grad()\n  optimizer.step()",
            )
        early = loop.count("step_before_backward")
        if observed and early >= 0.8 * observed and early >= self.least:
            what = "no backward pass at all" if not backwards else "the step comes before backward()"
            yield self._said(
                "steps are taken on no new gradient",
                f"{what}: in {early} of {observed} steps seen no backward pass had happened since the last one",
                "loss.backward(), then optimizer.step()",
                facts,
                "- optimizer.step()\n  loss.backward()\n+ optimizer.step()",
            )

    def _said(self, symptom: str, cause: str, remedy: str, facts: dict[str, float | str], code: str) -> Suspicion:
        return Suspicion(
            "P5",
            EXACT,
            symptom,
            cause,
            remedy,
            facts | {"threshold": f"{self.least} passes"},
            code=code,
            disproof="weights that differ before and after a pass of the loop",
            shows=True,
        )
