"""promises: what a proof must stay under, and the words where it does not.

Mutations that turn it red: `not value <= bars[name]` -> `value > bars[name]` (a NaN is no kept promise);
`reached[1] != reached[2]` -> `False` (a rule that missed rectifiers).
"""

from __future__ import annotations

import numpy as np
import pytest

from convscope.draw import promises
from convscope.results import Heatmap


def heat(score: float = 1.0, notes: tuple[str, ...] = (), **proof: float | str) -> Heatmap:
    return Heatmap(values=np.ones((1, 1, 2, 2)), images=np.zeros((1, 2, 2, 3), np.uint8), targets=("7",),
                   scores=np.array([score]), notes=notes, proof={k.replace("_", " "): v for k, v in proof.items()})


@pytest.mark.parametrize(("result", "state", "why"), [
    (heat(completeness_error=0.0099), "kept", "0.0099 completeness error"),
    (heat(completeness_error=-0.02), "fails", "completeness error is 0.02, over 0.01"),
    (heat(completeness_error=float("nan")), "fails", "completeness error is nan, over 0.01"),
    (heat(largest_difference_to_full_passes=9e-5), "kept", "9e-05 largest difference to full passes"),
    (heat(score=-50.0, largest_difference_to_full_passes=4e-3), "kept", "0.004 largest difference to full passes"),
    (heat(score=-50.0, largest_difference_to_full_passes=6e-3), "fails",
     "largest difference to full passes is 0.006, over 0.005"),
    (heat(relative_to_the_spread_of_the_map=0.7), "uncertain", "relative to the spread of the map is 0.7, over 0.5"),
    (heat(rectifiers_that_the_rule_reached="26 of 26"), "kept", "26 of 26 rectifiers that the rule reached"),
    (heat(rectifiers_that_the_rule_reached="5 of 26"), "fails", "rectifiers that the rule reached: 5 of 26"),
    (heat(applies="no: the sum need not be the score", difference_of_the_sum_to_the_score=0.2), "not promised",
     "the sum need not be the score"),
    (heat(applies="yes: no bias", difference_of_the_sum_to_the_score=0.0), "kept", "0 difference of the sum to the score"),
    (heat(equal_to_CAM="not promised: two linear layers"), "not promised", "two linear layers"),
    (heat(notes=("a note", "the promise fails: the sum is off"), completeness_error=0.0), "fails", "the sum is off"),
    (heat(does_not_apply="no mean over maps; take grad-cam"), "does not apply", "no mean over maps; take grad-cam"),
    (heat(), "not promised", ""),
])  # fmt: skip
def test_verdicts(result: Heatmap, state: str, why: str) -> None:
    found = promises.verdict(result)
    assert (found.state, found.why) == (state, why)
    assert str(found) == (f"{state}: {why}" if why else state)


def test_words_from_a_network_cannot_break_a_line() -> None:
    assert "\n" not in promises.verdict(heat(applies="no: a\nb")).why
