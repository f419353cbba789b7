"""Where relevance goes in each kind of operation, as handlers of `_relevance.Walk`.

For z = Σ_i w_i x_i + b with relevance R = c·z, a rule is a denominator D (or two) built of parts of x and w:

    R_i = part_i of D · c·z / D        so: the derivative of the value to D is said to be z / D, and autograd does the rest

Of activations y = f(x) all relevance but the bias share f(0) is handed on; of products the gate gets none.
Bach et al. 2015 (ε, αβ); Montavon et al. 2017 (w², zB) and 2019 (γ, composites); Ali et al. 2022 (layer norm, attention).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.attributions import _roles
from convscope.attributions import _secant as secant
from convscope.attributions._relevance import Call, Handler
from convscope.run import first_tensor

Map = Callable[[Tensor, Tensor], Tensor]  # (x, weight) -> the linear map without its bias
SLIGHT = 1e-6  # of all contributions: a denominator below is none


@dataclass(frozen=True)
class Affine:
    """z = op(x, weight) + bias, as it stands in the graph or with the batch norm behind it folded in."""

    x: Tensor
    weight: Tensor
    bias: Tensor  # broadcasts over z; zeros where there is none
    op: Map
    z: Tensor  # the exact value


def affine_of(call: Call, held: Call | None = None) -> Affine:
    """The affine map of a linear operation; `held`: the convolution whose batch norm `call` is."""
    conv = held or call
    weight, bias = conv.args[1], conv.arg(2)
    wide = (1, -1) + (1,) * (weight.ndim - 2) if conv.name != "linear" else (-1,)
    offset = torch.zeros_like(weight[:1, 0].flatten()[:1]) if bias is None else bias
    x = call.args[0]

    def op(values: Tensor, kernel: Tensor) -> Tensor:
        return conv.target(values, kernel, None, *conv.args[3:], **{k: v for k, v in conv.kwargs.items() if k != "bias"})

    with torch.no_grad():
        z = first_tensor(conv.run(x.detach()))
        if held is not None:
            scale, shift = folded(call)
            z = first_tensor(call.run(z))
            weight, offset = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), offset * scale + shift
    return Affine(x, weight, offset.reshape(wide), op, z)


def folded(norm: Call) -> tuple[Tensor, Tensor]:
    """(scale, shift) of a batch norm in use: y = scale·x + shift."""
    weight, bias, mean, variance = norm.args[1:5]
    scale = torch.rsqrt(variance + norm.args[6]) * (1 if weight is None else weight)
    return scale, (0 if bias is None else bias) - mean * scale


def share(call: Call, a: Affine, *terms: tuple[Tensor, Tensor, Tensor | None]) -> Tensor:
    """z with derivative `slope` to each D of `terms` (D, slope, the bias in D); what goes to no input is noted."""
    out = secant.said(a.z, *((d, slope) for d, slope, _ in terms))
    rest = a.z
    for d, slope, bias in terms:
        rest = rest - slope * d.detach()
        if bias is not None:
            call.note("bias", out, slope * bias)
    call.note("epsilon", out, rest)
    return out


# ---- rules of linear layers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the rules are told: numbers, and the pixel range (1, C, 1, 1) in the network's units."""

    epsilon: float
    relative: bool
    gamma: float
    alpha: float
    low: Tensor | None = None
    high: Tensor | None = None


def stabilised(call: Call, z: Tensor, s: Settings) -> Tensor:
    """z / (z + ε sign z) of what comes: ε in units of the standard deviation of each image's z, or of z."""
    value = z.detach()
    size = value.flatten(1).std(1, correction=0).reshape(-1, *(1,) * (value.ndim - 1)) if s.relative else 1.0
    below = value + s.epsilon * size * torch.where(value < 0, -1.0, 1.0).to(value.dtype)
    slope = secant.ratio(value, below)
    out = secant.said(value, (z, slope))
    call.note("epsilon", out, value * (1 - slope))
    return out


def epsilon(call: Call, a: Affine, s: Settings) -> Tensor:
    """R_i = x_i w_i / (z + ε sign z) · R."""
    z = a.op(a.x, a.weight) + a.bias
    out = stabilised(call, z, s)
    call.note("bias", z, a.bias.expand_as(z))
    return out


