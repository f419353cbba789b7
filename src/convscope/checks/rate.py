"""P1, learning rate too high; P2, too low.

    L(θ + u) ≈ L + g·u + ½ uᵀHu      the step u rises the loss when   uᵀHu / (−g·u) > 2

u is the optimiser's own first update; along plain gradients this is curvature · rate > 2. LeCun et al. 1998, "Efficient
BackProp", section 5; Smith 2017, "Cyclical learning rates" (the range test: the same steps at other rates).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from convscope.checks._tried import first_step, progress, silent, tried, way, wild, won
from convscope.diagnosing.changes import optimizing
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate

USUAL = {"SGD": 1e-2, "Adagrad": 1e-2, "Adadelta": 1.0}  # 1e-3 for the others


@dataclass(frozen=True)
class Rate:
    """Is the learning rate too high, or too low, for this network and these data?

    Measured: the loss of one batch before and after the optimiser's own first update (in training mode, without unit),
    ‖Δθ‖/‖θ‖ of that update, and the loss after as many steps at other rates. Nothing is said of a run that does well.
    Misleads: a rate is too high only in relation to the scale of inputs, targets and weights: where these are wild, they
    come first, and this is weaker.
    Errors: none. Source: LeCun et al. 1998, "Efficient BackProp"; Smith 2017, "Cyclical learning rates".

    >>> from convscope.diagnosing import given
    >>> import torch
    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> wild = given.program(torch.nn.Linear(4, 1), (x, x[:, :1] * 2), "mse", "sgd:5", epochs=9)
    >>> [s.fault for s in Rate()(Evidence(wild))]
    ['P1']
    """

    needs: ClassVar[str] = "program"
    well: float = param(0.8, "score (share of the way to perfect) from which nothing is said of the rate", low=0, high=1)
    fast: float = param(0.1, "‖Δθ‖/‖θ‖ of the first update from which the weights are thrown about", low=0)
    stuck: float = param(0.3, "share of the way to the floor under which a trial has got nowhere", low=0, high=1)
    slow: float = param(1e-5, "‖Δθ‖/‖θ‖ of the first update under which the weights hardly move", low=0)
    gain: float = param(0.1, "share of the way to the floor that another rate must win in as many steps", low=0, high=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        trial, recipe = evidence.trial, evidence.program.optimizer
        if trial.problem or len(trial.losses) < 2 or recipe.rate <= 0 or evidence.loss.factor < 0:
            return
        share = evidence.after.share if math.isfinite(evidence.after.share) else progress(evidence, trial)
        if trial.broke is None and math.isfinite(share) and share > self.well:
            return
        rise = first_step(evidence)
        high = self._high(evidence, rise)
        if high is not None:
            yield high
        elif trial.broke is None and not rise > 1:
            low = self._low(evidence)
            if low is not None:
                yield low

    def _high(self, evidence: Evidence, rise: float) -> Suspicion | None:
        trial, recipe = evidence.trial, evidence.program.optimizer
        momentum = recipe.option("momentum", 0.0)
        lasting = (
            trial.first_moved / (1 - min(0.99, float(momentum))) if isinstance(momentum, (int, float)) else trial.first_moved
        )
        broke = trial.broke is not None
        unsteady = rise > 1 or lasting > self.fast or broke
        stuck = progress(evidence, trial) < self.stuck
        if not stuck or not (unsteady or trial.last > trial.first):
            return None
        best, gain = self._other(evidence, (0.1, 0.01, 0.001))
        learns = gain > self.gain
        if not learns and not (lasting > 3 * self.fast):
            return None
        if not learns:
            best = 0.1
        return Suspicion(
            "P1",
            STRONG if learns and unsteady and not wild(evidence) else LIKELY,
            "the loss becomes NaN" if broke else "the loss jumps about, or stays where a constant answer is",
            "each update is longer than the slope holds: "
            + (
                f"the first alone makes the loss of its own batch {rise:.3g} times as large" if rise > 1 else "it overshoots"
            ),
            f"a learning rate of {recipe.rate * best:.1g} in place of {recipe.rate:.3g}",
            {
                "loss after the first update over before": rise,
                "threshold (rise)": 1.0,
                "‖Δθ‖/‖θ‖ of an update, momentum included": lasting,
                "threshold (‖Δθ‖/‖θ‖)": self.fast,
                f"way to the floor won at {recipe.rate * best:.1g}": gain,
                "threshold (won)": self.gain,
            },
            "optimizer",
            f"- lr={recipe.rate:g}\n+ lr={recipe.rate * best:.1g}",
            "at a tenth of the rate the loss behaves alike",
            optimizing(f"rate {recipe.rate * best:.1g}", best),
            shows=broke,
        )

    def _low(self, evidence: Evidence) -> Suspicion | None:
        trial, recipe, program = evidence.trial, evidence.program.optimizer, evidence.program
        share, known = evidence.after.share, math.isfinite(evidence.after.share)
        usual = USUAL.get(recipe.kind.__name__, 1e-3)
        creeping = trial.first_moved < self.slow or recipe.rate < usual / 10 * 1.0001
        total = program.examples.total or len(program.examples)
        steps = math.nan if program.epochs is None else program.epochs * -(-total // program.examples.batch)
        ahead = (trial.first - trial.last) / way(evidence) * steps / len(trial.losses)  # where a straight line would end
        slow = trial.finished or ahead < 0.5
        if not creeping and (evidence.after.learned or not slow):
            return None
        best, gain = self._other(evidence, (10.0, 100.0, 1000.0, 10000.0) if creeping else (10.0, 100.0))
        wins = gain > (self.gain / 2 if creeping else self.gain)
        if not wins and (evidence.after.learned or trial.first_moved >= self.slow or silent(evidence)):
            return None
        best = best if wins else 100.0
        return Suspicion(
            "P2",
            STRONG if wins and creeping and known and share <= 0.5 else LIKELY if slow and known else HINT,
            "the loss falls straight and slowly",
            f"each update moves the weights by {trial.first_moved:.1g} of their size: they do not get far",
            f"a learning rate of {recipe.rate * best:.1g} in place of {recipe.rate:.3g}",
            {
                "‖Δθ‖/‖θ‖ of the first update": trial.first_moved,
                "threshold": self.slow,
                "rate": recipe.rate,
                "usual rate": usual,
                f"way to the floor won at {recipe.rate * best:.1g}": gain,
                "threshold (won)": self.gain,
            },
            "optimizer",
            f"- lr={recipe.rate:g}\n+ lr={recipe.rate * best:.1g}",
            "with ten times the rate the loss falls no faster",
            optimizing(f"rate {recipe.rate * best:.1g}", best),
        )

    def _other(self, evidence: Evidence, factors: tuple[float, ...]) -> tuple[float, float]:
        """The factor on the rate that wins most in the same steps, and how much; tried until one is worse."""
        best, gain = factors[0], 0.0
        for factor in factors:
            other = tried(evidence, optimizing("", factor))
            got = 0.0 if other is None else won(evidence, other)
            if got > gain + 0.02:
                best, gain = factor, got
            elif gain > self.gain or other is None:
                break
        return best, gain
