"""The tiny networks are what their suites take them for.

Turns red: `torch.manual_seed(…)` removed from `nets._build` (weights differ); `fork_rng` removed (the generator moved);
`model.eval()` → `model.train()`.
"""

import pytest
import torch
from torch import nn

from tests.nets import NETS, K


@pytest.mark.parametrize("name", NETS)
def test_two_builds_are_equal_and_leave_the_generator_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first, x = NETS[name]()
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        second, again = NETS[name]()
    assert first is not second
    assert torch.equal(x, again)
    weights, same = first.state_dict(), second.state_dict()
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    assert not any(module.training for module in first.modules())


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_five_finite_scores_that_depend_on_the_input(name: str) -> None:
    model, x = NETS[name]()
    out = model(x)
    assert out.shape == (2, K)
    assert out.isfinite().all()
    assert (out[0] - out[1]).abs().max() > 1e-3
    x = x.requires_grad_()
    model(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten(1).abs().amax(1).min() > 1e-4  # no network is dead on either input


@pytest.mark.parametrize("name", NETS)
def test_batch_norm_does_something(name: str) -> None:
    for module in NETS[name]()[0].modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_mean.abs().max() > 0.05
            assert (module.weight - 1).abs().max() > 0.05


def test_the_bias_free_network_is_the_sum_of_input_times_gradient() -> None:
    model, x = NETS["no_bias"]()
    model, x = model.double(), x.double().requires_grad_()
    score = model(x)[:, 2]
    (grad,) = torch.autograd.grad(score.sum(), x)
    torch.testing.assert_close((x * grad).flatten(1).sum(1), score, rtol=1e-12, atol=1e-12)
