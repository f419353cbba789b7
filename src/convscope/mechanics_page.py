"""What the mechanics page asks: one layer on one image, worked out, and what moves when a pixel or a weight is changed.

One run of the network forward and backward (in float64, `mechanics.capture`) answers every question about its layers. The
two latest runs are kept, so that stepping from number to number costs no further run. A change is a run of its own: the
input with other pixels, or a copy of the network's table of tensors with other weights. The network itself is never written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from convscope import outputs, run
from convscope.errors import UnknownName, UsageError, unknown
from convscope.glass import INPUT
from convscope.mechanics.capture import Capture
from convscope.mechanics.loss import Loss
from convscope.mechanics.steps import DIRECTIONS, Question, work_out
from convscope.mechanics_maps import Worked, encode, layer_maps
from convscope.network import Network

MOST_CHANGES = 100
LARGEST = 1e6  # of a changed number
OFFLINE_LAYERS = 3  # that an atlas keeps of an image
OFFLINE_NUMBERS = 160_000  # in the maps of one layer kept so
KEPT = 2  # runs: the one without changes and the one with them
Change = tuple[str, tuple[int, ...], float]  # layer ('' for the image), index, value
FORM = '{"image": 3, "layer": "conv1", "channel": 0, "changes": [{"pixel": [0, 5, 9], "value": 1.5}]}'


@dataclass(frozen=True)
class Asked:
    """A question of the page, each part of the type it must have. What is None is chosen: the strongest."""

    layer: str
    channel: int | None = None
    inner: int | None = None
    plane: int = 0  # which channel of the image is shown
    target: int | str | None = None  # the class of the loss; None: the network's own first answer
    changes: tuple[Change, ...] = ()
    direction: str = ""  # with `at`: one number, every line of it
    at: tuple[int, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Asked:
        """Check what came as JSON.

        >>> Asked.read({"layer": "conv1", "changes": [{"pixel": [0, 5, 9], "value": 1.5}]}).changes
        (('', (0, 5, 9), 1.5),)
        """
        extra = sorted(set(given) - {f.name for f in dataclasses.fields(cls)} - {"image"})
        if extra:
            raise UsageError(f"a question about a layer has no {extra[0][:40]!r}", "", f"like this: {FORM}")
        direction = given.get("direction") or ""
        if direction not in ("", *DIRECTIONS):
            raise _wrong("direction", direction, f"one of {', '.join(DIRECTIONS)}")
        target = given.get("target")
        if isinstance(target, bool) or not isinstance(target, (int, str, type(None))):
            raise _wrong("target", target, "a class's number or name, or null")
        layer = given.get("layer")
        if not isinstance(layer, str) or not layer:
            raise _wrong("layer", layer, "a layer's address")
        changes = given.get("changes") or []
        if not isinstance(changes, list) or len(changes) > MOST_CHANGES:
            raise _wrong("changes", changes, f"a list of at most {MOST_CHANGES}")
        whole = {name: _whole(name, given[name]) for name in ("channel", "inner") if given.get(name) is not None}
        return cls(layer, **whole, plane=_whole("plane", given.get("plane", 0)), target=target,
                   changes=tuple(map(_change, changes)), direction=direction,
                   at=_index("at", given.get("at") or [], 0))


class Bench:
    """Answers the page's questions about one network."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self._runs: OrderedDict[Any, _Run] = OrderedDict()
        self._labels: dict[str, int] = {}

    def answer(self, x: torch.Tensor, asked: Asked, single: bool = False) -> dict[str, Any]:
        """What the page draws of `asked`, for an input x (1, C, H, W); or, where it names one number, that number's Steps.
        `single`: maps as float32."""
        self.net[asked.layer]  # an unknown name is told before anything runs
        if not 0 <= asked.plane < x.shape[1]:
            most = x.shape[1] - 1
            raise UnknownName(f"no channel {asked.plane} in the image", f"there are {most + 1}", f"use 0 … {most}")
        key = hashlib.blake2b(np.ascontiguousarray(x.numpy()).tobytes()).hexdigest()
        label = self._label(x, key, asked.target)
        before = self._run(x, key, label, ())
        now = self._run(x, key, label, asked.changes) if asked.changes else before
        if asked.direction:
            question = Question(asked.layer, asked.direction, position=asked.at or None)
            return {"layer": asked.layer, "label": label, "steps": json.loads(work_out(now.kept, question).to_json())}
        worked = now.worked(asked.layer)
        first = layer_maps(before.worked(asked.layer), asked.channel, asked.inner)
        page = layer_maps(worked, first["channel"], first.get("inner")) if asked.changes else first
        page["maps"]["plane"] = now.kept.value(INPUT)[0, asked.plane]
        if asked.changes:
            page["maps"]["before"] = first["maps"]["y"]
        page["maps"] = {k: None if v is None else encode(v, single) for k, v in page["maps"].items()}
        return page | {
            "layer": asked.layer, "operator": self.net[asked.layer].operator, "formula": worked.operator.formula,
            "reads": [name or "" for name in worked.call.reads], "label": label,
            "plane": asked.plane, "planes": x.shape[1], "loss": now.kept.loss_value,
            "loss_text": now.kept.loss.describe(self.net) if now.kept.loss else "", "answers": now.answers(),
            "moved": moved(before, now) if asked.changes else None,
        }  # fmt: skip

    def _label(self, x: torch.Tensor, key: str, target: int | str | None) -> int:
        """The class that the loss asks for."""
        count = math.prod(self.net.output.output_shape[1:])
        if isinstance(target, str) and not target.isdecimal():
            if target not in self.net.classes:
                raise unknown("class", target, self.net.classes, "or give its number")
            return self.net.classes.index(target)
        if target is not None:
            label = int(str(target)[:12])
            if not 0 <= label < count:
                raise UnknownName(f"no class {label}", f"the output has {count}", f"use 0 … {count - 1}")
            return label
        if key not in self._labels:
            if len(self._labels) > 1000:
                self._labels.clear()
            self._labels[key] = int(run.run(self.net, x).output.flatten(1)[0].argmax())
        return self._labels[key]

    def _run(self, x: torch.Tensor, key: str, label: int, changes: tuple[Change, ...]) -> _Run:
        name = (key, label, changes)
        if name in self._runs:
            self._runs.move_to_end(name)
            return self._runs[name]
        while len(self._runs) >= KEPT:
            self._runs.popitem(last=False)
        net, x = changed(self.net, x, changes)
        self._runs[name] = _Run(Capture(net, x, Loss(labels=(label,))))
        return self._runs[name]


