"""Who may speak to the server? Only pages of this very server, on this very machine.

Any site that a browser has open can send requests to 127.0.0.1. Three things keep them out: the `Host` header must name
this machine and this port (a foreign name that resolves to 127.0.0.1, "DNS rebinding", does not), `Origin` and
`Sec-Fetch-Site` must be our own, and what changes or computes something needs the token that `convscope serve` printed.
Answers carry a strict content security policy: scripts only from files of the atlas, nothing from elsewhere, no frame
around the page.
"""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


class Guard:
    """ASGI middleware: refuses foreign requests with a sentence, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        reason = refusal(scope, self.token)
        if reason:
            return await JSONResponse({"error": reason}, status_code=403)(scope, receive, guarded)
        return await self.app(scope, receive, guarded)


def refusal(scope: Scope, token: str) -> str:
    """Why a request is refused; '' if it is welcome."""
    headers = Headers(scope=scope)
    port = scope["server"][1]
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")] + (["127.0.0.1", "localhost"] if port == 80 else [])
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or host not in hosts:
        return f"this server answers to {hosts[0]} only, not to {host[:80]!r}"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"pages of {origin[:80]!r} may not ask this server; open http://{hosts[0]} itself"
    site = headers.get("sec-fetch-site", "none")
    # Following a link from elsewhere is harmless; everything else from another site is not, pictures and scripts included.
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if site not in ("same-origin", "none") and not (followed and scope["method"] == "GET"):
        return "another site may not load anything from this server"
    if scope["method"] not in ("GET", "HEAD") and not allowed(scope, token):
        return "this browser has not the server's token: open the address that `convscope serve` printed"
    return ""


def cookie_name(scope: Scope) -> str:
    """Browsers share cookies between ports, so that each server needs a name of its own."""
    return f"convscope_{scope['server'][1]}"


def allowed(scope: Scope, token: str) -> bool:
    """Does the request carry the token, as a cookie or as the header `X-Convscope-Token`?"""
    headers = Headers(scope=scope)
    found: list[str] = [headers.get("x-convscope-token", "")]
    for line in headers.getlist("cookie"):
        morsel: Any = _cookies(line).get(cookie_name(scope))
        if morsel is not None:
            found.append(morsel.value)
    return any(matches(value, token) for value in found)


def _cookies(line: str) -> SimpleCookie:
    try:
        return SimpleCookie(line)
    except CookieError:
        return SimpleCookie()  # another program's broken cookie is no token


def matches(given: str, token: str) -> bool:
    """Compared in constant time, so that a guess learns nothing from how long it takes."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())
