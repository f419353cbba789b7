"""Trace: a row for each layer; sizes, costs and receptive field with their units, and totals that are sums of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from convscope import geometry
from convscope.draw import _backward, words
from convscope.draw._backward import SAVED
from convscope.draw.listing import Column, Listing
from convscope.errors import ShapeError
from convscope.results import Layer, Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MACS = ("MACs: multiply-accumulates of convolutions and matrix products, one image; 1 MAC = 2 FLOPs; "
        "biases and element-wise work not counted")
FIELD = ("field: receptive field, size /stride start, in input pixels: position i sees start + i·stride … + size − 1; "
         "'all': the whole axis; sees: the largest share of the image that one position sees")
HULL = "~ after a field: branches of unequal stride met, or upsampling; it is a hull, of which a position sees a part"
NAMED = 150  # layers in a figure that all have a name; a deeper network is drawn finer
UNSHARED = "unshared: parameters that the layer would have if every position had weights and a bias of its own"
COLUMNS = (
    Column("layer"),
    Column("operator", rank=3),
    Column("output", right=True, meaning="output of one image: units × height × width"),
    Column("parameters", right=True, meaning="weights and biases; a shared tensor is counted once"),
    Column("MACs", right=True, meaning=MACS),
    Column("field", right=True, rank=2, meaning=FIELD),
    Column("sees", right=True, rank=4, meaning="the largest share of the image that one position sees"),
    Column("saved", right=True, rank=5, meaning=SAVED),
    Column("unshared", right=True, rank=7, meaning=UNSHARED),
    Column("size formula", rank=6, meaning="output size along the height (and width, where it differs)"),
)


def renderable(result: Trace) -> Listing:
    return _listing(result)


def html(result: Trace) -> str:
    return _listing(result).html()


def records(result: Trace) -> tuple[list[str], list[list[Any]]]:
    """Header and rows for a CSV file: plain numbers, one column an axis."""
    header = ["layer", "operator", "input", "output", "parameters", "unshared_parameters", "buffers", "macs",
              "saved_bytes", "field_size", "field_stride", "field_start", "coverage", "size_formula", "parents", "module",
              "module_type", "source", "delta", "backward_macs", "gradients"]
    rows = [[k.address, k.operator, " ".join(words.shape(s) for s in k.input_shapes), words.shape(k.output_shape),
             k.parameters, k.unshared, k.buffers, k.macs, k.saved, *_field_values(k), coverage(k, result.input_shape),
             formula(k), " ".join(k.parents), k.module, k.module_type, k.source, *_backward.records(k)]
            for k in result.layers]
    return header, rows


def figure(result: Trace) -> Figure:
    """Where do parameters, multiply-accumulates and activations sit? Three bars a layer, from input to output."""
    from convscope.draw.paper import ACCENT, FAINT, Paper, fitted

    layers = result.layers
    measures = [("parameters", [k.parameters for k in layers]), ("MACs", [k.macs for k in layers]),
                ("output values", [prod(k.output_shape) for k in layers])]
    if all(k.saved is not None for k in layers):
        measures.append(("saved bytes", [k.saved or 0 for k in layers]))
    back = result.backward_macs is not None
    if back:
        measures.insert(2, ("backward MACs", [k.backward_macs or 0 for k in layers]))
    row = 0.155 if len(layers) <= NAMED else 24 / len(layers)
    left, panel, high = 2.3, 1.6, max(row * len(layers), 0.3)
    bars = left + len(measures) * (panel + 0.2)
    wide = bars + (_backward.ROOM if back else 0)
    paper = Paper.of(wide, high + 0.3, result.name or "trace", _headline(result), _notes(result)[:1])
    for m, (name, sizes) in enumerate(measures):
        x, largest = left + m * (panel + 0.2), max([*sizes, 0])
        ax = paper.axes(x, 0.3, panel, high)
        ax.hlines(range(len(layers)), 0, sizes, colors=ACCENT, linewidth=72 * 0.74 * row, capstyle="butt")
        ax.spines["left"].set_visible(True)
        ax.set(ylim=(len(layers) - 0.4, -0.6), xlim=(0, max(largest, 1)), xticks=[], yticks=[])
        paper.text(x, 0.17, f"{name}, up to {words.short(largest)}", size=7.5)
    written = -1.0
    for i, layer in enumerate(layers):
        y = 0.3 + high * (i + 0.6) / len(layers)
        if y - written > 0.12:  # in a very deep network, only the names that have room
            paper.text(left - 0.08, y, fitted(layer.address, left - 0.1, 6.2), size=6.2, ha="right", colour=FAINT)
            if back:
                _backward.shapes(paper, layer, bars, y)
            written = y
    if back:
        _backward.heads(paper, bars, 0.17)
    return paper.figure


def formula(layer: Layer) -> str:
    """The output size of a window operation with its numbers filled in, '' where the layer has no window or does not say."""
    settings = layer.settings
    kernel = settings.get("kernel_size", settings.get("kernel"))
    if kernel is None or not layer.input_shapes or "transposed" in layer.operator or settings.get("transposed"):
        return ""
    before, after = layer.input_shapes[0][2:], layer.output_shape[2:]
    found: list[str] = []
    for axis, (n, out) in enumerate(zip(before, after, strict=False)):
        k, d, p = (_along(v, axis) for v in (kernel, settings.get("dilation", 1), settings.get("padding", 0)))
        s = _along(settings.get("stride") or (kernel if "pool" in layer.operator else 1), axis)
        up = bool(settings.get("ceil_mode"))
        try:
            if not all(isinstance(v, int) for v in (k, s, p, d)) or geometry.output_size(n, k, s, p, d, up) != out:
                return ""  # the layer pads by a rule of its own; the formula would not be its formula
        except ShapeError:
            return ""
        found.append(geometry.size_formula(n, k, s, p, d, out, up))
    return " × ".join(dict.fromkeys(found))


def coverage(layer: Layer, input_shape: Sequence[int]) -> float | None:
    """The largest share of the image's area that one position sees, 0 … 1; None where the layer has no field."""
    if layer.fields is None:
        return None
    return prod(f.coverage(n) for f, n in zip(layer.fields, input_shape[2:], strict=False))


