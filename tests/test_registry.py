"""The folder is the registry.

Turns red: in `_stems`, drop `if not p.name.startswith("_")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convscope import registry
from convscope.errors import UnknownName

LEAF = '"""A leaf."""\nclass LayerCAM:\n    """Which pixels?"""\n'


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package's folders with two leaves and a few factories."""
    for folder, file, text in (
        ("attributions", "layer_cam", LEAF),
        ("attributions", "_shared", ""),
        ("attributions", "__init__", ""),
        ("zoo", "resnet", "def resnet18(): ...\ndef _private(): ...\nclass Net: ...\n"),
        ("zoo", "_blocks", "def block(): ...\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{file}.py").write_text(text)
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    registry._stems.cache_clear()
    registry.factories.cache_clear()
    yield tmp_path
    registry._stems.cache_clear()
    registry.factories.cache_clear()


def test_names_are_files(house: Path) -> None:
    assert registry.names("attributions") == ("layer-cam",)
    assert registry.describe("attributions", "layer-cam").class_name == "LayerCAM"
    assert registry.describe("attributions", "Layer_CAM").question == "Which pixels?"


def test_factories_are_public_functions(house: Path) -> None:
    assert registry.factories() == {"resnet18": "resnet"}


def test_unknown_names_get_the_closest(house: Path) -> None:
    with pytest.raises(
        UnknownName, match="no attribution named 'layer-can'; closest: 'layer-cam'; `convscope list attributions` shows all"
    ):
        registry.load("attributions", "layer-can")
    with pytest.raises(
        UnknownName, match="no architecture named 'resnet19'; closest: 'resnet18'; `convscope list zoo` shows all"
    ):
        registry.factory("resnet19")


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_leaf_loads_and_is_described_from_source(family: str) -> None:
    from convscope import fields

    for name in registry.names(family):
        leaf = registry.load(family, name)
        assert registry.describe(family, name).parameters == fields.describe(leaf)
