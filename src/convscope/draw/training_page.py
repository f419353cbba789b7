"""What the page's training view is told: the runs and findings of a folder as plain values.

    NAME.npz               a Run or Findings, as `save` keeps them; other kinds are left alone
    NAME.findings.npz      findings whose name begins with a run's name are shown with that run, others with every run

Numbers have six significant digits; null is "not seen", the words 'nan', 'inf' and '-inf' are what was measured. Of a
long run the page gets COLUMNS columns of the map and POINTS steps of the curves, and says so; what cannot be read is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope import store
from convscope.draw import curves, health, words
from convscope.draw.findings import change
from convscope.errors import StoreError
from convscope.results import Finding, Findings, Result, Run

COLUMNS = 400  # steps of a map
POINTS = 1500  # steps of a curve
LONGEST = 160  # letters of one fact
KEPT = ("run", "findings")
STEP = re.compile(r"\b(?:step|iteration|batch)\s+(\d[\d,]{0,14})", re.IGNORECASE)  # as health.js reads it


def folders(folder: Path) -> tuple[Path, ...]:
    """Where results of training lie: in the folder `training`; where there is no atlas, in the folder itself too."""
    bare = not (folder / "index.html").exists()
    return (folder / "training", folder) if bare else (folder / "training",)


def read(folder: str | Path) -> tuple[dict[str, Result], dict[str, str]]:
    """The runs and findings of a folder by name, and what could not be read, with the reason."""
    found: dict[str, Result] = {}
    broken: dict[str, str] = {}
    for place in folders(Path(folder)):
        for path in sorted(place.glob("*.npz")):
            try:
                if store.kind(path) in KEPT:
                    found.setdefault(path.stem, store.read(path))
            except StoreError as problem:
                broken[path.name] = str(problem).replace(str(path), path.name)  # a page may be given away
    return found, broken


def holds(folder: str | Path) -> bool:
    """Is there any run or finding, readable or not yet?"""
    found, broken = read(folder)
    return bool(found or broken)


def page(folder: str | Path) -> dict[str, Any]:
    """Everything that the training view shows of a folder."""
    found, broken = read(folder)
    runs = {name: r for name, r in found.items() if isinstance(r, Run)}
    return {
        "measures": [{**asdict(m), "band": m.healthy} for m in health.MEASURES],
        "runs": [run(name, r, named_steps(found)) for name, r in runs.items()],
        "findings": [findings(name, r) | {"run": run_of(name, runs)}
                     for name, r in found.items() if isinstance(r, Findings)],
        "broken": [{"name": name, "problem": problem} for name, problem in broken.items()],
    }


def run_of(name: str, runs: Mapping[str, Any]) -> str | None:
    """The run that findings belong to: the one with the longest name that theirs begins with.

    >>> run_of("second.findings", {"s": 0, "second": 0}), run_of("doctor", {"second": 0})
    ('second', None)
    """
    return max((r for r in runs if name.startswith(r)), key=len, default=None)


def named_steps(found: Mapping[str, Result]) -> set[int]:
    """The steps that findings speak of: these columns are never left out."""
    said = [f.where for r in found.values() if isinstance(r, Findings) for f in r.findings]
    return {int(n.replace(",", "")) for where in said for n in STEP.findall(where)}


def run(name: str, result: Run, named: set[int] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """One training record: curves, the layers' health and what was seen of the loop."""
    length = max((len(v) for v in result.steps.values()), default=0)
    steps = {"step": np.arange(length)} | {k: np.asarray(v) for k, v in result.steps.items() if len(v) == length}
    at = np.asarray(result.health.get("step", ()))
    columns = map_columns(at, named)
    looked = np.flatnonzero(health.looked(result))
    loss = steps.get("loss", np.zeros(length)).astype(np.float64)[looked]
    chosen = np.union1d(curve_points(loss), np.flatnonzero(np.isin(steps["step"][looked], at[columns])))
    kept, watched = looked[chosen.astype(np.intp)], health.WATCHED in result.loop
    told = {k: _plain(v[kept], seen=not watched) for k, v in steps.items()}
    broken = health.broken(result)
    if watched and broken is not None and "loss" in told:  # here NaN is a loss, elsewhere "not looked at"
        told["loss"] = ["nan" if v is None and s == broken else v for v, s in zip(told["loss"], told["step"], strict=True)]
    measures = {k: np.asarray(v, np.float64) for k, v in result.health.items() if k != "step"}
    return {
        "name": name,
        "layers": [words.clean(layer) for layer in result.layers],
        "steps": told,
        "broken": broken,
        "epochs": {k: _plain(v, seen=True) for k, v in result.epochs.items()},
        "columns": _plain(at[columns]),
        "health": {k: _plain(v[:, columns]) for k, v in measures.items()},
        "first": result.loop.get("first_nonfinite"),
        "loop": _facts({k: v for k, v in result.loop.items() if v is not None and v not in ([], {}, (), "")}),
        "settings": _facts(result.settings),
        "notes": [words.clean(n) for n in result.notes],
        "counts": {"steps": length, "looked": len(looked), "points": len(kept), "seen": len(at), "columns": len(columns)},
    }


