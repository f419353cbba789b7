"""Python's random generator as it was: importing `rich` draws a number from it, and scikit-learn imports `rich`.

    with chance.kept():
        from sklearn.decomposition import PCA
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """The state of Python's global generator afterwards is what it was before, however the block ends.

    >>> random.seed(1)
    >>> before = random.getstate()
    >>> with kept():
    ...     _ = random.random()
    >>> random.getstate() == before
    True
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
