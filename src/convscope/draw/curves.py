"""The proof of a finding as two curves on the same axes: the untouched control against the remedy, a thin line a seed.

A number that is not finite breaks its line; where a mean has no finite number in any seed it ends, and the words say at
which step. Losses that span more than a factor of SPAN, all above zero, stand on a logarithmic axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convscope.draw import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPAN = 30.0
COLOURS = {"control": "#c2571a", "remedy": "#2d6cb5"}  # orange and blue stay apart for colour-blind readers
PLAIN = "#808080"
POINTS = 400  # of a line in HTML; more are averaged in groups

Arms = dict[str, NDArray[Any]]  # 'control', 'remedy' -> (seeds, steps)


def grouped(curves: Mapping[str, Any]) -> dict[str, Arms]:
    """{'O2 control': …, 'O2 remedy': …} -> {'O2': {'control': …, 'remedy': …}}, each (seeds, steps).

    >>> {k: list(v) for k, v in grouped({"O2 control": [1.0], "O2 remedy": [[1.0]]}).items()}
    {'O2': ['control', 'remedy']}
    """
    found: dict[str, Arms] = {}
    for name, values in curves.items():
        of, _, arm = name.rpartition(" ")
        found.setdefault(of, {})[arm] = np.atleast_2d(np.asarray(values, np.float64))
    return found


def mean(losses: NDArray[Any]) -> NDArray[Any]:
    """The mean over the seeds, of those that are finite at a step; NaN where none is."""
    finite = np.isfinite(losses)
    count = finite.sum(axis=0)
    total = np.where(finite, losses, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def logarithmic(arms: Arms) -> bool:
    """All finite losses above zero, and far apart?"""
    every = np.concatenate([a[np.isfinite(a)] for a in arms.values()]) if arms else np.zeros(0)
    return bool(every.size and every.min() > 0 and every.max() > SPAN * every.min())


def sentence(arms: Arms) -> str:
    """Where the curves end, in words: 'control 2.30, remedy 0.12 after 100 steps (3 seeds)'."""
    said: list[str] = []
    for arm, losses in arms.items():
        broken = [int(np.argmin(np.isfinite(one))) for one in losses if not np.isfinite(one).all()]
        if not losses.shape[1]:
            said.append(f"{arm}: no step")
        elif broken:
            said.append(f"{arm} ended or not finite from step {min(broken) + 1} in {len(broken)} of {len(losses)} seeds")
        else:
            said.append(f"{arm} {words.value(float(losses[:, -1].mean()))}")
    steps = max((a.shape[1] for a in arms.values()), default=0)
    seeds = max((a.shape[0] for a in arms.values()), default=0)
    return f"loss: {', '.join(said)}; after {words.plural(steps, 'step')}, {words.plural(seeds, 'seed')}"


def paint(ax: Axes, arms: Arms) -> None:
    """Both arms on matplotlib axes: thin lines, a thick mean, each named where it ends."""
    from convscope.draw.paper import graph_axes

    graph_axes(ax, "training step", "loss", counted=True)
    ends: dict[str, float] = {}
    for arm, losses in arms.items():
        colour, at, middle = COLOURS.get(arm, PLAIN), np.arange(1, losses.shape[1] + 1), mean(losses)
        for one in losses:
            ax.plot(at, np.where(np.isfinite(one), one, np.nan), color=colour, linewidth=0.6, alpha=0.45)
        ax.plot(at, middle, color=colour, linewidth=1.8)
        if np.isfinite(middle).any():
            ends[arm] = float(middle[np.isfinite(middle)][-1])
    if logarithmic(arms):
        ax.set_yscale("log")
    ax.margins(x=0.02)
    low, high = ax.get_ylim()
    scale = np.log if ax.get_yscale() == "log" else np.asarray
    lo, hi = float(scale(low)), float(scale(high))
    places = _apart({arm: (float(scale(v)) - lo) / (hi - lo or 1) for arm, v in ends.items()}, 0.09)
    for arm, place in places.items():
        ax.text(1.02, place, arm, transform=ax.transAxes, fontsize=7.5, color=COLOURS.get(arm, PLAIN), va="center",
                weight="bold", parse_math=False)


def _apart(places: dict[str, float], least: float) -> dict[str, float]:
    """Labels moved so that none lies on another: upwards from the lowest, then back below the top."""
    order = sorted(places, key=lambda name: places[name])
    moved: dict[str, float] = {}
    for i, name in enumerate(order):
        moved[name] = max(places[name], moved[order[i - 1]] + least) if i else places[name]
    for i in range(len(order) - 1, -1, -1):
        ceiling = 1.0 if i == len(order) - 1 else moved[order[i + 1]] - least
        moved[order[i]] = min(moved[order[i]], ceiling)
    return moved


def svg(name: str, arms: Arms) -> str:
    """The same as inline SVG, readable on a light and on a dark ground; no matplotlib is loaded."""
    wide, high, left, right, top, bottom = 460, 190, 52, 66, 8, 30
    log = logarithmic(arms)
    short = {arm: _thinned(losses) for arm, losses in arms.items()}
    every = [a[np.isfinite(a)] for a in short.values() if np.isfinite(a).any()]
    values = np.concatenate(every) if every else np.array([0.0, 1.0])
    read = np.log10 if log else np.asarray
    low, high_value = float(read(values.min() if log else min(values.min(), 0.0))), float(read(values.max()))
    high_value = high_value if high_value > low else low + 1

    def y(v: Any) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return top + (high - top - bottom) * (1 - (read(v) - low) / (high_value - low))

    steps = max((a.shape[1] for a in arms.values()), default=1)
    drawn = [_line(f"{'mean ' if thick else ''}{arm}", line, arm, (left, wide - right), y, thick)
             for arm, losses in short.items() for thick, group in ((False, losses), (True, mean(losses)[None]))
             for line in group]
    ends = {arm: m[np.isfinite(m)][-1] for arm, losses in short.items() if np.isfinite(m := mean(losses)).any()}
    places = _apart({arm: -float(y(v)) / high for arm, v in ends.items()}, 0.09) if ends else {}
    labels = [f'<text x="{wide - right + 6}" y="{-p * high + 4:.1f}" fill="{COLOURS.get(arm, PLAIN)}" font-weight="700">'
              f"{escape(words.clean(arm))}</text>" for arm, p in places.items()]
    ticks = [f'<line x1="{left}" x2="{wide - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="currentColor" opacity=".15"/>'
             f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end" opacity=".7" fill="currentColor">{said}</text>'
             for at, said in _ticks(low, high_value, log, y)]
    axis = (f'<text x="{left}" y="{high - 8}" opacity=".7" fill="currentColor">step 1</text>'
            f'<text x="{wide - right}" y="{high - 8}" text-anchor="end" opacity=".7" fill="currentColor">{steps:,}</text>')
    label = escape(words.clean(f"{name} {sentence(arms)}".strip()), quote=True)
    return (f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{label}" font-size="11" '
            f'style="width: 100%; max-width: {wide}px; display: block">{"".join((*ticks, *drawn, *labels))}{axis}</svg>')


def _ticks(low: float, high: float, log: bool, y: Any) -> list[tuple[float, str]]:
    at = np.linspace(low, high, 4)
    numbers = 10**at if log else at
    return [(float(y(v)), words.value(float(f"{v:.2g}"))) for v in numbers]


def _line(title: str, values: NDArray[Any], arm: str, span: tuple[int, int], y: Any, thick: bool) -> str:
    finite = np.isfinite(values)
    if not finite.any():
        return ""
    x = np.linspace(*span, len(values)) if len(values) > 1 else np.array([sum(span) / 2])
    heights = y(np.where(finite, values, 1.0))
    path = "".join(f"{'L' if i and finite[i - 1] else 'M'}{x[i]:.1f} {heights[i]:.1f}" for i in np.flatnonzero(finite))
    style = 'stroke-width="2"' if thick else 'stroke-width=".8" opacity=".5"'
    return (f'<path d="{path}" fill="none" stroke="{COLOURS.get(arm, PLAIN)}" stroke-linecap="round" {style}>'
            f"<title>{escape(words.clean(title))}</title></path>")


def _thinned(losses: NDArray[Any]) -> NDArray[Any]:
    """At most POINTS steps: means of groups, NaN where a group holds a number that is not finite."""
    steps = losses.shape[1]
    if steps <= POINTS:
        return losses
    edges = np.linspace(0, steps, POINTS + 1).astype(int)
    clean = np.where(np.isfinite(losses), losses, np.nan)
    return np.stack([clean[:, a:b].mean(axis=1) for a, b in pairwise(edges)], axis=1)
