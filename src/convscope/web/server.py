"""`convscope serve`: an atlas made live. Its files, and an API that asks the network more; on this machine only (guard.py).

GET  /                            the page; /data, /thumbs, /pictures, /app as in the folder
GET  /api/state                   {live, allowed, methods: [{name, question, parameters: [{name, type, default, …}]}]}
GET  /api/image/NAME              the page of image NAME (a number, or 'upload-…'), as data/image/NAME.js holds it
POST /api/attribute               {image, method, target, parameters} -> {job}
GET  /api/jobs/ID                 {state, progress 0 … 1, eta in seconds, error, result}; POST …/cancel stops it
POST /api/compare                 {image, methods, targets, parameters} -> {job}; its result, a list of maps, grows
POST /api/brush                   {image, strokes, check, pictures} -> the classes before and now (brushing.py)
POST /api/mechanics               {image, layer, channel, inner, plane, target, changes, direction, at} -> the layer's maps,
                                  what moved, or one number's Steps (docs/atlas.md)
POST /api/map                     {layer} -> {job}; its result grows: the collection's map with PCA, then with t-SNE too
POST /api/alike                   {image, layer} -> {image, distance, notes}: the nearest images of the collection
POST /api/upload                  a picture's bytes -> {image: 'upload-…', prediction: {top, probability, kind}}
GET  /api/files/NAME              pictures made by the answers above
GET  /data/training.js            the folder's runs and findings as they are now (training_folder.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
import socket
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from convscope import registry
from convscope.draw import training_page
from convscope.errors import ConvscopeError, StoreError, UsageError
from convscope.web import guard, training_folder
from convscope.web.desk import Desk
from convscope.web.jobs import Failed

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
}
FOLDERS = ("app", "data", "thumbs", "pictures")  # what the page needs; the network and the record stay private
UPLOAD = 20_000_000  # bytes of a picture
BODY = 64_000  # bytes of a question
PAINTING = 500_000  # bytes of a painted image's strokes
MADE = {".f32": "application/octet-stream"}  # what is made here and is no picture
SIDE_BY_SIDE = 4  # targets of one comparison


def create_app(atlas_folder: str | Path, token: str, session: Any = None) -> Starlette:
    """The web application of an atlas. `session` answers questions; by default `actions.open_atlas` at the first one."""
    folder = Path(atlas_folder).resolve()
    runs_only = not (folder / "index.html").is_file() and training_page.holds(folder)
    if not runs_only and (not (folder / "index.html").is_file() or not (folder / "data").is_dir()):
        remedy = "make one: convscope atlas NETWORK --images DIR --out FOLDER"
        raise StoreError(f"{atlas_folder} is no atlas", "it has no index.html and data/", remedy)
    desk = Desk(folder, session)

    async def page(request: Request) -> Response:
        given = request.query_params.get("token")
        if given is not None:
            if not guard.matches(given, token):
                return _error("this token is not the server's: open the address that `convscope serve` printed", 403)
            answer = RedirectResponse("/", status_code=303)  # the token leaves the address bar and the history
            answer.set_cookie(guard.cookie_name(request.scope), token, httponly=True, samesite="strict", path="/")
            return answer
        html = (training_folder.pages(folder) / "index.html").read_text(encoding="utf-8")
        return HTMLResponse(html.replace("<html ", '<html data-live="1" ', 1))  # so that a page knows without asking

    async def state(request: Request) -> Response:
        facts = {"live": True, "allowed": guard.allowed(request.scope, token)}
        return JSONResponse(facts | {"methods": methods(), "features": methods("features")})

    async def image(request: Request) -> Response:
        if not guard.allowed(request.scope, token):
            return _error("this browser has not the server's token: open the address that `convscope serve` printed", 403)
        return JSONResponse(await asyncio.wrap_future(desk.image_page(request.path_params["name"])))

    async def attribute(request: Request) -> Response:
        return JSONResponse({"job": desk.attribute(_question(await _body(request, BODY))).id}, status_code=202)

    async def feature(request: Request) -> Response:
        return JSONResponse({"job": desk.feature(_about_a_unit(await _body(request, BODY))).id}, status_code=202)

    async def compare(request: Request) -> Response:
        return JSONResponse({"job": desk.compare(_comparison(await _body(request, BODY))).id}, status_code=202)

    async def brush(request: Request) -> Response:
        return JSONResponse(await asyncio.wrap_future(desk.brush(_painting(await _body(request, PAINTING)))))

    async def mechanics(request: Request) -> Response:
        return JSONResponse(await asyncio.wrap_future(desk.mechanics(_about_a_layer(await _body(request, BODY)))))

    async def map_of(request: Request) -> Response:
        return JSONResponse({"job": desk.map(_of_a_layer(await _body(request, BODY))).id}, status_code=202)

    async def alike(request: Request) -> Response:
        return JSONResponse(await asyncio.wrap_future(desk.alike(_of_a_layer(await _body(request, BODY)))))

    async def upload(request: Request) -> Response:
        return JSONResponse(await asyncio.wrap_future(desk.upload(await _body(request, UPLOAD))))

    async def job(request: Request) -> Response:
        found = desk.worker.job(request.path_params["id"])
        if found is None:
            return _error(f"no job {request.path_params['id']!r}; the server remembers the latest only", 404)
        if request.method == "POST":
            desk.worker.cancel(found)
        return JSONResponse(found.to_dict())

    async def made(request: Request) -> Response:
        content = desk.files.get(request.path_params["name"])
        if content is None:
            return _error("this picture is not kept any more: ask for it again", 404)
        return Response(content, media_type=MADE.get(PurePosixPath(request.path_params["name"]).suffix, "image/png"))

    async def file(request: Request) -> Response:
        path = inside(folder, request.path_params["path"])
        if path is None:
            return _error(f"there is no {request.url.path[:200]!r} in this atlas", 404)
        return FileResponse(path, media_type=TYPES[path.suffix])

    routes = [
        Route("/", page),
        Route("/index.html", page),
        Route("/api/state", state),
        Route("/api/image/{name}", image),
        Route("/api/attribute", attribute, methods=["POST"]),
        Route("/api/feature", feature, methods=["POST"]),
        Route("/api/compare", compare, methods=["POST"]),
        Route("/api/brush", brush, methods=["POST"]),
        Route("/api/mechanics", mechanics, methods=["POST"]),
        Route("/api/map", map_of, methods=["POST"]),
        Route("/api/alike", alike, methods=["POST"]),
        Route("/api/upload", upload, methods=["POST"]),
        Route("/api/jobs/{id}", job),
        Route("/api/jobs/{id}/cancel", job, methods=["POST"]),
        Route("/api/files/{name:path}", made),
        *training_folder.routes(folder),
        Route("/{path:path}", file),
    ]
    errors: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {ConvscopeError: _told, ClientDisconnect: _gone}
    return Starlette(routes=routes, middleware=[Middleware(guard.Guard, token=token)], exception_handlers=errors)


class TooLarge(ConvscopeError):
    """More than the server takes."""


def methods(family: str = "attributions") -> list[dict[str, Any]]:
    """Every method of a family with its parameters, read from source: no torch is loaded for a form."""
    found: list[dict[str, Any]] = []
    for name in registry.names(family):
        described = registry.describe(family, name)
        found.append({"name": name, "question": described.question, "parameters": [asdict(p) for p in described.parameters]})
    return found


def inside(folder: Path, wanted: str) -> Path | None:
    """The file of the atlas that a path names, None if there is none or it is not the page's business.

    The path comes percent-decoded. What it leads to, links followed, must lie in one of the folders that the page needs.
    """
    parts = PurePosixPath(wanted).parts
    if "\0" in wanted or "\\" in wanted or not parts or parts[0] not in FOLDERS or any(p.startswith(".") for p in parts):
        return None
    try:
        path = folder.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError):  # missing, a name too long for the disk, a loop of links
        return None
    return path if path.is_file() and path.suffix in TYPES and path.is_relative_to(folder / parts[0]) else None


async def _body(request: Request, most: int) -> bytes:
    """A request's body, refused as soon as it is longer than `most`."""
    declared = request.headers.get("content-length", "0")
    body = bytearray()
    if not declared.isdigit() or int(declared) <= most:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
        else:
            return bytes(body)
    raise TooLarge(f"the request is larger than {most:,} bytes", "nothing of it was kept", "send less")


