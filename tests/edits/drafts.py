"""What the tests of edits share: a net of `tests/nets.py`, opened once, and taken apart once."""

from __future__ import annotations

import functools

from convscope.editing import Draft
from tests.contracts.leaves import opened


@functools.cache
def whole(name: str) -> Draft:
    """The draft of a net, nothing changed yet: `whole(name).copy()` is one to change."""
    return Draft.of(opened(name)[2])
