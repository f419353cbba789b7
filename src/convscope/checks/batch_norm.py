"""A11, batch norm misused.

    training: (x − mean of the batch)/std of the batch      evaluation: (x − running mean)/running std
    running ← (1 − m) · running + m · batch:  after n steps (1 − m)ⁿ of it is still what it began with

Ioffe & Szegedy 2015, "Batch normalization"; Wu & He 2018, "Group normalization" (small batches).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from torch import nn

from convscope.checks._norms import norms_of, quicker
from convscope.diagnosing.changes import rewritten
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.keras_program import KerasModule
from convscope.diagnosing.program import Program
from convscope.diagnosing.suspicion import EXACT, HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class BatchNorm:
    """Does batch norm get enough examples, the right axis, and statistics that keep up?

    Measured: examples a batch; the score of the same examples after the trial in training and in evaluation mode (shares of
    the way to perfect); (1 − m)ⁿ over the n updates of the training, m the momentum as torch counts it (Keras: 1 −
    momentum). Misleads: a trial that is shorter than the training lags more than it: then only the momentum speaks. Dropout
    also parts the modes.
    Errors: none. Source: Ioffe & Szegedy 2015, "Batch normalization"; Wu & He 2018, "Group normalization".

    >>> import torch
    >>> from convscope.diagnosing import given
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    >>> data = (torch.randn(16, 4), torch.arange(16) % 2)
    >>> [s.fault for s in BatchNorm()(Evidence(given.program(net, data, "cross-entropy", batch_size=2, epochs=1)))]
    ['A11']
    """

    needs: ClassVar[str] = "program"
    least: int = param(3, "examples a batch from which its statistics say something", low=1)
    stale: float = param(
        0.3, "share of the running statistics that may still be their start when training ends", low=0, high=1
    )
    apart: float = param(0.2, "how far the scores in the two modes may lie apart", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        norms = norms_of(evidence.program)
        if not norms:
            return
        batch = min(evidence.program.examples.batch, len(evidence.program.examples))
        if batch < self.least:
            yield self._small(evidence, norms[0][0], batch)
        off = [n for n in norms if n[3]]
        if off:
            yield self._axis(evidence, off[0][0])
        if evidence.after.metric != "loss" or not evidence.objective:  # an objective has no share to compare modes by
            yield from self._lagging(evidence, norms, batch)

    def _small(self, evidence: Evidence, name: str, batch: int) -> Suspicion:
        refused = "more than 1 value per channel" in evidence.trial.problem
        flat = evidence.x.ndim <= 2
        return Suspicion(
            "A11",
            EXACT if refused else STRONG if flat or not evidence.after.learned else LIKELY,
            "torch refuses to train" if refused else "training is noisy, and evaluation unlike it",
            f"batches of {batch}: batch norm makes every example of such a batch ±1 or 0, whatever it was",
            "larger batches, or group or layer norm",
            {"examples a batch": float(batch), "threshold": float(self.least)},
            name,
            f"- batch_size={batch}\n+ batch_size=32",
            "with batches of 32 it behaves alike",
            rewritten(lambda p: replace(p, examples=replace(p.examples, batch=32)), "batches of 32"),
            shows=refused,
        )

    def _axis(self, evidence: Evidence, name: str) -> Suspicion:
        def mended(program: Program) -> Program:
            """The same network with batch norm over the channels' axis."""
            model = cast("KerasModule", program.model)
            inner: Any = model.inner
            config = inner.get_config()
            for layer in config["layers"]:
                if layer["class_name"] == "BatchNormalization":
                    layer["config"]["axis"] = -1
            made = type(inner).from_config(config)
            made.compile(loss=inner.loss)
            program.loss.inner = made  # type: ignore[attr-defined]
            return replace(program, model=KerasModule(made))

        return Suspicion(
            "A11",
            LIKELY,
            "evaluation is unlike training",
            f"{name} normalises over another axis than the channels' (the last one here)",
            "BatchNormalization() without axis, which takes the last",
            {},
            name,
            "- BatchNormalization(axis=1)\n+ BatchNormalization()",
            "the images are channels-first",
            rewritten(mended, "batch norm over the channels") if hasattr(evidence.program.loss, "inner") else None,
        )

    def _lagging(
        self, evidence: Evidence, norms: list[tuple[str, nn.Module, float, bool]], batch: int
    ) -> Iterator[Suspicion]:
        trial, program = evidence.trial, evidence.program
        if trial.program is None or trial.problem or trial.broke is not None:
            return
        name, _, momentum, _ = min(norms, key=lambda n: n[2])
        total = program.examples.total or len(program.examples)
        steps = len(trial.losses) if program.epochs is None else program.epochs * -(-total // max(batch, 1))
        left = (1 - momentum) ** steps
        train, evaluated = evidence.judge(trial.program, training=True), evidence.after
        gap = train.share - evaluated.share
        if momentum > 0 and not (math.isfinite(gap) and gap > self.apart):
            return
        stale = left > self.stale
        yield Suspicion(
            "A11",
            EXACT if momentum == 0 else STRONG if stale else LIKELY if trial.finished else HINT,
            "good in training, poor in evaluation, on the same images",
            f"after {steps} updates {left:.0%} of the running statistics of {name} are still what they began with"
            if stale
            else "the running statistics of batch norm are not those of the batches",
            "a momentum of 0.1 (torch; 0.9 in Keras), more updates, or statistics computed anew before evaluation",
            {
                "share in training mode": train.share,
                "share in evaluation mode": evaluated.share,
                "threshold (apart)": self.apart,
                "momentum": momentum,
                "share of the start still in the statistics": left,
                "threshold (share)": self.stale,
            },
            name,
            f"- momentum={momentum if program.framework == 'torch' else 1 - momentum:g}\n"
            f"+ momentum={0.1 if program.framework == 'torch' else 0.9:g}",
            "with the statistics of all training images computed anew both modes still disagree",
            quicker(),
            shows=math.isfinite(gap) and gap > self.apart,
        )