def field(layer: Layer) -> str:
    """The receptive field in one word: '195×195 /32 −64'."""
    if not layer.fields:
        return "–"
    sizes = "×".join("all" if f.size is None else str(f.size) for f in layer.fields)
    steps = list(dict.fromkeys(words.number(f.stride) for f in layer.fields if f.size is not None))
    starts = list(dict.fromkeys(words.number(f.start) for f in layer.fields if f.size is not None))
    hull = "" if all(f.aligned for f in layer.fields) else "~"
    return " ".join(p for p in (sizes + hull, "/" + ",".join(steps) if steps else "", ",".join(starts)) if p)


def _along(setting: Any, axis: int) -> Any:
    """A setting along one axis: 3, [3, 5] or [3] for all axes alike."""
    if isinstance(setting, (list, tuple)):
        return setting[axis if len(setting) > axis else -1] if setting else None
    return setting


def _field_values(layer: Layer) -> list[str]:
    fields = layer.fields or ()
    return ["×".join("all" if f.size is None else str(f.size) for f in fields), "×".join(str(f.stride) for f in fields),
            "×".join(str(f.start) for f in fields)]


def _listing(result: Trace) -> Listing:
    title = f"{result.name}  {_headline(result)}".strip()
    addresses = [k.address for k in result.layers]
    faint = [_shared(a, b) for a, b in zip(["", *addresses], addresses, strict=False)]
    if result.backward_macs is not None:
        plain = Listing(title, (), (), notes=_notes(result), faint=faint)
        return _backward.ledger(result, plain, _backward_rows(result), map(formula, result.layers))
    rows: list[list[str]] = []
    for k in result.layers:
        seen = coverage(k, result.input_shape)
        rows.append([k.address, _operator(k), words.shape(k.output_shape), words.count(k.parameters), words.short(k.macs),
                     field(k), "–" if seen is None else _percent(seen), _bytes(k.saved),
                     "" if k.unshared is None else words.count(k.unshared), formula(k)])
    total = ["total", f"{len(rows)} layers", "", words.count(result.parameters), words.short(result.macs), "", "",
             _bytes(_saved(result)), "", ""]
    used = [c for c in range(len(COLUMNS)) if c < 5 or any(row[c] not in ("", "–") for row in rows)]
    pick = [[row[c] for c in used] for row in [*rows, total]]
    return Listing(title, tuple(COLUMNS[c] for c in used), pick[:-1], pick[-1], _notes(result), faint)


