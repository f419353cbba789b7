"""The faulty and the healthy programs on which the training doctor is measured, each a small function from a seed.

A program is registered by `@case(id, fault, ...)` over its `build(seed)`, and its repaired twin by `@build.fixed`:

    @case("SO-1", "O1", also=("D1",), framework="Keras", symptom="yes", about="R2 -0.9, with the fix 1.0")
    def so_1(seed: int) -> Setup: ...

    @so_1.fixed
    def so_1_fixed(seed: int) -> Setup: ...

Nothing here imports the doctor: the cases know what is wrong with them, and the doctor knows nothing of the cases.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

SYMPTOMS = ("yes", "weak", "no", "raised", "unknown")


@dataclass(frozen=True)
class Setup:
    """One training program, ready to run: what the doctor is handed, and what its user would run without it."""

    model: Any  # an nn.Module, or a compiled keras.Model
    train: Any  # (x, y) as NumPy arrays or tensors, or a torch DataLoader
    held_out: Any = None  # the same forms
    loss: Any = None  # callable (output, target) -> scalar; None: the compiled Keras loss
    optimizer: Any = None  # torch.optim.Optimizer over model.parameters(); None: the compiled Keras one
    batch: int = 32
    epochs: int = 20  # so that a run takes 20 s on one core at most
    shuffle: bool = True
    scheduler: Any = None
    metric: Any = None  # the user's own, (outputs, targets) -> float: where it is the fault, or says what is learned
    loop: Callable[[], None] | None = None  # the user's whole loop, where the fault is in it; closes over the objects above


Build = Callable[[int], Setup]


@dataclass(frozen=True)
class Case:
    """One program of the benchmark, and what is known of it; `fault` is '' for a healthy run."""

    id: str
    fault: str
    also: tuple[str, ...]
    framework: str
    symptom: str  # measured here: 'yes', 'weak', 'no', 'raised' or 'unknown'
    build: Build  # everything is drawn from the seed
    about: str = ""
    fixed: Build | None = None  # the same program with the expected fix


class Registered(Protocol):
    """A build function that has been registered, and that takes its repaired twin."""

    def __call__(self, seed: int, /) -> Setup: ...

    def fixed(self, build: Build, /) -> Build:
        """Registers the repaired twin."""
        ...


CASES: dict[str, Case] = {}


def case(
    id: str, fault: str, *, also: tuple[str, ...] = (), framework: str = "PyTorch", symptom: str = "unknown", about: str = ""
) -> Callable[[Build], Registered]:
    """Registers the function below as the case `id`; its `fixed` attribute is a decorator for the repaired twin."""
    if symptom not in SYMPTOMS:
        raise ValueError(f"{id}: the symptom {symptom!r} is none of {', '.join(SYMPTOMS)}")
    if id in CASES:
        raise ValueError(f"{id} is there twice")

    def register(build: Build) -> Any:
        CASES[id] = Case(id, fault, also, framework, symptom, build, about)

        def repaired(twin: Build) -> Build:
            CASES[id] = replace(CASES[id], fixed=twin)
            return twin

        build.fixed = repaired  # type: ignore[attr-defined]
        return build

    return register


def cases() -> dict[str, Case]:
    """Every case by its id, from every module of this folder but the command `measure` and what begins with `_`."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "measure" and not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(CASES)
