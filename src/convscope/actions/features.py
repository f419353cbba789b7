"""What has a unit, a layer, a class learned to look for? Its filters, pictures made for it, a dream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.actions.networks import Progress, make, open
from convscope.results import Picture, Table

if TYPE_CHECKING:
    from convscope.features._given import Given
    from convscope.inverting import Depth
    from convscope.network import Network

LARGE = 3  # px: a kernel of fewer shows nothing


def feature(
    network: Any,
    target: str,
    method: str | None = None,
    *,
    image: Any = None,
    images: Any = None,
    record: Any = None,
    against: Any = None,
    guide: Any = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Picture | Table:
    """What has this unit, layer or class learned to look for?

    `target`: a layer ('conv2'), a unit ('conv2/37', 'conv2/37@5,9'), a class ('class:tabby') or a sum of these in words
    ('conv2/37 - 0.5*class:tabby'). `method`: a leaf of `features/`; by default what `chosen` says. `image`: a photograph for
    methods that change one. `images`: a collection, and `record`: the folder of its sweep, for colours and for the strongest
    real responses. `against`: another network, '2:conv2/37' in words. `guide`: what a dream is to resemble. `progress(done,
    total, text)` may raise to stop. `parameters`: the method's own.

    >>> feature("zoo:lenet5", "conv1").tiles.shape
    (6, 5, 5)
    """
    net = open(network)
    named = method or chosen(net, target, image is not None)
    asked = make("features", named, parameters)
    more = _Extra({k: v for k, v in (("against", _networks(against)), ("guide", _pixels(guide))) if v is not None})
    given, assumed = _given(net, image, images, record), () if method else (f"method not given: {named}",)
    found = asked(net, target, dataclasses.replace(given, progress=progress, more=more))
    unread = tuple(f"{name} was given, but {named} does not look at it" for name in more if name not in more.read)
    return dataclasses.replace(found, notes=(*found.notes, *assumed, *unread))


def rebuild(
    network: Any, image: Any, layers: tuple[str, ...] = (), *, progress: Progress | None = None, **parameters: Any
) -> Depth:
    """How much of an image can still be rebuilt as one goes deeper? A table and a strip of pictures, layer by layer.

    `layers`: by default those that shrink the map, and the first with weights after each. `parameters`: of `inversion`.
    """
    from convscope import inputs
    from convscope.inverting import inverted_depth

    make("features", "inversion", parameters)  # a wrong parameter is said before anything is computed
    return inverted_depth(open(network), inputs.read_pixels(image), layers, parameters=parameters, progress=progress)


def chosen(net: Network, target: str, image: bool = False) -> str:
    """The method that is meant where none is named: dream on an image; filters of a convolution that reads the network's
    input; else the image that excites most."""
    if image:
        return "dream"
    if target not in net:
        return "activation-maximisation"
    layer = net[target]
    near = layer.parents == ("input",) and "conv" in layer.operator and max(layer.settings["kernel_size"]) >= LARGE
    return "filters" if near else "activation-maximisation"


def _given(net: Network, image: Any, images: Any, record: Any) -> Given:
    """What a question may bring along, opened. Errors: StoreError for the sweep of another network."""
    from convscope.data import open_collection
    from convscope.errors import StoreError
    from convscope.features._given import Given
    from convscope.record import Record

    collection = None if images is None else open_collection(images)
    swept = record if record is None or isinstance(record, Record) else Record(record)
    if swept is not None and swept.facts.network != net.print:
        raise StoreError(f"the record in {swept.folder} is of another network",
                         f"print {swept.facts.network}, this one has {net.print}", "sweep again with this network")
    return Given(image=_pixels(image), record=swept, images=None if collection is None else collection.__getitem__,
                 count=0 if collection is None else len(collection))


def _networks(against: Any) -> tuple[Network, ...] | None:
    if against is None:
        return None
    return tuple(open(one) for one in (against if isinstance(against, (list, tuple)) else (against,)))


def _pixels(image: Any) -> Any:
    from convscope import inputs

    return None if image is None else inputs.read_pixels(image)


def keep_last(found: Picture | Table, path: str | Path) -> Path:
    """The last tile of a picture alone, pixel for pixel, as .png: the dream itself."""
    from convscope import store
    from convscope.draw import picture, raster
    from convscope.errors import UsageError

    if not isinstance(found, Picture) or len(found.tiles) == 0:
        raise UsageError("the last tile of this answer", f"it is a {found.kind} without tiles", "ask for a dream")
    content = raster.png(picture.colour(found)[0][-1])
    with store.atomic(path) as file:
        file.write(content)
    return Path(path)


class _Extra(Mapping[str, Any]):
    """What was given besides, and which of it a method has looked at."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.given, self.read = values, set[str]()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)
