"""Findings: what is wrong, the numbers behind it, why, and what mends it; then everything that was looked at."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from convscope.draw import table, words
from convscope.draw.listing import Listing
from convscope.results import Finding, Findings, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convscope.draw.paper import Paper

WIDE = 7.4  # inches across in a figure
STYLES = {"error": "bold red", "advice": "bold yellow", "fine": "bold green", "unknown": "bold magenta"}
# Dark enough on white, light enough on black; the word itself always stands beside the colour.
COLOURS = {"error": "#d0342c", "advice": "#b07800", "fine": "#2e8b57", "unknown": "#8a5cc2"}
PLAIN = "#808080"  # a severity that is none of ours

STYLE = """<style>
.convscope-findings { line-height: 1.45; max-width: 60em }
.convscope-findings p { margin: .3em 0 }
.convscope-findings p.title { font-weight: 600; font-size: 1.05em }
.convscope-findings article { border-left: 5px solid #808080; padding: .1em 0 .1em .8em; margin: .8em 0 }
.convscope-findings article .severity { font-weight: 700; text-transform: uppercase; font-size: .85em }
.convscope-findings dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em; margin: .2em 0 }
.convscope-findings dt { opacity: .75 }
.convscope-findings dd { margin: 0; overflow-wrap: anywhere }
</style>"""


@dataclass(frozen=True)
class Report:
    """What `rich` prints: one paragraph a finding, then the listing of what was looked at."""

    result: Findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        yield Text(words.clean(self.result.title or "findings"), style="bold")
        yield Text(summary(self.result))
        for finding in self.result.findings:
            severity = words.clean(finding.severity)
            where = f" in {words.clean(finding.where)}" if finding.where else ""
            yield Text("")
            yield Text.assemble((severity, STYLES.get(finding.severity, "bold")), f"{where}: {words.clean(finding.symptom)}")
            for name, said in facts(finding):
                yield Padding(Text.assemble((f"{name}: ", "dim"), said), (0, 0, 0, 2))
        listing = checked(self.result)
        if listing is not None:
            yield Text("")
            yield listing
        elif notes(self.result):
            yield Text("")
        yield from (Text(note, style="dim") for note in notes(self.result))


def renderable(result: Findings) -> Report:
    return Report(result)


def html(result: Findings) -> str:
    articles = "".join(_article(finding) for finding in result.findings)
    listing = checked(result)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes(result))
    return (f'<div class="convscope-findings">{STYLE}<p class="title">{escape(words.clean(result.title or "findings"))}</p>'
            f'<p role="status">{escape(summary(result))}</p>{articles}{listing.html() if listing else ""}{said}</div>')


def records(result: Findings) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: one row a finding."""
    rows = [[f.severity, f.where, f.symptom, "; ".join(f"{name}={value}" for name, value in f.evidence.items()), f.cause,
             f.remedy, f.proof] for f in result.findings]
    return ["severity", "where", "symptom", "evidence", "cause", "remedy", "proof"], rows


def figure(result: Findings) -> Figure:
    """The findings set in type, each with a bar in the colour of its severity."""
    from convscope.draw.paper import Paper

    blocks = [_typed(finding) for finding in result.findings]
    listing = checked(result)
    wide, high, left = table.typeset(listing) if listing else (0.0, 0.0, [])
    tall = sum(0.17 * len(lines) + 0.16 for lines in blocks)
    missing = f"left out for width: {', '.join(left)}" if left else ""
    feet = [n for n in (*(listing.notes if listing else ()), missing, *notes(result)) if n]
    paper = Paper.of(max(WIDE, wide), max(tall + high + (0.25 if listing else 0.0), 0.1), result.title or "findings",
                     summary(result), feet)
    top = 0.0
    for finding, lines in zip(result.findings, blocks, strict=True):
        _set(paper, finding, lines, top)
        top += 0.17 * len(lines) + 0.16
    if listing:
        paper.text(0, top + 0.08, listing.title, size=7.5, weight="bold")
        table.print_rows(paper, listing, top + 0.2)
    return paper.figure


def summary(result: Findings) -> str:
    """How many findings of which severity; that nothing is wrong is said as calmly.

    >>> summary(Findings(title="", findings=()))
    'nothing found'
    """
    looked = words.plural(len(next(iter(result.checked.values()))), "thing") + " looked at" if result.checked else ""
    counts = Counter(words.clean(finding.severity) for finding in result.findings)
    order = [*(s for s in STYLES if s in counts), *(s for s in counts if s not in STYLES)]
    said = ", ".join(_counted(counts[severity], severity) for severity in order) if order else "nothing found"
    calm = "; nothing is wrong" if order and not counts.keys() - {"fine"} else ""
    return said + calm + (f"; {looked}" if looked else "")


def facts(finding: Finding) -> list[tuple[str, str]]:
    """The named parts of a finding that say something."""
    parts = (("evidence", words.pairs(finding.evidence)), ("cause", words.clean(finding.cause)),
             ("remedy", words.clean(finding.remedy)), ("proof", words.clean(finding.proof)))
    return [(name, said) for name, said in parts if said]


def checked(result: Findings) -> Listing | None:
    """Everything that was looked at, row by row."""
    if not result.checked:
        return None
    return table.renderable(Table(columns=result.checked, units=result.units, title="looked at"))


def notes(result: Findings) -> tuple[str, ...]:
    return tuple(words.clean(note) for note in (*result.notes, words.origin(result.origin)) if note)


def _counted(n: int, severity: str) -> str:
    return words.plural(n, severity) if severity == "error" else f"{n:,} {severity}"


def _article(finding: Finding) -> str:
    colour = COLOURS.get(finding.severity, PLAIN)
    where = f" in <strong>{escape(words.clean(finding.where))}</strong>" if finding.where else ""
    rows = "".join(f"<dt>{name}</dt><dd>{escape(said)}</dd>" for name, said in facts(finding))
    severity = escape(words.clean(finding.severity))
    return (f'<article style="border-left-color: {colour}"><p>'
            f'<span class="severity" style="color: {colour}">{severity}</span>'
            f'{where}: {escape(words.clean(finding.symptom))}</p>{f"<dl>{rows}</dl>" if rows else ""}</article>')


def _typed(finding: Finding) -> list[str]:
    """A finding as folded lines; the first begins with the severity."""
    where = f" in {words.clean(finding.where)}" if finding.where else ""
    said = [f"{words.clean(finding.severity).upper()}{where}: {words.clean(finding.symptom)}"]
    said += [f"{name}: {text}" for name, text in facts(finding)]
    return [line for one in said for line in textwrap.wrap(one, 112, subsequent_indent="    ")]


def _set(paper: Paper, finding: Finding, lines: list[str], top: float) -> None:
    colour = COLOURS.get(finding.severity, PLAIN)
    bar = paper.axes(0, top, 0.04, 0.17 * len(lines))
    bar.set_facecolor(colour)
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        paper.text(0.14 + 0.05 * indent, top + 0.085 + 0.17 * i, line.lstrip(), size=7.5,
                   colour=colour if i == 0 else "#1c1c1c", weight="bold" if i == 0 else "normal")
