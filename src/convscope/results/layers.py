"""What is computed: layers, their gradients, the trace of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from convscope.geometry import Field
from convscope.results.base import Result


@dataclass(frozen=True)
class Gradient:
    """How does the backward pass get the gradient of one array of a layer, given delta = ∂L/∂y?"""

    of: str  # 'x', 'weight', 'bias', 'other'
    shape: tuple[int, ...]  # its shape, which is the array's own
    how: str  # in words: 'δ with zeros between, convolved in full with the kernels flipped, …'
    sizes: str = ""  # a formula with its numbers: '(55 − 1)·4 + 1 = 217; 217 + 2·(11 − 1) − 11 + 1 = 227; …'
    macs: int = 0  # multiply-accumulates of this part of the backward pass


@dataclass(frozen=True)
class Layer:
    """One call in the graph: what it is, what goes in and out, what it costs, what it sees. Shapes have B = 1."""

    address: str  # 'layer1.0.conv1', the second call of a reused module 'relu:1'
    operator: str  # 'conv2d'
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    parents: tuple[str, ...]  # addresses of the layers that feed it; 'input' is the image
    parameters: int = 0  # weights and biases; a tensor shared by two calls is counted at the first
    unshared: int | None = None  # parameters if every position had its own; None where positions share nothing
    buffers: int = 0  # numbers kept but not learned, e.g. running statistics
    macs: int = 0  # multiply-accumulates of one forward pass, one image
    saved: int | None = None  # bytes kept for the backward pass, one image; measured; None when not measured
    fields: tuple[Field, ...] | None = None  # receptive field per spatial axis; None where the layer has no map
    settings: dict[str, Any] = field(default_factory=dict[str, Any])  # kernel, stride, …: plain values
    module: str = ""  # path of the module that made the call
    module_type: str = ""  # its class
    source: str = ""  # 'net.py:12 in forward: return F.relu(x)'
    node: str = ""  # name of the node in the exported graph
    unit_axis: int | None = None  # the axis of the output that counts units: 1 for channels; None if there is none
    backward: tuple[Gradient, ...] | None = None  # the backward pass, array by array; None where nobody speaks for it

    @property
    def backward_macs(self) -> int | None:
        """Multiply-accumulates of the backward pass, of all its arrays, one image."""
        return None if self.backward is None else sum(g.macs for g in self.backward)


@dataclass(frozen=True, kw_only=True)
class Trace(Result):
    """What does every layer compute? Sizes, parameters, MACs, receptive field, bytes for the backward pass."""

    kind: ClassVar[str] = "trace"
    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def backward_macs(self) -> int | None:
        """Of the layers whose backward pass is known; None where none is, as in a trace without it."""
        known = [n for n in (layer.backward_macs for layer in self.layers) if n is not None]
        return sum(known) if known else None
