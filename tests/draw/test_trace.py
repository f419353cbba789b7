"""trace: totals are the sums of the printed rows; fields, shares and formulas are what geometry says.

Mutations that turn it red: `words.count(result.parameters)` from `len(rows)`; `prod` of the coverage replaced by `max`;
`stride` default 1 for pools in `formula`; `f.start` printed for `f.stride`. Of the backward pass: in `_backward.gradients`,
the batch axis kept (`shown = "×".join(…)` for all); `ways.setdefault(gradient.how, 1)`; `k.macs` for `k.backward_macs` in
`_backward_rows`; `layer.backward_macs` left out of `_backward.records`.
"""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from convscope import draw, geometry, store
from convscope.draw import _backward
from convscope.draw import trace as drawer
from convscope.geometry import Field
from convscope.results import Gradient, Layer, Trace
from tests.draw import samples

CONV = Layer(address="features.0", operator="conv2d", input_shapes=((1, 3, 224, 224),), output_shape=(1, 96, 55, 55),
             parents=(),
             settings={"kernel_size": [11, 11], "stride": [4, 4], "padding": [2, 2]},
             fields=(Field(195, Fraction(32), Fraction(-64)),) * 2)


def numbers(text: str, heading: str) -> tuple[list[int], int]:
    """The numbers printed under a heading: of the rows, and of the total."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("layer") and heading in line)
    end = lines[head].index(heading) + len(heading)
    found = [re.search(r"[\d,]+$", line[:end]) for line in lines[head + 2:]]
    total = next(i for i, line in enumerate(lines[head + 2:]) if line.startswith("total"))
    values = [int(m[0].replace(",", "")) for m in found[:total + 1] if m]
    return values[:-1], values[-1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_total_is_the_sum_of_the_rows(seed: int, width: int) -> None:
    result = samples.trace(np.random.default_rng(seed), 5)
    rows, total = numbers(draw.text(result, width), "parameters")
    assert len(rows) == 5
    assert sum(rows) == total == result.parameters
    text = draw.text(result, width).replace("\n", " ")
    assert f"in all: {result.parameters:,} parameters, {result.macs:,} MACs" in text
    assert "1 MAC = 2 FLOPs; biases and element-wise work not counted" in text


def test_saved_bytes_are_summed_only_when_all_were_measured() -> None:
    layers = (dataclasses.replace(CONV, saved=1500), dataclasses.replace(CONV, address="b", saved=500))
    result = Trace(name="n", input_shape=(1, 3, 224, 224), layers=layers)
    assert "2,000 bytes saved" in draw.text(result, 200)
    half = dataclasses.replace(result, layers=(layers[0], dataclasses.replace(layers[1], saved=None)))
    assert "bytes saved" not in draw.text(half, 200)
    assert "1.50 kB" in draw.text(half, 200)
    assert draw.text(half, 200).count("bytes kept for the backward pass") == 1  # the row that was measured needs its unit


def test_a_row_says_shape_field_share_and_formula() -> None:
    row = draw.text(Trace(name="alexnet", input_shape=(1, 3, 224, 224), layers=(CONV,)), 160).splitlines()[3]
    share = f"{100 * (195 / 224) ** 2:.0f} %"
    assert re.split(r"  +", row) == ["features.0", "conv2d", "96×55×55", "0", "0", "195×195 /32 −64", share,
                                     "⌊(224 + 2·2 − 11)/4⌋ + 1 = 55"]


@pytest.mark.parametrize(("fields", "said"), [
    (None, "–"), ((), "–"), ((Field(),) * 2, "1×1 /1 0"), ((Field(3), Field(5, Fraction(2), Fraction(-1))), "3×5 /1,2 0,−1"),
    ((Field(None), Field(7)), "all×7 /1 0"), ((Field(None),) * 2, "all×all"),
    ((Field(3, Fraction(1, 2), Fraction(-1, 2), aligned=False),) * 2, "3×3~ /1/2 −1/2")])
def test_fields_in_one_word(fields: tuple[Field, ...] | None, said: str) -> None:
    assert drawer.field(dataclasses.replace(CONV, fields=fields)) == said


def test_coverage_is_a_share_of_the_area() -> None:
    layer = dataclasses.replace(CONV, fields=(Field(5), Field(None)))
    assert drawer.coverage(layer, (1, 3, 10, 8)) == pytest.approx(0.5)
    assert drawer.coverage(dataclasses.replace(CONV, fields=None), (1, 3, 10, 8)) is None


def test_a_formula_is_only_given_where_it_holds() -> None:
    pool = dataclasses.replace(CONV, operator="max_pool2d", input_shapes=((1, 3, 13, 12),), output_shape=(1, 3, 6, 6),
                               settings={"kernel_size": 2, "ceil_mode": False})
    high, wide = (geometry.size_formula(n, 2, 2, 0, 1, 6) for n in (13, 12))
    assert drawer.formula(pool) == f"{high} × {wide}"
    for settings in ({}, {"kernel_size": [9, 9]}, {"kernel_size": [300, 300]}, {"kernel_size": [3], "padding": "same"}):
        assert drawer.formula(dataclasses.replace(pool, settings=settings)) == ""
    conv = dataclasses.replace(CONV, output_shape=(1, 8, 222, 222), settings={"kernel_size": [3, 3]})
    assert drawer.formula(conv) == geometry.size_formula(224, 3, 1, 0, 1, 222)
    assert drawer.formula(dataclasses.replace(conv, settings={"kernel_size": [3, 3], "transposed": True})) == ""


def test_names_are_those_that_people_use() -> None:
    layer = dataclasses.replace(CONV, operator="_native_batch_norm_legit_no_training")
    text = draw.text(Trace(name="n", input_shape=(1, 3, 224, 224), layers=(layer,)), 120)
    assert "batch_norm" in text
    assert "legit" not in text


def test_a_deep_network_is_drawn_on_one_sheet() -> None:
    layers = tuple(dataclasses.replace(CONV, address=f"layer{i}") for i in range(1500))
    figure = Trace(name="deep", input_shape=(1, 3, 224, 224), layers=layers).plot()
    assert figure.get_size_inches()[1] < 30
    places = sorted(t.get_position()[1] for t in figure.texts if t.get_text().startswith("layer"))
    assert min(np.diff(places)) * figure.get_size_inches()[1] > 0.11  # names do not lie on each other


# ---- with the backward pass ---------------------------------------------------------------------------------------------

WAYS = ("δ in full with the kernels flipped", "x correlated with δ")
BACK = dataclasses.replace(
    CONV, macs=500, saved=8, backward=(Gradient("x", (1, 3, 224, 224), WAYS[0], "full: 217 + 11 − 1 = 227", 700),
                                       Gradient("weight", (96, 3, 11, 11), WAYS[1], "227 − 217 + 1 = 11", 800)))
RELU = Layer(address="features.1", operator="relu", input_shapes=((1, 96, 55, 55),), output_shape=(1, 96, 55, 55),
             parents=("features.0",), saved=0, backward=(Gradient("x", (1, 96, 55, 55), "δ where x > 0"),))
MUTE = dataclasses.replace(RELU, address="features.2", operator="erfinv", backward=None)
THERE_AND_BACK = Trace(name="alexnet", input_shape=(1, 3, 224, 224), layers=(BACK, RELU, MUTE))


def test_every_gradient_has_a_line_beneath_its_layer() -> None:
    lines = [re.split(r"  +", line.strip()) for line in draw.text(THERE_AND_BACK, 120).splitlines()]
    at = lines.index(["features.0", "conv2d", "96×55×55", "96×55×55", "0", "500", "1.50 k", "8 B"])
    assert lines[at - 2] == ["layer", "operator", "output", "δ", "parameters", "MACs", "backward", "saved"]
    assert lines[at + 1:at + 9] == [
        ["y", "96×55×55", "500", "⌊(224 + 2·2 − 11)/4⌋ + 1 = 55"],
        ["∂L/∂x", "3×224×224", "700", "(1)", "full: 217 + 11 − 1 = 227"],
        ["∂L/∂weight", "96×3×11×11", "800", "(2)", "227 − 217 + 1 = 11"],
        ["features.1", "relu", "96×55×55", "96×55×55", "0", "0", "0", "0 B"],
        ["∂L/∂x", "96×55×55", "(3)"],
        ["features.2", "erfinv", "96×55×55", "96×55×55", "0", "0", "–", "0 B"],
        ["∂L/∂x", "–", "not shown: no operator speaks for this layer"],
        lines[at - 1],
    ]
    assert lines[at + 9] == ["total", "3 layers", "0", "500", "1.50 k", "8 B"]


def test_what_the_letters_and_numbers_mean_is_said_below() -> None:
    text = " ".join(draw.text(THERE_AND_BACK, 100).split())
    for way, number in zip((*WAYS, "δ where x > 0"), (1, 2, 3), strict=True):
        assert f"({number}) {way}" in text
    for said in ("δ = ∂L/∂y", "full = it goes over every edge", "zeros between", "MACs backward", "bytes kept for"):
        assert said in text
    assert "in all: 0 parameters, 500 MACs forward, 1,500 MACs backward, 8 bytes saved" in text
    pointwise = draw.text(dataclasses.replace(THERE_AND_BACK, layers=(RELU,)), 100)
    assert "full =" not in pointwise
    assert "receptive field" not in text  # the columns that explain it are not there


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_backward_pass_fits_its_terminal(width: int) -> None:
    lines = draw.text(THERE_AND_BACK, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("∂L/∂weight" in line for line in lines) >= 1


def test_a_parameter_of_the_inputs_shape_is_shown_whole() -> None:
    dense = Layer(address="fc", operator="linear", input_shapes=((1, 400),), output_shape=(1, 1), parents=("input",),
                  backward=(Gradient("x", (1, 400), "a"), Gradient("weight", (1, 400), "b"), Gradient("bias", (1,), "c")))
    assert [(name, shape) for name, shape, _ in _backward.gradients(dense)] == [
        ("∂L/∂x", "400"), ("∂L/∂weight", "1×400"), ("∂L/∂bias", "1")]


def test_files_hold_the_backward_pass(tmp_path: Path) -> None:
    header, rows = drawer.records(THERE_AND_BACK)
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [c["delta"] for c in cells] == ["96×55×55", "96×55×55", ""]
    assert [c["backward_macs"] for c in cells] == [1500, 0, ""]
    assert cells[0]["gradients"] == (f"∂L/∂x 3×224×224: {WAYS[0]} (full: 217 + 11 − 1 = 227); "
                                     f"∂L/∂weight 96×3×11×11: {WAYS[1]} (227 − 217 + 1 = 11)")
    assert store.read(THERE_AND_BACK.save(tmp_path / "t.npz")) == THERE_AND_BACK
    page = draw.html(THERE_AND_BACK)
    assert page.count('<tr class="below">') == 5
    assert all(way in page for way in ("∂L/∂weight", "96×3×11×11", WAYS[1]))
    assert '"of": "weight"' in THERE_AND_BACK.to_json()


def test_the_figure_shows_delta_and_gradients() -> None:
    figure = THERE_AND_BACK.plot()
    said = [t.get_text() for t in figure.texts]
    assert "δ = ∂L/∂y" in said
    assert "backward MACs, up to 1.50 k" in said
    assert "∂L/∂x 3×224×224 · ∂L/∂weight 96×3×11×11" in said
    assert "not shown" in said
    plain = [t.get_text() for t in Trace(name="n", input_shape=(1, 3, 224, 224), layers=(CONV,)).plot().texts]
    assert "δ = ∂L/∂y" not in plain
