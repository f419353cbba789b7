"""An optimiser moves what it was given when it was made: not what was replaced since, not what asks for no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop, some
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class OwnedParameters:
    """Does the watched optimiser move the parameters that the network has?

    Exact: names of parameters that ask for a gradient and that no watched optimiser owns; parameters of the optimiser that
    are not the network's; how much is frozen. A frozen backbone under a trained head is legitimate and is not told.
    Misleads where a second optimiser is not watched. Source: the loop itself.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> optimizer = torch.optim.SGD(net[0].parameters(), lr=1e-3)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); net(torch.ones(4, 2)).sum().backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].where
    '2.weight, 2.bias'
    """

    needs: ClassVar[str] = "run"
    frozen: float = param(0.9, "share of frozen parameters (by number of tensors) from which on it is told", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        if not loop.watched:
            return
        unowned, foreign, frozen = loop.names("unowned"), loop.count("foreign"), loop.names("frozen")
        count = max(loop.count("parameters"), len(unowned), len(frozen), 1)
        if unowned and loop.count("steps"):
            whole = len(unowned) >= count
            yield Suspicion(
                "P6",
                EXACT,
                "the optimiser does not own parameters of the network",
                f"{len(unowned)} of {count} tensors get a gradient that nobody uses"
                + (
                    f"; {foreign} tensors of the optimiser are not the network's: it was made before they were replaced"
                    if foreign
                    else ""
                ),
                "make the optimiser after the last change of the network, of all its parameters",
                {"parameters not owned": len(unowned), "of": count, "owned but not the network's": foreign},
                some(unowned),
                "- optimizer = …  # made before\n  model.head = …\n+ optimizer = torch.optim.SGD(model.parameters(), lr=…)",
                "these weights differ between two steps",
                shows=whole or foreign > 0,
            )
        head_frozen = bool(frozen) and _last(evidence) in {n.rpartition(".")[0] for n in frozen}
        if frozen and (len(frozen) >= self.frozen * count or head_frozen):
            yield Suspicion(
                "P6",
                EXACT if len(frozen) == count or head_frozen else STRONG,
                "most of the network is frozen",
                f"requires_grad is False on {len(frozen)} of {count} parameter tensors"
                + (", the last layer's among them: it can never fit new classes" if head_frozen else ""),
                "thaw what is to learn, the head at least",
                {"frozen": len(frozen), "of": count},
                some(frozen),
                "+ for p in model.head.parameters():\n+     p.requires_grad_(True)",
                "these weights differ between two steps",
                shows=len(frozen) == count,
            )


def _last(evidence: Evidence) -> str:
    """The last watched layer with weights."""
    layers = [] if evidence.run is None else [name.split(":")[0] for name in evidence.run.layers if ">" not in name]
    return layers[-1] if layers else ""
