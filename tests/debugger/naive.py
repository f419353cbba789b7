"""Somebody else's convolutional network: forward and backward written from the textbooks, with a switch for each mistake.

It shares nothing with convscope (it imports NumPy only) and works in another way: where convscope multiplies im2col matrices
and adds windows back, a convolution here slides over positions, and its input delta is the textbook's full convolution of
the spread deltas with the flipped kernels. `run(...)` gives the arrays that such a person would save; with
`mistakes={"conv2": "kernel not flipped"}` one layer is worked out wrongly and everything that depends on it follows.

Source: Rumelhart, Hinton, Williams 1986; Dumoulin and Visin 2016; Ioffe and Szegedy 2015; Hochreiter and Schmidhuber 1997.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any
LOSS = "loss"  # where mistakes of softmax and cross-entropy are made


class DoesNotFit(ValueError):
    """This mistake cannot be made here: the sizes would not fit, and whoever made it would be told so by NumPy."""


@dataclass(frozen=True)
class Step:
    """One layer: its address, what it does, which layers it reads, its settings."""

    name: str
    kind: str
    reads: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def chain(*layers: tuple[str, str, dict[str, Any]]) -> tuple[Step, ...]:
    """Layers one after the other."""
    names = ["input", *(name for name, _, _ in layers)]
    return tuple(Step(name, kind, (names[i],), settings) for i, (name, kind, settings) in enumerate(layers))


def run(steps: Sequence[Step], x: Array, labels: Sequence[int], parameters: Mapping[str, Array],
        mistakes: Mapping[str, str] | None = None, dtype: Any = np.float64) -> dict[str, Array]:
    """Everything that is worked out for a batch x (B, ...): activations, loss, deltas, gradients, by '<layer>.<what>'."""
    wrong = dict(mistakes or {})
    for name, key in wrong.items():
        assert key in MISTAKES[next((s.kind for s in steps if s.name == name), LOSS)], f"{name} knows no mistake {key!r}"
    x = np.asarray(x, dtype)
    values: dict[str, Array] = {"input": x}
    memory: dict[str, Any] = {}
    for step in steps:
        own = {k[len(step.name) + 1:]: np.asarray(v, dtype) for k, v in parameters.items()
               if k.rpartition(".")[0] == step.name}
        made = FORWARD[step.kind]([values[r] for r in step.reads], own, step.settings, wrong.get(step.name, ""))
        values[step.name], memory[step.name] = made
    last = steps[-1].name
    loss, delta = cross_entropy(values[last], np.asarray(labels), wrong.get(LOSS, ""))
    found: dict[str, Array] = {"input": x, "labels": np.asarray(labels), "loss": loss, "output": values[last]}
    deltas: dict[str, Array] = {last: delta}
    for step in reversed(steps):
        delta = deltas[step.name]
        back, gradients = BACKWARD[step.kind](delta, memory[step.name], step.settings, wrong.get(step.name, ""))
        found |= {f"{step.name}.activation": values[step.name], f"{step.name}.delta": delta}
        if len(back) == 1:
            found[f"{step.name}.input_delta"] = back[0]
        found |= {f"{step.name}.{name}.gradient": value for name, value in gradients.items()}
        if any(one.shape != values[read].shape for read, one in zip(step.reads, back, strict=True)):
            break  # of another size: whoever made it cannot go on
        for read, one in zip(step.reads, back, strict=True):
            deltas[read] = deltas[read] + one if read in deltas else one
    return {name: np.asarray(value, dtype if name != "labels" else None) for name, value in found.items()}


# ---- loss ---------------------------------------------------------------------------------------------------------------


def softmax(y: Array) -> Array:
    grown = np.exp(y - y.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def cross_entropy(y: Array, labels: Array, mistake: str) -> tuple[Array, Array]:
    """The mean of −log p[label] over the batch, and (p − one-hot)/B."""
    count, classes = y.shape
    p = softmax(y)
    loss = -np.log(p[np.arange(count), labels]).mean()
    wanted = np.zeros_like(p)
    wanted[np.arange(count), (labels + (mistake == "labels off by one")) % classes] = 1
    delta = p - wanted
    if mistake == "sign flipped":
        delta = wanted - p
    if mistake == "softmax derivative twice":  # p − y already is the derivative through the softmax
        delta = p * (delta - (delta * p).sum(axis=1, keepdims=True))
    return loss, delta if mistake == "not divided by the batch" else delta / count


# ---- convolution --------------------------------------------------------------------------------------------------------


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def geometry(settings: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
    return (pair(settings.get("stride", 1)), pair(settings.get("padding", 0)), pair(settings.get("dilation", 1)),
            settings.get("groups", 1))


def surround(x: Array, rows: int, columns: int, value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)), constant_values=value)


def conv_forward(reads: list[Array], own: Mapping[str, Array], settings: Mapping[str, Any], mistake: str) -> Any:
    x, weight, bias = reads[0], own["weight"], own.get("bias")
    stride, padding, dilation, groups = geometry(settings)
    b, _, height, width = x.shape
    k, each, kh, kw = weight.shape
    full = surround(x, *padding)
    h = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    w = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((b, k, h, w), x.dtype)
    for filter_ in range(k):
        first = filter_ // (k // groups) * each
        for i in range(h):
            for j in range(w):
                top, left = i * stride[0], j * stride[1]
                window = full[:, first:first + each, top:top + dilation[0] * (kh - 1) + 1:dilation[0],
                              left:left + dilation[1] * (kw - 1) + 1:dilation[1]]
                y[:, filter_, i, j] = (window * weight[filter_]).sum(axis=(1, 2, 3))
        if bias is not None and mistake != "bias forgotten":
            y[:, filter_] += bias[filter_]
    return y, (x, weight, bias)


def conv_backward(delta: Array, memory: Any, settings: Mapping[str, Any], mistake: str) -> Any:
    x, weight, bias = memory
    gradients = {"weight": conv_weight_gradient(delta, x, weight, settings, mistake)}
    if bias is not None:
        gradients["bias"] = conv_bias_gradient(delta, mistake)
    back = conv_overwritten(delta, x, weight, settings) if mistake == "windows overwritten" else \
        conv_input_delta(delta, x, weight, settings, mistake)
    return [back], gradients


def conv_input_delta(delta: Array, x: Array, weight: Array, settings: Mapping[str, Any], mistake: str) -> Array:
    """Zeros between the deltas, zeros around them, kernels flipped, channels swapped, correlated; the padding cropped."""
    stride, padding, dilation, groups = geometry(settings)
    b, c, height, width = x.shape
    k, each, kh, kw = weight.shape
    h, w = delta.shape[2:]
    if mistake == "channels not swapped" and k != each:
        raise DoesNotFit(f"{k} filters of {each} channels")
    if mistake.startswith("stride not dilated"):
        spread = delta
    else:
        spread = np.zeros((b, k, (h - 1) * stride[0] + 1, (w - 1) * stride[1] + 1), delta.dtype)
        spread[:, :, ::stride[0], ::stride[1]] = delta
    around = (0, 0) if mistake.startswith("valid instead of full") else (dilation[0] * (kh - 1), dilation[1] * (kw - 1))
    spread = surround(spread, *around)
    kernels = weight if mistake == "kernel not flipped" else weight[:, :, ::-1, ::-1]
    tall = max(spread.shape[2] - dilation[0] * (kh - 1), 0)
    wide = max(spread.shape[3] - dilation[1] * (kw - 1), 0)
    full = np.zeros((b, c, tall, wide), x.dtype)
    for channel in range(c):
        if mistake == "groups ignored":  # every filter feeds every channel, as if there were one group
            fed = [(f, channel % each) for f in range(k)]
        elif mistake == "channels not swapped":
            fed = [(f, None) for f in range(k)]
        else:
            group = channel // each
            fed = [(f, channel % each) for f in range(group * (k // groups), (group + 1) * (k // groups))]
        for filter_, inner in fed:
            kernel = kernels[channel, filter_] if inner is None else kernels[filter_, inner]
            for u in range(kh):
                for v in range(kw):
                    top, left = u * dilation[0], v * dilation[1]
                    full[:, channel] += kernel[u, v] * spread[:, filter_, top:top + tall, left:left + wide]
    if mistake == "valid instead of full, zeros around":
        return fitted(full, height, width, centred=True)
    if mistake == "valid instead of full":
        if not full.size:
            raise DoesNotFit("the kernel is larger than the map of deltas")
        return full
    if mistake == "stride not dilated":
        return full[:, :, padding[0]:full.shape[2] - padding[0], padding[1]:full.shape[3] - padding[1]]
    padded = fitted(full, height + 2 * padding[0], width + 2 * padding[1])
    if mistake == "padding not cropped":
        return padded
    if mistake == "padding cropped at the end only":
        return padded[:, :, :height, :width]
    if mistake == "padding cropped at the start only":
        return padded[:, :, 2 * padding[0]:, 2 * padding[1]:]
    return padded[:, :, padding[0]:padding[0] + height, padding[1]:padding[1] + width]


def fitted(maps: Array, height: int, width: int, centred: bool = False) -> Array:
    """Maps in a frame of another size: at its top left corner, or in its middle; zeros elsewhere."""
    frame = np.zeros((*maps.shape[:2], height, width), maps.dtype)
    top, left = ((height - maps.shape[2]) // 2, (width - maps.shape[3]) // 2) if centred else (0, 0)
    if min(maps.shape[2:]) > 0:
        piece = frame[:, :, top:top + maps.shape[2], left:left + maps.shape[3]]
        piece[:] = maps[:, :, :piece.shape[2], :piece.shape[3]]
    return frame


def conv_overwritten(delta: Array, x: Array, weight: Array, settings: Mapping[str, Any]) -> Array:
    """Each window's share written into the input delta, `=` where `+=` is meant."""
    stride, padding, dilation, groups = geometry(settings)
    (k, each, kh, kw), (h, w) = weight.shape, delta.shape[2:]
    full = np.zeros_like(surround(x, *padding))
    for group in range(groups):
        filters = slice(group * (k // groups), (group + 1) * (k // groups))
        for i in range(h):
            for j in range(w):
                share = np.einsum("bk,kcuv->bcuv", delta[:, filters, i, j], weight[filters])
                top, left = i * stride[0], j * stride[1]
                full[:, group * each:(group + 1) * each, top:top + dilation[0] * (kh - 1) + 1:dilation[0],
                     left:left + dilation[1] * (kw - 1) + 1:dilation[1]] = share
    return full[:, :, padding[0]:padding[0] + x.shape[2], padding[1]:padding[1] + x.shape[3]]


def conv_weight_gradient(delta: Array, x: Array, weight: Array, settings: Mapping[str, Any], mistake: str) -> Array:
    """Tap by tap: the pixels that lay under it times the deltas, summed over positions and images."""
    stride, padding, dilation, groups = geometry(settings)
    (b, k, h, w), (_, each, kh, kw) = delta.shape, weight.shape
    full = surround(x, *padding)
    found = np.zeros((b, *weight.shape), x.dtype)
    for filter_ in range(k):
        first = filter_ // (k // groups) * each
        for u in range(kh):
            for v in range(kw):
                top, left = u * dilation[0], v * dilation[1]
                seen = full[:, first:first + each, top:top + (h - 1) * stride[0] + 1:stride[0],
                            left:left + (w - 1) * stride[1] + 1:stride[1]]
                products = seen * delta[:, filter_][:, None]
                found[:, filter_, :, u, v] = over_positions(products, mistake, "weight")
    return over_images(found, mistake, "weight")


def conv_bias_gradient(delta: Array, mistake: str) -> Array:
    return over_images(over_positions(delta, mistake, "bias"), mistake, "bias")


def over_positions(products: Array, mistake: str, which: str) -> Array:
    """(B, C, h, w) -> (B, C): a sum, unless the mistake is here."""
    if mistake == f"{which}: mean over positions":
        return products.mean(axis=(2, 3))
    if mistake == f"{which}: last position only":
        return products[:, :, -1, -1]
    if mistake == f"{which}: first position only":
        return products[:, :, 0, 0]
    return products.sum(axis=(2, 3))


def over_images(shares: Array, mistake: str, which: str) -> Array:
    """(B, …) -> (…): a sum, unless the mistake is here."""
    if mistake == f"{which}: first example only":
        return shares[0]
    if mistake == f"{which}: last example only":
        return shares[-1]
    return shares.mean(axis=0) if mistake == f"{which}: mean over the batch" else shares.sum(axis=0)


# ---- pooling ------------------------------------------------------------------------------------------------------------


def pool_windows(x: Array, settings: Mapping[str, Any]) -> Any:
    """For every output position (i, j): its number, and the slices of the padded input that it reads."""
    kh, kw = pair(settings["kernel"])
    sh, sw = pair(settings.get("stride", settings["kernel"]))
    ph, pw = pair(settings.get("padding", 0))
    h, w = (x.shape[2] + 2 * ph - kh) // sh + 1, (x.shape[3] + 2 * pw - kw) // sw + 1
    cells = [(i, j, (..., slice(i * sh, i * sh + kh), slice(j * sw, j * sw + kw))) for i in range(h) for j in range(w)]
    return (h, w), (ph, pw), (kh, kw), cells


def max_pool_forward(reads: list[Array], own: Any, settings: Mapping[str, Any], mistake: str) -> Any:
    x = reads[0]
    (h, w), pad, _, cells = pool_windows(x, settings)
    full = surround(x, *pad, -np.inf)
    y = np.zeros((*x.shape[:2], h, w), x.dtype)
    for i, j, cell in cells:
        y[:, :, i, j] = full[cell].max(axis=(2, 3))
    return y, (x, y)


def max_pool_backward(delta: Array, memory: Any, settings: Mapping[str, Any], mistake: str) -> Any:
    x, y = memory
    _, pad, (kh, kw), cells = pool_windows(x, settings)
    full = surround(x, *pad, -np.inf)
    back = np.zeros_like(full)
    for i, j, cell in cells:
        won = full[cell] == y[:, :, i, j][..., None, None]
        flat = won.reshape(*won.shape[:2], kh * kw)
        order = flat[..., ::-1] if mistake == "last of tied maxima" else flat
        only = (order.cumsum(axis=-1) == 1) & order  # the first winner alone
        only = only[..., ::-1] if mistake == "last of tied maxima" else only
        share = only.reshape(won.shape) * delta[:, :, i, j][..., None, None]
        if mistake == "spread to all positions":
            share = np.broadcast_to(delta[:, :, i, j][..., None, None] / (kh * kw), won.shape)
        if mistake == "copied to all positions":
            share = np.broadcast_to(delta[:, :, i, j][..., None, None], won.shape)
        if mistake == "to all tied maxima":
            share = won * delta[:, :, i, j][..., None, None]
        if mistake == "windows overwritten":
            back[cell] = share
        else:
            back[cell] += share
    return [back[:, :, pad[0]:pad[0] + x.shape[2], pad[1]:pad[1] + x.shape[3]]], {}


def avg_pool_forward(reads: list[Array], own: Any, settings: Mapping[str, Any], mistake: str) -> Any:
    x = reads[0]
    (h, w), pad, _, cells = pool_windows(x, settings)
    full = surround(x, *pad)
    y = np.zeros((*x.shape[:2], h, w), x.dtype)
    for i, j, cell in cells:
        y[:, :, i, j] = full[cell].mean(axis=(2, 3))
    return y, x


def avg_pool_backward(delta: Array, memory: Any, settings: Mapping[str, Any], mistake: str) -> Any:
    x = memory
    _, pad, (kh, kw), cells = pool_windows(x, settings)
    back = np.zeros_like(surround(x, *pad))
    for i, j, cell in cells:
        back[cell] += delta[:, :, i, j][..., None, None] / (1 if mistake == "not divided" else kh * kw)
    return [back[:, :, pad[0]:pad[0] + x.shape[2], pad[1]:pad[1] + x.shape[3]]], {}


# ---- activations, dense, shape ------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


CURVES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
}


def curve(kind: str) -> tuple[Any, Any]:
    f, slope = CURVES[kind]

    def forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
        y = reads[0] if mistake == "activation forgotten" else f(reads[0])
        return y, (reads[0], y)

    def backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
        x, y = memory
        if mistake == "derivative forgotten":
            return [delta], {}
        return [delta * slope(y if mistake == "derivative at the output" else x)], {}

    return forward, backward


def dense_forward(reads: list[Array], own: Mapping[str, Array], settings: Any, mistake: str) -> Any:
    y = reads[0] @ own["weight"].T
    return y if "bias" not in own or mistake == "bias forgotten" else y + own["bias"], (reads[0], own)


def dense_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    x, own = memory
    if mistake == "W not transposed" and len(set(own["weight"].shape)) > 1:
        raise DoesNotFit(f"W is {own['weight'].shape}")
    back = delta @ (own["weight"].T if mistake == "W not transposed" else own["weight"])
    gradients = {"weight": over_images(delta[:, :, None] * x[:, None, :], mistake, "weight")}
    if "bias" in own:
        gradients["bias"] = over_images(delta, mistake, "bias")
    return [back], gradients


def flatten_forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
    x = reads[0]
    if mistake == "flattened column by column":
        return x.transpose(0, 1, 3, 2).reshape(len(x), -1), x
    return (x.transpose(0, 2, 3, 1) if mistake == "flattened channels last" else x).reshape(len(x), -1), x


def flatten_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    b, c, h, w = memory.shape
    if mistake in ("rows and columns swapped", "flattened column by column"):
        return [delta.reshape(b, c, w, h).transpose(0, 1, 3, 2)], {}
    if mistake in ("delta folded channels last", "flattened channels last"):
        return [delta.reshape(b, h, w, c).transpose(0, 3, 1, 2)], {}
    return [delta.reshape(b, c, h, w)], {}


# ---- batch norm, residual sum, concatenation ----------------------------------------------------------------------------


def per_channel(values: Array) -> Array:
    return values[None, :, None, None]


def batch_norm_forward(reads: list[Array], own: Mapping[str, Array], settings: Mapping[str, Any], mistake: str) -> Any:
    x = reads[0]
    count = x.shape[0] * x.shape[2] * x.shape[3]
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    if mistake == "unbiased variance":
        variance = variance * count / (count - 1)
    deviation = np.sqrt(variance + settings.get("eps", 1e-5))
    normal = (x - per_channel(mean)) / per_channel(deviation)
    return per_channel(own["weight"]) * normal + per_channel(own["bias"]), (normal, deviation, own["weight"])


def batch_norm_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    normal, deviation, weight = memory
    gradients = {"weight": (delta * normal).sum(axis=(0, 2, 3)), "bias": delta.sum(axis=(0, 2, 3))}
    before = delta * per_channel(weight)
    back = before
    if mistake != "mean and variance constant":
        back = back - per_channel(before.mean(axis=(0, 2, 3)))
        if mistake != "variance constant":
            back = back - normal * per_channel((before * normal).mean(axis=(0, 2, 3)))
    return [back / per_channel(deviation)], gradients


def add_forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
    return reads[0] + reads[1], None


def add_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    nothing = np.zeros_like(delta)
    if mistake in ("to the first branch only", "to the second branch only"):
        return ([delta, nothing] if "first" in mistake else [nothing, delta]), {}
    return [2 * delta, 2 * delta] if mistake == "doubled" else [delta, delta], {}


def concat_forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
    return np.concatenate(reads, axis=1), [r.shape[1] for r in reads]


def concat_backward(delta: Array, memory: list[int], settings: Any, mistake: str) -> Any:
    if mistake == "cut in the wrong order":  # the last branch is taken to lie first
        ends = np.cumsum(memory[::-1])[::-1]
        return [delta[:, end - n:end] for n, end in zip(memory, ends, strict=True)], {}
    ends = np.cumsum(memory)
    return [delta[:, end - n:end] for n, end in zip(memory, ends, strict=True)], {}


# ---- recurrent layers: x (B, T, D), y (B, T, H) -------------------------------------------------------------------------


def rows_forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
    """An image of one channel (B, 1, H, W) as a sequence of its rows."""
    return reads[0][:, 0], reads[0]


def rows_backward(delta: Array, memory: Array, settings: Any, mistake: str) -> Any:
    return [delta[:, None]], {}


def last_forward(reads: list[Array], own: Any, settings: Any, mistake: str) -> Any:
    return reads[0][:, -1], reads[0]


def last_backward(delta: Array, memory: Array, settings: Any, mistake: str) -> Any:
    back = np.zeros_like(memory)
    back[:, -1] = delta
    return [back], {}


def rnn_forward(reads: list[Array], own: Mapping[str, Array], settings: Any, mistake: str) -> Any:
    x = reads[0]
    hidden = [np.zeros((len(x), own["weight_hh_l0"].shape[1]), x.dtype)]
    for t in range(x.shape[1]):
        z = x[:, t] @ own["weight_ih_l0"].T + own["bias_ih_l0"] + hidden[-1] @ own["weight_hh_l0"].T + own["bias_hh_l0"]
        hidden.append(np.tanh(z))
    return np.stack(hidden[1:], axis=1), (x, own, hidden)


def rnn_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    x, own, hidden = memory
    gradients = {name: np.zeros_like(value) for name, value in own.items()}
    back, carried = np.zeros_like(x), np.zeros_like(hidden[0])
    for t in reversed(range(x.shape[1])):
        arriving = delta[:, t] + carried
        dz = arriving if mistake == "derivative of tanh forgotten" else arriving * (1 - hidden[t + 1] ** 2)
        back[:, t] = dz @ own["weight_ih_l0"]
        carried = dz @ (own["weight_hh_l0"].T if mistake == "recurrent W not transposed" else own["weight_hh_l0"])
        if mistake == "truncated at one step":
            carried = np.zeros_like(carried)
        collect(gradients, dz, x[:, t], hidden[t])
    return [back], gradients


def collect(gradients: dict[str, Array], dz: Array, x: Array, hidden: Array) -> None:
    gradients["weight_ih_l0"] += dz.T @ x
    gradients["weight_hh_l0"] += dz.T @ hidden
    for name in ("bias_ih_l0", "bias_hh_l0"):
        gradients[name] += dz.sum(axis=0)


def lstm_forward(reads: list[Array], own: Mapping[str, Array], settings: Any, mistake: str) -> Any:
    x = reads[0]
    size = own["weight_hh_l0"].shape[1]
    hidden, cells, gates = [np.zeros((len(x), size), x.dtype)], [np.zeros((len(x), size), x.dtype)], []
    for t in range(x.shape[1]):
        z = x[:, t] @ own["weight_ih_l0"].T + own["bias_ih_l0"] + hidden[-1] @ own["weight_hh_l0"].T + own["bias_hh_l0"]
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        gates.append((i, f, g, o))
        cells.append(f * cells[-1] + i * g)
        hidden.append(o * np.tanh(cells[-1]))
    return np.stack(hidden[1:], axis=1), (x, own, hidden, cells, gates)


def lstm_backward(delta: Array, memory: Any, settings: Any, mistake: str) -> Any:
    x, own, hidden, cells, gates = memory
    gradients = {name: np.zeros_like(value) for name, value in own.items()}
    back, carried, cell_carried = np.zeros_like(x), np.zeros_like(hidden[0]), np.zeros_like(cells[0])
    for t in reversed(range(x.shape[1])):
        i, f, g, o = gates[t]
        dh, squashed = delta[:, t] + carried, np.tanh(cells[t + 1])
        dc = cell_carried + dh * o * (1 - squashed ** 2)
        dz = np.concatenate([dc * g * i * (1 - i), dc * cells[t] * f * (1 - f), dc * i * (1 - g ** 2),
                             dh * squashed * o * (1 - o)], axis=1)
        back[:, t] = dz @ own["weight_ih_l0"]
        carried = dz @ own["weight_hh_l0"]
        cell_carried = dc * f
        if mistake == "truncated at one step":
            carried, cell_carried = np.zeros_like(carried), np.zeros_like(cell_carried)
        if mistake == "forget gate's path missing":
            cell_carried = np.zeros_like(cell_carried)
        collect(gradients, dz, x[:, t], hidden[t])
    return [back], gradients


FORWARD: dict[str, Any] = {
    "conv": conv_forward, "max_pool": max_pool_forward, "avg_pool": avg_pool_forward, "dense": dense_forward,
    "flatten": flatten_forward, "batch_norm": batch_norm_forward, "add": add_forward, "concat": concat_forward,
    "rows": rows_forward, "last": last_forward, "rnn": rnn_forward, "lstm": lstm_forward,
    **{kind: curve(kind)[0] for kind in CURVES},
}
BACKWARD: dict[str, Any] = {
    "conv": conv_backward, "max_pool": max_pool_backward, "avg_pool": avg_pool_backward, "dense": dense_backward,
    "flatten": flatten_backward, "batch_norm": batch_norm_backward, "add": add_backward, "concat": concat_backward,
    "rows": rows_backward, "last": last_backward, "rnn": rnn_backward, "lstm": lstm_backward,
    **{kind: curve(kind)[1] for kind in CURVES},
}
_SUMS = tuple(f"{which}: {what}" for which in ("weight", "bias")
              for what in ("first example only", "last example only", "mean over the batch"))
_POSITIONS = tuple(f"{which}: {what}" for which in ("weight", "bias")
                   for what in ("mean over positions", "first position only", "last position only"))
MISTAKES: dict[str, tuple[str, ...]] = {
    "conv": ("kernel not flipped", "valid instead of full", "valid instead of full, zeros around", "channels not swapped",
             "stride not dilated", "stride not dilated, zeros at the end", "padding not cropped",
             "padding cropped at the end only", "padding cropped at the start only", "windows overwritten", "groups ignored",
             "bias forgotten", *_SUMS, *_POSITIONS),
    "max_pool": ("spread to all positions", "copied to all positions", "to all tied maxima", "last of tied maxima",
                 "windows overwritten"),
    "avg_pool": ("not divided",),
    "relu": ("derivative forgotten", "activation forgotten"),
    "tanh": ("derivative forgotten", "derivative at the output", "activation forgotten"),
    "sigmoid": ("derivative forgotten", "derivative at the output", "activation forgotten"),
    "dense": ("W not transposed", "bias forgotten", *_SUMS),
    "flatten": ("rows and columns swapped", "delta folded channels last", "flattened column by column",
                "flattened channels last"),
    "batch_norm": ("mean and variance constant", "variance constant", "unbiased variance"),
    "add": ("to the first branch only", "to the second branch only", "doubled"),
    "concat": ("cut in the wrong order",),
    "rows": (),
    "last": (),
    "rnn": ("truncated at one step", "derivative of tanh forgotten", "recurrent W not transposed"),
    "lstm": ("truncated at one step", "forget gate's path missing"),
    LOSS: ("sign flipped", "labels off by one", "softmax derivative twice", "not divided by the batch"),
}
