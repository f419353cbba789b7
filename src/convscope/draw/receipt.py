"""Receipt: what an edit changed. Before and after side by side, the changes in words, the drift, the layers that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convscope.draw import words
from convscope.draw.listing import Column, Listing
from convscope.results import Receipt, Size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # changed layers in a text, a page or a figure


def renderable(result: Receipt) -> Listing:
    """Before | after, then the layers that differ; the rest in notes."""
    columns = (Column(""), Column("before"), Column("after"), Column("change", rank=1))
    return Listing(f"receipt  {result.title}", columns, _rows(result), notes=_notes(result))


def html(result: Receipt) -> str:
    return renderable(result).html()


def records(result: Receipt) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: all layers that differ."""
    return ["what", "before", "after", "change"], [list(row) for row in _rows(result, most=None)]


def figure(result: Receipt) -> Figure:
    """The rows set in type."""
    from convscope.draw.paper import Paper
    from convscope.draw.table import print_rows, typeset

    listing = renderable(result)
    wide, high, left = typeset(listing)
    notes = (*listing.notes, f"left out for width: {', '.join(left)}" if left else "")
    paper = Paper.of(wide, high, f"receipt: {result.title}", "", [n for n in notes if n])
    print_rows(paper, listing, 0.0)
    return paper.figure


def _rows(result: Receipt, most: int | None = MOST) -> list[tuple[str, ...]]:
    before, after = result.before, result.after
    rows = [
        ("input", _size(before.input), _size(after.input), ""),
        ("output", _size(before.output), _size(after.output), ""),
        *((name, f"{a:,}", f"{b:,}", _share(a, b)) for name, a, b in _counts(before, after)),
    ]
    columns = [[words.clean(str(cell)) for cell in result.rows.get(k, ())] for k in ("layer", "before", "after")]
    changed = [(name, a, b, "") for name, a, b in zip(*columns, strict=True)]
    kept = changed if most is None else changed[:most]
    if len(kept) < len(changed):
        kept.append((f"… {len(changed) - len(kept)} more", "", "", ""))
    return rows + kept


def _counts(before: Size, after: Size) -> tuple[tuple[str, int, int], ...]:
    return (("layers", before.layers, after.layers), ("parameters", before.parameters, after.parameters),
            ("MACs", before.macs, after.macs))


def _share(before: int, after: int) -> str:
    if before == after:
        return "same"
    return f"{(after - before) / before:+.1%}".replace("-", "−") if before else f"+{after:,}"


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size)) or "1"


def _notes(result: Receipt) -> tuple[str, ...]:
    drift = ", ".join(f"{name} {value:.3g}" for name, value in result.drift.items())
    said = (f"drift of the outputs on {result.drift_on}: {drift}" if drift else f"drift not measured: {result.drift_on}")
    return tuple(n for n in (*result.changes, said, *result.notes, words.origin(result.origin)) if n)
