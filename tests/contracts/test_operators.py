"""What every operation promises, over all of them by discovery.

Turns red if a class loses its formula, its docstring's example or its ATen names, or if forward of any works in place.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope import operators
from convscope.operators import Operator
from tests.operators.against_torch import numbers, several

ALL = operators.all_operators()
LINE = (2, 4, 6)

STATS = np.array([0.5, 1.0, 1.5, 2.0])

# How to make and feed those that need more than cls() and one array (2, 4, 6): settings, then shapes or arrays.
EXAMPLES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "Conv": ({"padding": 1, "groups": 2}, (LINE, (6, 2, 3), (6,))),
    "ConvTranspose": ({"stride": 2, "groups": 2}, (LINE, (4, 3, 3), (6,))),
    "Linear": ({}, ((2, 4), (3, 4), (3,))),
    "AddMM": ({"alpha": 0.5}, ((3,), (2, 4), (4, 3))),
    "MatMul": ({}, ((2, 3, 4), (2, 4, 5))),
    "Attention": ({}, ((2, 3, 4),) * 3),
    "MaxPool": ({"kernel_size": 3, "padding": 1}, (LINE,)),
    "MaxUnpool": ({"output_size": (9,)}, ((1, 1, 3), np.array([[[1, 4, 8]]]))),
    "AvgPool": ({"kernel_size": 3, "padding": 1, "ceil_mode": True}, (LINE,)),
    "AdaptiveAvgPool": ({"output_size": 4}, (LINE,)),
    "AdaptiveMaxPool": ({"output_size": 4}, (LINE,)),
    "GlobalPool": ({"kind": "amax", "dim": (2,)}, (LINE,)),
    "Pad": ({"pad": (1, 2), "mode": "reflect"}, (LINE,)),
    "Upsample": ({"scale_factors": 1.5, "mode": "linear"}, (LINE,)),
    "PixelShuffle": ({"upscale_factor": 2}, ((2, 4, 3, 3),)),
    "PixelUnshuffle": ({"downscale_factor": 2}, ((2, 4, 4, 4),)),
    "ChannelShuffle": ({"groups": 2}, (LINE,)),
    "Reshape": ({"shape": (2, -1)}, (LINE,)),
    "Unflatten": ({"dim": 1, "sizes": (2, 2)}, (LINE,)),
    "Unsqueeze": ({"dim": 1}, (LINE,)),
    "Permute": ({"dims": (0, 2, 1)}, (LINE,)),
    "Slice": ({"dim": 1, "start": 1}, (LINE,)),
    "Select": ({"dim": 1, "index": 1}, (LINE,)),
    "Split": ({"sizes": 3, "dim": 1}, (LINE,)),
    "Concat": ({"dim": 1}, (LINE, LINE)),
    "Stack": ({"dim": 1}, (LINE, LINE)),
    **{name: ({}, (LINE, (4, 1))) for name in ("Add", "Sub", "RSub", "Mul", "Div")},
    "BatchNorm": ({}, (LINE, (4,), (4,), (4,), STATS)),
    "InstanceNorm": ({}, (LINE, (4,), (4,))),
    "LayerNorm": ({"normalized_shape": (6,)}, (LINE, (6,), (6,))),
    "GroupNorm": ({"num_groups": 2}, (LINE, (4,), (4,))),
    "LocalResponseNorm": ({"size": 3}, (LINE,)),
    "PReLU": ({}, (LINE, (4,))),
    "Clamp": ({"min": -0.5, "max": 1.0}, (LINE,)),
    "Sqrt": ({}, (STATS,)),
    "RMSNorm": ({"normalized_shape": (6,)}, (LINE, (6,))),
    "Dropout": ({}, (LINE, np.arange(48).reshape(LINE) % 3 > 0)),
    "MeanSquaredError": ({}, (LINE, LINE)),
    "BinaryCrossEntropy": ({}, (STATS / 4, STATS / 2)),
    "BinaryCrossEntropyWithLogits": ({}, ((4,), STATS / 2)),
    "NegativeLogLikelihood": ({}, ((2, 4), np.array([1, 3]))),
    "CrossEntropy": ({}, ((2, 4), np.array([1, 3]))),
    "RNN": ({}, ((3, 2, 4), (1, 2, 5), (5, 4), (5, 5), (5,), (5,))),
    "GRU": ({}, ((3, 2, 4), (1, 2, 5), (15, 4), (15, 5), (15,), (15,))),
    "LSTM": ({}, ((3, 2, 4), (1, 2, 5), (1, 2, 5), (20, 4), (20, 5), (20,), (20,))),
}


def example(cls: type[Operator], dtype: Any = np.float64) -> tuple[Operator, list[Any]]:
    """An operator and read-only arrays for it."""
    settings, given = EXAMPLES.get(cls.__name__, ({}, (LINE,)))
    arrays = [a.copy() if isinstance(a, np.ndarray) else numbers(i, *a) for i, a in enumerate(given)]
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    for a in arrays:
        a.flags.writeable = False  # whoever writes into an input raises
    return cls(**settings), arrays


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_it_explains_itself(cls):
    doc = inspect.getdoc(cls) or ""
    assert "?" in doc.split("\n")[0], "the first line is the question"
    assert ">>>" in doc, "an example that runs"
    assert cls.formula, "a formula in one line"
    assert "\n" not in cls.formula
    source = Path(inspect.getsourcefile(cls) or "").read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "the file opens with formula and source"
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_graphs_know_it_or_a_reason_is_given(cls):
    if cls.aten:
        assert all(operators.for_aten(name) is cls for name in cls.aten), "two classes claim one name"
        return
    lines = inspect.getsource(cls).splitlines()
    assert any("aten" in line and "#" in line for line in lines), "aten is empty: a comment says why"


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_parameters_are_among_its_arrays(cls):
    assert set(cls.learned) <= set(cls.arrays)
    assert cls.arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_inputs_stay_and_the_type_of_numbers_stays(cls, dtype):
    operator, arrays = example(cls, dtype)
    results = several(operator.forward(*arrays))
    deltas = tuple(np.ones_like(y) for y in results)
    for delta in deltas:
        delta.flags.writeable = False
    gradients = operator.backward(deltas if len(deltas) > 1 else deltas[0], *arrays)
    assert len(gradients) == len(arrays)
    assert {r.dtype for r in (*results, *gradients) if r is not None} == {np.dtype(dtype)}
    assert results[0].shape == operator.output_shape(*(a.shape for a in arrays))
    assert [g.shape for g in gradients if g is not None] == [
        a.shape for a, g in zip(arrays, gradients, strict=True) if g is not None]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_counts_are_whole_numbers_and_windows_one_per_axis(cls):
    operator, arrays = example(cls)
    shapes = [a.shape for a in arrays]
    assert isinstance(operator.macs(*shapes), int)
    assert isinstance(operator.parameters(*shapes), int)
    x = shapes[cls.arrays.index("x")] if "x" in cls.arrays else shapes[0]
    assert len(operator.windows(*shapes)) in (max(len(x) - 2, 0), 0)


def test_nobody_speaks_for_an_unknown_operation():
    assert operators.for_aten("made_up") is None
    assert operators.read("made_up", {}, ()) is None