def offline(net: Network, x: torch.Tensor) -> dict[str, Any]:
    """What an atlas keeps for a page without a server: the first convolutions of one image, strongest filter and channel.

    Layers whose maps would make the file large are left out.
    """
    bench = Bench(net)
    pages: dict[str, Any] = {}
    for layer in net.layers:
        if layer.operator != "conv2d" or len(pages) == OFFLINE_LAYERS:
            continue
        size = 2 * math.prod(layer.input_shapes[0][2:]) + 3 * math.prod(layer.output_shape[2:])
        if size <= OFFLINE_NUMBERS:
            pages[layer.address] = bench.answer(x, Asked(layer.address), single=True)
    return {"layers": pages}


class _Run:
    """One run, and the layers of it that were looked at."""

    def __init__(self, kept: Capture) -> None:
        self.kept = kept
        self._worked: dict[str, Worked] = {}

    def worked(self, address: str) -> Worked:
        if address not in self._worked:
            kept = self.kept
            call = kept.call(kept.net[address])
            delta = kept.output_delta(call)
            value, gradients = kept.autograd(call, delta)
            first = delta[0] if isinstance(delta, tuple) else delta
            y = value.detach().numpy()
            self._worked[address] = Worked(address, call, kept.arrays(call), y, np.zeros_like(y) if first is None else first,
                                           gradients)
        return self._worked[address]

    def answers(self, top: int = 5) -> list[dict[str, Any]]:
        """The highest classes."""
        net, output = self.kept.net, self.kept.output.detach().flatten(1)
        shares = outputs.read(net).each(output)
        best = output[0].topk(min(top, output.shape[1])).indices.tolist()
        return [{"class": k, "name": run.class_name(net, k), "probability": float(shares[0, k])} for k in best]


