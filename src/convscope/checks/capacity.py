"""A6, too small for the task.

    ten examples by heart: any network that is wide enough can (Zhang et al. 2017); a hidden layer of 1 or 2 units cannot
    pass on more than 1 or 2 numbers of each example, whatever stands behind it
Zhang et al. 2017, "Understanding deep learning requires rethinking generalization"; Baum & Haussler 1989.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from torch import nn

from convscope.checks._sites import ancestors, place, rows, weight, weighted
from convscope.checks._tried import progress
from convscope.diagnosing.calls import Call
from convscope.diagnosing.changes import drawn, rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.keras_program import KerasModule
from convscope.diagnosing.program import Program, left_alone
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Change, Suspicion
from convscope.diagnosing.trial import train
from convscope.fields import param, validate


@dataclass(frozen=True)
class Capacity:
    """Is a hidden layer too narrow for the task?

    Measured: the smallest number of units of a hidden layer on the way to the output, and the score (share of the way to
    perfect) on ten examples, at the best of five rates. Misleads: a bottleneck on purpose (an autoencoder's code) is narrow
    and sound; a network that cannot learn ten examples for another reason is not too small: this is then the weaker finding.
    Errors: none. Source: Zhang et al. 2017, "Understanding deep learning requires rethinking generalization".

    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 5))
    >>> made = given.program(net, (torch.randn(16, 4), torch.arange(16) % 5), "cross-entropy", epochs=1)
    >>> [s.fault for s in Capacity()(Evidence(made, seconds=0.2))]
    ['A6']
    """

    needs: ClassVar[str] = "program"
    narrow: int = param(2, "units of a hidden layer up to which it is a bottleneck", low=1)
    by_heart: float = param(0.8, "share of the way to perfect that ten examples should reach", low=0, high=1)
    width: int = param(32, "units of the remedy's hidden layers, at least", low=2)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        hidden = self._hidden(evidence)
        if not hidden:
            return
        call, units = min(hidden, key=lambda h: h[1])
        inputs = evidence.x[0].numel()
        tight = units <= self.narrow < inputs or (units <= self.narrow and evidence.targets.classes > 2 * units)
        factor, _, tiny, *_ = evidence.tiny
        fails = math.isfinite(tiny.share) and tiny.share < self.by_heart
        if evidence.after.learned and evidence.after.share > self.by_heart:
            return
        small = units < max(8, evidence.targets.classes)
        if not tight and not (fails and small):
            return
        change = self._widened(evidence)
        helps = not tight and change is not None and tiny.share < 0.3 and self._helps(evidence, change)
        yield Suspicion(
            "A6",
            (STRONG if fails else LIKELY) if tight else LIKELY if helps else HINT,
            "the score stays low, even on ten examples" if fails else "the score stays low",
            f"{place(call)} has {units} unit{'s' if units > 1 else ''}: of each example's {inputs} numbers no more pass it",
            f"widen the hidden layers to {self.width} units or more",
            {
                "units of the narrowest hidden layer": float(units),
                "threshold": float(self.narrow),
                "share on ten examples": tiny.share,
                "threshold (share)": self.by_heart,
                "best factor on the rate": factor,
            },
            place(call),
            f"- {call.name}: {units} units\n+ {call.name}: {max(self.width, 2 * units)} units",
            "a network of the same shape with 32 units in each hidden layer scores no better",
            change,
        )

    def _helps(self, evidence: Evidence, change: Change) -> bool:
        """Does the wider network learn in a short while what the trial did not?"""
        with left_alone():  # Keras draws seeds
            wider = replace(change.apply(evidence.program.twin()), epochs=None)
        done = train(wider, evidence.seed, 500, max(0.05, min(0.3, evidence.left / 4)))
        return not done.problem and progress(evidence, done) > progress(evidence, evidence.trial) + 0.2

    def _hidden(self, evidence: Evidence) -> list[tuple[Call, int]]:
        """Hidden layers that every example passes, with their units; a convolution's map counts by its channels."""
        reach = ancestors(evidence)
        layers = [c for c in weighted(evidence) if evidence.calls.index(c) in reach]
        found: list[tuple[Call, int]] = []
        for call in layers[:-1]:
            got = weight(call, evidence.twin)
            if got is not None and call.op == "linear" and call.value.ndim == 2:
                found.append((call, len(rows(got[1], evidence.program))))
        return found

    def _widened(self, evidence: Evidence) -> Change | None:
        """Wider hidden layers, of a chain of `nn.Linear` or of a Keras model; None where it is neither."""
        if isinstance(evidence.program.model, KerasModule):
            ours = hasattr(evidence.program.loss, "inner")
            change = rewritten(self._keras, f"at least {self.width} units a layer")
            return change.then(drawn(evidence.seed)) if ours else None
        chain = [m for m in evidence.program.model.modules() if not any(True for _ in m.children())]
        plain = (
            nn.Linear,
            nn.ReLU,
            nn.LeakyReLU,
            nn.Tanh,
            nn.Sigmoid,
            nn.Dropout,
            nn.Flatten,
            nn.ELU,
            nn.GELU,
            nn.Softmax,
            nn.LogSoftmax,
            nn.Identity,
        )
        linear = [m for m in chain if isinstance(m, nn.Linear)]
        ends = all(a.out_features == b.in_features for a, b in itertools.pairwise(linear))
        return (
            rewritten(self._torch, f"at least {self.width} units a layer")
            if ends and all(isinstance(m, plain) for m in chain)
            else None
        )

    def _torch(self, program: Program) -> Program:
        paths = [n for n, m in program.model.named_modules() if isinstance(m, nn.Linear)]
        generator = torch.Generator().manual_seed(0)
        for i, path in enumerate(paths):
            old = cast("nn.Linear", program.model.get_submodule(path))
            fan_in = old.in_features if i == 0 else max(self.width, old.in_features)
            out = old.out_features if i == len(paths) - 1 else max(self.width, old.out_features)
            new = cast("nn.Linear", nn.utils.skip_init(nn.Linear, fan_in, out, bias=old.bias is not None))
            with torch.no_grad():
                new.weight.copy_(torch.randn(out, fan_in, generator=generator) * math.sqrt(2 / fan_in))
                if new.bias is not None:
                    new.bias.zero_()
            parent, _, leaf = path.rpartition(".")
            setattr(program.model.get_submodule(parent) if parent else program.model, leaf, new)
        return program

    def _keras(self, program: Program) -> Program:
        inner: Any = cast("KerasModule", program.model).inner
        config = inner.get_config()
        for layer in config["layers"]:
            layer.pop("build_config", None)  # the shapes that were; the new ones follow from the units
        dense = [layer for layer in config["layers"] if layer["class_name"] == "Dense"]
        for layer in dense[:-1]:
            layer["config"]["units"] = max(self.width, int(layer["config"]["units"]))
        made = type(inner).from_config(config)
        if not made.built:
            made.build((None, *program.examples.x.shape[1:]))
        made.compile(loss=inner.loss)
        return replace(program, model=KerasModule(made), loss=type(program.loss)(made))  # type: ignore[call-arg]
