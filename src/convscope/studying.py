"""The ablation study: every layer and block taken away in turn, judged as it is and after the same short fine-tuning.

    change = 1/S · Σ_s (accuracy without it, seed s − accuracy of the whole network, seed s)          s = 1 … S

Each candidate is fine-tuned from the same seeds, on the same images in the same order, for as many epochs as the untouched
control beside it, so that what is compared is the layer and not the training. Intervals are 95 %: Student's t over the seeds
(paired with the control of the same seed), Wilson's for the accuracy of one network over its images. What is done is kept,
one small file a candidate and seed, and a second call goes on from there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from convscope import registry, run, store
from convscope.collection import Collection
from convscope.editing import Draft, Given
from convscope.errors import ConvscopeError, UsageError
from convscope.fields import param, validate
from convscope.fit import FitSettings, fit
from convscope.inputs import preprocess_of
from convscope.network import Network
from convscope.results import Table
from convscope.scoring import evaluate

Progress = Callable[[int, int, str], None]
WHOLE = "nothing (the whole network)"
MEANINGS = {
    "as it is": "accuracy on held-out images without any training",
    "after": "accuracy on held-out images after fine-tuning, mean over seeds",
    "change": "points of accuracy against the whole network fine-tuned alike, paired by seed, with its 95 % interval",
    "ms per step": "wall time of a training step, median over epochs and seeds",
    "MiB": "parameters, and what one image keeps for the backward pass",
    "repair": "what had to be put in so that the sizes fit",
}


@dataclass(frozen=True)
class AblationStudy:
    """What does each layer contribute?

    Every layer or block is removed (`convscope edit … remove`), judged as it is, fine-tuned for `epochs` from each of
    `seeds` seeds, and judged again, beside the whole network treated alike.
    Misleads: what is judged is the layer for a network that was *trained with* it; trained without it from the start, the
    rest may take over its work. Errors: UsageError (no labels, nothing that can be removed).
    Source: Meyes et al. 2019 (ablation studies in networks).

    >>> AblationStudy(seeds=2).epochs
    2
    """

    parts: str = param("", "layers and blocks to remove, comma-separated; empty: all that can be")
    epochs: int = param(2, "epochs of fine-tuning for each candidate and seed", low=0)
    seeds: int = param(3, "runs of each candidate, each with its own order of images", low=1)
    rate: float = param(0.001, "learning rate of the fine-tuning (AdamW)", low=0)
    held_out: float = param(0.2, "share of the images that judges and never trains", low=0.01, high=0.9)
    most: int = param(2000, "images that are used at most, the first of each class in turn", unit="images", low=4)

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, data: Collection, out: Path | None = None, progress: Progress | None = None) -> Table:
        """The table, the whole network first. `out`: a folder that keeps what is done."""
        data = _labelled(data, self.most)
        rest, held = data.split(self.held_out, seed=0)
        candidates = self._candidates(net)
        jobs = [(part, seed) for part in (WHOLE, *candidates) for seed in range(self.seeds)]
        print_ = blake2b(f"{self!r} {net.print} {data.fingerprint}".encode(), digest_size=8).hexdigest()
        rows: dict[str, list[dict[str, Any]]] = {}
        for i, (part, seed) in enumerate(jobs):
            if progress is not None:
                progress(i, len(jobs), f"study: without {part}, seed {seed}")
            row = _known(out, print_, part, seed)
            if row is None:
                row = self._judged(net, part, seed, (rest, held))
                _keep(out, print_, part, seed, row)
            rows.setdefault(part, []).append(row)
        if progress is not None:
            progress(len(jobs), len(jobs), "study: done")
        return self._table(net, rows, (len(rest), len(held)))

    def _candidates(self, net: Network) -> dict[str, None]:
        if self.parts:
            return dict.fromkeys(p.strip() for p in self.parts.split(",") if p.strip())
        base = Draft.of(net)
        names = dict.fromkeys(name for layer in net.layers for name in _names(layer.address))
        last = net.output.address
        found = dict.fromkeys(n for n in names if last != n and not last.startswith(f"{n}.") and _goes(base, n))
        if not found:
            raise UsageError(f"an ablation study of {net.name}", "no layer of it can be removed", "name some: --parts")
        return found

    def _judged(self, net: Network, part: str, seed: int, images: tuple[Collection, Collection]) -> dict[str, Any]:
        """One candidate, one seed."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            draft = Draft.of(net)
            if part != WHOLE:
                registry.load("edits", "remove")(layer=part)(draft, Given())
            edited = draft.finish()[0]
        assert edited.module is not None
        preprocess, rest, held = preprocess_of(net)[0], *images
        before = evaluate(edited.module, held, preprocess)
        row = {"as_is": before.accuracy, "images": before.images, "repair": "; ".join(draft.changes[1:]),
               "parameters": sum(layer.parameters for layer in edited.layers),
               "memory": sum(run.saved_bytes(edited).values()) + sum(t.nbytes for t in edited.tensors.values())}
        seconds = math.nan
        if self.epochs and any(p.requires_grad for p in edited.module.parameters()):
            started = time.perf_counter()
            record = fit(edited.module, rest, held, preprocess, FitSettings(epochs=self.epochs, rate=self.rate, seed=seed))
            steps = max(1, len(record.steps["step"]))
            seconds = (time.perf_counter() - started) / steps if not len(record.epochs["seconds"]) else float(
                np.median(record.epochs["seconds"])) * len(record.epochs["seconds"]) / steps
        after = evaluate(edited.module, held, preprocess)
        return row | {"after": after.accuracy, "step": seconds}

    def _table(self, net: Network, rows: dict[str, list[dict[str, Any]]], images: tuple[int, int]) -> Table:
        whole = rows[WHOLE]
        parts = list(rows)
        image = 100 / images[1]  # points that one image is worth: nothing finer can be known
        change = {p: interval([100 * (r["after"] - w["after"]) for r, w in zip(rows[p], whole, strict=True)],
                              0.0 if p == WHOLE else image) for p in parts}
        columns: dict[str, Any] = {
            "without": np.array(parts),
            "as it is": np.array([np.mean([r["as_is"] for r in rows[p]]) for p in parts]),
            "after": np.array([np.mean([r["after"] for r in rows[p]]) for p in parts]),
            "change": np.array([change[p][0] for p in parts]),
            "low": np.array([change[p][1] for p in parts]),
            "high": np.array([change[p][2] for p in parts]),
            "ms per step": np.array([1000 * np.median([r["step"] for r in rows[p]]) for p in parts]),
            "parameters": np.array([rows[p][0]["parameters"] for p in parts]),
            "MiB": np.array([rows[p][0]["memory"] / 2**20 for p in parts]),
            "repair": np.array([rows[p][0]["repair"] for p in parts], dtype=str),
        }
        low, high = wilson(whole[0]["as_is"], whole[0]["images"])
        notes = (
            sentence(columns, self.epochs),
            f"{images[0]} images train, {images[1]} judge; {plural(self.seeds, 'seed')}; {plural(self.epochs, 'epoch')} "
            f"at rate {self.rate:g}",
            f"one image more or less is {image:.2g} points, and no interval is narrower; the whole network as it is: "
            f"{whole[0]['as_is']:.1%}, 95 % interval over images {low:.1%} … {high:.1%}",
            *(("one seed: there is no interval over seeds",) if self.seeds == 1 else ()),
        )
        return Table(columns=columns, units=MEANINGS, title=f"{net.name} without one part at a time", notes=notes,
                     origin=net.origin(self), chart=("change", "low", "high"))


