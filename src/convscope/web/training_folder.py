"""The training view's data, read from the folder at every request, so that a run that is still going can be looked at.

A folder without an atlas is served too, if it holds runs or findings: the page then has the training view alone, its files
come from the program, and the network and the collection that an atlas would describe are named and empty.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from convscope.draw import training_page

STATIC = Path(__file__).parent / "static"
SCRIPT = "text/javascript; charset=utf-8"
TYPES = {".js": SCRIPT, ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def pages(folder: Path) -> Path:
    """Where the page's own files are: in the atlas, or, for a folder with runs only, in the program."""
    return folder if (folder / "index.html").is_file() else STATIC


def routes(folder: Path) -> list[Route]:
    """The answers that belong to training; for a folder without an atlas, the page's files and stand-ins for its data."""

    async def training(request: Request) -> Response:
        del request
        return _script("training", await asyncio.to_thread(training_page.page, folder))

    async def network(request: Request) -> Response:
        del request
        return _script("network", _network(folder))

    async def collection(request: Request) -> Response:
        del request
        return _script("collection", EMPTY)

    async def app(request: Request) -> Response:
        known = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
        path = known.get(request.path_params["name"])  # a name out of a list: no path that leads elsewhere
        return FileResponse(path, media_type=TYPES[path.suffix]) if path else Response("no such file", 404)

    found = [Route("/data/training.js", training)]
    if pages(folder) == STATIC:
        found += [Route("/data/network.js", network), Route("/data/collection.js", collection), Route("/app/{name}", app)]
    return found


def _script(key: str, value: Any) -> Response:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    return Response(f"convscope.put({json.dumps(key)},{text});\n", media_type=SCRIPT)


EMPTY: dict[str, Any] = {"name": "", "count": 0, "ids": [], "labels": [], "classes": [], "pages": [], "notes": [],
                         "predictions": None}  # fmt: skip


def _network(folder: Path) -> dict[str, Any]:
    return {"name": folder.name, "only": "training", "training": True, "layers": [], "classes": [], "notes": []}
