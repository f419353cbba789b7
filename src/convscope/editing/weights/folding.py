"""Two layers as one linear map: the weights of the one, or the reason why there is none.

    norm after     s·(W·x + b − μ) + β       =  (s·W)·x + s·(b − μ) + β           s = γ/√(σ² + ε)
    norm before    W·(s·x + t) + b           =  (W·s)·x + (b + Σ W·t)             t = β − s·μ; no zeros as border
    linear twice   W₂·(W₁·x + b₁) + b₂       =  (W₂·W₁)·x + (W₂·b₁ + b₂)

In float64, then of the dtype of the weights. Source: Jacob et al. 2018, section 3.2.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LINEAR = (*CONVS, *TRANSPOSED, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Folded:
    """The one layer, and the lines of PyTorch that give `one` its weights, from `a`, the first, and `b`, the second."""

    module: Any
    code: tuple[str, ...]


def folded(a: Any, b: Any, size: tuple[int, ...]) -> Folded | str:
    """b∘a as one layer. `size`: of the value between, without its batch."""
    for m in (a, b):
        if isinstance(m, NORMS) and m.running_var is None:
            return "the norm keeps no running statistics"
    if isinstance(a, NORMS) and isinstance(b, NORMS):
        return "both are batch norms"
    if isinstance(a, NORMS) or isinstance(b, NORMS):
        linear = b if isinstance(a, NORMS) else a
        if isinstance(linear, nn.Linear) and len(size) != 1:
            return "the norm is over channels, the dense layer over the last axis"
        return _norm_before(a, b) if isinstance(a, NORMS) else _norm_after(a, b)
    if isinstance(a, nn.Linear) and isinstance(b, nn.Linear):
        made = _with(a, b.weight.double() @ a.weight.double(), _bias(b, a, b.weight.double()))
        made.out_features = b.out_features
        return Folded(made, _said(a, b, "b.weight @ a.weight", "b.weight @ a.bias"))
    return _convolutions(a, b)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """A batch norm in eval as s·x + t."""
    s = (norm.running_var.double() + norm.eps).rsqrt()
    s = s if norm.weight is None else s * norm.weight.double()
    t = -s * norm.running_mean.double()
    return s, t if norm.bias is None else t + norm.bias.double()


def _norm_after(a: Any, b: Any) -> Folded:
    """The norm scales what comes out: the first axis of the weights, the second of a transposed convolution."""
    s, t = _affine(b)
    weight = a.weight.double()
    bias = t if a.bias is None else t + s * a.bias.double()
    if isinstance(a, TRANSPOSED):  # (I, O/groups, …): outputs of group g are g·O/groups …
        shape = (a.groups, weight.shape[0] // a.groups, *weight.shape[1:])
        weight = (weight.reshape(shape) * _shaped(s.reshape(a.groups, 1, -1), len(shape))).reshape(weight.shape)
        split = f"a.weight.unflatten(0, ({a.groups}, -1)) * s.reshape({a.groups}, 1, -1{', 1' * (len(shape) - 3)})"
        return Folded(_with(a, weight, bias), (
            *_affine_said("b", b), f"one.weight.data = ({split}).flatten(0, 1)",
            "one.bias.data = t" if a.bias is None else "one.bias.data = s * a.bias + t"))
    fuse = "fuse_linear_bn_eval" if isinstance(a, nn.Linear) else "fuse_conv_bn_eval"
    if b.weight is not None:
        return Folded(_with(a, weight * _shaped(s, weight.ndim), bias), (
            f"one.load_state_dict(torch.nn.utils.fusion.{fuse}(a.eval(), b.eval()).state_dict())",))
    code = (*_affine_said("b", b), f"one.weight.data = a.weight * s.reshape(-1{', 1' * (weight.ndim - 1)})",
            "one.bias.data = t" if a.bias is None else "one.bias.data = s * a.bias + t")
    return Folded(_with(a, weight * _shaped(s, weight.ndim), bias), code)


def _norm_before(a: Any, b: Any) -> Folded | str:
    """The norm scales what goes in. A border of zeros is added behind the norm and must not be shifted by it."""
    if isinstance(b, TRANSPOSED):
        return "the norm's shift would differ near the border of a transposed convolution"
    if not isinstance(b, nn.Linear) and pads(b) and b.padding_mode == "zeros":
        return "the convolution pads with zeros behind the norm, and near the border one bias is not enough"
    s, t = _affine(a)
    weight = b.weight.double()
    groups = 1 if isinstance(b, nn.Linear) else b.groups
    shape = (groups, weight.shape[0] // groups, *weight.shape[1:])
    by_input = [_shaped(each.reshape(groups, 1, -1), len(shape)) for each in (s, t)]
    shift = (weight.reshape(shape) * by_input[1]).reshape(len(weight), -1).sum(1)
    bias = shift if b.bias is None else shift + b.bias.double()
    made = _with(b, (weight.reshape(shape) * by_input[0]).reshape(weight.shape), bias)
    split, at = f"b.weight.unflatten(0, ({groups}, -1))", f"reshape({groups}, 1, -1{', 1' * (weight.ndim - 2)})"
    own = "" if b.bias is None else " + b.bias"
    return Folded(made, (*_affine_said("a", a), f"one.weight.data = ({split} * s.{at}).flatten(0, 1)",
                         f"one.bias.data = ({split} * t.{at}).flatten(0, 1).flatten(1).sum(1){own}"))


def _convolutions(a: Any, b: Any) -> Folded | str:
    """A convolution and a 1×1 one, in either order."""
    if type(a) is not type(b) or not isinstance(a, CONVS):
        return f"{type(b).__name__} after {type(a).__name__} is no layer that has a name"
    if a.groups > 1 or b.groups > 1:
        return f"their channels are in groups ({a.groups} and {b.groups})"
    first, second = a.weight.double(), b.weight.double()
    if set(b.kernel_size) == {1} and not pads(b):
        if isinstance(a.padding, str) and set(b.stride) != {1}:
            return "the first pads 'same', which has no stride"
        made = _with(a, torch.einsum("om,mi...->oi...", second.flatten(1), first), _bias(b, a, second.flatten(1)))
        made.out_channels, made.stride = b.out_channels, tuple(s * z for s, z in zip(a.stride, b.stride, strict=True))
        return Folded(made, _said(a, b, 'torch.einsum("om,mi...->oi...", b.weight.flatten(1), a.weight)',
                                  "b.weight.flatten(1) @ a.bias"))
    if set(a.kernel_size) == {1} and not pads(a):
        if set(a.stride) != {1}:
            return "the first one strides"
        if pads(b) and b.padding_mode == "zeros" and a.bias is not None:
            return "the second pads with zeros behind the bias of the first, and near the border one bias is not enough"
        made = _with(b, torch.einsum("om...,mi->oi...", second, first.flatten(1)), _bias(b, a, second.flatten(2).sum(2)))
        made.in_channels = a.in_channels
        return Folded(made, _said(a, b, 'torch.einsum("om...,mi->oi...", b.weight, a.weight.flatten(1))',
                                  "b.weight.flatten(2).sum(2) @ a.bias"))
    return "neither is 1×1: one kernel for both would be larger"


def pads(m: Any) -> bool:
    """Does this convolution look beyond the border?"""
    if m.padding == "same":
        return any(k > 1 for k in m.kernel_size)
    return m.padding != "valid" and any(m.padding)


def _shaped(values: Tensor, ndim: int) -> Tensor:
    return values.reshape(*values.shape, *(1,) * (ndim - values.ndim))


def _bias(b: Any, a: Any, through: Tensor) -> Tensor | None:
    """W₂·b₁ + b₂, of those that there are."""
    passed = None if a.bias is None else through @ a.bias.double()
    own = None if b.bias is None else b.bias.double()
    return own if passed is None else passed if own is None else passed + own


def _said(a: Any, b: Any, weight: str, passed: str) -> tuple[str, ...]:
    bias = " + ".join(([] if a.bias is None else [passed]) + ([] if b.bias is None else ["b.bias"]))
    return (f"one.weight.data = {weight}", *((f"one.bias.data = {bias}",) if bias else ()))


def _affine_said(name: str, norm: Any) -> tuple[str, str]:
    """A batch norm as s·x + t, in PyTorch."""
    weight, bias = ("", "") if norm.weight is None else (f"{name}.weight * ", f"{name}.bias ")
    return f"s = {weight}({name}.running_var + {name}.eps).rsqrt()", f"t = {bias}- {name}.running_mean * s"


def _with(like: Any, weight: Tensor, bias: Tensor | None) -> Any:
    """A layer with the settings of `like` and other weights; frozen where it was."""
    made = copy.copy(like)
    made._parameters = dict(like._parameters)
    learns = like.weight.requires_grad
    made.weight = nn.Parameter(weight.detach().to(like.weight.dtype), learns)
    made.bias = None if bias is None else nn.Parameter(bias.detach().to(like.weight.dtype), learns)
    return made
