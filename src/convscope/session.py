"""An atlas that can be asked further questions: its network, its images, and pictures somebody uploads."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convscope import actions
from convscope.atlas import pictures
from convscope.errors import StoreError, unknown
from convscope.images import Preprocess
from convscope.network import Network
from convscope.results import Heatmap, Table

EASELS = 4  # images that can be painted on without a new clean pass


class Session:
    """Opens lazily: the network at the first question, the collection when an image of it is asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.about: dict[str, Any] = json.loads((self.folder / "atlas.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise StoreError(
                f"{self.folder} is no finished atlas",
                str(problem),
                "make one: convscope atlas NETWORK --images DIR --out FOLDER",
            ) from problem

    @functools.cached_property
    def network(self) -> Network:
        return actions.open(
            str(self.folder / "network.pt2"), classes=self.about["classes"], preprocess=self.about["preprocess"]
        )

    @functools.cached_property
    def collection(self) -> Any:
        from convscope.data import open_collection

        if not self.about["source"]:
            raise StoreError(
                "the images of this atlas were given in Python", "they cannot be opened again", "upload the image instead"
            )
        return open_collection(self.about["source"])

    @functools.cached_property
    def preprocess(self) -> Preprocess:
        return Preprocess.from_dict(self.about["preprocess"])

    def pixels(self, image: Any) -> Any:
        """uint8 pixels of an image: its number in the collection, or an array."""
        if not isinstance(image, int):
            return image
        if not 0 <= image < len(self.collection):
            raise unknown("image", str(image), (), f"numbers go from 0 to {len(self.collection) - 1}")
        return self.collection[image]

    def predict(self, image: Any) -> Table:
        return actions.predict(self.network, self.pixels(image))

    def attribute(
        self,
        image: Any,
        method: str,
        target: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Heatmap:
        """A heat-map; `progress(done, total)` may raise to stop."""
        report = None if progress is None else (lambda done, total, _="": progress(done, total))
        return actions.attribute(self.network, self.pixels(image), method, target, progress=report, **(parameters or {}))

    def compare(
        self, image: Any, asked: Mapping[str, Any], progress: Callable[[int, int], None], keep: Callable[[Any], None]
    ) -> None:
        """Maps of several methods and targets; each is handed to `keep` when it is there, as (description, files)."""
        from convscope.comparing import map_page

        report = lambda done, total, _="": progress(done, total)  # noqa: E731 - without the words
        methods, targets, parameters = (asked.get(name) for name in ("methods", "targets", "parameters"))
        maps = actions.attribute_each(
            self.network, self.pixels(image), methods or None, targets or None, report, **(parameters or {})
        )
        for number, heat in enumerate(maps):
            keep(map_page(heat, f"map-{number}"))

    @functools.cached_property
    def _easels(self) -> OrderedDict[Any, Any]:
        return OrderedDict()

    def brush(self, image: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The classes of an image that somebody painted on; with `pictures` also what the brushes leave, under 'files'."""
        import numpy as np
        import torch

        from convscope import brushing

        painted = brushing.strokes(asked.get("strokes", []))
        easel = self._easels.pop(asked["image"], None)
        if easel is None:
            x = torch.from_numpy(np.ascontiguousarray(self.preprocess(self.pixels(image))))[None]
            easel = brushing.Easel(self.network, self.network.check_input(x))
        self._easels[asked["image"]] = easel  # the latest is the last; a clean pass each is kept
        while len(self._easels) > EASELS:
            self._easels.popitem(last=False)
        answer = easel.answer(painted, asked.get("check") is True)
        if asked.get("pictures") is True:
            files = {f"brush-{name}.png": content for name, content in easel.pictures(self.preprocess.inverse).items()}
            size = {"width": easel.x.shape[3], "height": easel.x.shape[2]}
            answer |= size | {"fills": {name: f"brush-{name}.png" for name in brushing.FILLS}, "files": files}
        return answer

    def feature(
        self, asked: Mapping[str, Any], progress: Callable[[int, int], None]
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What a unit, a layer or a class has learned, as the page draws any result: a description, and files by name."""
        from convscope.atlas.of_layers import shown

        found = actions.feature(
            self.network,
            asked["target"],
            asked["method"],
            image=None if asked["image"] is None else self.pixels(asked["image"]),
            images=self.collection if self.about["source"] else None,
            record=self.folder / "record",
            progress=lambda done, total, _: progress(done, total),
            **asked["parameters"],
        )
        content, files = shown(found, "pictures/asked.png")
        return content | {"method": asked["method"], "settings": found.origin.method}, files

    @functools.cached_property
    def _bench(self) -> Any:
        from convscope.mechanics_page import Bench

        return Bench(self.network)

    def mechanics(self, image: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One layer on one image, worked out for the mechanics page; `asked` as in `mechanics_page.Asked.read`."""
        import numpy as np
        import torch

        from convscope.mechanics_page import Asked

        question = Asked.read(asked)
        x = torch.from_numpy(np.ascontiguousarray(self.preprocess(self.pixels(image))))[None]
        return self._bench.answer(self.network.check_input(x), question)

    @functools.cached_property
    def _study(self) -> Any:
        """The sweep of the atlas with its network and images."""
        from convscope.record import Record
        from convscope.responses._study import Study

        return Study(Record(self.folder / "record"), self.network, self.collection, self.preprocess)

    def map(self, layer: str, progress: Callable[[int, int], None], keep: Callable[[dict[str, Any]], None]) -> None:
        """The map of the collection in a layer; handed to `keep` with PCA, then with t-SNE too, as data 'map' holds it."""
        from convscope.atlas import of_images

        settings = self.about["settings"]
        of_images.maps(self._study, layer, settings["points"], settings["seed"], progress, keep)

    def alike(self, image: int, layer: str) -> dict[str, Any]:
        """The images of the collection that are nearest to one of them in a layer."""
        from convscope.atlas import of_images

        return of_images.alike(self._study, image, layer)

    def image_page(self, image: Any) -> dict[str, Any]:
        """The page of one image, its pictures as bytes under 'files'."""
        index = image if isinstance(image, int) else "upload"
        name = self.collection.ids[image] if isinstance(image, int) else "uploaded image"
        page, files = pictures.image_page(self.network, self.preprocess, self.pixels(image), index, name)
        return page | {"files": files}

    def heatmap_page(self, heat: Heatmap, method: str, stem: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """A heat-map as the page shows it."""
        return pictures.heatmap_page(heat, method, stem)
