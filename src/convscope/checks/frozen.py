"""P6, parameters that are frozen, or that the optimiser does not know.

    θ moves  ⟺  θ.requires_grad  and  θ ∈ optimiser.param_groups

Fine-tuning freezes a backbone on purpose; its head must train. Humbatova et al. 2020, "Taxonomy of real faults in deep
learning systems" (missing or wrong parameters handed to the optimiser).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from convscope.checks._sites import place, weighted
from convscope.diagnosing.changes import thawed
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, STRONG, Suspicion
from convscope.fields import param, validate

STATISTICS = ("moving_mean", "moving_variance", "running_mean", "running_var", "seed_generator_state", "count")


@dataclass(frozen=True)
class Frozen:
    """Does every parameter that should move belong to the optimiser, and ask for a gradient?

    Counted: parameters that are frozen (`requires_grad=False`), that the optimiser does not own, and that the optimiser
    holds but the model does not. The weights of the last layer must be among those that move; a frozen rest is fine-tuning,
    and only a hint. Misleads where the last layer is fixed on purpose (random features read backwards, a fixed classifier).
    Errors: none. Source: Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in Frozen()(Evidence(given.program(net, data, "cross-entropy", optimizer)))]
    ['P6']
    """

    needs: ClassVar[str] = "program"
    most: float = param(0.5, "share of the parameters that may stay as they are before it is mentioned", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        program = evidence.program
        known = {
            n: p
            for n, p in program.model.named_parameters()
            if p.is_floating_point() and not n.split(":")[0].endswith(STATISTICS)
        }
        if not known:
            return
        frozen = [n for n, p in known.items() if not p.requires_grad]
        unknown = [n for n, p in known.items() if p.requires_grad and n not in program.optimizer.owned]
        still = [*frozen, *unknown]
        if not still and not program.optimizer.foreign:
            return
        head = self._head(evidence, known)
        stuck = [n for n in head if n in still]
        share = sum(known[n].numel() for n in still) / max(1, sum(p.numel() for p in known.values()))
        foreign = program.optimizer.foreign
        nothing = len(still) == len(known)
        if not (stuck or nothing or foreign or share > self.most):
            return
        bad = nothing or bool(stuck)
        which = stuck or still
        cause = _cause(len(frozen), len(unknown), foreign, len(known))
        yield Suspicion(
            "P6",
            EXACT if bad else STRONG if foreign else HINT,
            "the loss is flat, or soon stops falling",
            cause + ("; nothing moves at all" if nothing else "; the last layer is among them" if stuck else ""),
            "build the optimiser after the model is complete, from all that should train; unfreeze the last layer",
            {
                "frozen": float(len(frozen)),
                "unknown to the optimiser": float(len(unknown)),
                "parameters": float(len(known)),
                "foreign parameters in the optimiser": float(foreign),
                "share that cannot move": share,
            },
            place(weighted(evidence)[-1]) if stuck and weighted(evidence) else which[0] if which else "",
            _code(program.framework, stuck or still, frozen),
            "these parameters are fixed on purpose, and the score does not ask for more",
            thawed(stuck if stuck and not foreign and not nothing and len(unknown) == 0 else still) if still else None,
            harmless=not bad and not foreign,
            shows=nothing,
        )

    def _head(self, evidence: Evidence, known: Mapping[str, Tensor]) -> list[str]:
        """The weights of the last layer; of the last module with parameters where the forward pass was not seen."""
        layers = weighted(evidence)
        names = [n for n in (layers[-1].parameters if layers else ()) if n in known]
        wide = [n for n in names if known[n].ndim >= 2]
        if wide:
            return wide
        return [n for n, p in list(known.items())[-2:] if p.ndim >= 2] if len(known) > 1 else list(known)


def _cause(frozen: int, unknown: int, foreign: int, count: int) -> str:
    parts = [f"{frozen} of {count} parameters are frozen"] if frozen else []
    parts += [f"{unknown} of {count} are not among the optimiser's"] if unknown else []
    parts += (
        [f"the optimiser holds {foreign} that are not the model's (of a layer that was replaced later?)"] if foreign else []
    )
    return ", ".join(parts)


def _code(framework: str, still: list[str], frozen: list[str]) -> str:
    if framework == "keras":
        return "- layer.trainable = False\n+ layer.trainable = True  # before compile()"
    if still and still[0] in frozen:
        return f"- {still[0]}: requires_grad=False\n+ model.get_parameter({still[0]!r}).requires_grad_(True)"
    return "- optimizer = …(some of the parameters)\n+ optimizer = …(model.parameters(), …)  # when the model is complete"