def changed(net: Network, x: torch.Tensor, changes: tuple[Change, ...]) -> tuple[Network, torch.Tensor]:
    """The network and the input with the changes made, on copies: float64, so that a number is exactly what was asked."""
    x, tensors = x.double().clone(), dict(net.tensors)
    fresh: set[str] = set()
    reads = _weights(net) if any(layer for layer, _, _ in changes) else {}
    for layer, at, value in changes:
        if not layer:
            _put(x[0], at, value, "the image")
            continue
        net[layer]
        if layer not in reads:
            raise UsageError(f"{layer} has no weight that could be changed", "", "change a layer that learns, or a pixel")
        for name in (n for n, parameter in net.parameter_names.items() if parameter == reads[layer]):
            if name not in fresh:
                tensors[name] = tensors[name].detach().double().clone()
                fresh.add(name)
            _put(tensors[name], at, value, f"the weight of {layer}")
    return (dataclasses.replace(net, tensors=tensors, _at={}) if fresh else net), x


def moved(before: _Run, now: _Run) -> dict[str, Any]:
    """How far every layer moved: the largest |Δ| of its output and the share of its numbers that changed."""
    rows: list[dict[str, Any]] = []
    still = 0
    names = {call.name for call in before.kept.reader.calls}
    for layer in before.kept.net.layers:
        if layer.address not in names:
            continue
        a, b = before.kept.value(layer.address), now.kept.value(layer.address)
        gap = np.abs(b - a)
        if not gap.any():
            still += 1
            continue
        rows.append({"layer": layer.address, "operator": layer.operator, "largest": float(gap.max()),
                     "share": float((gap > 0).mean()), "numbers": int(gap.size)})  # fmt: skip
    return {"rows": rows, "still": still, "before": before.answers(), "loss": [before.kept.loss_value, now.kept.loss_value]}


def _weights(net: Network) -> dict[str, str]:
    """The parameter that each layer reads as its weight."""
    from convscope.mechanics.reading import Reader

    found: dict[str, str] = {}
    for call in Reader(net).calls:
        arrays = () if call.operator is None else call.operator.arrays
        if call.address and "weight" in arrays and arrays.index("weight") < len(call.reads):
            name = call.reads[arrays.index("weight")]
            if name is not None and name in net.parameter_names.values():
                found[call.address] = name
    return found


def _put(array: torch.Tensor, at: tuple[int, ...], value: float, where: str) -> None:
    if len(at) != array.ndim or any(not 0 <= i < n for i, n in zip(at, array.shape, strict=True)):
        raise UnknownName(f"no number at [{', '.join(map(str, at))}] of {where}",
                          f"its shape is {'×'.join(map(str, array.shape))}", "indices count from 0")
    array[at] = value


def _change(given: Any) -> Change:
    """One change out of JSON."""
    if not isinstance(given, dict) or ("pixel" in given) == ("weight" in given):
        raise _wrong("changes", given, "each a pixel, or a weight of a layer, with its value")
    value = given.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise _wrong("value", value, f"a number from −{LARGEST:,.0f} to {LARGEST:,.0f}")
    if "pixel" in given:
        return "", _index("pixel", given["pixel"], 3), float(value)
    layer = given.get("layer")
    if not isinstance(layer, str) or not layer:
        raise _wrong("layer", layer, "the address of the layer whose weight is changed")
    return layer, _index("weight", given["weight"], 0), float(value)


def _index(name: str, given: Any, count: int) -> tuple[int, ...]:
    if not isinstance(given, list) or len(given) > 8 or (count and len(given) != count):
        raise _wrong(name, given, f"{count or 'a few'} numbers in a list")
    return tuple(_whole(name, i) for i in given)


def _whole(name: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**31:
        raise _wrong(name, given, "whole numbers from 0")
    return given


def _wrong(name: str, given: Any, wanted: str) -> UsageError:
    return UsageError(f"the question's {name!r} must be {wanted}", f"it is {given!r:.60}", f"like this: {FORM}")
