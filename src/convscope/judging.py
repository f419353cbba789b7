"""All methods side by side on one network: which maps can be trusted? What `actions.evaluate` says.

Every method explains every image (each asked about its own best class), every measure of `evaluations/` judges every map,
and so it does a random map and an edge map. A row is a method, a column a measure, a number the mean over the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope import data, inputs, planted, registry, run
from convscope.errors import DataError, UsageError, unknown
from convscope.evaluations._baselines import BASELINES, baseline
from convscope.evaluations._case import Case
from convscope.network import Network
from convscope.results import Table
from convscope.run import Target

Progress = Callable[[int, int, str], None]
MOST = 16  # images of a collection
CLASS_BLIND, WEIGHT_BLIND = 0.9, 0.7  # rank correlation from which a map is said not to depend on the class, on the weights


Told = tuple[str, tuple[str, ...]]  # a measure's name and its notes
Truth = NDArray[np.bool_] | None  # (B, H, W) where the evidence is


@dataclass(frozen=True)
class Trial:
    """Images of one target."""

    target: Target
    x: Tensor  # (B, C, H, W)
    truth: Truth
    at: list[int]  # their places among all images


@dataclass
class Row:
    """What is known of one method."""

    name: str
    method: Any
    values: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict[str, Any])  # by column
    reasons: dict[str, str] = field(default_factory=dict[str, str])  # why a measure could not be asked; '' the method itself

    def mean(self, column: str) -> float:
        return float(np.concatenate(self.values[column]).mean()) if self.values.get(column) else float("nan")


def evaluate(net: Network, images: Any, methods: Sequence[str] | None, measures: Sequence[str] | None,
             progress: Progress | None, seed: int, target: Any = None) -> Table:  # fmt: skip
    """The table of methods and measures. `methods` and `measures` by name; None takes all there are."""
    x, truth, notes = gather(net, images, seed)
    net = net.at(x.shape[1:])
    x, truth, more = _right(net, x, truth, images)
    judges = [registry.load("evaluations", name)() for name in _named("evaluations", measures)]
    if truth is None and measures is None:
        judges = [judge for judge in judges if judge.name != "pointing-game"]
        more = (*more, "left out: pointing-game, which needs to know where the evidence is (the images `planted` do)")
    rows = [Row(name, registry.load("attributions", name)()) for name in _named("attributions", methods)]
    rows += [Row(name, baseline(name, seed)) for name in BASELINES]
    trials = list(_trials(net, x, truth, target))
    said: dict[str, tuple[str, ...]] = {}
    done, total = 0, len(rows) * len(trials) * (len(judges) + 1)
    for row in rows:
        for trial in trials:
            for told in _judge(net, row, trial, judges, seed):
                done += 1
                if told is not None:
                    said.setdefault(told[0], told[1])
                if progress is not None:
                    progress(done, total, "maps and measures")
    remarks = (*notes, *more, *(note for judge in judges for note in said.get(judge.name, ())))
    return _table(net, x, rows, judges, remarks, seed)


def _judge(net: Network, row: Row, trial: Trial, judges: list[Any], seed: int) -> Iterator[Told | None]:
    """One method on images of one target; a step for the map and for each measure, with the measure's name and notes."""
    case: Case | None = None
    if "" not in row.reasons:
        try:
            heat = row.method(net, trial.x, trial.target)
            case = Case(net, trial.x, trial.target, heat, row.method, trial.truth, seed)
        except UsageError as reason:  # it does not apply to this network: its row says so, the others stay
            row.reasons[""] = str(reason)
            row.values.clear()
    yield None
    for judge in judges:
        told = None
        if case is not None and judge.name not in row.reasons:
            try:
                found: Table = judge(case)
            except UsageError as reason:  # this measure cannot be asked here
                row.reasons[judge.name] = str(reason)
            else:
                for column in columns_of(judge):
                    row.values.setdefault(_title(judge, column), []).append(found.columns[column])
                told = (judge.name, found.notes)
        yield told


def columns_of(judge: Any) -> tuple[str, ...]:
    return (judge.name.replace("-", "_"), *judge.also)


def _title(judge: Any, column: str) -> str:
    own = judge.name.replace("-", "_")
    return own if column == own else f"{own}_{column}"


def verdict(row: Row, judges: list[Any], baselines: list[Row]) -> str:
    """What the numbers say of a method, in words."""
    if "" in row.reasons:
        return f"does not apply: {row.reasons['']}"
    words: list[str] = []
    same = row.mean("class_dependence")
    if same >= CLASS_BLIND:
        words.append(f"does not depend on the class (rank correlation {same:.2f})")
    signed, size = row.mean("randomisation"), row.mean("randomisation_absolute")
    if signed >= WEIGHT_BLIND and size >= WEIGHT_BLIND:
        words.append(f"does not depend on the weights (rank correlation {signed:.2f} with all of them random)")
    elif size >= WEIGHT_BLIND:
        words.append(f"its size hardly depends on the weights (rank correlation {size:.2f} with all of them random)")
    for other in baselines:
        if other is row:
            continue
        lost = [judge.name for judge in judges if judge.ranks and beats(judge, row, other) is False]
        if lost:
            words.append(f"no better than the {other.name}: {', '.join(lost)}")
    words += [f"{name} cannot be asked: {reason}" for name, reason in row.reasons.items()]
    return "; ".join(words) if words else "nothing speaks against it"


