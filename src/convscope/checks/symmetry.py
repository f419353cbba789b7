"""A7, all units of a layer begun alike.

    w₁ = w₂ = … = w_U  and  ∂L/∂w₁ = ∂L/∂w₂ = …   ⟹  they stay equal for ever: the layer is as wide as one unit

Rumelhart, Hinton & Williams 1986, "Learning internal representations by error propagation": symmetry must be broken.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._sites import place, rows, weight, weighted
from convscope.diagnosing.calls import Call, identity, replacing
from convscope.diagnosing.changes import drawn
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import EXACT, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Symmetry:
    """Do all units of a hidden layer begin alike, and get the same gradient?

    Formula: max over units u of ‖w_u − w₁‖∞ / ‖w‖∞ for the weights (U, fan-in), and the same for ∂L/∂w without dropout;
    both ratios without unit. The last layer may begin at zero, and so may the last of a residual branch: their gradients
    differ by unit, and nothing is said. Misleads where units are made to differ later (noise, another dropout).
    Errors: none. Source: Rumelhart, Hinton & Williams 1986, "Learning internal representations by error propagation".

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> for p in net.parameters(): _ = torch.nn.init.constant_(p, 0.01)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Symmetry()(Evidence(given.program(net, data, "cross-entropy")))]
    ['A7']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-4, "largest difference between two units' gradients that rounding explains, relative", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        program = evidence.twin
        hidden = [(c, w) for c in weighted(evidence)[:-1] if c.op != "embedding" and (w := weight(c, program)) is not None]
        same = [(c, w) for c, w in hidden if len(rows(w[1], program)) > 1 and _apart(rows(w[1].detach(), program)) == 0]
        if not same:
            return
        grads = _gradients(evidence, [w[1] for _, w in same])
        if grads is None:
            return
        alike: list[tuple[Call, str, float]] = []
        for (call, (name, _)), g in zip(same, grads, strict=True):
            apart = 0.0 if g is None else _apart(rows(g, program))
            if apart <= self.slack:
                alike.append((call, name, apart))
        if not alike:
            return
        call, name, apart = alike[0]
        value = float(dict(program.model.named_parameters())[name].detach().reshape(-1)[0])
        names = tuple(
            n for n, p in program.model.named_parameters() if p.ndim >= 2 and _apart(rows(p.detach(), program)) == 0
        )
        yield Suspicion(
            "A7",
            EXACT,
            "the network learns as if each layer had a single unit, or not at all",
            f"all units of {len(alike)} hidden layer{'s' if len(alike) > 1 else ''} have the same weights and get the same "
            "gradient, so every step leaves them equal",
            "draw the weights at random, scaled by the fan-in",
            {
                "difference between units' weights": 0.0,
                "difference between units' gradients": apart,
                "threshold": self.slack,
                "layers": float(len(alike)),
            },
            place(call),
            f'- {call.name}: kernel_initializer=Constant({value:g})\n+ {call.name}: kernel_initializer="he_normal"'
            if program.framework == "keras"
            else f"- nn.init.constant_({name}, {value:g})\n+ nn.init.kaiming_normal_({name}, nonlinearity='relu')",
            "after a few hundred steps the rows of the weights differ",
            drawn(evidence.seed, only=names),
            shows=True,
        )


def _apart(units: Tensor) -> float:
    """The largest difference between the first unit and another, relative; 0 for all zeros."""
    top = float(units.abs().max()) if units.numel() else 0.0
    return float((units - units[:1]).abs().max()) / top if top > 0 else 0.0


def _gradients(evidence: Evidence, asked: list[Tensor]) -> list[Tensor | None] | None:
    """∂L/∂w at the begin without dropout, which would make units differ for one step only. None: there is no gradient."""
    program = evidence.program.twin()
    known = dict(program.model.named_parameters())
    names = [n for n, p in evidence.twin.model.named_parameters() if any(p is a for a in asked)]
    wanted = [known[n] for n in names]
    if not all(p.requires_grad for p in wanted):
        return None
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(evidence.seed)
        program.model.train()
        try:
            with replacing({**program.rules, "dropout": identity}):
                out = program.model(evidence.x)
            loss = program.value(out, evidence.y)
            return list(torch.autograd.grad(loss, wanted, allow_unused=True))
        except Exception:  # noqa: BLE001 - told by `evidence.loss`
            return None
