"""Findings: what is wrong, the numbers behind it, why, and what mends it; the proof's curves; then what was looked at."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from convscope.draw import curves, table, words
from convscope.draw.listing import Listing
from convscope.results import Finding, Findings, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convscope.draw.paper import Paper

MOST_ROWS = 14  # of what was looked at, in a terminal and in a picture
WIDE = 7.4  # inches across in a figure
STYLES = {"error": "bold red", "advice": "bold yellow", "fine": "bold green", "unknown": "bold magenta"}
# Dark enough on white, light enough on black; the word itself always stands beside the colour.
COLOURS = {"error": "#d0342c", "advice": "#b07800", "fine": "#2e8b57", "unknown": "#8a5cc2"}
PLAIN = "#808080"  # a severity that is none of ours
SIGNS = {"+": ("green", "#2e7d4f"), "-": ("red", "#c0392b")}  # a line of code that comes, that goes: in a terminal, in print
CODE = "\0"  # marks a line that is code; no words of a finding hold it
PANEL = (2.6, 1.5)  # inches of the curves of one proof

STYLE = """<style>
.convscope-findings { line-height: 1.45; max-width: 60em }
.convscope-findings p { margin: .3em 0 }
.convscope-findings p.title { font-weight: 600; font-size: 1.05em }
.convscope-findings article { border-left: 5px solid #808080; padding: .1em 0 .1em .8em; margin: .8em 0 }
.convscope-findings article .severity { font-weight: 700; text-transform: uppercase; font-size: .85em }
.convscope-findings dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em; margin: .2em 0 }
.convscope-findings dt { opacity: .75 }
.convscope-findings dd { margin: 0; overflow-wrap: anywhere }
.convscope-findings pre { margin: 0; white-space: pre-wrap; font-size: .92em }
.convscope-findings ins, .convscope-findings del { display: block; text-decoration: none }
.convscope-findings ins { background: #2e8b5733 }
.convscope-findings del { background: #d0342c2b }
.convscope-findings figure { margin: .6em 0 }
.convscope-findings figcaption { opacity: .75; font-size: .9em }
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
            yield Text("")
            head = (severity, STYLES.get(finding.severity, "bold"))
            yield Text.assemble(head, f"{place(finding)}: {words.clean(finding.symptom)}")
            for name, said in facts(finding):
                yield Padding(Text.assemble((f"{name}: ", "dim"), said), (0, 0, 0, 2))
            if change(finding):
                yield Padding(Text("change:", style="dim"), (0, 0, 0, 2))
            for line in change(finding):
                yield Padding(Text(line, style=SIGNS.get(line[:1], ("", ""))[0]), (0, 0, 0, 4))
        for name, arms in curves.grouped(self.result.curves).items():
            yield Text("")
            yield Text(f"proof of {words.clean(name)}: {curves.sentence(arms)}")
        listing = checked(self.result)
        if listing is not None:
            yield Text("")
            yield _shortened(listing)
        elif notes(self.result):
            yield Text("")
        yield from (Text(note, style="dim") for note in notes(self.result))


def renderable(result: Findings) -> Report:
    return Report(result)


def html(result: Findings) -> str:
    articles = "".join(_article(finding) for finding in result.findings)
    listing = checked(result)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes(result))
    proofs = "".join(f"<figure>{curves.svg(name, arms)}<figcaption>proof of {escape(words.clean(name))}: "
                     f"{escape(curves.sentence(arms))}; thin: one seed, thick: their mean</figcaption></figure>"
                     for name, arms in curves.grouped(result.curves).items())
    return (f'<div class="convscope-findings">{STYLE}<p class="title">{escape(words.clean(result.title or "findings"))}</p>'
            f'<p role="status">{escape(summary(result))}</p>{articles}{proofs}'
            f'{listing.html() if listing else ""}{said}</div>')


def records(result: Findings) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: one row a finding."""
    rows = [[f.severity, f.where, f.symptom, "; ".join(f"{name}={value}" for name, value in f.evidence.items()), f.cause,
             f.remedy, f.proof, f.fault, verdict(f), f.code, f.disproof] for f in result.findings]
    header = ["severity", "where", "symptom", "evidence", "cause", "remedy", "proof"]
    return [*header, "fault", "confirmed", "code", "disproof"], rows


def figure(result: Findings) -> Figure:
    """The findings set in type, each with a bar in the colour of its severity; below them the curves of the proofs."""
    from convscope.draw.paper import Paper

    blocks = [_typed(finding) for finding in result.findings]
    proofs = curves.grouped(result.curves)
    lower = -(-len(proofs) // 2) * (PANEL[1] + 1.2)
    listing = checked(result)
    listing = None if listing is None else _shortened(listing)
    wide, high, left = table.typeset(listing) if listing else (0.0, 0.0, [])
    tall = sum(0.17 * len(lines) + 0.16 for lines in blocks)
    missing = f"left out for width: {', '.join(left)}" if left else ""
    feet = [n for n in (*(listing.notes if listing else ()), missing, *notes(result)) if n]
    paper = Paper.of(max(WIDE, wide), max(tall + lower + high + (0.25 if listing else 0.0), 0.1), result.title or "findings",
                     summary(result), feet)
    top = 0.0
    for finding, lines in zip(result.findings, blocks, strict=True):
        _set(paper, finding, lines, top)
        top += 0.17 * len(lines) + 0.16
    for i, (name, arms) in enumerate(proofs.items()):
        x, y = 0.5 + (i % 2) * (PANEL[0] + 1.2), top + (i // 2) * (PANEL[1] + 1.2) + 0.6
        paper.text(x, y - 0.45, f"proof of {name}; thin: one seed, thick: their mean", size=7.5, weight="bold")
        for row, said in enumerate(textwrap.wrap(curves.sentence(arms), 62)[:2]):
            paper.text(x, y - 0.29 + 0.14 * row, said, size=6.5)
        curves.paint(paper.axes(x, y, *PANEL), arms)
    top += lower
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
    proof = ": ".join(said for said in (verdict(finding), words.clean(finding.proof)) if said)
    parts = (("evidence", words.pairs(finding.evidence)), ("cause", words.clean(finding.cause)),
             ("remedy", words.clean(finding.remedy)), ("proof", proof),
             ("would disprove it", words.clean(finding.disproof)))
    return [(name, said) for name, said in parts if said]


def place(finding: Finding) -> str:
    """' O2 in conv2': the code of the fault and where it is, as far as they are known."""
    fault = f" {words.clean(finding.fault)}" if finding.fault else ""
    return fault + (f" in {words.clean(finding.where)}" if finding.where else "")


def verdict(finding: Finding) -> str:
    """'confirmed', 'not confirmed', or nothing where no experiment was made."""
    return "" if finding.confirmed is None else "confirmed" if finding.confirmed else "not confirmed"


def change(finding: Finding) -> list[str]:
    """The remedy as lines of code, their indents kept; those that begin with '-' go, those with '+' come."""
    return [words.clean(line.replace("\t", "    ")).rstrip() for line in finding.code.strip("\n").splitlines()]


def _shortened(listing: Listing) -> Listing:
    """A terminal and a picture show the first rows; the other faces show all."""
    if len(listing.rows) <= MOST_ROWS:
        return listing
    note = f"{len(listing.rows) - MOST_ROWS} more rows; .html and .json hold all"
    return replace(listing, rows=listing.rows[:MOST_ROWS], notes=(note, *listing.notes))


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
    where = (f" <code>{escape(words.clean(finding.fault))}</code>" if finding.fault else "") + where
    rows = "".join(f"<dt>{name}</dt><dd>{escape(said)}</dd>" for name, said in facts(finding))
    if change(finding):
        rows += f"<dt>change</dt><dd><pre>{''.join(_marked(line) for line in change(finding))}</pre></dd>"
    severity = escape(words.clean(finding.severity))
    return (f'<article style="border-left-color: {colour}"><p>'
            f'<span class="severity" style="color: {colour}">{severity}</span>'
            f'{where}: {escape(words.clean(finding.symptom))}</p>{f"<dl>{rows}</dl>" if rows else ""}</article>')


def _marked(line: str) -> str:
    """A line of a change: what goes and what comes is marked by its sign and its ground."""
    tag = {"+": "ins", "-": "del"}.get(line[:1])
    return f"<{tag}>{escape(line)}</{tag}>" if tag else f"{escape(line)}\n"


def _typed(finding: Finding) -> list[str]:
    """A finding as folded lines; the first begins with the severity, those of code with CODE."""
    said = [f"{words.clean(finding.severity).upper()}{place(finding)}: {words.clean(finding.symptom)}"]
    said += [f"{name}: {text}" for name, text in facts(finding)]
    lines = [line for one in said for line in textwrap.wrap(one, 112, subsequent_indent="    ")]
    lines += ["change:"] if change(finding) else []
    code = [part for line in change(finding) for part in textwrap.wrap(line, 96, drop_whitespace=False) or [""]]
    return lines + [CODE + part for part in code]


def _set(paper: Paper, finding: Finding, lines: list[str], top: float) -> None:
    colour = COLOURS.get(finding.severity, PLAIN)
    bar = paper.axes(0, top, 0.04, 0.17 * len(lines))
    bar.set_facecolor(colour)
    for i, line in enumerate(lines):
        if line.startswith(CODE):
            code = line[len(CODE):]
            paper.text(0.34, top + 0.085 + 0.17 * i, code, size=7, family="monospace",
                       colour=SIGNS.get(code[:1], ("", "#1c1c1c"))[1])
            continue
        indent = len(line) - len(line.lstrip())
        paper.text(0.14 + 0.05 * indent, top + 0.085 + 0.17 * i, line.lstrip(), size=7.5,
                   colour=colour if i == 0 else "#1c1c1c", weight="bold" if i == 0 else "normal")
