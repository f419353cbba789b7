"""A trace with its backward pass: beneath each layer a line for every gradient, with its shape, MACs and sizes in numbers.

The sentences that say how a gradient is made are the same for many layers: they stand once, below, and go by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from convscope.draw import words
from convscope.draw.ledger import Ledger
from convscope.draw.listing import Column, Listing
from convscope.results import Gradient, Layer, Trace

if TYPE_CHECKING:
    from convscope.draw.paper import Paper

DELTA = "δ = ∂L/∂y: what comes to a layer from behind, L is the loss; it has the shape of the layer's output"
BACKWARD = ("backward: MACs of the backward pass, one image: those of ∂L/∂x and of ∂L/∂weight together; beneath each layer "
            "the gradients, each of the shape of its array, its MACs, the way it is made (a number, below) and sizes")
READ = ("sizes of a convolution: valid = the kernel stays inside (n − k + 1 positions), full = it goes over every edge "
        "(n + k − 1); with a stride, δ stands with stride − 1 zeros between its numbers; unread = the last pixels, that no "
        "window reached; crop = the padding cut away again")
SAVED = ("saved: bytes kept for the backward pass, one image, measured; what several layers keep is counted at the first; "
         "1 MB = 1,000,000 bytes")
COLUMNS = (
    Column("layer"),
    Column("operator", rank=3),
    Column("output", right=True, meaning="output of one image: units × height × width"),
    Column("δ", right=True, rank=1, meaning=DELTA),
    Column("parameters", right=True, rank=4, meaning="weights and biases; a shared tensor is counted once"),
    Column("MACs", right=True, meaning="multiply-accumulates of the forward pass, one image"),
    Column("backward", right=True, meaning="multiply-accumulates of the backward pass, one image, of all gradients"),
    Column("saved", right=True, rank=2, meaning=SAVED),
)
ROOM = 4.6  # inches for shapes at the right of a figure
_DELTA_ROOM = 0.95
INNER = (Column("gradient"), Column("shape"), Column("MACs", right=True), Column("way"), Column("sizes"))


def ledger(result: Trace, plain: Listing, rows: Iterable[list[str]], formulas: Iterable[str]) -> Ledger:
    """A listing with the gradients beneath each layer, its title, notes and faint beginnings those of a `plain` one.

    `rows`: a list of cells as in COLUMNS for every layer, then the total; `formulas`: the size of each layer's output.
    """
    *body, total = rows
    ways = numbered(result.layers)
    below = [list(_lines(layer, forward, ways)) for layer, forward in zip(result.layers, formulas, strict=True)]
    notes = (*_legend(result.layers, ways), *plain.notes)
    return Ledger(plain.title, COLUMNS, body, total, notes, plain.faint, below, INNER)


def numbered(layers: Iterable[Layer]) -> dict[str, int]:
    """Every way in which a gradient is made, numbered from 1 in the order of the layers."""
    ways: dict[str, int] = {}
    for layer in layers:
        for gradient in layer.backward or ():
            ways.setdefault(gradient.how, len(ways) + 1)
    return ways


def gradients(layer: Layer) -> Iterator[tuple[str, str, Gradient]]:
    """The gradients of a layer: '∂L/∂weight', '64×3×11×11'. Of what came in, the shape of one image."""
    coming = list(layer.input_shapes)
    for gradient in layer.backward or ():
        data = bool(coming) and gradient.shape == coming[0]
        if data:
            coming.pop(0)
        shown = words.shape(gradient.shape) if data else "×".join(map(str, gradient.shape)) or "1"
        yield f"∂L/∂{gradient.of}", shown, gradient


def records(layer: Layer) -> list[Any]:
    """Cells of a CSV file: shape of δ, MACs of the backward pass, all gradients with their sizes."""
    if layer.backward is None:
        return ["", "", ""]
    said = [f"{name} {shape}: {g.how}" + (f" ({g.sizes})" if g.sizes else "") for name, shape, g in gradients(layer)]
    return [words.shape(layer.output_shape), layer.backward_macs, "; ".join(said)]


def heads(paper: Paper, x: float, y: float) -> None:
    """What stands at the right of a figure, over its columns."""
    paper.text(x, y, "δ = ∂L/∂y", size=7.5)
    paper.text(x + _DELTA_ROOM, y, "gradients of what the layer read", size=7.5)


def shapes(paper: Paper, layer: Layer, x: float, y: float) -> None:
    """A layer's row at the right of a figure: the shapes of δ and of every gradient."""
    from convscope.draw.paper import FAINT, fitted

    found = " · ".join(f"{name} {shape}" for name, shape, _ in gradients(layer)) or "not shown"
    paper.text(x, y, words.shape(layer.output_shape), size=6.2, colour=FAINT)
    paper.text(x + _DELTA_ROOM, y, fitted(found, ROOM - _DELTA_ROOM, 6.2), size=6.2, colour=FAINT)


def _lines(layer: Layer, forward: str, ways: dict[str, int]) -> Iterator[list[str]]:
    if forward:
        yield ["y", words.shape(layer.output_shape), words.count(layer.macs) if layer.macs else "", "", forward]
    if layer.backward is None:
        yield ["∂L/∂x", "", "–", "", "not shown: no operator speaks for this layer"]
    for name, shape, gradient in gradients(layer):
        yield [name, shape, words.count(gradient.macs) if gradient.macs else "", f"({ways[gradient.how]})", gradient.sizes]


def _legend(layers: Iterable[Layer], ways: dict[str, int]) -> tuple[str, ...]:
    convolved = any("full: " in g.sizes for layer in layers for g in layer.backward or ())
    return (DELTA, BACKWARD, *((READ,) if convolved else ()), *(f"({number}) {how}" for how, number in ways.items()))
