"""Sentences become tags: spellings, slips, contractions, clauses.

Turns red: return the text of `phrases.plain` without `_mended`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.symptoms.phrases import plain, tagged


@pytest.mark.parametrize(
    ("sentence", "tags"),
    [
        ("Training loss doesn't decrease", "TRAIN LOSS FLAT"),
        ("val_loss goes up while train loss goes down", "VAL LOSS UP | TRAIN LOSS DOWN"),
        ("p.grad is NaN", "p. GRAD is NAN"),
        ("loss: inf", "LOSS | INF"),
        ("the cost increses", "the LOSS UP"),
        ("Accuracy: 50 %", "ACC | CHANCE"),
    ],
)
def test_tags_by_hand(sentence: str, tags: str) -> None:
    assert tagged(plain(sentence)) == tags


def test_spelling_is_american_and_plain_words_stay() -> None:
    assert plain("I normalised the colour and memorised it") == "i normalized the color and memorized it"
    assert plain("Otherwise I exercise") == "otherwise i exercise"
    assert plain("I raise it, these values, those images") == "i raise it, these values, those images"
    assert plain("lerning stagnats") == "learning stagnates"


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(tagged(plain(text)), str)


@given(st.sampled_from(["loss", "accuracy", "gradients", "validation"]), st.integers(0, 30))
def test_capitals_and_spaces_say_nothing(word: str, spaces: int) -> None:
    assert plain(f"{' ' * spaces}{word.upper()}  IS {' ' * spaces}LOW ") == f"{word} is low"
