"""A layer's maps A (B, U, h, w), the gradient of a target's score with respect to them, and maps made as large as the image.

Both come from one forward pass. Outside `_forward.sharing` the way back starts at the target and stops at the layer: the
layers below keep nothing for it, and those above the target are never run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from convscope.attributions import _forward, _map, _rectify
from convscope.errors import UsageError
from convscope.layers import op_name
from convscope.network import Network, map_of, shape_text
from convscope.results import Layer
from convscope.run import Target, upto

CURVED = (_rectify.OTHERS - {"hardtanh", "leaky_relu", "prelu", "rrelu", "hardshrink", "softshrink"}) | {
    "exp", "group_norm", "instance_norm", "layer_norm", "log", "log_softmax", "native_group_norm", "native_layer_norm",
    "pow", "rsqrt", "scaled_dot_product_attention", "softmax", "_softmax", "_log_softmax", "sqrt"}


@dataclass(frozen=True)
class Maps:
    """What a layer holds for each image, and how the score changes with it."""

    layer: Layer
    values: Tensor  # (B, U, h, w)
    slopes: Tensor  # (B, U, h, w): ∂score/∂values
    scores: Tensor  # (B,)


def maps(net: Network, x: Tensor, target: Target, layer: Layer) -> Maps:
    """Values and slopes of one layer."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for part, count in _map.pieces(net, x, len(x)):
        ready = _forward.shared(net, part)
        if ready is not None:
            value, score = ready.value(layer.address), ready.score(target)
        else:
            value, score = _forward.from_layer(net, part, layer.address, target)
        (slope,) = _forward.slopes(score, [value])
        found.append((value.detach()[:count], slope[:count], score.detach()[:count]))
    values, slopes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Maps(layer, units_first(values, layer), units_first(slopes, layer), scores)


def values_only(net: Network, x: Tensor, layer: Layer) -> Tensor:
    """(B, U, h, w) without any gradient; nothing above the layer is run."""
    found: list[Tensor] = []
    for part, count in _map.pieces(net, x, len(x)):
        ready = _forward.shared(net, part)
        value = upto(net, part, layer.address) if ready is None else ready.value(layer.address)
        found.append(value.detach()[:count])
    return units_first(torch.cat(found), layer)


def units_first(value: Tensor, layer: Layer) -> Tensor:
    """(B, U, h, w), also where channels come last."""
    return value.movedim(layer.unit_axis or 1, 1)


def has_map(layer: Layer) -> bool:
    """Is this layer a stack of maps larger than 1×1, one image a row?"""
    size = map_of(layer)
    return size is not None and len(size) == 2 and layer.output_shape[0] == 1 and size != (1, 1)


def chosen(net: Network, target: Target, asked: str | None, method: str) -> Layer:
    """The layer that was asked for, or the last that will do. Errors: UnknownName, UsageError (no map, no dependence)."""
    reached = {node.name for node in _rectify.path(net, target)}
    if asked is not None:
        layer = net[asked]
        if not has_map(layer):
            raise UsageError(f"{method} cannot read layer {asked!r}", f"its output {shape_text(layer)} is no stack of maps",
                             "choose a layer with maps larger than 1×1; `convscope trace` shows sizes")
        if layer.node not in reached:
            raise UsageError(f"{method} cannot explain {target.label!r} at layer {asked!r}",
                             "the target does not depend on that layer", "choose a layer before the target")
        return layer
    own = net.output.node if target.unit is None else net[target.unit.layer].node
    fit = [layer for layer in net.layers if layer.node in reached and has_map(layer) and _is_upright(net, layer)]
    if not fit:
        raise UsageError(f"{method} does not apply to {target.label!r} of {net.name}",
                         "the target depends on no layer with maps larger than 1×1",
                         "take a method that needs none: gradient, occlusion, rise")
    before = [layer for layer in fit if layer.node != own]  # a unit's own map would say nothing but itself
    return (before or fit)[-1]


def _is_upright(net: Network, layer: Layer) -> bool:
    """Are two of its axes the image's? Known from the receptive field, or, where that is lost, from the proportions."""
    if layer.fields is not None:
        return True
    (h, w), (height, width) = map_of(layer) or (0, 0), net.input_shape[2:]
    return abs(h * width - w * height) <= max(height, width)


def weighted(maps_: Tensor, weights: Tensor, relu: bool) -> Tensor:
    """(B, 1, h, w): Σ_k weights[k]·maps[k], rectified after the sum if asked; `weights` (B, U)."""
    found = torch.einsum("bu,buhw->bhw", weights, maps_)[:, None]
    return found.relu() if relu else found


def resized(small: Tensor, size: tuple[int, ...]) -> Tensor:
    """A small map (B, 1, h, w) on the pixels of the image, bilinearly (pixel centres on pixel centres)."""
    return F.interpolate(small, size=tuple(size), mode="bilinear", align_corners=False)


def spread(small: Tensor, size: tuple[int, ...]) -> Tensor:
    """The same, with every value's mass kept: the sum over the pixels is the sum over the small map."""
    ones = torch.ones_like(small[:1, :1]).requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        (shares,) = torch.autograd.grad(resized(ones, size).sum(), ones)
    return resized(small / shares, size)


def about(maps_: Maps, small: Tensor) -> dict[str, float | str]:
    """What every map of a layer tells of itself."""
    h, w = small.shape[2:]
    share = float((small < 0).double().mean())
    return {"layer": maps_.layer.address, "map of the layer": f"{h}×{w}", "share of its values below zero": share}


def silent(small: Tensor, method: str) -> tuple[str, ...]:
    """A note for images whose map is zero everywhere, so that a blank picture is never taken for a fault or a finding."""
    blank = [str(b) for b, one in enumerate(small) if not bool(one.any())]
    if not blank:
        return ()
    which = "image" if len(blank) == 1 else "images"
    return (f"the map of {which} {', '.join(blank)} is zero everywhere: {method} finds no evidence in this layer",)


def curved_between(net: Network, target: Target, layer: Layer) -> str:
    """Operations above the layer that are not piecewise linear, as '2 tanh'; empty where there are none."""
    above: set[str] = {layer.node}
    found: list[Node] = []
    for node in _rectify.path(net, target):
        if any(a.name in above for a in node.all_input_nodes):
            above.add(node.name)
            found.append(node)
    counts = Counter(op_name(n) for n in found if op_name(n) in CURVED)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
