"""What a watched run tells of its layers: units that died, gates that saturated, gradients that vanish with depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import HINT, LIKELY, STRONG, Suspicion
from convscope.fields import param, validate
from convscope.results import Run


@dataclass(frozen=True)
class LayersSeen:
    """Which layer went wrong first in the watched run, and how?

    dead: share of units that gave 0 for the whole batch; saturated: share of values with derivative below 0.01; depth: the
    gradient's spread at the first layer over the last; update: ‖Δw‖/‖w‖, 10⁻³ ± a decade is usual. The first layer and step
    that crosses its threshold is named. Misleads: these are mostly effects, by themselves advice.
    Source: Glorot and Bengio 2010; Lu et al. 2019, "Dying ReLU and initialization".

    >>> LayersSeen().dead
    0.9
    """

    needs: ClassVar[str] = "run"
    dead: float = param(0.9, "share of dead units in a layer", low=0, high=1)
    saturated: float = param(0.9, "share of saturated values in a layer", low=0, high=1)
    depth: float = param(1e-4, "gradient of the first layer over the last's", low=0)
    update: float = param(0.3, "update over weight, from which on steps are too large", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, evidence: Evidence) -> Iterator[Suspicion]:
        run = evidence.run
        if run is None or not run.layers or "step" not in run.health:
            return
        health, at = run.health, run.health["step"]
        bad = run.loop.get("first_nonfinite")
        if bad:
            yield Suspicion(
                "A5",
                LIKELY,
                f"a {bad['what']} stops being a number",
                f"first seen in {bad['layer']} at step {bad['step']}; what comes after is its effect",
                "look at what this layer reads: scale of inputs, rate, division, log",
                {"step": float(bad["step"])},
                str(bad["layer"]),
                disproof="an earlier layer or step is not finite too",
            )
        found = _first(run, health.get("dead"), at, self.dead)
        if found is not None:
            layer, step, value, share = found
            yield Suspicion(
                "A2",
                STRONG if share >= 0.5 else HINT,
                f"units of {layer} are dead",
                f"{100 * value:.0f} % of its units give "
                f"zero for every example from step {step} on: no gradient passes, they cannot come back",
                "lower the rate, draw the weights anew, or use LeakyReLU",
                {"dead share": value, "threshold": self.dead, "from step": float(step), "layers affected": share},
                layer,
                "- nn.ReLU()\n+ nn.LeakyReLU(0.01)",
                "the units answer to other images",
            )
        found = _first(run, health.get("saturated"), at, self.saturated)
        if found is not None:
            layer, step, value, share = found
            yield Suspicion(
                "A3",
                LIKELY if share >= 0.5 else HINT,
                f"{layer} is saturated",
                f"{100 * value:.0f} % of its values lie where the derivative is below 0.01",
                "scale inputs and weights down, or use ReLU",
                {"saturated share": value, "threshold": self.saturated, "from step": float(step)},
                layer,
                disproof="the layers before it still change",
            )
        yield from self._depth(run)
        ratios = health.get("update_ratio")
        if ratios is not None and np.isfinite(ratios).any():
            typical = float(np.nanmedian(ratios[:, 1:])) if ratios.shape[1] > 1 else float(np.nanmedian(ratios))
            if typical > self.update:
                yield Suspicion(
                    "P1",
                    STRONG,
                    "steps are as large as the weights",
                    f"a step changes the weights by {100 * typical:.0f} % (0.1 % is usual)",
                    "divide the rate by ten",
                    {"update over weight, median": typical, "threshold": self.update},
                    code="- lr=…\n+ lr=… / 10",
                    disproof="a tenth of the rate learns no better",
                )

    def _depth(self, run: Run) -> Iterator[Suspicion]:
        slopes = run.health.get("gradient_std")
        if slopes is None:
            return
        rows = [k for k, name in enumerate(run.layers) if ">" not in name and np.isfinite(slopes[k]).any()]
        if len(rows) < 4:
            return
        first, last = (float(np.nanmedian(slopes[k])) for k in (rows[0], rows[-1]))
        if last > 0 and first / last < self.depth:
            yield Suspicion(
                "A4",
                LIKELY,
                "early layers stand still",
                f"the gradient of {run.layers[rows[0]]} is {first / last:.1g} of that of {run.layers[rows[-1]]}",
                "ReLU with fan-in initialisation, batch norm, or skip connections",
                {"first over last": first / last, "threshold": self.depth},
                run.layers[rows[0]],
                disproof="the early layers' update ratio is as large as the late ones'",
            )


def _first(
    run: Run, values: NDArray[np.float64] | None, at: NDArray[np.int64], threshold: float
) -> tuple[str, int, float, float] | None:
    """Layer and step that first reach a threshold and stay there; the value at the end; the share of layers that do."""
    if values is None or not values.size:
        return None
    end = values[:, -1]
    seen = np.isfinite(end)
    stuck = [k for k in np.flatnonzero(seen) if end[k] >= threshold]
    if not stuck:
        return None
    begins = {k: next(j for j in range(values.shape[1]) if np.all(~(values[k, j:] < threshold))) for k in stuck}
    first = min(stuck, key=lambda k: (begins[k], k))
    return run.layers[first], int(at[begins[first]]), float(end[first]), len(stuck) / max(int(seen.sum()), 1)
