"""From what was seen to a `Run`: one value a step, one column of layers a step that was looked at deeply, a row an epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convscope import __version__
from convscope.results import Origin, Run
from convscope.watching import measured
from convscope.watching.names import SATURATING
from convscope.watching.samples import moments

if TYPE_CHECKING:
    from convscope.watching.eye import Eye, Window
    from convscope.watching.tallies import Tallies

HEALTH = ("activation_mean", "activation_std", "zeros", "dead", "saturated", "gradient_std", "weight_norm",
          "weight_gradient_norm", "update_ratio")
FLAT = 0.01  # a derivative below this is saturation


class Record:
    """Rows and columns as they come; `result` puts them together."""

    def __init__(self, model: torch.nn.Module, tallies: Tallies, settings: dict[str, Any], notes: list[str]) -> None:
        self.model, self.tallies, self.settings, self.notes = model, tallies, settings, notes
        self.curves: dict[int, tuple[float, float]] = {}  # step -> loss, norm of the gradient
        self.noted: dict[str, dict[int, float]] = {}
        self.columns: list[tuple[int, dict[str, dict[str, float]]]] = []
        self.layers: dict[str, None] = {}
        self.epochs: list[int] = []  # the step at which each one ended

    def step(self, window: Window, eye: Eye) -> None:
        """A step was taken: one value of each curve; layers if the window was deep."""
        at = self.tallies.taken
        loss = self._loss(window, at)
        self.curves[at] = (loss, window.gradient_norm)
        if window.deep and window.values:
            self._column(window, eye, at)

    def rest(self, window: Window, eye: Eye) -> None:
        """The watch ends in a window that no step has ended: passes without a step."""
        if window.losses:
            self._loss(window, self.tallies.taken)
        if window.deep and window.values and not self.tallies.taken:
            self._column(window, eye, 0)

    def _loss(self, window: Window, at: int) -> float:
        values = [float(loss.float()) / window.scale for loss in window.losses]
        self.tallies.losses += [(at, v) for v in values]
        return float(np.mean(values)) if values else math.nan

    def _column(self, window: Window, eye: Eye, at: int) -> None:
        names, gradients = list(window.values), list(window.gradients)
        numbers = moments(list(window.values.values()))
        slopes = moments(list(window.gradients.values()))
        column: dict[str, dict[str, float]] = {key: {} for key in HEALTH}
        for j, name in enumerate(names):
            column["activation_mean"][name], column["activation_std"][name] = numbers["mean"][j], numbers["std"][j]
            spoken = window.words[name]
            if spoken:
                column["zeros"][name], column["dead"][name] = numbers["zeros"][j], numbers["dead"][j]
            if spoken in SATURATING:
                value = window.values[name].double()
                slope = value * (1 - value) if spoken == "sigmoid" else 1 - value * value
                column["saturated"][name] = float((slope.abs() < FLAT).double().mean())
        for j, name in enumerate(gradients):
            column["gradient_std"][name] = slopes["std"][j] / window.scale
        ids = {path: key for key, (_, path) in eye.names.items()}
        for name in names:
            found = window.parameters.get(ids.get(window.weights[name], 0))
            if found is not None:
                column["weight_norm"][name], column["weight_gradient_norm"][name], column["update_ratio"][name] = found
        for name in names:
            self.layers.setdefault(name)
        self.columns.append((at, column))
        if not self.tallies.nonfinite:
            self._nonfinite(at, names, numbers["mean"], gradients, slopes["mean"])

    def _nonfinite(self, at: int, names: list[str], means: np.ndarray, gradients: list[str], slopes: np.ndarray) -> None:
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
            for key in HEALTH:
                rows = [[c[key].get(name, math.nan) for _, c in self.columns] for name in layers]
                health[key] = np.array(rows, np.float64)
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


def _mean(values: np.ndarray) -> float:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else math.nan
