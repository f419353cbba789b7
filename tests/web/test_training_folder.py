"""training_folder: a folder with runs is served as it is now, nothing else of it, and only to whom an atlas is served.

Mutations that turn it red, tried one by one: `if path.suffix in TYPES` left out of `app`; `.replace("</", …)` left out of
`_script`; `@functools.cache` on `training_page.page` (an older state is told).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.errors import StoreError
from convscope.results import Run
from convscope.web import server, training_folder

with warnings.catch_warnings():
    # Starlette 1 says that it would rather have httpx2; what it does with httpx is the same.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


def client(folder: Path, **more: Any) -> TestClient:
    return TestClient(server.create_app(folder, "token"), base_url="http://127.0.0.1:8000", **more)


def told(page: TestClient, key: str = "training") -> dict[str, Any]:
    answer = page.get(f"/data/{key}.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.text.startswith(f'convscope.put("{key}",')
    return json.loads(answer.text[answer.text.index(",") + 1 : answer.text.rindex(")")])


def kept(folder: Path, steps: int, note: str = "") -> None:
    Run(steps={"loss": np.ones(steps)}, epochs={}, notes=(note,)).save(folder / "run.npz")


def test_a_folder_with_runs_is_served_as_it_is_now(tmp_path: Path) -> None:
    kept(tmp_path, 3)
    page = client(tmp_path)
    assert told(page)["runs"][0]["counts"]["steps"] == 3
    kept(tmp_path, 5)
    assert told(page)["runs"][0]["counts"]["steps"] == 5
    assert told(page, "network")["only"] == "training"
    assert told(page, "collection")["count"] == 0
    assert 'data-live="1"' in page.get("/").text
    names = [f.name for f in training_folder.STATIC.iterdir() if f.suffix in training_folder.TYPES]
    assert all(page.get(f"/app/{name}").status_code == 200 for name in names)


@pytest.mark.parametrize("path", ["/run.npz", "/app/index.html", "/app/..%2f__init__.py", "/app/..%2fserver.js",
                                  "/app/nothing.js", "/app/%2fetc%2fhostname", "/data/other.js", "/training/run.npz"])
def test_nothing_else_of_it_is(tmp_path: Path, path: str) -> None:
    kept(tmp_path, 1)
    (tmp_path / "data").mkdir()
    assert client(tmp_path).get(path).status_code == 404
    assert client(tmp_path).get("/data/training.js", headers={"host": "elsewhere.example"}).status_code >= 400


def test_words_of_a_run_cannot_end_the_script(tmp_path: Path) -> None:
    kept(tmp_path, 1, "</script><script>alert(1)</script>")
    assert "</script" not in client(tmp_path).get("/data/training.js").text
    assert told(client(tmp_path))["runs"][0]["notes"] == ["</script><script>alert(1)</script>"]


def test_a_folder_without_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no atlas; it has no index.html and data/"):
        client(tmp_path)
