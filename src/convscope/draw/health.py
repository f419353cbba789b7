"""The health of a network's layers while it trains: a map of layers × steps for each measure, on a fixed scale.

    position   where a number stands on its scale, 0 … 1; by its logarithm where sizes span decades
    tone       −1 … 1: within ±EDGE the healthy band, from ±BEYOND to ±1 what is above it (+) or below it (−)

The scales are the same for every run, so that two maps can be compared; a measure without a healthy band (the size of a
gradient depends on the loss) has a plain scale, and is read down a column: what matters is how it changes with the depth.
The page draws by the same two formulas (health.js).

Bands: ‖Δw‖/‖w‖ near 1e-3 is a common rule of the field; spread of activations near 1: He et al. 2015, "Delving deep into
rectifiers"; the others leave room for what sound networks do (half of the outputs of a ReLU are zero).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convscope.draw import colours, words
from convscope.results import Run

if TYPE_CHECKING:
    from convscope.draw.paper import Paper

WATCHED = "loss_nonfinite_step"  # in `Run.loop` of a run that was watched: None, or the step
UNSEEN = 214  # grey: neither map has it, and a hatch would be louder than the numbers
EDGE, BEYOND = 0.06, 0.2  # how strongly the edge of the healthy band is coloured, and what lies just beyond it
WIDE, NAMES, GAP = 3.0, 1.35, 0.75  # inches: a map, its layers' names, the room on its right for the scale
ROW, TALLEST = 0.15, 4.2  # inches: a layer's row at most, a map


@dataclass(frozen=True)
class Measure:
    """What is measured of a layer: on which scale it is drawn, and between which numbers it is healthy."""

    key: str  # in `Run.health`
    name: str
    meaning: str
    low: float
    high: float
    log: bool = False
    healthy: tuple[float, float] | None = None
    share: bool = False  # written as per cent


MEASURES: tuple[Measure, ...] = (
    Measure("update_ratio", "update ratio", "size of one step against the size of the weights, ‖Δw‖/‖w‖", 1e-6, 1.0, True,
            (1e-4, 1e-2)),
    Measure("gradient_std", "gradient", "spread of ∂L/∂(output of the layer): standard deviation", 1e-10, 1e2, True),
    Measure("dead", "dead units", "share of units that are zero for every example", 0, 1, False, (0, 0.1), True),
    Measure("saturated", "saturated", "share of outputs where the activation function is flat", 0, 1, False, (0, 0.3), True),
    Measure("activation_std", "activation spread", "standard deviation of the layer's outputs", 1e-4, 1e4, True, (0.1, 10)),
    Measure("zeros", "zeros", "share of outputs that are exactly zero", 0, 1, False, (0, 0.9), True),
)  # fmt: skip


def looked(run: Run) -> NDArray[np.bool_]:
    """At which steps was anything looked at? A watch looks at some only, and leaves NaN in the others; others record all."""
    length = max((len(v) for v in run.steps.values()), default=0)
    if WATCHED not in run.loop:
        return np.ones(length, bool)
    told = [np.asarray(v) for k, v in run.steps.items() if k not in ("step", "epoch", "rate") and len(v) == length]
    some = np.zeros(length, bool)
    for values in told:
        some |= ~np.isnan(values.astype(np.float64)) if values.dtype.kind in "biuf" else True
    at = np.asarray(run.steps.get("step", np.arange(length)))
    return some | (at == broken(run))


def broken(run: Run) -> int | None:
    """The first step whose loss was not finite. A watch says it itself: its NaN means "not looked at"."""
    if WATCHED in run.loop:
        return run.loop[WATCHED]
    loss = np.asarray(run.steps.get("loss", ()), np.float64)
    first = np.flatnonzero(~np.isfinite(loss))
    return int(np.asarray(run.steps.get("step", np.arange(len(loss))))[first[0]]) if len(first) else None


def position(measure: Measure, values: Any) -> NDArray[Any]:
    """0 at the low end of the scale, 1 at the high end; NaN stays NaN.

    >>> position(MEASURES[0], [1e-6, 1e-3, 5.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    v = np.asarray(values, np.float64)
    ends = np.array([measure.low, measure.high])
    if measure.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            v, ends = np.log10(np.where(v < 0, np.nan, v)), np.log10(ends)
    return np.clip((v - ends[0]) / (ends[1] - ends[0]), 0, 1)


def tone(measure: Measure, values: Any) -> NDArray[Any]:
    """How far a number is from healthy, −1 … 1; on a scale without a band its position. NaN: not seen.

    >>> tone(MEASURES[2], [0.0, 0.1, 1.0]).tolist()
    [0.0, 0.06, 1.0]
    """
    p = position(measure, values)
    if measure.healthy is None:
        return p
    low, high = (float(x) for x in position(measure, measure.healthy))
    one_sided = low == 0.0
    within = EDGE * ((p - low) if one_sided else 2 * p - low - high) / (high - low)
    above = BEYOND + (1 - BEYOND) * (p - high) / (1 - high)
    below = within if one_sided else -BEYOND - (1 - BEYOND) * (low - p) / low
    return np.where(p > high, above, np.where(p < low, below, within))


def measured(run: Run) -> list[Measure]:
    """The measures of which the run holds at least one number."""
    return [m for m in MEASURES if m.key in run.health and np.size(run.health[m.key])
            and not np.isnan(np.asarray(run.health[m.key], np.float64)).all()]


def written(measure: Measure, value: float) -> str:
    """A number in the words of its measure: '12 %', '0.0031'."""
    if np.isnan(value):
        return "–"
    return f"{100 * value:.3g} %" if measure.share else words.value(float(value))


def lines(run: Run) -> list[str]:
    """One line a measure: the smallest and the largest at the last step at which it was seen, and in which layers."""
    said: list[str] = []
    for measure in measured(run):
        values = np.asarray(run.health[measure.key], np.float64)
        last = int(np.flatnonzero(~np.isnan(values).all(axis=0))[-1])
        column = values[:, last]
        low, high = int(np.nanargmin(column)), int(np.nanargmax(column))
        band = "" if measure.healthy is None else f"; healthy: {_band(measure)}"
        ends = " … ".join(f"{written(measure, column[i])} ({run.layers[i]})" for i in (low, high))
        said.append(f"{measure.name} at step {run.health['step'][last]}: {ends}{band}")
    return said


def _band(measure: Measure) -> str:
    low, high = measure.healthy or (measure.low, measure.high)
    top = written(measure, high)
    return f"at most {top}" if low == measure.low else f"{written(measure, low)} … {top}"


def size(run: Run) -> tuple[float, float]:
    """Width and height in inches of all maps, two beside one another; (0, 0) where no layer was watched."""
    count = len(measured(run))
    return (min(count, 2) * (NAMES + WIDE + GAP), -(-count // 2) * (_tall(run) + 0.95) + 0.2) if count else (0.0, 0.0)


def _tall(run: Run) -> float:
    return min(max(len(run.layers), 1) * ROW, TALLEST)


def paint(paper: Paper, run: Run, top: float) -> None:
    """All maps, from `top` inches downwards."""
    from convscope.draw.paper import FAINT

    if measured(run):
        said = "health of the layers; green bar: healthy; grey: not seen, or not measured there"
        paper.text(NAMES, top + 0.02, said, size=7, colour=FAINT)
    for i, measure in enumerate(measured(run)):
        x, y = (i % 2) * (NAMES + WIDE + GAP) + NAMES, top + (i // 2) * (_tall(run) + 0.95) + 0.55
        _map(paper, run, measure, x, y)


def _map(paper: Paper, run: Run, measure: Measure, x: float, y: float) -> None:
    from convscope.draw.paper import FAINT, fitted

    values, tall = np.asarray(run.health[measure.key], np.float64), _tall(run)
    steps = np.asarray(run.health["step"])
    paper.text(x, y - 0.24, measure.name, size=8, weight="bold")
    paper.text(x, y - 0.1, fitted(measure.meaning, WIDE + GAP, 6.5), size=6.5, colour=FAINT)
    ax = paper.axes(x, y, WIDE, tall)
    ax.imshow(_coloured(measure, tone(measure, values)), aspect="auto", interpolation="nearest")
    for spine in ax.spines.values():
        spine.set_visible(True)
    shown = np.unique(np.linspace(0, len(steps) - 1, min(5, len(steps))).round().astype(int))
    ax.set_xticks(shown, [f"{steps[i]:,}" for i in shown])
    ax.set_xlabel("training step", fontsize=7, color=FAINT)
    every = int(np.ceil(0.11 * len(run.layers) / tall))  # names that do not fit are left out, the first one never
    for row in range(0, len(run.layers), every):
        paper.text(x - 0.06, y + tall * (row + 0.5) / len(run.layers), fitted(run.layers[row], NAMES - 0.1, 6.5), size=6.5,
                   ha="right")
    _scale(paper, measure, x + WIDE + 0.1, y, min(tall, 1.6))


def _scale(paper: Paper, measure: Measure, x: float, y: float, height: float) -> None:
    """The colours of all numbers from low to high, upright, the healthy band marked beside them."""
    at = np.linspace(1, 0, 200)
    ends = np.log10([measure.low, measure.high]) if measure.log else np.array([measure.low, measure.high])
    numbers = ends[0] + at * (ends[1] - ends[0])
    ax = paper.axes(x, y, 0.1, height)
    ax.imshow(_coloured(measure, tone(measure, 10**numbers if measure.log else numbers)[:, None]), aspect="auto",
              extent=(0, 1, 0, 1))
    marks = sorted({measure.low, measure.high, *(measure.healthy or ())})
    where = position(measure, marks)
    ax.yaxis.tick_right()
    ax.set_yticks(where, [written(measure, m) for m in marks], fontsize=6)
    for spine in ax.spines.values():
        spine.set_visible(True)
    if measure.healthy is not None:
        low, high = position(measure, measure.healthy)
        ax.plot([-0.45, -0.45], [low, high], color="#2e8b57", linewidth=1.6, clip_on=False)


def _coloured(measure: Measure, tones: NDArray[Any]) -> NDArray[np.uint8]:
    seen = ~np.isnan(tones)
    rgb = colours.diverging(np.where(seen, tones, 0.0), 1.0) if measure.healthy else colours.sequential(
        np.where(seen, tones, 0.0), 0.0, 1.0)
    return np.where(seen[..., None], rgb, np.uint8(UNSEEN))
