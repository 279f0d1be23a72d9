"""Tiny installed packages for the tests of this folder, and a fresh Python that sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


class SitePackages:
    """A folder on PYTHONPATH into which packages are installed as pip would: with a dist-info."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        files: Mapping[str, str],
        entry_points: Mapping[str, str],
        version: str = "1.0",
    ) -> None:
        """Writes the files, and the metadata by which the entry points are found."""
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        info.joinpath("entry_points.txt").write_text(
            "\n".join(["[rlsuite.plugins]", *lines]) + "\n", encoding="utf-8"
        )

    def install_module(self, distribution: str, register: str, module: str = "") -> None:
        """One package `<distribution>/plugin.py` with the given text, declared as `name`."""
        name = module or distribution.replace("-", "_")
        files = {f"{name}/__init__.py": "", f"{name}/plugin.py": register}
        self.install(distribution, files, {distribution: f"{name}.plugin:register"})


@pytest.fixture
def site(tmp_path: Path) -> SitePackages:
    """An empty folder for installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    return SitePackages(folder)


@pytest.fixture
def run(site: SitePackages, tmp_path: Path) -> Run:
    """Runs a command line in a fresh process that sees `site`."""

    def run_command(
        *arguments: str, plugins: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RLSUITE_")}
        environment["PYTHONPATH"] = str(site.folder)
        environment["OMP_NUM_THREADS"] = "1"
        if plugins is not None:
            environment["RLSUITE_PLUGINS"] = plugins
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_command
