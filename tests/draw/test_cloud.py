"""cloud: every point is drawn once in its class's look, the unknown are grey, counts add up, one length on both axes.

Mutations that turn it red: `rows` -> `rows[1:]` in the scatter; `set_aspect` dropped; `label < 0` sorted first.
"""

from __future__ import annotations

import re

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from convscope import draw
from convscope.draw import cloud as drawer
from convscope.draw import colours
from convscope.results import Cloud

RNG = np.random.default_rng(0)


def cloud(classes: int, n: int = 300) -> Cloud:
    labels = np.r_[np.arange(classes), RNG.integers(-1, classes, n - classes)]
    return Cloud(points=RNG.normal(size=(n, 2)), ids=tuple(map(str, range(n))), labels=labels, axes=("one", "two"),
                 classes=tuple(f"class {i}" for i in range(classes)), notes=("sampled: 300 of 60,000 images, seed 0",))


def groups(result: Cloud) -> list[PathCollection]:
    return [c for c in result.plot().axes[0].collections if isinstance(c, PathCollection)]


def test_every_point_is_drawn_once_in_the_colour_of_its_class() -> None:
    result = cloud(3)
    drawn = groups(result)
    assert [to_hex(g.get_facecolor()[0]) for g in drawn] == [*colours.CLASSES[:3], "#b0b0b0"]
    for label, group in zip((0, 1, 2, -1), drawn, strict=True):
        wanted = result.points[result.labels == label]
        assert sorted(np.asarray(group.get_offsets()).tolist()) == sorted(wanted.tolist())


def test_looks_differ_as_long_as_they_can_and_the_rest_is_said_to_be_grey() -> None:
    result = cloud(60)
    looks = {drawer._look(i, "x") for i in range(drawer.MOST)}
    assert len(looks) == drawer.MOST == 48
    found = " ".join(t.get_text() for t in result.plot().texts)
    assert "grey: 13 more classes" in found
    assert "class 47" in found
    assert "class 48" not in found


def test_axes_have_names_and_one_length() -> None:
    ax = cloud(2).plot().axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("one", "two")
    assert ax.get_aspect() == 1


def test_the_listing_counts_every_point() -> None:
    text = draw.text(cloud(3), 100)
    counts = [int(re.split(r"  +", line)[1]) for line in text.splitlines()[3:7]]
    assert sum(counts) == 300
    assert text.splitlines()[6].startswith("unknown")
    assert "x: one · y: two" in text
    assert "sampled: 300 of 60,000 images, seed 0" in text


def test_points_without_labels_are_one_group() -> None:
    result = Cloud(points=RNG.normal(size=(5, 2)), ids=tuple("abcde"))
    assert len(groups(result)) == 1
    assert draw.text(result, 80).splitlines()[3].split()[:2] == ["all", "5"]
    assert drawer.records(result)[1][0][3:] == [-1, "unknown"]


def test_a_label_without_a_name_has_its_number() -> None:
    result = Cloud(points=np.zeros((1, 2)), ids=("a",), labels=np.array([7]))
    assert drawer.records(result)[1][0][4] == "class 7"
