"""Every example and every block of the README runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
SHORT = {
    "alignment_regret": ["1", "600", "2"],
    "broken_alignment": ["2_000"],
    "deep_sea": ["4", "6"],
    "dpo_frontier": ["2_000", "2"],
    "dyna_maze": ["2"],
    "gdpo": ["1", "400"],
    "gridworld_from_pixels": ["DQN", "400"],
    "offline_cliff": ["50", "150"],
    "reinforce_baseline": ["3"],
}
"""Words after the examples that take long as they stand."""


def run(code: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "default", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_runs_and_is_short(path, tmp_path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    assert run([str(path), *SHORT.get(path.stem, [])], tmp_path).strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_long_example_runs_as_it_stands(name, tmp_path):
    assert run([str(ROOT / "examples" / f"{name}.py")], tmp_path).strip()


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["DQN", "PPO"])
def test_a_grid_is_solved_from_pixels(agent, tmp_path):
    *_, last = run([str(ROOT / "examples/gridworld_from_pixels.py"), agent], tmp_path).splitlines()
    (score,) = re.findall(r"steps: greedy score +(\S+) \(exact\)$", last)
    assert float(score) >= 0.95


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_readme_runs(number, tmp_path):
    assert run(["-c", BLOCKS[number]], tmp_path).strip()


def test_the_readme_has_blocks_and_names_every_example():
    assert len(BLOCKS) >= 2
    for path in EXAMPLES:
        assert f"examples/{path.name}" in README


def test_the_suite_in_the_readme_is_a_suite(tmp_path):
    from rlsuite.suite import Suite

    (text,) = re.findall(r"^```toml\n(name = .*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    assert tomllib.loads(text)["name"] == "cliff"
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8")
    assert len(Suite.from_toml(path).grids) == 1
