"""What the page asks about images among images while it is served: maps of a layer that grow, nearest images, refusals.

Mutations that turn it red: in server._of_a_layer, `not isinstance(asked.get("layer"), str)` -> `False`; in
atlas/of_images.py, `k=NEAREST` -> `k=1`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.atlas import of_images
from convscope.errors import Cancelled
from convscope.session import Session
from tests.atlas import small
from tests.web.test_attribute import atlas, client, session  # noqa: F401 - fixtures
from tests.web.test_server import TestClient, wait


def test_a_map_is_what_python_gives(client: TestClient, session: Session) -> None:  # noqa: F811
    done = wait(client, client.post("/api/map", json={"layer": "0"}).json()["job"])
    assert done["state"] == "done", done
    pages = done["result"]
    last = pages[-1]
    assert [v["name"] for v in pages[0]["views"]] == ["PCA"]
    assert last["layer"] == "0"
    same = cs.study(session.network, session.collection, session.folder / "record", "0", "pca", most=2000)
    np.testing.assert_allclose(last["views"][0]["points"], same.points)  # type: ignore[attr-defined]
    assert [session.collection.ids[i] for i in last["index"]] == list(same.ids)  # type: ignore[attr-defined]


def test_nearest_images_are_what_python_gives(client: TestClient, session: Session) -> None:  # noqa: F811
    found = client.post("/api/alike", json={"image": 1, "layer": "0"}).json()
    same = cs.study(session.network, session.collection, session.folder / "record", "0", "neighbours", image=1, k=9)
    assert found["image"] == same.columns["image"].tolist()  # type: ignore[attr-defined]
    np.testing.assert_allclose(found["distance"], same.columns["distance"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["map", "alike"])
@pytest.mark.parametrize(("asked", "sentence"), [
    ({"image": 1}, "the question's 'layer' is missing or no name; it is None"),
    ({"image": 1, "layer": 3}, "the question's 'layer' is missing or no name; it is 3"),
    ({"image": [], "layer": "0"}, "the question's 'image' is missing or of the wrong type"),
])  # fmt: skip
def test_refused_at_once(client: TestClient, path: str, asked: Any, sentence: str) -> None:  # noqa: F811
    refused = client.post(f"/api/{path}", json=asked)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


def test_layers_and_images_that_are_not_there(client: TestClient) -> None:  # noqa: F811
    failed = wait(client, client.post("/api/map", json={"layer": "nothing"}).json()["job"])
    assert failed["state"] == "failed"
    assert "no embedded layer named 'nothing'" in failed["error"]
    refused = client.post("/api/alike", json={"image": 100000, "layer": "0"})
    assert "no image named 100000" in refused.json()["error"]


def test_an_upload_was_not_swept(client: TestClient) -> None:  # noqa: F811
    from tests.web.test_server import png

    name = client.post("/api/upload", content=png()).json()["image"]
    refused = client.post("/api/alike", json={"image": name, "layer": "0"})
    assert "which images are most like an upload; only images that were swept are compared" in refused.json()["error"]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from convscope.inputs import preprocess_of
    from convscope.record import Record
    from convscope.responses._study import Study

    net, images = small.net(), small.images()
    folder = tmp_path_factory.mktemp("bars")
    cs.respond(net, images, folder, embed=("0", "2", "6"))
    return Study(Record(folder), net, images, preprocess_of(net)[0])


def test_tsne_comes_second_and_may_be_stopped(bars: Any) -> None:
    pages: list[Any] = []
    told: list[tuple[int, int]] = []
    of_images.maps(bars, "2", 24, 0, lambda *at: told.append(at), pages.append)
    assert [[v["name"] for v in page["views"]] for page in pages] == [["PCA"], ["PCA", "t-SNE"]]
    assert told[-1] == (750, 750)
    plain = cs.study(bars.net, bars.collection, bars.record.folder, "2", "tsne", most=24)
    assert (pages[1]["views"][1]["points"] == plain.points).all()  # type: ignore[attr-defined]  # whoever watches changes nothing

    def stop(done: int, total: int) -> None:
        raise Cancelled(f"{done} of {total}")

    with pytest.raises(Cancelled, match="25 of 750"):
        of_images.maps(bars, "2", 24, 0, stop, pages.append)
    assert len(pages[2]["views"]) == 1


def test_which_layers_are_written_down(bars: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_images.kept_layers(bars, "2", 4) == ("0", "2", "6")
    monkeypatch.setattr(of_images, "NUMBERS", 24 * 4 * 25)  # 24 images, 4 pages: 20 units and some
    assert of_images.kept_layers(bars, "2", 4) == ("2",)
    page = of_images.alike_page(bars, 3, ("0", "2"))
    assert page["layers"]["2"]["image"].tolist() == of_images.alike(bars, 3, "2")["image"].tolist()
    assert 3 not in page["layers"]["2"]["image"]


def test_a_layer_that_is_silent_says_so(bars: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bars.record), "embeddings", lambda self, layer: np.zeros((24, 4), np.float32))
    found = of_images.alike_page(bars, 3, ("2",))["layers"]["2"]
    assert found["image"] == []
    assert "has no direction in 2; all its units are zero" in found["notes"][0]
