"""Does `verify` name the mistakes that a separate implementation makes? Every case, and what was said of it.

    python -m tests.debugger.confusion [NET …]        all cases of all networks, with the table for benchmarks/RESULTS.md

A case is one mistake at one layer of one network, seen through a set of arrays, in float64 or float32. A case counts where
the mistake shows in these arrays at all (a flipped 1×1 kernel does not). It is named right if the cause of the first finding
names the mistake, at that layer, or among those of which it says that they make the same arrays.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from convscope.debugger.verify import Problem, verify
from convscope.errors import ConvscopeError
from convscope.network import Network
from convscope.results import Findings
from tests.debugger.handmade import PAIRS, Pair
from tests.debugger.naive import LOSS, MISTAKES, DoesNotFit

# What the hand-made network calls a mistake -> what the catalogue calls it.
_HOW_MANY = {
    "first example only": "only the first example", "last example only": "only the last example",
    "mean over the batch": "mean over the batch instead of the sum",
    "mean over positions": "mean over positions instead of the sum",
    "first position only": "only the first position", "last position only": "only the last position",
}
NAMES: dict[str, str] = {
    "valid instead of full": "valid where full is needed",
    "valid instead of full, zeros around": "valid where full is needed, zeros around",
    "stride not dilated, zeros at the end": "stride not dilated, zeros at the end",
    "conv: windows overwritten": "overlapping windows overwritten",
    "max_pool: windows overwritten": "overlapping windows overwritten with zeros",
    "groups ignored": "groups ignored every channel gets all",
    "spread to all positions": "delta shared out as in average pooling",
    "copied to all positions": "delta spread to all positions",
    "to all tied maxima": "delta to all tied maxima",
    "last of tied maxima": "delta to the last of tied maxima",
    "W not transposed": "weight not transposed",
    "rows and columns swapped": "flatten mixed up: rows and columns swapped",
    "flattened column by column": "flatten mixed up: rows and columns swapped",
    "delta folded channels last": "flatten mixed up: HWC instead of CHW",
    "flattened channels last": "flatten mixed up: HWC instead of CHW",
    "mean and variance constant": "mean and variance treated as constants",
    "variance constant": "variance treated as a constant",
    "to the first branch only": "delta to one branch only (first)",
    "to the second branch only": "delta to one branch only (second)",
    "doubled": "delta doubled",
    "cut in the wrong order": "concat cut in the wrong order",
    "derivative of tanh forgotten": "derivative forgotten",
    "recurrent W not transposed": "recurrent weights not transposed",
    "labels off by one": "labels off by one, too high",
    **{f"{which}: {ours}": f"{which} gradient: {theirs}"
       for which in ("weight", "bias") for ours, theirs in _HOW_MANY.items()},
}
SETS = {
    "all": lambda name: True,
    "deltas": lambda name: name.endswith(".delta"),
    "weight gradients": lambda name: name.endswith(".gradient"),
    "the first layer's": lambda name: False,  # replaced by that layer's gradients and input delta
}


@dataclass(frozen=True)
class Case:
    """One mistake, seen through some arrays."""

    net: str
    layer: str
    kind: str  # of the layer
    mistake: str
    seen: str  # which set of arrays
    dtype: str

    @property
    def wanted(self) -> str:
        """The catalogue's name."""
        return NAMES.get(f"{self.kind}: {self.mistake}", NAMES.get(self.mistake, self.mistake))


@functools.cache
def opened(name: str) -> tuple[Pair, Network]:
    pair = PAIRS[name]()
    return pair, Network.open(pair.module, torch.from_numpy(pair.x), name)


@functools.cache
def arrays(name: str, layer: str, mistake: str, dtype: str) -> dict[str, Any]:
    return PAIRS[name]().arrays({layer: mistake} if layer else None, np.dtype(dtype))


def cases(names: Iterable[str] = tuple(PAIRS), dtypes: Iterable[str] = ("float64",), every: int = 1) -> Iterator[Case]:
    """Every case (or every n-th) in which the mistake can be seen."""
    for name in names:
        layers = [(step.name, step.kind) for step in PAIRS[name]().steps] + [(LOSS, LOSS)]
        asked = [Case(name, layer, kind, mistake, seen, dtype) for layer, kind in layers for mistake in MISTAKES[kind]
                 for dtype in dtypes for seen in SETS]
        for case in asked[::every]:
            try:
                shown = shows(case)
            except DoesNotFit:
                continue
            if shown:
                yield case


def given(case: Case) -> dict[str, Any]:
    """The arrays that `verify` gets to see."""
    made = arrays(case.net, case.layer, case.mistake, case.dtype)
    first = PAIRS[case.net]().steps[0].name if case.net not in ("rnn", "lstm") else "layer"
    keep = SETS[case.seen] if case.seen != "the first layer's" else \
        lambda n: n.startswith(first + ".") and n.endswith((".gradient", ".input_delta"))
    return {n: v for n, v in made.items() if n in ("input", "labels") or keep(n)}


def shows(case: Case) -> bool:
    """Does the mistake change any of these arrays by more than rounding? (A bias before a batch norm has no gradient.)"""
    mine, right = given(dataclasses.replace(case, dtype="float64")), arrays(case.net, "", "", "float64")
    return any(v.shape != right[n].shape or np.abs(v - right[n]).max() > max(1e-4 * np.abs(right[n]).max(), 1e-10)
               for n, v in mine.items())


def verdict(case: Case) -> str:
    """What `verify` says was done: the cause of its first finding."""
    _, net = opened(case.net)
    try:
        found = verify(net, given(case), Problem(training=True if case.net == "branches" else None))
    except ConvscopeError as refusal:
        return f"refused: {refusal}"
    return said(found)


def said(found: Findings) -> str:
    return "fine" if found.findings[0].severity == "fine" else found.findings[0].cause


def right(case: Case, cause: str) -> bool:
    """Is the mistake among those that are named, and its layer with it?"""
    claims = [c.removeprefix("the same arrays come out if ") for c in cause.split("; ")]
    for claim in claims:
        where, _, rest = claim.partition(": ")
        if rest.startswith(case.wanted + ":") and case.layer in re.split(r"[ ,()]+", where):
            return True
    return False


def main(names: list[str]) -> None:
    """Print the shares, and every case that was named otherwise."""
    totals: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for name in names or list(PAIRS):
        for case in cases([name], ("float64", "float32")):
            cause = verdict(case)
            ok = right(case, cause)
            for key in ((case.net, case.dtype), (case.seen, case.dtype), ("together", case.dtype)):
                totals[key][0] += ok
                totals[key][1] += 1
            if not ok:
                print(f"{case}\n    wanted {case.wanted}\n    said {cause}", flush=True)
        arrays.cache_clear()
    for (what, dtype), (good, count) in totals.items():
        print(f"| {what} | {dtype} | {count} | {good} | {good / count:.1%} |")


if __name__ == "__main__":
    main(sys.argv[1:])
