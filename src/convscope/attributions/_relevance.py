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
from convscope.attributions import _map
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Rule, Target, first_tensor

# Linear without a constant term, or choosing one of the inputs: the gradient is the ratio's way down.
PLAIN = frozenset(
    "view reshape _unsafe_view flatten permute transpose t expand expand_as unsqueeze squeeze slice select narrow clone alias "
    "contiguous _to_copy to cat stack split split_with_sizes chunk unbind roll flip index index_select gather repeat "
    "as_strided unfold im2col pixel_shuffle pixel_unshuffle channel_shuffle movedim neg cumsum mean sum avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d upsample_nearest2d "
    "upsample_bilinear2d upsample_bicubic2d _upsample_nearest_exact2d relu leaky_relu prelu _prelu_kernel max_pool1d max_pool2d "
    "max_pool3d max_pool2d_with_indices adaptive_max_pool2d max amax reflection_pad1d reflection_pad2d replication_pad2d "
    "dropout where maximum".split()
)
AFFINE = frozenset("add sub rsub pad constant_pad_nd batch_norm _native_batch_norm_legit_no_training".split())
LINEAR = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution".split())
PRODUCTS = frozenset("mul matmul mm bmm".split())
ELEMENTWISE = frozenset(
    "sigmoid tanh silu gelu hardtanh hardswish hardsigmoid elu selu celu softplus mish relu6 clamp clamp_min clamp_max erf exp "
    "sqrt rsqrt reciprocal abs pow square log log1p log_sigmoid softsign threshold hardshrink softshrink sin cos".split()
)
BATCH_NORMS = frozenset(("batch_norm", "_native_batch_norm_legit_no_training"))
COPIES = frozenset(("clone", "alias", "detach", "contiguous", "_to_copy", "to", "lift_fresh_copy", "dropout"))
BOUNDED = frozenset(("sigmoid", "hardsigmoid", "softmax", "_softmax", "hardtanh", "clamp", "rsqrt", "reciprocal"))
_ON_THE_WAY = COPIES | frozenset(("view", "reshape", "expand", "permute", "transpose", "unsqueeze", "squeeze", "select", "slice",
                                  "getitem", "div", "mean"))


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

    def note(self, kind: str, at: Tensor, share: Tensor) -> None:
        """Σ c(at) · share is relevance that goes to no input: kind 'bias' or 'epsilon'."""
        self.shares.append((kind, at, share.detach()))


Handler = Callable[[Call], Any]


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
    """One run of the graph under a table of handlers. `pairs`: a convolution's node -> the batch norm that it is one with."""

    net: Network
    handlers: Mapping[str, Handler]
    pairs: Mapping[Node, Node] = field(default_factory=dict[Node, Node])
    positive: bool = False  # the method shares probabilities among positive values only
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    leaves: list[Tensor] = field(default_factory=list[Tensor])  # further tensors that take part in the image's relevance
    held: dict[Node, Call] = field(default_factory=dict[Node, Call])

    def rules(self) -> dict[str, Rule]:
        """A rule for each kind of operation. The interpreter goes through the graph in order, so the n-th is the n-th."""
        return {name: partial(self._step, iter(nodes)) for name, nodes in by_name(self.net).items()}

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
            raise UsageError(f"no rule for the operation {name!r} of {call.address}", "its share of relevance is not defined",
                             "use a gradient method, or rewrite that operation with ones that have a rule")
        row = self.rows.setdefault(node.name, Row(call.address, layers.shown_name(node)))
        call.args, call.kwargs = tree_map(partial(self.watched, row), (args, kwargs))
        value = self.handlers[name](call) if held is None else self.handlers[name + "_pair"](call, held)
        for tensor in _flat(value):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(partial(self._received, row, tensor.detach()))
        for kind, at, share in call.shares:
            if at.requires_grad:
                at.register_hook(partial(_shared, row, kind, share))
        return value

    def watched(self, row: Row, value: Any) -> Any:
        """The same value as this operation's own input: what comes back to it is counted."""
        if not (isinstance(value, Tensor) and value.requires_grad):
            return value
        own = value.view_as(value)
        own.register_hook(partial(self._handed, row, value.detach()))
        return own

    def leaf(self, call: Call, value: Tensor) -> Tensor:
        """A further tensor whose share, value ⊙ c, belongs to the image's pixels."""
        own = value.detach().clone().requires_grad_()
        own.register_hook(partial(self._handed, self.rows[call.node.name], own.detach()))
        self.leaves.append(own)
        return own

    def address(self, node: Node) -> str:
        """The layer that a node is, or the node's own name where it is part of one."""
        return next((layer.address for layer in self.net.layers if layer.node == node.name), node.name)

    def _received(self, row: Row, value: Tensor, c: Tensor) -> None:
        share = (value.clamp(min=0) if self.positive else value) * c
        row.out += _total(share)
        row.size += _total(share.abs())

    def _handed(self, row: Row, value: Tensor, c: Tensor) -> None:
        row.into += _total((value.clamp(min=0) if self.positive else value) * c)


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


