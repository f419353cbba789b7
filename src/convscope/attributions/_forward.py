"""One plain forward pass, with its autograd graph, for several methods that ask about the same images.

    with sharing(net, x):
        GradCAM()(net, x, target)      # runs the network
        LayerCAM()(net, x, target)     # finds every value that it needs already there

Inside `sharing` a `Forward` is looked up by network and images; outside, whoever asks makes what it needs and no more.
Weights take no gradients: only what depends on the image (or on the layer where it starts) is kept for the way back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope.network import Network
from convscope.run import Runner, Target, arguments, first_tensor


class _Enough(Exception):
    """The last wanted node has its value."""


class _Recorder(Runner):
    """Walks the graph once and keeps values by node name. A `leaf` node's value is cut off from what made it."""

    def __init__(self, net: Network, leaf: str = "", last: str = "") -> None:
        super().__init__(net, {}, None, None)
        self.leaf, self.last = leaf, last
        self.values: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name == self.leaf:
            value = _cut(value)
        if not self.leaf or n.name in (self.leaf, self.last):
            self.values[n.name] = value
        if n.name == self.last:
            raise _Enough
        return value


def _cut(value: Any) -> Any:
    """The first tensor as a leaf of its own; batch norm and others give several."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_()
    return type(value)([_cut(value[0]), *value[1:]])


@dataclass(frozen=True)
class Forward:
    """What one run left: the images (a leaf), every node's value, and the network's output."""

    net: Network
    x: Tensor
    values: dict[str, Any]
    output: Tensor

    @classmethod
    def of(cls, net: Network, x: Tensor) -> Forward:
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            own = x.detach().clone().requires_grad_()
            recorder = _Recorder(net)
            output = recorder.run(*arguments(net, own))
        return cls(net, own, recorder.values, first_tensor(output[net.output_at]))

    def value(self, address: str) -> Tensor:
        """A layer's value."""
        return first_tensor(self.values[self.net[address].node])

    def score(self, target: Target) -> Tensor:
        """(B,) with its autograd graph."""
        with torch.inference_mode(False), torch.enable_grad():
            return target.of(self.net, self.output if target.unit is None else self.value(target.unit.layer))

    def gradients(self, target: Target, wanted: Sequence[Tensor]) -> list[Tensor]:
        """∂score/∂v for each of `wanted`, by one backward pass; zeros where the score does not depend on it."""
        return slopes(self.score(target), wanted)


def slopes(score: Tensor, wanted: Sequence[Tensor]) -> list[Tensor]:
    """∂Σ score/∂v for each of `wanted`; zeros where there is no path. The graph stays for the next question."""
    apart = [v for v in wanted if v.requires_grad]
    found: dict[int, Tensor | None] = {}
    if apart and score.requires_grad:
        with torch.inference_mode(False), torch.enable_grad():
            grads = torch.autograd.grad(score.sum(), apart, allow_unused=True, retain_graph=True)
        found = {id(v): g for v, g in zip(apart, grads, strict=True)}
    return [torch.zeros_like(v) if (g := found.get(id(v))) is None else g.detach() for v in wanted]


@dataclass
class _Offer:
    """The images that methods may share, and the pass over them once somebody has asked for it."""

    net: Network
    x: Tensor
    made: Forward | None = None


_SHARED: ContextVar[_Offer | None] = ContextVar("the shared forward pass", default=None)


@contextlib.contextmanager
def sharing(net: Network, x: Tensor) -> Iterator[None]:
    """Methods that are called inside, on these images, share one forward pass, made when first wanted.

    Other images (baselines, noise, shifted points) and changed rules never use it. Errors: ShapeError.
    """
    value = net.check_input(x).detach()
    token = _SHARED.set(_Offer(net.at(value.shape[1:]), value))
    try:
        yield
    finally:
        _SHARED.reset(token)


def shared(net: Network, x: Tensor) -> Forward | None:
    """The pass for these images, where it was offered; else None."""
    offer = _SHARED.get()
    if offer is None or offer.net is not net or offer.x.shape != x.shape or not torch.equal(offer.x, x):
        return None
    if offer.made is None:
        offer.made = Forward.of(net, x)
    return offer.made


def from_layer(net: Network, x: Tensor, address: str, target: Target) -> tuple[Tensor, Tensor]:
    """A layer's value as a leaf, and the score (B,) that hangs on it: below the layer nothing is kept for the way back,
    above the target nothing is run."""
    node = net[address].node
    last = "" if target.unit is None else net[target.unit.layer].node
    recorder = _Recorder(net, node, last)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        try:
            output = first_tensor(recorder.run(*arguments(net, x))[net.output_at])
        except _Enough:
            output = first_tensor(recorder.values[last])
        return first_tensor(recorder.values[node]), target.of(net, output)
