"""What every PyTorch program did in our hands: its symptom and its figures, measured with seed 1 on one core.

`acc` is the accuracy on the training rows in evaluation mode, `R2` the explained share of the targets' variance, `held` the
same on held-out rows, `fixed` the repaired twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.doctor_cases import case

MEASURED: dict[str, tuple[str, str]] = {}


def program(
    id: str, fault: str, words: str, *, also: tuple[str, ...] = (), framework: str = "PyTorch"
) -> Callable[[Any], Any]:
    """Registers a case with its measured symptom, and `words` followed by its figures as what is said about it."""
    symptom, figures = MEASURED.get(id, ("unknown", ""))
    about = f"{words}; {figures}" if figures else words
    return case(id, fault, also=also, framework=framework, symptom=symptom, about=about)
