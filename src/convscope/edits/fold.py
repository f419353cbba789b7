"""Linear layers that follow each other become one.

    batch norm    y = γ·(W·x + b − μ)/√(σ² + ε) + β  =  (s·W)·x + s·(b − μ) + β,       s = γ/√(σ² + ε)
    before it     W·(s·x + t) + b                    =  (W·s)·x + (b + Σ W·t),         t = β − s·μ; no zero padding
    two of them   W₂·(W₁·x + b₁) + b₂                =  (W₂·W₁)·x + (W₂·b₁ + b₂)

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
section 3.2 (the norm into its convolution).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given
from convscope.editing.modules import constructor
from convscope.editing.weights.folding import LINEAR, NORMS, Folded, folded
from convscope.errors import UsageError
from convscope.fields import param, validate

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class Fold:
    """Which layers are one linear map, and can be computed as one?

    Batch norm goes into the convolution or dense layer before it, or into the one behind it where that pads nothing; two
    linear layers with nothing between become one: dense∘dense, convolution∘1×1, 1×1∘convolution where that pads nothing.
    Only where nobody else reads the value between, and each module is called once. Identity layers go; dropout goes with
    `dropout=True`. Sizes stay; parameters and MACs become fewer, except that two layers through a narrow waist of r units
    have r·(n + k) weights and one has n·k: those are left alone unless `waists=True`.
    Equal in eval(), to rounding (weights are folded in float64). Misleads: in train() it is another network, without batch
    statistics; and the waist of two layers was a constraint (rank ≤ r) that training the one does not keep.
    Errors: UsageError where there is nothing to fold.
    Source: Jacob et al. 2018.

    >>> import convscope as cs
    >>> cs.edit("zoo:resnet18", "fold", layer="layer1.0")[1].changes[0]
    'layer1.0.bn1 goes into layer1.0.conv1'
    """

    layer: str = param("", "layer or block; empty: everywhere")
    norms: bool = param(True, "batch norm into its neighbour")
    stacks: bool = param(True, "two linear layers with nothing between into one")
    waists: bool = param(False, "also where one layer has more weights than the two")
    dropout: bool = param(False, "take dropout away, also between two linear layers")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        asked = set(draft.under(self.layer) if self.layer else draft.nodes)
        if len(asked) == 1:  # one layer, with whichever of its neighbours it goes into
            asked |= {n for one in tuple(asked) for n in (*one.all_input_nodes, *one.users) if n in draft.nodes}
        self._drop(draft, asked)
        left: dict[str, str] = {}
        while any(self._pair(draft, node, asked, left) for node in draft.nodes if node in asked):
            left.clear()  # a fold may make the next one possible
        if not draft.changes:
            found = "; ".join(left.values()) or "no two linear layers and no batch norm follow each other there"
            raise UsageError(f"there is nothing to fold in {self.layer or draft.net.name}", found, "choose another block")
        draft.note("equal in eval(); where a norm was folded, train() differs now: it takes no statistics of the batch")
        for reason in left.values():
            draft.note(f"left as it is: {reason}")

    def _drop(self, draft: Draft, asked: set[Node]) -> None:
        gone = (nn.Identity, *_DROPOUTS) if self.dropout else (nn.Identity,)
        for node in [n for n in draft.find(*gone) if n in asked]:
            address = draft.address(node)
            draft.say(f"{address} ({draft.kind(node)}) goes", f"{draft.python(address)} = nn.Identity()")
            draft.drop(node)
            asked.discard(node)

    def _pair(self, draft: Draft, second: Node, asked: set[Node], left: dict[str, str]) -> bool:
        """Fold this call and the one before it into one, if that can be done; if not, say why in `left`."""
        first = second.all_input_nodes[0] if second.all_input_nodes else second
        if first not in asked or first.op != "call_module" or second.op != "call_module":
            return False
        a, b = draft.module(first), draft.module(second)
        norms = isinstance(a, NORMS) or isinstance(b, NORMS)
        known = all(isinstance(m, (*LINEAR, *NORMS)) for m in (a, b))
        if not known or not (self.norms if norms else self.stacks):
            return False
        found = _apart(draft, first, second) or folded(a, b, draft.shape(first))
        if isinstance(found, Folded) and not norms and not self.waists:
            two, one = (sum(m.weight.numel() for m in layers) for layers in ((a, b), (found.module,)))  # type: ignore
            if one > two:
                found = f"one layer has {one:,} weights, the two have {two:,} (waists=true folds them)"
        if isinstance(found, str):
            names = f"{draft.address(first)}, {draft.address(second)}"
            left[names] = f"{names}: {found}"
            return False
        self._one(draft, first, second, found)
        asked -= {first, second} - set(draft.nodes)
        return True

    @staticmethod
    def _one(draft: Draft, first: Node, second: Node, found: Folded) -> None:
        """The one layer stands where the linear one stood, of two linear ones where the second did."""
        kept, gone = (first, second) if isinstance(draft.module(second), NORMS) else (second, first)
        stays, goes = draft.address(kept), draft.address(gone)
        a, b = (draft.python(draft.address(n)) for n in (first, second))
        draft.say(f"{goes} goes into {stays}", f"a, b, one = {a}, {b}, {constructor(found.module)}",
                  *found.code, f"{draft.python(stays)}, {draft.python(goes)} = one, nn.Identity()")
        draft.put(kept, found.module)
        draft.drop(gone)


def _apart(draft: Draft, first: Node, second: Node) -> str:
    """Why two calls cannot be one, whatever they compute: others read the value between, or a module is called twice."""
    if len(first.users) > 1:
        return f"{len(first.users)} calls read the value between"
    for node in (first, second):
        calls = sum(n.op == "call_module" and n.target == node.target for n in draft.nodes)
        if calls > 1:
            return f"{draft.address(node).split(':')[0]} is called {calls} times"
    return ""
