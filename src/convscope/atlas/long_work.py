"""Features and studies: do the jobs there is time for, and write down for the page what there is and what is not.

    data/units/LAYER.js    what is known of single units of a layer (`of_units`)
    data/study/LAYER.js    tables and pictures about a layer (`of_layers`)
    data/depth.js          curves over all layers

What an earlier run has made, with the same network, images and settings, stays on the page, asked for again or not.
"""

from __future__ import annotations

import datetime
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convscope.addresses import slug
from convscope.atlas import of_depth, of_layers, of_units
from convscope.atlas.chains import principals, ranking, unit_count
from convscope.atlas.jobs import Job, do, found
from convscope.atlas.work import Work, put
from convscope.processes import processes
from convscope.responses._study import Study

UNIT_KINDS = ("names", "connections", "pictures", "projections", "effects")
PATIENCE = datetime.timedelta(days=30)  # one process may have much more left to do than another


@dataclass
class Kept:
    """What the jobs found: by kind, by layer, in the order of the parts."""

    parts: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict[str, dict[str, list[dict[str, Any]]]])
    refused: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    missing: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, job: Job, answer: dict[str, Any]) -> None:
        """One job's answer."""
        self.seconds += float(answer["seconds"])
        self.cpu_seconds += float(answer["cpu_seconds"])
        if "refused" in answer:
            self.refused.setdefault(job.kind, {})[job.layer] = answer["refused"]
        else:
            self.parts.setdefault(job.kind, {}).setdefault(job.layer, []).append(answer["content"])

    def has(self, layer: str, kinds: Sequence[str]) -> bool:
        return any(layer in of.get(kind, {}) for of in (self.parts, self.refused) for kind in kinds)


def do_jobs(work: Work) -> None:
    """This process's share of the jobs; under torchrun, wait until all processes have done theirs."""
    deadline = time.monotonic() + 60 * work.settings.minutes if work.settings.minutes else None
    do(work, jobs(work, work.settings.features, work.settings.studies, work.about), deadline)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        with processes(work.net.device, PATIENCE) as group:
            group.wait()


def jobs(work: Work, features: str, studies: bool, about: Callable[[str], bool]) -> list[Job]:
    """What is to be done, in this order: of every layer the first group of units and the studies, then group by group."""
    study = Study(work.record, work.net, work.collection, work.preprocess)
    every = [*of_units.jobs(work, study, features, about), *(_studies(work, study, about) if studies else [])]
    return sorted(every, key=lambda job: job.part)


def _studies(work: Work, study: Study, about: Callable[[str], bool]) -> list[Job]:
    return [*of_layers.jobs(work, study, about), *of_depth.jobs(work, about)]


def write(work: Work) -> dict[str, Any]:
    """Write the data files; what the first page says about them."""
    asked = {job.name: job for job in jobs(work, work.settings.features, work.settings.studies, work.about)}
    kept = Kept()
    for job in jobs(work, "all", True, lambda _: True):
        answer = found(work, job)
        if answer is not None:
            kept.add(job, answer)
        elif job.name in asked:
            kept.missing[job.kind] += 1
    chains = principals(work.net, work.record.facts.layers)
    wanted = {job.layer for job in asked.values() if job.kind in UNIT_KINDS}
    with_units = [at for at in dict.fromkeys(chains.values()) if at in wanted or kept.has(at, UNIT_KINDS)]
    for layer in with_units:
        put(work.out, f"units/{slug(layer)}", units_page(work, layer, kept))
    studied = [layer for layer in work.record.facts.layers if kept.has(layer, tuple(of_layers.FAMILIES))]
    for layer in studied:
        put(work.out, f"study/{slug(layer)}", study_page(layer, kept))
    first = {name: {layer: parts[0] for layer, parts in kept.parts.get(name, {}).items()} for name in of_layers.FAMILIES}
    inverted = {layer: parts[0] for layer, parts in kept.parts.get("inversion", {}).items()}
    rebuilt = of_depth.page(inverted, [layer.address for layer in work.net.layers])
    put(work.out, "depth", of_layers.depth(first, work.record.facts.layers) | {"rebuilt": rebuilt})
    return {
        "principal": {layer: at for layer, at in chains.items() if at in with_units},
        "studied": studied,
        "asked": Counter(job.kind for job in asked.values()),
        "missing": kept.missing,
        "refused": {kind: len(of) for kind, of in kept.refused.items()},
        "jobs": len(asked),
        "seconds": round(kept.seconds, 1),
        "cpu_seconds": round(kept.cpu_seconds, 1),
        "features": work.settings.features,
        "studies": work.settings.studies,
    }


def units_page(work: Work, layer: str, kept: Kept) -> dict[str, Any]:
    """Everything about single units of a layer, by unit; and for each kind of answer what must be said about it."""
    units: dict[str, dict[str, Any]] = {}
    about: dict[str, Any] = {}
    for kind in UNIT_KINDS:
        parts = kept.parts.get(kind, {}).get(layer, [])
        for at, part in enumerate(parts):
            where = {"part": at} if "sheet" in part else {}
            for unit, row in part["units"].items():
                units.setdefault(unit, {})[kind] = where | row
        sheets = [part["sheet"] for part in parts if "sheet" in part]
        about[kind] = ({"size": parts[0]["size"], "sheets": sheets} if sheets else {}) | {
            "known": sum(len(part["units"]) for part in parts),
            "notes": _common([part["notes"] for part in parts]),
            "settings": parts[0]["settings"] if parts else "",
            "refused": kept.refused.get(kind, {}).get(layer, ""),
        }
    _, dead, words = ranking(work.record, layer)
    count = unit_count(work.net, layer)
    return {"layer": layer, "count": count, "dead": dead, "order": words, "units": units, "about": about}


def study_page(layer: str, kept: Kept) -> dict[str, Any]:
    """The results of every study of a layer, and why others do not apply to it."""
    results = [
        of_layers.for_the_page(kept.parts[name][layer][0], f"jobs/{name}/{slug(layer)}.0.json")
        for name in of_layers.FAMILIES
        if layer in kept.parts.get(name, {})
    ]
    left = {name: kept.refused[name][layer] for name in of_layers.FAMILIES if layer in kept.refused.get(name, {})}
    return {"results": results, "refused": left}


def _common(notes: Sequence[Sequence[str]]) -> list[str]:
    """What is said of all parts; then what is said of some."""
    every = list(dict.fromkeys(note for part in notes for note in part))
    return sorted(every, key=lambda note: sum(note not in part for part in notes) > 0)
