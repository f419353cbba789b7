"""Programs that were written without a look at how the doctor decides: an honest test of whether it generalises.

Same form as the folder `doctor_cases`, but apart from it: nothing in the doctor may be tuned to what is here. A program is
registered in the same way, with ids such as UNSEEN-torch-autoencoder:

    @case("UNSEEN-torch-autoencoder", "O4", symptom="yes", about="R2 -0.9, with the fix 1.0")
    def autoencoder(seed: int) -> Setup: ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from benchmarks.doctor_cases import SYMPTOMS, Build, Case, Setup

__all__ = ["UNSEEN", "Case", "Setup", "case", "cases"]

UNSEEN: dict[str, Case] = {}


def case(
    id: str, fault: str, *, also: tuple[str, ...] = (), framework: str = "PyTorch", symptom: str = "unknown", about: str = ""
) -> Callable[[Build], Build]:
    """Registers the function below as the unseen case `id`."""
    if symptom not in SYMPTOMS:
        raise ValueError(f"{id}: the symptom {symptom!r} is none of {', '.join(SYMPTOMS)}")
    if id in UNSEEN:
        raise ValueError(f"{id} is there twice")

    def register(build: Build) -> Build:
        UNSEEN[id] = Case(id, fault, also, framework, symptom, build, about)
        return build

    return register


def cases() -> dict[str, Case]:
    """Every unseen case by its id, from every module of this folder but what begins with `_`."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(UNSEEN)