def map_columns(steps: NDArray[Any], named: set[int]) -> NDArray[np.intp]:
    """Which columns the map gets: all up to COLUMNS, else evenly spread, and those next to a step that a finding names."""
    if len(steps) <= COLUMNS:
        return np.arange(len(steps))
    even = np.linspace(0, len(steps) - 1, COLUMNS).round().astype(np.intp)
    near = [int(np.abs(np.asarray(steps, np.float64) - n).argmin()) for n in sorted(named)]
    return np.union1d(even, np.array(near, np.intp))


def curve_points(loss: NDArray[Any]) -> NDArray[np.intp]:
    """Which steps a curve gets: of each group the lowest and the highest loss, so that no spike is lost, the ends, and
    the first loss that is not finite."""
    n = len(loss)
    if n <= POINTS:
        return np.arange(n)
    finite = np.where(np.isfinite(loss), loss, np.nan)
    kept = {0, n - 1, *(int(i) for i in np.flatnonzero(~np.isfinite(loss))[:1])}
    edges = np.linspace(0, n, POINTS // 2 + 1).astype(int)
    for a, b in pairwise(edges):
        group = finite[a:b]
        kept |= {a} if np.isnan(group).all() else {a + int(np.nanargmin(group)), a + int(np.nanargmax(group))}
    return np.array(sorted(kept), np.intp)


def findings(name: str, result: Findings) -> dict[str, Any]:
    """Diagnoses with their evidence, and the curves of their proofs."""
    return {
        "name": name,
        "title": words.clean(result.title),
        "findings": [finding(f) for f in result.findings],
        "proofs": {k: _proof(arms) for k, arms in curves.grouped(result.curves).items()},
        "looked": len(next(iter(result.checked.values()))) if result.checked else 0,
        "notes": [words.clean(n) for n in result.notes],
    }


def finding(f: Finding) -> dict[str, Any]:
    said = ("severity", "fault", "symptom", "where", "cause", "remedy", "proof", "disproof")
    words_of = {k: words.clean(getattr(f, k)) for k in said}
    return {**words_of, "evidence": _facts(f.evidence), "code": change(f), "confirmed": f.confirmed}


def _proof(arms: curves.Arms) -> dict[str, Any]:
    """Both arms, at most POINTS steps each; the same for all seeds."""
    steps = max((a.shape[1] for a in arms.values()), default=0)
    kept = np.unique(np.linspace(0, max(steps - 1, 0), min(steps, POINTS)).round().astype(np.intp))
    lines = {arm: {"seeds": _plain(a[:, kept[kept < a.shape[1]]], seen=True),
                   "mean": _plain(curves.mean(a)[kept[kept < a.shape[1]]], seen=True)} for arm, a in arms.items()}
    return {"arms": lines, "steps": (kept + 1).tolist(), "said": curves.sentence(arms), "log": curves.logarithmic(arms)}


def _facts(values: Mapping[str, Any]) -> list[list[str]]:
    """Names and values as words: [['rate', '0.1'], …]; long lists abbreviated."""
    return [[words.clean(k).replace("_", " "), _short(v)] for k, v in values.items()]


def _short(value: Any) -> str:
    plain = isinstance(value, (list, tuple)) and len(value) > 6 and all(isinstance(v, (int, float, str)) for v in value)
    if isinstance(value, (list, tuple)) and not plain:
        said = ", ".join(words.value(v) for v in value)
    elif isinstance(value, dict):
        said = ", ".join(f"{words.clean(k)} {words.value(v)}" for k, v in value.items())
    else:
        said = words.value(np.asarray(value)) if plain else words.value(value)
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"


def _plain(values: Any, seen: bool = False) -> Any:
    """JSON values: lists, six significant digits; NaN is null, or with `seen` the word."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return _numbers(array.astype(np.float64).tolist(), seen)
    return array.tolist() if array.dtype.kind in "biu" else [words.value(v) for v in array.tolist()]


def _numbers(values: Any, seen: bool) -> Any:
    if isinstance(values, list):
        return [_numbers(v, seen) for v in values]
    if math.isfinite(values):
        return float(f"{values:.6g}")
    return ("nan" if seen else None) if math.isnan(values) else ("inf" if values > 0 else "-inf")
