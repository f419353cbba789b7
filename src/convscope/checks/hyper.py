"""P10, abnormal hyper-parameters of the optimiser.

    Adam: Δθ = −η m̂ / (√v̂ + ε):  ε ≫ |g| makes it a tiny SGD;  ε ≪ 1e-10 lets a vanished gradient make steps of full length

Usual: β₁ 0.9, β₂ 0.999, ε 1e-8 (Kingma & Ba 2015, "Adam"), momentum 0.9 (Sutskever et al. 2013). β₁ < √β₂ is what its proof
of convergence asks for (Reddi et al. 2018, "On the convergence of Adam and beyond").
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from convscope.diagnosing.changes import optimizing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Hyper:
    """Are the optimiser's other settings (eps, betas, momentum, alpha) within what is usual?

    Compared with bounds that are wide: ε in [1e-12, 0.1] (Adam and its kin), β₁ at most 0.99 and under √β₂, β₂ from 0.5,
    momentum under 0.995, RMSprop's α in [0.5, 1). No unit. Misleads: an odd value need not hurt: whether it does is for the
    counterfactual to say.
    Errors: none. Source: Kingma & Ba 2015, "Adam"; Reddi et al. 2018; Sutskever et al. 2013.

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Linear(4, 2)
    >>> optimizer = torch.optim.Adam(net.parameters(), eps=1e-20)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Hyper()(Evidence(given.program(net, data, "cross-entropy", optimizer)))]
    ['P10']
    """

    needs: ClassVar[str] = "program"
    least: float = param(1e-12, "smallest usual eps of an adaptive optimiser", low=0)
    most: float = param(0.1, "largest usual eps of an adaptive optimiser", low=0)
    momentum: float = param(0.995, "largest usual momentum", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        recipe = evidence.program.optimizer
        rate = _usual_rate(recipe.kind)
        wild = rate is not None and recipe.rate >= 10 * rate  # one remedy for both: the defaults
        more: dict[str, Any] = {"lr": rate} if wild else {}
        for name, value, bound, strength, why in self._odd(evidence):
            usual = _usual(recipe.kind, name)
            if wild:
                why += f"; the rate {recipe.rate:g} is {recipe.rate / (rate or 1):.0f} times the usual {rate:g} besides"
            yield Suspicion(
                "P10",
                strength,
                "training is unsteady" if strength > HINT else "training is slower than it need be",
                why,
                f"{name}={usual}, as is usual" + (f", and lr={rate:g}" if wild else ""),
                {name: str(value), "bound": bound, "usual": str(usual), "rate": recipe.rate},
                "optimizer",
                f"- {name}={value}\n+ {name}={usual}" + (f"\n- lr={recipe.rate:g}\n+ lr={rate:g}" if wild else ""),
                f"with {name}={usual} it trains alike",
                optimizing(f"{name}={usual}" + (f", lr={rate:g}" if wild else ""), **{name: usual, **more}),
                harmless=strength <= HINT,
            )

    def _odd(self, evidence: Evidence) -> Iterator[tuple[str, Any, str, float, str]]:
        recipe = evidence.program.optimizer
        adaptive = recipe.kind.__name__ in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop")
        eps, betas = recipe.option("eps", math.nan), recipe.option("betas")
        alpha, momentum = recipe.option("alpha", 0.99), recipe.option("momentum", 0.0)
        if adaptive and isinstance(eps, (int, float)):
            if eps < self.least:
                why = f"eps={eps:g} under √v: where a gradient has nearly vanished, it is still made a step of full length"
                yield "eps", eps, f"at least {self.least:g}", STRONG if not evidence.after.learned else LIKELY, why
            elif eps > self.most:
                why = f"eps={eps:g} is larger than the gradients: steps become tiny"
                yield "eps", eps, f"at most {self.most:g}", STRONG if not evidence.after.learned else HINT, why
        if isinstance(betas, (tuple, list)) and len(betas) == 2:
            first, second = float(betas[0]), float(betas[1])
            if first > 0.99 or second < 0.5 or first > max(second, 0.0) ** 0.5:
                root = max(second, 0.0) ** 0.5
                why = f"betas={betas}: with β₁ over √β₂ = {root:.3g} steps do not shrink where the gradient turns"
                yield "betas", tuple(betas), "β₁ ≤ 0.99, β₁ < √β₂, β₂ ≥ 0.5", LIKELY, why
        if isinstance(momentum, (int, float)) and momentum > self.momentum:
            yield (
                "momentum",
                momentum,
                f"at most {self.momentum:g}",
                STRONG if momentum >= 1 else LIKELY,
                f"momentum {momentum:g} sums {1 / max(1e-9, 1 - momentum):.0f} steps: it cannot turn round",
            )
        if recipe.kind.__name__ == "RMSprop" and isinstance(alpha, (int, float)) and not 0.5 <= alpha < 1:
            yield "alpha", alpha, "in [0.5, 1)", LIKELY, f"alpha={alpha:g}: the mean of squares is not one of several steps"


def _usual(kind: type[Any], name: str) -> Any:
    if name == "momentum":
        return 0.9
    return inspect.signature(kind).parameters[name].default


def _usual_rate(kind: type[Any]) -> float | None:
    """The class's own default; None for SGD, which has no rate that suits all."""
    value = None if kind.__name__ == "SGD" else inspect.signature(kind).parameters["lr"].default
    return float(value) if isinstance(value, (int, float)) else None
