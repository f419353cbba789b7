"""Names for units: which concept does a unit answer to (network dissection, Bau, Zhou, Khosla, Oliva, Torralba 2017)?

    AUC[u, c] = P(r[u, i] > r[u, j]) + ½ P(r[u, i] = r[u, j])      image i shows c, image j does not
    r[u, i]   = max of a[u, p] over the positions p whose receptive field lies on the concept's mask in image i
    IoU[u, c] = Σ |M ∩ L| / Σ |M ∪ L|      M: unit's map, enlarged, above T[u];  L: mask of c;  P(a[u] > T[u]) = 0.005
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.concepts import ConceptSet, generated, labelled
from convscope.errors import UnknownName, UsageError
from convscope.fields import param, validate
from convscope.network import units_of
from convscope.responses._dissected import Measured, measure
from convscope.responses._naming import GRID, by_chance
from convscope.responses._study import Study
from convscope.results import Layer, Table

NONE, DEAD = "—", "dead"
REACHES = (3, 5, 7, 9, 11, 16, 24, 36, 54, 81)  # layers in between count with the next, to share their images


@dataclass(frozen=True)
class Dissection:
    """Which concept does each unit of a layer answer to?

    One row a unit (U): `name` ends the sentence 'responds to …'; '—' where no concept passes the bar, 'dead' where the unit
    says the same to everything. AUC 0 … 1 (½: tells nothing), IoU 0 … 1, threshold in the layer's units. A name is chosen
    on one half of the images; AUC and IoU are measured on the other. Concepts are generated at the network's input size,
    as large as the layer can see, or come from a folder with images/ and masks/CONCEPT/.

    Misleads where the right concept is not in the set: the name is the best of those offered, and a unit may answer to
    several. Only the strongest positive response counts: what a unit is inhibited by has no name. IoU is 0 for a saturated
    unit, whose maximum takes more than 0.5 % of the positions. Errors: UnknownName, UsageError (no units), DataError.
    Source: Bau et al. 2017 (IoU); Mann and Whitney 1947 (AUC).

    >>> Dissection(examples=8).bar
    0.8
    """

    examples: int = param(24, "generated images a concept; half of them name, half test", low=2)
    bar: float = param(0.8, "AUC on the testing half below which a unit gets no name", low=0.5, high=1.0)
    masks: str = param("", "a folder with images/ and masks/CONCEPT/, instead of generated concepts")
    seed: int = param(0, "seed of the generated images and of the halves", low=0)
    together: int = param(16, "images run together", low=1)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, study: Study, layer: str) -> Table:
        """The names of the units of the layer at this address."""
        return self.tables(study, [layer])[layer]

    def tables(self, study: Study, layers: Sequence[str]) -> dict[str, Table]:
        """The same for many layers: those that see equally much share one pass over the concept images."""
        net, shape = study.net, study.net.input_shape
        if len(shape) != 4:
            raise UsageError(f"{net.name} does not read images", f"it takes {shape[1:]}", "concepts are pictures")
        groups: dict[int, list[str]] = {}
        for layer in dict.fromkeys(layers):
            if units_of(net[layer]) is None:
                raise UsageError(f"{layer} has no units", f"its output is {net[layer].output_shape}",
                                 "choose a layer with channels")
            groups.setdefault(0 if self.masks else reach(net[layer], min(shape[2:])), []).append(layer)
        tables: dict[str, Table] = {}
        for seen, members in groups.items():
            concepts = labelled(self.masks, study.preprocess, self.seed) if self.masks else generated(
                (shape[2], shape[3]), shape[1], seen, self.examples, self.seed)
            found = measure(study, members, concepts, self.together, bool(self.masks))
            tables |= {layer: self._table(study, layer, concepts, found[layer]) for layer in members}
        return {layer: tables[layer] for layer in layers}

    def _table(self, study: Study, layer: str, concepts: ConceptSet, measured: Measured) -> Table:
        count, units = len(concepts.concepts), np.arange(measured.response.shape[1])
        nameable = np.array([c.nameable for c in concepts.concepts])
        chosen, tested = (measured.aucs(half, count) for half in (0, 1))
        order = np.argsort(-np.where(nameable[:, None], np.nan_to_num(chosen, nan=-1), -2), axis=0, kind="stable")
        best, runner = order[0], order[min(1, count - 1)]
        area, dead = tested[best, units], measured.spread == 0
        named = (np.nan_to_num(area, nan=0) >= self.bar) & ~dead
        names = np.array([c.name for c in concepts.concepts])
        kinds = np.array([c.category for c in concepts.concepts])
        other = [NONE if d or count < 2 else f"{names[r]} ({tested[r, u]:.2f})"
                 for u, (r, d) in enumerate(zip(runner, dead, strict=True))]
        test = measured.half == 1
        shown = np.array([np.sum(measured.concept[test] == c) for c in range(count)])
        columns: dict[str, NDArray[Any]] = {
            "unit": units, "name": np.where(dead, DEAD, np.where(named, names[best], NONE)),
            "category": np.where(named, kinds[best], NONE), "AUC": area,
            "n": np.full(len(units), len(np.unique(measured.image[test]))), "shown": shown[best],
            "IoU": np.where(dead, np.nan, measured.iou[units, best]), "second": np.array(other),
            "threshold": measured.threshold, "candidate": np.where(dead, NONE, names[best])}
        return Table(columns=columns, units=_meanings(self.bar), title=f"what the units of {layer} respond to",
                     notes=self._notes(concepts, measured, int(shown[best].min()), int(named.sum())),
                     origin=study.origin(self, self.seed))

    def _notes(self, concepts: ConceptSet, measured: Measured, fewest: int, named: int) -> tuple[str, ...]:
        halves = [len(np.unique(measured.image[measured.half == h])) for h in (0, 1)]
        kinds = sum(c.nameable for c in concepts.concepts)
        chance = by_chance(self.bar, max(fewest, 1), halves[1])
        notes = [f"{concepts.name}: {kinds} concepts, {len(concepts):,} images, seed {self.seed}; {halves[0]:,} chose the "
                 f"names and thresholds, {halves[1]:,} others measured AUC and IoU",
                 f"{named} of {measured.response.shape[1]:,} units are named; a unit that tells nothing apart passes the "
                 f"bar with probability {chance:.1g}",
                 f"thresholds from {measured.sampled:,} positions an image; IoU on a grid of at most {GRID}×{GRID} points",
                 *concepts.notes]
        if measured.unseen:
            notes.append(f"left out: {measured.unseen:,} images whose mask no position of the layer sees")
        return tuple(notes)


def sentence(table: Table, unit: int) -> str:
    """What is said of one unit: 'responds to vertical stripes of period ~6 px (AUC 0.97, n = 400)'.

    Errors: UnknownName.
    """
    if not 0 <= unit < len(table):
        raise UnknownName(f"no unit {unit} in this table", f"it has {len(table)}", f"use 0 … {len(table) - 1}")
    row = {name: cells[unit] for name, cells in table.columns.items()}
    if row["name"] == DEAD:
        return "is dead: says the same to every concept image"
    if row["name"] == NONE:
        return f"has no name; closest are {row['candidate']} (AUC {row['AUC']:.2f}, n = {row['n']})"
    return f"responds to {row['name']} (AUC {row['AUC']:.2f}, n = {row['n']})"


def reach(layer: Layer, side: int) -> int:
    """Pixels that a position sees along the shorter side of its field, rounded up to one of REACHES; all at most."""
    sizes = [side if field.size is None else min(field.size, side) for field in layer.fields or ()]
    seen = min(sizes, default=side)
    return next((r for r in REACHES if r >= seen), side) if seen < side else side


def _meanings(bar: float) -> dict[str, str]:
    return {
        "name": f"the concept with the largest AUC on the choosing half, if its AUC on the testing half is ≥ {bar:g}",
        "AUC": "of that concept on the testing half: chance that an image of it gets the larger response, 0 … 1",
        "n": "images of the testing half", "shown": "those of them that show the concept",
        "IoU": "overlap of the unit's map above its threshold with the concept's masks over the testing half, 0 … 1",
        "second": "the runner-up on the choosing half, with its AUC on the testing half",
        "candidate": "the best concept, named or not",
        "threshold": "response that 0.5 % of the positions of the choosing half exceed, in the layer's units",
    }
