"""What the page asks of features/ while it is served: pictures, tables, refusals, on a real atlas.

Mutations that turn it red: in server._about_a_unit, `not isinstance(asked.get("target"), str)` -> `False`; in
Session.feature, `record=self.folder / "record"` -> `record=None`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.session import Session
from tests.web.test_attribute import atlas, client, session  # noqa: F401 - fixtures
from tests.web.test_server import TestClient, wait


def answer(client: TestClient, **asked: Any) -> dict[str, Any]:  # noqa: F811
    return wait(client, client.post("/api/feature", json=asked).json()["job"])


def test_a_units_picture_is_what_python_gives(client: TestClient, session: Session) -> None:  # noqa: F811
    parameters = {"steps": 8, "sign": "both"}
    done = answer(client, target="0/3", method="activation-maximisation", parameters=parameters)
    assert done["state"] == "done", done
    found = done["result"]
    same = cs.feature(session.network, "0/3", "activation-maximisation", images=session.collection,
                      record=session.folder / "record", **parameters)  # fmt: skip
    assert (found["kind"], found["captions"]) == ("picture", list(same.units))
    np.testing.assert_allclose(found["values"]["response"], same.values["response"], rtol=1e-5)
    assert found["values"]["strongest"][0] == pytest.approx(float(same.values["strongest"][0]))
    assert found["settings"] == same.origin.method
    assert client.get(f"/{found['sheet']['file']}").content[:4] == b"\x89PNG"


def test_an_image_of_the_collection_may_come_along(client: TestClient) -> None:  # noqa: F811
    found = answer(client, target="0", method="dream", image=1, parameters={"steps": 1, "octaves": 1})
    assert found["state"] == "done", found
    assert found["result"]["kind"] == "picture"
    table = answer(client, target="0", method="duplicates")["result"]
    assert table["kind"] == "table"
    assert set(table["units"]) == set(table["columns"])


@pytest.mark.parametrize(("asked", "sentence"), [
    ({"target": "0/1", "method": "no-such"}, "no feature named 'no-such'"),
    ({"target": "0/1", "method": "dream", "parameters": {"stepz": 1}}, "no parameter of dream named 'stepz'; closest: 'ste"),
    ({"method": "dream"}, "the question's 'target' is missing"),
    ({"target": 3, "method": "dream"}, "the question's 'target' is missing or of the wrong type"),
    ({"target": "0/1", "method": "dream", "image": "nine"}, "no image is called 'nine'"),
])  # fmt: skip
def test_refused_at_once(client: TestClient, asked: Any, sentence: str) -> None:  # noqa: F811
    refused = client.post("/api/feature", json=asked)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


def test_a_unit_that_is_not_there_is_an_error_of_the_job(client: TestClient) -> None:  # noqa: F811
    done = answer(client, target="0/99", method="activation-maximisation", parameters={"steps": 1})
    assert done["state"] == "failed"
    assert "99" in done["error"]
    done = answer(client, target="0", method="dream", image=600)
    assert "no image named '600'" in done["error"]
    assert "numbers go from 0 to 5" in done["error"]
