"""Is the user's own number what they think it is? metric(outputs, targets) beside the accuracy or R² of the same outputs.

argmax over the batch:  metric = 1/N · Σ_k [argmax_n f(x_n)_k = y_k] …, near 1/N whatever the network has learned
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._loop import Loop
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import EXACT, STRONG, Suspicion
from convscope.diagnosing.trial import answer
from convscope.fields import param, validate


@dataclass(frozen=True)
class Metric:
    """Does the metric measure what the network has learned?

    The user's metric on the trial's outputs, beside accuracy. Where each row is replaced by the right answer, a metric of
    accuracy must be its best: a wrong axis (E4) or a metric that does not fit (E2) is not. Misleads for metrics that are
    better when lower, unless they say so by falling. Source: Zhang et al. 2018, "An empirical study on TensorFlow bugs".

    >>> Metric().slack
    0.05
    """

    needs: ClassVar[str] = "program"
    slack: float = param(0.05, "how far the metric of perfect answers may be from the best", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        yield from _watched(evidence)
        metric, e = evidence.program.metric, evidence.program.examples
        if metric is None or evidence.targets.kind not in ("indices", "one-hot", "binary", "multi-hot") or e.y is None:
            return
        program = evidence.trial.program
        if program is None:
            return
        most = evidence.affordable(program, 0.15, 32)
        with left_alone():
            out = answer(program, e.x[:most].to(program.device))
        if not isinstance(out, Tensor):
            return
        y = e.y[:most].to(out.device)
        bits = (
            evidence.targets.kind in ("binary", "multi-hot")
            and out.shape == y.shape
            and evidence.last not in ("sigmoid", "softmax")
        )
        if not evidence.loss.classifies or (
            not bits and (out.ndim != 2 or out.shape[1] not in (1, evidence.targets.classes))
        ):
            return  # the outputs are no classes, one column each
        perfect = 8 * y.to(out.dtype) - 4 if bits else _perfect(out, y)
        opposite = -perfect if bits else perfect.roll(1, 1) if out.shape[1] > 1 else 1 - perfect
        got, best, worst = (_value(metric, o, y) for o in (out, perfect, opposite))
        sound = abs(best - worst) > 1 - self.slack or best < worst - self.slack
        if sound or not all(map(math.isfinite, (got, best, worst))):
            return  # right answers get its best and wrong ones its worst, or it falls with what is right, as an error does
        facts: dict[str, float | str] = {
            "metric of the outputs": got, "metric of perfect answers": best, "of wrong ones": worst,
            "accuracy of the outputs": evidence.after.value, "threshold": self.slack}  # fmt: skip
        across = _value(lambda o, t: float((o.argmax(0)[: len(t)] == t[: o.shape[1]]).sum() / len(t)), out, y)
        if out.ndim == 2 and out.shape[1] > 1 and not bits and (abs(across - got) < 1e-6 or best < 0.5):
            yield Suspicion(
                "E4", EXACT, "accuracy stays near zero although the loss falls",
                "the metric takes its argmax over the batch, not over the classes: perfect answers get "
                f"{best:.3g}, these outputs {got:.3g} instead of {evidence.after.value:.3g}",
                "take the argmax over the classes", facts, disproof="perfect answers have metric 1",
                code="- prediction = output.argmax(0)\n+ prediction = output.argmax(1)",
                shown=f"the same outputs, argmax over the classes: {evidence.after.value:.3g} instead of {got:.3g}",
                shows=True)  # fmt: skip
        else:
            yield Suspicion("E2", STRONG, "the metric does not say how good the network is",
                            f"perfect answers get {best:.3g}, wrong ones {worst:.3g}", "use accuracy of the classes", facts,
                            disproof="right answers get its best value, wrong ones its worst",
                            shows=evidence.after.learned)  # fmt: skip


def _watched(evidence: Evidence) -> Iterator[Suspicion]:
    """A watched loop that took the argmax of the outputs over their batch axis."""
    dims = Loop(evidence).names("output_argmax_dims")
    if (
        0 in dims
        and 1 not in dims
        and evidence.tensor is not None
        and evidence.tensor.ndim == 2
        and evidence.tensor.shape[1] > 1
    ):
        yield Suspicion("E4", STRONG, "accuracy stays near zero although the loss falls",
                        "the loop takes argmax over axis 0 of the outputs: that is the batch, not the classes",
                        "take the argmax over the classes", {"argmax over axis": str(dims)},
                        code="- prediction = output.argmax(0)\n+ prediction = output.argmax(1)",
                        disproof="the outputs have their classes on axis 0", shows=True)  # fmt: skip


def _perfect(out: Tensor, y: Tensor) -> Tensor:
    """Outputs that are right for every example, in the outputs' own shape."""
    if out.ndim == 2 and out.shape[1] > 1:
        index = y.argmax(1) if y.ndim == 2 and y.shape[1] == out.shape[1] else y.reshape(len(out)).long()
        return torch.nn.functional.one_hot(index.clamp(0, out.shape[1] - 1), out.shape[1]).to(out.dtype)
    return y.reshape(out.shape).to(out.dtype) if y.numel() == out.numel() else out


def _value(metric: object, out: Tensor, y: Tensor) -> float:
    try:
        return float(metric(out, y))  # type: ignore[operator]
    except Exception:  # noqa: BLE001 - a metric of NumPy, or one that fits other shapes
        try:
            return float(metric(out.numpy(), y.numpy()))  # type: ignore[operator]
        except Exception:  # noqa: BLE001 - not ours to mend: the check does not apply
            return math.nan
