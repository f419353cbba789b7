"""The long work of an atlas, in jobs that are kept one by one: what a kill costs is the job that was running.

    jobs/KIND/LAYER.PART.json    what a job found, with the network and the settings it was made with, and what it cost

A job that is there already is not done again; with a budget the jobs stop between two of them, and the next run goes on.
Under torchrun every process takes each so-manieth job: what a job finds does not depend on who does it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope import store
from convscope.addresses import slug
from convscope.atlas.plain import plain
from convscope.atlas.work import Work
from convscope.errors import ConvscopeError

FORMAT = 3  # of what a job keeps: jobs of another format are made anew
Made = tuple[dict[str, Any], dict[str, bytes]]  # plain values, and pictures by file name


@dataclass(frozen=True)
class Job:
    """One piece of work: `make` is asked at most once."""

    kind: str  # 'pictures', 'names', …
    layer: str
    part: int  # which group of units, 0 where there are no groups
    settings: str  # what it depends on besides the network and the collection
    make: Callable[[], Made]

    @property
    def name(self) -> str:
        return f"{self.kind}/{slug(self.layer)}.{self.part}"


def path_of(out: Path, job: Job) -> Path:
    return out / "jobs" / f"{job.name}.json"


def found(work: Work, job: Job) -> dict[str, Any] | None:
    """What the job found in this or an earlier run, if it was made with the same network, images and settings."""
    try:
        kept = json.loads(path_of(work.out, job).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not there, or of another version: it is made anew
    return kept if isinstance(kept, dict) and kept.get("stamp") == stamp(work, job) else None


def stamp(work: Work, job: Job) -> str:
    return f"{FORMAT}|{work.net.print}|{work.record.facts.collection}|{job.settings}"


def do(work: Work, jobs: Sequence[Job], deadline: float | None) -> int:
    """Do this process's share of the jobs that are not there yet; how many of them are left undone."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    mine = [job for at, job in enumerate(jobs) if at % world == rank]
    left = [job for job in mine if found(work, job) is None]
    for number, job in enumerate(left):
        if deadline is not None and time.monotonic() > deadline:
            return len(left) - number
        work.report(number, len(left), job.kind)
        _do(work, job)
    if left:
        work.report(len(left), len(left), left[-1].kind)
    return 0


def _do(work: Work, job: Job) -> None:
    began, busy = time.monotonic(), time.process_time()
    try:
        content, files = job.make()
        answer: dict[str, Any] = {"content": plain(content)}
    except ConvscopeError as refusal:  # the method does not apply to this layer, and says why
        answer, files = {"refused": str(refusal)}, {}
    for name, data in files.items():
        target = work.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.atomic(target) as file:
            file.write(data)
    spent = {"seconds": round(time.monotonic() - began, 2), "cpu_seconds": round(time.process_time() - busy, 2)}
    kept = {"stamp": stamp(work, job), **spent, **answer}
    target = path_of(work.out, job)
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic(target) as file:
        file.write(json.dumps(kept, ensure_ascii=False, allow_nan=False).encode())
