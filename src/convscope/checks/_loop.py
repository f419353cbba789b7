"""What the checks of a watched loop share: facts by name, and how many windows they rest on."""

from __future__ import annotations

import math
from typing import Any

from convscope.diagnosing.evidence import Evidence


class Loop:
    """`Run.loop`, read safely: what was not seen is 0, NaN or empty."""

    def __init__(self, evidence: Evidence) -> None:
        self.facts: dict[str, Any] = {} if evidence.run is None else evidence.run.loop

    def count(self, name: str) -> int:
        value = self.facts.get(name)
        return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0

    def number(self, name: str) -> float:
        value = self.facts.get(name)
        return float(value) if isinstance(value, (int, float)) else math.nan

    def names(self, name: str) -> tuple[str, ...]:
        value = self.facts.get(name)
        return tuple(value) if isinstance(value, (list, tuple, dict)) else ()

    def said(self, *names: str) -> dict[str, float | str]:
        """Evidence: these facts, in words."""
        return {name.replace("_", " "): v if isinstance(v := self.facts.get(name, "not seen"), (int, float, str)) else str(v)
                for name in names}  # fmt: skip

    @property
    def watched(self) -> bool:
        return bool(self.facts)


def some(names: tuple[str, ...], most: int = 4) -> str:
    """The first few, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
