"""From replayed mistakes to sentences: which array is wrong, what was done, what to do instead, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.debugger import arrays as names
from convscope.debugger import layouts
from convscope.debugger.blame import Made, Search, Suspect, Theirs, joined
from convscope.debugger.replay import LOSS
from convscope.errors import ShapeError
from convscope.results import Finding

AT_MOST = 4  # findings: each takes the ones before it for granted
NONE = "none of the known mistakes reproduces it"


def accuse(search: Search) -> list[Finding]:
    """The first wrong array and its mistake; then, that mistake taken for granted, the next."""
    found: list[Finding] = []
    for _ in range(AT_MOST):
        base = search.replay.run(search.known) if search.known else search.replay.right
        wrong = [t for t in search.given if (not t.right if not search.known else t.made_by(base) > 1)]
        if not wrong:
            break
        blamed = wrong[0]
        suspects = search.suspects(blamed)
        guilty = [s for s in suspects if s.misfit <= 1]
        if guilty:
            best = guilty[0]
            alike = [s for s in guilty[1:] if s.explained == best.explained and s.mistake is not best.mistake]
            alike = [s for n, s in enumerate(alike) if s.mistake not in [a.mistake for a in alike[:n]]]
            found.append(_named(search, blamed, (best, alike, [s for s in suspects if s.misfit > 1]), len(wrong)))
            search.known = joined(search.known, best.mistakes, best.calls)
            continue
        whole = _whole(search, blamed)
        if whole is None and blamed.value is None:
            raise _wrong_shape(blamed)
        found.append(_unnamed(blamed, suspects) if whole is None else _finding(blamed, whole, len(wrong)))
        break
    return found


def what(theirs: Theirs) -> str:
    """'∂L/∂x of conv2 (conv2.input_delta)': an array in words."""
    layer = theirs.meaning.layer or "the network"
    said = {
        names.ACTIVATION: f"the output of {layer}",
        names.DELTA: f"∂L/∂(output of {layer})",
        names.INPUT_DELTA: f"∂L/∂(input of {layer})",
        names.GRADIENT: f"∂L/∂{theirs.meaning.parameter} of {layer}",
        names.LOSS: "the loss",
    }[theirs.meaning.kind]
    return "∂L/∂input" if theirs.meaning.layer == "input" else said


def _evidence(theirs: Theirs) -> dict[str, float | str]:
    if theirs.value is None:
        return {"your shape": "×".join(map(str, theirs.raw.shape)), "expected": "×".join(map(str, theirs.reference.shape))}
    apart = np.abs(theirs.value - theirs.reference)
    at = np.unravel_index(int(apart.argmax()), apart.shape) if apart.ndim else ()
    return {
        "largest difference": theirs.difference,
        "relative": theirs.difference / theirs.scale,
        "allowed for rounding (relative)": theirs.allowed / theirs.scale,
        "at": ", ".join(str(int(i)) for i in at),
        "yours": float(theirs.value[at]),
        "autograd's": float(theirs.reference[at]),
        "share of numbers that are off": float((apart > theirs.allowed).mean()),
    }


def _named(search: Search, blamed: Theirs, tried: tuple[Suspect, list[Suspect], list[Suspect]], wrong: int) -> Finding:
    best, alike, rest = tried
    known: Made = joined(search.known, best.mistakes, best.calls)
    run = search.replay.run(known)
    left = sum(t.made_by(run) > 1 for t in search.given)
    others = "".join(
        f"; the same arrays come out if {_where(search, s)}: {s.mistake.key}: {s.mistake.did}" for s in alike[:4]
    )
    follow = (
        f"; it explains all {wrong} wrong arrays"
        if wrong > 1 and not left
        else f"; {left} arrays are still wrong when it is mended"
        if left
        else ""
    )
    near = min(rest, key=lambda s: s.relative, default=None)
    next_best = (
        f" (next best: {near.mistake.key} at {near.calls[0]}, {near.relative:.2g})"
        if near is not None and np.isfinite(near.relative)
        else ""
    )
    return Finding(
        "error",
        f"{blamed.name} is wrong: {what(blamed)}",
        blamed.name,
        _evidence(blamed),
        f"{_where(search, best)}: {best.mistake.key}: {best.mistake.did}{_both(best)}{others}",
        best.mistake.remedy,
        f"this mistake reproduces your array to {best.relative:.2g}{next_best}{follow}",
    )


def _both(suspect: Suspect) -> str:
    return " (in the forward and in the backward pass alike)" if len(suspect.mistakes) > 1 else ""


def _where(search: Search, suspect: Suspect) -> str:
    calls = [search.replay.by_name[c].address or c if c != LOSS else LOSS for c in suspect.calls]
    return (
        calls[0]
        if len(calls) == 1
        else f"every {type(search.replay.operator_of(suspect.calls[0])).__name__} "
        f"({', '.join(calls[:6])}{' …' if len(calls) > 6 else ''})"
    )


def _finding(blamed: Theirs, whole: tuple[str, str, float], wrong: int) -> Finding:
    cause, remedy, misfit = whole
    more = f"; {wrong - 1} more arrays are wrong" if wrong > 1 else ""
    return Finding(
        "error",
        f"{blamed.name} is wrong: {what(blamed)}",
        blamed.name,
        _evidence(blamed),
        cause,
        remedy,
        f"this reproduces your array to {misfit:.2g}{more}",
    )


def _unnamed(blamed: Theirs, suspects: list[Suspect]) -> Finding:
    near = min((s for s in suspects if np.isfinite(s.relative)), key=lambda s: s.relative, default=None)
    said = "" if near is None else f"; the nearest is {near.mistake.key} at {near.calls[0]}, off by {near.relative:.2g}"
    calls = ", ".join(dict.fromkeys(c for s in suspects for c in s.calls if len(s.calls) == 1))
    return Finding(
        "error",
        f"{blamed.name} is wrong: {what(blamed)}",
        blamed.name,
        _evidence(blamed),
        NONE,
        "look at what stands between the last right array and this one"
        + (f": {calls}" if calls else "")
        + "; give more arrays to narrow it down",
        f"{len(suspects)} replays were tried{said}",
    )


def _wrong_shape(blamed: Theirs) -> ShapeError:
    orders = layouts.ORDERS[layouts.group_of(blamed.reference.shape, blamed.meaning.kind == names.GRADIENT)]
    kinds = " or ".join(o for o in orders if o) or "this shape"
    return ShapeError(
        f"{blamed.name} has the shape {'×'.join(map(str, blamed.raw.shape))}",
        f"{what(blamed)} is {'×'.join(map(str, blamed.reference.shape))}",
        f"no known mistake makes yours; accepted are {kinds}, also flattened",
    )


def _whole(search: Search, blamed: Theirs) -> tuple[str, str, float] | None:
    """The right array changed as a whole: (cause, remedy, relative misfit). None if it is not."""
    base = search.replay.run(search.known) if search.known else search.replay.right
    right = blamed.spot.of(base)
    mine = blamed.value if blamed.value is not None else blamed.raw
    if right is None or not np.size(mine):
        return None
    size = max(float(np.abs(mine).max()), 1e-300)
    limit = max(blamed.allowed, blamed.allowed / blamed.scale * size)

    def off(made: Any) -> float | None:
        if made.shape != mine.shape:
            return None
        apart = float(np.abs(made - mine).max())
        return apart / size if apart <= limit else None

    if not np.any(mine):
        return "all numbers are 0: the array was never filled", "see where it is assigned", 0.0
    if mine.shape == right.shape and np.any(right):
        factor = float((mine * right).sum() / (right * right).sum())
        misfit = off(right * factor)
        if misfit is not None:
            return (
                f"it is {factor:.6g} times the right array{_factor(search, factor, right)}",
                "look for a mean where a sum is meant, or the reverse; a sign; a rate multiplied in",
                misfit,
            )
    turned = [("rows and columns swapped", right.swapaxes(-1, -2))] if right.ndim >= 2 else []
    turned += [(f"axis {a} runs backwards", np.flip(right, a)) for a in range(right.ndim) if right.shape[a] > 1]
    if right.ndim == 4:
        turned.append(("rows and columns run backwards", right[:, :, ::-1, ::-1]))
    turned += [
        (f"its numbers are those of an array of shape {'×'.join(map(str, v.shape))}, reshaped", v.reshape(right.shape))
        for v in (right.transpose(o) for o in ((0, 2, 3, 1), (0, 1, 3, 2), (1, 0, 2, 3)) if right.ndim == 4)
    ]
    for said, made in turned:
        misfit = off(made)
        if misfit is not None:
            return said, "keep the order of the axes: transpose, do not reshape, from one layout to another", misfit
    for other in search.replay.box.calls:
        for kind, known in (
            ("the output of", base.values.get(other.name)),
            ("∂L/∂(output of)", base.deltas.get(other.name)),
        ):
            if isinstance(known, np.ndarray) and known is not right:
                misfit = off(known)
                if misfit is not None:
                    return (
                        f"this is another array: {kind} {other.address or other.name}",
                        "give it the name of its own layer",
                        misfit,
                    )
    return None


def _factor(search: Search, factor: float, right: Any) -> str:
    """' = the number of examples': what a factor may be."""
    b = len(search.replay.x)
    known = {"the sign is flipped": -1.0, "the number of examples": float(b), "1/the number of examples": 1 / b}
    if right.ndim == 4:
        n = float(np.prod(right.shape[2:]))
        known |= {"the number of positions": n, "1/the number of positions": 1 / n}
    said = [k for k, v in known.items() if abs(factor - v) < 1e-4 * abs(v) and v != 1.0]
    return f" ({', or '.join(said)})" if said else ""
