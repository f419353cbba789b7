"""Scaled dot-product attention: every query takes a weighted mean of the values, weighted by how well keys match it.

    s = scale · q kᵀ + mask      a = softmax(s) over keys      y = a v          scale = 1/√E unless given

Source: Vaswani et al. 2017, "Attention Is All You Need".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from convscope.errors import ShapeError, UsageError
from convscope.geometry import WHOLE, Window
from convscope.operators._broadcast import broadcast_shape, summed_to
from convscope.operators._operator import Operator, Shape


@dataclass(frozen=True)
class Attention(Operator):
    """Which values does each query take, and how much of each?

    Shapes: q (…, L, E), k (…, S, E), v (…, S, V), mask broadcasting to (…, L, S): added, or boolean with True = may look.
    y (…, L, V). Units: macs counts both products, L·S·(E + V) per head; masked pairs are counted too, softmax is not.
    windows: every output reads all tokens. Raises ShapeError where sizes do not fit, UsageError for dropout and for grouped
    queries, which are not computed here. Misleads: weights say what was mixed, not what mattered (Jain and Wallace 2019).
    Source: Vaswani et al. 2017.

    >>> Attention().macs((1, 3, 10, 4), (1, 3, 10, 4), (1, 3, 10, 4))
    2400
    """

    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    aten: ClassVar = ("scaled_dot_product_attention",)
    arrays: ClassVar = ("query", "key", "value", "mask")
    formula: ClassVar = "y = softmax(scale · q kᵀ + mask) v"

    def output_shape(self, query: Shape, key: Shape, value: Shape, mask: Shape | None = None) -> Shape:
        if self.enable_gqa:
            raise UsageError("attention with grouped queries is not computed here", "enable_gqa is set",
                             "repeat keys and values first")
        if query[-1] != key[-1] or key[-2] != value[-2]:
            raise ShapeError(f"attention over query {query}, key {key} and value {value} does not fit",
                             "query and key share E, key and value share S", "check the projections")
        lead = broadcast_shape(query[:-2], key[:-2], value[:-2])
        if mask is not None:
            broadcast_shape(mask, (*lead, query[-2], key[-2]))
        return (*lead, query[-2], value[-1])

    def macs(self, query: Shape, key: Shape, value: Shape, mask: Shape | None = None) -> int:
        out = self.output_shape(query, key, value, mask)
        return prod(out[:-1]) * key[-2] * (query[-1] + value[-1])

    def windows(self, query: Shape, *rest: Shape) -> tuple[Window | str, ...]:
        return (WHOLE,) * max(len(query) - 2, 0)

    def forward(self, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
        self.output_shape(query.shape, key.shape, value.shape, None if mask is None else mask.shape)
        return self._weights(query, key, mask) @ value

    def backward(self, delta: Any, query: Any, key: Any, value: Any, *mask: Any) -> tuple[Any, ...]:
        a = self._weights(query, key, mask[0] if mask else None)
        from_value = delta @ value.swapaxes(-1, -2)  # ∂L/∂a
        s = a * (from_value - (from_value * a).sum(axis=-1, keepdims=True))  # ∂L/∂s, through softmax
        scale = self._scale(query)
        grads = (summed_to(scale * (s @ key), query.shape), summed_to(scale * (s.swapaxes(-1, -2) @ query), key.shape),
                 summed_to(a.swapaxes(-1, -2) @ delta, value.shape))
        return (*grads, *(None if m is None or m.dtype == bool else summed_to(s, m.shape) for m in mask))

    def _scale(self, query: Any) -> float:
        return 1 / sqrt(query.shape[-1]) if self.scale is None else self.scale

    def _weights(self, query: Any, key: Any, mask: Any) -> Any:
        """a (…, L, S). A query that may look at nothing gets weights 0."""
        if self.dropout_p:
            raise UsageError("attention with dropout is not computed here", f"dropout_p is {self.dropout_p}",
                             "use the network in eval mode")
        s = self._scale(query) * (query @ key.swapaxes(-1, -2))
        if self.is_causal:
            s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
        if mask is not None:
            s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
        top = s.max(axis=-1, keepdims=True)
        e = np.exp(s - np.where(np.isfinite(top), top, 0))
        total = e.sum(axis=-1, keepdims=True)
        return e / np.where(total == 0, 1, total)
