"""The activation atlas on a network whose layer is the image's colours, against loops, and refusals.

Turns red: in `responses/activation_atlas.py`, `means - found.vectors.mean(0)` -> `means` (test_classes…); in
`responses/_patches.py`, `.double().mean(2)` -> `.double().sum(2)` (test_slopes…); in `responses/_embedded.py`,
`side - 1 - y` -> `y` (test_cells…).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import draw
from convscope.data import Collection
from convscope.errors import Cancelled, DataError, UnknownName, UsageError
from convscope.images import Preprocess
from convscope.network import Network
from convscope.responses._canvas import canvas_of
from convscope.responses._cut import Cut
from convscope.responses._embedded import cells
from convscope.responses._patches import frequent, sampled, slopes, whitening
from convscope.responses._study import Study
from convscope.responses.activation_atlas import ActivationAtlas
from convscope.results import Picture
from convscope.synthesis.loop import Ascent
from convscope.synthesis.objective import Direction, Place, Seen
from tests.contracts.leaves import same
from tests.contracts.studies import BROKEN, studied
from tests.contracts.studies import study as swept
from tests.traces import unchanged

COLOURS = np.array([(230, 20, 20), (20, 230, 20), (20, 20, 230)], np.uint8)
WEIGHTS = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 4.0]])
QUICK: dict[str, Any] = {"grid": 3, "layout": "pca", "steps": 24, "judged": 8, "size": 8}


def quick(**more: Any) -> ActivationAtlas:
    return ActivationAtlas(**{**QUICK, **more})


class Colour(nn.Module):
    """`see` gives each pixel's colour (0 … 1) as it is; class k is the mean of colour k, weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.pool, self.fc = nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)
        with torch.no_grad():
            self.see.weight.copy_(torch.eye(3)[..., None, None])
            self.see.bias.zero_()  # type: ignore[union-attr]
            self.fc.weight.copy_(WEIGHTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.see(x)).flatten(1))


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Twenty-four images, all of one colour each but for a little noise."""
    net = Network.open(Colour().eval(), (3, 8, 8), "colour")
    rng = np.random.default_rng(0)
    pixels = (COLOURS[np.arange(24) % 3][:, None, None] + rng.integers(0, 20, (24, 8, 8, 3))).astype(np.uint8)
    images = Collection("colours", tuple(map(str, range(24))), np.arange(24) % 3, ("r", "g", "b"), lambda i: (pixels[i], ()),
                        np.full(24, 192))  # fmt: skip
    return swept(net, images, Preprocess(), ("see",), tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def atlas(colours: Study) -> Picture:
    return quick()(colours, "see")


def test_pictures_show_what_is_in_their_cell(colours: Study, atlas: Picture) -> None:
    assert atlas.tiles.shape == (9, 8, 8, 3)
    assert atlas.units == ("0,0", "0,1", "0,2", "1,0", "1,1", "1,2", "2,0", "2,1", "2,2")
    drawn = np.flatnonzero(atlas.values["count"] >= 2)
    assert len(drawn) >= 3
    seen: set[int] = set()
    for c in drawn:
        own = int(colours.collection.labels[atlas.values["image"][c]])
        assert atlas.tiles[c, 4, 4].argmax() == own  # the middle, which the objective looks at
        others = np.delete(atlas.tiles[c, 4, 4].astype(int), own)
        assert int(atlas.tiles[c, 4, 4, own]) - others.max() > 100
        seen.add(own)
    assert seen == {0, 1, 2}
    assert (atlas.tiles[atlas.values["count"] < 2] == 255).all()
    assert atlas.values["count"].sum() == 24 * 4
    np.testing.assert_allclose(atlas.values["density"].sum(), 1)
    assert (atlas.values["cosine"][drawn] > 0.9).all()
    assert np.isnan(atlas.values["cosine"][atlas.values["count"] < 2]).all()


def test_classes_are_the_colours_and_by_how_much(colours: Study, atlas: Picture) -> None:
    drawn = np.flatnonzero(atlas.values["count"] >= 2)
    for c in drawn:
        assert atlas.values["class"][c] == str(colours.collection.labels[atlas.values["image"][c]])
    exact = slopes(colours, "see", np.arange(24), np.arange(3))
    assert exact is not None
    np.testing.assert_allclose(exact, WEIGHTS.numpy() / 64, atol=1e-7)  # a position is one of 64 of the mean
    only = quick(grid=1, positions=64)(colours, "see")  # one cell: all vectors, hence their mean
    np.testing.assert_allclose(only.values["argues"], 0, atol=1e-9)


def test_slopes_are_those_of_small_steps() -> None:
    _, study, embed = studied("residual")
    layer, images, net = embed[0], np.array([0, 3]), study.net
    classes, _ = frequent(study, images)
    found = slopes(study, layer, images, classes)
    assert found is not None
    x = torch.stack([torch.from_numpy(study.preprocess(study.collection[int(i)])) for i in images]).double()
    step, u = 1e-3, 1
    cut, total = Cut(net, layer, x.float()), np.zeros(len(classes))
    positions = cut.value[0, 0].numel()
    for p in range(positions):

        def moved(value: Tensor, by: float, p: int = p) -> Tensor:
            value = value.clone(memory_format=torch.contiguous_format)
            value.view(len(value), value.shape[1], -1)[:, u, p] += by
            return value

        up, down = (cut.after(lambda v, by=by: moved(v, by)) for by in (step, -step))
        total += ((up - down) / (2 * step)).double().mean(0).numpy()[classes]
    np.testing.assert_allclose(found[:, u], total / positions, rtol=0.05, atol=2e-3)


def test_one_vector_at_a_time(colours: Study) -> None:
    found = sampled(colours, "see", np.arange(5, 12), 3, 7)
    alone = sampled(colours, "see", np.array([9]), 3, 7)
    at = found.image == 9
    assert found.position[at].tolist() == alone.position.tolist()  # whoever else is looked at
    assert sampled(colours, "see", np.array([9]), 3, 8).position.tolist() != alone.position.tolist()
    x = colours.preprocess(colours.collection[9])
    for vector, position in zip(alone.vectors, alone.position, strict=True):
        y, column = divmod(int(position), 8)
        np.testing.assert_allclose(vector, x[:, y, column], rtol=1e-6)


def test_whitening_takes_away_what_all_share() -> None:
    rng = np.random.default_rng(0)
    vectors = np.abs(rng.normal(size=(50, 3))) + np.array([5, 0, 0])
    second: Any = sum(np.outer(v, v) for v in vectors) / 50
    level = 0.01 * sum(second[i, i] for i in range(3)) / 3
    found = whitening(vectors, 0.01)
    np.testing.assert_allclose(found @ (second + level * np.eye(3)), np.eye(3), atol=1e-10)
    direction = vectors[0] @ found
    assert abs(direction[0]) < abs(direction[1:]).max()


def test_cells_from_the_top_left_and_far_points_in_the_rim() -> None:
    points = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2)
    points = np.concatenate([points, [[1e6, -1e6]]])
    found = cells(points, 2)
    slow = [(0 if y >= 10 else 2) + (1 if x >= 10 else 0) for x, y in points]
    inner = (abs(points - 9.5) > 1).all(1)  # the middle line lies between the percentiles, not at 9.5 exactly
    assert found[inner].tolist() == np.array(slow)[inner].tolist()
    assert found[-1] == 3


def test_a_direction_at_the_middle_only() -> None:
    _, study, embed = studied("plain")
    value = torch.randn(2, 6, 5, 5)
    layer = embed[0]
    seen = Seen((study.net,), {Place(0, layer): value}, (5, 5))
    v = np.arange(6.0)
    whole = Direction(layer, v).score(seen)
    np.testing.assert_allclose(whole, torch.einsum("buyx,u->b", value, torch.arange(6.0)) / 25, rtol=1e-4, atol=1e-5)
    middle = Direction(layer, v, centred=True).score(seen)
    assert any(torch.allclose(middle, torch.einsum("bu,u->b", value[:, :, y, x], torch.arange(6.0)))
               for y in (1, 2, 3) for x in (1, 2, 3))  # fmt: skip


def test_directions_are_whitened_means(colours: Study, atlas: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    climbed: list[Any] = []

    class Watched(Ascent):
        def __call__(self, wanted: Any, progress: Any = None) -> Any:
            climbed.extend(wanted)
            return super().__call__(wanted, progress)

    monkeypatch.setattr("convscope.responses.activation_atlas.Ascent", Watched)
    again = quick()(colours, "see")
    drawn = np.flatnonzero(again.values["count"] >= 2)
    found = sampled(colours, "see", np.arange(24), 4, 0)
    second = np.einsum("mu,mv->uv", found.vectors, found.vectors) / 96
    second += 0.05 * second.trace() / 3 * np.eye(3)
    for c, one in zip(drawn, climbed, strict=True):
        same_colour = colours.collection.labels[found.image] == colours.collection.labels[again.values["image"][c]]
        wanted = np.linalg.solve(second, found.vectors[same_colour].mean(0))
        cosine = one.objective.vector @ wanted / np.linalg.norm(wanted)
        assert cosine > 0.99  # the colour's vectors may lie in two cells
        assert (one.objective.power, one.objective.centred, one.objective.layer) == (2.0, True, "see")


def test_same_seed_same_bits_tsne_and_its_progress(colours: Study) -> None:
    method = ActivationAtlas(grid=2, iterations=25, steps=2, size=8, judged=2, positions=2)
    told: list[tuple[int, int, str]] = []
    first = method(colours, "see", lambda *at: told.append(at))
    with unchanged(Colour().eval()):
        assert same(first, method(colours, "see"))
    assert {what for _, _, what in told} == {"t-SNE", "steps"}
    assert told[-1][0] == told[-1][1]
    assert "laid out by t-SNE of directions, perplexity 15.7, 25 iterations" in first.notes

    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled(f"{what} {done} of {total}")

    with pytest.raises(Cancelled, match="t-SNE 25 of 275"):
        method(colours, "see", stop)


def test_what_was_sampled_and_left_out_is_said(colours: Study) -> None:
    found = quick(most=10, positions=3, least=10, steps=1)(colours, "see")
    count = found.values["count"]
    few = int(((count > 0) & (count < 10)).sum())
    assert found.notes[0] == "sampled: 10 of 24 images"
    assert found.notes[1] == "30 vectors, 3 positions an image, seed 0"
    drawn, empty, lost = int((count >= 10).sum()), int((count == 0).sum()), int(count[count < 10].sum())
    assert few > 0
    words = f"{drawn} of 9 cells drawn; empty: {empty}; fewer than 10 vectors: {few} (with {lost} vectors)"
    assert words in found.notes
    assert "classes by slopes averaged over 8 images and all positions" in found.notes
    assert "pictures of 8×8 px" in found.notes
    _, study, embed = studied("plain")
    broken = ActivationAtlas(grid=2, layout="pca", steps=1, judged=2)(study, embed[0])
    assert broken.notes[0] == "all 15 images"
    assert BROKEN not in broken.values["image"]


def test_many_classes_only_the_frequent_are_asked_about(colours: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.responses._patches.NAMED", 2)
    classes, note = frequent(colours, np.arange(24))
    assert len(classes) == 2
    assert note == "classes: the 2 of 3 that are most often among the five best answers"


@pytest.mark.parametrize(("parameters", "kind", "sentence"), [
    ({"grid": 3, "least": 50}, DataError, r"no cell of 3×3 has 50 of 96 vectors; the fullest has \d+; use a smaller grid"),
    ({"most": 1, "positions": 2}, DataError, "an atlas of 2 vectors says nothing; see must answer at 5 positions"),
    ({"layout": "umap"}, UsageError, "umap"),
])  # fmt: skip
def test_refused(colours: Study, parameters: Any, kind: Any, sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        quick(**parameters)(colours, "see")


def test_sizes_that_cannot_be(colours: Study) -> None:
    with pytest.raises(UnknownName, match="no layer named 'sea'"):
        quick()(colours, "sea")
    with pytest.raises(UsageError, match="pictures of 9×9 px; colour takes 8×8; leave the size out"):
        quick(size=9)(colours, "fc")
    _, study, _ = studied("plain")
    last = [a for a in study.record.facts.layers if canvas_of(study, a, 0, 0).cut.any_size][-1]
    with pytest.raises(UsageError, match=rf"pictures of 1×1 px; {last} has no position there; ask for larger ones"):
        canvas_of(study, last, 1, 0)


def test_drawn_without_gaps_with_its_classes(atlas: Picture, tmp_path: Path) -> None:
    figure = draw.figure(atlas)
    written = [t.get_text() for t in figure.texts]
    drawn = atlas.values["count"] >= 2
    assert sum(t in ("0", "1", "2") for t in written) >= drawn.sum()
    assert f"{drawn.sum()} of 9 cells drawn, each 8×8 px" in " ".join(written)
    assert figure.axes[0].images[0].get_array().shape[:2] == (24, 24)  # type: ignore[union-attr]
    assert atlas.save(tmp_path / "atlas.png").stat().st_size > 1000
    assert "density" in draw.text(atlas, 120)