def _question(body: bytes) -> dict[str, Any]:
    """The JSON of /api/attribute, each part of the type it must have."""
    form = '{"image": 3, "method": "occlusion", "target": null, "parameters": {}}'
    kinds = {"image": (int, str), "method": str, "target": (str, type(None)), "parameters": dict}
    asked = _object(body, form)
    asked = {"target": None, "parameters": {}, **asked}
    for name, kind in kinds.items():
        if not isinstance(asked.get(name), kind) or isinstance(asked.get(name), bool):
            found = f"it is {asked.get(name)!r:.60}"
            raise UsageError(f"the question's {name!r} is missing or of the wrong type", found, f"like this: {form}")
    if not all(isinstance(v, (int, float, str, bool, type(None))) for v in asked["parameters"].values()):
        raise UsageError(
            "parameters are numbers, words, true, false or null", "there is something else", f"like this: {form}"
        )
    return {name: asked[name] for name in kinds}


def _about_a_unit(body: bytes) -> dict[str, Any]:
    """The JSON of /api/feature, each part of the type it must have; no image is null."""
    form = '{"target": "conv2/37", "method": "activation-maximisation", "image": null, "parameters": {}}'
    asked = {"image": None, **_object(body, form)}
    question = {"image": 0 if asked["image"] is None else asked["image"], "method": asked.get("method")}
    checked = _question(json.dumps(question | {k: asked[k] for k in ("target", "parameters") if k in asked}).encode())
    if not isinstance(asked.get("target"), str):
        raise UsageError("the question's 'target' is missing", f"it is {asked.get('target')!r:.60}", f"like this: {form}")
    return checked | {"image": asked["image"]}


