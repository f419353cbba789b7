"""JSON values: what a data file may hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """JSON values: arrays as lists, six significant digits, NaN as null."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (np.generic, Fraction)):
        return plain(value.item() if isinstance(value, np.generic) else float(value))
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
