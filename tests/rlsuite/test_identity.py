"""What a key is made of does not depend on where a command is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlsuite import identity

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = "from rlsuite.identity import _is_editable; print(_is_editable('rlsuite'))"


def made(folder, name, direct_url):
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if direct_url:
        (info / "direct_url.json").write_text(direct_url)


@pytest.mark.parametrize(
    ("copies", "editable"),
    [
        ([""], False),
        (['{"url": "file:///x", "dir_info": {}}'], False),
        (['{"url": "file:///x", "dir_info": {"editable": true}}'], True),
        (["", '{"url": "file:///x", "dir_info": {"editable": true}}'], True),
        ([], True),  # nothing says which version it is
    ],
)
def test_editable_is_what_any_metadata_on_the_path_says(tmp_path, monkeypatch, copies, editable):
    for number, text in enumerate(copies):
        made(tmp_path / str(number), "somebodys", text)
    folders = [str(tmp_path / str(number)) for number in range(len(copies))]
    monkeypatch.setattr(sys, "path", [*folders, *sys.path])
    assert identity._is_editable("somebodys") is editable


def test_the_folder_of_the_source_gives_the_same_answer_as_any_other(tmp_path):
    answers = {
        subprocess.run(
            [sys.executable, "-c", CODE], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        for folder in (ROOT, tmp_path)
    }
    assert len(answers) == 1
