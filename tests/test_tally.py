"""A layer's running numbers against brute force: exact ranking, moments, quantiles; shards merge to the same bits.

Turns red: in `Tally._rank`, `scores >= self.value` -> `scores > self.value`; in `Tree._put`, `if index % 2 == 0` -> `if
True`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convscope import tally
from convscope.tally import Tally, Tree, bin_edges, bin_of, quantiles

K = 5


def maps(n: int, units: int, h: int, w: int, seed: int, levels: int = 0) -> Tensor:
    """(N, U, h, w), negative and positive; with few `levels` there are many ties."""
    x = torch.randn(n, units, h, w, generator=torch.Generator().manual_seed(seed))
    return (x * levels).round() / levels if levels else x


def filled(
    x: Tensor, batch: int, labels: np.ndarray | None = None, classes: int = 0, order: list[int] | None = None
) -> Tally:
    """A tally of all images in batches, taken in any order of batches."""
    made = Tally(x.shape[1], K, classes)
    y = np.full(len(x), -1) if labels is None else labels
    for b in order if order is not None else range(-(-len(x) // batch)):
        at = np.arange(b * batch, min((b + 1) * batch, len(x)))
        made.update(x[at], b, at, y[at])
    return made


def strongest(x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brute force: by falling value, then rising image number; the first position of the maximum."""
    flat = x.flatten(2).numpy()
    best, where = flat.max(2), flat.argmax(2)
    order = np.lexsort((np.broadcast_to(np.arange(len(x))[:, None], best.shape), -best), axis=0)[:K].T
    units = np.arange(x.shape[1])[:, None]
    return best[order, units], order, where[order, units]


