"""The server's answers about many maps and about a painted image, on a real atlas: what is asked, refused, bounded, kept.

Mutations that turn it red: `len(given) > most` -> `False` in server._comparison; `keep(map_page(…))` left out of
Session.compare; `while len(self._easels) > EASELS` -> `while False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope import session as sessions
from convscope.session import Session
from convscope.web import server
from tests.web.test_server import HERE, TOKEN, TestClient, png, wait

STROKE = {"fill": "grey", "radius": 4, "points": [[5, 5], [12, 9]]}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attribute")
    rng = np.random.default_rng(1)
    for n, kind in enumerate(("one", "two", "three")):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{n}{i}.png")
    torch.manual_seed(4)
    body = (nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = nn.Sequential(*body, nn.Linear(605, 8), nn.ReLU(), nn.Linear(8, 3))
    cs.atlas(cs.open(model.eval(), example=(1, 3, 24, 24), classes=["one", "two", "three"]), folder / "images",
             out=folder / "atlas", pages=1, features="none", studies=False)  # fmt: skip
    return folder / "atlas"


@pytest.fixture(scope="module")
def session(atlas: Path) -> Session:
    return Session(atlas)


@pytest.fixture
def client(atlas: Path, session: Session) -> Iterator[TestClient]:
    with TestClient(server.create_app(atlas, TOKEN, session), base_url=HERE) as client:
        client.get(f"/?token={TOKEN}")
        yield client


def test_maps_with_their_numbers(client: TestClient, session: Session) -> None:
    ask = {"image": 2, "methods": ["gradient", "cam"], "targets": ["two", "one"]}
    done = wait(client, client.post("/api/compare", json=ask).json()["job"])
    assert done["state"] == "done", done
    maps = done["result"]
    assert [(m["method"], m["target"], m["applies"]) for m in maps] == [
        ("gradient", "1 two", True), ("gradient", "0 one", True), ("cam", "1 two", False), ("cam", "0 one", False)
    ]  # fmt: skip
    answer = client.get(f"/{maps[0]['values']}")
    assert answer.headers["content-type"] == "application/octet-stream"
    values = np.frombuffer(answer.content, "<f4").reshape(maps[0]["height"], maps[0]["width"])
    heat = cs.attribute(session.network, session.pixels(2), "gradient", "two")
    assert np.array_equal(values, heat.map[0])
    assert maps[0]["largest"] == pytest.approx(float(np.abs(heat.map).max()))
    assert maps[0]["promise"]["state"] == "kept"
    assert maps[2]["values"] is None
    assert "CAM" in maps[2]["promise"]["why"]


def test_a_job_grows_and_can_be_stopped(client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    job: dict[str, str] = {}
    compare = Session.compare

    def watched(self: Session, image: Any, asked: Any, progress: Any, keep: Any) -> None:
        def kept(made: Any) -> None:
            keep(made)
            found = client.get(f"/api/jobs/{job['id']}").json() if job else {"result": []}
            seen.append(len(found["result"]))
            if len(seen) == 2:
                client.post(f"/api/jobs/{job['id']}/cancel")

        while not job:
            pass
        compare(self, image, asked, progress, kept)

    monkeypatch.setattr(Session, "compare", watched)
    job["id"] = client.post("/api/compare", json={"image": 1, "methods": ["gradient", "lrp", "occlusion"]}).json()["job"]
    done = wait(client, job["id"])
    assert seen == [1, 2]
    assert done["state"] == "cancelled"
    assert [m["method"] for m in done["result"]] == ["gradient", "lrp"]  # what was done is kept


def test_painting(client: TestClient) -> None:
    first = client.post("/api/brush", json={"image": 2, "strokes": [], "pictures": True}).json()
    assert (first["width"], first["height"]) == (24, 24)
    assert client.get(f"/{first['fills']['blur']}").content[:4] == b"\x89PNG"
    assert all(c["now"] == c["before"] for c in first["classes"])
    answer = client.post("/api/brush", json={"image": 2, "strokes": [STROKE], "check": True}).json()
    assert sum(c["now"] for c in answer["classes"]) == pytest.approx(1, abs=1e-5)
    assert any(abs(c["now"] - c["before"]) > 1e-5 for c in answer["classes"])
    assert answer["check"]["difference"] < 1e-5
    assert "fills" not in answer
    uploaded = client.post("/api/upload", content=png(40, 30)).json()["image"]
    assert client.post("/api/brush", json={"image": uploaded, "strokes": [STROKE]}).status_code == 200


def test_few_easels_are_kept(client: TestClient, session: Session) -> None:
    for image in range(6):
        assert client.post("/api/brush", json={"image": image}).status_code == 200
    assert list(session._easels) == list(range(6))[-sessions.EASELS :]


@pytest.mark.parametrize(("path", "body", "words"), [
    ("compare", {"image": None}, "'image' is missing or of the wrong type"),
    ("compare", {"image": 1, "methods": "gradient"}, "'methods' must be a list of at most"),
    ("compare", {"image": 1, "methods": ["gradient"] * 99}, "'methods' must be a list of at most"),
    ("compare", {"image": 1, "methods": [3]}, "'methods' must be a list of at most"),
    ("compare", {"image": 1, "methods": ["gradeint"]}, "no attribution named 'gradeint'; closest: 'gradient'"),
    ("compare", {"image": 1, "targets": ["one"] * 5}, "'targets' must be a list of at most 4 names"),
    ("compare", {"image": 1, "targets": ["x" * 300]}, "'targets' must be a list"),
    ("compare", {"image": 1, "parameters": {"layer": ["0"]}}, "parameters are numbers, words"),
    ("brush", {"image": True}, "'image' is missing or of the wrong type"),
    ("brush", {"image": "../x"}, "no image is called '../x'"),
    ("brush", {"image": 1, "strokes": [{**STROKE, "fill": "red"}]}, "a stroke's fill is one of"),
    ("brush", {"image": 1, "strokes": [{**STROKE, "radius": 1e6}]}, "a stroke's radius is"),
    ("brush", {"image": 1, "strokes": 3}, "strokes are a list of at most 500"),
])  # fmt: skip
def test_bad_questions(client: TestClient, path: str, body: dict[str, Any], words: str) -> None:
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_numbers_that_are_none(client: TestClient) -> None:
    body = b'{"image": 1, "strokes": [{"fill": "grey", "radius": NaN, "points": [[1, 1]]}]}'
    answer = client.post("/api/brush", content=body)
    assert answer.status_code == 400
    assert "NaN is no number" in answer.json()["error"]


def test_whom_it_answers(atlas: Path, client: TestClient) -> None:
    stranger = TestClient(server.create_app(atlas, TOKEN), base_url=HERE)
    for path in ("compare", "brush"):
        assert stranger.post(f"/api/{path}", json={"image": 1}).status_code == 403
        assert client.post(f"/api/{path}", json={"image": 1}, headers={"origin": "http://evil.example"}).status_code == 403
        assert client.post(f"/api/{path}", json={"image": 1}, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/api/brush", content=b" " * (server.PAINTING + 1)).status_code == 413
    assert client.post("/api/compare", content=b" " * (server.BODY + 1)).status_code == 413
