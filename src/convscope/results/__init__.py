"""The closed set of results. Frozen, NumPy inside, made by methods, drawn and stored by others.

Every result carries an `Origin` that says how it was made, and the same few doors: `.plot()` (a matplotlib Figure),
`.to_dict()` (plain values; arrays stay arrays), `.to_json()`, `.save(path)`, a text and an HTML face.
Letters for axes: `B` batch, `C` channel, `H W` image, `h w` map, `K` classes, `U` units, `N` examples (docs/notation.md).

base.py    what all share        layers.py  Trace        worked.py  Steps
seen.py    Heatmap, Picture, Table, Cloud                judged.py  Findings, Run, Receipt
"""

from __future__ import annotations

from convscope.results.base import Origin, Result
from convscope.results.judged import Finding, Findings, Receipt, Run, Size
from convscope.results.layers import Gradient, Layer, Trace
from convscope.results.seen import Cloud, Heatmap, Picture, Table
from convscope.results.worked import Grid, Line, Steps, Terms

KINDS: dict[str, type[Result]] = {
    cls.kind: cls for cls in (Trace, Steps, Heatmap, Picture, Table, Cloud, Run, Findings, Receipt)
}

__all__ = ["KINDS", "Cloud", "Finding", "Findings", "Gradient", "Grid", "Heatmap", "Layer", "Line", "Origin", "Picture",
           "Receipt", "Result", "Run", "Size", "Steps", "Table", "Terms", "Trace"]
