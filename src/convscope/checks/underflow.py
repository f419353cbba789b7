"""Half precision ends at 6·10⁻⁸ (float16): smaller gradients are exact zeros, and no step is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Underflow:
    """Do gradients vanish because half precision cannot hold them?

    underflow = exact zeros among the half-precision gradients seen. Misleads: sparse gradients (embeddings, dead
    ReLUs) are zero too: told from `share` on. Source: Micikevicius et al. 2018, "Mixed precision training".

    >>> import torch, convscope as cs
    >>> net = torch.nn.Linear(2, 1).half()
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); (net(torch.ones(4, 2).half()).float().sum() * 1e-9).backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'P12'
    """

    needs: ClassVar[str] = "run"
    share: float = param(0.5, "share of exact zeros in half-precision gradients", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        zeros = loop.number("underflow")
        if not zeros > self.share:
            return
        yield Suspicion(
            "P12",
            EXACT if zeros > 0.9 else STRONG,
            "gradients are exactly zero in half precision",
            f"{100 * zeros:.0f} % of the half-precision gradient is zero: values below 6e-8 do not exist in float16",
            "scale the loss (torch.amp.GradScaler), or use bfloat16",
            {
                "zeros in half-precision gradients": zeros,
                "threshold": self.share,
                "share in half precision": loop.number("half"),
            },
            code="+ scaler = torch.amp.GradScaler()\n- loss.backward()\n- optimizer.step()\n+ "
            "scaler.scale(loss).backward()\n+ scaler.step(optimizer)\n+ scaler.update()",
            disproof="the same gradients in float32 are zero too",
            shows=zeros > 0.9,
        )
