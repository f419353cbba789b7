"""What methods that make pictures share: which pictures are asked for, on what canvas, in whose colours, and what to say."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from convscope import inputs
from convscope.errors import DataError, UsageError
from convscope.features._given import Given
from convscope.network import Network, map_of, units_of
from convscope.synthesis import colours, objective
from convscope.synthesis.colours import Colours
from convscope.synthesis.forward import Cut
from convscope.synthesis.image import Reading, spectrum
from convscope.synthesis.loop import Found
from convscope.synthesis.objective import Neuron, Objective
from convscope.synthesis.response import canvas_for, responses

SPECTRA = 100  # images whose Fourier magnitudes are averaged


@dataclass(frozen=True)
class Asked:
    """One picture that is wanted."""

    name: str
    objective: Objective
    layer: str = ""  # the layer as it was named; empty for a sum of several
    unit: int | None = None  # its unit; None for a layer, a class or a sum
    sign: int = 1
    position: tuple[int, ...] | None = None
    start: str = ""  # whose random numbers it has; empty: its own


def asked_units(
    nets: Sequence[Network], target: str, *, unit: str = "neuron", raw: bool = True, sign: str = "positive", most: int = 16
) -> tuple[list[Asked], str]:
    """The pictures that a target stands for (a unit, the first units of a layer, an objective in words); what was left out.

    `sign`: 'positive', 'negative' or 'both'.
    """
    net, found, note = nets[0], list[Asked](), ""
    signs = {"positive": (1,), "negative": (-1,), "both": (1, -1)}[sign]
    if target in net:
        layer = net[target]
        count = units_of(layer)
        if count is None:
            raise UsageError(f"{target} has no units", f"its output is {layer.output_shape}", "choose a layer with channels")
        names = [f"{layer.address}/{u}" for u in range(min(count, most))]
        note = f"the first {most} of {count:,} units" if count > most else ""
    else:
        several = target.split(", ")
        names = several if all(_is_unit(net, name) for name in several) else [target]
    for name in names:
        goal = objective.parse(nets, name, unit=unit, raw=raw)
        single = all(mark not in name for mark in (" + ", " - ", "*", ":")) and not name.startswith("-")
        address = net.unit(name) if single else None
        for s in signs:
            mark = "" if sign == "positive" else "+" if s > 0 else "−"
            found.append(Asked(mark + name, goal if s > 0 else -goal, address.layer if address else "",
                               address.channel if address else None, s, address.position if address else None))
    return found, note


def _is_unit(net: Network, name: str) -> bool:
    """Is this 'layer/37' or 'layer/37@5,9'?"""
    layer, slash, _ = name.rpartition("/")
    return bool(slash) and layer in net


def between(nets: Sequence[Network], first: Asked, target: str, count: int, *, unit: str, raw: bool) -> list[Asked]:
    """From one unit to another on the objective: (1 − t)·first + t·other, t = 0 … 1, from the same start each."""
    others, _ = asked_units(nets, target, unit=unit, raw=raw)
    if first.unit is None or len(others) != 1 or others[0].unit is None:
        raise UsageError(f"from {first.name} towards {target}", "a way leads from unit to unit", "name units: conv3/5")
    other, shares = others[0], np.linspace(0, 1, count).tolist()
    layer = first.layer if first.layer == other.layer else ""
    return [Asked(f"{1 - t:.0%} {first.name}, {t:.0%} {other.name}", (1 - t) * first.objective + t * other.objective, layer,
                  start=first.name) for t in shares]


def canvas_of(net: Network, asked: Sequence[Asked], wanted: int, exact: bool) -> tuple[tuple[int, int], str]:
    """(H, W) of the pictures, and a sentence about it. `wanted` 0: what the unit sees; `exact`: not less than that."""
    layers = {one.layer for one in asked}
    own = net.input_shape[2:]
    whole = (own[0], own[1])
    if len(layers) != 1 or "" in layers or any(one.position for one in asked):
        if wanted and (wanted, wanted) != whole:
            raise UsageError(f"pictures of {wanted}×{wanted}", "sums, classes and positions need the network's own size",
                             f"leave the size out: {whole[0]}×{whole[1]}")
        return whole, f"pictures of {whole[0]}×{whole[1]} px, what the network reads"
    layer = net[asked[0].layer]
    smallest = canvas_for(net, layer)
    if not wanted:
        seen = "what one position sees" if smallest != whole else "what the network reads"
        return smallest, f"pictures of {smallest[0]}×{smallest[1]} px, {seen}"
    if not Cut(net, [layer.address]).any_size and (wanted, wanted) != whole:
        raise UsageError(f"pictures of {wanted}×{wanted}", f"{layer.address} needs {whole[0]}×{whole[1]}", "leave it out")
    if exact and wanted < min(smallest):
        raise UsageError(f"pictures of {wanted}×{wanted}", f"a position of {layer.address} sees {smallest[0]}×{smallest[1]}",
                         f"ask for at least {min(smallest)}, or leave the size out")
    return (wanted, wanted), f"pictures of {wanted}×{wanted} px"


def colours_of(net: Network, given: Given, name: str) -> Colours:
    """Colours by name; 'own': the given images', else ImageNet's where there are three channels."""
    channels = net.input_shape[1]
    if name != "own":
        return colours.named(name, channels)
    if given.images is not None and given.count:
        found = colours.measured(given.images, given.count)
        if len(found.mean) == channels:
            return found
    return colours.IMAGENET if channels == 3 else colours.independent(channels)


def magnitude_of(net: Network, given: Given, size: tuple[int, int], seed: int) -> tuple[Any, str]:
    """Fourier magnitudes (C, H, W//2 + 1) of the given images, for phase-only pictures, and whose they are."""
    if given.images is None or not given.count:
        return None, "magnitudes fall as 1/f: no images were given"
    preprocess, _ = inputs.preprocess_of(net)
    seen: list[Any] = []
    for number in np.random.default_rng(seed).permutation(given.count):
        if len(seen) == SPECTRA:
            break
        with contextlib.suppress(DataError):  # the collection lists what it skipped
            seen.append(preprocess(given.images(int(number))))
    if not seen:
        raise DataError("the spectrum of a collection", f"none of its {given.count} images can be read",
                        "look at the skipped images")
    spread = [np.broadcast_to(np.reshape(v, (-1, 1, 1)), (len(seen[0]), 1, 1)) for v in (preprocess.mean, preprocess.std)]
    shown = np.stack([(x * spread[1] + spread[0]) / preprocess.range for x in seen])
    shown = shown[:, ::-1] if preprocess.channels == "BGR" else shown
    h, w = (min(a, b) for a, b in zip(size, shown.shape[2:], strict=True))
    top, left = (shown.shape[2] - h) // 2, (shown.shape[3] - w) // 2
    cut = shown[:, :, top : top + h, left : left + w]
    if cut.shape[2:] != size:
        return None, "magnitudes fall as 1/f: the pictures are larger than the given images"
    return spectrum(cut), f"Fourier magnitudes of {len(seen)} images, seed {seed}"


def elsewhere(net: Network, one: Asked, given: Given, size: tuple[int, int]) -> Objective:
    """The unit where the strongest real image excites it: near the border padding counts, and the middle has none.

    Only on the network's own canvas, and for a unit that was asked for in the middle; else the objective as it is.
    """
    goal, shape = one.objective, map_of(net[one.layer])
    if size != tuple(net.input_shape[2:]) or shape is None or not isinstance(goal, Neuron) or goal.position:
        return goal
    at = given.strongest_at(one.layer, goal.unit)
    return goal if at is None else replace(goal, position=tuple(int(i) for i in np.unravel_index(at, shape)))


def judged(net: Network, each: Sequence[Asked], images: Tensor, read: Reading, given: Given) -> dict[str, Any]:
    """How strongly the units respond, beside real images; nothing where not every picture is of one unit."""
    if any(one.unit is None for one in each):
        return {}
    layer, units = each[0].layer, [one.unit or 0 for one in each]
    signs = np.array([one.sign for one in each])
    values: dict[str, Any] = {"response": responses(net, layer, units, signs.tolist(), images, read)}
    real = given.extremes(layer)
    if real is not None:
        values["strongest"] = np.where(signs > 0, real[1][units], real[0][units])
        values["converged"] = signs * values["response"] >= signs * values["strongest"]
    return values


def words_of(found: Found, names: Sequence[str]) -> list[str]:
    """What must be said about an ascent: blocked starts, and what was done about them."""
    notes: list[str] = []
    if found.recovered:
        notes.append(f"{len(found.recovered)} of {len(names)} started where no gradient came back: ReLUs were redirected")
    if found.blocked:
        which = ", ".join(names[i] for i in found.blocked[:5])
        notes.append(f"no gradient ever reached {len(found.blocked)} of {len(names)}: {which}")
    return notes
