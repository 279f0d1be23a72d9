"""Each fault that `rlsuite doctor` knows, brought about on purpose."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from registry.plugins import PluginReport
from rlsuite import diagnosis
from rlsuite.diagnosis import diagnose
from rlsuite.store import DEFAULT_PATH, Store


def named(checks, name):
    return {check.name: check for check in checks}[name]


def test_this_installation_is_sound(tmp_path):
    checks = diagnose(tmp_path)
    assert [check for check in checks if check.status == "broken"] == []
    names = [check.name for check in checks]
    for name in ("Python", "Versions", "Entry points", "PyTorch", "Results folder", "SQLite"):
        assert name in names
    assert "numpy" in named(checks, "Versions").found
    assert list(tmp_path.iterdir()) == []


def test_every_broken_thing_has_a_remedy_of_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "plugin_report", PluginReport)
    monkeypatch.setattr(
        diagnosis, "installed_version", lambda name: "2.6" if name == "pygame" else None
    )
    monkeypatch.setattr(diagnosis, "journal_mode", lambda folder: "delete")
    monkeypatch.setattr(diagnosis, "write_failure", lambda folder: "Read-only file system")
    monkeypatch.setattr(sys, "version_info", (3, 10))
    broken = [check for check in diagnose(tmp_path) if check.status == "broken"]
    found = {check.name for check in broken}
    assert found == {"Python", "Libraries", "pygame", "Entry points", "Results folder", "SQLite"}
    assert all(check.remedy for check in broken)


def test_pygame_beside_pygame_ce(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "installed_version", lambda name: "2.6.1")
    check = named(diagnose(tmp_path), "pygame")
    assert check.status == "broken"
    assert "pip uninstall -y pygame pygame-ce" in check.remedy


def test_a_missing_library(monkeypatch, tmp_path):
    real = diagnosis.installed_version
    monkeypatch.setattr(
        diagnosis, "installed_version", lambda name: None if name == "scipy" else real(name)
    )
    check = named(diagnose(tmp_path), "Libraries")
    assert check.found == "not installed: scipy"
    assert check.remedy == "Install them: pip install scipy"


def test_built_ins_that_did_not_register(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "plugin_report", PluginReport)
    check = named(diagnose(tmp_path), "Entry points")
    assert check.status == "broken"
    assert "agents, environments, suites did not register" in check.found


@pytest.mark.parametrize(("switch", "unknown"), [("off", 0), ("agents, rlsuite", 0), ("agenst", 1)])
def test_a_misspelt_name_in_the_switch_is_found(monkeypatch, tmp_path, switch, unknown):
    monkeypatch.setenv("RLSUITE_PLUGINS", switch)
    found = [check for check in diagnose(tmp_path) if check.name == "Plugin switch"]
    assert len(found) == unknown
    assert all("RLSUITE_PLUGINS names agenst" in check.found for check in found)


def test_a_torch_that_cannot_be_imported(monkeypatch, tmp_path):
    def refuse(name: str) -> None:
        raise OSError("libcudart.so.12:\n cannot open shared object file")

    monkeypatch.setattr(diagnosis.importlib, "import_module", refuse)
    check = named(diagnose(tmp_path), "PyTorch")
    assert check.status == "broken"
    assert check.found == "cannot be imported: libcudart.so.12: cannot open shared object file"


def test_a_torch_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis.importlib.util, "find_spec", lambda name: None)
    assert named(diagnose(tmp_path), "PyTorch").found == "not installed"


def test_a_folder_that_cannot_be_written(tmp_path):
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    check = named(diagnose(not_a_folder / "results"), "Results folder")
    assert check.status == "broken"
    assert "Not a directory" in check.found


def test_a_folder_that_is_still_to_be_made_can_be_written(tmp_path):
    assert diagnosis.write_failure(tmp_path / "a" / "b") is None
    assert not (tmp_path / "a").exists()


def test_no_place_for_compiled_code_is_a_note_and_not_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "write_failure", lambda folder: "Read-only file system")
    check = named(diagnose(tmp_path), "Numba cache")
    assert check.status == "note"
    assert "NUMBA_CACHE_DIR" in check.remedy


def test_sqlite_that_refuses(monkeypatch, tmp_path):
    def refuse(folder: Path | None) -> str:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(diagnosis, "journal_mode", refuse)
    check = named(diagnose(tmp_path), "SQLite")
    assert check.status == "broken"
    assert "an error: disk I/O error" in check.found


def test_the_store_of_the_folder_is_read(tmp_path):
    with Store(tmp_path / DEFAULT_PATH):
        pass
    check = named(diagnose(tmp_path), "Store")
    assert check.status == "ok"
    assert "holds 0 cells" in check.found


def test_a_store_that_was_only_begun_is_an_empty_one(tmp_path):
    """A full disk may leave a header without a table behind."""
    path = tmp_path / DEFAULT_PATH
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    check = named(diagnose(tmp_path), "Store")
    assert check.status == "ok"
    assert "holds 0 cells" in check.found


def test_a_damaged_store_is_found(tmp_path):
    path = tmp_path / DEFAULT_PATH
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    check = named(diagnose(tmp_path), "Store")
    assert check.status == "broken"
    assert "it is no SQLite file" in check.found


@pytest.mark.parametrize("folder", [None, "here"])
def test_the_probe_of_sqlite_leaves_nothing(folder, tmp_path):
    assert diagnosis.journal_mode(None if folder is None else tmp_path) == "wal"
    assert list(tmp_path.iterdir()) == []
