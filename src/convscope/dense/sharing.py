"""What one operation of the graph does to a map that windows share: a step, or the reason why it cannot be shared.

`share` reads one node. A step says what to do (`kind`) with which operation, and what comes out (`state`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convscope.dense.axes import Axis, Tap, after, joined
from convscope.dense.primitives import AvgPool, Conv, MaxPool, Operation, Padding
from convscope.dense.steps import BATCH, Map, Step, Unshared, arguments, dims, shape, three, two
from convscope.layers import op_name, shape_of

_SAME = ("clone", "alias", "detach", "contiguous", "_to_copy", "lift_fresh_copy", "dropout", "positive")
_ALIKE = ("hardtanh", "gelu", "silu", "hardswish", "hardsigmoid", "elu", "prelu", "leaky_relu", "softplus", "mish",
          "channel_shuffle", "native_channel_shuffle")
_ALONG = ("softmax", "_softmax", "log_softmax", "_log_softmax", "slice", "select", "mean", "sum", "amax", "amin", "squeeze",
          "unsqueeze", "transpose", "flip", "roll", "cumsum", "index_select", "glu", "split", "split_with_sizes")
_WHY = {
    **dict.fromkeys(("native_group_norm", "native_layer_norm", "group_norm", "layer_norm", "instance_norm"),
                    "normalises every window by its own mean"),
    "scaled_dot_product_attention": "lets every position look at the whole window",
    "adaptive_avg_pool2d": "pools a map into uneven parts", "adaptive_max_pool2d": "pools a map into uneven parts",
}


def share(node: Node, states: Mapping[Node, Any], constants: Mapping[Node, Any], context: bool) -> Step:
    """What to do at this node. Errors: Unshared."""
    name, named = op_name(node), arguments(node, constants)
    maps = [states[a] for a in node.all_input_nodes if a in states]
    if name == "getitem":
        return _picked(node, states)
    if any(state in ("row", "number") for state in maps if isinstance(state, str)) and name not in ("view", "reshape",
                                                                                                    "_unsafe_view"):
        if _pointwise(node, name):
            raise Unshared("joins a value of the whole window with a map, as squeeze-and-excitation does")
        raise Unshared(_WHY.get(name, f"({name}) reads every window as a whole"))
    if any(isinstance(state, tuple) for state in maps):
        raise Unshared("takes several maps apart")
    state: Map = next(s for s in maps if isinstance(s, Map))
    if name in _SAME or (name == "slice" and shape(node) == state.shape and not state.flat):
        return Step(node, "same", state)
    if state.flat:
        return _flat(node, name, named, state)
    if name in ("conv2d", "max_pool2d", "max_pool2d_with_indices", "avg_pool2d"):
        return _window(node, _operation(node, name, named), state, context)
    if name in ("pad", "constant_pad_nd") and any(named["pad"][:4]):
        return _padding(node, named, state, context)
    if name in ("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d"):
        return _adaptive(node, name, named, state, context)
    if name in ("mean", "sum", "amax") and dims(named, state) & {-1, -2}:
        return _over(node, name, named, state)
    if name in ("view", "reshape", "_unsafe_view", "flatten"):
        return _reshaped(node, state)
    if "batch_norm" in name:
        return _normed(node, named, state)
    if name == "cat":
        return _joined(node, named, [s for s in maps if isinstance(s, Map)], states)
    return _alike(node, name, named, (state, [s for s in maps if isinstance(s, Map)]))


# ---- windows -------------------------------------------------------------------------------------------------------------


def _operation(node: Node, name: str, named: Mapping[str, Any]) -> tuple[Operation, tuple[Tap, Tap]]:
    if name == "conv2d":
        weight, bias = named["weight"], named["bias"]
        if isinstance(weight, Node) or isinstance(bias, Node):
            raise Unshared("has weights that depend on the image")
        kernel, (stride, dilation) = tuple(weight.shape[2:]), (two(named["stride"]), two(named["dilation"]))
        if named["padding"] in ("same", "valid"):
            total = [d * (k - 1) if named["padding"] == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
            pads = (total[0] // 2, total[1] // 2)
        else:
            pads = two(named["padding"])
        operation: Operation = Conv(weight.contiguous(memory_format=torch.channels_last), bias, named["groups"])
    else:
        kernel, pads = two(named["kernel_size"]), two(named["padding"])
        stride = two(named["stride"]) if named["stride"] else kernel
        dilation = two(named.get("dilation", 1))
        if name == "avg_pool2d":
            operation = AvgPool(kernel, named["divisor_override"], named["count_include_pad"])
        else:
            operation = MaxPool(kernel)
            _only_first(node)
    taps = tuple(Tap(*facts) for facts in zip(kernel, stride, pads, dilation, strict=True))
    return operation, (taps[0], taps[1])


def _window(node: Node, what: tuple[Operation, tuple[Tap, Tap]], state: Map, context: bool) -> Step:
    operation, taps = what
    if len(state.lead) != 1:
        raise Unshared("reads a map that is not channels × rows × columns")
    out = shape(node)
    axes = tuple(after(axis, tap, n, context) for axis, tap, n in zip(state.axes, taps, out[-2:], strict=True))
    beyond = None
    for axis, tap, n in zip(state.axes, taps, out[-2:], strict=True):
        first, stop = tap.read(0, n)
        if first < 0 or stop > axis.n:
            cells = f"{max(-first, 0)} + {max(stop - axis.n, 0)}"
            beyond = f"reads {cells} cells beyond a map of {axis.n}"
            break
    made = Map(out[:-2], (axes[0], axes[1]))
    facts = {"out": made}
    return Step(node, "window", "row" if out[-2:] == (1, 1) else made, operation, taps, facts, beyond)


def _padding(node: Node, named: Mapping[str, Any], state: Map, context: bool) -> Step:
    pads = list(named["pad"])
    if named.get("mode", "constant") != "constant" or any(pads[4:]) or min(pads) < 0:
        raise Unshared("pads with pixels of the window itself")
    taps = (Tap(1, pad=pads[2]), Tap(1, pad=pads[0]))
    return _window(node, (Padding(float(named.get("value") or 0.0)), taps), state, context)


def _adaptive(node: Node, name: str, named: Mapping[str, Any], state: Map, context: bool) -> Step:
    wanted = two(named.get("output_size") or named["self"])
    kind = "max" if "max" in name else "mean"
    if kind == "max":
        _only_first(node)
    sizes = (state.axes[0].n, state.axes[1].n)
    if wanted == (1, 1):
        return Step(node, "over", "row", facts={"how": kind, "shape": (*state.lead, 1, 1)})
    if sizes == wanted:
        return Step(node, "same", state)
    if any(n % o for n, o in zip(sizes, wanted, strict=True)):
        raise Unshared(_WHY["adaptive_avg_pool2d"] + f" ({sizes[0]}×{sizes[1]} to {wanted[0]}×{wanted[1]})")
    kernel = (sizes[0] // wanted[0], sizes[1] // wanted[1])
    operation = MaxPool(kernel) if kind == "max" else AvgPool(kernel)
    return _window(node, (operation, (Tap(kernel[0], kernel[0]), Tap(kernel[1], kernel[1]))), state, context)


# ---- the whole map -------------------------------------------------------------------------------------------------------


def _over(node: Node, name: str, named: Mapping[str, Any], state: Map) -> Step:
    if dims(named, state) != {-1, -2}:
        raise Unshared("joins the rows of a map, or its columns, alone")
    shape = (*state.lead, 1, 1) if named.get("keepdim") else state.lead
    return Step(node, "over", "row", facts={"how": {"mean": "mean", "sum": "sum", "amax": "max"}[name], "shape": shape})


def _flat(node: Node, name: str, named: Mapping[str, Any], state: Map) -> Step:
    """What follows a flattened map: a dense layer; before it, what treats every number alike."""
    if name == "linear" and isinstance(named["weight"], Tensor) and not isinstance(named["bias"], Node):
        return Step(node, "head", "row", facts={"weight": named["weight"], "bias": named["bias"]})
    others = [v for v in named.values() if isinstance(v, Tensor) and v.numel() > 1]
    if _pointwise(node, name) and not others and len(node.all_input_nodes) == 1 and name != "prelu":
        return Step(node, "alike", state)
    raise Unshared("reads the flattened map otherwise than a dense layer")


def _reshaped(node: Node, state: Map) -> Step:
    out = shape(node, batch=True)
    if out[0] == BATCH and len(out) > 2 and out[-2:] == state.shape[-2:] and math.prod(out[1:]) == math.prod(state.shape):
        return Step(node, "alike", replace(state, lead=out[1:-2]), facts={"reshape": out[1:-2]})
    if out == (BATCH, math.prod(state.shape)):
        one = (math.prod(state.lead),)
        return Step(node, "alike", Map(one, state.axes, flat=True), facts={"reshape": one})
    raise Unshared("takes a map apart otherwise than by flattening it")


# ---- position by position ------------------------------------------------------------------------------------------------


def _normed(node: Node, named: Mapping[str, Any], state: Map) -> Step:
    _only_first(node)
    facts = list(named.values())
    weight, bias, mean, variance = facts[1:5]
    if any(isinstance(value, Node) for value in facts[1:5]) or mean is None or "eps" not in named or len(state.lead) != 1:
        raise Unshared("normalises by the statistics of its own batch")
    scale = (1 if weight is None else weight) / torch.sqrt(variance + named["eps"])
    shift = (0 if bias is None else bias) - mean * scale
    return Step(node, "alike", state, facts={"scale": scale, "shift": shift})


def folded(step: Step, steps: list[Step], states: Mapping[Node, Any]) -> Step:
    """A batch norm right after a convolution that nothing else reads is part of it."""
    if "scale" not in step.facts or not steps:
        return step
    source = step.node.all_input_nodes[0]
    last = next((one for one in reversed(steps) if one.node is source), None)
    if last is None or not isinstance(last.operation, Conv) or not last.lone or not isinstance(states[source], Map):
        return step
    scale, shift = step.facts["scale"], step.facts["shift"]
    conv = last.operation
    bias = shift if conv.bias is None else conv.bias * scale + shift
    weight = (conv.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    steps[steps.index(last)] = replace(last, operation=replace(conv, weight=weight, bias=bias))
    return replace(step, kind="same", facts={})


def _joined(node: Node, named: Mapping[str, Any], maps: list[Map], states: Mapping[Node, Any]) -> Step:
    ordered = [states.get(one) for one in named["tensors"]]
    if not all(isinstance(one, Map) for one in ordered):
        raise Unshared("joins a map with numbers that are the same in every window")
    several: list[Map] = ordered  # type: ignore[assignment]
    dim = named["dim"] if named["dim"] < 0 else named["dim"] - len(several[0].shape) - 1
    if dim in (-1, -2) or any(one.flat for one in several):
        raise Unshared("joins maps side by side")
    del maps
    lead = shape(node)[:-2]
    return Step(node, "join", Map(lead, _meeting(several)), facts={"at": dim + len(lead) + 2})


def _alike(node: Node, name: str, named: Mapping[str, Any], states: tuple[Map, list[Map]]) -> Step:
    state, several = states
    within = name in ("pad", "constant_pad_nd", "avg_pool3d")
    if name in _ALONG:
        if not dims(named, state) or dims(named, state) & {-1, -2}:
            raise Unshared(f"({name}) mixes the positions of a map")
    elif name == "permute":
        if [d % len(named["dims"]) for d in named["dims"]][-2:] != [len(named["dims"]) - 2, len(named["dims"]) - 1]:
            raise Unshared("(permute) takes a map's rows and columns elsewhere")
    elif name == "avg_pool3d":
        if not (three(named["kernel_size"])[1:] == three(named["stride"] or 1)[1:] == (1, 1)
                and three(named["padding"])[1:] == (0, 0)):
            raise Unshared("(avg_pool3d) mixes the positions of a map")
    elif not within and not _pointwise(node, name):
        raise Unshared(_WHY.get(name, f"({name}) is not known to treat every position alike"))
    if name != "prelu" and any(isinstance(v, Tensor) and any(n > 1 for n in v.shape[-2:]) for v in named.values()):
        raise Unshared("adds numbers of its own at every position of a map")
    if any(one.flat for one in several):
        raise Unshared("joins a flattened map with a map")
    axes = _meeting(several)
    if isinstance(node.meta["val"], (tuple, list)):
        made = tuple(Map(shape_of(value)[1:-2], axes) for value in node.meta["val"])
        return Step(node, "alike", made)
    out = shape(node)
    if out[-2:] != state.shape[-2:]:
        raise Unshared(f"({name}) changes the size of a map")
    return Step(node, "alike", Map(out[:-2], axes))


def _picked(node: Node, states: Mapping[Node, Any]) -> Step:
    held: Any = states[node.all_input_nodes[0]]
    if isinstance(held, tuple):
        return Step(node, "pick", held[node.args[1]], facts={"at": node.args[1]})  # type: ignore[index]
    return Step(node, "same", held)


def _meeting(several: list[Map]) -> tuple[Axis, Axis]:
    rows, columns = joined([one.axes[0] for one in several]), joined([one.axes[1] for one in several])
    if rows is None or columns is None:
        raise Unshared("joins maps whose positions lie at different pixels")
    return rows, columns


def _pointwise(node: Node, name: str) -> bool:
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or name in _ALIKE


def _only_first(node: Node) -> None:
    """Of an operation that gives several values, only the first may be asked for."""
    if any(op_name(user) == "getitem" and user.args[1] != 0 and user.users for user in node.users):
        raise Unshared("is asked where its maxima lie")
