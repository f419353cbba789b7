"""An image from the gradient that it made: what sharing gradients (federated training) gives away.

    G = ∂loss(f_θ(x), y)/∂θ      x̂ = argmin ‖∂loss(f_θ(x̂), ŷ)/∂θ − G‖² / ‖G‖²        by L-BFGS, from several random starts

Zhu, Liu, Han 2019, "Deep leakage from gradients". The class comes first: ∂loss/∂b of the last layer is softmax − 1 at the
true class and positive elsewhere (Zhao, Mopuri, Bilen 2020, "iDLG"). Where the first layer is dense with a bias, no search
is needed: ∂loss/∂W_u = δ_u·x and ∂loss/∂b_u = δ_u give x = ∂W_u/∂b_u exactly (Phong et al. 2017).

Of a network that reads keyed images it gives the *keyed* image: a further attack on the key makes the picture of it. It is
for one image: gradients averaged over a batch hold less. Smooth activations leak more than ReLU: kinks stop the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from convscope.errors import UsageError
from convscope.keys.filters import PASSING
from convscope.network import Network

Gradients = dict[str, Tensor]
Progress = Callable[[int, int, str], None]
ENOUGH = 1e-9  # relative distance of the gradients at which no other start is tried


@dataclass(frozen=True)
class Leak:
    """What a gradient gives away: the input (1, C, H, W) float64, its class, and how near its own gradient comes."""

    x: NDArray[np.float64]
    label: int
    distance: float  # ‖Ĝ − G‖²/‖G‖²
    how: str


def gradient(net: Network, x: Tensor, label: int) -> Gradients:
    """∂loss/∂θ of one image (1, C, H, W) and its class, by name of the parameter: what a member of a federation shares."""
    parameters, buffers = _tensors(net)
    value = _loss(net, parameters, buffers, x.double(), torch.tensor([label]))
    return dict(zip(parameters, torch.autograd.grad(value, list(parameters.values()), allow_unused=False), strict=True))


def leak(net: Network, shared: Gradients, starts: int = 4, iterations: int = 150, seed: int = 0,
         progress: Progress | None = None) -> Leak:
    """The image behind a shared gradient. Errors: UsageError where the network has no bias that tells the class."""
    label = _label(net, shared)
    exact = _dense_first(net, shared)
    if exact is not None:
        return Leak(exact, label, 0.0, "closed form: the first layer is dense with a bias")
    parameters, buffers = _tensors(net)
    target, wanted = list(shared.values()), torch.tensor([label])
    size = sum(float(g.square().sum()) for g in target) or 1.0
    draw = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor] | None = None
    start = 0
    for start in range(starts):
        x = torch.rand((1, *net.input_shape[1:]), generator=draw, dtype=torch.float64).requires_grad_()
        optimizer = torch.optim.LBFGS([x], max_iter=iterations, history_size=50, tolerance_grad=1e-14,
                                      tolerance_change=1e-16, line_search_fn="strong_wolfe")

        def distance(x: Tensor = x, create: bool = True) -> Tensor:
            value = _loss(net, parameters, buffers, x, wanted)
            found = torch.autograd.grad(value, list(parameters.values()), create_graph=create)
            return torch.stack([(a - b).square().sum() for a, b in zip(found, target, strict=True)]).sum() / size

        def closure(x: Tensor = x, distance: Callable[[], Tensor] = distance) -> Tensor:
            value = distance()
            x.grad = torch.autograd.grad(value, x)[0]
            return value

        optimizer.step(closure)
        reached = float(distance(create=False))
        if np.isfinite(reached) and (best is None or reached < best[0]):
            best = (reached, x.detach())
        if progress is not None:
            progress(start + 1, starts, f"gradient leakage, distance {reached:.2g}")
        if best is not None and best[0] < ENOUGH:
            break
    if best is None:
        raise UsageError(f"the gradient of {net.name} leads nowhere", f"all {starts} starts ended in NaN",
                         "take another seed")
    return Leak(best[1].numpy(), label, best[0], f"search from {start + 1} of {starts} starts, seed {seed}")


def _tensors(net: Network) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of the parameters that want a gradient, and of the buffers, in float64."""
    if net.module is None:
        raise UsageError(f"{net.name} cannot be asked for gradients of its weights", "it was opened without a module",
                         "open it from its code")
    parameters = {k: v.detach().double().requires_grad_() for k, v in net.module.named_parameters()}
    buffers = {k: v.detach().double() if v.is_floating_point() else v.detach() for k, v in net.module.named_buffers()}
    return parameters, buffers


def _loss(net: Network, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
    assert net.module is not None
    with torch.enable_grad():
        output = functional_call(net.module, {**parameters, **buffers}, (x,))
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise UsageError(f"{net.name} is no classifier", "its output is not (B, K)", "give a network with class scores")
        return F.cross_entropy(output, label)


def _label(net: Network, shared: Gradients) -> int:
    """The class whose bias wants to rise."""
    classes = net.output.output_shape[-1]
    biases = [g for g in shared.values() if tuple(g.shape) == (classes,)]
    if not biases or int((biases[-1] < 0).sum()) != 1:
        raise UsageError(f"the gradient of {net.name} does not tell the class",
                         "no bias of the last layer has exactly one negative entry",
                         "the attack is for classifiers whose last layer has a bias, and for one image at a time")
    return int(biases[-1].argmin())


def _dense_first(net: Network, shared: Gradients) -> NDArray[np.float64] | None:
    """x = ∂W_u/∂b_u of the unit with the largest ∂b_u, where a dense layer with a bias reads the image."""
    first = next((layer for layer in net.layers if layer.operator not in PASSING), None)
    shape = net.input_shape[1:]
    if first is None or first.operator != "linear" or first.input_shapes[0][1:] != (int(np.prod(shape)),):
        return None
    weight, bias = (shared.get(f"{first.module}.{name}" if first.module else name) for name in ("weight", "bias"))
    if weight is None or bias is None or not float(bias.abs().max()):
        return None
    unit = int(bias.abs().argmax())
    return (weight[unit] / bias[unit]).reshape(1, *shape).numpy()
