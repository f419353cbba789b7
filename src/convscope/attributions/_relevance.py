"""Relevance carried backwards as its ratio to the value, R = y ⊙ c: what LRP and its relatives share.

c is a *modified gradient*: it starts as 1 at the score, every operation hands its own multiples of it down, and plain
autograd adds them up where a value is used twice. So sums and concatenations share relevance in proportion by themselves,
affine maps need no folding, and LRP-0 never divides. A method is a table `ATen name -> handler`; the ledger counts what
every operation receives and hands on, apart from its own rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_map

from convscope import layers
from convscope.attributions import _map, _roles
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Rule, Target


@dataclass
class Call:
    """One operation at work: its node, its arguments (tensors that depend on the image carry c), and what it may note."""

    node: Node
    address: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    walk: Walk
    shares: list[tuple[str, Tensor, Tensor]] = field(default_factory=list["tuple[str, Tensor, Tensor]"])

    @property
    def name(self) -> str:
        return layers.op_name(self.node)

    @property
    def live(self) -> list[int]:
        """Which positional arguments are tensors that depend on the image."""
        return [at for at, a in enumerate(self.args) if isinstance(a, Tensor) and a.requires_grad]

    def run(self, *replaced: Any) -> Any:
        """The operation itself, with its first arguments replaced."""
        return self.target(*replaced, *self.args[len(replaced):], **self.kwargs)

    def arg(self, at: int, default: Any = None) -> Any:
        """An argument by its place in the schema; trailing ones may be left out."""
        return self.args[at] if len(self.args) > at else default

    def note(self, kind: str, at: Tensor, share: Tensor) -> None:
        """Σ c(at) · share is relevance that goes to no input: kind 'bias' or 'epsilon'."""
        self.shares.append((kind, at, share.detach()))


Handler = Callable[..., Any]  # (call) -> value; of a pair (norm, convolution) -> value


@dataclass
class Row:
    """What one operation received and handed on, over all images of the batch."""

    address: str
    operator: str
    out: float = 0.0
    size: float = 0.0  # Σ |R| received: the scale that rounding has
    into: float = 0.0
    bias: float = 0.0
    epsilon: float = 0.0

    @property
    def unexplained(self) -> float:
        """|received − handed on − shares| relative to Σ |R| received."""
        rest = abs(self.out - self.into - self.bias - self.epsilon)
        return rest / self.size if self.size > 0 else rest


@dataclass
class Walk:
    """One run of the graph under a table of handlers.

    `pairs`: a convolution's node -> the batch norm that it is one with; the handler is then `NAME_pair(norm, convolution)`.
    """

    net: Network
    handlers: Mapping[str, Handler]
    pairs: Mapping[Node, Node] = field(default_factory=dict[Node, Node])
    method: str = "this method"
    reason: str = ""  # why operations without a handler have none
    positive: bool = False  # the method shares probabilities among positive values only
    base: Tensor | None = None  # what the image is compared with: its relevance is (x − base) ⊙ c
    counted: bool = True  # keep a ledger
    image: Tensor = field(default_factory=lambda: torch.empty(0))
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    leaves: list[Tensor] = field(default_factory=list[Tensor])  # further tensors that take part in the image's relevance
    held: dict[Node, Call] = field(default_factory=dict[Node, Call])

    def rules(self) -> dict[str, Rule]:
        """A rule for each kind of operation. The interpreter goes through the graph in order, so the n-th is the n-th."""
        return {name: partial(self._step, iter(nodes)) for name, nodes in _roles.by_name(self.net).items()}

    def _step(self, nodes: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        node = next(nodes)
        held = self.held.pop(node, None)
        if held is not None:
            args = (held.args[0], *args[1:])
        if not layers.is_tensor(node) or not any(isinstance(a, Tensor) and a.requires_grad for a in _flat((args, kwargs))):
            return target(*args, **kwargs)
        call = Call(node, self.address(node), target, args, kwargs, self)
        if node in self.pairs:
            self.held[self.pairs[node]] = call
            return tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, target(*args, **kwargs))
        name = layers.op_name(node)
        if name not in self.handlers:
            raise does_not_apply(self, call, self.reason or "what its inputs share is not defined")
        row = self.rows.setdefault(node.name, Row(call.address, layers.shown_name(node)))
        call.args, call.kwargs = tree_map(partial(self.watched, row), (args, kwargs))
        value = self.handlers[name](call) if held is None else self.handlers[name + "_pair"](call, held)
        for tensor in _flat(value) if self.counted else ():
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(partial(self._received, row, tensor.detach()))
        for kind, at, share in call.shares if self.counted else ():
            if at.requires_grad:
                at.register_hook(partial(_shared, row, kind, share))
        return value

    def watched(self, row: Row, value: Any) -> Any:
        """The same value as this operation's own input: what comes back to it is counted."""
        if not (self.counted and isinstance(value, Tensor) and value.requires_grad):
            return value
        own = value.view_as(value)
        own.register_hook(partial(self._handed, row, value.detach()))
        return own

    def leaf(self, call: Call, value: Tensor) -> Tensor:
        """A further tensor, one number a pixel in their order, whose share, value ⊙ c, belongs to the pixels."""
        own = value.detach().clone().requires_grad_()
        own.register_hook(partial(self._handed, self.rows[call.node.name], own.detach()))
        self.leaves.append(own)
        return own

    def address(self, node: Node) -> str:
        """The layer that a node is, or the node's own name where it is part of one."""
        return next((layer.address for layer in self.net.layers if layer.node == node.name), node.name)

    def _received(self, row: Row, value: Tensor, c: Tensor) -> None:
        share = (value * c).clamp(min=0) if self.positive else value * c
        row.out += _total(share)
        row.size += _total(share.abs())

    def _handed(self, row: Row, value: Tensor, c: Tensor) -> None:
        row.into += _total((value * c).clamp(min=0) if self.positive else value * c)


