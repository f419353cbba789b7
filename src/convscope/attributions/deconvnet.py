"""The deconvnet (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks"; Zeiler, Taylor, Fergus
2011).

    R = the activation at its place, zero elsewhere;  then layer by layer, from the top:
    unpool   R back to the switches of the forward pass     rectify   max(R, 0)     filter   Wᵀ R, without bias
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope import run
from convscope.attributions import _map, _rectify, _switches
from convscope.fields import param, validate
from convscope.network import Network
from convscope.results import Heatmap
from convscope.run import Target


@dataclass(frozen=True)
class Deconvnet:
    """Which pattern in the image made this one activation?

    The real deconvnet: from one activation (a unit at the position asked for, or where it is strongest in each image; or a
    class score), all others zero, down to the pixels: unpooling with the switches of the forward pass, rectification,
    transposed filters without bias. `overlap`: what happens where several switches point to one pixel. Not in the paper, so
    chosen here: batch norm scales by γ/√(σ² + eps) of its fixed statistics; average pooling has no switches and spreads
    evenly; a skip connection is copied to both branches; other normalisations and products keep their derivative. As in the
    paper, local response normalisation is not undone. Values (B, C, H, W), signed, in the activation's units.

    Proof: at how many rectifiers and max poolings the rules ran; the share of switches that point where another does.

    Misleads: for a class it hardly depends on which; two units with the same switches look alike. Errors: UsageError (a
    network without ReLU), ShapeError, DataError. Source: Zeiler and Fergus 2014.

    >>> from torch import nn, ones
    >>> net = Network.open(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 2))
    >>> Deconvnet()(net, ones(1, 1, 2, 2), Target("0", 0)).proof["rectifiers that the rule reached"]
    '1 of 1'
    """

    overlap: str = param("add", "values that go to one place: add them (as autograd) or keep the last (as MaxUnpool)",
                         choices=("add", "overwrite"))

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, net: Network, x: Tensor, target: Target) -> Heatmap:
        """The map for each image of `x` (B, C, H, W). Its `scores` are the activations that it starts from."""
        at, x = _map.prepared(net, x)
        _rectify.required(at, "deconvnet")
        rectifiers = _rectify.Rectifiers(at, target, _rectify.deconvnet)
        unpooling = _switches.Unpooling(at, target, self.overlap)
        rules = rectifiers.rules | unpooling.rules
        with torch.inference_mode(False), torch.enable_grad():
            own = x.clone().requires_grad_()
            if target.unit is None:
                value = run.run(at, own, rules=rules, grad=True).output
            else:
                value = run.upto(at, own, target.unit.layer, rules=rules, grad=True)
            start, places = strongest(at, target, value.detach())
            values = torch.autograd.grad(value, own, start)[0]
        found = start.flatten(1).sum(1)
        proof, notes = _rectify.remarks(at, target, rectifiers)
        if unpooling.pools:
            proof["max poolings with switches"] = f"{len(unpooling.reached)} of {len(unpooling.pools)}"
            proof["switches that share their place"] = unpooling.collided / max(unpooling.switches, 1)
        return _map.heatmap(net, self, x, target, values, found, unit="activation, projected back", proof=proof,
                            notes=(*self.said(target, places, found), *unpooling_notes(unpooling), *notes))

    def said(self, target: Target, places: list[tuple[int, ...]], found: Tensor) -> tuple[str, ...]:
        """Where it starts, and what overlapping switches do."""
        where = "; ".join(",".join(map(str, place)) for place in places[:4]) + ("; …" if len(places) > 4 else "")
        wanted = target.unit is not None and target.unit.position is None and bool(places[0])
        starts = [f"starts at the strongest position, {where}"] if wanted else []
        silent = (found <= 0).nonzero().flatten().tolist()
        if silent:
            starts.append(f"the activation of image {', '.join(map(str, silent[:4]))} is not positive: "
                          "a deconvnet shows what excites a unit, and here nothing does")
        does = "added, as autograd does" if self.overlap == "add" else "overwritten by the last, as MaxUnpool does"
        return (*starts, f"values whose switches point to one place are {does}")


def strongest(net: Network, target: Target, value: Tensor) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Zeros like `value` (B, …) but for the largest activation that the target names in each image; and its position."""
    places = torch.arange(value[0].numel(), device=value.device).view(value[0].shape)
    axis = 0
    if target.unit is None:
        places = places.flatten()[target.index]
    else:
        axis = (net[target.unit.layer].unit_axis or 1) - 1
        if target.unit.channel is not None:
            places = places.select(axis, target.unit.channel)
        for position in target.unit.position or ():
            places = places.select(0, position)
    candidates = places.flatten()
    best = candidates[value.flatten(1)[:, candidates].argmax(1)]
    kept = torch.zeros_like(value).flatten(1)
    kept = kept.scatter(1, best[:, None], value.flatten(1).gather(1, best[:, None]))
    where = [torch.unravel_index(i, value[0].shape) for i in best]
    spots = [tuple(int(v) for d, v in enumerate(one) if d != axis) for one in where]
    return kept.view_as(value), spots


def unpooling_notes(unpooling: _switches.Unpooling) -> tuple[str, ...]:
    """What the paper does not speak of and this network has."""
    notes = []
    if unpooling.averages:
        notes.append(f"{len(unpooling.averages)} average poolings have no switches: spread evenly")
    if unpooling.left:
        notes.append(f"{len(unpooling.left)} max poolings of other than two axes: as autograd, added")
    if unpooling.norms:
        notes.append(f"{len(unpooling.norms)} local response normalisations are not undone, as in the paper")
    return tuple(notes)
