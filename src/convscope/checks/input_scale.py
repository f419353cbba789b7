"""Do the inputs have the mean 0 and the spread 1 that initial weights and rates are made for?

    E[x_j²] ≈ 1 for every feature j       ⟹ pre-activations begin with the spread that initialisation by fan-in means
    H = E[x xᵀ] ⊗ …  (first layer)        λ_max/λ_min of the second moments bounds how fast gradient descent can go;
                                          a mean m adds an eigenvalue of about ‖m‖² (LeCun et al. 1991)

LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", sections 4.3 and 5.1; LeCun, Kanter, Solla 1991.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from convscope.checks._data import Features, features, first_weighted, flat, graded, insensitive, quantities
from convscope.diagnosing import changes
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, Suspicion
from convscope.fields import param, validate

FAR = 5.0  # times the threshold, from which on scale alone accounts for a training that goes badly
ROWS = 128  # examples for the eigenvalues


@dataclass(frozen=True)
class InputScale:
    """Are the inputs scaled and centred as initial weights and learning rates expect?

    Of what the first weighted layer reads, by feature j (channel of images) over N examples: standard deviation s_j, mean
    m_j, range. D1: max s_j above `wide`. D2: median |m_j|/s_j above `off` with |m_j| above `wide`. D3: ranges below
    `narrow`. Eigenvalues of E[xxᵀ] are told as evidence. How sure it is follows the short training: a hint where it goes
    well.

    Misleads for tables that are narrow by nature (probabilities of rare events). A hint at most where a norm takes
    the scale off (the output of scaled inputs is the same); silent for embeddings. Errors: none.
    Source: LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp"; LeCun, Kanter, Solla 1991.

    >>> from convscope.diagnosing import given
    >>> data = (1000 * torch.rand(40, 2), torch.rand(40, 1))
    >>> program = given.program(torch.nn.Linear(2, 1), data, "mse", "sgd:0.1", epochs=5)
    >>> [s.fault for s in InputScale()(Evidence(program, seconds=0.1))]
    ['D1']
    """

    needs: ClassVar[str] = "program"
    wide: float = param(3.0, "standard deviations above this are not scaled", low=1)
    off: float = param(3.0, "a mean of so many standard deviations is not centred", low=1)
    narrow: float = param(0.05, "a feature whose whole range is below this is crushed", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        x = quantities(evidence)
        if x is None or len(x) < 2:
            return
        found = features(x)
        if not found.varies.any():
            return
        std, mean = found.std[found.varies], found.mean[found.varies]
        span = (found.high - found.low)[found.varies]
        rms = float(np.sqrt(np.mean(std**2 + mean**2)))
        apart = float(np.median(np.abs(mean) / std))
        table = x.ndim == 2 and len(span) <= 200
        crushed = float(np.mean(span < self.narrow))
        if float(std.max()) > self.wide:
            kind = "D1"
        elif apart > self.off and float(np.abs(mean).max()) > self.wide:
            kind = "D2"
        elif crushed == 1 or (table and crushed >= 0.25 and float(np.abs(found.high).max()) <= 1.5):
            kind = "D3"
        else:
            return
        normed = insensitive(evidence, 1 / rms)
        if normed and kind != "D1":
            return
        numbers = self._numbers(evidence, x, found, apart)
        excess = {"D1": float(std.max()) / self.wide, "D2": apart / self.off, "D3": self.narrow / float(span.min())}[kind]
        strength = HINT if normed else graded(evidence, far=excess > FAR)
        yield self._suspicion(kind, evidence, strength, numbers)
        if kind == "D2":  # what is far from 0 has not been scaled either; the mean is the graver part of it
            yield self._suspicion("D1", evidence, min(strength, LIKELY) if strength > HINT else HINT, numbers)

    def _suspicion(self, kind: str, evidence: Evidence, strength: float, numbers: dict[str, float | str]) -> Suspicion:
        trial, well = evidence.trial, strength <= HINT
        broken = f"the loss is not finite from step {trial.broke}" if trial.broke is not None else ""
        symptom = broken or ("inputs are not standardised, and nothing shows for it" if well else "the loss is flat, slow "
        "or jumps")
        call = first_weighted(evidence)
        cause, remedy, code = {
            "D1": (
                f"inputs with standard deviations up to {numbers['largest standard deviation']:.3g}: the first "
                "layer's outputs "
                "and gradients are that many times what initial weights and the rate are made for, so that steps overshoot",
                "standardise each feature by the training set's mean and standard deviation, and keep both for later inputs",
                "+ mean, std = x_train.mean(0), x_train.std(0)\n+ x = (x - mean) / std",
            ),
            "D2": (
                f"the inputs lie {numbers['mean in standard deviations (median)']:.3g} standard deviations from 0: "
                "their mean "
                "makes one direction of the loss far steeper than all others, and units begin all on or all off",
                "subtract the training set's mean from every feature, and keep it for later inputs",
                "+ mean = x_train.mean(0)\n+ x = x - mean",
            ),
            "D3": (
                f"the narrowest input feature spans {numbers['smallest range']:.3g}: what the network reads is nearly "
                "constant, as after a second division by the range, and its first layer hardly gets a gradient",
                "normalise once: leave out the second division (or standardise by the data's own statistics)",
                "- x = x / scale  # the second time\n+ # x is scaled already",
            ),
        }[kind]
        x = evidence.program.examples
        name = "the network" if call is None else f"{call.name} ({call.line})" if call.line else call.name
        centred = kind == "D2" and x.x.is_floating_point()
        mean = torch.nan_to_num(x.x).mean(changes.feature_axes(x.x), keepdim=True) if centred else None
        return Suspicion(
            kind, strength, symptom, cause, remedy, numbers,
            where=f"inputs of {name}",
            code=code, disproof="the same program on standardised inputs learns no faster",
            change=changes.standardised(x) if mean is None else changes.inputs(lambda v: v.float() - mean, "inputs centred"),
            harmless=well,
        )  # fmt: skip

    def _numbers(self, evidence: Evidence, x: Tensor, found: Features, apart: float) -> dict[str, float | str]:
        std = found.std[found.varies]
        first = first_weighted(evidence)
        signal = next((s for s, c in zip(evidence.signals, evidence.calls, strict=True) if c is first), None)
        top, ratio = moments(x)
        numbers: dict[str, float | str] = {
            "largest standard deviation": float(std.max()), "at most": self.wide,
            "smallest standard deviation": float(std.min()), "largest value": float(np.abs(found.high).max()),
            "mean in standard deviations (median)": apart, "allowed": self.off,
            "smallest range": float((found.high - found.low)[found.varies].min()), "at least": self.narrow,
            "largest eigenvalue of E[xxᵀ]": top, "condition number": ratio,
        }  # fmt: skip
        if signal is not None:
            numbers["first layer's outputs, standard deviation"] = signal.std
        return numbers


def moments(x: Tensor) -> tuple[float, float]:
    """Largest eigenvalue of E[xxᵀ], and its ratio to the smallest above rounding, on at most `ROWS` examples."""
    standard, index = flat(x, ROWS)
    if len(index) < 2:
        return math.nan, math.nan
    rows = x[index].reshape(len(index), -1)[:, : standard.shape[1]].double()
    values = torch.linalg.svdvals(rows).square() / len(rows)
    real = values[values > 1e-12 * values[0]]
    return float(values[0]), float(values[0] / real[-1]) if len(real) else math.nan
