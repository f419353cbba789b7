"""detach(), .data, .item(), NumPy or no_grad between a parameter and the loss: ∂L/∂θ does not exist behind the cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._loop import Loop, some
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class CutGraph:
    """Does the loss of the watched loop still hang on the parameters?

    Exact: backward passes of a loss without graph; training passes under no_grad; values of the network detached on the way.
    Parameters without any gradient at every step seen are named. Misleads where a part is meant to be cut (a target
    network): then only that part has no gradient. Source: the loop itself.

    >>> import torch, convscope as cs
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    >>> with cs.watch(net, optimizer) as run:
    ...     for _ in range(6):
    ...         optimizer.zero_grad(); net[2](net[0](torch.ones(4, 2)).detach()).sum().backward(); optimizer.step()
    >>> cs.check(run.result()).findings[0].fault
    'P7'
    """

    needs: ClassVar[str] = "run"
    least: int = param(2, "passes that must have been seen", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        loop = Loop(evidence)
        if len(loop.names("frozen")) >= max(loop.count("parameters"), 1):
            return  # nothing asks for a gradient: that is another fault
        cut, blind, forwards = loop.count("loss_detached"), loop.count("forwards_no_grad"), loop.count("forwards")
        silent, places = loop.names("no_gradient"), loop.names("detached")
        facts = loop.said("forwards", "forwards_no_grad", "backwards", "loss_detached") | {
            "parameters without gradient": len(silent)
        }
        under = forwards >= self.least and blind == forwards and (loop.count("steps") or loop.count("backwards") or cut)
        if cut >= 1 or under:
            why = (
                "the forward pass runs under no_grad or inference_mode"
                if under
                else "the loss is made of plain numbers: .item(), .data, NumPy or a new tensor broke its graph"
            )
            yield Suspicion(
                "P7",
                EXACT,
                "the loss does not hang on the parameters",
                why,
                "compute the loss from the network's own output, outside of no_grad",
                facts,
                some(places),
                "- with torch.no_grad():\n-     output = model(x)\n+ output = model(x)"
                if under
                else "- loss = torch.tensor(criterion(output, y).item(), requires_grad=True)\n+ loss = criterion(output, y)",
                "loss.grad_fn is not None",
                shows=True,
            )
        elif (
            silent
            and loop.count("backwards") >= self.least
            and not loop.number("underflow") > 0.5
            and (places or len(silent) < max(loop.count("parameters"), 1))
        ):
            yield Suspicion(
                "P7",
                EXACT if places else STRONG,
                "some parameters never get a gradient",
                f"{len(silent)} tensors had none at any step seen"
                + (
                    f"; values are detached behind {some(places)}"
                    if places
                    else "; they are not used for the loss, or the way to them is cut"
                ),
                "remove detach(), .data or NumPy from the way",
                facts,
                some(silent),
                "- h = h.detach()\n+ # h keeps its graph",
                "a gradient on these parameters",
                shows=bool(places),
            )
