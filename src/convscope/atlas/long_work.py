"""Features and studies: do the jobs there is time for, and write down for the page what there is and what is not.

    data/units/LAYER.js    what is known of single units of a layer (`of_units`)
    data/study/LAYER.js    tables and pictures about a layer (`of_layers`)
    data/depth.js          curves over all layers
"""

from __future__ import annotations

import os
import time
from typing import Any

from convscope.addresses import slug
from convscope.atlas import of_layers, of_units
from convscope.atlas.chains import principals, ranking, unit_count
from convscope.atlas.jobs import Job, do, found
from convscope.atlas.work import Work, put
from convscope.processes import processes
from convscope.responses._study import Study

Found = dict[str, dict[str, list[dict[str, Any]]]]  # kind -> layer -> what its jobs found, in the order of the parts


def do_jobs(work: Work) -> None:
    """This process's share of the jobs; under torchrun, wait until all processes have done theirs."""
    study = Study(work.record, work.net, work.collection, work.preprocess)
    deadline = time.monotonic() + 60 * work.settings.minutes if work.settings.minutes else None
    do(work, _jobs(work, study), deadline)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        with processes(work.net.device) as group:
            group.wait()


def write(work: Work) -> dict[str, Any]:
    """Write the data files; what the first page says about them."""
    study = Study(work.record, work.net, work.collection, work.preprocess)
    jobs = _jobs(work, study)
    kept: Found = {}
    refused: dict[str, dict[str, str]] = {}
    missing: dict[str, int] = {}
    seconds = 0.0
    for job in jobs:
        answer = found(work, job)
        if answer is None:
            missing[job.kind] = missing.get(job.kind, 0) + 1
        elif "refused" in answer:
            refused.setdefault(job.layer, {})[job.kind] = answer["refused"]
        else:
            kept.setdefault(job.kind, {}).setdefault(job.layer, []).append(answer["content"])
        seconds += 0.0 if answer is None else float(answer["seconds"])
    unit_kinds = ("names", "connections", "pictures", "projections", "effects")
    for layer in dict.fromkeys(job.layer for job in jobs if job.kind in unit_kinds):
        put(work.out, f"units/{slug(layer)}", _units(work, layer, kept, refused.get(layer, {}), unit_kinds))
    about_layers = {name: kept.get(name, {}) for name in of_layers.FAMILIES}
    studied = [layer for layer in work.record.facts.layers if any(layer in of for of in about_layers.values())]
    for layer in studied:
        results = [of[layer][0] for of in about_layers.values() if layer in of]
        left = {name: why for name, why in refused.get(layer, {}).items() if name in of_layers.FAMILIES}
        put(work.out, f"study/{slug(layer)}", {"results": results, "refused": left})
    first = {name: {layer: parts[0] for layer, parts in of.items()} for name, of in about_layers.items()}
    put(work.out, "depth", of_layers.depth(first, work.record.facts.layers))
    chains = principals(work.net, work.record.facts.layers)
    with_units = {job.layer for job in jobs if job.kind in unit_kinds}
    return {
        "principal": {layer: at for layer, at in chains.items() if at in with_units},
        "studied": studied,
        "missing": missing,
        "jobs": len(jobs),
        "seconds": round(seconds, 1),
        "features": work.settings.features,
    }


def _jobs(work: Work, study: Study) -> list[Job]:
    return [*of_units.jobs(work, study), *of_layers.jobs(work, study)]


def _units(work: Work, layer: str, kept: Found, refused: dict[str, str], kinds: tuple[str, ...]) -> dict[str, Any]:
    """Everything about single units of a layer, by unit; and for each kind of answer what must be said about it."""
    units: dict[str, dict[str, Any]] = {}
    about: dict[str, Any] = {}
    for kind in kinds:
        parts = kept.get(kind, {}).get(layer, [])
        known = 0
        for part in parts:
            for unit, row in part["units"].items():
                more = {"sheet": part["sheet"]} if "sheet" in part else {}
                units.setdefault(unit, {})[kind] = {**more, **row}
                known += 1
        about[kind] = {
            "known": known,
            "notes": parts[0]["notes"] if parts else [],
            "settings": parts[0]["settings"] if parts else "",
            "refused": refused.get(kind, ""),
            **({"size": parts[0]["size"]} if parts and "size" in parts[0] else {}),
        }
    _, dead, words = ranking(work.record, layer)
    count = unit_count(work.net, layer)
    return {"layer": layer, "count": count, "dead": dead, "order": words, "units": units, "about": about}
