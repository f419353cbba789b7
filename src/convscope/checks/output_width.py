"""As many outputs as there are classes, or numbers to be answered.

    C classes: width C (or one logit for two);   T numbers an example: T outputs
    width 1 for C > 2 classes: a categorical loss divides p by itself; (B, K) against (B, 1): one target, compared K times

Humbatova et al. 2020, "Taxonomy of real faults in deep learning systems" (wrong size of the output layer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from convscope.checks import _output as shared
from convscope.diagnosing import changes
from convscope.diagnosing.calls import instead
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import EXACT, HINT, STRONG, Change, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class OutputWidth:
    """Has the network as many outputs as the targets ask for?

    Formula: the width of the outputs (B, K, …) along the axis that the loss reads as classes, against the classes that
    occur; for quantities, numbers an example.
    Misleads: more outputs than classes that occur are common (a sample without the rare ones): a hint only.
    Errors: none. Source: Humbatova et al. 2020.

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> def loss(output, target): return (output - target).square().mean()
    >>> program = given.program(nn.Linear(3, 5), (torch.rand(8, 3), torch.rand(8, 1)), loss)
    >>> [s.fault for s in OutputWidth()(Evidence(program))]
    ['O7']
    """

    needs: ClassVar[str] = "program"
    spare: int = param(10, "times as many outputs as classes before it is mentioned", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        out, y, targets = evidence.tensor, evidence.y, evidence.targets
        if out is None or y is None or out.ndim < 2 or evidence.loss.problem or evidence.objective or not len(out):
            return
        axis = shared.class_axis(evidence)
        width, numbers = out.shape[axis], out[0].numel()
        if targets.kind == "one-hot" and out.shape != y.shape and width == 1 and targets.classes > 2:
            yield self._folded(evidence, numbers)
        elif targets.kind == "values" and numbers != targets.numbers and _broadcast(evidence, numbers > targets.numbers):
            yield self._quantities(evidence, numbers)
        elif targets.kind == "indices" and targets.classes > 2 and width == 1 and numbers == targets.numbers \
                and (evidence.loss.reads in ("probabilities", "log-probabilities") or evidence.loss.family == "bce logits"):
            yield self._one_for_many(evidence)
        elif targets.exclusive and width > self.spare * max(targets.classes, 2) and evidence.loss.classifies:
            yield self._spare(evidence, width)

    def _folded(self, evidence: Evidence, numbers: int) -> Suspicion:
        out, last, classes = evidence.tensor, shared.closing(evidence), evidence.targets.classes
        assert out is not None
        change: Change | None = None
        if numbers == classes:
            change = changes.through(lambda v: v.reshape(len(v), -1), "an axis less")
            if last is not None and evidence.loss.reads != "logits":  # chances that add up to 1 over the classes
                change = changes.calling({last.key: instead(lambda v: v)}, "logits").then(
                    changes.through(lambda v: v.reshape(len(v), -1).softmax(1), "softmax over the classes"))  # fmt: skip
        return Suspicion(
            "O7", STRONG, "the loss falls, and the predictions mean nothing; or all classes come out alike",
            f"the network answers {tuple(out.shape[1:])} for an example and the targets are {classes} exclusive classes: "
            "a layer ran "
            "along an axis that should have been flattened, and the axis that the loss reads as classes has width 1",
            f"flatten before the last layers, and end in {classes} outputs",
            {"width of the axis of classes": 1, "classes": classes, "answers an example": numbers}, shared.place(last),
            f"+ Flatten()\n- Dense(1)\n+ Dense({classes})" if evidence.program.framework == "keras" else
            f"+ x = x.flatten(1)\n- nn.Linear(…, 1)\n+ nn.Linear(…, {classes})",
            f"the output has {classes} numbers along the axis of classes", change, shows=True,
        )  # fmt: skip

    def _quantities(self, evidence: Evidence, numbers: int) -> Suspicion:
        out, y, wanted = evidence.tensor, evidence.y, evidence.targets.numbers
        assert out is not None
        assert y is not None
        change = None
        if numbers > wanted:
            shape = tuple(y.shape[1:])
            change = changes.through(lambda v: v.reshape(len(v), -1)[:, :wanted].reshape(-1, *shape), f"{wanted} outputs")
        return Suspicion(
            "O7", EXACT, "every output learns the same, or an average over the targets",
            f"the network gives {numbers} numbers for an example and there are {wanted} to answer; the loss does not "
            "refuse it: it broadcasts one against the other",
            f"end in {wanted} outputs", {"outputs": numbers, "numbers in a target": wanted}, "output",
            f"- nn.Linear(…, {out.shape[-1]})\n+ nn.Linear(…, {wanted})", "outputs and targets have one shape", change,
        )  # fmt: skip

    def _one_for_many(self, evidence: Evidence) -> Suspicion:
        classes = evidence.targets.classes
        return Suspicion(
            "O7", EXACT, "some classes are never predicted",
            f"one output is read as yes or no, and the labels name {classes} classes: no answer of it is right for all of "
            "them",
            f"end in {classes} outputs, with the cross-entropy of class indices",
            {"outputs": 1, "classes": classes}, "output", f"- nn.Linear(…, 1)\n+ nn.Linear(…, {classes})",
            "the labels are 0 and 1", widened(evidence, classes), shows=True,
        )  # fmt: skip

    def _spare(self, evidence: Evidence, width: int) -> Suspicion:
        return Suspicion(
            "O7", HINT, "learning begins "
                        "slowly", f"there are {width} outputs, and {evidence.targets.classes} classes occur: the first "
            "steps go into making the others "
            "small", f"end in {evidence.targets.classes} outputs, if there are no more classes",
            {"outputs": width, "classes that occur": evidence.targets.classes}, "output",
            f"- nn.Linear(…, {width})\n+ nn.Linear(…, "
            f"{evidence.targets.classes})", "the other classes do occur", harmless=True,
        )  # fmt: skip


def _broadcast(evidence: Evidence, outputs: bool) -> bool:
    """Is the loss the same when the numbers of an example change places, in outputs or targets? Then it spreads them."""
    o, y = shared.made_up(evidence, 1)[0], evidence.y
    assert y is not None
    turned = (o.reshape(len(o), -1).roll(1, 1).reshape(o.shape), y) if outputs else (
        o, y.reshape(len(y), -1).roll(1, 1).reshape(y.shape))  # fmt: skip
    a, b = shared.loss_at(evidence, o), shared.loss_at(evidence, *turned)
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b), 1e-12)


def widened(evidence: Evidence, classes: int) -> Change | None:
    """The last linear layer of a torch network with one output a class, no activation behind it, and cross-entropy."""
    last, layer = shared.closing(evidence), shared.weighted(evidence)
    old = dict(evidence.twin.model.named_modules()).get(layer.name if layer is not None else "")
    if not isinstance(old, nn.Linear):
        return None
    name = layer.name if layer is not None else ""

    def change(path: str, module: nn.Module) -> nn.Module | None:
        return nn.Linear(module.in_features, classes) if path == name and isinstance(module, nn.Linear) else None

    made = changes.modules(change, f"{classes} outputs").then(changes.losing(shared.entropy, "cross-entropy"))
    return made if last is None else made.then(changes.without([last.key], "logits"))
