"""Other backward rules for rectifiers, and what stands between the image and a target.

With x the input of a rectifier y = max(x, 0), R what comes back from above and [·] one where true, else zero:

    gradient    R · [x > 0]             Simonyan, Vedaldi, Zisserman 2013
    deconvnet   R · [R > 0]             Zeiler and Fergus 2014: the same rectifier on the way back, the forward mask not used
    guided      R · [x > 0] · [R > 0]   Springenberg et al. 2014: both

The rectifiers are `relu` in all its spellings (in place, functional, reused: one node a call), what is clipped below at zero
(`clamp(min=0)`, `threshold(0, 0)`), and ReLU6, whose forward mask is [0 < x < 6]; on the way back nothing is capped at 6,
for the papers rectify and do not clip. Other activations keep their own derivative, and are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope import layers
from convscope.attributions import _map
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Rule, Target

OTHERS = frozenset({  # activations that are no rectifiers
    "celu", "elu", "gelu", "gru", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
    "lstm", "mish", "prelu", "rnn_relu", "rnn_tanh", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink",
    "softsign", "tanh", "tanhshrink",
})
CLASS_BLIND = "hardly depends on the class that is asked about: it nearly recovers the image (Nie, Zhang, Patel 2018)"


def path(net: Network, target: Target) -> list[Node]:
    """The operations between the image and the target, in the order in which they run."""
    wanted = net.output.node if target.unit is None else net[target.unit.layer].node
    live: set[Node] = {net.inputs[0]}
    for node in net.program.graph.nodes:
        if node.op == "call_function" and layers.is_tensor(node) and any(a in live for a in node.all_input_nodes):
            live.add(node)
    found: set[Node] = set()
    waiting = [n for n in net.program.graph.nodes if n.name == wanted]
    while waiting:
        node = waiting.pop()
        if node in live and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return [n for n in net.program.graph.nodes if n in found and n.op == "call_function"]


def is_rectifier(node: Node) -> bool:
    """Does this call cut off what is below zero, and nothing else but what is above a limit?"""
    name, settings = layers.op_name(node), layers.tensor_arguments(node)[1]
    if name in ("relu", "relu6"):
        return True
    if name in ("clamp", "clamp_min", "hardtanh"):
        low, high = settings.get("min", settings.get("min_val")), settings.get("max", settings.get("max_val"))
        return _is(low, 0) and (high is None or (isinstance(high, (int, float)) and high > 0))
    return name == "threshold" and _is(settings.get("threshold"), 0) and _is(settings.get("value"), 0)


def _is(value: Any, wanted: float) -> bool:
    return isinstance(value, (int, float)) and value == wanted


class Rectifiers:
    """A rule for the rectifiers of one graph, that counts where it worked. For one run.

    `back(mask, R)` is the rule, with `mask` the forward mask as a tensor of booleans.
    """

    def __init__(self, net: Network, target: Target, back: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.back = back
        self.nodes = [n for n in path(net, target) if is_rectifier(n)]
        self.reached: set[str] = set()  # names of the nodes where the rule ran on the way back
        names = {layers.op_name(n) for n in net.program.graph.nodes if n.op == "call_function" and is_rectifier(n)}
        self.rules: dict[str, Rule] = {name: by_node(net, name, self._run) for name in names}

    def _run(self, node: Node, call: Any, *args: Any, **kwargs: Any) -> Any:
        if node not in self.nodes:
            return call(*args, **kwargs)  # a clamp that is no rectifier, or one that the target does not depend on
        return _Rectify.apply(args[0], lambda x: call(x, *args[1:], **kwargs), self, node)

    @property
    def share(self) -> str:
        """'5 of 5'."""
        return f"{len(self.reached)} of {len(self.nodes)}"


class _Rectify(torch.autograd.Function):
    """Forward the operation's own value, bit for bit; backward the rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rectify: Callable[[Tensor], Tensor], rectifiers: Rectifiers, node: Node) -> Tensor:
        settings = layers.tensor_arguments(node)[1]
        limit = 6 if layers.op_name(node) == "relu6" else settings.get("max_val", settings.get("max"))
        ctx.save_for_backward((x > 0) if limit is None else (x > 0) & (x < limit))
        ctx.rectifiers, ctx.node = rectifiers, node
        return rectify(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.rectifiers.reached.add(ctx.node.name)
        (mask,) = ctx.saved_tensors
        return ctx.rectifiers.back(mask, grads[0]), None, None, None


def guided(mask: Tensor, r: Tensor) -> Tensor:
    """R · [x > 0] · [R > 0]"""
    return torch.where(mask & (r > 0), r, torch.zeros_like(r))


def deconvnet(_: Tensor, r: Tensor) -> Tensor:
    """R · [R > 0]"""
    return torch.where(r > 0, r, torch.zeros_like(r))


def by_node(net: Network, name: str, rule: Callable[..., Any]) -> Rule:
    """A rule that is told which node it replaces: calls of one operation come in the order of the graph. For one run."""
    nodes = [n for n in net.program.graph.nodes if n.op == "call_function" and layers.op_name(n) == name]
    count = 0

    def told(call: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        node = nodes[count]
        count += 1
        return rule(node, call, *args, **kwargs)

    return told


def required(net: Network, method: str) -> None:
    """Refuse a network without rectifiers: there the rule would change nothing. Errors: UsageError."""
    nodes = [n for n in net.program.graph.nodes if n.op == "call_function"]
    if not any(map(is_rectifier, nodes)):
        others = counted(nodes)
        found = f"its activations are {others}" if others else "it has no activation that we know"
        raise UsageError(f"{method} does not apply to {net.name}: it has no ReLU", found,
                         "take gradient or integrated-gradients")


def counted(nodes: Iterable[Node]) -> str:
    """'16 sigmoid, 49 silu': activations that are no rectifiers."""
    found = Counter(layers.op_name(n) for n in nodes if layers.op_name(n) in OTHERS and not is_rectifier(n))
    return ", ".join(f"{n} {name}" for name, n in sorted(found.items()))


def remarks(net: Network, target: Target, rectifiers: Rectifiers) -> tuple[dict[str, float | str], tuple[str, ...]]:
    """Proof and notes that the methods with such a rule share."""
    others = counted(path(net, target))
    proof: dict[str, float | str] = {"rectifiers that the rule reached": rectifiers.share}
    notes: list[str] = [CLASS_BLIND]
    if not rectifiers.nodes:
        notes.insert(0, "no rectifier lies between the image and the target: this is the plain gradient")
    elif len(rectifiers.reached) < len(rectifiers.nodes):
        missed = [n.name for n in rectifiers.nodes if n.name not in rectifiers.reached]
        notes.insert(0, f"the promise fails: the rule did not reach {', '.join(missed[:3])}")
    if others:
        proof["activations left with their own derivative"] = others
    return proof, tuple(notes)


def rectified(net: Network, x: Tensor, target: Target, method: str, back: Callable[[Tensor, Tensor], Tensor]
              ) -> tuple[Tensor, Tensor, dict[str, float | str], tuple[str, ...]]:
    """∂score/∂x with `back` at every rectifier, the scores, proof and notes. Errors: UsageError."""
    required(net, method)
    rectifiers = Rectifiers(net, target, back)
    values, scores = _map.gradient(net, x, target, rectifiers.rules)
    return values, scores, *remarks(net, target, rectifiers)
