"""Run: curves of a training record. Loss by step with the epochs' means on it, accuracy by epoch, the health of every layer
as maps (health.py) where it was watched, and the epochs as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.draw import health, words
from convscope.draw.listing import Column, Listing
from convscope.results import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, HELD_OUT = "#2d6cb5", "#c2571a"
MOST = 100  # epochs in a text


def figure(result: Run) -> Figure:
    from convscope.draw.paper import FAINT, Paper, graph_axes

    accuracy = any("accuracy" in name for name in result.epochs)
    panels = 2 if accuracy else 1
    wide, high, gap = 3.4, 2.4, 0.75
    notes = [n for n in (_settings(result), *result.notes, words.origin(result.origin)) if n]
    across, down = health.size(result)
    wide = max(wide, across / panels - gap)
    tall = high + 0.55 + (down + 0.2 if down else 0)
    paper = Paper.of(max(panels * (wide + gap), across), tall, "training", _last(result), notes)
    loss = paper.axes(0.55, 0.2, wide, high)
    graph_axes(loss, "training step" if len(result.steps.get("loss", ())) else "epoch", "loss", counted=True)
    steps = np.asarray(result.steps.get("loss", ()), np.float64)
    at = np.asarray(result.steps.get("step", np.arange(len(steps))), np.float64)
    there = np.isfinite(steps)  # a loss that was looked at now and then is joined over the gaps
    if there.any():
        marker = "o" if there.sum() < min(len(steps), 80) else ""
        loss.plot(at[there], steps[there], color=TRAIN, linewidth=0.7, alpha=0.45, marker=marker, markersize=2)
    if health.broken(result) is not None:
        loss.axvline(float(health.broken(result) or 0), color="#c0392b", linewidth=0.9, linestyle="--")
        said = f"not finite from step {health.broken(result):,}"
        loss.text(0.99, 0.03, said, transform=loss.transAxes, fontsize=7, color="#c0392b", ha="right", parse_math=False)
    _curve(loss, _epoch_ends(result, at), result.epochs.get("loss"), TRAIN)
    _curve(loss, _epoch_ends(result, at), result.epochs.get("held_out_loss"), HELD_OUT)
    loss.set_ylim(bottom=min(0.0, *_numbers(result)))
    if accuracy:
        ax = paper.axes(0.55 + wide + gap, 0.2, wide, high)
        graph_axes(ax, "epoch", "accuracy, %", counted=True)
        epochs = _epochs(result)
        for name, colour in (("accuracy", TRAIN), ("held_out_accuracy", HELD_OUT)):
            if name in result.epochs:
                _curve(ax, epochs, 100 * np.asarray(result.epochs[name], np.float64), colour)
    held_out = any(name.startswith("held_out") for name in result.epochs)
    for i, (name, colour) in enumerate([("training set", TRAIN)] + [("held out", HELD_OUT)] * held_out):
        paper.text(0.55 + i * 1.1, 0.06, "●", size=7, colour=colour)
        paper.text(0.67 + i * 1.1, 0.06, name, size=7.5, colour=FAINT)
    health.paint(paper, result, high + 0.75)
    return paper.figure


def renderable(result: Run) -> Listing:
    """The epochs, or, where there are none, the last training steps."""
    record, unit = (result.epochs, "epoch") if _length(result.epochs) else (result.steps, "step")
    if record is result.steps and health.WATCHED in result.loop:
        record = {name: np.asarray(values)[health.looked(result)] for name, values in record.items()}
        unit = "watched step"
    n = _length(record)
    columns = tuple(Column(name.replace("_", " "), right=True, rank=i) for i, name in enumerate(record))
    rows = list(zip(*(_cells(name, values[-MOST:]) for name, values in record.items()), strict=True))
    left = f"the last {MOST} of {n:,} {unit}s; .csv, .json and .npz hold all" if n > MOST else ""
    title = f"training  {words.plural(_length(result.epochs), 'epoch')}, {words.plural(_length(result.steps), 'step')}"
    notes = (left, *health.lines(result), _settings(result), *result.notes, words.origin(result.origin))
    return Listing(title, columns, rows, notes=tuple(x for x in notes if x))


def html(result: Run) -> str:
    from convscope.draw import paper

    return paper.html(figure(result), f"training curves: {_last(result)}", renderable(result))


def records(result: Run) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: training steps, epochs, then each layer at each step; the first column says which."""
    health_of = [name for name in result.health if name != "step"]
    layers = ["layer", *health_of] if result.layers else []
    names: list[str] = list(dict.fromkeys([*result.steps, *result.epochs, *(["step"] if layers else []), *layers]))
    rows: list[list[Any]] = []
    for record, of in ((result.steps, "step"), (result.epochs, "epoch")):
        rows += [[of, *(np.asarray(record[name])[r].item() if name in record else "" for name in names)]
                 for r in range(_length(record))]
    for at, layer in enumerate(result.layers):
        for t, step in enumerate(np.asarray(result.health.get("step", ())).tolist()):
            seen: dict[str, Any] = {name: np.asarray(result.health[name])[at, t].item() for name in health_of}
            seen |= {"step": step, "layer": layer}
            rows.append(["layer", *(seen.get(name, "") for name in names)])
    return ["row", *names], rows


def _curve(ax: Axes, x: np.ndarray, y: Any, colour: str) -> None:
    if y is not None and len(y):
        many = len(y) > 40
        ax.plot(x[:len(y)], y, color=colour, linewidth=1.3, marker="" if many else "o", markersize=3.2)


def _epochs(result: Run) -> np.ndarray:
    return np.asarray(result.epochs.get("epoch", np.arange(1, _length(result.epochs) + 1)), np.float64)


def _epoch_ends(result: Run, at: np.ndarray) -> np.ndarray:
    """Where on the axis of steps each epoch ended; the epochs themselves if steps are not recorded by epoch."""
    epochs = _epochs(result)
    of = result.steps.get("epoch")
    if of is None or not len(at):
        return epochs if not len(at) else np.linspace(at[0], at[-1], len(epochs) + 1)[1:]
    ends = [at[np.flatnonzero(np.asarray(of) == e)] for e in epochs]
    return np.array([e[-1] if len(e) else np.nan for e in ends])


def _numbers(result: Run) -> list[float]:
    """Every finite loss, so that a loss below zero is not cut off."""
    found = [np.asarray(v, np.float64) for v in (result.steps.get("loss", ()), result.epochs.get("held_out_loss", ()))]
    return [float(v[np.isfinite(v)].min(initial=0.0)) for v in found]


def _length(record: dict[str, Any]) -> int:
    return len(next(iter(record.values()))) if record else 0


def _cells(name: str, values: Any) -> list[str]:
    if "accuracy" in name:
        return [f"{100 * float(v):.2f} %" if np.isfinite(v) else "–" for v in values]
    numbers = np.asarray(values)
    return words.aligned(numbers) if numbers.dtype.kind in "biuf" else [words.value(v) for v in numbers]


def _last(result: Run) -> str:
    n = _length(result.epochs)
    if not n:
        return words.plural(_length(result.steps), "step")
    last = [f"{name.replace('_', ' ')} {_cells(name, values[-1:])[0]}" for name, values in result.epochs.items()
            if name not in ("epoch", "seconds")]
    return f"after {words.plural(n, 'epoch')}: " + " · ".join(last)


def _settings(result: Run) -> str:
    return words.pairs(result.settings)
