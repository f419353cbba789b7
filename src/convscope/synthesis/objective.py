"""What is to grow. Objectives add and scale: `Neuron("conv3", 5) + 0.5 * Channel("conv4", 7) - Class(3)`.

    Channel     mean_p a[u, p]            Neuron      a[u, p₀]              Class   the score z_k before any softmax
    Direction   mean_p ⟨a_p, v⟩           Activity    ½ mean a²             Spread  −mean_{j≠i} cos(G_i, G_j), G = a aᵀ

Each is a score (B,) of a batch of images, larger for better. Sources: Erhan et al. 2009 (units); Simonyan et al. 2014
(classes); Mordvintsev et al. 2015 (activity); Olah, Mordvintsev, Schubert 2017 (the rest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope import run
from convscope.errors import UnknownName, UsageError
from convscope.network import Network, units_of
from convscope.synthesis.forward import centre

ACTIVATIONS = frozenset((
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh", "hardswish", "hardsigmoid",
    "prelu", "softmax", "log_softmax",
))  # fmt: skip


class Place(NamedTuple):
    """A layer of one of the networks."""

    network: int
    layer: str


class Seen:
    """What the networks made of the images: values by place, units first, and where they come from."""

    def __init__(self, nets: Sequence[Network], values: Mapping[Place, Tensor], canvas: tuple[int, int]) -> None:
        self.nets, self.values, self.canvas = nets, values, canvas

    def at(self, place: Place) -> Tensor:
        """(B, U, …)"""
        axis = self.nets[place.network][place.layer].unit_axis or 1
        return self.values[place].movedim(axis, 1)

    def some(self, first: int, stop: int) -> Seen:
        """The images first … stop − 1 by themselves."""
        return Seen(self.nets, {k: v[first:stop] for k, v in self.values.items()}, self.canvas)


class Objective:
    """A score of images. Add them, subtract them, scale them."""

    def places(self) -> frozenset[Place]:
        """The layers that it reads."""
        raise NotImplementedError

    def score(self, seen: Seen) -> Tensor:
        """(B,)"""
        raise NotImplementedError

    def __add__(self, other: Objective) -> Objective:
        return Sum((self, other), (1.0, 1.0))

    def __sub__(self, other: Objective) -> Objective:
        return Sum((self, other), (1.0, -1.0))

    def __mul__(self, factor: float) -> Objective:
        return Sum((self,), (float(factor),))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return Sum((self,), (-1.0,))


@dataclass(frozen=True)
class Sum(Objective):
    """Σ weight · part"""

    parts: tuple[Objective, ...]
    weights: tuple[float, ...]

    def places(self) -> frozenset[Place]:
        return frozenset().union(*(part.places() for part in self.parts))

    def score(self, seen: Seen) -> Tensor:
        return torch.stack([w * part.score(seen) for part, w in zip(self.parts, self.weights, strict=True)]).sum(0)


@dataclass(frozen=True)
class _OfLayer(Objective):
    layer: str

    def places(self) -> frozenset[Place]:
        return frozenset({self.place})

    @property
    def place(self) -> Place:
        return Place(getattr(self, "network", 0), self.layer)


@dataclass(frozen=True)
class Channel(_OfLayer):
    """One channel everywhere: its mean over the map."""

    unit: int
    network: int = 0

    def score(self, seen: Seen) -> Tensor:
        return seen.at(self.place)[:, self.unit].flatten(1).mean(1)


@dataclass(frozen=True)
class Neuron(_OfLayer):
    """One channel at one position; without a position, the one that looks at the middle of the image."""

    unit: int
    position: tuple[int, ...] | None = None
    network: int = 0

    def score(self, seen: Seen) -> Tensor:
        value = seen.at(self.place)[:, self.unit]
        if value.ndim == 1:
            return value
        for index in self.position or middle(seen, self.place):
            value = value.select(1, index)
        return value


def middle(seen: Seen, place: Place) -> tuple[int, ...]:
    """The position of a layer's map that looks at the middle of the canvas."""
    size = tuple(seen.values[place].movedim(seen.nets[place.network][place.layer].unit_axis or 1, 1).shape[2:])
    if len(size) != 2:
        return tuple(n // 2 for n in size)
    return centre((size[0], size[1]), seen.nets[place.network][place.layer], *seen.canvas)


@dataclass(frozen=True, eq=False)
class Direction(_OfLayer):
    """A direction v (U,) in a layer: mean over positions of ⟨a, v⟩·cos(a, v)^power; power > 0 keeps to the direction.

    `centred`: not the mean, but the position that looks at the middle of the image.
    """

    vector: NDArray[Any]
    power: float = 0.0
    network: int = 0
    centred: bool = False

    def score(self, seen: Seen) -> Tensor:
        value = seen.at(self.place)
        if self.centred:
            for index in middle(seen, self.place):
                value = value.select(2, index)
        flat = value.reshape(*value.shape[:2], -1)
        v = torch.from_numpy(np.asarray(self.vector)).to(flat)
        along = torch.einsum("bup,u->bp", flat, v)
        if self.power:
            cosine = along / (flat.norm(dim=1) * v.norm() + 1e-6)
            along = along * cosine.clamp(min=0.1) ** self.power
        return along.mean(1)


@dataclass(frozen=True)
class Activity(_OfLayer):
    """Everything in a layer: half the mean of its squares, whose gradient is the activation itself (a dream)."""

    network: int = 0

    def score(self, seen: Seen) -> Tensor:
        return 0.5 * seen.at(self.place).square().flatten(1).mean(1)


@dataclass(frozen=True)
class Class(_OfLayer):
    """The score of a class; `layer` is the last one before any softmax."""

    index: int
    network: int = 0

    def score(self, seen: Seen) -> Tensor:
        return seen.at(self.place).flatten(1)[:, self.index]


@dataclass(frozen=True)
class Spread(_OfLayer):
    """How unlike each other the images of one unit are: minus the mean cosine of their Gram matrices."""

    network: int = 0

    def score(self, seen: Seen) -> Tensor:
        value = seen.at(self.place)
        flat = value.reshape(*value.shape[:2], -1)
        gram = F.normalize(torch.einsum("bup,bvp->buv", flat, flat).flatten(1), dim=1)
        alike = gram @ gram.T
        others = max(len(value) - 1, 1)
        return -(alike.sum(1) - alike.diagonal()) / others


@dataclass(frozen=True)
class Apart(Objective):
    """A goal of several images that shall differ: score + strength·|score|·spread, |score| as a number.

    In shares of the score, for scores of one network may be a thousand times those of another.
    """

    goal: Objective
    spread: Spread
    strength: float = 1.0

    def places(self) -> frozenset[Place]:
        return self.goal.places() | self.spread.places()

    def score(self, seen: Seen) -> Tensor:
        score = self.goal.score(seen)
        return score + self.strength * score.detach().abs() * self.spread.score(seen)


def before(net: Network, layer: str) -> str:
    """The layer that feeds an activation function, whose gradient nothing blocks; any other layer is its own."""
    found = net[layer]
    while found.operator in ACTIVATIONS and len(found.parents) == 1 and found.parents[0] in net:
        found = net[found.parents[0]]
    return found.address


# ---- the grammar of the command line: 'conv3/5 + 0.5*conv4/7 - class:tabby' -----------------------------------------------


def parse(nets: Sequence[Network], text: str, *, unit: str = "neuron", raw: bool = True) -> Objective:
    """An objective from words.

        conv3/5          a unit, as `unit` says: 'neuron' (looking at the middle) or 'channel' (mean over the map)
        conv3/5@4,7      a unit at a position
        conv3            the activity of a layer
        class:tabby      a class, by name or index
        2:conv3/5        the same in the second network
        0.5*A + B - C    sums, with weights; signs stand between spaces

    `raw`: read what an activation function is given, not what it gives.
    """
    parts: list[Objective] = []
    weights: list[float] = []
    for word in f"{text.strip()} ".replace(" - ", " + - ").split(" + "):
        word = word.strip()
        sign = -1.0 if word.startswith("-") else 1.0
        word = word.removeprefix("-").strip()
        factor, star, rest = word.partition("*")
        weight = 1.0
        if star:
            try:
                weight = float(factor)
            except ValueError:
                raise UsageError(f"the weight {factor.strip()!r} in {text!r}", "no number", "write 0.5*conv3/5") from None
            word = rest.strip()
        if not word:
            raise UsageError(f"an objective {text!r}", "a part of it is empty", "write, say, 'conv3/5 - 0.5*conv3/7'")
        parts.append(_term(nets, word, unit, raw))
        weights.append(sign * weight)
    return parts[0] if weights == [1.0] else Sum(tuple(parts), tuple(weights))


def _term(nets: Sequence[Network], word: str, unit: str, raw: bool) -> Objective:
    number, colon, rest = word.partition(":")
    which = 0
    if colon and number.isdecimal() and rest and number not in nets[0]:
        which, word = int(number) - 1, rest
        if not 0 <= which < len(nets):
            raise UsageError(f"network {number} in {number}:{rest}", f"there are {len(nets)}", "give it: --against NETWORK")
    net = nets[which]
    if word.startswith("class:"):
        asked = run.target(net, word.removeprefix("class:").strip(), torch.empty(0))
        if asked.index is None:
            raise UnknownName(f"no class {word!r} in {net.name}", "it names a layer", "use a class name or index")
        return Class(before(net, net.output.address), asked.index, which)
    if "/" not in word:
        layer = net[word].address
        return Activity(before(net, layer) if raw else layer, which)
    asked_unit = net.unit(word)
    layer, channel = asked_unit.layer, asked_unit.channel
    count = units_of(net[layer])
    if count is None or channel is None:
        raise UsageError(f"{layer} has no units", f"its output is {net[layer].output_shape}", "choose a layer with channels")
    read = before(net, layer) if raw else layer
    if asked_unit.position:
        return Neuron(read, channel, tuple(asked_unit.position), which)
    return Neuron(read, channel, None, which) if unit == "neuron" else Channel(read, channel, which)
