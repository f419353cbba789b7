"""Sum for mean, batch for classes: over which axis do softmax and loss run, and how are they reduced?

    L(o + 1 cᵀ) = L(o), c ∈ ℝ^C  (one number a class, the same for all examples)   ⟹ a softmax over the batch
    L(π o) = L(o) for the outputs in another order                                ⟹ who is answered does not matter
    L(B twice) = 2 · L(B)                                                         ⟹ a sum: the rate is multiplied by N

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong loss calculation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import EXACT, HINT, STRONG, Change, Suspicion
from convscope.diagnosing.trial import output_of
from convscope.fields import param, validate


@dataclass(frozen=True)
class Reduction:
    """Do softmax and loss run over the right axis, and is the loss a mean?

    Formula: three invariances of the loss (above), each asked of made-up outputs (B, …); for the network: the outputs of one
    half of the batch alone against those beside the other half, in evaluation mode.
    Misleads: a sum is right where the rate was chosen for it, and harmless for Adam, whose step does not know the scale.
    Errors: none. Source: Humbatova et al. 2020.

    >>> from convscope.diagnosing import given
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LogSoftmax(dim=0))
    >>> program = given.program(net, (torch.rand(8, 3), torch.arange(8) % 4), "nll")
    >>> [s.fault for s in Reduction()(Evidence(program))]
    ['O9']
    """

    needs: ClassVar[str] = "program"
    slack: float = param(1e-5, "relative change that counts as none (float32)", low=0, high=0.1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out = evidence.tensor
        if out is None or out.ndim < 1:
            return
        yield from self._in_the_network(evidence)
        if evidence.loss.problem or not len(out):
            return
        if evidence.y is not None and not evidence.objective and len(out) > 2:
            yield from self._over_the_batch(evidence, out)
        if abs(evidence.loss.grows - 2) < 0.1 and len(out) > 1:
            yield self._sum(evidence, len(out))

    def _in_the_network(self, evidence: Evidence) -> Iterator[Suspicion]:
        size, out = len(evidence.x), evidence.tensor
        softs = [c for c in evidence.calls if c.op in ("softmax", "log_softmax") and c.value.ndim > 1]
        found = [c for c in softs if shared.axis_of(c) == 0 and len(c.value) == size]
        if found and size > 1 and self._mixes(evidence):
            rules = {c.key: instead(_over(c.op, 1)) for c in found}
            yield Suspicion(
                "O9", EXACT, "an answer depends on which other examples are in the batch; evaluation gives other answers",
                f"{found[0].op} runs over axis 0, the batch: examples compete for each class instead of classes for each "
                "example",
                "let it run over the classes: dim=1",
                {"axis": 0, "axis of the classes": 1, "calls": len(found)}, shared.place(found[0]),
                shared.lines(evidence, found[0], found[0].op), "the answer to one example alone is that in the batch",
                changes.calling(rules, "softmax over the classes"), shows=True,
            )  # fmt: skip
        last = shared.closing(evidence)
        if last is not None and last.op in ("softmax", "log_softmax") and out is not None and last.value.shape == out.shape:
            axis = shared.class_axis(evidence)
            if shared.axis_of(last) not in (0, axis) and out.ndim > 2 and evidence.loss.family in shared.CATEGORICAL:
                yield Suspicion(
                    "O9", STRONG, "learning is slow, and the chances of the classes do not add up to 1",
                    f"{last.op} runs over axis {shared.axis_of(last)} of outputs {tuple(out.shape)}; the loss reads "
                    "classes at "
                    f"axis {axis}",
                    f"let it run over axis "
                    f"{axis}", {"axis": shared.axis_of(last), "axis of the classes": axis}, shared.place(last),
                    f"- dim={shared.axis_of(last)}\n+ dim={axis}", "the outputs add up to 1 over the classes",
                    changes.calling({last.key: instead(_over(last.op, axis))}, "softmax over the classes"),
                )  # fmt: skip

    def _mixes(self, evidence: Evidence) -> bool:
        half = len(evidence.x) // 2
        evidence.twin.model.eval()
        with left_alone(), torch.no_grad():
            whole, part = (output_of(evidence.twin, x) for x in (evidence.x, evidence.x[:half]))
        evidence.twin.model.train()
        return isinstance(whole, Tensor) and not torch.allclose(whole[:half], part, 1e-3, 1e-5)

    def _over_the_batch(self, evidence: Evidence, out: Tensor) -> Iterator[Suspicion]:
        o = shared.made_up(evidence, 1)[0]
        base, other = shared.loss_at(evidence, o), shared.loss_at(evidence, o.square())
        if not math.isfinite(base) or not math.isfinite(other) or self._same(base, other):
            return
        if out.ndim > 1 and out.shape[1] > 1 and evidence.targets.kind in ("indices", "one-hot", "binary"):
            shift = torch.linspace(-1, 2, out[0].numel()).reshape(1, *out.shape[1:]).to(o)
            rows = torch.linspace(-1, 2, len(out)).reshape(-1, *[1] * (out.ndim - 1)).to(o)
            over_examples, over_classes = shared.loss_at(evidence, o + shift), shared.loss_at(evidence, o + rows)
            if self._same(base, over_examples) and not self._same(base, over_classes):
                yield _reduced(evidence, "the loss applies a softmax over the batch: examples compete for each class, "
                                         "instead of "
                               "classes for each example", "- softmax(dim=0)\n+ softmax(dim=1)",
                               "adding a number a class to all outputs changes the loss")  # fmt: skip
                return
        y = evidence.y
        assert y is not None
        apart = shared.moves(evidence)
        if not torch.equal(y, y.roll(1, 0)) and apart <= self.slack and out.shape == y.shape:
            yield _reduced(evidence, "the loss does not change when the outputs change places: errors are averaged over "
                                     "the batch "
                           "before they are squared (or the like), so that only the mean over the batch is fitted",
                           "- (output - y).mean(0).square()\n+ (output - y).square().mean()",
                           "the loss changes when two outputs change places")  # fmt: skip

    def _sum(self, evidence: Evidence, size: int) -> Suspicion:
        facts, plain = evidence.loss, evidence.program.optimizer.kind is torch.optim.SGD
        wild = plain and shared.struggles(evidence) and not evidence.after.learned
        times = evidence.program.examples.batch * (facts.factor / size if facts.family else 1.0)
        share = size / facts.factor if facts.family and facts.factor > 0 else 1.0

        def around(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
            return lambda output, *target: loss(output, *target) * (share / max(len(output), 1))

        return Suspicion(
            "O9", STRONG if wild else HINT, "training is wild, or another with every batch size",
            f"the loss is a sum over the batch: gradients are {times:.3g} times those of the mean, and so is every step "
            "of SGD; with another batch size the rate is another",
            "take the mean over the batch (or divide the rate by the same number)",
            {"loss of the batch twice / once": facts.grows, "of a mean": 1.0, "times the mean": times,
             "rate × times": times * evidence.program.optimizer.rate},
            "loss", '- reduction="sum"\n+ reduction="mean"', "the loss of the batch taken twice is the same",
            changes.wrapping(around, "mean over the batch"), harmless=not wild,
        )  # fmt: skip

    def _same(self, a: float, b: float) -> bool:
        return abs(a - b) <= self.slack * max(abs(a), abs(b), 1e-12)


def _reduced(evidence: Evidence, cause: str, code: str, disproof: str) -> Suspicion:
    classes = evidence.targets.kind != "values"
    change: Change = changes.losing(shared.entropy if classes else shared.squares, "the loss of each example, then the mean")
    return Suspicion(
        "O9", EXACT, "the loss falls, and single answers stay wrong; training depends on who shares a batch", cause,
        "take the loss of each example by itself, and the mean of those at the end",
        {"gradient of an example that hangs on its batch mates": evidence.loss.coupled, "of a loss of examples": 0.0},
        "loss", code, disproof, change, shows=True,
    )  # fmt: skip



def _over(op: str, axis: int) -> Callable[[Tensor], Tensor]:
    return (lambda v: v.log_softmax(axis)) if op == "log_softmax" else (lambda v: v.softmax(axis))
