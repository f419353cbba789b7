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
from convscope.operators._broadcast import broadcast_shape, copies_of, source_of, summed_to
from convscope.operators._lines import largest, require_gradient
from convscope.operators._operator import Operator, Shape
from convscope.operators._products import along, over_copies, product_text
from convscope.operators._working import Working, number, place, shape_text, sum_lines, taken, terms
from convscope.results import Gradient


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
    backward_formula: ClassVar = "∂v = aᵀδ; ∂a = δvᵀ; ∂s = a·(∂a − Σ a·∂a); ∂q = scale · ∂s k; ∂k = scale · ∂sᵀq; ∂mask = ∂s"

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
        a, s = self._score_deltas(delta, query, key, value, mask[0] if mask else None)
        scale = self._scale(query)
        grads = (summed_to(scale * (s @ key), query.shape), summed_to(scale * (s.swapaxes(-1, -2) @ query), key.shape),
                 summed_to(a.swapaxes(-1, -2) @ delta, value.shape))
        return (*grads, *(None if m is None or m.dtype == bool else summed_to(s, m.shape) for m in mask))

    def _score_deltas(self, delta: Any, query: Any, key: Any, value: Any, mask: Any) -> tuple[Any, Any]:
        """The weights a, and ∂L/∂s of the scores (…, L, S)."""
        a = self._weights(query, key, mask)
        from_value = delta @ value.swapaxes(-1, -2)  # ∂L/∂a
        return a, a * (from_value - (from_value * a).sum(axis=-1, keepdims=True))  # through softmax

    # --- written out ---------------------------------------------------------------------------------------------------

    def gradients(self, query: Shape, key: Shape, value: Shape, mask: Shape | None = None) -> tuple[Gradient, ...]:
        out = self.output_shape(query, key, value, mask)
        heads, (n, e), m, v = prod(out[:-2]), query[-2:], key[-2], value[-1]
        times = f", {heads} times" if heads > 1 else ""
        scores = "∂s from δ·vᵀ through the softmax"
        found = [
            Gradient("query", query, f"{scores}; then scale · ∂s·k", product_text((n, m), (m, e)) + times,
                     heads * n * m * (v + e)),
            Gradient("key", key, "scale · ∂sᵀ·q", product_text((n, m), (n, e), "left") + times, heads * n * m * e),
            Gradient("value", value, "aᵀ·δ: what each query took of it", product_text((n, m), (n, v), "left") + times,
                     heads * n * m * v)]
        if mask is not None:
            found.append(Gradient("mask", mask, "∂s itself, summed over what was broadcast (a boolean mask has none)",
                                  f"{heads}×{n}×{m} → {shape_text(mask)}"))
        return tuple(found)

    def explain_value(self, at: tuple[int, ...], query: Any, key: Any, value: Any, mask: Any = None) -> Working:
        *lead, i, e = at
        full = self.output_shape(query.shape, key.shape, value.shape, None if mask is None else mask.shape)[:-1]
        a = np.broadcast_to(self._weights(query, key, mask), (*full, key.shape[-2]))
        there = tuple(map(int, source_of(lead, value.shape[:-2])))
        made = along(("a", a, (*lead, i, None)), ("value", value, (*there, None, e)))
        q = query[(*map(int, source_of(lead, query.shape[:-2])), i)]
        k = key[tuple(map(int, source_of(lead, key.shape[:-2])))]
        scores = self._scale(query) * (k @ q)
        keys = largest(made.left_values.tolist(), lambda j: f"key {j}: scale · q·k = {number(scores[j])}, after the softmax "
                       f"a = {number(made.left_values[j])}", "keys")
        return Working(self.formula, (*keys, *sum_lines(made, place("y", at))), made)

    def explain_gradient(self, which: int, at: tuple[int, ...], delta: Any, *arrays: Any) -> Working:
        query, key, value, mask = [*arrays, None][:4]
        require_gradient(self, which, (0, 1, 2) if mask is None or mask.dtype == bool else range(4))
        a, s = (np.broadcast_to(f, (*delta.shape[:-1], key.shape[-2]))
                for f in self._score_deltas(delta, query, key, value, mask))
        *lead, token, e = at
        what = f"∂L/∂{place(self.arrays[which], at)}"
        if which == 3:
            places = copies_of(at, arrays[which].shape, s.shape)
            made = terms(("∂s", places, taken(s, places)), ("1", places, np.ones(len(places))))
            return Working("∂L/∂mask = ∂s, ∂s = a·(∂a − Σ a·∂a), ∂a = δ·vᵀ", sum_lines(made, what), made)
        summed = over_copies(tuple(lead), arrays[which].shape[:-2], delta.shape[:-2], s.shape[-1 if which == 0 else -2])
        mine, others, free = np.full(len(summed), token), summed[:, -1], np.full(len(summed), e)
        pair = (mine, others) if which == 0 else (others, mine)  # query and key of each term
        here = np.column_stack([summed[:, :-1], *pair])
        if which == 2:
            there = np.column_stack([summed[:, :-1], others, free])
            made = terms(("a", here, taken(a, here)), ("δ", there, taken(delta, there)))
            return Working("∂L/∂v[j,e] = Σ_i a[i,j] · δ[i,e]", sum_lines(made, what), made)
        other, name = (key, "key") if which == 0 else (query, "query")
        there = np.column_stack([source_of(summed[:, :-1], other.shape[:-2]), others, free])
        made = terms(("∂s", here, taken(s, here)), (f"scale · {name}", there, self._scale(query) * taken(other, there)))
        formula = "∂L/∂q[i,e] = Σ_j ∂s[i,j] · scale · k[j,e]" if which == 0 else "∂L/∂k[j,e] = Σ_i ∂s[i,j] · scale · q[i,e]"
        return Working(f"{formula}, ∂s = a·(∂a − Σ a·∂a), ∂a = δ·vᵀ", sum_lines(made, what), made)

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