@given(
    n=st.integers(K, 40),
    batch=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([0, 1, 2]),
    backwards=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_strongest_are_exactly_those(n: int, batch: int, seed: int, levels: int, backwards: bool) -> None:
    x = maps(n, 3, 2, 3, seed, levels)
    batches = list(range(-(-n // batch)))
    got = filled(x, batch, order=batches[::-1] if backwards else None)
    value, image, position = strongest(x)
    assert np.array_equal(got.value, value)
    assert np.array_equal(got.image, image)
    assert np.array_equal(got.position, position)


def test_constant_maps_go_to_the_first_images_and_positions() -> None:
    got = filled(torch.zeros(20, 2, 3, 3), 4, order=[4, 2, 0, 1, 3])
    assert got.image.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert got.position.tolist() == [[0] * K] * 2


def test_channels_last_maps_give_the_same() -> None:
    x = maps(12, 6, 5, 4, 1)
    a, b = filled(x, 5), filled(x.contiguous(memory_format=torch.channels_last), 5)
    assert all(np.array_equal(v, b.state()[k]) for k, v in a.state().items() if k != "tree" and not k.startswith("tree/"))
    assert np.array_equal(a.position, b.position)


def test_fewer_images_than_places() -> None:
    got = filled(maps(3, 2, 2, 2, 0), 2)
    assert (got.image[:, 3:] == -1).all()
    assert np.isneginf(got.value[:, 3:]).all()


@pytest.mark.parametrize("shape", [(37, 4, 3, 5), (37, 4, 1, 1), (37, 4, 40, 40)])
def test_moments_against_double_precision(shape: tuple[int, ...]) -> None:
    x = maps(*shape, seed=2) * 3 + 5
    total = filled(x, 8).tree.total()
    assert total is not None
    wide = x.double().movedim(1, 0).flatten(1)
    assert np.allclose(total["mean"], wide.mean(1), rtol=1e-6)
    assert np.allclose(total["m2"] / total["count"], wide.var(1, unbiased=False), rtol=1e-5)
    assert (total["count"] == wide.shape[1]).all()
    assert np.array_equal(filled(x, 8).minimum, x.movedim(1, 0).flatten(1).amin(1))


def test_class_means_leave_unknown_labels_out() -> None:
    x, labels = maps(30, 2, 3, 3, 3), np.arange(30) % 4 - 1
    total = filled(x, 7, labels, classes=3).tree.total()
    assert total is not None
    for k in range(3):
        mine = x[labels == k].double().mean((2, 3))
        assert np.allclose(total["class_sum"][k], mine.sum(0), rtol=1e-6)
        assert total["class_count"][k] == len(mine)


@given(
    n=st.integers(1, 60), batch=st.integers(1, 7), cuts=st.lists(st.integers(0, 60), max_size=2), seed=st.integers(0, 10**6)
)
@settings(max_examples=40, deadline=None)
def test_shards_merge_to_the_bits_of_one_process(n: int, batch: int, cuts: list[int], seed: int) -> None:
    x = maps(n, 2, 3, 3, seed)
    labels = np.arange(n) % 3 - 1
    whole = filled(x, batch, labels, 2)
    batches = list(range(-(-n // batch)))
    at = sorted(min(c, len(batches)) for c in cuts)
    parts = [batches[a:b] for a, b in zip([0, *at], [*at, len(batches)], strict=True)]
    shards = [filled(x, batch, labels, 2, part) for part in parts]
    for shard in shards[1:]:
        shards[0].merge(shard)
    assert same(whole, shards[0])


def test_the_order_of_batches_changes_no_bit() -> None:
    x = maps(41, 8, 4, 4, 7)  # thirds, so that sums of doubles do round
    assert same(filled(x, 3), filled(x, 3, order=list(range(13, -1, -1))))


def same(a: Tally, b: Tally) -> bool:
    one, two = a.state(), b.state()
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def test_disk_and_back_changes_no_bit_and_can_go_on() -> None:
    x = maps(40, 3, 4, 4, 5)
    half, back = filled(x, 4, order=[0, 1, 2, 3, 4]), Tally(3, K, 0)
    back.restore({k: v.copy() for k, v in half.state().items()})
    assert same(half, back)
    for b in range(5, 10):
        back.update(x[b * 4 : b * 4 + 4], b, np.arange(b * 4, b * 4 + 4), np.full(4, -1))
    assert same(back, filled(x, 4))


def test_the_state_does_not_grow_with_the_images() -> None:
    sizes = [sum(v.nbytes for v in filled(maps(n, 3, 2, 2, 0), 2).state().values()) for n in (64, 1024)]
    assert sizes[1] <= sizes[0] + 4 * 8 * 3 * 3  # four more levels of the tree
    tree = Tree()
    for i in range(1000):
        tree.add(i, {"count": np.ones(1), "mean": np.zeros(1), "m2": np.zeros(1)})
    assert len(tree.parts) == bin(1000).count("1")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(max_examples=300, deadline=None)
def test_every_value_lies_in_its_bin(value: float) -> None:
    edges, at = bin_edges(), int(bin_of(torch.tensor([value]))[0])
    low, high = edges[at], edges[at + 1]
    if value == 0:
        assert low == high == 0
    elif 2.0**-16 <= abs(value) < 2.0**16:
        assert low <= value <= high
        assert (high - low) / max(abs(low), abs(high)) <= 1 / 8
    else:
        assert (at > tally.BINS // 2) == (value > 0)


def test_quantiles_are_within_their_promise() -> None:
    rng = np.random.default_rng(0)
    levels = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    for values in (
        rng.normal(size=20000),
        rng.lognormal(size=20000),
        rng.normal(size=20000) + 30,
        np.maximum(rng.normal(size=20000), 0),
    ):
        values = values.astype(np.float32)
        histogram = np.bincount(bin_of(torch.from_numpy(values)).numpy(), minlength=tally.BINS)[None]
        got, true = quantiles(histogram, levels)[0], np.quantile(values, levels, method="inverted_cdf")
        assert (np.abs(got - true) <= 0.0625 * np.abs(true) + 1e-4).all(), (got, true)
    assert np.isnan(quantiles(np.zeros((1, tally.BINS)), levels)).all()


def test_sampled_positions_depend_on_the_image_alone() -> None:
    x = maps(30, 3, 7, 7, 9)
    assert torch.equal(filled(x, 4).histogram, filled(x, 11).histogram)
    assert int(filled(x, 4).histogram.sum()) == 30 * 3 * tally.POSITIONS[0]


def test_not_a_number_is_not_the_strongest() -> None:
    x = maps(6, 1, 2, 2, 0)
    x[3] = torch.nan
    got = filled(x, 2)
    assert 3 not in got.image[0, :5].tolist()
