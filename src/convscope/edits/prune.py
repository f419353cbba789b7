"""The units that matter least go, with all their weights.

    S = the share of units with the smallest score;  W′ = W without the rows of S,  V′ = V without their columns
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convscope.editing import Draft, Given
from convscope.editing.units import moving, scoring
from convscope.editing.units.channels import Channels
from convscope.errors import UsageError
from convscope.fields import param, validate

_BATCH, _CHECK = 16, 512  # images at a time; and for the accuracy


@dataclass(frozen=True)
class Prune:
    """Which units can go with the least loss?

    Every unit of the convolutions and dense layers gets a score: `effect`, the rise of the loss (without labels: root mean
    square change of the outputs) when it is masked, on `sample` images; `taylor`, the same to first order, one pass for all;
    `activation`, mean |a|; `norm`, Σ|W|, without images. The lowest `share` (or `units`) of each layer, or of the network
    (scores of a layer divided by their root sum of squares, but for `effect`), go; each layer keeps one. Channels that an
    addition or groups make one are one unit.
    Misleads: scores hold for one unit at a time, many together cost more than their sum; fine-tune afterwards.
    Errors: UsageError (no images, nothing that can go). Source: Li et al. 2017 (norm); Molchanov et al. 2017 (taylor).

    >>> import convscope as cs
    >>> cs.edit("zoo:lenet5", "prune", by="norm", share=0.5, layer="conv2")[1].after.parameters
    36498
    """

    by: str = param("effect", "score of a unit", choices=("effect", "taylor", "activation", "norm"))
    share: float = param(0.3, "share of the units that goes", low=0.0, high=0.99)
    units: int = param(0, "number of units that go, of each layer or of the network; 0: by share", low=0)
    scope: str = param("layer", "the lowest of each layer, or of the whole network", choices=("layer", "network"))
    layer: str = param("", "layer or block; empty: everywhere")
    sample: int = param(64, "images on which scores are measured", low=1, high=100_000)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, draft: Draft, given: Given) -> None:
        if self.by != "norm" and given.images is None:
            raise UsageError(f"prune by {self.by} needs images", "none were given",
                             "give some: --data, or data=…; by='norm' needs none")
        plan = Channels(draft)
        layers = self._layers(plan)
        classes = [c for each in layers.values() for c in each]
        pairs = list(given.pairs(draft.net, self.sample + _CHECK, _BATCH)) if given.images is not None else []
        chosen, rest = pairs[: -(-self.sample // _BATCH)], pairs[-(-self.sample // _BATCH) :]
        chosen = _first(chosen, self.sample)
        scores = self._scores(plan, classes, chosen, given.report)
        gone = self._gone(layers, scores)
        check = rest or chosen
        before = scoring.right(plan, check)
        told = [(name, [i for i, c in enumerate(plan.of(draft[name]).tolist()) if c in gone], len(plan.of(draft[name])))
                for name, each in layers.items() if gone & set(each)]
        moving.apply(plan, moving.maps(plan, dict.fromkeys(gone, 0)))
        draft.measure()
        for name, here, count in told:
            shown = ", ".join(map(str, here[:12])) + (" …" if len(here) > 12 else "")
            draft.say(f"{name}: {len(here)} of {count} units away ({shown})")
        self._notes(draft, scores, gone, sum(len(x) for x, _ in chosen))
        if before[1]:
            after = scoring.right(plan, check)
            on = f"{before[1]} other images" if rest else f"the {before[1]} images that chose them"
            draft.note(f"accuracy on {on}: {before[0] / before[1]:.1%} before, {after[0] / after[1]:.1%} after")

    def _layers(self, plan: Channels) -> dict[str, list[int]]:
        """The classes that can go, by the first layer that writes them."""
        draft, writers, readers, pins = plan.draft, plan.writers(), plan.readers(), plan.pins
        inside = set(draft.under(self.layer)) if self.layer else None
        found: dict[str, list[int]] = {}
        reason = "no convolution or dense layer writes what another one reads"
        for each, by in writers.items():
            if inside is not None and not inside & set(by):
                continue
            if each in pins or each not in readers:
                reason = pins.get(each, reason)
                continue
            found.setdefault(draft.address(by[0]), []).append(each)
        if not found:
            raise UsageError(f"no unit of {self.layer or draft.net.name} can go", reason, "choose another layer")
        return found

    def _scores(self, plan: Channels, classes: list[int], chosen: scoring.Batches,
                report: Callable[[int, int, str], None]) -> dict[int, float]:
        if self.by == "norm":
            return scoring.norms(plan, classes)
        if self.by == "activation":
            return scoring.activations(plan, classes, chosen)
        if self.by == "taylor":
            return scoring.first_order(plan, classes, chosen)
        return scoring.effects(plan, classes, chosen, report)

    def _gone(self, layers: dict[str, list[int]], scores: dict[int, float]) -> set[int]:
        """The lowest scores; each layer keeps at least its best unit."""
        kept = {max(each, key=lambda c: scores[c]) for each in layers.values()}
        if self.scope == "layer":
            pools = [(each, scores) for each in layers.values()]
        else:
            size = {c: 1.0 if self.by == "effect" else sum(scores[k] ** 2 for k in each) ** 0.5 or 1.0
                    for each in layers.values() for c in each}
            pools = [(list(size), {c: scores[c] / size[c] for c in size})]
        gone: set[int] = set()
        for pool, ranked in pools:
            count = self.units or round(self.share * len(pool))
            gone |= set(sorted((c for c in pool if c not in kept), key=lambda c: (ranked[c], c))[:count])
        if not gone:
            asked = f"no unit goes at a share of {self.share:g}"
            raise UsageError(asked, f"there are {len(scores)} in {len(layers)} layers",
                             "give a larger share, or units=1")
        return gone

    def _notes(self, draft: Draft, scores: dict[int, float], gone: set[int], images: int) -> None:
        on = f" on {images} images" if self.by != "norm" else ""
        worst, rest = max(scores[c] for c in gone), [scores[c] for c in scores if c not in gone]
        draft.note(f"scores by {self.by}{on}: {len(gone)} of {len(scores)} units went, the highest at {worst:.3g}; "
                   f"those that stay, {min(rest):.3g} to {max(rest):.3g}")


def _first(batches: scoring.Batches, count: int) -> scoring.Batches:
    """The first `count` images."""
    found: scoring.Batches = []
    for x, labels in batches:
        if count > 0:
            found.append((x[:count], labels[:count]))
        count -= len(x)
    return found
