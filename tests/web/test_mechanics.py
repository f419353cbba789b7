"""POST /api/mechanics: guarded like every question, bounded, and answered by the network.

Mutations that turn these red, tried one by one: `parse_constant=constant` left out of server._object (test_bad_bodies);
`finite(…)` left out of Desk.mechanics (test_what_is_not_finite…); `isinstance(asked["image"], bool)` left out
(test_bad_bodies).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.mechanics_page import Asked, Bench
from convscope.web import server
from tests.nets import NETS
from tests.web.test_server import HERE, TOKEN, FakeSession

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in test_server.py
    from starlette.testclient import TestClient

QUESTION = {"image": 1, "layer": "conv1", "channel": 0, "changes": [{"pixel": [0, 5, 9], "value": 1.5}]}


class Session(FakeSession):
    """A network of random numbers; image n is all n."""

    def __init__(self) -> None:
        super().__init__()
        model, self.x = NETS["plain"]()
        self.bench = Bench(cs.open(model, example=self.x))

    def mechanics(self, image: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        question = Asked.read(asked)
        return self.bench.answer(self.x[:1] * 0 + float(image), question)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("atlas")
    (folder / "data").mkdir()
    (folder / "index.html").write_text('<!doctype html><html lang="en"></html>')
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(server.create_app(folder, TOKEN, Session()), base_url=HERE) as client:
        client.get(f"/?token={TOKEN}")
        yield client


def test_a_layer_is_answered(client: TestClient) -> None:
    answer = client.post("/api/mechanics", json=QUESTION)
    assert answer.status_code == 200
    page = answer.json()
    assert (page["kind"], page["channel"], page["maps"]["y"]["shape"]) == ("conv", 0, [16, 16])
    assert page["moved"]["rows"][0]["layer"] == "conv1"
    one = {"image": 1, "layer": "conv1", "direction": "weights", "at": [0, 0, 1, 1]}
    steps = client.post("/api/mechanics", json=one).json()["steps"]
    assert abs(steps["value"] - steps["check"]) < 1e-9
    assert steps["lines"][-1]["value"] == steps["value"]


def test_only_our_own_page_may_ask(client: TestClient, folder: Path) -> None:
    for headers, reason in [
        ({"host": "evil.example"}, "answers to 127.0.0.1:8765 only"),
        ({"origin": "http://evil.example"}, "may not ask this server"),
        ({"sec-fetch-site": "cross-site"}, "another site may not load anything"),
    ]:
        refused = client.post("/api/mechanics", json=QUESTION, headers=headers)
        assert refused.status_code == 403
        assert reason in refused.json()["error"]
    stranger = TestClient(server.create_app(folder, TOKEN, Session()), base_url=HERE)
    refused = stranger.post("/api/mechanics", json=QUESTION)
    assert refused.status_code == 403
    assert "has not the server's token" in refused.json()["error"]
    assert client.get("/api/mechanics").status_code in (404, 405)


@pytest.mark.parametrize(("body", "message"), [
    ("", "the question is no JSON"),
    ("{", "the question is no JSON"),
    ("[" * 30_000, "the question is no JSON"),
    ("[]", "the question must be a JSON object; it is list"),
    ('{"layer": "conv1"}', "the question's 'image' is missing or of the wrong type; it is None"),
    ('{"image": true, "layer": "conv1"}', "the question's 'image' is missing or of the wrong type; it is True"),
    ('{"image": 1.5, "layer": "conv1"}', "the question's 'image' is missing or of the wrong type; it is 1.5"),
    ('{"image": "../x", "layer": "conv1"}', "no image is called '../x'"),
    ('{"image": "upload-0", "layer": "conv1"}', "no upload 'upload-0' is kept"),
    ('{"image": 1}', "the question's 'layer' must be a layer's address"),
    ('{"image": 1, "layer": "conv9"}', "no layer named 'conv9'; closest: 'conv2', 'conv1'"),
    ('{"image": 1, "layer": "conv1", "channel": NaN}', "the question is no JSON; NaN is no number"),
    ('{"image": 1, "layer": "conv1", "changes": [{"pixel": [0, 0, 0], "value": Infinity}]}', "Infinity is no number"),
    ('{"image": 1, "layer": "conv1", "changes": [{"pixel": [0, 0, 0], "value": 1e999}]}', "'value' must be a number"),
    ('{"image": 1, "layer": "conv1", "changes": [{"pixel": [0, 0, 0], "value": "1"}]}', "'value' must be a number"),
    ('{"image": 1, "layer": "conv1", "at": "5,9", "direction": "input"}', "'at' must be a few numbers in a list"),
])  # fmt: skip
def test_bad_bodies(client: TestClient, body: str, message: str) -> None:
    answer = client.post("/api/mechanics", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_question_has_a_size(client: TestClient) -> None:
    answer = client.post("/api/mechanics", content=json.dumps(QUESTION | {"layer": "x" * server.BODY}))
    assert answer.status_code == 413
    assert "larger than 64,000 bytes" in answer.json()["error"]


def test_what_is_not_finite_is_null(folder: Path) -> None:
    class Broken(FakeSession):
        def mechanics(self, image: Any, asked: Any) -> dict[str, Any]:
            return {"loss": np.float64(np.nan), "answers": [{"probability": float("inf")}], "count": np.int64(3)}

    client = TestClient(server.create_app(folder, TOKEN, Broken()), base_url=HERE, headers={"x-convscope-token": TOKEN})
    answer = client.post("/api/mechanics", json=QUESTION).json()
    assert answer == {"loss": None, "answers": [{"probability": None}], "count": 3}
