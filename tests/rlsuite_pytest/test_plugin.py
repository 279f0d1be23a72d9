"""`pytest --rlsuite-env ID --rlsuite-agent ID`, as a third party runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

FAULTY = """
import gymnasium as gym

class Faulty(gym.Env):
    '''Forgets its seed, and pays an integer at times.'''

    observation_space = action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset()
        return 0, {}

    def step(self, action):
        if action not in (0, 1):
            raise ValueError("no such action")
        win = self.np_random.random() < 0.5
        return int(win), 1 if win else 0.0, bool(self.np_random.random() < 0.2), False, {}

gym.register("faulty/Faulty-v0", "faulty:Faulty", max_episode_steps=10)
"""


@pytest.fixture
def run_pytest(tmp_path):
    """Runs pytest in an empty project, with this plugin alone."""
    tmp_path.joinpath("faulty.py").write_text(FAULTY, encoding="utf-8")

    def run(*arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "rlsuite_pytest", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_a_third_partys_environment(run_pytest):
    fast = "not sb3 and not import_weight"
    done = run_pytest("-v", "-rs", "-k", fast, "--rlsuite-env", "faulty:faulty/Faulty-v0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rlsuite::env[faulty:faulty/Faulty-v0]::episodes_end PASSED" in done.stdout
    assert "rlsuite::env[faulty:faulty/Faulty-v0]::determinism FAILED" in done.stdout
    assert "seed 5 twice: event" in done.stdout
    assert "rewards are now float and now int" in done.stdout
    assert "it offers no get_state and set_state" in done.stdout
    assert "deselected" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_agent_beside_tests_of_its_own(run_pytest, tmp_path):
    tmp_path.joinpath("test_mine.py").write_text("def test_mine(): pass\n", encoding="utf-8")
    chosen = "mine or budget or settings_read"
    done = run_pytest("-q", "-k", chosen, "--rlsuite-agent", "rlsuite/QLearning-v0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_bad_input_is_one_sentence(run_pytest):
    done = run_pytest("--rlsuite-agent", "rlsuite/QLerning-v0")
    assert done.returncode == 4
    assert "there is no agent 'rlsuite/QLerning-v0'. Did you mean" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_peoples_tests_do_not_notice(run_pytest, tmp_path):
    """Neither rlsuite nor gymnasium nor numpy is imported for them."""
    heavy = ("rlsuite", "registry", "gymnasium", "numpy", "torch")
    tmp_path.joinpath("test_mine.py").write_text(
        f"import sys\ndef test_mine(): assert [m for m in {heavy!r} if m in sys.modules] == []\n",
        encoding="utf-8",
    )
    done = run_pytest("-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--rlsuite-env=ID" in run_pytest("--help").stdout
