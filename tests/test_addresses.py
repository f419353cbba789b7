"""Unit addresses are read and written the same everywhere.

Turns red: in `parse`, `int(channel)` -> `channel`; in `slug`, leave the `replace` out.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.addresses import Unit, parse, slug
from convscope.errors import UsageError

names = st.from_regex(r"[a-z0-9_]+(\.[a-z0-9_]+){0,3}(:[1-9])?", fullmatch=True)


@given(
    layer=names,
    channel=st.integers(0, 9999),
    position=st.none() | st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple),
)
def test_what_is_written_is_read(layer: str, channel: int, position: tuple[int, ...] | None) -> None:
    unit = Unit(layer, channel, position)
    assert parse(str(unit)) == unit
    assert parse(layer) == Unit(layer)


@pytest.mark.parametrize("text", ["", "conv/", "conv/x", "conv/1@", "conv/1@2,", "conv@1", "a b", "conv/-1", "conv/1/2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no unit address; expected layer, layer/channel or layer/channel@row,column"):
        parse(text)


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_file_names_differ_where_addresses_do(pair: list[str]) -> None:
    assert slug(pair[0]) != slug(pair[1])
    assert ":" not in slug(pair[0])
    assert "/" not in slug("a/b")
