"""A walk that ends where the map becomes a vector, and puts a pooling there whose result has one size, whatever the image's.

    adaptive    y[c, i, j] = mean of x over the (i, j)-th of h×w equal pieces; h×w: the map of the training size
    pyramid     [max over the whole map ; over each of 2×2 pieces ; over each of 4×4 pieces]     (1 + 4 + 16)·C numbers
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import Node

from convscope.editing import parts
from convscope.editing.any_size import kinds
from convscope.editing.any_size.forms import IMAGE, Form
from convscope.editing.any_size.freeing import Walk
from convscope.editing.any_size.inner import pools_whole
from convscope.editing.draft import Draft


class Ending(Walk):
    """`levels`: pieces along a side, one pooling each (pyramid); none: adaptive pooling to the training map."""

    def __init__(self, draft: Draft, levels: tuple[int, ...] = ()) -> None:
        super().__init__(draft)
        self.levels = levels
        self.pooled: list[str] = []  # what pools to one size already
        self.anew = 0  # dense layers that begin again
        self.pyramid: set[Node] = set()  # values that are the pyramid, seen in some way, until a dense layer reads it
        self.whole = {n for n in draft.nodes if pools_whole(draft, n) or kinds.base(draft, n) in kinds.ADAPTIVE}

    def merged(self, node: Node, value: Node, merges: bool) -> bool:
        """A reshape that joins rows or columns with anything else: here the map ends."""
        if not merges:
            return False
        form: Form = self.forms[value]
        order = form.order if form.natural and len(form.order) == 4 else IMAGE
        if not form.natural:
            self.on_map(node, value)
        now, form = self.arranged(value, IMAGE)
        if self.levels:
            self._pyramid(node, now, form)
            return True
        h, w = form.map
        pool = nn.AdaptiveAvgPool2d((h, w))
        last = self.draft.call(now, pool, now, name="any_size")
        self.draft.say(f"{self.draft.address(last)}: the map is averaged to {h}×{w} places, as at the training size, before "
                       f"{self.draft.address(node)}",
                       f"model.{self.draft.address(last)} = nn.AdaptiveAvgPool2d(({h}, {w}))  # call "
                       f"it before {self.draft.address(node)}")
        if order != IMAGE:
            last = self.draft.call(last, torch.permute, last, tuple(IMAGE.index(k) for k in order), name="channels_last")
        self.changed += 1
        self.rewire(node)
        node.replace_input_with(self.at.get(value, value), last)
        return True

    def stays(self, node: Node, value: Node, form: Form) -> bool:
        """Pooling of the whole map gives one size as it is; a pyramid takes the place of the head's."""
        if node not in self.whole:
            return False
        if node in self.inner or not self.levels:
            self.keep(node, value, form)
            if node not in self.inner:
                self.pooled.append(self.draft.address(node))
            return True
        self._pyramid(node, *self.arranged(value, IMAGE))
        return True

    # ---- pyramid -----------------------------------------------------------------------------------------------------

    def _pyramid(self, node: Node, now: Node, form: Form) -> None:
        draft, count = self.draft, sum(n * n for n in self.levels)
        flat = []
        for n in self.levels:
            level = draft.call(now if not flat else flat[-1], nn.AdaptiveMaxPool2d(n), now, name=f"pyramid.level{n}")
            flat.append(draft.call(level, torch.flatten, level, 1, name=f"pyramid.flatten{n}"))
        whole = draft.call(flat[-1], parts.Concat(1), *flat, name="pyramid.join")
        whole.meta["shape"] = (2, count * form.width)
        self.at[node] = whole
        self.pyramid.add(node)
        self.changed += 1
        said = " + ".join(f"{n}×{n}" for n in self.levels)
        draft.say(f"{draft.address(node)}: a pyramid of maxima over {said} pieces of the map in its place, "
                  f"{count}·{form.width} = {count * form.width:,} numbers",
                  f"# in forward, in place of {draft.address(node)}:",
                  f"x = torch.cat([F.adaptive_max_pool2d(x, n).flatten(1) for n in {self.levels}], 1)")

    def _fixed(self, node: Node) -> None:
        found = [a for a in node.all_input_nodes if a in self.pyramid]
        if not found:
            return self.rewire(node)
        now, name = self.at.get(found[0], found[0]), kinds.base(self.draft, node)
        numbers = now.meta["shape"][1]
        if name in kinds.RESHAPES | kinds.PERMUTES | kinds.ADAPTIVE | kinds.SUMS | kinds.AVERAGES | {"getitem"}:
            self.at[node] = now
        elif kinds.pointwise(self.draft, node) and len(node.all_input_nodes) == 1:
            self.rewire(node)
            node.meta["shape"] = now.meta["shape"]
        elif name in ("Linear", "BatchNorm1d"):
            self._anew(node, now, numbers)
            if name == "Linear":
                return None
        elif name in kinds.DENSE:
            weight, bias, _ = self.heads._weights(node)
            self.at[node] = self.draft.call(node, nn.Linear(numbers, len(weight), bias is not None), now,
                                            name=self.draft.address(node))
            self._said(node, f"dense {weight.shape[1]:,} → {len(weight):,}", f"{numbers:,} → {len(weight):,}")
            return None
        else:
            self.refuse(node, f"{name} stands between the map and the first dense layer",
                        "how=adaptive leaves what comes after as it is")
        self.pyramid.add(node)
        return None

    def _anew(self, node: Node, now: Node, numbers: int) -> None:
        old: Any = self.draft.module(node)
        self.rewire(node)
        if isinstance(old, nn.Linear):
            new: nn.Module = nn.Linear(numbers, old.out_features, old.bias is not None)
            self._said(node, f"dense {old.in_features:,} → {old.out_features:,}", f"{numbers:,} → {old.out_features:,}")
        else:
            new = nn.BatchNorm1d(numbers, old.eps, old.momentum, old.affine, old.track_running_stats)
            node.meta["shape"] = now.meta["shape"]
            self._said(node, f"batch norm of {old.num_features:,}", f"{numbers:,}")
        self.draft.put(node, new)

    def _said(self, node: Node, was: str, becomes: str) -> None:
        address = self.draft.address(node)
        self.anew += "dense" in was
        self.draft.say(f"{address}: {was} is made anew, {becomes}, with random weights: train it",
                       f"# {address} anew: {becomes}")
