"""The server of an atlas: whom it answers, what it hands out, how long questions are queued, watched and cancelled.

Mutations that turn these red, tried one by one: `host not in hosts` -> `False` in guard.refusal (test_foreign_hosts);
`origin != …` -> `False` (test_foreign_origins); `path.is_relative_to(…)` -> `True` in server.inside (test_links);
`len(body) > most` -> `False` in server._body (test_sizes); `self.stop.is_set()` -> `False` in Job.report (test_cancel).
"""

from __future__ import annotations

import io
import json
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError, StoreError, UsageError
from convscope.results import Heatmap, Table
from convscope.web import desk, jobs, server

with warnings.catch_warnings():
    # Starlette 1 says that it would rather have httpx2; what it does with httpx is the same.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

TOKEN = "a-token-for-tests"
PORT = 8765
HERE = f"http://127.0.0.1:{PORT}"


class FakeSession:
    """What `actions.open_atlas` gives, without a network."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.gate: threading.Event | None = None  # if set, attribute waits for it between its steps

    def image_page(self, image: Any) -> dict[str, Any]:
        if isinstance(image, int) and image > 5:
            raise UsageError(f"there is no image {image}", "the collection has 6", "give 0 … 5")
        if isinstance(image, int) and image == 5:
            raise ZeroDivisionError("a fault of ours")
        name = f"pictures/image-{image if isinstance(image, int) else 'upload'}.png"
        return {
            "index": 1,
            "id": "one",
            "file": name,
            "width": 2,
            "height": np.float32(np.nan),
            "heatmaps": [],
            "files": {name: b"PNG"},
        }

    def attribute(
        self, image: Any, method: str, target: Any, parameters: Any, progress: Callable[[int, int], None]
    ) -> Heatmap:
        self.asked.append((image, method, target, parameters))
        for step in range(4):
            progress(step, 4)
            if self.gate is not None:
                self.gate.wait(5)
        if target == "nonsense":
            raise UsageError("no class named 'nonsense'", "closest: 'disc'", "look at the page")
        pixels = np.zeros((1, 2, 2, 3), np.uint8)
        return Heatmap(values=np.ones((1, 1, 2, 2)), images=pixels, targets=("3 ring",), scores=np.array([2.5]))

    def heatmap_page(self, heat: Heatmap, method: str, stem: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        page = {"method": method, "target": heat.targets[0], "score": heat.scores[0], "file": f"{stem}.png", "limit": 1.0}
        return page, {f"{stem}.png": b"HEAT"}

    def predict(self, pixels: Any) -> Table:
        self.asked.append(pixels.shape)
        columns = {"index": np.array([2, 0]), "probability": np.array([0.75, 0.25])}
        return Table(columns=columns, units={"probability": "softmax of the outputs"})


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    folder = tmp_path / "atlas"
    for name, text in {
        "index.html": '<!doctype html><html lang="en"><body></body></html>',
        "app/main.js": "1;",
        "data/network.js": "2;",
        "data/layer/relu~1.js": "3;",
        "network.pt2": "secret",
        "record/sweep.npz": "secret",
        "app/notes.txt": "?",
        "app/.hidden.js": "?",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "outside.js").write_text("secret")
    return folder


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def client(atlas: Path, session: FakeSession) -> Iterator[TestClient]:
    with TestClient(server.create_app(atlas, TOKEN, session), base_url=HERE) as client:
        client.get(f"/?token={TOKEN}")  # gives the cookie
        yield client


def stranger(atlas: Path) -> TestClient:
    return TestClient(server.create_app(atlas, TOKEN, FakeSession()), base_url=HERE)


def png(width: int = 6, height: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


def wait(client: TestClient, job: str) -> dict[str, Any]:
    for _ in range(400):
        found = client.get(f"/api/jobs/{job}").json()
        if found["state"] in ("done", "failed", "cancelled"):
            return found
        time.sleep(0.01)
    raise AssertionError(f"still {found}")


ASK = {"image": 3, "method": "occlusion", "target": None, "parameters": {}}


def test_page_and_files(client: TestClient) -> None:
    answer = client.get("/")
    assert 'data-live="1"' in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/app/main.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert client.get("/data/layer/relu~1.js").text == "3;"
    for headers in (answer.headers, client.get("/nothing").headers, client.get("/api/state").headers):
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", [
    "/app/", "/data", "/app/../network.pt2", "/app/%2e%2e/network.pt2", "/app/..%2f..%2foutside.js", "/%2e%2e/outside.js",
    "/network.pt2", "/record/sweep.npz", "/app/notes.txt", "/app/.hidden.js", "/app/..%5c..%5coutside.js",
    "/app/main.js%00.png", "//etc/passwd", "/app/%252e%252e/network.pt2", "/data/" + "x" * 5000, "/app/main.js/",
])  # fmt: skip
def test_nothing_but_the_page(client: TestClient, path: str) -> None:
    if path == "/app/main.js/":  # the same file under an odd name is no harm
        assert client.get(path).text == "1;"
        return
    answer = client.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert "in this atlas" in answer.json()["error"]


def test_links(client: TestClient, atlas: Path) -> None:
    (atlas / "app/out.js").symlink_to(atlas.parent / "outside.js")
    (atlas / "data/private.js").symlink_to(atlas / "network.pt2")
    (atlas / "app/loop.js").symlink_to(atlas / "app/loop.js")
    for name in ("app/out.js", "data/private.js", "app/loop.js"):
        assert client.get(f"/{name}").status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:80", "evil.example:8765", "127.0.0.1.evil.example:8765", "[::1]:8765", ""],
)
def test_foreign_hosts(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "this server answers to 127.0.0.1:8765 only" in answer.json()["error"]


def test_own_names(client: TestClient) -> None:
    assert client.get("/", headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:9999", "http://localhost:8765"]
)
def test_foreign_origins(client: TestClient, origin: str) -> None:
    for answer in (
        client.get("/data/network.js", headers={"origin": origin}),
        client.post("/api/attribute", json=ASK, headers={"origin": origin}),
    ):
        assert answer.status_code == 403
        assert "may not ask this server" in answer.json()["error"]
    assert client.post("/api/attribute", json=ASK, headers={"origin": HERE}).status_code == 202


def test_other_sites_load_nothing(client: TestClient) -> None:
    script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    answer = client.get("/data/network.js", headers=script)
    assert answer.status_code == 403
    assert "another site may not load anything" in answer.json()["error"]
    assert (
        client.get("/data/network.js", headers=script | {"sec-fetch-site": "same-site"}).status_code == 403
    )  # another port here
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers=link | {"sec-fetch-dest": "iframe"}).status_code == 403


def test_token(atlas: Path) -> None:
    client = stranger(atlas)
    assert client.get("/").status_code == 200
    assert client.get("/api/state").json()["allowed"] is False
    posted = [
        client.post("/api/attribute", json=ASK),
        client.post("/api/upload", content=png()),
        client.post("/api/jobs/0/cancel"),
    ]
    for answer in (*posted, client.get("/api/image/1"), client.get("/?token=wrong"), client.get("/?token=ä")):
        assert answer.status_code == 403
        assert "`convscope serve` printed" in answer.json()["error"]
    assert client.post("/api/attribute", json=ASK, headers={"x-convscope-token": TOKEN}).status_code == 202
    answer = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert f"convscope_{PORT}=" in cookie
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/state").json()["allowed"] is True


def test_state_describes_every_method(client: TestClient) -> None:
    methods = {m["name"]: m for m in client.get("/api/state").json()["methods"]}
    assert {"gradient", "occlusion"} <= set(methods)
    window = {p["name"]: p for p in methods["occlusion"]["parameters"]}["window"]
    assert window["type"].startswith("int")
    assert window["help"]
    assert {"default", "unit", "low", "high", "choices"} <= set(window)


def test_a_heat_map_is_made(client: TestClient, session: FakeSession) -> None:
    job = client.post("/api/attribute", json=ASK | {"target": "ring", "parameters": {"window": 4}}).json()["job"]
    done = wait(client, job)
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, None)
    assert session.asked == [(3, "occlusion", "ring", {"window": 4})]
    result = done["result"]
    assert result["score"] == 2.5
    assert result["file"].startswith("api/files/")
    picture = client.get(f"/{result['file']}")
    assert picture.content == b"HEAT"
    assert picture.headers["content-type"] == "image/png"
    gone = client.get("/api/files/none.png")
    assert gone.status_code == 404
    assert "not kept any more" in gone.json()["error"]


@pytest.mark.parametrize(("change", "words"), [
    ({"method": "no-such"}, "no attribution named 'no-such'"),
    ({"image": None}, "'image' is missing or of the wrong type"),
    ({"image": True}, "'image' is missing or of the wrong type"),
    ({"image": "upload-none"}, "no upload 'upload-none' is kept"),
    ({"image": "../etc"}, "no image is called '../etc'"),
    ({"parameters": []}, "'parameters' is missing or of the wrong type"),
    ({"parameters": {"wndow": 3}}, "no parameter of occlusion named 'wndow'; closest: 'window'"),
    ({"parameters": {"window": [1]}}, "parameters are numbers, words"),
    ({"target": 3}, "'target' is missing or of the wrong type"),
])  # fmt: skip
def test_bad_questions(client: TestClient, change: dict[str, Any], words: str) -> None:
    answer = client.post("/api/attribute", json=ASK | change)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 50_000])
def test_no_json(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/attribute", content=body)
    assert answer.status_code == 400
    assert "the question" in answer.json()["error"]
    assert "like this" in answer.json()["error"]


def test_failures_are_told(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    failed = wait(client, client.post("/api/attribute", json=ASK | {"target": "nonsense"}).json()["job"])
    assert failed["state"] == "failed"
    assert "closest: 'disc'" in failed["error"]
    answer = client.get("/api/image/6")
    assert answer.status_code == 400
    assert "there is no image 6" in answer.json()["error"]
    answer = client.get("/api/image/5")
    assert answer.status_code == 500
    assert "convscope failed; ZeroDivisionError: a fault of ours" in answer.json()["error"]
    assert "Traceback" in capsys.readouterr().err
    assert "no image is called" in client.get("/api/image/x").json()["error"]
    missing = client.get("/api/jobs/99")
    assert missing.status_code == 404
    assert "no job '99'" in missing.json()["error"]


def test_image_pages(client: TestClient) -> None:
    page = client.get("/api/image/1").json()
    assert page["height"] is None
    assert "files" not in page
    assert client.get(f"/{page['file']}").content == b"PNG"
    assert client.get("/api/image/1").json()["file"] != page["file"]  # pictures of two answers never mix


def test_cancel(client: TestClient, session: FakeSession) -> None:
    session.gate = threading.Event()
    running, waiting = (client.post("/api/attribute", json=ASK).json()["job"] for _ in range(2))
    while client.get(f"/api/jobs/{running}").json()["state"] != "running":
        time.sleep(0.01)
    assert client.get(f"/api/jobs/{waiting}").json()["state"] == "queued"
    assert client.post(f"/api/jobs/{waiting}/cancel").json()["state"] == "cancelled"
    client.post(f"/api/jobs/{running}/cancel")
    session.gate.set()
    assert wait(client, running)["state"] == "cancelled"
    assert len(session.asked) == 1  # the waiting one never began
    session.gate = None
    assert wait(client, client.post("/api/attribute", json=ASK).json()["job"])["state"] == "done"


def test_progress_and_time_left(client: TestClient, session: FakeSession) -> None:
    session.gate = threading.Event()
    job = client.post("/api/attribute", json=ASK).json()["job"]
    time.sleep(0.05)
    session.gate.set()
    session.gate = None
    assert wait(client, job)["progress"] == 1.0
    half = jobs.Job("0", lambda report: None, state="running", progress=0.25, began=time.monotonic() - 1)
    assert half.to_dict()["eta"] == pytest.approx(3, abs=0.2)


def test_queue_is_bounded(client: TestClient, session: FakeSession) -> None:
    session.gate = threading.Event()
    answers = [client.post("/api/attribute", json=ASK) for _ in range(jobs.WAITING + 2)]
    session.gate.set()
    assert answers[-1].status_code == 400
    assert "questions are waiting already" in answers[-1].json()["error"]
    for answer in answers[:-1]:
        wait(client, answer.json()["job"])


def test_upload(client: TestClient, session: FakeSession) -> None:
    answer = client.post("/api/upload", content=png()).json()
    assert answer["image"].startswith("upload-")
    assert answer["prediction"] == {"top": [2, 0], "probability": [0.75, 0.25], "kind": "softmax of the outputs"}
    assert session.asked == [(4, 6, 3)]
    assert client.get(f"/api/image/{answer['image']}").json()["file"].endswith("image-upload.png")
    wait(client, client.post("/api/attribute", json=ASK | {"image": answer["image"]}).json()["job"])
    assert session.asked[-1][0].shape == (4, 6, 3)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x80\x04pickle", png()[:45], b"%PDF-1.4"]
)
def test_uploads_that_are_no_pictures(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/upload", content=content)
    assert answer.status_code == 400
    assert "the upload is no picture that can be read" in answer.json()["error"]
    assert "/upload" not in answer.json()["error"]


def test_a_small_file_of_many_pixels(client: TestClient) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    answer = client.post("/api/upload", content=b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert answer.status_code == 400
    assert "too many pixels; 9000×9000" in answer.json()["error"]


def test_sizes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UPLOAD", 1000)

    def unannounced() -> Iterator[bytes]:
        yield from (b"x" * 400 for _ in range(5))

    for content in (b"x" * 1001, unannounced()):
        answer = client.post("/api/upload", content=content)
        assert answer.status_code == 413
        assert "larger than 1,000 bytes" in answer.json()["error"]
    assert client.post("/api/attribute", content=b" " * 70_000).status_code == 413


def test_shelf_forgets_the_oldest() -> None:
    shelf = desk.Shelf(10)
    for name in "abc":
        shelf.put(name, name, 4)
    shelf.put("c", "C", 5)
    assert [shelf.get(n) for n in "abc"] == [None, "b", "C"]
    shelf.put("large", "large", 99)  # the newest is kept whatever its size
    assert (shelf.get("c"), shelf.get("large")) == (None, "large")


def test_no_atlas(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no atlas; it has no index.html and data/; make one: convscope atlas"):
        server.create_app(tmp_path, TOKEN)


def test_session_is_opened_at_the_first_question(atlas: Path) -> None:
    with TestClient(server.create_app(atlas, TOKEN), base_url=HERE) as client:
        client.get(f"/?token={TOKEN}")
        answer = client.get("/api/image/1")
        assert answer.status_code == 400
        assert "is no finished atlas" in answer.json()["error"]


def test_serve_refuses_a_port_in_use(atlas: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen on port"):
            server.serve(atlas, port=taken.getsockname()[1], open_browser=False)
    with pytest.raises(UsageError, match="cannot listen on port 99999"):
        server.serve(atlas, port=99999, open_browser=False)


def test_serve_says_where_answers_and_stops(atlas: Path) -> None:
    import re
    import signal
    import subprocess
    import sys
    import urllib.request

    code = "import sys; from convscope.web import server; server.serve(sys.argv[1], open_browser=False)"
    with subprocess.Popen(
        [sys.executable, "-c", code, atlas], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", running.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(found[0].split("?")[0], timeout=10) as answer:
            assert b"data-live" in answer.read()
            assert answer.headers["server"] is None
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=10)
        assert (running.returncode, errors) == (0, "")


def test_methods_need_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from convscope.web import server; server.methods(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_json_of_every_answer_is_strict(client: TestClient) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(client.get("/api/image/1").text, parse_constant=refuse)


def test_only_own_errors_are_handlers() -> None:
    assert issubclass(server.TooLarge, ConvscopeError)
    assert issubclass(jobs.Failed, ConvscopeError)
