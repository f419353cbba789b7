"""Many maps of one image: a tile a method and target, each with its scale, its numbers and its promise; the image first.

One column of tiles a target; of two targets the difference of their maps is drawn beside them. Red raises the target, blue
lowers it. Maps of one method share a scale, so that targets can be compared; with `scale='shared'` so do all maps of one
unit. (Methods that measure in units of the score may still differ by a factor of ten thousand: CAM gives a mean over
positions, LRP a share of each pixel.) A method that does not apply is listed below with its reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope import store
from convscope.draw import colours, promises, raster, words
from convscope.draw.heatmap import COVERAGE
from convscope.draw.listing import Column, Listing
from convscope.errors import UsageError
from convscope.results import Heatmap, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convscope.draw.paper import Paper

ACROSS = 6  # tiles side by side
TILE, LINE = 1.75, 0.135  # inches: a tile, a line of words below it
SMALL = 48  # of images with fewer pixels across, colour over brightness cannot be read: the map alone is drawn
BAD = "#b3261e"
CELL = 44  # characters of a promise in a row; the whole sentence stands below
PICTURES, TABLES = (".png", ".svg", ".pdf", ".html", ".txt"), (".npz", ".csv", ".json")
COLUMNS = (
    Column("method"),
    Column("target", rank=1, meaning="what the image was asked about"),
    Column("score", right=True, rank=3, meaning="the target's value"),
    Column("scale ±", right=True, rank=4, meaning="where the colours of its tile end"),
    Column("unit", rank=5),
    Column("seconds", right=True, rank=2),
    Column("promise", meaning="does the map keep what its method promises?"),
)


@dataclasses.dataclass(frozen=True)
class Group:
    """The maps of one method, one a target, and their difference if there are two."""

    method: str
    maps: tuple[Heatmap, ...]
    limits: tuple[float, ...]  # one a map: where its colours end


def groups(maps: Sequence[Heatmap], scale: str = "each") -> list[Group]:
    """The maps that have numbers, by method, each with the end of its scale. Errors: UsageError."""
    if not maps:
        raise UsageError("a sheet needs maps", "there is none", "ask at least one method")
    if scale not in ("each", "shared"):
        raise UsageError("the scale of a sheet is 'each' or 'shared'", f"got {scale!r}", "'shared': one for all of a unit")
    first = maps[0].images
    if any(len(m.images) != 1 or m.images.shape != first.shape or (m.images != first).any() for m in maps):
        raise UsageError("the maps of a sheet are of one image", "these are of several",
                         "draw each image's maps by themselves")
    by_method: dict[str, list[Heatmap]] = {}
    for one in maps:
        if promises.NONE not in one.proof:
            by_method.setdefault(one.origin.method, []).append(one)
    several = {method: (*own, difference(*own)) if len(own) == 2 else tuple(own) for method, own in by_method.items()}
    widest: dict[str, float] = {}
    for one in (one for own in several.values() for one in own):
        widest[one.unit] = max(widest.get(one.unit, 0.0), colours.limit(one.map, COVERAGE))
    found: list[Group] = []
    for method, own in several.items():
        end = max(colours.limit(one.map, COVERAGE) for one in own)
        found.append(Group(method, own, tuple(widest[one.unit] if scale == "shared" else end for one in own)))
    return found


def difference(a: Heatmap, b: Heatmap) -> Heatmap:
    """What speaks for the first target rather than the second: the difference of the two maps, pixel by pixel."""
    return dataclasses.replace(a, values=a.map[:, None] - b.map[:, None], scores=a.scores - b.scores, proof={}, notes=(),
                               targets=tuple(f"{s} − {t}" for s, t in zip(a.targets, b.targets, strict=True)), seconds=None)


def figure(maps: Sequence[Heatmap], scale: str = "each") -> Figure:
    """All maps as tiles; the image first."""
    from convscope.draw.paper import Paper

    found = groups(maps, scale)
    height, width = maps[0].images.shape[1:3]
    wide, high = (TILE, TILE * height / width) if width >= height else (TILE * width / height, TILE)
    each = max((len(g.maps) for g in found), default=1)
    side = max(1, (ACROSS - (each == 1)) // each)  # groups side by side
    first = 1 if each == 1 else 0  # the image has a tile of its own, or a column
    step, group, left = TILE + 0.2, each * (TILE + 0.2) + 0.2, 0.0 if each == 1 else TILE + 0.35
    tall = high + 0.16 + LINE * (5 if each == 1 else 6)
    rows = max(1, -(-(len(found) + first) // side))
    paper = Paper.of(left + side * group - 0.4, rows * tall, head(maps), _scale_words(found, scale),
                     [*absent(maps), *_remarks(maps)])
    _frame(paper.picture(maps[0].images[0], 0, 0, wide, high))
    paper.text(0, high + 0.12, "the image", size=8, weight="bold")
    for n, one in enumerate(found, start=first):
        for i in range(len(one.maps)):
            x, y = left + n % side * group + i * step, n // side * tall
            _frame(paper.picture(_coloured(one.maps[i], one.limits[i]), x, y, wide, high))
            _label(paper, one, i, (x, y + high + 0.12), each > 1)
    return paper.figure


def _label(paper: Paper, group: Group, i: int, at: tuple[float, float], several: bool) -> None:
    """The words below a tile: method, target, scale, promise."""
    from convscope.draw.paper import FAINT, INK, fitted

    one, limit = group.maps[i], group.limits[i]
    lines = [(name(one) if i == 0 else "", INK)]
    if several:
        asked = one.targets[0] if one.proof or i < 2 else "difference of the two"
        lines.append((f"{asked}: {words.number(one.scores[0])}", INK))
    lines.append((f"±{limit:.3g} {one.unit}", FAINT))
    if one.proof:
        told = promises.verdict(one)
        said = {promises.KEPT: f"✓ {told.why}", promises.FAILS: f"promise fails: {told.why}"}.get(told.state, str(told))
        colour = BAD if told.state in (promises.FAILS, promises.UNSURE) else FAINT
        lines += [(part, colour) for part in _folded(said, TILE + 0.1, 2)]
    for k, (text, colour) in enumerate(lines):
        size, weight = (8.0, "bold") if k == 0 else (6.5, "normal")
        paper.text(at[0], at[1] + LINE * k, fitted(text, TILE + 0.12, size), size=size, weight=weight, colour=colour)


def renderable(maps: Sequence[Heatmap], scale: str = "each") -> Listing:
    """A table of methods: what was asked, the scale, the seconds, and what became of the promise."""
    ends = {id(one): limit for g in groups(maps, scale) for one, limit in zip(g.maps, g.limits, strict=True)}
    told = [promises.verdict(m) for m in maps]
    several = len({m.targets for m in maps}) > 1
    rows = [(name(m), words.clean(m.targets[0]), words.number(m.scores[0]),
             words.number(ends[id(m)], 3) if id(m) in ends else "–", words.clean(m.unit),
             "–" if m.seconds is None else f"{m.seconds:.2f}", _cut(str(v))) for m, v in zip(maps, told, strict=True)]
    kept = [c for c, column in enumerate(COLUMNS) if several or column.name not in ("target", "score")]
    long = [f"{name(m)}: {v}" for m, v in zip(maps, told, strict=True) if len(str(v)) > CELL and v.state != promises.KEPT]
    return Listing(head(maps), tuple(COLUMNS[c] for c in kept), [[row[c] for c in kept] for row in rows],
                   notes=(*dict.fromkeys(long), *_remarks(maps)))


def html(maps: Sequence[Heatmap], scale: str = "each") -> str:
    """The tiles as a picture, and the table below."""
    from convscope.draw import paper

    count = len({m.origin.method for m in maps})
    return paper.html(figure(maps, scale), f"maps of {count} methods: {head(maps)}", renderable(maps, scale))


def table(maps: Sequence[Heatmap]) -> Table:
    """All of it as one result: a row a map, the maps (N, H, W) summed over channels; NaN where a method does not apply."""
    groups(maps)
    columns: dict[str, Any] = {
        "method": np.array([name(m) for m in maps]), "settings": np.array([m.origin.method for m in maps]),
        "target": np.array([m.targets[0] for m in maps]), "score": np.array([float(m.scores[0]) for m in maps]),
        "unit": np.array([m.unit for m in maps]),
        "seconds": np.array([np.nan if m.seconds is None else m.seconds for m in maps]),
        "promise": np.array([str(promises.verdict(m)) for m in maps]),
        "proof": np.array([words.pairs(m.proof) for m in maps]),
        "map": np.concatenate([m.map for m in maps]).astype(np.result_type(*(m.map.dtype for m in maps))),
    }
    units = {"score": "the target's value", "map": "summed over input channels, in the unit of its row",
             "promise": "does the map keep what its method promises?"}
    origin = dataclasses.replace(maps[0].origin, method="attribute_all")
    return Table(columns=columns, units=units, title=head(maps), notes=tuple(_remarks(maps)), origin=origin)


def save(maps: Sequence[Heatmap], path: str | Path, scale: str = "each") -> Path:
    """Keep a sheet: as a picture (`.png`, `.svg`, `.pdf`, `.html`), as text, or its table with the maps (`.npz`)."""
    from convscope import draw

    path = keepable(path)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return table(maps).save(path)
    if suffix == ".txt":
        content = draw.printed_text(renderable(maps, scale), 140).encode()
    elif suffix == ".html":
        content = draw.page(head(maps), html(maps, scale))
    else:
        content = draw.printed(figure(maps, scale), suffix[1:])
    with store.atomic(path) as file:
        file.write(content)
    return path


def keepable(path: str | Path) -> Path:
    """The path, if a sheet can be kept there: asked before minutes are spent on maps. Errors: UsageError."""
    path = Path(path)
    if path.suffix.lower() not in PICTURES + TABLES:
        raise UsageError(f"cannot save a sheet as {path.name!r}", f"its suffix is {path.suffix!r}",
                         f"use one of {', '.join(PICTURES + TABLES)}")
    return path


def name(heat: Heatmap) -> str:
    """'grad-cam' of 'GradCAM(layer=None)': the method as the command line spells it.

    >>> from convscope.results import Origin
    >>> name(Heatmap(values=np.ones((1, 1, 1, 1)), images=np.zeros((1, 1, 1, 3), "u1"), targets=("7",), scores=np.ones(1),
    ...              origin=Origin("GradCAM(layer=None)")))
    'grad-cam'
    """
    from convscope import registry

    made = heat.origin.method.split("(")[0]
    known = {n.replace("-", ""): n for n in registry.names("attributions")}
    return known.get(made.lower()) or words.clean(made) or "map"


def head(maps: Sequence[Heatmap]) -> str:
    """'which pixels decided? 281 tabby (score 12.1)'"""
    asked = dict.fromkeys(f"{m.targets[0]} (score {words.number(m.scores[0])})" for m in maps)
    return "which pixels decided? " + " · ".join(words.clean(a) for a in asked)


def absent(maps: Sequence[Heatmap]) -> list[str]:
    """One sentence for each method that does not apply."""
    return list(dict.fromkeys(f"{name(m)} does not apply: {words.clean(m.proof[promises.NONE])}" for m in maps
                              if promises.NONE in m.proof))


def _cut(text: str) -> str:
    return text if len(text) <= CELL else text[: CELL - 1].rstrip() + "…"


def _remarks(maps: Sequence[Heatmap]) -> list[str]:
    """What the methods remark, a line a method; what all of them say, once; and how it was made."""
    with_numbers = [m for m in maps if promises.NONE not in m.proof]
    common = [n for n in (with_numbers[0].notes if with_numbers else ()) if all(n in m.notes for m in with_numbers)]
    common = common if len(with_numbers) > 1 else []
    said = dict.fromkeys(f"{name(m)}: " + "; ".join(words.clean(n) for n in m.notes if n not in common)
                         for m in with_numbers if set(m.notes) - set(common))
    made = dataclasses.replace(maps[0].origin, method="", seed=None)
    return [*said, *map(words.clean, common), words.origin(made)]


def _scale_words(found: Sequence[Group], scale: str) -> str:
    over = f"colours end at the {COVERAGE:.1%} quantile of |map|; red raises the target, blue lowers it"
    if scale == "shared":
        return f"one scale for all maps of a unit; {over}"
    several = any(len(g.maps) > 1 for g in found)
    return f"each method has a scale of its own, written below its map{', one for its targets' if several else ''}; {over}"


def _coloured(one: Heatmap, limit: float) -> colours.RGB:
    if min(one.images.shape[1:3]) < SMALL:
        return colours.diverging(one.map[0], limit)
    return raster.heat_over(one.images[0], one.map[0], limit)


def _folded(text: str, width: float, most: int) -> list[str]:
    import textwrap

    lines = textwrap.wrap(words.clean(text), max(int(width / (6.5 * 0.0083)), 12))
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]


def _frame(ax: Any) -> None:
    for spine in ax.spines.values():
        spine.set_visible(True)
