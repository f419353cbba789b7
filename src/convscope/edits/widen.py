"""More units in a layer, and the same function: units are copied, and whoever reads a copy divides by their number.

    W′[:, j] = W[:, g(j)] / #{i : g(i) = g(j)}      g(j) = j for the old units, a random old one for each new
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.fx import Node

from convscope.editing import Draft, Given
from convscope.editing.units import moving
from convscope.editing.units.channels import Channels
from convscope.editing.units.ways import Labels
from convscope.errors import UsageError
from convscope.fields import param, validate


@dataclass(frozen=True)
class Widen:
    """What would more units in this layer learn, beginning where the network is now?

    Units drawn at random by `seed` are copied with their bias and batch norm; the layers that read them divide their weights
    by the number of copies, so that the answers stay (to rounding). Layers that share channels (a stage of a residual
    network, the filters of a depthwise convolution) are widened with it. Copies alike learn alike: `noise` is added to the
    incoming weights of the copies, N(0, noise · σ_W), and then the answers move a little.
    Misleads: dropout drops copies one by one, so that in training the function differs. Errors: UsageError (channels that
    are pinned, a width that groups do not divide). Source: Chen, Goodfellow and Shlens 2016 (Net2WiderNet).

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "widen", layer="conv1", units=9)[1].drift["same highest class"]
    1.0
    """

    layer: str = param("", "layer to widen")
    factor: float = param(1.5, "new width over old", low=1.0, high=64.0)
    units: int = param(0, "new width; 0: by factor", unit="units", low=0)
    noise: float = param(0.0, "noise on the copies' incoming weights, in their standard deviations", low=0.0, high=1.0)
    seed: int = param(0, "which units are copied, and the noise")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        if not self.layer:
            raise UsageError("widen needs a layer", "none was named", "layer='conv2'; `convscope trace` lists all")
        node = draft[self.layer]
        plan = Channels(draft, slots=True)
        classes = plan.of(node)
        wanted = self.units or max(len(classes) + 1, round(len(classes) * self.factor))
        counts = self._counts(plan, classes, wanted)
        found = moving.maps(plan, counts)
        changes = moving.apply(plan, found)
        draft.measure()
        writers = list(dict.fromkeys(w for c in counts for w in plan.writers().get(c, ())))
        draft.say(f"{self.layer}: {len(classes)} units become {wanted}, copies of {len(counts)} of them: "
                  f"{moving.words(changes)}")
        others = [draft.address(w) for w in writers if w is not node]
        if others and (len(others) > 1 or node in writers):
            draft.note(f"the same channels are written by {', '.join(others)}: widened with it")
        if self.noise:
            self._disturb(draft, [(w, found[w].index) for w in writers])

    def _counts(self, plan: Channels, classes: Labels, wanted: int) -> dict[int, int]:
        """How many copies of which class: extra units one by one, each a random one of the old."""
        names, sizes = np.unique(classes, return_counts=True)
        extra, each = wanted - len(classes), int(sizes.min())
        if extra <= 0:
            raise UsageError(f"{self.layer} with {wanted} units", f"it has {len(classes)}",
                             "ask for more, or take some away with remove or prune")
        if sizes.min() != sizes.max() or extra % each:
            raise UsageError(f"{self.layer} with {wanted} units", f"its units come in groups of {each}",
                             f"ask for {len(classes) + -(-extra // each) * each}")
        pins = plan.pins
        free = [int(n) for n in names if int(n) not in pins]
        if not free:
            raise UsageError(f"{self.layer} cannot be widened", pins[int(names[0])],
                             "choose a layer that a convolution or dense layer writes and reads")
        drawn = np.random.default_rng(self.seed).integers(len(free), size=extra // each)
        return {free[i]: 1 + int((drawn == i).sum()) for i in sorted(set(drawn.tolist()))}

    def _disturb(self, draft: Draft, writers: list[tuple[Node, Labels]]) -> None:
        """Noise on every copy but the first."""
        generator = torch.Generator().manual_seed(self.seed)
        done: set[int] = set()
        for node, index in writers:
            module = draft.module(node)
            weight = module.get_parameter("weight")
            if id(weight) in done:
                continue
            done.add(id(weight))
            axis = 1 if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)) else 0
            seen = index[:, None] == index[None, :]
            copies = torch.from_numpy(np.flatnonzero(np.tril(seen, -1).any(1)))
            with torch.no_grad():
                rows = weight.index_select(axis, copies)
                drawn = torch.randn(rows.shape, generator=generator).to(rows)
                rows += self.noise * float(weight.std()) * drawn
                weight.index_copy_(axis, copies, rows)
        draft.note(f"noise of {self.noise:g} standard deviations on the copies of {len(done)} layers, seed {self.seed}")
