"""How far training moved each tensor (Zhang, Bengio, Singer 2019, "Are All Layers Created Equal?"; Nagarajan, Kolter 2019).

    relative   ‖w − w₀‖₂ / ‖w₀‖₂          cosine   ⟨w, w₀⟩ / (‖w‖₂ ‖w₀‖₂)          signs flipped   share of w·w₀ < 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from convscope.comparisons._images import Images, at_least_two, names, origin
from convscope.errors import UsageError
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Table

Array = NDArray[np.float64]
HEADS: tuple[str, ...] = ("network", "layer", "tensor", "relative", "cosine", "norm before", "norm", "signs flipped",
                          "numbers")
STATISTICS = ("running_mean", "running_var")
MEANINGS = {
    "relative": "‖w − w₀‖ / ‖w₀‖; NaN where w₀ is zero",
    "cosine": "cosine of the angle between w and w₀, −1 … 1; NaN where one is zero",
    "norm before": "‖w₀‖, Euclidean length in the first network",
    "norm": "‖w‖",
    "signs flipped": "share of numbers whose sign is the opposite now, 0 … 1; from or to zero does not count",
    "numbers": "how many the tensor has",
}


@dataclass(frozen=True)
class Distance:
    """How far is each layer from where it started?

    One row a tensor of each network but the first, w against the first network's w₀ of the same name: relative =
    ‖w − w₀‖/‖w₀‖, cosine, ‖w₀‖, ‖w‖, share of signs flipped; all without units. Weights, biases, and with `statistics`
    batch norm's running mean and variance. In the order of the layers, of one `layer` or (given '') of all; a tensor of
    several calls stands at the first.

    Misleads: a layer before batch norm can be scaled freely without changing any answer, and moves far for nothing; look at
    the cosine. Errors: UnknownName, UsageError for networks that have no tensor of the same name and shape. Source: Zhang,
    Bengio, Singer 2019.

    >>> import torch
    >>> one, other = (Network.open(torch.nn.Conv2d(1, 2, 3, bias=False), (1, 4, 4), name) for name in ("before", "after"))
    >>> Distance()([one, other], "").columns["tensor"].tolist()
    ['weight']
    """

    statistics: bool = param(True, "also batch norm's running mean and variance")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, networks: Sequence[Network], layer: str = "", images: Images | None = None) -> Table:
        """Every network after the first against the first."""
        del images  # weights are all there is to see
        notes = list(at_least_two(networks))
        first, *others = networks
        called = names(networks)
        before = tensors(first, layer)
        if not self.statistics:
            before = {k: v for k, v in before.items() if k.rpartition(".")[2] not in STATISTICS}
        rows: list[tuple[Any, ...]] = []
        for name, net in zip(called[1:], others, strict=True):
            after = tensors(net, "")
            common = [k for k in before if k in after and after[k][1].shape == before[k][1].shape]
            rows += [(name, *_names(before[k][0], k), *measured(before[k][1], after[k][1])) for k in common]
            if len(common) < len(before):
                lacking = [k for k in before if k not in common]
                notes.append(f"left out: {len(lacking)} of {len(before)} tensors that {name} has not, or of another shape: "
                             + ", ".join(lacking[:4]) + (" …" if len(lacking) > 4 else ""))
        if not rows:
            raise UsageError(f"nothing to compare in {layer or 'any layer'} of {', '.join(called)}",
                             "no tensor of floating-point numbers has the same name and shape in both",
                             "give checkpoints of one architecture, or a layer with parameters")
        columns: dict[str, NDArray[Any]] = dict(zip(HEADS, map(np.array, zip(*rows, strict=True)), strict=True))
        units = {"network": f"w; w₀ is that of {called[0]}", **MEANINGS}
        title = f"{called[1]} against {called[0]}" if len(others) == 1 else f"{len(others)} networks against {called[0]}"
        return Table(columns=columns, units=units, title=title, notes=tuple(notes), origin=origin(networks, self))


def measured(before: Array, after: Array) -> tuple[float, float, float, float, float, int]:
    """relative, cosine, ‖w₀‖, ‖w‖, share of signs flipped, numbers."""
    a, b = (float(np.sqrt((v**2).sum())) for v in (before, after))
    moved = float(np.sqrt(((after - before) ** 2).sum()))
    cosine = float(np.clip((before * after).sum() / a / b, -1, 1)) if a > 0 and b > 0 else np.nan
    flipped = float((np.sign(before) * np.sign(after) < 0).mean()) if before.size else np.nan
    return moved / a if a > 0 else np.nan, cosine, a, b, flipped, before.size


def tensors(net: Network, layer: str) -> dict[str, tuple[str, Array]]:
    """The floating-point parameters and buffers that layers read, by name, with the first layer that reads each."""
    nodes = {node.name: node for node in net.program.graph.nodes}
    owners: dict[str, str] = {}
    stops = {node.name for node in net.inputs} | {one.node for one in net.layers}
    for one in [net[layer]] if layer else net.layers:
        waiting = list(nodes[one.node].all_input_nodes)
        seen = set[Node]()
        while waiting:  # plumbing and whatever computes a weight from parameters belong to the layer
            node = waiting.pop(0)
            if node in seen or node.name in stops:
                continue
            seen.add(node)
            if node.op == "placeholder":
                owners.setdefault(node.name, one.address)
            waiting += node.all_input_nodes
    found = {net.parameter_names[k]: (owners[k], net.tensors[k]) for k in owners
             if k in net.parameter_names and net.tensors[k].is_floating_point()}
    return {k: (address, value.double().cpu().numpy()) for k, (address, value) in found.items()}


def _names(layer: str, tensor: str) -> tuple[str, str]:
    """The layer, and the tensor's name without the module's path where that is the layer's."""
    short = tensor.removeprefix(f"{layer.split(':')[0]}.")
    return layer, short
