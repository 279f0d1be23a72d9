"""A complete third-party package: installed, found, made, trained, benchmarked, uninstalled."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "examples" / "plugin_racetrack"
OURS = ["racetrack/MonteCarlo-v0", "racetrack/Racetrack-v0", "racetrack/SmallTrack-v0"]

IDS = """
import json, rlsuite, gymnasium
from registry.catalogue import KINDS, registry
found = {i for kind in KINDS for i in registry.ids(kind)} | set(gymnasium.registry)
print(json.dumps(sorted(i for i in found if "racetrack" in i)))
"""

MAKE_AND_TRAIN = """
import gymnasium as gym, rlsuite
env = gym.make("racetrack/Racetrack-v0", track="small")
agent = rlsuite.make_agent("racetrack/MonteCarlo-v0", env, seed=0, step_size=0.2)
agent.learn(30_000)
found = rlsuite.evaluate(agent, env, seed=0)
assert found.method == "exact", found
assert found.score > 0.5, found
assert agent.num_timesteps == 30_000
"""

BENCHMARK = """
import json, rlsuite
result = rlsuite.benchmark(
    agents={"mc": "racetrack/MonteCarlo-v0", "q": "rlsuite/QLearning-v0"},
    tasks=["racetrack/SmallTrack-v0"], seeds=2, total_timesteps=2_000, store="r.sqlite",
)
records = [r for r in result.records]
assert [r.state for r in records] == ["ok"] * 4, [r.error for r in records]
assert "rlsuite-racetrack" in json.dumps([dict(r.key.identity) for r in records], default=str)
assert {r.family for r in records} == {"racetrack"}
assert all(r.optimal_return is not None for r in records)
"""


class Place:
    """A virtual environment that sees the packages of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False, symlinks=os.name != "nt")
        scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.folder, self.interpreter = folder, str(scripts / "python")
        answer = self.python("-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])")
        outer = f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
        Path(answer.stdout.strip(), "outer.pth").write_text(outer, encoding="utf-8")

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the interpreter of this place."""
        return self._run(self.interpreter, *arguments)

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs pip for this place, without a network."""
        pip = [sys.executable, "-m", "pip", "--python", self.interpreter]
        return self._run(*pip, "--disable-pip-version-check", "--no-input", *arguments)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RLSUITE_", "PYTHON"))}
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**clean, "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def ids(self) -> list[str]:
        """All registered ids that speak of racetracks."""
        return json.loads(self.python("-c", IDS).stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("racetrack")
    made = Place(folder)
    assert made.ids() == []
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*")
    shutil.copytree(SOURCE, folder / "source", ignore=ignored)
    made.pip("install", "--no-deps", "--no-build-isolation", str(folder / "source"))
    yield made
    made.pip("uninstall", "-y", "rlsuite-racetrack")
    assert made.ids() == []


def test_it_is_found(place):
    assert place.ids() == OURS
    shown = place.python("-m", "rlsuite.cli.main", "plugins").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("racetrack ")]
    assert "rlsuite-racetrack 0.1.0" in line
    assert (
        "rlsuite-racetrack 0.1.0" in place.python("-m", "rlsuite.cli.main", "list", "envs").stdout
    )


def test_it_is_made_and_trained(place):
    place.python("-W", "error", "-c", MAKE_AND_TRAIN)


def test_it_is_benchmarked_with_its_provenance_in_the_key(place):
    place.python("-W", "error", "-c", BENCHMARK)


def test_its_readme_speaks_the_truth(place):
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^rlsuite train (.*)$", text, flags=re.MULTILINE)
    shown = place.python("-m", "rlsuite.cli.main", "train", *command.split(), "--steps", "2000")
    assert "racetrack/SmallTrack-v0: exact" in shown.stdout
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    (promised,) = re.findall(r"# (-[0-9.]+):", block)
    printed = place.python("-c", block).stdout
    assert round(float(printed), 2) == float(promised)


def test_its_own_tests_pass(place):
    config = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(place.folder)]
    done = place.python("-W", "error", "-m", "pytest", "-q", *config, "source/tests")
    assert "passed" in done.stdout


def test_the_package_is_small_enough_to_read_in_one_sitting():
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (SOURCE / "rlsuite_racetrack").glob("*.py")
    }
    assert sum(lines.values()) <= 500, lines