def _backward_rows(result: Trace) -> Iterator[list[str]]:
    """A row for each layer, then the total, in the columns of a trace with its backward pass."""
    for k in result.layers:
        yield [k.address, _operator(k), words.shape(k.output_shape), words.shape(k.output_shape), words.count(k.parameters),
               words.short(k.macs), "–" if k.backward_macs is None else words.short(k.backward_macs), _bytes(k.saved)]
    yield ["total", f"{len(result.layers)} layers", "", "", words.count(result.parameters), words.short(result.macs),
           words.short(result.backward_macs or 0), _bytes(_saved(result))]


def _headline(result: Trace) -> str:
    back = "" if result.backward_macs is None else f", backward {words.short(result.backward_macs)}"
    return (f"input {words.shape(result.input_shape)} · {len(result.layers)} layers · "
            f"{words.count(result.parameters)} parameters · {words.short(result.macs)} MACs{back}")


def _notes(result: Trace) -> tuple[str, ...]:
    back = result.backward_macs
    notes = [f"in all: {words.count(result.parameters)} parameters, {words.count(result.macs)} MACs"
             + ("" if back is None else f" forward, {words.count(back)} MACs backward")
             + (f", {words.count(_saved(result) or 0)} bytes saved" if _saved(result) is not None else ""), MACS]
    if back is None and any(k.fields for k in result.layers):  # beside a backward pass there is no room for fields
        notes.append(FIELD)
    if back is None and any(not f.aligned for k in result.layers for f in k.fields or ()):
        notes.append(HULL)
    if any(k.saved is not None for k in result.layers):
        notes.append(SAVED)
    shared = next((k for k in result.layers if k.unshared is not None and k.parameters), None)
    if shared is not None:
        neurons, alone = prod(shared.output_shape[1:]), shared.unshared or 0
        notes.append(f"weight sharing: {shared.address} has {words.count(shared.parameters)} parameters; without sharing it "
                     f"would have {words.count(alone)} ({words.count(neurons)} neurons × {words.count(alone // neurons)})")
    return (*notes, *result.notes)


def _saved(result: Trace) -> int | None:
    """Bytes of all layers, None unless every layer was measured."""
    sizes = [k.saved for k in result.layers]
    return None if not sizes or None in sizes else sum(s for s in sizes if s is not None)


def _operator(layer: Layer) -> str:
    """The operator's everyday name: '_native_batch_norm_legit_no_training' is a batch norm."""
    return "batch_norm" if "batch_norm" in layer.operator else layer.operator.strip("_")


def _bytes(size: int | None) -> str:
    return "–" if size is None else words.short(size, "B")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{words.number(100 * share, 2)} %"


def _shared(before: str, address: str) -> int:
    """How many characters of an address repeat the modules of the row before."""
    same = next((i for i, (a, b) in enumerate(zip(before, address, strict=False)) if a != b), min(len(before), len(address)))
    return address.rfind(".", 0, same) + 1
