"""Unit addresses, spelled the same in Python, command line, URL and store.

layer4.1.conv2            a layer (one call in the graph; the second call of a reused module is 'relu:1')
layer4.1.conv2/37         its channel 37
layer4.1.conv2/37@5,9     that channel at row 5, column 9 of the map
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from convscope.errors import UsageError

_UNIT = re.compile(r"^(?P<layer>[^/@\s]+)(?:/(?P<channel>\d+)(?:@(?P<at>\d+(?:,\d+)*))?)?$")


@dataclass(frozen=True)
class Unit:
    """A layer, one channel of it, or one position of that channel."""

    layer: str
    channel: int | None = None
    position: tuple[int, ...] | None = None

    def __str__(self) -> str:
        channel = "" if self.channel is None else f"/{self.channel}"
        return self.layer + channel + ("" if self.position is None else "@" + ",".join(map(str, self.position)))


def parse(text: str) -> Unit:
    """Read an address.

    >>> parse("layer4.1.conv2/37@5,9")
    Unit(layer='layer4.1.conv2', channel=37, position=(5, 9))
    """
    found = _UNIT.match(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no unit address",
            "expected layer, layer/channel or layer/channel@row,column",
            "for example 'features.3/17@5,9'",
        )
    channel, at = found["channel"], found["at"]
    return Unit(
        found["layer"], None if channel is None else int(channel), None if at is None else tuple(map(int, at.split(",")))
    )


def slug(address: str) -> str:
    """An address as a file name: ':' does not survive every file system.

    >>> slug("relu:1")
    'relu~1'
    """
    return re.sub(r"[^\w.~-]", "_", address.replace(":", "~"))
