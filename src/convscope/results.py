"""The closed set of results. Frozen, NumPy inside, made by methods, drawn and stored by others.

Every result carries an `Origin` that says how it was made, and the same few doors: `.plot()` (a matplotlib Figure),
`.to_dict()` (plain values; arrays stay arrays), `.to_json()`, `.save(path)`, a text and an HTML face.
Letters for axes: `B` batch, `C` channel, `H W` image, `h w` map, `K` classes, `U` units, `N` examples (docs/notation.md).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from convscope.geometry import Field

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Origin:
    """How was this result made? The method's repr, prints of network and input, seed and versions."""

    method: str = ""
    network: str = ""
    input: str = ""
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Result:
    """What all results share. Never made by itself."""

    kind: ClassVar[str]
    origin: Origin = field(default_factory=Origin)

    def plot(self) -> Figure:
        """A matplotlib Figure of this result (no pyplot state, works headless)."""
        from convscope import draw

        return draw.figure(self)

    def save(self, path: str | Path) -> Path:
        """Keep this result: `.npz` keeps all of it, `.png` and `.svg` a picture, `.html`, `.txt`, `.csv`, `.json` a face."""
        from convscope import draw

        return draw.save(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name; arrays stay NumPy arrays."""
        return {"kind": self.kind, **{f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}}

    def to_json(self, indent: int | None = None) -> str:
        """The same as text: arrays become nested lists, NaN and infinities become null."""
        return json.dumps(_jsonable(self.to_dict()), indent=indent, ensure_ascii=False, allow_nan=False)

    def _repr_html_(self) -> str:
        from convscope import draw

        return draw.html(self)

    def __str__(self) -> str:
        from convscope import draw

        return draw.text(self)


@dataclass(frozen=True)
class Gradient:
    """How does the backward pass get the gradient of one array of a layer, given delta = ∂L/∂y?"""

    of: str  # 'x', 'weight', 'bias', 'other'
    shape: tuple[int, ...]  # its shape, which is the array's own
    how: str  # in words: 'δ with zeros between, convolved in full with the kernels flipped, …'
    sizes: str = ""  # a formula with its numbers: '(55 − 1)·4 + 1 = 217; 217 + 2·(11 − 1) − 11 + 1 = 227; …'
    macs: int = 0  # multiply-accumulates of this part of the backward pass


@dataclass(frozen=True)
class Layer:
    """One call in the graph: what it is, what goes in and out, what it costs, what it sees. Shapes have B = 1."""

    address: str  # 'layer1.0.conv1', the second call of a reused module 'relu:1'
    operator: str  # 'conv2d'
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    parents: tuple[str, ...]  # addresses of the layers that feed it; 'input' is the image
    parameters: int = 0  # weights and biases; a tensor shared by two calls is counted at the first
    unshared: int | None = None  # parameters if every position had its own; None where positions share nothing
    buffers: int = 0  # numbers kept but not learned, e.g. running statistics
    macs: int = 0  # multiply-accumulates of one forward pass, one image
    saved: int | None = None  # bytes kept for the backward pass, one image; measured; None when not measured
    fields: tuple[Field, ...] | None = None  # receptive field per spatial axis; None where the layer has no map
    settings: dict[str, Any] = field(default_factory=dict[str, Any])  # kernel, stride, …: plain values
    module: str = ""  # path of the module that made the call
    module_type: str = ""  # its class
    source: str = ""  # 'net.py:12 in forward: return F.relu(x)'
    node: str = ""  # name of the node in the exported graph
    unit_axis: int | None = None  # the axis of the output that counts units: 1 for channels; None if there is none
    backward: tuple[Gradient, ...] | None = None  # the backward pass, array by array; None where nobody speaks for it

    @property
    def backward_macs(self) -> int | None:
        """Multiply-accumulates of the backward pass, of all its arrays, one image."""
        return None if self.backward is None else sum(g.macs for g in self.backward)


@dataclass(frozen=True, kw_only=True)
class Trace(Result):
    """What does every layer compute? Sizes, parameters, MACs, receptive field, bytes for the backward pass."""

    kind: ClassVar[str] = "trace"
    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def backward_macs(self) -> int | None:
        """Of the layers whose backward pass is known; None where none is, as in a trace without it."""
        known = [n for n in (layer.backward_macs for layer in self.layers) if n is not None]
        return sum(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Heatmap(Result):
    """Which pixels decided? A signed map on each image of a batch."""

    kind: ClassVar[str] = "heatmap"
    values: NDArray[np.floating]  # (B, C, H, W); C is 1 where a method speaks of pixels only
    images: NDArray[np.uint8]  # (B, H, W, 3) what the network saw, to draw beneath
    targets: tuple[str, ...]  # what each image was asked about: '281 tabby'
    scores: NDArray[np.floating]  # (B,) the target's value
    unit: str = "score per input unit"
    proof: dict[str, float | str] = field(default_factory=dict[str, "float | str"])
    notes: tuple[str, ...] = ()
    seconds: float | None = None  # how long it took; None: nobody looked at the clock

    @property
    def map(self) -> NDArray[np.floating]:
        """(B, H, W): summed over input channels, signed."""
        return self.values.sum(axis=1)


@dataclass(frozen=True, kw_only=True)
class Picture(Result):
    """Images made for units: filters, activation maps, syntheses, top images. One tile a unit."""

    kind: ClassVar[str] = "picture"
    tiles: NDArray[Any]  # (U, h, w) float with a signed or sequential scale, or (U, h, w, 3) uint8
    units: tuple[str, ...]  # one address or caption a tile
    title: str = ""
    scale: str = "shared"  # 'shared': all tiles have one colour scale; 'each': its own; 'rgb': tiles are colours already
    signed: bool = False  # a diverging scale around zero
    values: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # numbers a tile, e.g. {'max': (U,)}
    notes: tuple[str, ...] = ()
    columns: int = 0  # tiles a row, where a row means something; 0: as many as fit


@dataclass(frozen=True, kw_only=True)
class Table(Result):
    """Rows. A column is an array whose first axis counts the rows; more axes are allowed (top-k ids: (U, k))."""

    kind: ClassVar[str] = "table"
    columns: dict[str, NDArray[Any]]
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column means, with its unit
    title: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True, kw_only=True)
class Cloud(Result):
    """Points with ids: a map of a collection."""

    kind: ClassVar[str] = "cloud"
    points: NDArray[np.floating]  # (N, 2)
    ids: tuple[str, ...]
    labels: NDArray[np.integer] | None = None  # (N,) class indices, -1 unknown
    classes: tuple[str, ...] = ()
    title: str = ""
    axes: tuple[str, str] = ("", "")  # what the axes mean, e.g. 'component 1 (31 % of variance)'
    notes: tuple[str, ...] = ()  # 'sampled: 2,000 of 60,000 images, seed 0'


@dataclass(frozen=True)
class Grid:
    """Numbers as they lie in a layer: a window of the input, a kernel, the output around a cell."""

    name: str  # 'window of x', 'kernel 3', 'y'
    values: NDArray[Any]  # (C, h, w), (h, w), (n,) or (n, m)
    start: tuple[int, ...] = ()  # index in the whole array of the first number; negative: it lies in the padding
    step: tuple[int, ...] = ()  # distance in the whole array of two neighbours, per axis (dilation); empty: 1
    marked: tuple[tuple[int, ...], ...] = ()  # cells in play, as indices into `values`
    whole: tuple[int, ...] = ()  # shape of the whole array; places beyond it lie in the padding; empty: not said


@dataclass(frozen=True)
class Terms:
    """A sum of products, product by product: Σ left·right."""

    left: str  # what the first factor is: 'x', 'δ'
    right: str  # what the second factor is: 'weight'
    left_at: NDArray[np.integer]  # (n, axes) where each first factor stands in its array; negative or beyond: padding
    right_at: NDArray[np.integer]  # (n, axes)
    left_values: NDArray[np.floating]  # (n,)
    right_values: NDArray[np.floating]  # (n,)

    @property
    def products(self) -> NDArray[np.floating]:
        """(n,)"""
        return self.left_values * self.right_values


@dataclass(frozen=True)
class Line:
    """One line of arithmetic: 'σ = √(variance + eps) = √(0.25 + 1e-05)', and what it comes to."""

    text: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Steps(Result):
    """How does one number come about? One output value, one delta or one weight gradient, worked out."""

    kind: ClassVar[str] = "steps"
    title: str  # 'conv1/3@5,9: one output value'
    layer: str  # address
    operator: str
    direction: str  # 'forward', 'input', 'weights', 'update'
    at: tuple[int, ...]  # index of the number in its array
    formula: str  # with letters
    lines: tuple[Line, ...]  # the arithmetic, top to bottom; the last line's value is `value`
    value: float  # ours
    check: float  # autograd's number for the same thing
    grids: tuple[Grid, ...] = ()
    terms: Terms | None = None  # the products that one of the lines adds up
    crops: tuple[NDArray[np.uint8], ...] = ()  # (h, w, 3) what each of the largest terms saw of the image
    captions: tuple[str, ...] = ()  # one a crop
    table: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # numbers side by side, one row each
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column of `table` means
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """How far ours is from autograd's."""
        return abs(self.value - self.check)


@dataclass(frozen=True)
class Finding:
    """One diagnosis: what is seen, the numbers behind it, why, and what mends it."""

    severity: str  # 'error', 'advice', 'fine', 'unknown'
    symptom: str  # in the user's words: 'conv2: ∂L/∂x is wrong'
    where: str = ""  # layer or array
    evidence: dict[str, float | str] = field(default_factory=dict[str, "float | str"])
    cause: str = ""
    remedy: str = ""
    proof: str = ""  # what was tried, and what would disprove it


@dataclass(frozen=True, kw_only=True)
class Findings(Result):
    """What is wrong? Diagnoses, the gravest first, and everything that was looked at."""

    kind: ClassVar[str] = "findings"
    title: str
    findings: tuple[Finding, ...]
    checked: dict[str, NDArray[Any]] = field(default_factory=dict[str, Any])  # one row for each thing looked at
    units: dict[str, str] = field(default_factory=dict[str, str])  # what a column of `checked` means
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run(Result):
    """A training record: one row a step or an epoch."""

    kind: ClassVar[str] = "run"
    steps: dict[str, NDArray[Any]]  # 'step', 'epoch', 'loss', 'rate', … one value a training step
    epochs: dict[str, NDArray[Any]]  # 'epoch', 'loss', 'accuracy', 'held_out_accuracy', 'seconds'
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()


KINDS: dict[str, type[Result]] = {cls.kind: cls for cls in (Trace, Steps, Heatmap, Picture, Table, Cloud, Run, Findings)}


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dicts, tuples as lists, fractions as floats; arrays and plain values as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast("list[Any]", value)]
    return float(value) if isinstance(value, Fraction) else value


def _jsonable(value: Any) -> Any:
    """What JSON has words for: lists for arrays, null for NaN and infinities."""
    if isinstance(value, np.ndarray):
        return _jsonable(cast("NDArray[Any]", value).tolist())
    if isinstance(value, np.generic):
        return _jsonable(value.item())
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in cast("list[Any]", value)]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
