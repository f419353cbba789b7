"""What max pooling layers share when they are written out: who won a window, and which windows a pixel won.

    y[b, c, i] = x[b, c, winner(i)]        ∂L/∂x[b, c, p] = Σ_{i: winner(i) = p} δ[b, c, i]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.operators._lines import count
from convscope.operators._window_terms import axis_names
from convscope.operators._working import Working, many, number, place, sum_lines, taken, terms
from convscope.results import Grid, Line

Lengths = list[tuple[int, int, int]]  # per axis: the first pixel of a window, the one behind its last, their distance


def value_of_winner(at: tuple[int, ...], x: Any, winner: int, window: Lengths, cells: int) -> Working:
    """y[at] of maps x (B, C, H, W): the largest of a window's pixels. `cells` counts its cells, padding included."""
    b, c = at[:2]
    pixels = x[(b, c, *(slice(*length) for length in window))]
    won = tuple(int(p) for p in np.unravel_index(winner, x.shape[2:]))
    value = float(x[(b, c, *won)])
    equal = int((pixels == value).sum())
    names = axis_names(len(window))
    spans = ", ".join(f"{name} {_span(*length)}" for name, length in zip(names, window, strict=True))
    outside = cells - pixels.size
    padding = f"; {outside} of its {cells} cells lie in the padding and cannot win" if outside else ""
    lines = [Line(f"the window of {place('y', at)}: {spans}: {many(pixels.size, 'number')}{padding}", float(pixels.size))]
    if equal > 1:
        lines.append(Line(f"{equal} of them are equally large: the first in row order wins", float(equal)))
    lines.append(Line(f"y = the largest of them = {place('x', (b, c, *won))} = {number(value)}", value))
    marked = (0, *((p - first) // step for p, (first, _, step) in zip(won, window, strict=True)))
    grid = Grid(f"window of x[{b}]", pixels[None], (c, *(first for first, _, _ in window)), (1, *(s for _, _, s in window)),
                (marked,))
    return Working("y[b,c,i] = x[b,c,winner(i)], the largest number of window i", tuple(lines), None, (grid,))


def gradient_of_winner(at: tuple[int, ...], delta: Any, winners: Any, holding: Any, sizes: tuple[int, ...]) -> Working:
    """∂L/∂x[at] from δ (B, C, h, w), the winners of its map (h, w) and the windows (n, axes) that hold the pixel."""
    b, c, *p = at
    me = int(np.ravel_multi_index(tuple(p), sizes))
    mine = taken(winners, holding) == me
    places = np.asarray(holding)[mine]
    what = f"∂L/∂{place('x', at)}"
    lines = [Line(f"{place('x', at)} won {len(places)} of {many(len(holding), 'window')} that hold it",
                  float(len(places)))]
    lines += [Line(f"lost at {place('y', (b, c, *lost))}: {_winner_at(x, b, c, sizes)} won; its δ goes there", 0.0)
              for lost, x in zip(np.asarray(holding)[~mine][:4], taken(winners, holding)[~mine][:4], strict=True)]
    values = taken(delta[b, c], places)
    made = terms((f"δ[{b}]", np.column_stack([np.full(len(places), c), places]), values),
                 ("1 (won)", np.column_stack([np.full(len(places), c), places]), np.ones(len(places))))
    lines += sum_lines(made, what) if len(places) else (Line(f"{what} = 0: it won nowhere", 0.0),)
    grid = Grid(f"δ[{b}]", delta[b, c][None], (c, *(0,) * len(sizes)), marked=tuple((0, *map(int, q)) for q in places))
    return Working("∂L/∂x[b,c,p] = Σ_{i: p won window i} δ[b,c,i]", tuple(lines), made if len(places) else None, (grid,))


def winners_back(kernel: tuple[int, ...], out: tuple[int, ...]) -> str:
    """How many deltas go to how many pixels: '27·27 = 729 δ a map, each to 1 of 3·3 pixels'."""
    return f"{count(out)} δ a map, each to 1 of {'·'.join(map(str, kernel))} pixels"


def _span(first: int, stop: int, step: int) -> str:
    last = first + (stop - 1 - first) // step * step
    return f"{first}" if first == last else f"{first} … {last}" + (f" in steps of {step}" if step > 1 else "")


def _winner_at(index: int, b: int, c: int, sizes: tuple[int, ...]) -> str:
    return place("x", (b, c, *(int(i) for i in np.unravel_index(int(index), sizes))))
