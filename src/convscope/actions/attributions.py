"""Which pixels decided? One method's map of an image, or the maps of all methods side by side."""

from __future__ import annotations

import contextvars
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convscope import registry
from convscope.actions.networks import Progress, make, open
from convscope.errors import UnknownName, UsageError, unknown
from convscope.results import Heatmap

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.network import Network
    from convscope.run import Target

# What a sheet of *all* methods asks of the slow ones; occlusion's window depends on the image.
LIGHTER: dict[str, dict[str, Any]] = {
    "expected-gradients": {"n": 24}, "rise": {"masks": 400}, "score-cam": {"most": 64}, "smooth-grad": {"n": 24},
}  # fmt: skip
# About how many passes a method takes, so that the time left can be told; a method that is not named takes a few.
PASSES = {"expected-gradients": 72, "rise": 400, "score-cam": 64, "smooth-grad": 72, "occlusion": 120, "translation": 200,
          "integrated-gradients": 60}  # fmt: skip


def attribute(
    network: Any,
    image: Any,
    method: str = "gradient",
    target: str | int | None = None,
    *,
    progress: Progress | None = None,
    **parameters: Any,
) -> Heatmap:
    """Which pixels decided? A signed map of `image`; `target`: class, unit address, or None for the best class."""
    from convscope import inputs, run

    net = open(network)
    x, notes = inputs.prepare(net, image)
    asked = run.target(net, target, x)
    found = _ask(make("attributions", method, parameters), net, x, (asked,), progress)[0]
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def attribute_all(
    network: Any,
    image: Any,
    methods: Sequence[str] | None = None,
    targets: Sequence[str | int | None] | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> tuple[Heatmap, ...]:
    """Which pixels decided, in the eyes of every method? One map for each method and target, to be drawn side by side.

    `methods`: names; all by default, the slow ones with fewer samples than alone (their notes say so). `targets`: classes or
    unit addresses; the best class by default. `parameters` go to every method that has them. A method that does not apply
    has a map without numbers (NaN), and its proof says why. `progress(done, total, 'maps: NAME')` may raise to stop.

    >>> [heat.origin.method for heat in attribute_all("zoo:digits", "digits/0042", ["gradient", "guided-backprop"])]
    ['Gradient()', 'GuidedBackprop()']
    """
    return tuple(attribute_each(network, image, methods, targets, progress, **parameters))


def attribute_each(
    network: Any,
    image: Any,
    methods: Sequence[str] | None = None,
    targets: Sequence[str | int | None] | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Iterator[Heatmap]:
    """The same, map by map, so that what is done can be kept when somebody stops. The question is checked at once."""
    from convscope import inputs, run

    net = open(network)
    x, notes = inputs.prepare(net, image)
    asked = tuple(dict.fromkeys(run.target(net, one, x) for one in (targets or (None,))))
    made = chosen(methods, parameters, x.shape[2:])
    if parameters.get("layer") is not None:
        _ = net[parameters["layer"]]  # a layer that does not exist is a mistake, not a method that does not apply
    return _maps(net, x, asked, made, notes, progress)


def chosen(
    methods: Sequence[str] | None, parameters: Mapping[str, Any], size: Sequence[int]
) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Each method by name, with what was reduced for a sheet of all. Raises UsageError for a parameter that none has."""
    names = tuple(dict.fromkeys(methods or registry.names("attributions")))
    own = {name: {p.name for p in registry.describe("attributions", name).parameters} for name in names}
    strange = sorted(set(parameters) - set().union(*own.values()))
    if strange:
        every = {p for known in own.values() for p in known}
        remedy = "`convscope list attributions` shows all"
        raise unknown(f"parameter of {', '.join(names)}", strange[0], sorted(every), remedy)
    half = max(1, min(size) // 18)
    lighter = {} if methods else {**LIGHTER, "occlusion": {"window": 2 * half, "stride": half}}
    made: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for name in names:
        given = {k: v for k, v in parameters.items() if k in own[name]}
        less = {k: v for k, v in lighter.get(name, {}).items() if k not in given and k in own[name]}
        if "window" in given or "stride" in given:  # one goes with the other
            less = {k: v for k, v in less.items() if k not in ("window", "stride")}
        said = ", ".join(f"{k} {v}" for k, v in less.items())
        made[name] = make("attributions", name, {**less, **given}), (f"for a sheet of all methods: {said}",) if said else ()
    return made


def _maps(
    net: Network,
    x: Tensor,
    targets: tuple[Target, ...],
    made: dict[str, tuple[Any, tuple[str, ...]]],
    notes: tuple[str, ...],
    progress: Progress | None,
) -> Iterator[Heatmap]:
    from convscope.attributions import _forward

    # The shared pass belongs to the methods, not to whoever takes the maps one by one: it lives in a context of its own.
    context, sharing = contextvars.copy_context(), _forward.sharing(net, x)
    context.run(sharing.__enter__)
    total, before = sum(PASSES.get(name, 4) for name in made), 0
    try:
        for name, (method, less) in made.items():
            mine = PASSES.get(name, 4)
            told = None if progress is None else _part(progress, before, mine, total, name)
            if told is not None:
                told(0, 1, "")
            began = time.perf_counter()
            try:
                found = context.run(_ask, method, net, x, targets, told)
            except UnknownName:
                raise  # a name that does not exist is a mistake in the question
            except UsageError as reason:
                found = tuple(_inapplicable(net, method, x, target, str(reason)) for target in targets)
            took = (time.perf_counter() - began) / len(targets)
            for heat in found:
                yield dataclasses.replace(heat, notes=(*heat.notes, *less, *notes), seconds=took)
            before += mine
        if progress is not None:
            progress(100 * total, 100 * total, "maps: done")
    finally:
        context.run(sharing.__exit__, None, None, None)


def _ask(
    method: Any, net: Network, x: Tensor, targets: tuple[Target, ...], progress: Progress | None
) -> tuple[Heatmap, ...]:
    """The maps of one method, one for each target; some methods answer for several targets at the cost of one."""
    call = method.several if len(targets) > 1 and hasattr(method, "several") else method
    extra = {"progress": progress} if "progress" in type(method).__call__.__code__.co_varnames else {}
    return call(net, x, targets, **extra) if call is not method else tuple(method(net, x, t, **extra) for t in targets)


def _inapplicable(net: Network, method: Any, x: Tensor, target: Target, reason: str) -> Heatmap:
    """A map without numbers, which says why there are none."""
    import numpy as np

    from convscope.attributions import _map

    values = np.full((len(x), 1, *x.shape[2:]), np.nan, np.float32)
    scores = _map.scores(net.at(x.shape[1:]), x, target, len(x))
    return _map.heatmap(net, method, x, target, values, scores, unit="none", proof={"does not apply": reason})


def _part(progress: Progress, before: int, mine: int, total: int, name: str) -> Progress:
    """The progress of one method, told as a part of all."""

    def tell(done: int, of: int, _: str) -> None:
        progress(round(100 * (before + mine * min(done / max(of, 1), 1))), 100 * total, f"maps: {name}")

    return tell