def interval(values: list[float], least: float = 0.0) -> tuple[float, float, float]:
    """(mean, low, high): 95 %, Student's t, at least `least` to either side; NaN ends for one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = max(half, least)
    return mean, mean - half, mean + half


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` (Wilson 1927)."""
    z = 1.959964
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)


def sentence(columns: dict[str, Any], epochs: int) -> str:
    """The answer in one sentence."""
    names, change, low, high = (columns[k][1:] for k in ("without", "change", "low", "high"))
    if not len(names):
        return "nothing was removed"
    trained = f"after {plural(epochs, 'epoch')} of fine-tuning" if epochs else "as it is"
    worst = int(np.argmin(change))
    needed = f"{names[worst]} is needed most: without it {_points(change[worst], low[worst], high[worst])} {trained}"
    free = [i for i in range(len(names)) if low[i] > -1]  # the interval leaves no room for a loss of a point
    if not free:
        return f"{needed}; no part can go without a possible loss of a point."
    saved = min(free, key=lambda i: columns["parameters"][1:][i])
    spare = f"{names[saved]} can go: {_points(change[saved], low[saved], high[saved])}"
    others = f" ({len(free) - 1} others too)" if len(free) > 1 else ""
    return f"{needed}; {spare}{others}."


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _points(value: float, low: float, high: float) -> str:
    ends = "" if math.isnan(low) else f" ({low:+.1f} … {high:+.1f})"
    return f"{value:+.1f} points{ends}".replace("-", "−")


def _names(address: str) -> Iterator[str]:
    """A layer and the blocks that it is in: 'layer1.0.conv1', 'layer1.0', 'layer1'."""
    path = address.split(":")[0]
    yield from (path.rsplit(".", i)[0] for i in range(path.count(".") + 1))


def _goes(base: Draft, part: str) -> bool:
    """Can this part be removed, and is the answer still one a class?"""
    draft = base.copy()
    try:
        registry.load("edits", "remove")(layer=part)(draft, Given())
        draft.measure()
    except ConvscopeError:
        return False
    return draft.shape(draft.output) == base.shape(base.output)


def _labelled(data: Collection, most: int) -> Collection:
    known = np.flatnonzero(data.labels >= 0)
    if not len(known):
        raise UsageError(f"an ablation study on {data.name}", "its images have no labels",
                         "give a folder with one folder a class, or digits")
    if len(known) > most:  # the first of each class in turn
        turn = np.zeros(len(known), int)
        for label in np.unique(data.labels[known]):
            mine = np.flatnonzero(data.labels[known] == label)
            turn[mine] = np.arange(len(mine))
        known = np.sort(known[np.argsort(turn, kind="stable")[:most]])
    return data.take(known)


def _file(out: Path, print_: str, part: str, seed: int) -> Path:
    return out / f"{blake2b(f'{print_} {part} {seed}'.encode(), digest_size=8).hexdigest()}.json"


def _known(out: Path | None, print_: str, part: str, seed: int) -> dict[str, Any] | None:
    if out is None or not _file(out, print_, part, seed).exists():
        return None
    return json.loads(_file(out, print_, part, seed).read_text(encoding="utf-8"))["row"]


def _keep(out: Path | None, print_: str, part: str, seed: int, row: dict[str, Any]) -> None:
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    with store.atomic(_file(out, print_, part, seed)) as file:
        file.write(json.dumps({"without": part, "seed": seed, "row": row}, indent=1).encode())
