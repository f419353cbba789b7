"""From what was seen to a `Run`: one value a step, one column of layers a step that was looked at deeply, a row an epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from convscope import __version__
from convscope.results import Origin, Run
from convscope.watching import measured
from convscope.watching.names import SATURATING
from convscope.watching.samples import moments

if TYPE_CHECKING:
    from convscope.watching.samples import Rows
    from convscope.watching.tallies import Tallies
    from convscope.watching.window import Window

HEALTH = ("activation_mean", "activation_std", "zeros", "dead", "saturated", "gradient_std", "weight_norm",
          "weight_gradient_norm", "update_ratio")
FLAT = 0.01  # a derivative below this is saturation
TOGETHER, HELD = 16, 250_000  # windows, and values of them, that wait to be worked out together: what a cache holds
Column = dict[str, tuple[tuple[str, ...], np.ndarray]]  # quantity -> layers, their values


class Record:
    """Rows and columns as they come; `result` puts them together."""

    def __init__(self, model: torch.nn.Module, tallies: Tallies, settings: dict[str, Any], notes: list[str]) -> None:
        self.model, self.tallies, self.settings, self.notes = model, tallies, settings, notes
        self.curves: dict[int, tuple[float, float]] = {}  # step -> loss, norm of the gradient
        self.noted: dict[str, dict[int, float]] = {}
        self.columns: list[tuple[int, Column]] = []
        self.waiting: list[tuple[int, Window, Rows | None]] = []  # deep windows whose samples are not worked out yet
        self.held = 0  # values that they hold, about
        self.layers: dict[str, None] = {}
        self.epochs: list[int] = []  # the step at which each one ended

    def step(self, window: Window, rows: Rows | None) -> None:
        """A step was taken; of a deep window, what `rows` says is worked out later, together with others."""
        at = self.tallies.taken
        self.curves[at] = (self._loss(window, at), math.nan)
        if window.deep and rows is not None:
            self._waits(at, window, rows)

    def rest(self, window: Window) -> None:
        """The watch ends in a window that no step has ended: passes without a step."""
        if window.losses:
            self._loss(window, self.tallies.taken)
        if window.deep and window.values and not self.tallies.taken:
            self._waits(0, window, None)
        self.work_out()

    def _loss(self, window: Window, at: int) -> float:
        values = [float(loss.float()) / window.scale for loss in window.losses]
        self.tallies.losses += [(at, v) for v in values]
        return float(np.mean(values)) if values else math.nan

    # --- many windows at once

    def _waits(self, at: int, window: Window, rows: Rows | None) -> None:
        self.waiting.append((at, window, rows))
        self.held += sum(map(Tensor.numel, window.values.values())) * 2 + (0 if rows is None else 4 * int(rows.counts.sum()))
        if len(self.waiting) >= TOGETHER or self.held > HELD:
            self.work_out()

    def work_out(self) -> None:
        """Turn the samples that wait into numbers: one reduction for all windows and layers of a size."""
        waiting, self.waiting, self.held = self.waiting, [], 0
        for rows in {id(r): r for _, _, r in waiting if r is not None}.values():
            measured.steps([w for _, w, r in waiting if r is rows], rows, self.tallies)
        inside = [(name, w) for _, w, _ in waiting for name in w.values]
        numbers = moments([w.values[name] for name, w in inside], [bool(w.words[name]) for name, w in inside])
        backwards = [g for _, w, _ in waiting if w.values for g in w.gradients.values()]
        slopes = moments(backwards, [False] * len(backwards))
        i = j = 0
        for at, window, rows in waiting:
            if rows is not None:
                self.curves[at] = (self.curves[at][0], window.gradient_norm)
            if window.values:
                n, m = i + len(window.values), j + len(window.gradients)
                self._column(window, rows, at, {key: v[i:n] for key, v in numbers.items()},
                             {key: v[j:m] for key, v in slopes.items()})
                i, j = n, m

    def _column(self, window: Window, rows: Rows | None, at: int, numbers: dict[str, np.ndarray],
                slopes: dict[str, np.ndarray]) -> None:
        names, gradients = tuple(window.values), tuple(window.gradients)
        column: Column = {"activation_mean": (names, numbers["mean"]), "activation_std": (names, numbers["std"]),
                          "zeros": (names, numbers["zeros"]), "dead": (names, numbers["dead"]),
                          "gradient_std": (gradients, slopes["std"] / window.scale)}
        saturating = tuple(name for name in names if window.words[name] in SATURATING)
        column["saturated"] = (saturating, np.array([_saturated(window, name) for name in saturating]))
        if rows is not None and window.norms is not None:
            using = [(name, rows.index[key]) for name, key in window.weights.items() if key in rows.index]
            found = tuple(name for name, _ in using)
            where = np.array([k for _, k in using], np.int64)
            for key, norms in zip(("weight_norm", "weight_gradient_norm", "update_ratio"), window.norms, strict=True):
                column[key] = (found, norms[where])
        for name in names:
            self.layers.setdefault(name)
        self.columns.append((at, column))
        if not self.tallies.nonfinite:
            self._nonfinite(at, names, numbers["mean"], gradients, slopes["mean"])

    def _nonfinite(self, at: int, names: tuple[str, ...], means: np.ndarray, gradients: tuple[str, ...],
                   slopes: np.ndarray) -> None:
        """Where a number first stopped being one: forwards from the input, then backwards from the loss."""
        for what, where, values in (("activation", names, means), ("gradient", gradients, slopes)):
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                self.tallies.nonfinite = {"step": at, "layer": where[bad[0]], "what": what}
                return

    # --- told by the user

    def note(self, values: dict[str, float]) -> None:
        for key, value in values.items():
            self.noted.setdefault(key, {})[max(self.tallies.taken - 1, 0)] = float(value)

    def epoch(self) -> None:
        if not self.epochs or self.epochs[-1] != self.tallies.taken:
            self.epochs.append(self.tallies.taken)

    # --- the result

    def result(self) -> Run:
        """All of it as a Run."""
        self.work_out()
        total = self.tallies.taken
        seen = np.full((total, 2), math.nan)
        for at, pair in self.curves.items():
            seen[at] = pair
        steps: dict[str, Any] = {"step": np.arange(total), "loss": seen[:, 0],
                                 "rate": np.array(self.tallies.rates[:total], np.float64), "grad_norm": seen[:, 1]}
        for key, values in self.noted.items():
            column = steps.setdefault(key, np.full(total, math.nan))
            for at, value in values.items():
                if at < total:
                    column[at] = value
        layers = tuple(self.layers)
        health: dict[str, Any] = {}
        if self.columns:
            health["step"] = np.array([at for at, _ in self.columns], np.int64)
            row = {name: k for k, name in enumerate(layers)}
            for key in HEALTH:
                health[key] = np.full((len(layers), len(self.columns)), math.nan)
                for k, (_, column) in enumerate(self.columns):
                    names, values = column.get(key, ((), ()))
                    health[key][[row[name] for name in names], k] = values
        epochs, per_epoch = self._by_epoch(steps, total)
        more = measured.facts(self.model, self.tallies) | {
            "norm_updates_extra": self._extra(), "epochs": len(epochs.get("epoch", ()))}
        loop = self.tallies.plain(**more)
        loop["steps_per_epoch"] = per_epoch or loop["steps_per_epoch"]
        return Run(origin=Origin("watch", type(self.model).__name__, "", None,
                                 {"convscope": __version__, "torch": str(torch.__version__)}),
                   steps=steps, epochs=epochs, settings=self.settings, notes=self._notes(total), layers=layers,
                   health=health, loop=loop)

    def _by_epoch(self, steps: dict[str, Any], total: int) -> tuple[dict[str, Any], int | None]:
        """Means of the epochs whose ends were told, or that a DataLoader's restarts show."""
        ends = self.epochs or [at for at in self.tallies.restarts if 0 < at < total] + [total] * bool(
            len(self.tallies.restarts) > 1)
        if not ends or not total:
            return {}, None
        begins = [0, *ends[:-1]]
        spans = [(a, b) for a, b in zip(begins, ends, strict=True) if b > a]
        steps["epoch"] = np.searchsorted(np.array([b for _, b in spans]), np.arange(total), side="right")
        epochs: dict[str, Any] = {"epoch": np.arange(len(spans))}
        for key in ["loss", *(k for k in self.noted if k != "loss")]:
            epochs[key] = np.array([_mean(steps[key][a:b]) for a, b in spans])
        return epochs, int(np.median([b - a for a, b in spans]))

    def _extra(self) -> int:
        """Training passes through batch norm beyond the usual number before a step."""
        updates = np.array(self.tallies.norm_updates, np.int64)
        return int(np.maximum(updates - int(np.median(updates)), 0).sum()) if len(updates) else 0

    def _notes(self, total: int) -> tuple[str, ...]:
        observed, deep = self.tallies.count["observed"], len(self.columns)
        most = self.settings["max_samples"]
        said = [f"looked at {observed} of {total} steps, at the layers of {deep}; loss and grad_norm are NaN at the others",
                f"values from at most about {most} evenly spaced numbers of each tensor; norms scaled up from them"]
        return (*said, *self.notes)


def _saturated(window: Window, name: str) -> float:
    value = window.values[name].double()
    slope = value * (1 - value) if window.words[name] == "sigmoid" else 1 - value * value
    return float((slope.abs() < FLAT).double().mean())


def _mean(values: np.ndarray) -> float:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else math.nan