def _comparison(body: bytes) -> dict[str, Any]:
    """The JSON of /api/compare, each part of the type it must have."""
    form = '{"image": 3, "methods": ["gradient", "lrp"], "targets": ["cat", "dog"], "parameters": {"layer": "conv1"}}'
    asked = {"methods": [], "targets": [], "parameters": {}, **_object(body, form)}
    question = json.dumps({"image": asked.get("image"), "method": "all", "parameters": asked["parameters"]}).encode()
    _question(question)  # the image and the parameters, as for one map
    for name, most in (("methods", len(registry.names("attributions"))), ("targets", SIDE_BY_SIDE)):
        given = asked[name]
        if not isinstance(given, list) or len(given) > most or not all(isinstance(v, str) and len(v) < 200 for v in given):
            found = f"it is {given!r:.60}"
            raise UsageError(f"{name!r} must be a list of at most {most} names", found, f"like this: {form}")
    return {name: asked[name] for name in ("image", "methods", "targets", "parameters")}


def _painting(body: bytes) -> dict[str, Any]:
    """The JSON of /api/brush; its strokes are checked where they are painted."""
    asked = _object(body, '{"image": 3, "strokes": []}')
    _question(json.dumps({"image": asked.get("image"), "method": "brush"}).encode())
    return asked


def _about_a_layer(body: bytes) -> dict[str, Any]:
    """The JSON of /api/mechanics; what it says of the layer is checked where the network is known."""
    form = '{"image": 3, "layer": "conv1", "channel": 0}'
    asked = _object(body, form)
    if not isinstance(asked.get("image"), (int, str)) or isinstance(asked["image"], bool):
        raise UsageError("the question's 'image' is missing or of the wrong type", f"it is {asked.get('image')!r:.60}",
                         f"like this: {form}")
    return asked


def _of_a_layer(body: bytes) -> dict[str, Any]:
    """The JSON of /api/map and /api/alike."""
    form = '{"image": 3, "layer": "conv1"}'
    asked = {"image": 0, **_object(body, form)}
    _about_a_layer(json.dumps({"image": asked["image"]}).encode())
    if not isinstance(asked.get("layer"), str):
        found = f"it is {asked.get('layer')!r:.60}"
        raise UsageError("the question's 'layer' is missing or no name", found, f"like this: {form}")
    return asked


def _object(body: bytes, form: str) -> dict[str, Any]:
    """A JSON object of finite numbers."""

    def constant(word: str) -> Any:
        raise ValueError(f"{word} is no number")

    try:
        asked = json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError) as problem:
        raise UsageError("the question is no JSON", str(problem), f"like this: {form}") from problem
    if not isinstance(asked, dict):
        raise UsageError("the question must be a JSON object", f"it is {type(asked).__name__}", f"like this: {form}")
    return asked


async def _told(request: Request, problem: ConvscopeError) -> Response:
    del request
    status = {TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Failed: HTTPStatus.INTERNAL_SERVER_ERROR}
    return _error(str(problem), status.get(type(problem), HTTPStatus.BAD_REQUEST))


async def _gone(request: Request, problem: ClientDisconnect) -> Response:
    del request, problem
    return _error("the request was broken off", HTTPStatus.BAD_REQUEST)


def _error(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)


def serve(
    folder: str | Path, port: int = 0, open_browser: bool = True, announce: Callable[[str], None] | None = None
) -> None:
    """Serve an atlas on 127.0.0.1 until Ctrl-C; port 0 finds a free one. `announce` is told the address
    (by default it is printed)."""
    import uvicorn

    token = secrets.token_urlsafe(24)
    app = create_app(folder, token)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)  # a browser that is quicker than we are waits, instead of being refused
        except (OSError, OverflowError) as problem:
            remedy = "choose another --port, or 0 for any free one"
            raise UsageError(f"cannot listen on port {port}", str(problem), remedy) from problem
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
        say = announce or functools.partial(print, flush=True)  # whoever reads us through a pipe waits for this line
        say(f"{Path(folder).name} is at {address}\nCtrl-C stops.")
        # Forwarding headers are not believed: nothing stands between this server and the browser.
        quiet = {"log_level": "warning", "access_log": False, "server_header": False}
        server = uvicorn.Server(uvicorn.Config(app, proxy_headers=False, timeout_graceful_shutdown=2, **quiet))
        if open_browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # the way to stop
            server.run(sockets=[listener])
