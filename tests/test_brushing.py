"""brushing: what a stroke covers, the painted image, and classes equal to those of a full pass.

Mutations that turn it red: `done, image = (), self.x` left out of `painted` (an undone stroke stays);
`low = np.minimum(start, end)` without `- stroke.radius`; `changed(image)` -> `changed(self.x)`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope import brushing, run
from convscope.brushing import Easel, Stroke, covered
from convscope.errors import UsageError


@pytest.fixture(scope="module")
def easel() -> Easel:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3),
                          nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))  # fmt: skip
    names = [f"class {k}" for k in "abcdefg"]
    net = cs.open(model.eval(), (3, 20, 26), preprocess={"mean": [0.5], "std": [0.25]}, classes=names)
    return Easel(net, torch.randn(1, 3, 20, 26, generator=torch.Generator().manual_seed(1)))


def naive(stroke: Stroke, height: int, width: int) -> np.ndarray:
    """Every pixel against every piece of the line, from the definition."""
    mask = np.zeros((height, width), bool)
    points = [np.array(p) for p in stroke.points]
    pieces = list(itertools.pairwise(points)) or [(points[0], points[0])]
    for i in range(height):
        for j in range(width):
            centre = np.array([j + 0.5, i + 0.5])
            for a, b in pieces:
                along = np.linspace(0, 1, 2001)[:, None] * (b - a) + a
                mask[i, j] |= np.sqrt(((centre - along) ** 2).sum(1)).min() <= stroke.radius + 1e-6
    return mask


@pytest.mark.parametrize("stroke", [
    Stroke("grey", 2.3, ((5.0, 5.0),)), Stroke("grey", 1.7, ((1.0, 1.0), (9.0, 4.0), (2.0, 9.0))),
    Stroke("grey", 3.1, ((-4.0, 3.0), (14.0, 3.5))), Stroke("grey", 0.5, ((2.0, 2.0), (2.0, 2.0), (5.0, 2.0))),
])  # fmt: skip
def test_covered_pixels(stroke: Stroke) -> None:
    assert np.array_equal(covered(stroke, 10, 12), naive(stroke, 10, 12))


def test_strokes_far_away_cover_nothing() -> None:
    assert not covered(Stroke("grey", 4.0, ((-90.0, 3.0), (500.0, -40.0))), 10, 12).any()


def test_classes_are_those_of_a_full_pass(easel: Easel) -> None:
    painted = [Stroke("grey", 3.0, ((4.0, 4.0), (15.0, 9.0))), Stroke("blur", 4.0, ((20.0, 15.0),)),
               Stroke("noise", 2.0, ((3.0, 17.0),))]  # fmt: skip
    answer = easel.answer(painted, check=True)
    image = easel.painted(tuple(painted))
    whole = run.run(easel.net, image).output.softmax(1)[0]
    for row in answer["classes"]:
        assert row["now"] == pytest.approx(float(whole[row["index"]]), abs=1e-6)
    assert answer["check"]["difference"] < 1e-5
    assert answer["classes"][0]["index"] == int(easel.before.argmax())
    assert any(abs(row["now"] - row["before"]) > 1e-4 for row in answer["classes"])
    assert 0 < answer["painted"] < 0.5
    assert "check" not in easel.answer(painted)


def test_the_painted_image(easel: Easel) -> None:
    first, second, back = (Stroke(f, 3.0, ((8.0, 8.0),)) for f in ("mean", "grey", "image"))
    inside = torch.from_numpy(covered(first, 20, 26))
    one = easel.painted((first,))
    assert torch.equal(one[:, :, ~inside], easel.x[:, :, ~inside])
    assert torch.allclose(one[0, :, inside], easel.x.mean((2, 3))[0, :, None].expand(-1, int(inside.sum())))
    two = easel.painted((first, second))
    assert torch.allclose(two[0, :, inside], torch.zeros(3, int(inside.sum())))  # mid-grey is 0 under this preprocessing
    assert torch.equal(easel.painted((first,)), one)  # a step back
    assert torch.equal(easel.painted((first, second, back)), easel.x)
    assert torch.equal(easel.painted(()), easel.x)


def test_pictures_of_every_fill(easel: Easel) -> None:
    pictures = easel.pictures(lambda x: np.clip(np.moveaxis(x, 0, -1) * 64 + 128, 0, 255).astype(np.uint8))
    assert set(pictures) == set(brushing.FILLS)
    assert all(content[:4] == b"\x89PNG" for content in pictures.values())


@pytest.mark.parametrize(("asked", "words"), [
    ("x", "strokes are a list of at most 500; got 'x'"),
    ([{}] * 501, "strokes are a list of at most 500; got 501"),
    ([3], "a stroke's fill is one of grey, mean, blur, noise, image; got 3"),
    ([{"fill": "red"}], "got 'red'"),
    ([{"fill": "grey", "radius": 0, "points": [[1, 1]]}], "a stroke's radius is 0.5 … 512 pixels; got 0"),
    ([{"fill": "grey", "radius": True, "points": [[1, 1]]}], "got True"),
    ([{"fill": "grey", "radius": 3, "points": []}], "a stroke's points are pairs of finite numbers; got []"),
    ([{"fill": "grey", "radius": 3, "points": [[1, "2"]]}], "pairs of finite numbers"),
    ([{"fill": "grey", "radius": 3, "points": [[1, 1e99]]}], "pairs of finite numbers"),
    ([{"fill": "grey", "radius": 3, "points": [[1, 2]] * 20_001}], "at most 20,000 points in all"),
])  # fmt: skip
def test_what_is_no_stroke(asked: Any, words: str) -> None:
    with pytest.raises(UsageError) as told:
        brushing.strokes(asked)
    assert words in str(told.value)
