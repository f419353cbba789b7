"""The learned way back, and the inverter that it shares with the one-way option.

Turns red: in `keys/inverter.py`, `torch.optim.Adam(net.parameters()` over no parameters · `fork_rng` left out · in
`learned_inverse.py`, `.transpose(0, 2, 1)` left out.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.errors import UsageError
from convscope.keys import inverter
from convscope.keys.inverter import Effort, Inverter
from convscope.keys.key import KINDS, Key
from convscope.keys.known import Known, quality
from convscope.keys.learned_inverse import _maps, by_learning
from tests.keys.sets import digits


@pytest.mark.parametrize("kind", KINDS)
def test_better_than_knowing_the_mean(kind: str) -> None:
    x, key = digits(), Key.new(kind, 4, (1, 8, 8), 1)
    own, plain = x[200:500], x[:100]
    state = torch.get_rng_state()
    rebuilt = by_learning(key(plain), Known(kind, 4, plain=own, keyed=key(own)), effort=Effort(150))
    assert torch.equal(state, torch.get_rng_state())
    floor = np.median(quality(plain, np.broadcast_to(own.mean(0), plain.shape))["psnr"])
    assert np.median(quality(plain, rebuilt.images)["psnr"]) > floor + 6
    assert rebuilt.notes == ("learned inverse: 300 pairs, 150 steps of 64, seed 0",)
    again = by_learning(key(plain), Known(kind, 4, plain=own, keyed=key(own)), effort=Effort(150))
    np.testing.assert_array_equal(rebuilt.images, again.images)


def test_the_linear_part_alone_can_undo_a_key() -> None:
    """A set to the inverse of the key, everything else to zero: exact. So the network can hold every block-wise key."""
    key, x = Key.new("orthogonal", 2, (1, 8, 8), 0), digits()[:5]
    net = Inverter((4, 4, 4), (1, 8, 8), 8)
    with torch.no_grad():
        for p in [*net.linear.parameters(), *net.deep.parameters()]:
            p.zero_()
        net.linear.weight.copy_(torch.from_numpy(key._secret.T)[..., None, None])
    np.testing.assert_allclose(inverter.rebuilt(net, _maps(key(x), 2)), x, atol=1e-6)


@pytest.mark.parametrize(("maps", "out"), [((3, 4, 4), (1, 8, 8)), ((5, 1, 1), (3, 6, 4)), ((2, 3, 5), (1, 10, 13))])
def test_images_have_their_size_whatever_the_maps(maps: tuple[int, int, int], out: tuple[int, int, int]) -> None:
    net = inverter.trained(torch.rand(6, *maps), torch.rand(6, *out), Effort(2, width=4))
    found = inverter.rebuilt(net, torch.rand(3, *maps))
    assert found.shape == (3, *out)
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_what_it_cannot_do_without() -> None:
    with pytest.raises(UsageError, match=r"a way back is learned from pairs; got \(0, 1, 1, 1\)"):
        by_learning(digits()[:2], Known("orthogonal", 4))
    with pytest.raises(UsageError, match=r"an inverter learns from pairs; 1 maps and 1 images"):
        inverter.trained(torch.rand(1, 2, 4, 4), torch.rand(1, 1, 8, 8))
