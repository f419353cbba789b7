"""Tags that come together. Mutation: `sums != 1` → `sums == 1` in the check, and both tests are red."""

from __future__ import annotations

import torch

from convscope.checks.several_tags import SeveralTags
from convscope.diagnosing import given
from convscope.diagnosing.evidence import Evidence
from convscope.diagnosing.suspicion import Suspicion
from convscope.diagnosing.trial import train


def asked(y: torch.Tensor, loss: str, *last: torch.nn.Module) -> tuple[Evidence, list[Suspicion]]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4), *last)
    evidence = Evidence(given.program(net, (X, y), loss, "adam:0.01"), seconds=0.5)
    return evidence, list(SeveralTags()(evidence))


X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
TAGS = (X[:, :4] > 0).float()


def test_several_tags_under_one_softmax_and_a_sigmoid_each_mends() -> None:
    for loss, last in (("cross-entropy", ()), ("bce", (torch.nn.Softmax(1),))):
        evidence, (one,) = asked(TAGS, loss, *last)
        assert (one.fault, one.strength) == ("O5", 1.0)
        assert one.change is not None
        mended = one.change.apply(evidence.program.twin())
        train(mended, 0, 200, 20.0)
        assert Evidence(mended).judge(mended).share > 0.8


def test_one_tag_each_or_a_sigmoid_each_is_left_in_peace() -> None:
    exclusive = torch.eye(4)[TAGS.sum(1).long().clamp(max=3)]
    assert asked(exclusive, "cross-entropy")[1] == []
    assert asked(TAGS, "bce-logits")[1] == []
