"""Every ATen name of the window, dense and shape operations, found in a really exported graph, read, and run on its numbers.

Turns red if in upsample.py `"exact" in name` becomes `"exactly" in name`, or if a class forgets one of its ATen names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from convscope import operators
from convscope.layers import op_name, tensor_arguments
from tests.operators.against_torch import close

LINE, MAP, BLOCK = (2, 4, 9), (2, 4, 8, 6), (2, 4, 4, 4, 6)
SPACE = {1: LINE, 2: MAP, 3: BLOCK}


def layer(name: str, rank: int, *arguments: Any, **named: Any) -> nn.Module:
    """nn.Conv2d(…) from ('Conv', 2, …), with weights that do not touch torch's own random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(nn, f"{name}{rank}d")(*arguments, **named)


def functional(name: str, rank: int) -> Callable[..., Tensor]:
    return getattr(F, f"{name}{rank}d")


def unpooled(x: Tensor, rank: int) -> Tensor:
    values, indices = functional("max_pool", rank)(x, 2, return_indices=True)
    return functional("max_unpool", rank)(values, indices, 2)


CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "linear": (lambda x, w, b: F.linear(x, w, b), ((2, 3, 5), (4, 5), (4,))),
    "addmm": (lambda b, x, w: torch.addmm(b, x, w, alpha=2), ((4,), (3, 5), (5, 4))),
    "matmul": (lambda x, y: x @ y, ((2, 3, 4, 5), (5, 6))),
    "mm": (torch.mm, ((3, 4), (4, 5))),
    "bmm": (torch.bmm, ((2, 3, 4), (2, 4, 5))),
    "mv": (torch.mv, ((3, 4), (4,))),
    "dot": (torch.dot, ((4,), (4,))),
    "scaled_dot_product_attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), ((2, 3, 4, 5),) * 3),
    "mean": (lambda x: x.mean((2, 3), keepdim=True), (MAP,)),
    "mean of all": (lambda x: x.mean(), (MAP,)),
    "sum": (lambda x: x.sum(-1), (MAP,)),
    "sum of all": (lambda x: x.sum(), (MAP,)),
    "amax": (lambda x: x.amax((2, 3)), (MAP,)),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1)), (MAP,)),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 0, 1), "reflect"), (MAP,)),
    "constant_pad_nd": (lambda x: torch.ops.aten.constant_pad_nd(x, [1, 1], 2.0), (MAP,)),
    "upsample_linear1d": (lambda x: F.interpolate(x, size=7, mode="linear"), (LINE,)),
    "upsample_bilinear2d": (lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), (MAP,)),
    "upsample_bilinear2d aligned": (lambda x: F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=True), (MAP,)),
    "upsample_trilinear3d": (lambda x: F.interpolate(x, scale_factor=1.5, mode="trilinear"), (BLOCK,)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (MAP,)),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), ((2, 3, 4, 6),)),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (MAP,)),
    "add": (lambda x, y: torch.add(x, y, alpha=2) + 1.5, (MAP, (4, 1, 1))),
    "sub": (lambda x, y: torch.sub(x, y, alpha=2) - 1.5, (MAP, (4, 1, 1))),
    "rsub": (lambda x, y: torch.rsub(x, y, alpha=2) + (1 - x), (MAP, MAP)),
    "mul": (lambda x, y: 2 * (x * y), (MAP, (2, 4, 1, 1))),
    "div": (lambda x, y: x / y / 3 + torch.div(x, y, rounding_mode="floor"), (MAP, MAP)),
    "cat": (lambda x, y: torch.cat([x, y], 1), (MAP, MAP)),
    "stack": (lambda x, y: torch.stack([x, y], 1), (MAP, MAP)),
    "view": (lambda x: x.flatten(1), (MAP,)),
    "_unsafe_view": (lambda x: x.permute(0, 2, 3, 1).reshape(2, -1), (MAP,)),
    "view in groups": (lambda x: x.unflatten(1, (2, 2)).reshape(2, 2, -1), (MAP,)),
    "unsqueeze": (lambda x: x.unsqueeze(1), (MAP,)),
    "squeeze": (lambda x: x.squeeze(1), ((2, 1, 3),)),
    "squeeze all": (lambda x: x.squeeze(), ((2, 1, 3),)),
    "squeeze some": (lambda x: x.squeeze((1, 3)), ((2, 1, 3, 1),)),
    "permute": (lambda x: x.permute(0, 2, 3, 1), (MAP,)),
    "transpose": (lambda x: x.transpose(1, -1), (MAP,)),
    "t": (lambda x: x.t(), ((2, 3),)),
    "slice": (lambda x: x[:, 1:, ::2], (MAP,)),
    "select": (lambda x: x[:, -1], (MAP,)),
    "unbind": (lambda x: torch.unbind(x, 1)[0], (MAP,)),
    "split": (lambda x: x.split(3, 1)[0], (MAP,)),
    "split_with_sizes": (lambda x: x.split([1, 3], 1)[0], (MAP,)),
    "split chunks": (lambda x: x.chunk(2, 1)[0], (MAP,)),
}
for _r, _shape in SPACE.items():
    CASES |= {
        f"conv{_r}d": (layer("Conv", _r, 4, 6, 3, stride=2, padding=1, groups=2), (_shape,)),
        f"conv{_r}d same": (layer("Conv", _r, 4, 6, 3, padding="same", dilation=2, bias=False), (_shape,)),
        f"conv_transpose{_r}d": (layer("ConvTranspose", _r, 4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
                                 (_shape,)),
        f"max_pool{_r}d": (layer("MaxPool", _r, 3, 2, 1, ceil_mode=True), (_shape,)),
        f"max_pool{_r}d_with_indices": (lambda x, r=_r: functional("max_pool", r)(x, 2, return_indices=True)[0],
                                         (_shape,)),
        f"avg_pool{_r}d": (layer("AvgPool", _r, 3, 2, 1, ceil_mode=True, count_include_pad=False), (_shape,)),
        f"adaptive_avg_pool{_r}d": (layer("AdaptiveAvgPool", _r, 3), (_shape,)),
        f"adaptive_max_pool{_r}d": (layer("AdaptiveMaxPool", _r, 3), (_shape,)),
        f"upsample_nearest{_r}d": (lambda x: F.interpolate(x, scale_factor=2.0), (_shape,)),
        f"_upsample_nearest_exact{_r}d": (lambda x, r=_r: F.interpolate(x, size=(5, 6, 7)[:r], mode="nearest-exact"),
                                          (_shape,)),
    }
for _r in (2, 3):
    CASES |= {
        f"max_unpool{_r}d": (lambda x, r=_r: unpooled(x, r), (SPACE[_r],)),
    }
for _flag in (False, True):
    CASES["convolution" + " transposed" * _flag] = (
        lambda x, w, f=_flag: torch.convolution(x, w, None, [1, 1], [0, 0], [1, 1], f, [0, 0], 1), (MAP, (4, 4, 2, 2)))

# Claimed, but spelled otherwise (pad, view, …) in graphs of torch 2.13; older exports hold them.
NOT_SEEN = {"reshape", "chunk", "flatten", "unflatten", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
            *(f"{kind}_pad{r}d" for kind in ("reflection", "replication") for r in SPACE)}
OURS = {"adaptive_pool", "add", "attention", "avg_pool", "concat", "conv", "conv_transpose", "global_pool", "linear",
        "matmul", "max_pool", "max_unpool", "mul", "pad", "permute", "pixel_shuffle", "reshape", "slice", "split",
        "upsample"}


class _Walk(fx.Interpreter):
    """Runs a graph; every call is also read as an operator and computed by it. Notes the names that it met."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.met: set[str] = set()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        name = op_name(n)
        if n.op != "call_function" or name in ("getitem", "clone"):
            return result
        tensors, settings = tensor_arguments(n)
        arrays = [self.env[t].detach().numpy() for t in tensors if t is not None]
        shapes = tuple(a.shape for a in arrays)
        operator = operators.read(name, settings, shapes)
        assert operator is not None, f"nobody speaks for {name}"
        first = result[0] if isinstance(result, (tuple, list)) else result
        close(operator.forward(*arrays), first.detach().numpy(), name)
        assert operator.output_shape(*shapes) == tuple(first.shape)
        assert len(operator.windows(*shapes)) <= max(len(shape) for shape in shapes)
        assert operator.macs(*shapes) >= 0
        self.met.add(name)
        return result


def walk(function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...]) -> set[str]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = function if isinstance(function, nn.Module) else None

        def forward(self, *inputs: Tensor) -> Any:
            return function(*inputs)

    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'", UserWarning)
        program = torch.export.export(Net().double().eval(), inputs, strict=False).run_decompositions({})
    left = iter(inputs)
    known = {**program.state_dict, **program.constants}
    arguments = [known[s.target] if s.target in known else next(left) for s in program.graph_signature.input_specs]
    graph = _Walk(program.graph_module)
    with torch.no_grad():
        graph.run(*arguments)
    return graph.met


@pytest.mark.parametrize("case", CASES)
def test_a_call_is_read_and_computes_what_the_graph_computed(case):
    assert case.split()[0] in walk(*CASES[case])


def test_every_name_that_is_claimed_has_a_case():
    claimed = {name for cls in operators.all_operators() if cls.__module__.rsplit(".", 1)[1] in OURS for name in cls.aten}
    assert claimed - NOT_SEEN == {case.split()[0] for case in CASES}
