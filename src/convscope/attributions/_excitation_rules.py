"""Where the winner-take-all walk of excitation backpropagation may go in each kind of operation (Zhang et al. 2016).

Probabilities are carried as their ratio to the activation, P = a ⊙ c; only positive activations take part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.attributions import _relevance_rules as rules
from convscope.attributions import _roles
from convscope.attributions import _secant as secant
from convscope.attributions._relevance import Call, Handler, does_not_apply

AVERAGES = frozenset(name for name in _roles.PLAIN if "avg_pool" in name) | {"mean", "sum", "upsample_bilinear2d"}
PASSING = frozenset(("hardtanh", "clamp", "relu6", "sigmoid", "hardsigmoid", "softmax", "_softmax"))
SIGNED = frozenset(("leaky_relu", "prelu", "_prelu_kernel", "neg", "where", "maximum", "cumsum"))


def handlers() -> dict[str, Handler]:
    """All operations but those with weights."""
    return {**dict.fromkeys(_roles.PLAIN - SIGNED, rules.plain), **dict.fromkeys(AVERAGES, average),
            **dict.fromkeys(PASSING, passing), **dict.fromkeys(("pad", "constant_pad_nd"), rules.plain),
            "add": added, "mul": gated}


def positive(x: Tensor) -> Tensor:
    """x⁺; all of the derivative goes to what is positive."""
    return x * (x.detach() > 0)


def passed(call: Call, y: Tensor, below: Tensor) -> Tensor:
    """y, whose probability goes to the terms of `below` in proportion; none where y takes no part (y·c ≤ 0)."""
    y = y.detach()
    slope = secant.ratio(y, below.detach())
    out = secant.said(y, (below, slope))
    out.register_hook(lambda c: torch.where(c * y > 0, c, 0))
    call.note("bias", out, y - slope * below.detach())
    return out


def average(call: Call) -> Tensor:
    """Averages and sums of positive values."""
    x = call.args[0]
    return passed(call, call.run(x.detach()), call.run(positive(x)))


def passing(call: Call) -> Tensor:
    """One to one, from an active unit to its positive input."""
    x = call.args[0]
    return passed(call, call.run(x.detach()), positive(x))


def added(call: Call) -> Tensor:
    """In proportion to the positive terms; constants are biases."""
    if call.kwargs.get("alpha", 1) != 1:
        raise does_not_apply(call.walk, call, "a difference has negative terms")
    y = call.run(*(a.detach() if isinstance(a, Tensor) else a for a in call.args[:2]))
    terms = [positive(call.args[at]).expand_as(y) for at in call.live]
    return passed(call, y, terms[0] if len(terms) == 1 else terms[0] + terms[1])


def gated(call: Call) -> Tensor:
    """A gate, or a constant, is a weight."""
    at = _roles.gate(call.node, call.args[:2]) if call.live == [0, 1] else 1 - call.live[0]
    if at is None:
        raise does_not_apply(call.walk, call, "neither operand of the product is a gate")
    weight, x = call.args[at], call.args[1 - at]
    weight = weight.detach() if isinstance(weight, Tensor) else torch.as_tensor(weight, dtype=x.dtype, device=x.device)
    return passed(call, x.detach() * weight, positive(x) * weight.clamp(min=0))
