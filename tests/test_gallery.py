"""The gallery: a picture for every environment, small, and made by the command below it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
IDS = [e.id for e in registry.entries("env") if e.provenance.distribution == "rlsuite"]


@pytest.fixture(scope="module")
def gallery() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_gallery", ROOT / "docs" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_page_is_what_the_script_writes(gallery):
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == gallery.page()


def test_every_picture_is_there_and_no_other(gallery):
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"\]\((?:\.\./)?images/([^)]+)\)", page)}
    assert {path.name for path in IMAGES.iterdir()} == shown
    assert {p.file for p in gallery.PICTURES} <= shown


def test_every_environment_has_a_film(gallery):
    filmed = {p.words[1] for p in gallery.PICTURES if p.words[0] == "play"}
    assert filmed == set(IDS)


def test_every_command_writes_the_file_that_is_shown(gallery):
    for picture in gallery.PICTURES:
        assert picture.words[-1] == picture.file
        assert f"](images/{picture.file})" in gallery.page()


def test_every_environments_page_shows_its_film(gallery):
    for picture in gallery.PICTURES:
        page = re.search(r"environments/\w+\.md", picture.title)
        if page is not None:
            text = (ROOT / "docs" / page[0]).read_text(encoding="utf-8")
            assert f"](../images/{picture.file})" in text


def test_pictures_are_small_and_legible():
    total = 0
    for path in IMAGES.iterdir():
        size = path.stat().st_size
        total += size
        assert size < 500_000, path.name
        with Image.open(path) as image:
            assert image.width in range(400, 2200), path.name
            assert image.height in range(200, 2200), path.name
            assert path.suffix != ".gif" or image.n_frames > 5, path.name
    assert total < 3_000_000


def test_a_picture_is_drawn_where_it_is_told(gallery, tmp_path, capsys):
    (picture,) = (p for p in gallery.PICTURES if p.file == "grid_world_values.png")
    gallery.draw(picture, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [picture.file]
    assert capsys.readouterr().out == f"Wrote {picture.file}\n"


def test_a_command_that_fails_is_not_hidden(gallery, tmp_path):
    broken = gallery.Picture(file="a.gif", title="", text="", command="play no/Such-v0 --gif a.gif")
    with pytest.raises(SystemExit):
        gallery.draw(broken, tmp_path)
