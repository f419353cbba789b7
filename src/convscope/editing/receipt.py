"""The receipt of an edit: what the network was and is, layer by layer, and how far its answers moved on the images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope import export
from convscope.editing.draft import Draft
from convscope.editing.given import MOST, Given
from convscope.network import Network, shape_text
from convscope.results import Layer, Receipt, Size

NONE = "none"
ALIKE = 1e-12  # a spread of outputs below which a relative drift would divide by nothing


def written(method: object, draft: Draft, after: Network, source: str, given: Given) -> Receipt:
    """Before, after, drift. `method`: the edit, whose repr is its identity."""
    before = draft.net
    drift, on, notes = drifted(before, after, given, draft.reads)
    first = next(iter(repr(method).split("(")))
    return Receipt(
        title=f"{before.name}: {first}",
        changes=tuple(draft.changes),
        before=size_of(before),
        after=size_of(after),
        rows=rows_of(before, after),
        drift=drift,
        drift_on=on,
        code="\n".join(draft.code),
        source=source,
        notes=(*draft.notes, *notes, *given.remarks),
        origin=before.origin(method),
    )


def size_of(net: Network) -> Size:
    """Layers, parameters, MACs, input and output of a network."""
    return Size(
        len(net.layers),
        sum(layer.parameters for layer in net.layers),
        sum(layer.macs for layer in net.layers),
        tuple(net.input_shape[1:]),
        tuple(net.output.output_shape[1:]),
    )


def rows_of(before: Network, after: Network) -> dict[str, Any]:
    """The layers that are new, gone or of another size or cost; in the order of the network, gone ones where they were."""
    old, new = ({layer.address: layer for layer in net.layers} for net in (before, after))
    order = list(new)
    for i, address in enumerate(old):  # a layer that is gone stands behind the one that it followed
        if address not in new:
            ahead = list(old)[:i]
            at = max((order.index(a) for a in ahead if a in order), default=-1)
            order.insert(at + 1, address)
    cells = [(a, _cell(old.get(a)), _cell(new.get(a))) for a in order]
    told = [c for c in cells if c[1] != c[2]]
    for cell in [c for c in told if c[1] == NONE]:  # a plain call keeps no path: se.mul and mul are the same layer
        renamed = next((c for c in told if c[2] == NONE and c[1] == cell[2] and c[0].endswith(f".{cell[0]}")), None)
        if renamed is not None:
            told = [c for c in told if c not in (cell, renamed)]
    return {name: np.array([c[i] for c in told], dtype=str) for i, name in enumerate(("layer", "before", "after"))}


def _cell(layer: Layer | None) -> str:
    if layer is None:
        return NONE
    settings = layer.settings
    kernel = f" {'×'.join(map(str, settings['kernel_size']))}" if "kernel_size" in settings else ""
    counted = f", {layer.parameters:,} parameters" if layer.parameters else ""
    return f"{layer.operator}{kernel} → {shape_text(layer)}{counted}"


def drifted(before: Network, after: Network, given: Given,
            reads: Callable[[Tensor], Tensor] | None = None) -> tuple[dict[str, float], str, tuple[str, ...]]:
    """How far did the outputs move? Largest and root mean square difference, relative to the outputs' own spread, and in how
    many images the highest class stays. Where it cannot be measured, the reason stands in place of the images. `reads` turns
    what the old network reads into what the new one does, where that differs."""
    if before.input_shape[1] != after.input_shape[1]:
        return {}, f"the networks read {before.input_shape[1]} and {after.input_shape[1]} channels", ()
    if given.images is None:
        shape = (8, *before.input_shape[1:])
        batches = [export.random_input(shape, before.module or torch.nn.Identity()).to(before.dtype)]
        on = "8 random inputs, seed 0: no images were given"
    else:
        batches = list(given.batches(before, MOST))
        count = sum(len(b) for b in batches)
        on = f"{count} images" + (f" (of {len(given.images):,}, the first)" if count < len(given.images) else "")
    pairs = [(before.run(x).output, after.run(x if reads is None else reads(x)).output) for x in batches]
    old, new = (torch.cat([_flat(p[i]) for p in pairs]) for i in (0, 1))
    if old.shape != new.shape:
        sizes = " and ".join("×".join(map(str, t.shape[1:])) for t in (pairs[0][0], pairs[0][1]))
        return {}, f"the outputs differ in size: {sizes}", ()
    difference = (new - old).double()
    spread = float(old.double().std())
    square = math.sqrt(float((difference**2).mean()))
    drift = {"largest difference": float(difference.abs().max()), "root mean square": square}
    if spread > ALIKE:
        drift["relative to the spread of the outputs"] = square / spread
    if old.shape[1] > 1:
        drift["same highest class"] = float((old.argmax(1) == new.argmax(1)).double().mean())
    return drift, on, ()


def _flat(value: Tensor) -> Tensor:
    """(B, n): an output of 5×1×1 is one of 5."""
    return value.flatten(1) if value.ndim > 1 else value[:, None]
