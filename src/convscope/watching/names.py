"""Which torch functions are what: those that use weights, activations, reductions to a class, cuts of the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[..., Any]
LAYERS: frozenset[Function] = frozenset({
    F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
    F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm, F.embedding, F.prelu,
    F.multi_head_attention_forward,
    torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell,
    torch.matmul, Tensor.matmul, torch.mm, torch.addmm, torch.einsum, torch.tensordot, torch.bmm, Tensor.__matmul__,
    torch.convolution,
})
CHANNELS = ("conv", "batch_norm", "group_norm", "instance_norm", "prelu")  # units on axis 1, else on the last
ACTIVATIONS = frozenset({
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh", "softplus",
    "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "softsign", "softmax", "log_softmax", "threshold", "rrelu"})
SATURATING = frozenset({"sigmoid", "tanh"})
CUTS: frozenset[Function] = frozenset({Tensor.detach, Tensor.data.__get__})  # type: ignore[attr-defined]
LEAVES_TORCH: frozenset[Function] = frozenset({Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__array__})
REDUCTIONS: frozenset[Function] = frozenset({
    torch.argmax, Tensor.argmax, torch.max, Tensor.max, torch.topk, Tensor.topk})
SOFTMAXES: frozenset[Function] = frozenset({
    F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax, F.gumbel_softmax})
DROPOUTS: frozenset[Function] = frozenset({
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout})
ZEROED: frozenset[Function] = frozenset({Tensor.random_})  # what a DataLoader draws its seed with
PASSIVE = frozenset({"__get__", "__set__", "size", "dim", "numel", "stride", "is_floating_point", "register_hook",
                     "backward", "zero_", "__len__", "__repr__", "element_size", "is_complex", "grad",
                     "_record_function_enter_new", "_record_function_exit._RecordFunction"})
FOLLOWED: frozenset[Function] = frozenset({  # attributes that are values: x.T, x.mT, x.H, x.data
    Tensor.T.__get__, Tensor.mT.__get__, Tensor.data.__get__, Tensor.H.__get__})  # type: ignore[attr-defined]
MODAL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a function is to the eye, looked up once."""

    passes: bool  # nothing to see
    layer: bool
    note: bool
    leaves: bool
    cuts: bool
    activation: bool
    spoken: str
    axis: int  # of the units of what it returns, where it is a layer


def kind(func: Function) -> Kind:
    """Sort a function."""
    spoken, layer = word(func), func in LAYERS
    note = func in REDUCTIONS or func in SOFTMAXES or func in DROPOUTS or func in ZEROED
    passes = getattr(func, "__name__", "") in PASSIVE and func not in FOLLOWED and func is not Tensor.backward
    return Kind(passes=passes and not layer and not note, layer=layer, note=note, leaves=func in LEAVES_TORCH,
                cuts=func in CUTS, activation=spoken in ACTIVATIONS, spoken=spoken,
                axis=1 if spoken.startswith(CHANNELS) else -1)


def word(func: Function) -> str:
    """The name of a function as it is spoken: '__add__' is 'add', 'relu_' stays what it is."""
    name = getattr(func, "__name__", type(func).__name__)
    return {"relu_": "relu"}.get(name, name.strip("_") or name)


def modal(model: nn.Module) -> list[nn.Module]:
    """The modules that behave otherwise in training: dropout that drops, batch norm."""
    found = [m for m in model.modules() if isinstance(m, MODAL) or type(m).__name__ in ("FeatureAlphaDropout",)]
    return [m for m in found if getattr(m, "p", 1) != 0]


def owners(model: nn.Module) -> dict[int, tuple[str, str]]:
    """Parameter and buffer ids -> (module path, own name). A parameter of the model itself goes by its own name."""
    found: dict[int, tuple[str, str]] = {}
    for path, p in model.named_parameters():
        module, _, own = path.replace(".parametrizations", "").rpartition(".")
        if ".original" in f".{own}":  # of torch.nn.utils.parametrize: 'fc.parametrizations.weight.original0'
            module, _, own = module.rpartition(".")
        module = module.removeprefix("_orig_mod.").removeprefix("module.")
        found[id(p)] = (module or own, path)
    return found
