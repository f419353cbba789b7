"""Results of every kind with awkward contents: NaN, empty axes, odd dtypes, names that would break markup."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from convscope.geometry import Field
from convscope.results import Cloud, Heatmap, Layer, Origin, Picture, Result, Run, Table, Trace

NASTY = "<script>alert('$\\frac$ [bold]')</script> \x1b[31m 猫"
ORIGIN = Origin("Occlusion(window=16)", "3f9ac1d0", "aa12", 7, {"convscope": "0.1.0"})


def varied(seed: int) -> list[Result]:
    """One result of each kind, contents drawn from `seed`."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    return [trace(rng, n), heatmap(rng, n), picture(rng, n), table(rng, n), cloud(rng, n), run(rng, n)]


def trace(rng: np.random.Generator, n: int) -> Trace:
    layers = []
    for i in range(n):
        field = Field(None if rng.random() < 0.2 else int(rng.integers(1, 99)), Fraction(int(rng.integers(1, 9)), 2),
                      Fraction(-int(rng.integers(9)), 3), bool(rng.random() < 0.8))
        layers.append(Layer(
            address=f"layer{i // 2}.{i}.conv", operator="conv2d", input_shapes=((1, 3, 9, 9),),
            output_shape=(1, 4 + i, 7, 7), parents=("input",), parameters=int(rng.integers(10**6)),
            macs=int(rng.integers(10**10)), saved=None if rng.random() < 0.3 else int(rng.integers(10**7)),
            fields=None if rng.random() < 0.3 else (field, Field()),
            settings={"kernel_size": [3, 3], "stride": [1, 1], "scale": float(rng.normal()), "mode": None, "pad": (1, (2,))},
            source="net.py:1 in forward: return 'x'", unit_axis=1))
    return Trace(name="Net", input_shape=(1, 3, 9, 9), layers=tuple(layers), notes=("a note",), origin=ORIGIN)


def heatmap(rng: np.random.Generator, n: int, size: tuple[int, int] = (6, 5)) -> Heatmap:
    values = rng.normal(size=(n, 2, *size)).astype(rng.choice(["f2", "f4", "f8", ">f8"]))
    values[0, 0, 0, 0] = np.nan
    return Heatmap(values=values, images=rng.integers(0, 256, (n, *size, 3)).astype(np.uint8), scores=rng.random(n),
                   targets=tuple(f"{i} tabby" for i in range(n)), proof={"gap": float("nan"), "sum": -0.0, "how": "exact"},
                   notes=("a note",), origin=ORIGIN)


def picture(rng: np.random.Generator, n: int) -> Picture:
    return Picture(tiles=rng.normal(size=(n, 3, 4)), units=tuple(f"conv/{i}" for i in range(n)), title="filters",
                   signed=True, values={"norm": rng.random(n).astype("f4"), "top": rng.integers(0, 9, (n, 3))},
                   origin=ORIGIN)


def table(rng: np.random.Generator, n: int) -> Table:
    columns: dict[str, Any] = {
        "unit": np.arange(n), "name": np.array([f"ü{i}" for i in range(n)]), "dead": rng.random(n) < 0.5,
        "max": rng.normal(size=n) * 10.0 ** rng.integers(-9, 9), "top": rng.integers(0, 99, (n, 9)).astype("i2"),
        "none": np.zeros((n, 0)),
    }
    return Table(columns=columns, units={"max": "largest activation"}, title="units", notes=("a note",), origin=ORIGIN)


def cloud(rng: np.random.Generator, n: int) -> Cloud:
    return Cloud(points=rng.normal(size=(n, 2)).astype("f4"), ids=tuple(f"digits/{i:04}" for i in range(n)),
                 labels=rng.integers(-1, 3, n), classes=("zero", "one", "two"), title="PCA", axes=("first", "second"),
                 origin=ORIGIN)


def run(rng: np.random.Generator, n: int) -> Run:
    steps = {"step": np.arange(4 * n), "epoch": np.repeat(np.arange(n), 4), "loss": rng.random(4 * n)}
    epochs = {"epoch": np.arange(n), "loss": rng.random(n), "accuracy": rng.random(n), "held_out_accuracy": rng.random(n)}
    settings = {"rate": 0.1, "schedule": None, "seeds": (1, 2), "big": 10**30, "half": Fraction(1, 2), "np": np.float32(0.1),
                "sizes": {3: "three"}}
    return Run(steps=steps, epochs=epochs, settings=settings, origin=ORIGIN)


def empty() -> list[Result]:
    """Results of every kind with nothing in them."""
    return [Trace(name="", input_shape=(1, 3, 2, 2), layers=()), Table(columns={}), Run(steps={}, epochs={}),
            Heatmap(values=np.zeros((0, 1, 4, 4)), images=np.zeros((0, 4, 4, 3), np.uint8), targets=(), scores=np.zeros(0)),
            Picture(tiles=np.zeros((0, 3, 3)), units=()), Cloud(points=np.zeros((0, 2)), ids=())]


def nasty() -> list[Result]:
    """Results of every kind whose words try to be markup, formulas or terminal commands."""
    one = np.ones(1)
    layer = Layer(address=NASTY, operator=NASTY, input_shapes=((1, 3, 2, 2),), output_shape=(1, 3), parents=())
    return [
        Trace(name=NASTY, input_shape=(1, 3, 2, 2), layers=(layer,), notes=(NASTY,)),
        Table(columns={NASTY: np.array([NASTY])}, units={NASTY: NASTY}, title=NASTY, notes=(NASTY,)),
        Run(steps={}, epochs={NASTY: one}, settings={NASTY: NASTY}, notes=(NASTY,)),
        Heatmap(values=np.ones((1, 1, 4, 4)), images=np.zeros((1, 4, 4, 3), np.uint8), targets=(NASTY,), scores=one,
                unit=NASTY, proof={NASTY: NASTY}, notes=(NASTY,)),
        Picture(tiles=np.ones((1, 3, 3)), units=(NASTY,), title=NASTY, values={NASTY: one}, notes=(NASTY,)),
        Cloud(points=np.zeros((1, 2)), ids=(NASTY,), labels=np.zeros(1, int), classes=(NASTY,), title=NASTY,
              axes=(NASTY, NASTY), notes=(NASTY,)),
    ]
