"""Measure anybody's training loop: one line around it, plain numbers out of it, and not one bit of the training changed.

    with cs.watch(model, optimizer) as run:
        for x, y in loader:
            optimizer.zero_grad(); loss = f(model(x), y); loss.backward(); optimizer.step()
    run.result()                                   # a Run: curves, layers × time, and what the loop was seen to do

No module is hooked. Within a window (from one optimiser step to the next) that is looked at, a `TorchFunctionMode` sees
every torch function (`watching/eye.py`); between, only the optimiser's own step hooks run. Looked at deeply: the first
4 windows and every 50th (`every`). Passes, modes and losses are counted in all windows where that costs little against the
network's arithmetic, else in those, and where a long pause (validation?) as many steps before made it worth a look.

    update ratio = ‖Δw‖/‖w‖     sign = cos(Δw, ∂L/∂w), −1 goes downhill     (Bottou et al. 2018, "Optimization methods")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.errors import UsageError
from convscope.results import Run
from convscope.watching import measured, places
from convscope.watching.callbacks import KerasCallback, LightningCallback
from convscope.watching.eye import Eye
from convscope.watching.record import Record
from convscope.watching.samples import Rows
from convscope.watching.tallies import Tallies
from convscope.watching.window import Window

__all__ = ["KerasCallback", "LightningCallback", "Watch", "watch"]
FIRST = 4  # windows that are always looked at
AFFORDABLE = 2_500_000  # multiply-accumulates for each torch function called, from which on looking at all of them is cheap
COMPILED = "a part of the model is compiled or scripted: its layers, passes and losses were not seen, only steps and weights"
SMALL, RARELY = 5_000_000, 250  # multiply-accumulates of a forward pass below which only every 250th window is deep
PAUSE = 2.5  # times the usual time between two steps


def watch(model: nn.Module, optimizer: Any = None, *, every: int | None = None, full: bool = False,
          max_samples: int = 2048) -> Watch:
    """What does my training loop do, layer by layer and step by step? `with watch(model, optimizer) as run:` around it.

    `optimizer`: one or a list (None: steps are not seen). `every`: sample values every so many steps (50; 250 where a step
    is so short that this would be felt; `full`: at each);
    `max_samples`: values of one tensor. `run.result()` is a `Run`: `steps` (T: step, loss, rate, grad_norm; NaN where not
    looked at), `health` (L, T), `loop`. `run.note(loss=…, held_out_loss=…)` and `run.epoch()` add what you know.
    Misleads where a part is compiled or scripted: its inside is not seen (`notes` says so). Errors: UsageError.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as run:
    ...     for _ in range(3):
    ...         optimizer.zero_grad(); model(torch.ones(5, 4)).square().mean().backward(); optimizer.step()
    >>> run.result().layers, run.result().loop["backwards"]
    (('0', '0>relu', '2'), 3)
    """
    return Watch(model, optimizer, every=every, full=full, max_samples=max_samples)


class Watch:
    """The time between `with` and its end. Made by `watch`."""

    def __init__(self, model: nn.Module, optimizer: Any = None, *, every: int | None = None, full: bool = False,
                 max_samples: int = 2048) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError("watch needs the model that is trained", f"got {type(model).__name__}",
                             "give a torch.nn.Module")
        if (every is not None and every < 1) or max_samples < 16:
            raise UsageError("every must be at least 1 and max_samples at least 16", f"got {every} and {max_samples}",
                             "leave them out")
        self.model, self.given, self.full, self.most = model, every, full, max_samples
        self.every = 1 if full else every or 50
        self.optimizers = _listed(optimizer)
        self.tallies = Tallies()
        self.tallies.owned = [[p for g in o.param_groups for p in g["params"]] for o in self.optimizers]
        self._rates: list[Callable[[], float]] = [lambda o=o: float(o.param_groups[0]["lr"]) for o in self.optimizers]
        self._forget()
        self.eye = Eye(model, max_samples, self.tallies)
        self.eye.after_backward = self._after_backward
        self.compiled = measured.compiled(model)
        self.record = Record(model, self.tallies, {"every": self.every, "full": full, "max_samples": max_samples,
                                                   "optimizer": ", ".join(type(o).__name__ for o in self.optimizers)},
                             [COMPILED] * self.compiled)
        self.light: bool | None = None  # whether every window is looked at; None: not known yet
        self._due: dict[int, int] = {}  # windows to look at since as many steps before there was a long pause
        self._handles: list[Any] = []
        self._ended = 0.0
        self._usual = 0.0
        self._thread = 0
        self._norms = measured.norms(model)
        self._norm_seen = -1
        self._on = self._there = False
        self._rows = [Rows(owned, self.most) for owned in self.tallies.owned]

    def __enter__(self) -> Watch:
        self._thread = threading.get_ident()
        for k, optimizer in enumerate(self.optimizers):
            self._handles.append(optimizer.register_step_pre_hook(lambda _o, a, kw, k=k: self._before(k, a, kw)))
            self._handles.append(optimizer.register_step_post_hook(lambda _o, _a, _kw, k=k: self._after(k)))
        self._on = True
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop looking; nothing of the watch is left on the model, the optimiser or torch."""
        if not self._on:
            return
        self._on = False
        self.eye.open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        places.remove(self.eye)
        self.record.rest(self.eye.window)

    def result(self) -> Run:
        """The record, so far or of all."""
        return self.record.result()

    def save(self, path: str | Path) -> Path:
        """Keep the record: `.npz`, or `.png`, `.html` …"""
        return self.result().save(path)

    def note(self, **values: float) -> None:
        """Tell what you know at this step: loss=…, accuracy=…, held_out_loss=…"""
        self.record.note(values)

    def epoch(self) -> None:
        """An epoch has ended."""
        self.record.epoch()

    # --- loops whose optimiser is not torch's: told when a step begins and ends

    def own(self, parameters: list[Tensor], rate: Callable[[], float]) -> None:
        """Say what is trained and at which rate, before the watch begins."""
        self.tallies.owned, self._rates = [parameters], [rate]
        self._rows = [Rows(parameters, self.most)]
        self._forget()

    def batch_begins(self) -> None:
        """Forward pass, backward pass and step follow."""
        self._begin()
        if self.eye.window.deep:
            self._old = self._rows[0].values()

    def batch_ends(self) -> None:
        """The step has been taken and its gradients are still there."""
        window = self.eye.window
        self._before(0, (), {})
        if window.deep:
            window.weights_before = self._old
        self._versions = []  # the step was taken before this: samples alone tell what moved
        self._after(0)

    # --- windows

    def _due_now(self) -> tuple[bool, bool]:
        """(looked at, deeply) for the window that begins now."""
        at = self.tallies.taken // len(self.tallies.owned or "1")
        deep = self.full or at < FIRST or at % self.every == 0
        return deep or bool(self.light) or at in self._due, deep

    def _begin(self) -> None:
        self.looked_at, deep = self._due_now()
        if not self.looked_at:
            self._forget()
            self._stand(False)
            return
        if deep and self.tallies.count["deep"] % 16 == 0:
            self.eye.refresh()
        self._seen_idle = self._idle()
        self.eye.begin(Window(deep=deep))
        self._stand(not self.compiled)

    def _stand(self, there: bool) -> None:
        """Put the eye in its place or take it away, on its own thread and where the stack of modes is whole."""
        if there != self._there and self.eye.inside == 0 and threading.get_ident() == self._thread:
            (places.put if there else places.remove)(self.eye)
            self._there = there

    def _forget(self) -> None:
        self.tallies.clean = [False] * len(self.tallies.owned)
        self.tallies.complete = [False] * len(self.tallies.owned)

    def _after_backward(self) -> None:
        if self.eye.window.deep:
            self.eye.window.after_backward = [rows.gradients() for rows in self._rows]

    def _before(self, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The optimiser is about to step."""
        tallies = self.tallies
        tallies.rates.append(self._rates[k]())
        if self._norms is not None:
            self._norm_updates(self._norms._version)
        if not self.looked_at:
            self._pause(time.perf_counter() - self._ended)
            return
        window = self.eye.window
        # args[0] is the optimiser
        self._closure = (kwargs.get("closure") or next((a for a in args[1:] if callable(a)), None)) is not None
        if not self._closure:
            self._stand(False)
            if not self.compiled:
                self._judge_order(k)
        if window.deep:
            window.weights_before, window.gradients_before = self._rows[k].values(), self._rows[k].gradients()
        self._versions = [p._version for p in tallies.owned[k]]

    def _judge_order(self, k: int) -> None:
        """Backward passes against steps; the gradients that this step uses."""
        tallies, window = self.tallies, self.eye.window
        late = window.backwards == 0 or window.waiting > 0
        if late and len(tallies.owned) == 1:
            tallies.count["step_before_backward"] += not self._unseen_backward(k)
        elif window.backwards and not any(p.grad is not None and bool(p.grad.any()) for p in tallies.owned[k]):
            tallies.count["cleared_before_step"] += not window.deep or any(bool(g.any()) for g in window.after_backward)
        tallies.per_step.append(window.backwards)
        if window.backwards:
            tallies.left_over(k)

    def _unseen_backward(self, k: int) -> bool:
        """`torch.autograd.backward` is not seen as a function, but it leaves other gradients than the last step had."""
        now = [(id(p.grad), p.grad._version) for p in self.tallies.owned[k] if p.grad is not None]
        return bool(now) and now != getattr(self, "_last_gradients", None) and self.eye.window.waiting == 0

    def _after(self, k: int) -> None:
        """The optimiser has stepped."""
        if self.looked_at:
            self._seen(k)
        self.tallies.taken += 1
        if self._on and (self.looked_at or self._due_now()[0]):
            self._begin()
            if self.looked_at:
                self.tallies.clean[k], self.tallies.complete[k] = False, True
        self._ended = time.perf_counter()

    def _seen(self, k: int) -> None:
        """A window that was looked at is over."""
        tallies, window = self.tallies, self.eye.window
        if self._closure:
            self._stand(False)
            tallies.per_step.append(window.backwards)
        tallies.count["observed"] += 1
        window.same = self._versions == [p._version for p in tallies.owned[k]]
        if window.deep:
            window.weights_after = self._rows[k].values()
            window.behind = window.after_backward[k] if window.after_backward else None
            measured.presence(window, tallies, tallies.owned[k])
        else:
            tallies.count["steps_without_change"] += window.same
        self._last_gradients = [(id(p.grad), p.grad._version) for p in tallies.owned[k] if p.grad is not None]
        self.record.step(window, self._rows[k])
        tallies.count["deep"] += window.deep
        at = tallies.taken // len(tallies.owned)
        if (again := self._due.pop(at, 0)) and self._seen_idle != self._idle():
            self._due[at + again] = again  # there was indeed more than a training step
        if self.light is None and tallies.count["deep"] >= FIRST and self.eye.heard:
            self.light = self.full or self.eye.work >= AFFORDABLE * self.eye.heard
            if self.given is None and self.eye.work < SMALL * tallies.count["deep"]:
                self.every = self.record.settings["every"] = RARELY
                self.record.notes.append(f"a step is short: the layers were looked at every {RARELY} steps, not every 50")

    def _pause(self, gap: float) -> None:
        """A long pause between steps: perhaps an epoch's end, to look at the next time."""
        if self._usual and gap > PAUSE * self._usual:
            at = self.tallies.taken // len(self.tallies.owned)
            if len(self._due) < 3:
                self._due[2 * at] = at
        else:
            self._usual = 0.9 * self._usual + 0.1 * gap if self._usual else gap

    def _idle(self) -> int:
        """Forward passes that trained nothing."""
        return self.tallies.count["forwards_no_grad"] + self.tallies.count["forwards_unused"]

    def _norm_updates(self, now: int) -> None:
        """Batch norm counts its own training passes: more of them than usual before a step are seen at every step."""
        if self._norm_seen >= 0:
            self.tallies.norm_updates.append(now - self._norm_seen)
        self._norm_seen = now


def _listed(optimizer: Any) -> list[Optimizer]:
    listed = [] if optimizer is None else list(optimizer) if isinstance(optimizer, Iterable) else [optimizer]
    for one in listed:
        if not isinstance(one, Optimizer):
            raise UsageError("watch needs the optimiser that takes the steps", f"got {type(one).__name__}",
                             "give a torch.optim.Optimizer, or a list of them")
    return listed
