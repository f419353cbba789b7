"""Another nonlinearity in place of the ones that are there.

    y = φ(x)        φ: relu max(x, 0), leaky-relu x or x/100, elu x or eˣ − 1, gelu x·Φ(x), silu x·σ(x), tanh, …
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from convscope.editing import Draft, Given
from convscope.editing.modules import constructor
from convscope.errors import UsageError
from convscope.fields import param, validate

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish,
    "softplus": nn.Softplus, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "hardswish": nn.Hardswish, "none": nn.Identity,
}  # fmt: skip
_FUNCTIONS = {"relu.default": "relu", "gelu.default": "gelu", "silu.default": "silu", "tanh.default": "tanh",
              "sigmoid.default": "sigmoid", "leaky_relu.default": "leaky-relu", "elu.default": "elu"}  # fmt: skip


@dataclass(frozen=True)
class SwapActivation:
    """What does the network do with another nonlinearity?

    φ_old(x) → φ_new(x) at every call, element by element; sizes, parameters and MACs stay. `old`: which ones; `layer`: in
    this layer or block only.
    Misleads: the weights were trained with the old one, so that answers say little before fine-tuning (`convscope fit`).
    Errors: UsageError where there is nothing to swap, or nothing would change.
    Source: Hendrycks & Gimpel 2016 (GELU); Ramachandran et al. 2017 (SiLU).

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "swap-activation", new="tanh")[1].changes[0]
    'relu1: relu becomes tanh'
    """

    new: str = param("gelu", "what comes in", choices=("relu", "leaky-relu", "elu", "gelu", "silu", "mish", "softplus",
                                                       "tanh", "sigmoid", "hardswish", "none"))
    old: str = param("relu", "what goes out", choices=("relu", "leaky-relu", "elu", "gelu", "silu", "mish", "softplus",
                                                       "tanh", "sigmoid", "hardswish"))
    layer: str = param("", "layer or block; empty: everywhere")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        if self.old == self.new:
            raise UsageError(f"{self.old} in place of {self.old}", "it is there already", "choose another one: new=…")
        nodes = draft.under(self.layer) if self.layer else draft.nodes
        found = [n for n in nodes if (n.op == "call_module" and type(draft.module(n)) is ACTIVATIONS[self.old])
                 or (n.op == "call_function" and _FUNCTIONS.get(draft.kind(n)) == self.old)]
        if not found:
            there = sorted({draft.kind(n) for n in nodes if draft.kind(n).lower() in _names()})
            raise UsageError(f"there is no {self.old} in {self.layer or draft.net.name}",
                             f"it has {', '.join(there) or 'no activation that has a name here'}", "choose another one")
        made = ACTIVATIONS[self.new]()
        for node in found:
            address = draft.address(node)
            same = [n for n in draft.nodes if n.op == "call_module" and n.target == node.target]
            draft.put(node, ACTIVATIONS[self.new](), everywhere=set(same) <= set(found))
            draft.say(f"{address}: {self.old} becomes {self.new}", f"{draft.python(address)} = {constructor(made)}")


def _names() -> set[str]:
    return {kind.__name__.lower() for kind in ACTIVATIONS.values()} | set(_FUNCTIONS)
