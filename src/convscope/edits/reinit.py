"""New weights for a layer, a block or the whole network: drawn, built, or learned from images without labels.

    he           w ~ N(0, g²/fan_in)              glorot   w ~ N(0, 2 g²/(fan_in + fan_out))        g: gain for what follows
    orthogonal   W Wᵀ = g² I (or Wᵀ W)            lsuv     orthogonal, then w ← w/std(output), layer by layer, on the images
    gabor, sobel, kmeans, autoencoder             banks of filters: editing/weights/banks.py, editing/weights/unlabelled.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given
from convscope.editing.weights import starting
from convscope.edits._filters import fill
from convscope.errors import UsageError
from convscope.fields import param, validate

_BANKS = ("gabor", "sobel", "kmeans", "autoencoder")


@dataclass(frozen=True)
class Reinit:
    """What if these weights had never been learned, or had been built by hand?

    Biases become 0, batch norm γ = 1, β = 0 with fresh statistics (`zero`: all 0). `he`, `glorot`, `orthogonal` take the
    gain of the nonlinearity behind. `lsuv`: every layer's output has variance 1 within 1 % on the images. `gabor`, `sobel`:
    the layer that reads the image, all channels alike; `kmeans`, `autoencoder`: any convolution, from what it reads on the
    images. Banks are scaled to the old filters' root mean square norm.
    Misleads: a layer that is new between trained ones spoils what follows, until it is trained (`convscope fit`); filters
    from a handful of images are filters of these. Errors: UsageError (no weights there, no images, kernels too small).
    Source: He et al. 2015; Glorot and Bengio 2010; Saxe et al. 2014; Mishkin and Matas 2016; Coates, Lee and Ng 2011.

    >>> import convscope as cs
    >>> net, receipt = cs.edit("zoo:lenet5", "reinit", layer="conv2", how="he")
    >>> receipt.changes
    ('conv2: 16×6×5×5 drawn anew, he, standard deviation 0.115 (gain 1.41 for ReLU)',)
    """

    layer: str = param("", "layer or block; empty: all, or for a bank of filters the first convolution")
    how: str = param("he", "where the weights come from", choices=("he", "glorot", "orthogonal", "zero", "lsuv", "gabor",
                                                                   "sobel", "kmeans", "autoencoder"))
    sample: int = param(64, "how many images lsuv, kmeans and autoencoder look at: the first ones", low=1)
    patches: int = param(20000, "how many patches kmeans sorts", low=10)
    steps: int = param(300, "training steps of the autoencoder", low=1)
    seed: int = param(0, "of all that is drawn", low=0)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:
        if self.how in _BANKS:
            fill(draft, given, self)
            return
        nodes = draft.under(self.layer) if self.layer else draft.nodes
        calls = list({n.target: n for n in reversed(nodes) if n.op == "call_module"}.values())[::-1]  # the first of each
        drawn = [n for n in calls if isinstance(draft.module(n), starting.WEIGHTS)]
        norms = [n for n in calls if isinstance(draft.module(n), starting.NORMS)]
        if not drawn and not norms:
            raise UsageError(f"there are no weights to draw in {self.layer or draft.net.name}",
                             f"it has {', '.join(sorted({draft.kind(n) for n in nodes}))}",
                             "choose a convolution, a dense layer, a batch norm, or a block with one")
        for node in norms:
            _fresh(draft.module(node), zero=self.how == "zero")
        told = [(node, self._drawn(draft, node)) for node in drawn]
        scales = self._unit_variance(draft, given, drawn) if self.how == "lsuv" else {}
        for node, (words, code) in told:
            size = "×".join(map(str, draft.module(node).get_parameter("weight").shape))
            place = draft.python(draft.address(node))
            scaled = [f"{place}.weight.data.mul_({scales[node]:.6g})"] if node in scales else []
            more = f", times {scales[node]:.3g}" if node in scales else ""
            draft.say(f"{draft.address(node)}: {size} {words}{more}", code.format(f"{place}.weight"), *scaled)
        if norms:
            said = "all 0" if self.how == "zero" else "γ = 1, β = 0, mean 0, variance 1"
            draft.say(f"batch norm, {len(norms)} layers: {said}: {', '.join(map(draft.address, norms))}",
                      *(f"{draft.python(draft.address(n))}.reset_parameters()" for n in norms if self.how != "zero"))
        left = [draft.address(n) for n in calls if n not in drawn and n not in norms and _held(draft.module(n))]
        if left:
            draft.note(f"left as they are: {', '.join(left)}")
        if self.how != "zero":
            draft.note(f"drawn by torch's generator from seed {self.seed}")

    def _drawn(self, draft: Draft, node: Node) -> tuple[str, str]:
        """Fill one layer; in words, and in Python with {} for the weight."""
        module = draft.module(node)
        weight, (fan_in, fan_out) = module.get_parameter("weight"), starting.fans(module)
        gain, behind = starting.gain(draft, node)
        _fresh(module, zero=True, weight=False)
        if starting.assumed(behind) and self.how in ("he", "glorot", "orthogonal"):
            draft.note(f"{draft.address(node)}: {behind} has no gain of its own: taken for ReLU's √2")
        why = f"gain {gain:.3g} for {behind}" if behind else "gain 1: no nonlinearity follows"
        if self.how == "zero":
            nn.init.zeros_(weight)
            return "put to 0", "nn.init.zeros_({})"
        if self.how in ("orthogonal", "lsuv"):
            gain = gain if self.how == "orthogonal" else 1.0
            nn.init.orthogonal_(weight, gain)
            words = f"drawn anew, orthogonal ({why})" if self.how == "orthogonal" else "drawn anew, orthogonal"
            return words, f"nn.init.orthogonal_({{}}, gain={gain:.6g})"
        std = gain / math.sqrt(fan_in) if self.how == "he" else gain * math.sqrt(2 / (fan_in + fan_out))
        nn.init.normal_(weight, 0, std)
        return f"drawn anew, {self.how}, standard deviation {std:.3g} ({why})", f"nn.init.normal_({{}}, std={std:.6g})"

    def _unit_variance(self, draft: Draft, given: Given, drawn: list[Node]) -> dict[Node, float]:
        given.wanted_images("how=lsuv")
        x = torch.cat(list(given.batches(draft.net, self.sample)))
        runner = starting.UnitVariance(draft, drawn, given.report)
        with torch.no_grad():
            runner.run(x)
        draft.note(f"variance of every layer's output is 1 within 1 % on {len(x)} images"
                   + (f"; but {', '.join(map(draft.address, runner.flat))} gives one value only" if runner.flat else ""))
        return runner.scales


def _fresh(module: nn.Module, zero: bool, weight: bool = True) -> None:
    """Batch norm as new, or all 0; of a layer with `weight=False` the bias alone."""
    if not zero:
        module.reset_parameters()  # type: ignore[operator]
        return
    for name, p in module.named_parameters(recurse=False):
        if weight or name == "bias":
            nn.init.zeros_(p)


def _held(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
