"""Multipliers of every operation for DeepLIFT: handlers of `_relevance.Walk` that know the inputs on the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convscope import layers
from convscope.attributions import _recurrent, _roles
from convscope.attributions import _secant as secant
from convscope.attributions._relevance import Call, Handler
from convscope.attributions._secant import Pair
from convscope.network import Network
from convscope.run import Rule

OnBaseline = dict[str, tuple[Any, ...]]  # node name -> the operation's arguments
PIECEWISE = frozenset(("relu", "leaky_relu", "prelu", "_prelu_kernel"))
POOLS = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3, "max_pool2d_with_indices": 2}
STRAIGHT = _roles.PLAIN | _roles.AFFINE | _roles.LINEAR  # affine: the gradient is the multiplier
STRAIGHT -= PIECEWISE | frozenset(POOLS) | frozenset(("adaptive_max_pool2d", "max", "amax", "maximum", "where"))


def recorded(net: Network, kept: OnBaseline) -> dict[str, Rule]:
    """Rules that run the graph as it is and keep the arguments of what is not affine."""

    def keep(nodes: Iterator[Any], target: Any, *args: Any, **kwargs: Any) -> Any:
        node = next(nodes)
        if layers.op_name(node) not in STRAIGHT:
            kept[node.name] = args
        return target(*args, **kwargs)

    return {name: partial(keep, iter(nodes)) for name, nodes in _roles.by_name(net).items()}


def handlers(kept: OnBaseline) -> dict[str, Handler]:
    """The multipliers, given what `recorded` kept."""

    def pair(call: Call, at: int) -> Pair:
        return Pair(call.args[at], kept[call.node.name][at])

    def elementwise(call: Call) -> Tensor:
        return secant.elementwise(lambda t: call.run(t), pair(call, 0), call.name in _roles.SMOOTH).x

    def product(call: Call) -> Tensor:
        if call.live != [0, 1]:
            return call.run()
        return secant.product(lambda a, b: call.run(a, b), pair(call, 0), pair(call, 1)).x

    def quotient(call: Call) -> Tensor:
        if call.live == [0]:
            return call.run()
        above = call.args[0]
        if 0 not in call.live:  # a constant
            above = torch.as_tensor(above, dtype=call.args[1].dtype, device=call.args[1].device)
        return secant.quotient(pair(call, 0) if 0 in call.live else Pair(above, above), pair(call, 1)).x

    def max_pool(call: Call) -> Any:
        value = pooled(call, pair(call, 0), POOLS[call.name])
        return value if not call.name.endswith("indices") else (value, call.run(call.args[0].detach())[1])

    def softmax(call: Call) -> Tensor:
        return secant.softmax(pair(call, 0), call.args[1]).x

    def log_softmax(call: Call) -> Tensor:
        return secant.log_softmax(pair(call, 0), call.args[1]).x

    def layer_norm(call: Call) -> Tensor:
        flat = secant.both(lambda t: t.flatten(-len(call.args[1])), pair(call, 0))
        return normalised(call, flat, call.arg(2), call.arg(3))

    def group_norm(call: Call) -> Tensor:
        wide = (-1,) + (1,) * (call.args[0].ndim - 2)
        flat = secant.both(lambda t: t.reshape(t.shape[0], call.args[1], -1), pair(call, 0))
        return normalised(call, flat, *(v if v is None else v.reshape(wide) for v in (call.arg(2), call.arg(3))))

    def normalised(call: Call, u: Pair, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        y = secant.standardised(u, call.arg(4, 1e-5)).x.reshape(call.args[0].shape)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def attention(call: Call) -> Tensor:
        return secant.attention(pair(call, 0), pair(call, 1), pair(call, 2), call.arg(3), call.kwargs.get("scale")).x

    def lstm(call: Call) -> tuple[Tensor, ...]:
        base = kept[call.node.name]
        start = tuple(Pair(a, b) for a, b in zip(call.args[1], base[1], strict=True))
        return tuple(p.x for p in _recurrent.lstm_multipliers(call, pair(call, 0), (start[0], start[1])))

    def plain(call: Call) -> Any:
        return call.run()

    return {
        **dict.fromkeys(STRAIGHT, plain), **dict.fromkeys(_roles.ELEMENTWISE | PIECEWISE, elementwise),
        **dict.fromkeys(_roles.PRODUCTS, product), **dict.fromkeys(POOLS, max_pool), "div": quotient, "softmax": softmax,
        "_softmax": softmax, "log_softmax": log_softmax, "_log_softmax": log_softmax, "layer_norm": layer_norm,
        "group_norm": group_norm, "scaled_dot_product_attention": attention, "lstm": lstm}


def pooled(call: Call, u: Pair, axes: int) -> Tensor:
    """Max pooling: the higher of the two maxima names the winner, and its change is at least that of the maximum.

    Δy = y − y' lies on x's winner where y ≥ y', on the baseline's where y < y'; so a multiplier is between 0 and 1.
    """
    rest = (*call.args[1:], *([], 0, 1, False)[len(call.args) - 2:]) if len(call.args) > 1 else ()
    find = getattr(torch.ops.aten, f"max_pool{axes}d_with_indices" if axes > 1 else "max_pool1d_with_indices")
    (y, here), (base, there) = (find(t, *rest) for t in (u.x.detach(), u.base))

    def chosen(t: Tensor, at: Tensor) -> Tensor:
        return t.flatten(-axes).gather(-1, at.flatten(-axes)).reshape(at.shape)

    terms = []
    for at, mine in ((here, y >= base), (there, y < base)):
        part = chosen(u.x, at)
        change = part.detach() - chosen(u.base, at)
        terms.append((part, torch.where(mine, secant.ratio(y - base, change), 0)))
    # Where nothing changes, the winner keeps the gradient 1, so that a map on the baseline itself is the gradient.
    same = (y == base) & (terms[0][0].detach() == chosen(u.base, here))
    return secant.said(y, (terms[0][0], torch.where(same, 1, terms[0][1])), terms[1])

