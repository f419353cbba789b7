"""Results of every kind with awkward contents: NaN, empty axes, odd dtypes, names that would break markup."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from convscope.geometry import Field
from convscope.results import (
    Cloud,
    Finding,
    Findings,
    Grid,
    Heatmap,
    Layer,
    Line,
    Origin,
    Picture,
    Receipt,
    Result,
    Run,
    Size,
    Steps,
    Table,
    Terms,
    Trace,
)

NASTY = "<script>alert('$\\frac$ [bold]')</script> \x1b[31m 猫"
ORIGIN = Origin("Occlusion(window=16)", "3f9ac1d0", "aa12", 7, {"convscope": "0.1.0"})


def varied(seed: int) -> list[Result]:
    """One result of each kind, contents drawn from `seed`."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    return [trace(rng, n), heatmap(rng, n), picture(rng, n), table(rng, n), cloud(rng, n), run(rng, n),
            steps(rng, n), findings(rng, n), receipt(rng)]


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


def steps(rng: np.random.Generator, n: int, side: int = 3) -> Steps:
    """A window of `n` channels over a corner, so that some of it lies in the padding."""
    window, kernel = rng.normal(size=(2, n, side, side))
    window[:, 0] = window[:, :, 0] = 0
    at = np.indices(window.shape).reshape(3, -1).T
    terms = Terms("x[0]", "weight[2]", at - [0, 1, 1], at, window.ravel(), kernel.ravel())
    value = float(terms.products.sum())
    crops = tuple(rng.integers(0, 256, (int(rng.integers(1, 6)), 4, 3)).astype(np.uint8) for _ in range(n))
    return Steps(title="conv1/2@0,0: one output", layer="conv1", operator="conv2d", direction="forward", at=(0, 2, 0, 0),
                 formula="y = Σ x · w", lines=(Line("Σ of the products", value), Line(f"y = {value:.6g}", value)),
                 value=value, check=value + 1e-13, terms=terms, crops=crops,
                 grids=(Grid("window of x", window, (0, -1, -1), (1, 1, 1), ((0, 1, 1),), (n, 9, 9)),
                        Grid("gate", rng.normal(size=n)), Grid("y", rng.normal(size=(4, 5)).astype("f4"), (3, 2), (1, 2),
                                                              ((1, 1), (0, 2)))),
                 captions=tuple(f"image {i}" for i in range(n)),
                 table={"image": np.arange(n), "gradient": rng.normal(size=n)}, units={"gradient": "∂L/∂w"},
                 notes=("a note",), origin=ORIGIN)


def findings(rng: np.random.Generator, n: int) -> Findings:
    found = tuple(Finding(("error", "advice", "fine", "unknown")[i % 4], "∂L/∂x is wrong", f"conv{i}",
                          {"largest difference": float(rng.normal()), "tried": "23 mistakes"}, "the kernel is not flipped",
                          "flip it", "flipped, it fits") for i in range(n))
    return Findings(title="verify Net", findings=found, units={"difference": "largest, relative"}, notes=("a note",),
                    checked={"array": np.array([f"conv{i}" for i in range(n)]), "difference": rng.random(n)}, origin=ORIGIN)


def receipt(rng: np.random.Generator) -> Receipt:
    n = int(rng.integers(0, 5))
    rows = {k: np.array([f"{k}{i}" for i in range(n)], dtype=str) for k in ("layer", "before", "after")}
    sizes = [Size(*(int(k) for k in rng.integers(0, 10**7, 3)), (3, 32, 32), (10,)) for _ in range(2)]
    return Receipt(title="net: remove", changes=("conv2 is gone",), before=sizes[0], after=sizes[1], rows=rows,
                   drift={"largest difference": float(rng.random())}, drift_on="5 images", code="net.conv2 = nn.Identity()",
                   source="import torch\n", notes=("a note",), origin=ORIGIN)


def empty() -> list[Result]:
    """Results of every kind with nothing in them."""
    return [Trace(name="", input_shape=(1, 3, 2, 2), layers=()), Table(columns={}), Run(steps={}, epochs={}),
            Heatmap(values=np.zeros((0, 1, 4, 4)), images=np.zeros((0, 4, 4, 3), np.uint8), targets=(), scores=np.zeros(0)),
            Picture(tiles=np.zeros((0, 3, 3)), units=()), Cloud(points=np.zeros((0, 2)), ids=()),
            Steps(title="", layer="", operator="", direction="forward", at=(), formula="", lines=(), value=0.0, check=0.0,
                  grids=(Grid("none", np.zeros((0, 2))),),
                  terms=Terms("", "", np.zeros((0, 2), int), np.zeros((0, 2), int), np.zeros(0), np.zeros(0))),
            Findings(title="", findings=()),
            Receipt(title="", changes=(), before=Size(0, 0, 0, (), ()), after=Size(0, 0, 0, (), ()))]


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
        nasty_steps(),
        Findings(title=NASTY, findings=(Finding(NASTY, NASTY, NASTY, {NASTY: NASTY}, NASTY, NASTY, NASTY),), notes=(NASTY,),
                 checked={NASTY: np.array([NASTY])}, units={NASTY: NASTY}),
        Receipt(title=NASTY, changes=(NASTY,), before=Size(1, 1, 1, (1,), (1,)), after=Size(1, 1, 1, (1,), (1,)),
                rows={k: np.array([NASTY]) for k in ("layer", "before", "after")}, drift={NASTY: 1.0}, drift_on=NASTY,
                code=NASTY, source=NASTY, notes=(NASTY,)),
    ]


def nasty_steps() -> Steps:
    """Numbers that are none, and words that would be markup."""
    at = np.indices((2, 2)).reshape(2, -1).T
    broken = np.array([np.nan, np.inf, -np.inf, 1e-300])
    return Steps(title=NASTY, layer=NASTY, operator=NASTY, direction=NASTY, at=(0,), formula=NASTY,
                 lines=(Line(NASTY, np.nan), Line(f"{NASTY} = 5", -np.inf)), value=np.nan, check=1.0,
                 grids=(Grid(NASTY, broken.reshape(2, 2), (-1, -1)), Grid(NASTY, np.array(0.5)),
                        Grid(NASTY, np.ones((1, 2, 1, 2, 2)), marked=((0, 0, 0, 1, 1),))),
                 terms=Terms(NASTY, NASTY, at, at[::-1], np.ones(4), broken),
                 crops=(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 2, 3), np.uint8)), captions=(NASTY, NASTY),
                 table={NASTY: np.array([NASTY])}, units={NASTY: NASTY}, notes=(NASTY,))
