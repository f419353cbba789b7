"""RISE against sums over its own masks, a linear network's exact answer, and its standard error against repetition.

Turns red: in `attributions/rise.py`, `open.square(), -2 * open` -> `open.square(), open`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attributions.rise import RISE
from convscope.errors import UsageError
from convscope.network import Network
from convscope.run import Target, target
from tests.attributions.cams import enlarged
from tests.contracts.leaves import opened
from tests.traces import unchanged

ERROR = "Monte-Carlo standard error of a pixel"


@pytest.mark.parametrize("centred", [True, False])
def test_same_as_the_papers_sum(centred: bool) -> None:
    model, x, net = opened("non_square")
    method = RISE(masks=40, grid=4, open=0.3, centred=centred, batch=7)
    found = method(net, x[:1], target(net, 2, x))
    masks = torch.cat(list(method.drawn(x)))[:, 0]
    scores = [float(model((x[0] * mask)[None])[0, 2].detach()) for mask in masks]
    mean = sum(scores) / 40 if centred else 0.0
    total = np.zeros(tuple(x.shape[2:]))
    for score, mask in zip(scores, masks.double().numpy(), strict=True):
        total += (score - mean) * mask
    np.testing.assert_allclose(found.map[0], total / (40 * 0.3), rtol=0, atol=1e-5 * np.abs(total).max())


def test_masks_are_enlarged_shifted_and_cut() -> None:
    """Each mask is a window of a grid one cell larger, enlarged bilinearly; the windows start anywhere in the first cell."""
    x = torch.zeros(1, 1, 12, 9)
    method = RISE(masks=300, grid=3, open=0.5, seed=4)
    masks = torch.cat(list(method.drawn(x)))
    assert masks.shape == (300, 1, 12, 9)
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.03)
    generator = torch.Generator().manual_seed(4)
    cells = (torch.rand((300, 1, 3, 3), generator=generator) < 0.5).double()
    rows, columns = (torch.randint(n, (300,), generator=generator) for n in (4, 3))
    for i in (0, 1, 299):
        large = enlarged(cells[i, 0].numpy(), 16, 12)
        wanted = large[rows[i] : rows[i] + 12, columns[i] : columns[i] + 9]
        np.testing.assert_allclose(masks[i, 0], wanted, atol=1e-6)
    assert set(rows.tolist()) == {0, 1, 2, 3}


def test_of_a_linear_network_it_is_the_covariance_with_the_masks() -> None:
    """S = Σ w·x·M: the estimate is Σ cov(M, M')·w·x / p; the pixel that carries everything has the largest value."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    model[1].weight.data.zero_()
    model[1].weight.data[1, 27] = 4.0
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    found = RISE(masks=3000, grid=8)(Network.open(model, x), x, Target("1", 1))
    assert int(found.map[0].argmax()) == 27
    masks = torch.cat(list(RISE(masks=3000, grid=8).drawn(x)))[:, 0].flatten(1).numpy()
    wanted = 4 * np.cov(masks.T, bias=True)[27] / 0.5
    np.testing.assert_allclose(found.map[0].ravel(), wanted, atol=1e-12)


def test_the_standard_error_is_what_repetition_shows() -> None:
    _, x, net = opened("plain")
    repeated = [RISE(masks=100, seed=s)(net, x[:1], target(net, 1, x)) for s in range(40)]
    spread = np.stack([one.map[0] for one in repeated]).std(0, ddof=1)
    said = np.mean([float(one.proof[ERROR]) for one in repeated])
    assert said == pytest.approx(float(np.sqrt((spread**2).mean())), rel=0.15)
    more = RISE(masks=1600)(net, x[:1], target(net, 1, x))
    assert float(more.proof[ERROR]) == pytest.approx(said / 4, rel=0.25)


def test_noise_is_called_noise() -> None:
    _, x, net = opened("plain")
    assert any("mostly noise" in note for note in RISE(masks=5)(net, x, Target("0", 0)).notes)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    clear = RISE(masks=4000, grid=2)(Network.open(model, (1, 8, 8)), torch.ones(1, 1, 8, 8), Target("0", 0))
    assert not any("mostly noise" in note for note in clear.notes)


def test_seeds_batches_and_images_do_not_change_the_masks() -> None:
    _, x, net = opened("plain")
    asked = target(net, 0, x)
    first = RISE(masks=64)(net, x, asked)
    np.testing.assert_allclose(RISE(masks=64, batch=5)(net, x, asked).values, first.values, atol=1e-5)
    np.testing.assert_allclose(RISE(masks=64)(net, x[1:], asked).values[0], first.values[1], atol=1e-6)
    assert np.abs(RISE(masks=64, seed=1)(net, x, asked).values - first.values).max() > 1e-3


def test_progress_is_told_and_may_stop_it() -> None:
    model, x, net = opened("grey")
    told: list[tuple[int, int, str]] = []
    RISE(masks=10, batch=6)(net, x, Target("0", 0), lambda *a: told.append(a))
    assert told == [(6, 20, "masks"), (10, 20, "masks"), (16, 20, "masks"), (20, 20, "masks")]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unchanged(model, x), pytest.raises(KeyboardInterrupt):
        RISE()(net, x, Target("0", 0), stop)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"RISE\.open must be in \[0\.01, 0\.99\]"):
        RISE(open=1.0)
    with pytest.raises(UsageError, match=r"RISE\.masks must be in"):
        RISE(masks=1)
