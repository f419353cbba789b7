"""The ascent: seeds, batches, Adam, frames.

Turns red: in `loop.generator`, `f"{seed} {name}"` -> `name`; in `Ascent._groups`, drop the filling up; in `Ascent._climb`,
`1 - DECAYS[0] ** step` -> `1`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from convscope.errors import UsageError
from convscope.images import PRESETS
from convscope.synthesis.colours import IMAGENET
from convscope.synthesis.image import Image, Reading
from convscope.synthesis.loop import Ascent, Wanted, generator
from convscope.synthesis.objective import Activity, Channel, Neuron, Spread
from convscope.synthesis.shake import Shake
from tests.contracts.leaves import opened
from tests.traces import unchanged

READ = Reading(PRESETS["imagenet"], 3)
UNITS = [Wanted(f"conv2/{u}", Channel("conv2", u)) for u in range(8)]


def ascent(**changed: object) -> Ascent:
    settings = {"steps": 6, "batch": 4, **changed}
    return Ascent((opened("plain")[2],), Image("fourier", (16, 16), IMAGENET), READ, **settings)  # type: ignore[arg-type]


def test_a_picture_does_not_depend_on_its_batch() -> None:
    """Bit-equal at one batch size, in whichever company and place."""
    all_of_them = ascent()(UNITS).images
    for start in (1, 3, 4):
        some = ascent()(UNITS[start : start + 4]).images
        assert torch.equal(some, all_of_them[start : start + 4])
    assert [len(group) for group in ascent()._groups(UNITS[:6])] == [4, 4]  # the last batch is filled up
    odd = ascent()(UNITS[:6]).images
    assert torch.equal(odd, all_of_them[:6])
    reverse = ascent()(UNITS[::-1]).images.flip(0)
    assert torch.equal(reverse, all_of_them)
    one = ascent(batch=1)(UNITS).images  # another size: other rounding, the same picture
    assert (one - all_of_them).abs().max() < 1e-3


def test_seeds_and_names_decide() -> None:
    first = ascent(seed=1)(UNITS[:2]).images
    assert torch.equal(first, ascent(seed=1)(UNITS[:2]).images)
    assert not torch.equal(first, ascent(seed=2)(UNITS[:2]).images)
    draws = {tuple(torch.rand(2, generator=generator(seed, name)).tolist()) for seed in range(5) for name in ("a", "b")}
    assert len(draws) == 10


def test_no_trace() -> None:
    model, x, _ = opened("plain")
    with unchanged(model, x):
        ascent()(UNITS[:3])
    with unchanged(model, x), pytest.raises(KeyError):
        ascent()([Wanted("none", _Failing("conv2", 0))])
    with unchanged(model, x), torch.no_grad():  # it finds its gradients wherever it is called
        ascent(steps=1)(UNITS[:1])


class _Failing(Channel):
    def score(self, seen: object) -> Tensor:
        raise KeyError


def test_the_step_is_adams() -> None:
    """Against torch's own, on the same gradients: no shaking, one image."""
    net = opened("plain")[2]
    image = Image("pixels", (16, 16), IMAGENET)
    found = Ascent((net,), image, READ, Shake(0, 0, 0, 0), steps=12, rate=0.05)(UNITS[:1])
    theta = image.start([generator(0, "conv2/0#0")]).requires_grad_()
    adam = torch.optim.Adam([theta], lr=0.05)
    for _ in range(12):
        adam.zero_grad()
        (-net.run(READ(image.make(theta)), keep=["conv2"], grad=True)["conv2"][:, 0].mean()).backward()
        adam.step()
    assert (found.images - image.make(theta.detach())).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["fourier", "pixels", "phase"])
def test_objectives_rise(kind: str) -> None:
    net = opened("plain")[2]
    found = Ascent((net,), Image(kind, (16, 16), IMAGENET), READ, steps=40)([Wanted("a", Neuron("conv2", 0)),
                                                                            Wanted("b", Activity("conv1"))])
    assert (found.scores[-5:].mean(0) > found.scores[:5].mean(0)).all()
    down = Ascent((net,), Image(kind, (16, 16), IMAGENET), READ, steps=40)([Wanted("a", -Neuron("conv2", 0))])
    assert down.scores[-5:].mean() > down.scores[:5].mean()


def test_variants_that_are_told_to_differ_differ_more() -> None:
    net = opened("plain")[2]
    alike = []
    for weight in (0.0, 10.0):
        goal = Channel("conv2", 1) + weight * Spread("conv2")
        found = Ascent((net,), Image("fourier", (16, 16), IMAGENET), READ, steps=40)([Wanted("a", goal, 3)])
        assert len(found.images) == 3
        value = net.run(READ(found.images).contiguous(), keep=["conv2"])["conv2"].flatten(2)
        grams = torch.nn.functional.normalize(torch.einsum("bup,bvp->buv", value, value).flatten(1), dim=1)
        alike.append(float((grams @ grams.T).triu(1).sum()))
    assert alike[1] < alike[0]


def test_frames_a_start_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    given = torch.full((1, 3, 16, 16), 0.3)
    found = ascent(every=2, start=given, rate=1e-6)(UNITS, lambda done, total, what: seen.append((done, total)))
    assert len(found.frames) == 3
    assert torch.equal(found.frames[-1], found.images)
    assert (found.images - 0.3).abs().max() < 0.06
    assert seen == [(i, 12) for i in range(1, 13)]
    assert found.scores.shape == (6, 8)


def test_nothing_wanted_is_refused() -> None:
    with pytest.raises(UsageError, match="an ascent without objectives; nothing is to grow; name a unit"):
        ascent()([])


def test_progress_may_stop_it() -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    model, x, _ = opened("plain")
    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        ascent()(UNITS[:1], stop)
