"""P1, learning rate too high; P2, too low.

    L(θ + u) ≈ L + g·u + ½ uᵀHu      the step u rises the loss when   uᵀHu / (−g·u) > 2

u is the optimiser's own first update; along plain gradients this is curvature · rate > 2. LeCun et al. 1998, "Efficient
BackProp", section 5; Smith 2017, "Cyclical learning rates" (the range test: the same steps at other rates).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from convscope.checks._tried import gained, progress, tried
from convscope.diagnosing.changes import optimizing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.program import left_alone
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.diagnosing.trial import output_of
from convscope.fields import param, validate

USUAL = {"Adam": 1e-3, "AdamW": 1e-3, "NAdam": 1e-3, "Adamax": 2e-3, "RAdam": 1e-3, "RMSprop": 1e-3, "SGD": 1e-2, "Adagrad": 1e-2,
         "Adadelta": 1.0}  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """Is the learning rate too high, or too low, for this network and these data?

    Measured: the loss of one batch before and after the optimiser's own first update (in training mode, without unit), ‖Δθ‖/‖θ‖ of
    that update, and the loss after as many steps at other rates. Nothing is said of a run that does well. A rate is too high
    only in relation to the scale of inputs, targets and weights: where these are wild, they come first, and this is weaker.
    Errors: none. Source: LeCun et al. 1998, "Efficient BackProp"; Smith 2017, "Cyclical learning rates".

    >>> from convscope.diagnosing import given
    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> wild = given.program(torch.nn.Linear(4, 1), (x, x[:, :1] * 2), "mse", "sgd:5", epochs=9)
    >>> [s.fault for s in Rate()(Evidence(wild))]
    ['P1']
    """

    needs: ClassVar[str] = "program"
    well: float = param(0.8, "score (share of the way to perfect) from which nothing is said of the rate", low=0, high=1)
    fast: float = param(0.1, "‖Δθ‖/‖θ‖ of the first update from which the weights are thrown about", low=0)
    slow: float = param(1e-5, "‖Δθ‖/‖θ‖ of the first update under which the weights hardly move", low=0)
    gain: float = param(0.2, "share of the way to the floor that another rate must win in as many steps", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        trial, recipe = evidence.trial, evidence.program.optimizer
        if trial.problem or len(trial.losses) < 2 or recipe.rate <= 0:
            return
        share = evidence.after.share
        if trial.broke is None and math.isfinite(share) and share > self.well:
            return
        rise = first_step(evidence)
        high = self._high(evidence, rise)
        if high is not None:
            yield high
        elif trial.broke is None and not (rise > 1):
            low = self._low(evidence)
            if low is not None:
                yield low

    def _high(self, evidence: Evidence, rise: float) -> Suspicion | None:
        trial, rate = evidence.trial, evidence.program.optimizer.rate
        broke, thrown = trial.broke is not None, trial.first_moved > self.fast
        unsteady = rise > 1 or thrown or broke
        if not unsteady and not trial.last > trial.first:
            return None
        best, won = 1.0, -math.inf
        for factor in (0.1, 0.01, 0.001):
            other = tried(evidence, optimizing("", factor))
            if other is None:
                break
            got = gained(evidence, other) if other.broke is None else -math.inf
            if got > won + 0.02:
                best, won = factor, got
            elif won > self.gain:
                break
        learns = won > self.gain or (broke and best < 1 and won > 0.05)
        if not learns:
            return None
        return Suspicion(
            "P1",
            LIKELY if _wild(evidence) or not unsteady else STRONG,
            "the loss becomes NaN" if broke else "the loss jumps about, or rises",
            "each update is longer than the slope holds: "
            + (f"the first one alone raises the loss of its own batch {rise:.3g} times" if rise > 1 else "it overshoots"),
            f"a learning rate of {rate * best:.1g} in place of {rate:.3g}",
            {
                "loss after the first update over before": rise,
                "‖Δθ‖/‖θ‖ of the first update": trial.first_moved,
                "threshold (rise)": 1.0,
                "threshold (‖Δθ‖/‖θ‖)": self.fast,
                f"way to the floor won at {rate * best:.1g}": won,
            },
            "optimizer",
            f"- lr={rate:g}\n+ lr={rate * best:.1g}",
            "at a tenth of the rate the loss behaves alike",
            optimizing(f"rate {rate * best:.1g}", best),
            shows=broke,
        )

    def _low(self, evidence: Evidence) -> Suspicion | None:
        trial, recipe = evidence.trial, evidence.program.optimizer
        usual = USUAL.get(recipe.kind.__name__, 1e-3)
        creeping = trial.first_moved < self.slow or recipe.rate < usual / 10 * 1.0001
        if evidence.after.learned and not creeping:
            return None
        best, won = 1.0, -math.inf
        for factor in (10.0, 100.0, 1000.0):
            other = tried(evidence, optimizing("", factor))
            got = gained(evidence, other) if other is not None and other.broke is None else -math.inf
            if got <= won + 0.02:
                break
            best, won = factor, got
        if won <= self.gain:
            return None
        here = progress(evidence, trial)
        return Suspicion(
            "P2",
            STRONG if creeping and (trial.finished or here < 0.2) else LIKELY if trial.finished or creeping else HINT,
            "the loss falls straight and slowly",
            f"each update moves the weights by {trial.first_moved:.1g} of their size: in the steps there are they do not get far",
            f"a learning rate of {recipe.rate * best:.1g} in place of {recipe.rate:.3g}",
            {
                "‖Δθ‖/‖θ‖ of the first update": trial.first_moved,
                "threshold": self.slow,
                "rate": recipe.rate,
                "usual rate": usual,
                f"way to the floor won at {recipe.rate * best:.1g}": won,
            },
            "optimizer",
            f"- lr={recipe.rate:g}\n+ lr={recipe.rate * best:.1g}",
            "with ten times the rate the loss falls no faster",
            optimizing(f"rate {recipe.rate * best:.1g}", best),
        )


def first_step(evidence: Evidence) -> float:
    """The loss of the batch after the optimiser's first update, over that before; infinite where it is not finite, NaN unknown."""
    program = evidence.program.twin()
    with left_alone(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        program.model.train()
        optimizer = program.optimizer.make(program.model)
        if optimizer is None:
            return math.nan
        found: list[float] = []
        try:
            for turn in range(2):
                torch.manual_seed(evidence.seed)  # the same dropout both times
                loss = program.value(output_of(program, evidence.x), evidence.y)
                if not isinstance(loss, Tensor):
                    return math.nan
                found.append(float(loss.detach()))
                if turn == 0:
                    program.model.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
        except Exception:  # noqa: BLE001 - what the user's program raises is told elsewhere
            return math.nan
    if not math.isfinite(found[0]) or found[0] <= 0:
        return math.nan
    return found[1] / found[0] if math.isfinite(found[1]) else math.inf


def _wild(evidence: Evidence) -> bool:
    """Inputs or targets so large that every rate is too high: then these come first."""
    x = evidence.x.float()
    x = x[torch.isfinite(x)]
    large = x.numel() > 1 and evidence.x.is_floating_point() and float(x.square().mean().sqrt()) > 10
    t = evidence.targets
    return large or (t.kind == "values" and max(abs(t.mean), t.std) > 10)
