"""The "inverse" of a layer that deconvolution pictures use is its vector–Jacobian product.

    convolution     Jᵀ·v = the transposed convolution with the same kernels
    dense           Jᵀ·v = the transposed matrix
    max pooling     Jᵀ·v = unpooling: each value put back where its maximum stood, where windows do not overlap
    ReLU            Jᵀ·v = v where x was above 0; deconvolution pictures cut where v < 0 instead

None of them is an inverse: Jᵀ·J·x is another picture than x.

Sources: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks"; Simonyan, Vedaldi, Zisserman 2014,
"Deep Inside Convolutional Networks", section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.equivalences._proof import Row, asked, by, delta_of, operator, table, wants
from convscope.fields import validate
from convscope.glass import Call
from convscope.mechanics.capture import Capture
from convscope.operators.conv import Conv
from convscope.operators.linear import Linear
from convscope.operators.max_pool import MaxPool
from convscope.operators.max_unpool import MaxUnpool
from convscope.operators.relu import ReLU
from convscope.results import Layer, Table

KINDS = (Conv, Linear, MaxPool, ReLU)


@dataclass(frozen=True)
class Inverse:
    """Is the way back that deconvolution pictures take the gradient of this layer?

    v (of the output's shape) goes back through the "inverse", worked out in NumPy, and through autograd's vector–Jacobian
    product, both (B, C, H, W); float64. For a linear layer a second row holds ⟨J·u, v⟩ against ⟨u, Jᵀ·v⟩, which defines
    the transpose, with u = x and no bias. How far it is from an inverse is a note: |x − a·Jᵀ·J·x|/|x| with the best a. At a
    ReLU another note says how far the rule of deconvolution pictures (Zeiler and Fergus) is from the gradient.

    Misleads: "inverse" is the papers' word. Errors: UsageError for other layers, and for pooling windows that overlap.
    Source: Zeiler and Fergus 2014; Simonyan et al. 2014.

    >>> import convscope as cs, torch
    >>> net = cs.open("zoo:lenet5")
    >>> Inverse()(Capture(net, torch.ones(1, 1, 28, 28)), net["conv1"]).title
    "conv1: its 'inverse', the transposed convolution, = its vector–Jacobian product, 6×28×28 → 1×28×28"
    """

    def __post_init__(self) -> None:
        validate(self)

    def applies(self, kept: Capture, layer: Layer) -> str:
        """'' or why this cannot be asked of the layer."""
        found = operator(kept, layer)
        if isinstance(found, MaxPool):
            x = kept.value(str(kept.call(layer).reads[0]))
            if any(w.stride < w.dilation * (w.kernel - 1) + 1 for w in found.windows(x.shape)):
                return f"windows of {layer.address} overlap: unpooling keeps one of several values, the gradient adds them"
        return wants(kept, layer, KINDS, "a layer with such an inverse (convolution, dense, max pooling, ReLU)")

    def __call__(self, kept: Capture, layer: Layer) -> Table:
        call = asked(self, kept, layer)
        x = kept.arrays(call)[0]
        v, which = delta_of(kept, call)
        _, gradients = kept.autograd(call, v)
        name, made = _inverse(kept, call, v)
        rows = [Row("way back", f"autograd's vector–Jacobian product, v = {which}", name, (gradients[0], made))]
        notes: list[str] = []
        if isinstance(call.operator, (Conv, Linear)):
            weight = kept.arrays(call)[1]
            forth = call.operator.forward(x, weight)
            rows.append(Row("definition of the transpose", "⟨J·x, v⟩", "⟨x, Jᵀ·v⟩", ((forth * v).sum(), (x * made).sum())))
            again = _inverse(kept, call, forth)[1]
            notes.append(f"no inverse: Jᵀ·J·x, at its best scale, is off x by {_off(x, again):.1%} of |x|")
        if isinstance(call.operator, MaxPool):
            again = _inverse(kept, call, kept.value(call.name))[1]
            notes.append(f"no inverse: what comes back, at its best scale, is off x by {_off(x, again):.1%} of |x|")
        if isinstance(call.operator, ReLU):
            cut = np.maximum(v, 0)
            notes.append("deconvolution pictures cut v where v is negative instead: another number at "
                         f"{(cut != made).mean():.1%} of positions, off by {np.abs(cut - made).max():.6g} at most")
        sizes = f"{by(*v.shape[1:])} → {by(*x.shape[1:])}"
        title = f"{layer.address}: its 'inverse', {name}, = its vector–Jacobian product, {sizes}"
        return table(self, kept, title, rows, notes)


def _inverse(kept: Capture, call: Call, v: Any) -> tuple[str, Any]:
    """In words and numbers, what a deconvolution picture does on its way back through a layer."""
    x, *rest = kept.arrays(call)
    found = call.operator
    if isinstance(found, Conv):
        return "the transposed convolution", found.input_gradient(v, rest[0], x.shape[2:])
    if isinstance(found, Linear):
        return "the transposed matrix", v @ rest[0]
    if isinstance(found, MaxPool):
        _, switches = found.forward_with_indices(x)
        return "unpooling at the switches", MaxUnpool(x.shape[2:]).forward(v, switches)
    return "v where x was above 0", np.where(x > 0, v, 0.0)


def _off(x: Any, back: Any) -> float:
    """|x − a·back|/|x| with the a that makes it least: 0 for a true inverse up to scale, 1 if it knows nothing of x."""
    power, length = float((back * back).sum()), float(np.linalg.norm(x))
    scale = float((x * back).sum()) / power if power else 0.0
    return float(np.linalg.norm(x - scale * back)) / length if length else 0.0
