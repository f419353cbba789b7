"""The paper that figures are printed on: title, drawing, notes; places are inches from the drawing's top left corner.

Figures are laid out by hand, in inches, so that a figure of two rows and one of eight have the same type, the same gaps and
nothing that overlaps. matplotlib's Figure and Agg canvas are used directly: no pyplot, no window, no global state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convscope.draw.colours import RGB
from convscope.draw.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convscope.draw.listing import Listing

INK, FAINT, LINE, ACCENT = "#1c1c1c", "#5f5f5f", "#b8b8b8", "#2d6cb5"
MARGIN = 0.3  # inches, on all sides


@dataclass
class Paper:
    """A figure and the place on it where the drawing begins: `top` inches below its upper edge."""

    figure: Figure
    top: float

    @classmethod
    def of(cls, width: float, height: float, title: str, below_title: str = "", notes: Iterable[str] = ()) -> Paper:
        """A sheet for a drawing of `width` × `height` inches; title and notes are folded and make it higher as they need."""
        wide = max(width, 3.6)
        heads = _fold(title, wide, 11)
        subs = _fold(below_title, wide, 8)
        feet = [line for note in notes for line in _fold(note, wide, 7)]
        top = MARGIN + 0.21 * len(heads) + 0.15 * len(subs) + (0.1 if heads or subs else 0)
        bottom = MARGIN + (0.14 * len(feet) + 0.12 if feet else 0)
        figure = Figure(figsize=(wide + 2 * MARGIN, top + height + bottom), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        paper = cls(figure, top)
        for i, line in enumerate(heads):
            paper.text(0, MARGIN - top + 0.21 * i + 0.1, line, size=11, weight="bold")
        for i, line in enumerate(subs):
            paper.text(0, MARGIN - top + 0.21 * len(heads) + 0.15 * i + 0.1, line, colour=FAINT)
        for i, line in enumerate(feet):
            paper.text(0, height + 0.2 + 0.14 * i, line, size=7, colour=FAINT)
        return paper

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes with nothing on them, `x`, `y` from the drawing's top left corner."""
        w, h = self.figure.get_size_inches()
        ax = self.figure.add_axes(((MARGIN + x) / w, 1 - (self.top + y + height) / h, width / w, height / h))
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set(visible=False, color=LINE, linewidth=0.6)
        ax.tick_params(colors=FAINT, labelsize=7, width=0.6, length=2.5)
        return ax

    def picture(self, rgb: RGB, x: float, y: float, width: float, height: float) -> Axes:
        """Colours as they are. Enlarged pixels stay squares with sharp edges; only a reduction is smoothed."""
        ax = self.axes(x, y, width, height)
        enlarged = rgb.shape[1] < width * 200  # pictures are saved with 200 dots an inch
        ax.imshow(rgb, interpolation="nearest" if enlarged else "antialiased", aspect="auto")
        return ax

    def text(self, x: float, y: float, words: str, *, size: float = 8, colour: str = INK, **style: Any) -> None:
        """Words at a place of the drawing, vertically centred there; never read as a formula."""
        w, h = self.figure.get_size_inches()
        self.figure.text((MARGIN + x) / w, 1 - (self.top + y) / h, clean(words), fontsize=size, color=colour,
                         parse_math=False, **{"va": "center", "ha": "left", **style})

    def colour_bar(self, scale: RGB, x: float, y: float, height: float, low: float, high: float) -> None:
        """An upright bar of all colours of a scale, with numbers: `low` at the foot, `high` at the top."""
        ax = self.axes(x, y, 0.12, height)
        ax.imshow(scale[::-1, None], aspect="auto", extent=(0, 1, low, high if high > low else low + 1))
        ax.yaxis.tick_right()
        ax.set_yticks(np.linspace(low, high, 5) if high > low else [low])
        ax.set_yticklabels([f"{v:.3g}".replace("-", "−") for v in ax.get_yticks()])
        for spine in ax.spines.values():
            spine.set_visible(True)


def graph_axes(ax: Axes, x_label: str, y_label: str, *, counted: bool = False) -> None:
    """Axes for a curve or a cloud: two thin lines, a light grid, numbers, labels; `counted`: whole numbers along x."""
    from matplotlib.ticker import AutoLocator, MaxNLocator

    for side in ("left", "bottom"):
        ax.spines[side].set_visible(True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(AutoLocator())
    if counted:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    ax.grid(color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel(clean(x_label), fontsize=7.5, color=FAINT, parse_math=False)
    ax.set_ylabel(clean(y_label), fontsize=7.5, color=FAINT, parse_math=False)


def fitted(words: str, width: float, size: float) -> str:
    """As much of the words as fits into `width` inches, the middle left out."""
    room = max(int(width / (size * 0.0083)), 4)
    words = clean(words)
    return words if len(words) <= room else words[:(room - 1) // 2] + "…" + words[-(room - 1 - (room - 1) // 2):]


def html(figure: Figure, described: str, listing: Listing) -> str:
    """A figure as an `<img>` that carries its own pixels, on white, so that it reads on any ground; a listing below it."""
    import base64
    import io
    from html import escape

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144, facecolor="white")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    width = round(figure.get_size_inches()[0] * 96)
    return (f'<div><img alt="{escape(clean(described))}" src="data:image/png;base64,{data}" '
            f'style="width: {width}px; max-width: 100%; background: white">{listing.html()}</div>')


def _fold(words: str, width: float, size: float) -> list[str]:
    return textwrap.wrap(clean(words), max(int(width / (size * 0.0078)), 20))
