"""Dropout and batch norm do one thing in training and another in evaluation: model.train() and model.eval() choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class ModesSeen:
    """Is the network in training mode when it trains, and in evaluation mode when it is judged?

    Counted over passes that end in a backward pass, and over passes without gradient. Misleads where a frozen batch norm
    (fine-tuning) or dropout while judging (Monte Carlo dropout) is meant. Source: the loop itself.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)).eval()
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); net(torch.ones(4, 2)).sum().backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'E1'
    """

    needs: ClassVar[str] = "run"
    least: int = param(3, "training passes that must have been seen", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        if not loop.facts.get("has_modes"):
            return
        train, still, mixed = loop.count("mode_train"), loop.count("mode_eval"), loop.count("mode_mixed")
        judged, rightly = loop.count("no_grad_train_mode"), loop.count("no_grad_eval_mode")
        unused = loop.count("unused_train_mode")
        facts = loop.said("mode_train", "mode_eval", "mode_mixed", "no_grad_train_mode", "no_grad_eval_mode")
        if still >= self.least and still > 0.2 * (train + mixed):
            yield Suspicion(
                "E1",
                EXACT if still > train + mixed else LIKELY,
                "the network trains in evaluation mode",
                f"{still} of {train + still + mixed} training passes ran with dropout off and batch norm on its old "
                "statistics" + ("; after validation model.train() was not called again" if train else ""),
                "call model.train() before each training epoch",
                facts | {"threshold": f"{self.least} passes"},
                code="+ model.train()\n  for x, y in train_loader:",
                disproof="model.training is True in the training passes",
            )
        seen = (judged or unused) and not rightly
        if seen and (train or mixed or still):
            yield Suspicion(
                "E1",
                STRONG,
                "the network is judged in training mode",
                f"{judged + unused} passes without a backward pass ran with dropout on and batch norm on the batch's own "
                "statistics, and moved its running ones",
                "call model.eval() before validation, model.train() after it",
                facts,
                code="+ model.eval()\n  with torch.no_grad():\n      …\n+ model.train()",
                disproof="two passes over the same held-out batch give the same numbers",
            )
