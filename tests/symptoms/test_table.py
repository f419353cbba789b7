"""The tables hold together: known fault codes, every symptom and hint is reached by some sentence.

Turns red: name a fault 'P99' in `table`, `hints` or `causes`, or write a pattern that nothing matches.
"""

from __future__ import annotations

import re

from convscope.diagnosing.faults import FAULTS
from convscope.symptoms.causes import CAUSES
from convscope.symptoms.hints import HINTS
from convscope.symptoms.phrases import plain, tagged
from convscope.symptoms.table import SYMPTOMS
from tests.symptoms.sentences import SENTENCES

# Symptoms that none of the sentences has.
MORE = ("the model is bad: accuracy is very low", "the loss is almost 0")


def test_all_codes_are_faults_and_all_faults_have_words() -> None:
    assert set(CAUSES) == set(FAULTS)
    tables = (*(symptom.causes for symptom in SYMPTOMS), *HINTS.values())
    named = {code for causes in tables for code in causes}
    assert named <= set(FAULTS)
    assert len(set(FAULTS) - named) == 0, set(FAULTS) - named


def test_every_symptom_is_reached() -> None:
    said = [tagged(plain(sentence)) for sentence in (*(s for s, _ in SENTENCES), *MORE)]
    never = [s.name for s in SYMPTOMS if not any(re.search(p, tags) for p in s.patterns for tags in said)]
    assert not never
    assert len(SYMPTOMS) >= 25
    assert len({s.name for s in SYMPTOMS}) == len(SYMPTOMS)


def test_odds_are_odds() -> None:
    for symptom in SYMPTOMS:
        assert 50 <= sum(symptom.causes.values()) <= 110, symptom.name
    assert all(0 < weight <= 150 for causes in HINTS.values() for weight in causes.values())
    for cause in CAUSES.values():
        assert all(line[0] in "-+ " for line in cause.code.splitlines())
        assert min(map(len, (cause.why, cause.remedy, cause.disproof))) > 5
