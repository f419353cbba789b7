"""The evidence in words: what does not fit, why, what mends it; and what is known of every aspect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convscope.images import Preprocess
from convscope.mismatch import candidates
from convscope.mismatch.evidence import FEWEST, SURE, Seen, Verdict, compare, kinds_there, score
from convscope.network import Network
from convscope.results import Finding

UNITS = {
    "differs": "from the given one, in the numbers that come out",
    "accuracy": "share of images with the right class highest",
    "surprise": "mean −log p of the right class at its best temperature, nats; lower is better",
    "divergence": "of the first batch norm's input from its running statistics, nats a channel; lower is better",
    "information": "H(mean p) − mean H(p), nats; 0 where the outputs are saturated; higher is better",
    "confidence": "mean probability of the highest class",
}


def checked(seen: list[Seen], base: Seen) -> dict[str, NDArray[np.generic]]:
    """Every candidate with its numbers, the best by the strongest evidence first."""
    kind = (*kinds_there(base), "predictions")[0]
    ranked = sorted(seen, key=lambda one: score(one, kind))
    columns: dict[str, list[object]] = {
        "candidate": [one.candidate.name for one in ranked],
        "differs": [", ".join(one.candidate.differs) or "–" for one in ranked],
    }
    if base.surprise is not None:
        columns["surprise"], columns["accuracy"] = [score(one, "labels") for one in ranked], [one.right for one in ranked]
    if base.moments is not None:
        columns["divergence"] = [float(one.apart[0]) for one in ranked]
    columns["information"] = [float(one.told[0]) for one in ranked]
    columns["confidence"] = [float(one.shares.max(1).mean()) for one in ranked]
    return {name: np.array(cells) for name, cells in columns.items()}


def kinds(seen: list[Seen]) -> tuple[str, ...]:
    """Which evidence there was, and what was too little of it."""
    base, count = seen[0], len(seen[0].shares)
    there = kinds_there(base)
    used = ("evidence, the strongest first: " + ", ".join(there),) if there else ()
    few = [kind for kind, has in (("labels", base.surprise is not None), ("predictions", not there)) if has]
    return (*used, *(f"{kind} of {count} images are too few to tell (at least {FEWEST[kind]})"
                     for kind in few if kind not in there and count < FEWEST[kind]))  # fmt: skip


def _numbers(base: Seen, best: Seen, verdict: Verdict) -> dict[str, float | str]:
    names = {"labels": "surprise", "batch norm": "divergence", "predictions": "information"}
    sign = -1 if verdict.kind == "predictions" else 1
    name = names[verdict.kind]
    found: dict[str, float | str] = {f"{name} as given": sign * score(base, verdict.kind),
                                     f"{name} then": sign * score(best, verdict.kind), "p": verdict.p}  # fmt: skip
    if verdict.kind == "labels":
        found |= {"accuracy as given": base.right, "accuracy then": best.right}
    return found


def first(net: Network, base: Seen, best: Seen, verdict: Verdict, rest: list[Finding]) -> Finding:
    """What does not fit; or that nothing is known to. `rest`: what is known of each aspect."""
    doubtful = [f.where for f in rest if f.severity == "unknown" and f.where != "size"]
    given, wanted = base.candidate.preprocess, best.candidate.preprocess
    if verdict.better:
        weak = verdict.kind == "labels" and verdict.p > SURE
        return Finding("advice" if weak else "error",
                       f"the preprocessing {'probably does' if weak else 'does'} not fit: "
                       + "; ".join(candidates.words(given, wanted)), " and ".join(best.candidate.differs),
                       _numbers(base, best, verdict), _cause(net, given, wanted),
                       f"{candidates.options(wanted)}  ({wanted.describe()})",
                       f"{verdict.kind} of {len(base.shares)} images; a wrong naming would lose its lead on more of them")
    kinds = kinds_there(base)
    if not kinds:
        return Finding("unknown", "whether the preprocessing fits cannot be told", evidence={"images": len(base.shares)},
                       cause="too few images", remedy="give more images, with labels if there are any")
    numbers: dict[str, float | str] = {"images": len(base.shares), "evidence": ", ".join(kinds)}
    if doubtful:
        said = f"nothing fits clearly better than what was given, but {', '.join(doubtful)} cannot be told"
        return Finding("unknown", said, evidence=numbers, remedy="more images, with labels, would tell",
                       proof=given.describe())
    return Finding("fine", "nothing fits better than the given preprocessing", evidence=numbers, proof=given.describe())


def _cause(net: Network, given: Preprocess, wanted: Preprocess) -> str:
    if candidates.is_twice(given, wanted):
        return "mean and std are applied twice (double normalisation)"
    if candidates.is_plain(wanted) and not candidates.is_plain(given) and given.range == wanted.range:
        first = net.layers[0]
        inside = first.operator in ("sub", "div", "mul", "add", "batch_norm", "rsub")
        return (f"double normalisation: the network normalises by itself ({first.address}, {first.operator})" if inside
                else "mean and std are applied that the network was not trained with")  # fmt: skip
    return "the images come to the network in other numbers than in its training"


def aspect_of(seen: list[Seen], best: Seen, aspect: str) -> Finding | None:
    """What is known of one aspect in which nothing was found wrong: fine where its alternatives are clearly worse."""
    alike = {"mean", "std"} if aspect in ("mean", "std") else {aspect}  # these two often go together
    apart = [(one, set(candidates.differs(best.candidate.preprocess, one.candidate.preprocess))) for one in seen]
    rivals = [one for one, parts in apart if aspect in parts and parts <= alike and not one.candidate.own]
    if not rivals:
        return None  # nothing was tried that differs in this alone
    kinds = kinds_there(best)
    kind = kinds[0] if kinds else "predictions"
    near = min(rivals, key=lambda one: score(one, kind))
    worse = [one for one in rivals if any(compare(one, best, k).better for k in kinds)]
    sign = -1 if kind == "predictions" else 1
    name = {"labels": "surprise", "batch norm": "divergence", "predictions": "information"}[kind]
    numbers: dict[str, float | str] = {name: sign * score(best, kind), f"{name} of the nearest": sign * score(near, kind),
                                       "nearest": near.candidate.name}  # fmt: skip
    if len(worse) == len(rivals):
        rest = "the alternative is" if len(rivals) == 1 else "all alternatives are"
        return Finding("fine", f"{aspect}: {rest} clearly worse", aspect, numbers)
    open_ = f"{len(rivals) - len(worse)} of {len(rivals)} alternatives"
    return Finding("unknown", f"{aspect}: the images cannot tell it from {open_}", aspect, numbers,
                   remedy="more images, with labels, would tell")