def does_not_apply(walk: Walk, call: Call, reason: str) -> UsageError:
    """The network has an operation that the method has no rule for."""
    return UsageError(f"{walk.method} does not apply to {walk.net.name}",
                      f"it has no rule for {call.name!r} ({call.address}): {reason}",
                      "use a gradient method or occlusion, or ask about a layer before it")


def _shared(row: Row, kind: str, share: Tensor, c: Tensor) -> None:
    amount = _total(share * c)
    if kind == "bias":
        row.bias += amount
    else:
        row.epsilon += amount


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, (tuple, list)):
        return [one for part in value for one in _flat(part)]
    return [one for part in value.values() for one in _flat(part)] if isinstance(value, dict) else [value]


@dataclass(frozen=True)
class Found:
    """The image's relevance (B, C, H, W), the scores (B,), and the ledger."""

    values: Tensor
    scores: Tensor
    rows: tuple[Row, ...]


def propagate(net: Network, start: Callable[[Tensor], Walk], x: Tensor, target: Target,
              seed: Callable[[Tensor], Tensor] | None = None) -> Found:
    """Carry the score's relevance to the image.

    `start`: images -> the walk for them. `seed`: scores -> c there, by default 1.
    """
    values, scores, rows = [], [], dict[str, Row]()
    for part, count in _map.pieces(net, x, len(x)):
        with torch.inference_mode(False), torch.enable_grad():
            own = part.detach().clone().requires_grad_()
            walk = start(own.detach())
            walk.image = own.detach()
            walk.rows = rows  # several runs of a network with a fixed batch fill one ledger
            try:
                score = target.score(net, own, rules=walk.rules(), grad=True)
            except UsageError as problem:  # the interpreter has added lines of its own to what it says
                raise UsageError(problem.asked, problem.found, problem.remedy) from None
            total = torch.zeros_like(own)
            if score.grad_fn is not None:
                c = torch.ones_like(score) if seed is None else seed(score.detach())
                leaves = (own, *walk.leaves)
                slopes = torch.autograd.grad(score, leaves, c, allow_unused=True)
                for leaf, slope in zip(leaves, slopes, strict=True):
                    base = walk.base if leaf is own and walk.base is not None else torch.zeros_like(leaf)
                    if slope is not None:
                        share = ((leaf.detach() - base) * slope).reshape(total.shape)
                        total = total + (share.clamp(min=0) if walk.positive else share)
        values.append(total[:count].detach())
        scores.append(score[:count].detach())
    return Found(torch.cat(values), torch.cat(scores), tuple(rows.values()))