def propagate(start: Callable[[], Walk], x: Tensor, target: Target, seed: Callable[[Tensor], Tensor] | None = None) -> Found:
    """Carry the score's relevance to the image. `seed`: scores (B,) -> c at the score, by default 1."""
    values, scores, rows = [], [], dict[str, Row]()
    net = start().net
    for part, count in _map.pieces(net, x, len(x)):
        with torch.inference_mode(False), torch.enable_grad():
            walk = start()
            walk.rows = rows  # several runs of a network with a fixed batch fill one ledger
            own = part.detach().clone().requires_grad_()
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
                    if slope is not None:
                        total = total + leaf.detach() * slope
        values.append(total[:count].detach())
        scores.append(score[:count].detach())
    return Found(torch.cat(values), torch.cat(scores), tuple(rows.values()))


def by_name(net: Network) -> dict[str, list[Node]]:
    """The graph's operations by ATen name, in the order in which they run."""
    found: dict[str, list[Node]] = {}
    for node in net.program.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "_schema", None) is not None:
            found.setdefault(layers.op_name(node), []).append(node)
    return found


# ---- facts of the graph --------------------------------------------------------------------------------------------------


def pairs(net: Network, target: Target) -> dict[Node, Node]:
    """Convolutions and linear layers whose output feeds a batch norm and nothing else: the two are one affine map."""
    asked = net[target.unit.layer].node if target.unit is not None else ""
    found: dict[Node, Node] = {}
    for node in net.program.graph.nodes:
        if node.op != "call_function" or layers.op_name(node) not in BATCH_NORMS or not isinstance(node.args[0], Node):
            continue
        before = node.args[0]
        mapped = before.op == "call_function" and layers.op_name(before) in LINEAR and not _transposed(before)
        if mapped and len(before.users) == 1 and before.name != asked and _width(before) <= 5:
            found[before] = node
    return found


def _transposed(node: Node) -> bool:
    return "transpose" in layers.op_name(node) or (layers.op_name(node) == "convolution" and bool(node.args[6]))


def _width(node: Node) -> int:
    """A linear layer's features stand last: they are batch norm's channels only in a matrix."""
    axes = len(layers.shape_of(node.meta["val"]))
    return axes if layers.op_name(node) != "linear" or axes == 2 else 99


def reads_image(net: Network, node: Node) -> bool:
    """Does this operation read the image itself, through nothing but copies?"""
    source = node.args[0]
    while isinstance(source, Node) and source.op == "call_function" and layers.op_name(source) in COPIES:
        source = source.args[0]
    return source is net.inputs[0]


def gate(call: Call) -> int | None:
    """Which operand of a product of two that depend on the image is the gate? None: neither, or both alike.

    The one that comes out of a bounded function (sigmoid, softmax, …); otherwise the one with fewer numbers, spread over the
    other (a weight a channel).
    """
    bounded = [_is_bounded(a) for a in call.node.args[:2]]
    if bounded[0] != bounded[1]:
        return bounded.index(True)
    sizes = [a.numel() for a in call.args[:2]]
    if sizes[0] != sizes[1] and call.name == "mul":
        return sizes.index(min(sizes))
    return None


def _is_bounded(node: Any) -> bool:
    while isinstance(node, Node) and node.op == "call_function" and layers.op_name(node) not in BOUNDED:
        if layers.op_name(node) not in _ON_THE_WAY:
            return False
        node = node.args[0]
    return isinstance(node, Node) and node.op == "call_function"


__all__ = ["Call", "Found", "Row", "Walk", "first_tensor", "gate", "pairs", "propagate", "reads_image"]