def signed(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """x split into its positive and its other part; None where there is no other."""
    positive = x.detach() >= 0
    return (x, None) if bool(positive.all()) else (x * positive, x * ~positive)


def crossed(a: Affine, one: Tensor, other: Tensor) -> Tensor:
    """op(x⁺, one) + op(x⁻, other)."""
    above, below = signed(a.x)
    first = a.op(above, one)
    return first if below is None else first + a.op(below, other)


def gamma(call: Call, a: Affine, s: Settings) -> Tensor:
    """Contributions x_i w_i of the sign of z count 1 + γ times (four terms: either sign of x and of z)."""
    plus, minus = a.weight + s.gamma * a.weight.clamp(min=0), a.weight + s.gamma * a.weight.clamp(max=0)
    b_plus, b_minus = a.bias + s.gamma * a.bias.clamp(min=0), a.bias + s.gamma * a.bias.clamp(max=0)
    up, down = crossed(a, plus, minus) + b_plus, crossed(a, minus, plus) + b_minus
    return share(call, a, (up, secant.ratio(a.z, up.detach()) * (a.z > 0), b_plus),
                 (down, secant.ratio(a.z, down.detach()) * (a.z < 0), b_minus))


def alpha_beta(call: Call, a: Affine, s: Settings) -> Tensor:
    """α times the positive contributions, β = α − 1 times the negative: pairs (x⁺, w⁺) and (x⁻, w⁻)."""
    w_plus, w_minus = a.weight.clamp(min=0), a.weight.clamp(max=0)
    b_plus, b_minus = a.bias.clamp(min=0), a.bias.clamp(max=0)
    helping, hindering = crossed(a, w_plus, w_minus) + b_plus, crossed(a, w_minus, w_plus) + b_minus
    slight = SLIGHT * (helping - hindering).detach()
    slopes = [secant.ratio(a.z, d.detach().masked_fill(d.detach().abs() <= slight, 0)) for d in (helping, hindering)]
    terms = [(helping, s.alpha * slopes[0], b_plus), (hindering, (1 - s.alpha) * slopes[1], b_minus)]
    return share(call, a, *terms[: 1 if s.alpha == 1 else 2])


def box(call: Call, a: Affine, s: Settings) -> Tensor:
    """R_i = (x_i w_i − l_i w_i⁺ − h_i w_i⁻) / Σ · R for pixels between l and h; the bias takes no part."""
    assert s.low is not None
    assert s.high is not None
    low, high = (call.walk.leaf(call, v.expand_as(call.walk.image).reshape(a.x.shape)) for v in (s.low, s.high))
    d = a.op(a.x, a.weight) - a.op(low, a.weight.clamp(min=0)) - a.op(high, a.weight.clamp(max=0))
    return share(call, a, (d, secant.ratio(a.z, d.detach()), None))


def w_square(call: Call, a: Affine, _: Settings) -> Tensor:
    """R_i = w_i² / Σ w² · R."""
    d = a.op(call.walk.leaf(call, torch.ones_like(a.x)), a.weight.square())
    return share(call, a, (d, secant.ratio(a.z, d.detach()), None))


def flat(call: Call, a: Affine, _: Settings) -> Tensor:
    """R_i = R / number of inputs."""
    d = a.op(call.walk.leaf(call, torch.ones_like(a.x)), torch.ones_like(a.weight))
    return share(call, a, (d, secant.ratio(a.z, d.detach()), None))


RULES: dict[str, Callable[[Call, Affine, Settings], Tensor]] = {
    "epsilon": epsilon, "gamma": gamma, "alpha-beta": alpha_beta, "box": box, "w-square": w_square, "flat": flat}


# ---- everything else -----------------------------------------------------------------------------------------------------


def plain(call: Call) -> Any:
    """The gradient is the ratio's way down."""
    return call.run()


def affine(call: Call) -> Any:
    """The same, and the constant term, which is the operation's value at zero, keeps its share."""
    value = call.run()
    first = first_tensor(value)
    with torch.no_grad():
        zeros = [torch.zeros_like(a) if at in call.live else a for at, a in enumerate(call.args)]
        constant = first_tensor(call.target(*zeros, **call.kwargs))
    call.note("bias", first, constant)
    return value


def activation(call: Call) -> Tensor:
    """y = f(x): R_x = c·(y − f(0)); where f(0) is no number, R_x = c·y."""
    x = call.args[0]
    rest = call.args[1:]

    def f(t: Tensor) -> Tensor:
        return call.target(t, *rest, **call.kwargs)

    zero = torch.zeros_like(x)
    start = f(zero)
    if not bool(torch.isfinite(start).all()):
        y = f(x.detach())
        return secant.said(y, (x, secant.ratio(y, x.detach())))
    out, _ = secant.elementwise(f, secant.Pair(x, zero), call.name in _roles.SMOOTH)
    call.note("bias", out, start)
    return out


def product(call: Call) -> Tensor:
    """The gate is a constant; where neither operand is one, each gets half. A constant operand makes it linear."""
    if call.live != [0, 1]:
        return call.run()
    a, b = call.args[:2]
    at = _roles.gate(call.node, (a, b))
    if at is not None:
        return call.run(*((a.detach(), b) if at == 0 else (a, b.detach())))
    one, other = call.run(a, b.detach()), call.run(a.detach(), b)
    half = torch.full((), 0.5, dtype=one.dtype, device=one.device)
    return secant.said(one, (one, half), (other, half))


def quotient(call: Call) -> Any:
    """The normaliser is a constant gate."""
    return call.run(call.args[0], call.args[1].detach() if isinstance(call.args[1], Tensor) else call.args[1])


def softmax(call: Call) -> Tensor:
    """exp(x)/N with N a constant: the bias share is 1/N."""
    x, dim = call.args[:2]
    log_total = x.detach().logsumexp(dim, keepdim=True)
    out, start = secant.elementwise(lambda t: torch.exp(t - log_total), secant.Pair(x, torch.zeros_like(x)))
    call.note("bias", out, start)
    return out


def log_softmax(call: Call) -> Tensor:
    """x − log Σ exp(x): the second term is a constant."""
    x = call.args[0]
    value = call.run().detach()
    out = secant.said(value, (x, torch.ones_like(value)))
    call.note("bias", out, value - x.detach())
    return out


def layer_norm(call: Call) -> Tensor:
    """(x − mean)·w/σ + b over the last axes, with σ a constant."""
    x, count = call.args[0], len(call.args[1])
    return normalised(call, x.flatten(-count), (call.arg(2), call.arg(3)))


def group_norm(call: Call) -> Tensor:
    """The same over the channels of a group and their positions."""
    x, wide = call.args[0], (-1,) + (1,) * (call.args[0].ndim - 2)
    grouped = x.reshape(x.shape[0], call.args[1], -1)
    return normalised(call, grouped, [None if v is None else v.reshape(wide) for v in (call.arg(2), call.arg(3))])


def normalised(call: Call, x: Tensor, scale_and_shift: Sequence[Tensor | None]) -> Tensor:
    """`x` standardised over its last axis and brought back to the operation's shape, then scaled and shifted."""
    deviation = torch.sqrt(x.detach().var(-1, correction=0, keepdim=True) + call.arg(4, 1e-5))
    y = ((x - x.mean(-1, keepdim=True)) / deviation).reshape(call.args[0].shape)
    weight, bias = scale_and_shift
    y = y if weight is None else y * weight
    if bias is None:
        return y
    out = y + bias
    call.note("bias", out, bias.expand_as(out))
    return out


def attention(call: Call) -> Any:
    """softmax(q kᵀ) v: the attention weights are constant gates."""
    return call.run(call.args[0].detach(), call.args[1].detach())


def handlers() -> dict[str, Handler]:
    """All operations but the linear layers."""
    return {
        **dict.fromkeys(_roles.PLAIN, plain), **dict.fromkeys(_roles.AFFINE, affine),
        **dict.fromkeys(_roles.ELEMENTWISE, activation), **dict.fromkeys(_roles.PRODUCTS, product), "div": quotient,
        "softmax": softmax, "_softmax": softmax, "log_softmax": log_softmax, "_log_softmax": log_softmax,
        "layer_norm": layer_norm, "group_norm": group_norm, "scaled_dot_product_attention": attention}
