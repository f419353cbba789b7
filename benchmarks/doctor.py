"""The doctor against the development cases and healthy runs: `python -m benchmarks.doctor [--seeds 3] [--prove] [ids …]`.

Prints, and with --out keeps as JSON lines: right cause first, right cause among the first three, proved repairs, false
alarms, seconds. A case is a program that somebody would have written (`doctor_cases/`); the doctor gets its objects, never
its answer. Loop faults are watched while the case's own loop runs. One thread, unless --threads says otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
from benchmarks.doctor_cases import Case

import convscope as cs
from benchmarks import doctor_cases, doctor_unseen


def diagnosed(case: Case, seed: int, seconds: float, prove: int) -> dict[str, Any]:
    """One case under one seed: what was found, and how long it took."""
    torch.manual_seed(seed)
    setup = case.build(seed)
    begun = time.perf_counter()
    run = None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if setup.loop is not None:
            watching = cs.watch(setup.model, setup.optimizer, full=True)
            with contextlib.suppress(Exception), watching:
                setup.loop()
            run = watching.result()
            begun = time.perf_counter()
        found = cs.check(setup.model, setup.train, setup.loss, setup.optimizer, held_out=setup.held_out,
                         batch_size=setup.batch, epochs=setup.epochs, shuffle=setup.shuffle, scheduler=setup.scheduler,
                         metric=setup.metric, run=run, seconds=seconds, seed=seed, prove=prove)  # fmt: skip
    told = [f for f in found.findings if f.fault]
    return {
        "id": case.id, "seed": seed, "fault": case.fault, "also": list(case.also), "symptom": case.symptom,
        "first": [f.fault for f in told], "severity": [f.severity for f in found.findings][:1],
        "alarms": [f.fault or "?" for f in found.findings if f.severity == "error"],
        "confirmed": [f.fault for f in told if f.confirmed], "seconds": round(time.perf_counter() - begun, 2),
        "words": found.findings[0].symptom if found.findings else "",
        "evidence": {str(k): str(v) for f in told[:1] for k, v in f.evidence.items()},
        "gains": {f.fault: f.evidence.get("gain of a short try", "") for f in told},
        "notes": [n for n in found.notes if "failed" in n],
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The issue's figures."""
    sick, well = [r for r in rows if r["fault"]], [r for r in rows if not r["fault"]]
    shown = [r for r in sick if r["symptom"] in ("yes", "raised")]
    loops = [r for r in sick if r["id"].startswith(("PT-", "TC-", "UNSEEN-")) and r["fault"] in LOOPS]
    return {
        "cases x seeds": len(sick),
        "right cause first, %": share(sick, lambda r: r["first"][:1] == [r["fault"]]),
        "among the first three, %": share(sick, lambda r: r["fault"] in r["first"][:3]),
        "first, where there is a symptom, %": share(shown, lambda r: r["first"][:1] == [r["fault"]]),
        "first is the cause or another true one, %":
            share(sick, lambda r: bool(set(r["first"][:1]) & {r["fault"], *r["also"]})),
        "repaired with proof, of those with a symptom, %":
            share([r for r in shown if r["symptom"] == "yes"], lambda r: bool(r["confirmed"])),
        "loop faults named first, %": share(loops, lambda r: r["first"][:1] == [r["fault"]]),
        "healthy x seeds": len(well),
        "false alarms, %": share(well, lambda r: bool(r["alarms"])),
        "seconds, median": float(np.median([r["seconds"] for r in rows])) if rows else 0.0,
        "seconds, worst": max((r["seconds"] for r in rows), default=0.0),
    }  # fmt: skip


LOOPS = ("P4", "P5", "P6", "P7", "P9", "P12", "P13", "E1", "E4")


def share(rows: list[dict[str, Any]], right: Any) -> float:
    return round(100 * float(np.mean([bool(right(r)) for r in rows])), 1) if rows else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", help="cases; 'healthy' or 'faulty' for one kind")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--prove", type=int, default=0, help="seeds of the proof")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--unseen", action="store_true", help="the programs of doctor_unseen instead")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    known = (doctor_unseen if given.unseen else doctor_cases).cases()
    kinds = {"healthy": [c for c in known.values() if not c.fault], "faulty": [c for c in known.values() if c.fault]}
    chosen = [c for word in given.ids for c in kinds.get(word, [known[word]] if word in known else [])]
    chosen = chosen or list(known.values())
    rows: list[dict[str, Any]] = []
    for case in chosen:
        for seed in range(given.seeds):
            row = diagnosed(case, seed, given.seconds, given.prove)
            rows.append(row)
            first = row["first"]
            right = first[:1] == [case.fault] if case.fault else not row["alarms"]
            mark = "·" if right else "3" if case.fault in first[:3] else "X"
            print(f"{mark} {case.id:40.40} {case.fault or '–':3} {','.join(case.also):10} {case.symptom:7} -> "
                  f"{' '.join(first[:6]):24} alarms {' '.join(row['alarms']):14} proof {' '.join(row['confirmed']):6} "
                  f"{row['seconds']:5.1f} s {row['words'][:70]} {row['notes'] or ''}", flush=True)  # fmt: skip
            if given.out:
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print()
    for name, value in summary(rows).items():
        print(f"{name:52} {value}")


if __name__ == "__main__":
    main()
