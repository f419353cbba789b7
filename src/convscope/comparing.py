"""Maps for the page, as numbers: it colours them itself, so that scales can be switched, maps subtracted, pixels read."""

from __future__ import annotations

from typing import Any

from convscope.draw import colours, promises, sheet
from convscope.draw.heatmap import COVERAGE
from convscope.results import Heatmap


def map_page(heat: Heatmap, name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the page shows of one map of one image; its values (H, W) as little-endian float32 under `name`.f32."""
    told = promises.verdict(heat)
    applies = told.state != promises.NONE
    values = heat.map[0]
    described: dict[str, Any] = {
        "method": sheet.name(heat), "target": heat.targets[0], "score": float(heat.scores[0]), "unit": heat.unit,
        "width": values.shape[1], "height": values.shape[0], "applies": applies,
        "limit": colours.limit(values, COVERAGE), "largest": colours.limit(values), "sum": float(values.sum()),
        "promise": {"state": told.state, "why": told.why}, "proof": dict(heat.proof), "notes": list(heat.notes),
        "settings": heat.origin.method, "seconds": heat.seconds, "values": f"{name}.f32" if applies else None,
    }
    return described, {f"{name}.f32": values.astype("<f4").tobytes()} if applies else {}
