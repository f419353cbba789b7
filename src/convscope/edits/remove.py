"""A layer, a block or a unit less; the value goes on past it.

    y = g(f(x))  →  y = g(r(x))        r: the smallest repair of the sizes, often none
    unit u of W: row u of W and column u of every reader go        (as if all readers had weight 0 on u)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from convscope.editing import Draft, Given
from convscope.editing.sizes import Parting
from convscope.editing.units import moving
from convscope.editing.units.channels import Channels
from convscope.editing.units.cutting import Cut, proposal
from convscope.editing.units.fits import times
from convscope.errors import ShapeError, UnknownName, UsageError
from convscope.fields import param, validate

_UNITS = re.compile(r"^(?P<layer>[^/@\s]+)/(?P<units>\d+(?:,\d+)*)$")


@dataclass(frozen=True)
class Remove:
    """What does the network do without this layer, block or unit?

    A layer 'conv2', a block 'layer1.0', a branch of an Inception block, or units 'conv2/5,7,9'. The layer's value gives
    way to what it read. Where channels part then, the readers keep the weights that fit, or a 1×1 convolution (begun as the
    identity) joins them, whichever has fewer new parameters; where h×w parts, the map is pooled to its old size, or the
    dense layer rebuilt. `repair='none'` only says where sizes part. Units go with all their rows and columns, everywhere;
    channels that an addition makes one go together.
    Misleads: what a layer does for the answers shows after a fine-tune, not before; batch norm behind a removed layer keeps
    statistics of values that are gone. Errors: UsageError, ShapeError (with sizes, and the repair), UnknownName.
    Source: Meyes et al. 2019 (ablation); Veit et al. 2016 (residual blocks removed).

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "remove", layer="conv1/2")[1].after.parameters
    61280
    """

    layer: str = param("", "layer, block, or units as in conv2/5,7,9")
    repair: str = param("auto", "mend the sizes that part, or say where they do", choices=("auto", "none"))
    on: str = param("", "where a layer joins several values: the one that goes on")

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:  # noqa: ARG002 - it needs no images
        if not self.layer:
            raise UsageError("remove needs a layer", "none was named", "layer='conv2', 'layer1.0' or 'conv2/5,7'")
        if "/" in self.layer:
            self._units(draft)
        else:
            self._block(draft)

    def _units(self, draft: Draft) -> None:
        found = _UNITS.match(self.layer)
        if found is None:
            raise UsageError(f"{self.layer!r} names no units", "expected layer/number,number", "for example conv2/5,7,9")
        node, units = draft[found["layer"]], sorted({int(n) for n in found["units"].split(",")})
        plan = Channels(draft)
        classes = plan.of(node)
        if units[-1] >= len(classes):
            raise UnknownName(f"no unit {units[-1]} in {found['layer']}", f"it has {len(classes)}",
                              f"use 0 … {len(classes) - 1}")
        gone = {int(classes[u]) for u in units}
        writers = plan.writers()
        here = [i for i, c in enumerate(classes.tolist()) if c in gone]
        changes = moving.apply(plan, moving.maps(plan, dict.fromkeys(gone, 0)))
        draft.measure()
        others = dict.fromkeys(draft.address(w) for c in gone for w in writers.get(c, []))
        others.pop(found["layer"], None)
        named = f"units {', '.join(map(str, here))}" if len(here) > 1 else f"unit {here[0]}"
        draft.say(f"{found['layer']}: {named} of {len(classes)} taken away: {moving.words(changes)}")
        if len(here) > len(units):
            draft.note(f"{len(here)} units for the {len(units)} asked for: groups, or values that are added, share them")
        if others:
            draft.note(f"the same channels are written by {', '.join(others)}: gone there too")

    def _block(self, draft: Draft) -> None:
        cut = Cut.of(draft, self.layer, self.on)
        address, count, parameters = draft.address(cut.entry), len(cut.nodes), cut.parameters
        told = self._told(draft, cut)
        offer = "" if self.repair == "auto" else proposal(draft, self.layer, self.on)
        batch_norm = [draft.address(u) for u in cut.leaving.users if u not in cut.nodes and "BatchNorm" in draft.kind(u)]
        address = "the input" if cut.entry.op == "placeholder" else address
        goes = f"; {address} ({times(cut.shapes[cut.entry])}) goes on"
        if cut.joins and self.repair == "auto":
            goes, told = "", (f"# in forward: torch.cat without the value of {draft.address(cut.leaving)}",)
        size = f"{parameters:,} parameters" if count == 1 else f"{count} layers, {parameters:,} parameters"
        draft.say(f"{self.layer} taken away ({size}){goes}", *told)
        if self.repair == "auto":
            cut.mended()
        else:
            try:
                cut.bare()
            except Parting as problem:
                raise ShapeError(f"{self.layer} cannot go without a repair", f"{problem.asked}: {problem.found}",
                                 offer) from problem
        draft.measure()
        if not any(True for n in draft.nodes):
            raise UsageError(f"{self.layer} is the whole network", "nothing would be left", "take out a part of it")
        if batch_norm and any(draft.address(n) in batch_norm for n in draft.nodes):
            draft.note(f"{batch_norm[0]} keeps the statistics of values that are gone: fine-tune, or remove it too")

    def _told(self, draft: Draft, cut: Cut) -> tuple[str, ...]:
        """The Python that does it: a module of the user's own becomes the identity; else a word about forward."""
        module = draft.net.module
        held = {} if module is None else dict(module.named_modules())
        calls = [n for n in draft.nodes if n.target == self.layer]
        inputs = {a for n in cut.nodes for a in n.all_input_nodes if a not in cut.nodes and a.op != "get_attr"}
        if self.layer in held and len(calls) <= 1 and len(inputs) == 1:
            return (f"{draft.python(self.layer)} = nn.Identity()",)
        return (f"# in forward: the value of {draft.address(cut.entry)} in place of that of {draft.address(cut.leaving)}",)
