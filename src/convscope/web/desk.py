"""What the server asks of an atlas: pages of images, heat-maps, uploads. What needs the network runs on one thread."""

from __future__ import annotations

import io
import math
import secrets
import tempfile
import threading
import warnings
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from convscope import actions, registry
from convscope.errors import DataError, UsageError, unknown
from convscope.web.jobs import Job, Report, Worker

FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}
PIXELS = 40_000_000  # of an uploaded picture: a small file can unpack to a very large one
FILES = 200_000_000  # bytes of pictures made here that are kept
UPLOADS = 300_000_000  # bytes of uploaded pixels that are kept


class Shelf:
    """Things under names, up to a total size; the oldest go first."""

    def __init__(self, most: int) -> None:
        self._most, self._size, self._lock = most, 0, threading.Lock()
        self._things: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def put(self, name: str, thing: Any, size: int) -> None:
        with self._lock:
            self._size += size - self._things.pop(name, (None, 0))[1]
            self._things[name] = (thing, size)
            while self._size > self._most and len(self._things) > 1:
                self._size -= self._things.popitem(last=False)[1][1]

    def get(self, name: str) -> Any:
        with self._lock:
            return self._things.get(name, (None, 0))[0]


class Desk:
    """Takes questions, hands them to the worker, keeps the pictures that come out."""

    def __init__(self, folder: Path, session: Any = None) -> None:
        self.folder, self._session = folder, session
        self.worker, self.files, self.uploads = Worker(), Shelf(FILES), Shelf(UPLOADS)

    @property
    def session(self) -> Any:
        """Opened at the first question: a page that only looks needs no network. Called on the worker's thread only."""
        if self._session is None:
            self._session = actions.open_atlas(self.folder)
        return self._session

    def image(self, name: int | str) -> Any:
        """An image's number in the collection, or the pixels of an upload."""
        if isinstance(name, str) and name.startswith("upload-"):
            pixels = self.uploads.get(name)
            if pixels is None:
                found = "the latest uploads are, until the server stops"
                raise UsageError(f"no upload {name[:40]!r} is kept", found, "upload the image again")
            return pixels
        if isinstance(name, str) and (not name.isdecimal() or len(name) > 12):
            raise UsageError(f"no image is called {name[:40]!r}", "images have numbers", "look at the page's Images")
        return int(name)

    def image_page(self, name: str) -> Future[Any]:
        """The page of an image, its pictures kept under /api/files."""
        image = self.image(name)

        def work() -> dict[str, Any]:
            page = dict(self.session.image_page(image))
            return self._kept(page, page.pop("files"))

        return self.worker.ask(work)

    def attribute(self, asked: dict[str, Any]) -> Job:
        """Queue a heat-map."""
        method, image = asked["method"], self.image(asked["image"])
        _known("attributions", method, asked["parameters"])

        def work(report: Report) -> dict[str, Any]:
            report(0, 1)
            heat = self.session.attribute(image, method, asked["target"], asked["parameters"], report)
            report(1, 1)
            return self._kept(*self.session.heatmap_page(heat, method, "pictures/asked"))

        return self.worker.submit(work)

    def feature(self, asked: dict[str, Any]) -> Job:
        """Queue a question about a unit, a layer or a class."""
        image = None if asked["image"] is None else self.image(asked["image"])
        _known("features", asked["method"], asked["parameters"])

        def work(report: Report) -> dict[str, Any]:
            report(0, 1)
            return self._kept(*self.session.feature(asked | {"image": image}, report))

        return self.worker.submit(work)

    def compare(self, asked: dict[str, Any]) -> Job:
        """Queue the maps of several methods and targets; the job's result grows while it runs."""
        image = self.image(asked["image"])
        known = registry.names("attributions")
        for method in asked["methods"]:
            if method not in known:
                raise unknown("attribution", method, known, "`convscope list attributions` shows all")
        maps: list[Any] = []

        def keep(made: tuple[dict[str, Any], dict[str, bytes]]) -> None:
            maps.append(self._kept(*made))

        def work(report: Report) -> list[Any]:
            report(0, 1)
            self.session.compare(image, asked, report, keep)
            return maps

        return self.worker.submit(work, maps)

    def brush(self, asked: dict[str, Any]) -> Future[Any]:
        """An image that is being painted on: the classes now."""
        image = self.image(asked["image"])

        def work() -> dict[str, Any]:
            answer = dict(self.session.brush(image, asked))
            return self._kept(answer, answer.pop("files", {}))

        return self.worker.ask(work)

    def mechanics(self, asked: dict[str, Any]) -> Future[Any]:
        """One layer on one image, worked out."""
        image = self.image(asked["image"])
        return self.worker.ask(lambda: finite(self.session.mechanics(image, asked)))

    def map(self, asked: dict[str, Any]) -> Job:
        """Queue the map of the collection in a layer; the job's result grows: with PCA, then with t-SNE too."""
        layer = asked["layer"]
        pages: list[Any] = []

        def work(report: Report) -> list[Any]:
            report(0, 1)
            self.session.map(layer, report, lambda page: pages.append(finite(page)))
            return pages

        return self.worker.submit(work, pages)

    def alike(self, asked: dict[str, Any]) -> Future[Any]:
        """The images nearest to one of the collection's in a layer."""
        image, layer = self.image(asked["image"]), asked["layer"]
        if not isinstance(image, int):
            raise UsageError("which images are most like an upload", "only images that were swept are compared",
                             "ask about an image of the collection")
        return self.worker.ask(lambda: finite(self.session.alike(image, layer)))

    def upload(self, content: bytes) -> Future[Any]:
        """Decode a picture and ask the network what it sees."""

        def work() -> dict[str, Any]:
            pixels = decode(content)
            name = f"upload-{secrets.token_hex(8)}"
            table = self.session.predict(pixels)
            self.uploads.put(name, pixels, pixels.nbytes)
            columns = table.columns
            answer = {"top": columns["index"], "probability": columns["probability"]}
            prediction = {k: [_finite(v) for v in values] for k, values in answer.items()}
            return {"image": name, "prediction": prediction | {"kind": table.units.get("probability", "")}}

        return self.worker.ask(work)

    def _kept(self, page: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
        """Keep pictures under a name of their own, and say that name wherever the page says theirs."""
        key = secrets.token_hex(8)
        for name, content in files.items():
            self.files.put(f"{key}/{name}", content, len(content))

        def renamed(value: Any) -> Any:
            if isinstance(value, str):
                return f"api/files/{key}/{value}" if value in files else value
            if isinstance(value, dict):
                return {str(k): renamed(v) for k, v in value.items()}
            if isinstance(value, (list, tuple)):
                return [renamed(v) for v in value]
            return _finite(value)

        return renamed(page)


def _known(family: str, method: str, parameters: dict[str, Any]) -> None:
    """Errors: UnknownName for a method, or a parameter, that there is not."""
    if method not in registry.names(family):
        raise unknown(family.rstrip("s"), method, registry.names(family), f"`convscope list {family}` shows all")
    known = {p.name for p in registry.describe(family, method).parameters}
    for name in parameters:
        if name not in known:
            raise unknown(f"parameter of {method}", name, known, f"`convscope list {family}` shows all")


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no NumPy: null, and plain numbers."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def finite(value: Any) -> Any:
    """The same through lists and objects."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, (list, tuple)) else _finite(value)


def decode(content: bytes) -> Any:
    """uint8 pixels of an uploaded picture. Its size is read from its header before anything is unpacked."""
    from PIL import Image

    remedy = f"send a {', '.join(FORMATS)} of at most {PIXELS:,} pixels"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
            with Image.open(io.BytesIO(content), formats=tuple(FORMATS)) as picture:
                width, height = picture.size
                suffix = FORMATS[picture.format or ""]
    except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError) as problem:
        raise DataError("the upload is no picture that can be read", str(problem), remedy) from problem
    if width * height > PIXELS:
        raise DataError("the upload has too many pixels", f"{width}×{height}", remedy)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"upload{suffix}")
        path.write_bytes(content)
        try:
            return actions.read_pixels(path)
        except DataError as problem:  # said again without the name of our temporary file
            raise DataError("the upload is no picture that can be read", problem.found, remedy) from problem
