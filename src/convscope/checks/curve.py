"""What a loss curve alone can tell: it is not finite, flat, grows, jitters, still falls; or held-out loss turns up.

Levels that say something by themselves: ln K (always the prior of K even classes), ln(e + K − 1) − 1 (softmax twice).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, Suspicion
from convscope.fields import param, validate


@dataclass(frozen=True)
class Curve:
    """What can be said from the loss curve alone?

    Much less than from the program: most findings are hints, and say what to look at next. Held-out loss that has risen from
    its lowest by `gap` while training loss falls is over-fitting (E3). Misleads for losses whose floor is not 0.
    Source: Goodfellow et al. 2016, Deep Learning, ch. 11.

    >>> import numpy as np, convscope as cs
    >>> from convscope.results import Run
    >>> falling = Run(steps={"loss": np.linspace(5, 3, 200)}, epochs={})
    >>> [f.fault for f in cs.check(falling).findings if f.fault]
    ['P11']
    """

    needs: ClassVar[str] = "run"
    gap: float = param(0.2, "rise of the held-out loss over its lowest, relative", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        run = evidence.run
        if run is None:
            return
        losses = np.asarray(run.steps.get("loss", run.epochs.get("loss", ())), np.float64)
        losses = losses[np.isfinite(losses)]
        held = np.asarray(run.epochs.get("held_out_loss", run.steps.get("held_out_loss", ())), np.float64)
        held = held[np.isfinite(held)]
        if (
            len(held) >= 3
            and len(losses) >= 3
            and held[-1] > (1 + self.gap) * held.min()
            and losses[-1] <= losses[len(losses) // 2]
        ):
            yield Suspicion(
                "E3",
                LIKELY,
                "training loss falls, held-out loss rises",
                f"held out it was lowest ({held.min():.3g}) at epoch {int(held.argmin())} and is {held[-1]:.3g} now",
                "stop there; more data, augmentation, weight decay or dropout",
                {"held-out loss": float(held[-1]), "its lowest": float(held.min()), "threshold": self.gap},
                disproof="held-out examples were prepared in another way",
            )
        if len(losses) < 8:
            return
        tenth = max(2, len(losses) // 10)
        first, last, before = losses[:tenth].mean(), losses[-tenth:].mean(), losses[-2 * tenth : -tenth].mean()
        noise = float(np.std(np.diff(losses)) / math.sqrt(2))
        facts: dict[str, float | str] = {"first tenth": float(first), "last tenth": float(last), "jitter": noise}
        if not evidence.has_program and abs(first - last) < 0.05 * abs(first) and noise < 0.1 * abs(last):
            yield from _level(float(last), facts)
        if before - last > 2 * noise / math.sqrt(tenth) and before - last > 0.02 * abs(last):
            yield Suspicion(
                "P11",
                HINT,
                "the loss still falls when training ends",
                f"it lost {before - last:.3g} over the last tenth",
                "train longer, or with a higher rate",
                facts,
                disproof="it is flat when training goes on",
            )
        if noise > 0.5 * abs(last) and last > 0.5 * first:
            yield Suspicion(
                "P1",
                HINT,
                "the loss jumps up and down and does not fall",
                f"from step to step it changes by {noise:.3g}, its level is {last:.3g}",
                "divide the rate by ten; larger batches",
                facts,
                disproof="a tenth of the rate jumps as much",
            )


def _level(last: float, facts: dict[str, float | str]) -> Iterator[Suspicion]:
    k = round(math.exp(last)) if 0.5 < last < 7 else 0
    if 2 <= k <= 1000 and abs(last - math.log(k)) < min(0.004 * math.log(k), 0.125 / k):  # a quarter of values would
        yield Suspicion(
            "P6",
            HINT,
            f"the loss stays at {last:.4g} = ln {k}",
            f"that is what saying the prior of {k} even classes costs: nothing of the input arrives in the answer",
            "run convscope check with the network and the data",
            facts,
            disproof=f"there are not {k} classes",
        )
        return
    k = round(math.exp(last + 1) - math.e + 1) if 0 < last < 7 else 0
    if 2 < k <= 1000 and abs(last - math.log(math.e + k - 1) + 1) < min(0.002, 0.125 / k):
        yield Suspicion(
            "O2",
            HINT,
            f"the loss stays at {last:.4g} = ln(e + {k} − 1) − 1",
            f"that is the floor of cross-entropy over {k} classes where softmax is applied twice",
            "give the loss logits",
            facts,
            disproof=f"there are not {k} classes",
        )