def beats(judge: Any, row: Row, other: Row) -> bool | None:
    """Is the row's mean better than the other's? None where one of them is not known."""
    column = columns_of(judge)[0]
    mine, theirs = row.mean(column), other.mean(column)
    if np.isnan(mine) or np.isnan(theirs):
        return None
    return mine > theirs if judge.better == "higher" else mine < theirs


def _table(net: Network, x: Tensor, rows: list[Row], judges: list[Any], notes: tuple[str, ...], seed: int) -> Table:
    baselines = [row for row in rows if row.name in BASELINES]
    verdicts = [verdict(row, judges, baselines) for row in rows]
    columns: dict[str, NDArray[Any]] = {"method": np.array([row.name for row in rows])}
    units: dict[str, str] = {}
    for judge in judges:
        for column in columns_of(judge):
            title = _title(judge, column)
            columns[title] = np.array([row.mean(title) for row in rows])
        units[columns_of(judge)[0]] = f"{judge.better} is better. {registry.describe('evaluations', judge.name).question}"
    columns["verdict"] = np.array(verdicts)
    limits = (f"blind to the class from a rank correlation of {CLASS_BLIND:g} on, to the weights from {WEIGHT_BLIND:g} on",
              "means over the images; a slope ('score per input unit') ranks pixels by its size, other maps by their sign")
    told = tuple(f"{row.name}: {text}" for row, text in zip(rows, verdicts, strict=True))
    return Table(columns=columns, units=units, title=f"which maps of {net.name} can be trusted? {len(x)} images",
                 notes=(*told, *notes, *limits), origin=net.origin("evaluate", x, seed))


def gather(net: Network, images: Any, seed: int = 0) -> tuple[Tensor, Truth, tuple[str, ...]]:
    """Images as a batch (N, C, H, W), the truth about them (N, H, W) if it is known, and what had to be assumed.

    `images`: 'planted', a `planted.Planted`, another built-in set or a folder (a sample of 16), one image or several, or a
    batch.
    """
    if isinstance(images, str) and images == "planted":
        images = planted.plant(MOST, planted.SEED + 1 + seed)  # none that the network was trained on
    if isinstance(images, planted.Planted):
        preprocess, note = inputs.preprocess_of(net)
        x = net.check_input(torch.from_numpy(np.stack([preprocess(p) for p in images.pixels])))
        if tuple(x.shape[2:]) != images.masks.shape[1:]:
            raise UsageError(f"{net.name} reads {'×'.join(map(str, x.shape[2:]))} pixels",
                             f"the planted images have {'×'.join(map(str, images.masks.shape[1:]))}",
                             "evaluate demo:planted on them, or open your network with --input 1x32x32")
        return x, images.masks, ("planted evidence: images drawn anew, not those of the training", *([note] if note else []))
    if isinstance(images, Tensor):
        return net.check_input(images), None, ()
    several: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
    notes: list[str] = []
    if isinstance(images, (data.Collection, str, Path)) and _is_collection(images):
        collection = data.open_collection(images)
        chosen = np.arange(len(collection))
        if len(chosen) > MOST:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST, replace=False))
            notes.append(f"sampled: {MOST} of {len(collection):,} images, seed {seed}")
        several = [collection[int(i)] for i in chosen]
    if not several:
        raise DataError("no image was given", "the list is empty", "give at least one")
    found = [inputs.prepare(net, image) for image in several]
    notes += [note for _, some in found for note in some]
    return torch.cat([x for x, _ in found]), None, tuple(dict.fromkeys(notes))


def _is_collection(images: Any) -> bool:
    return isinstance(images, data.Collection) or str(images) in data.BUILT_IN or Path(images).is_dir()


def _right(net: Network, x: Tensor, truth: Truth, images: Any) -> tuple[Tensor, Truth, tuple[str, ...]]:
    """Of planted images, those that the network names right: of the others nobody knows what decided."""
    if truth is None:
        return x, truth, ()
    named = torch.cat([run.run(net, one).output.flatten(1).argmax(1) for one in x.split(1)]).cpu().numpy()
    labels = images.labels if isinstance(images, planted.Planted) else np.arange(len(x)) % len(planted.CLASSES)
    kept = np.flatnonzero(named == labels)
    if len(kept) == 0:
        raise DataError(f"{net.name} names none of {len(x)} planted images right", "nobody knows what decided then",
                        "train it on them first: convscope fit … --images planted, or evaluate demo:planted")
    return x[kept], truth[kept], (f"{len(kept)} of {len(x)} planted images are named right; the others are left out",)


def _trials(net: Network, x: Tensor, truth: Truth, asked: Any) -> Iterator[Trial]:
    """The images in groups of one target each, in the order of their first image."""
    groups: dict[Target, list[int]] = {}
    for n, one in enumerate(x.split(1)):
        groups.setdefault(run.target(net, asked, one), []).append(n)
    for target, at in groups.items():
        yield Trial(target, x[at], None if truth is None else truth[at], at)


def _named(family: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """These leaves of a family, or all of them."""
    known = registry.names(family)
    for name in wanted or ():
        if name not in known:
            raise unknown(family.rstrip("s"), name, known, f"`convscope list {family}` shows all")
    return known if wanted is None else tuple(dict.fromkeys(wanted))


__all__ = ["Row", "Trial", "beats", "evaluate", "gather", "verdict"]
