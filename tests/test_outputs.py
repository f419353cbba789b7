"""What the last layer holds, read from the graph or from numbers; softmax applied once; temperature and calibration error.

Turns red: in `Reading.scores`, `else z.log()` -> `else z`; in `_moved`, return `axis` for a permute; in
`calibration_error`, `.ceil()` -> `.floor()`; in `fit_temperature`, start the bounds at 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope import opening, outputs
from convscope.errors import DataError, UnknownName, UsageError
from convscope.network import Network
from tests.traces import unchanged


class After(nn.Module):
    """A small classifier, and a function of its scores (B, K) or maps (B, K, 1, 1)."""

    def __init__(self, last: Callable[[Tensor], Tensor], classes: int = 4, maps: bool = False) -> None:
        super().__init__()
        self.conv, self.last, self.maps = nn.Conv2d(1, classes, 3), last, maps

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.last(y if self.maps else y.mean((2, 3)))


def network(last: Callable[[Tensor], Tensor], classes: int = 4, maps: bool = False) -> Network:
    torch.manual_seed(1)
    return Network.open(After(last, classes, maps).eval(), (1, 6, 6))


X = torch.linspace(-2, 3, 5 * 36).reshape(5, 1, 6, 6)
GRAPH: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "softmax": (lambda z: z.softmax(1), "probabilities"),
    "softmax over -1": (lambda z: z.softmax(-1), "probabilities"),
    "log softmax": (lambda z: z.log_softmax(1), "log-probabilities"),
    "log of softmax": (lambda z: z.softmax(1).log(), "log-probabilities"),
    "exp of log softmax": (lambda z: z.log_softmax(1).exp(), "probabilities"),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "log sigmoid": (nn.functional.logsigmoid, "log-sigmoid"),
    "softmax, then squeezed": (lambda z: z[:, :, None, None].softmax(1).flatten(1), "probabilities"),
    "softmax on the last axis, then turned": (
        lambda z: z[:, :, None, None].permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2).flatten(1), "probabilities"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPH)
def test_the_graph_says_what_the_last_operation_is(name: str) -> None:
    last, kind = GRAPH[name]
    net = network(last)
    reading = outputs.read(net)
    assert (reading.kind, reading.warnings) == (kind, ())
    assert "operation is" in reading.how
    # Whatever the last operation is, the probabilities are those of the scores before it.
    z = network(lambda z: z).run(X).output
    wanted = z.sigmoid() if "sigmoid" in name else z.softmax(1)
    torch.testing.assert_close(reading.classes(net.run(X).output), wanted, rtol=1e-5, atol=1e-6)


def test_scores_are_recognised_by_the_layer_that_gives_them() -> None:
    reading = outputs.read(Network.open(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), (1, 6, 6)))
    assert (reading.kind, reading.how) == ("logits", "the last operation, 1 (linear), gives scores")


@pytest.mark.parametrize(
    ("last", "kind", "said"),
    [
        (lambda z: z.exp() / z.exp().sum(1, keepdim=True), "probabilities", "are not negative and add up to 1"),
        (lambda z: z - z.logsumexp(1, keepdim=True), "log-probabilities", "exp of the outputs adds up to 1"),
        (lambda z: z.relu(), "logits", "do not add up to 1"),
    ],
)
def test_where_the_graph_is_silent_numbers_tell(last: Callable[[Tensor], Tensor], kind: str, said: str) -> None:
    net = network(last)
    assert outputs.of_graph(net) is None
    reading = outputs.read(net)
    assert reading.kind == kind
    assert "the graph does not say" in reading.how
    assert "on 8 random inputs" in reading.how
    assert said in reading.how
    torch.testing.assert_close(reading.each(net.run(X).output).sum(1), torch.ones(5))


def test_scores_that_happen_to_add_up_to_one_are_not_taken_for_probabilities() -> None:
    net = network(lambda z: z)
    output = torch.tensor([[0.2, 0.3, 0.1, 0.4]])
    torch.testing.assert_close(outputs.read(net).each(output), output.softmax(1))


@pytest.mark.parametrize(
    ("last", "classes", "maps", "warning"),
    [
        (lambda z: z.softmax(0), 4, False, "over the images of a batch, not over the classes"),
        (lambda z: z.softmax(1), 1, False, "over a single number, which always gives 1; use a sigmoid"),
        (lambda z: z.softmax(-1), 4, True, "over positions, not over the 4 classes; it should be softmax over axis 1"),
        (lambda z: z.softmax(1).softmax(1), 4, False, "softmax is applied to the result of softmax: one of the two"),
        (lambda z: z.sigmoid().softmax(1), 4, False, "softmax is applied to the result of sigmoid: one of the two"),
    ],
)
def test_a_softmax_in_the_wrong_place_is_named(
    last: Callable[[Tensor], Tensor], classes: int, maps: bool, warning: str
) -> None:
    reading = outputs.read(network(last, classes, maps))
    assert any(warning in said for said in reading.warnings), reading.warnings


def test_one_output_is_the_second_of_two_classes() -> None:
    logit, p = network(lambda z: z, 1), network(torch.sigmoid, 1)
    z = logit.run(X).output
    wanted = torch.cat([torch.zeros_like(z), z], 1).softmax(1)
    torch.testing.assert_close(outputs.read(logit).classes(z), wanted)
    torch.testing.assert_close(outputs.read(p).classes(p.run(X).output), wanted)
    assert not outputs.read(p).multi_label


def test_several_sigmoids_stand_by_themselves() -> None:
    reading = outputs.read(network(torch.sigmoid))
    assert reading.multi_label
    asked = outputs.read(network(lambda z: z), multi_label=True)
    torch.testing.assert_close(asked.each(torch.tensor([[0.0, 2.0]])), torch.tensor([[0.5, 0.8808]]), rtol=0, atol=1e-4)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(UsageError, match=r"cannot be read label by label; .*they add up to 1; leave --multi-label out"):
        outputs.read(network(lambda z: z.softmax(1)), multi_label=True)
    with pytest.raises(UsageError, match=r"cannot be read label by label; .*they share one sum; leave --multi-label out"):
        outputs.read(network(lambda z: z.log_softmax(1)), multi_label=True)
    with pytest.raises(UsageError, match="a temperature is a positive number; got 0; 1 leaves"):
        outputs.read(network(lambda z: z), temperature=0)
    with pytest.raises(UnknownName, match="no kind of output named 'logit'; closest: 'logits'"):
        outputs.read(network(lambda z: z), outputs="logit")
    assert outputs.read(network(lambda z: z.relu()), outputs="probabilities").how == "you said so"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 7), st.floats(0.2, 5), st.integers(0, 1000))
def test_a_temperature_means_the_same_for_scores_and_probabilities(n: int, k: int, heat: float, seed: int) -> None:
    z = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    wanted = (z / heat).softmax(1)
    given_as = {"logits": z, "log-probabilities": z.log_softmax(1), "probabilities": z.softmax(1)}
    for kind, output in given_as.items():
        torch.testing.assert_close(outputs.Reading(kind, "", temperature=heat).each(output), wanted, rtol=1e-6, atol=1e-9)
    alone = {"logits": z, "sigmoid": z.sigmoid(), "log-sigmoid": nn.functional.logsigmoid(z)}
    for kind, output in alone.items():
        found = outputs.Reading(kind, "", multi_label=True, temperature=heat).each(output)
        torch.testing.assert_close(found, (z / heat).sigmoid(), rtol=1e-6, atol=1e-9)


def test_the_temperature_of_labels_drawn_from_the_softmax_is_found() -> None:
    z = torch.randn(20000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    y = torch.multinomial((z / 2.5).softmax(1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    heat = outputs.fit_temperature(z, y)
    assert heat == pytest.approx(2.5, rel=0.03)
    assert outputs.fit_temperature(z / 5, y) == pytest.approx(heat / 5, rel=1e-4)
    assert outputs.nll(z, y, heat).mean() <= min(outputs.nll(z, y, t).mean() for t in np.linspace(0.5, 6, 40))
    assert outputs.calibration_error((z / heat).softmax(1), y) < 0.015 < outputs.calibration_error(z.softmax(1), y)


def slow_calibration_error(p: list[list[float]], labels: list[int], bins: int) -> float:
    """From the paper, image by image: bin b holds confidences in ((b − 1)/bins, b/bins]."""
    total = 0.0
    for b in range(1, bins + 1):
        inside = [(row, y) for row, y in zip(p, labels, strict=True) if (b - 1) / bins < max(row) <= b / bins]
        if inside:
            accuracy = sum(row.index(max(row)) == y for row, y in inside) / len(inside)
            total += len(inside) / len(p) * abs(accuracy - sum(max(row) for row, _ in inside) / len(inside))
    return total


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 1000))
def test_calibration_error_equals_the_paper(n: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = (torch.randn(n, k, generator=generator, dtype=torch.float64) * 2).softmax(1)
    y = torch.randint(k, (n,), generator=generator)
    assert outputs.calibration_error(p, y) == pytest.approx(slow_calibration_error(p.tolist(), y.tolist(), outputs.BINS))
    assert outputs.calibration_error(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])) == 0.5
    # 0.6 ends its bin, 0.61 begins the next: |1 − 0.6|/2 + |0 − 0.61|/2
    edge = torch.tensor([[0.6, 0.4], [0.61, 0.39]], dtype=torch.float64)
    assert outputs.calibration_error(edge, torch.tensor([0, 1])) == pytest.approx(0.505)


def test_labels_find_their_outputs() -> None:
    net = Network.open(After(lambda z: z, 3).eval(), (1, 6, 6), classes=("tench, Tinca tinca", "Sea lion", "cat"))
    found, said = outputs.indices(net, ["sea_lion", "Tench"])
    assert (found.tolist(), said) == ([1, 0], "labels went by the names of the classes")
    assert outputs.indices(net, ["2", "0"])[0].tolist() == [2, 0]
    with pytest.raises(DataError, match=r"the images' classes do not fit .*; not among its 3 classes: 'dog'; give the"):
        outputs.indices(net, ["cat", "dog"])
    bare = network(lambda z: z, 3)
    found, said = outputs.indices(bare, ["a", "b", "c"])
    assert found.tolist() == [0, 1, 2]
    assert "the network has no names" in said
    with pytest.raises(DataError, match="not among its 3 classes: 'a', 'b'"):
        outputs.indices(bare, ["a", "b"])


def test_reading_leaves_no_trace_and_is_remembered() -> None:
    module = After(lambda z: z.relu())
    module.train()
    with unchanged(module):
        net = opening.open(module, (1, 6, 6))
        assert outputs.read(net).how is outputs.read(net).how
