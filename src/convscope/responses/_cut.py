"""A network cut behind one layer: run the first part once, the rest again and again with that layer's value changed.

The rest runs the very operations of the graph, on the same batch, so an unchanged value gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope import run
from convscope.network import Network

Change = Callable[[Tensor], Tensor]


class Cut(run.Runner):
    """One batch of images, run up to a layer and beyond. `clean`: what the network answers; `value`: the layer's."""

    def __init__(self, net: Network, layer: str, x: Tensor) -> None:
        super().__init__(net, {}, None, None)
        self.net, self.node = net, net[layer].node
        self.given = run.arguments(net, net.check_input(x))
        self.kept: dict[Node, Any] = {}
        self.change: Change | None = None
        self.past = False
        nodes = list(net.program.graph_module.graph.nodes)
        at = next(i for i, node in enumerate(nodes) if node.name == self.node)
        before, after = nodes[: at + 1], nodes[at + 1 :]
        self.before = before
        self.needed = {node for later in after for node in later.all_input_nodes} & set(before)
        self.clean = self._run(None)
        self.value = run.first_tensor(self.kept[before[-1]])

    def run_node(self, n: Node) -> Any:
        found = super().run_node(n)
        if n.name == self.node and self.change is not None:
            found = _changed(found, self.change)
        if not self.past and (n in self.needed or n.name == self.node):
            self.kept[n] = found
        self.past = self.past or n.name == self.node
        return found

    def after(self, change: Change) -> Tensor:
        """(B, …): the output with the layer's value changed; nothing before the layer is run."""
        start: dict[Node, Any] = dict.fromkeys(self.before)
        start |= self.kept
        start[self.before[-1]] = _changed(self.kept[self.before[-1]], change)
        return self._run(start)

    def whole(self, change: Change) -> Tensor:
        """(B, …): the same by a whole pass from the image; to compare."""
        self.change = change
        try:
            return self._run(None)
        finally:
            self.change = None

    def _run(self, start: dict[Node, Any] | None) -> Tensor:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            found = self.run(*self.given, initial_env=start)
        return run.first_tensor(found[self.net.output_at])


def _changed(found: Any, change: Change) -> Any:
    """Of several outputs the first is the layer's value."""
    return change(found) if isinstance(found, Tensor) else type(found)((_changed(found[0], change), *found[1:]))
