"""Every environment that rlsuite registers: the conformance kit, and the rules of this house.

The kit holds an environment to what anybody may expect; the rules here are stricter: exact answer
keys, one uniform at a time, Python's own types, errors of one family.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry
from registry.contracts import HasOracle
from registry.errors import InvalidActionError, OracleError
from rlsuite.testing import ENV_CHECKS, env_subject
from rlsuite.testing.walks import plain, require_same, rows, seeded_walk, walk

IDS = [e.id for e in registry.entries("env") if e.provenance.distribution == "rlsuite"]

MAY_NOT_APPLY = {
    "answer_key_info",
    "action_masks_truthful",
    "invalid_actions_refused",  # by the kit for Discrete actions alone, by us for all, see below
    "model_matches_simulator",
    "time_limit",  # bandits and texts end by themselves; limits around them are still tried
}
DRAWN = {"rlsuite/GaussianBandit-v0"}
"""Their arms are drawn at resets: the answer key is that of an instance."""

CONTINUUM = {"rlsuite/WheelBandit-v0"}
"""Their contexts cannot be listed."""

every_id = pytest.mark.parametrize("identifier", IDS)


def limit(identifier: str) -> int | None:
    return gym.spec(identifier).max_episode_steps


def test_there_are_environments_of_every_family():
    assert {
        "rlsuite/BernoulliBandit-v0",
        "rlsuite/CliffWalk-v0",
        "rlsuite/ContextualBandit-v0",
        "rlsuite/DeepSea-v0",
        "rlsuite/DynaMaze-v0",
        "rlsuite/Garnet-v0",
        "rlsuite/GoalGrid-v0",
        "rlsuite/GridWorld-v0",
        "rlsuite/LQR-v0",
        "rlsuite/RandomWalk-v0",
        "rlsuite/TokenGeneration-v0",
        "rlsuite/WindyGrid-v0",
    } <= set(IDS)


@every_id
@pytest.mark.parametrize("check", ENV_CHECKS, ids=str)
def test_the_conformance_kit_finds_nothing(identifier, check):
    result = check.run(env_subject(identifier))
    may_skip = MAY_NOT_APPLY | ({"oracle_matches_sampling"} if identifier in DRAWN else set())
    allowed = {"passed", "skipped"} if check.name in may_skip else {"passed"}
    assert result.status in allowed, result


@every_id
def test_states_are_numbers_of_python(identifier):
    env = gym.make(identifier).unwrapped
    if isinstance(env.observation_space, gym.spaces.Discrete):
        for event in seeded_walk(env, 50, 0):
            assert type(event.observation) is int
    for event in seeded_walk(env, 50, 0):
        assert type(event.reward) is float


class OnlyRandom:
    """A generator that can draw one uniform at a time and nothing else."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def random(self) -> float:
        return self._rng.random()


@every_id
def test_randomness_is_one_uniform_at_a_time(identifier):
    """So that blocks of uniforms drawn ahead give the same course."""
    env, other = gym.make(identifier).unwrapped, gym.make(identifier).unwrapped
    env.reset(seed=0)
    other.reset(seed=0)
    env._np_random = OnlyRandom(env.np_random)
    require_same(walk(env, 200, 1), walk(other, 200, 1), "without other draws")


@every_id
@pytest.mark.parametrize("wrapped", [True, False])
def test_an_action_outside_the_space_is_refused(identifier, wrapped):
    env = gym.make(identifier)
    env = env if wrapped else env.unwrapped
    env.reset(seed=0)
    before = env.unwrapped.get_state()
    if isinstance(env.action_space, gym.spaces.Discrete):
        outside = [int(env.action_space.n), -1, 0.5]
    else:
        outside = [2.0 * env.action_space.high, env.action_space.low - 1.0, 0.5]
    for action in (*outside, None, "0"):
        with pytest.raises(InvalidActionError, match="action"):
            env.step(action)
    assert env.unwrapped.get_state() == before


@every_id
def test_the_answer_key_is_exact(identifier):
    env = gym.make(identifier)
    assert isinstance(env.unwrapped, HasOracle)
    env.reset(seed=0)
    oracle = env.unwrapped.oracle(horizon=limit(identifier))
    scope = "instance" if identifier in DRAWN else "task"
    assert (oracle.provenance, oracle.scope) == ("exact", scope)
    assert type(oracle.optimal_return) is type(oracle.baseline_return) is float
    assert np.isfinite([oracle.optimal_return, oracle.baseline_return]).all()
    assert oracle.optimal_return >= oracle.baseline_return
    stationary = oracle.best_stationary_return
    assert stationary is None or stationary <= oracle.optimal_return


@every_id
def test_oracle_observations_are_the_environments_own(identifier):
    env = gym.make(identifier)
    env.reset(seed=0)
    if not isinstance(env.action_space, gym.spaces.Discrete) or identifier in CONTINUUM:
        with pytest.raises(OracleError, match="cannot be listed"):
            env.unwrapped.oracle().observations()
        return
    singles = rows(env.unwrapped.oracle(horizon=limit(identifier)).observations())
    assert len(singles) > 0
    assert all(single in env.observation_space for single in singles[:200])
    seen, _ = env.reset(seed=0)
    assert any(plain(seen) == plain(one) for one in singles)


def test_programs_that_import_gymnasium_alone_can_name_the_module():
    """`gym.make("rlsuite:rlsuite/...")` in a fresh process."""
    program = (
        "import gymnasium as gym\n"
        f"for i in {IDS!r}:\n"
        "    env = gym.make('rlsuite:' + i)\n"
        "    env.reset(seed=0)\n"
        "    env.step(env.action_space.sample())\n"
        "    print(env.spec.id)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == IDS


def test_gymnasiums_own_suite_passes_on_our_ids(tmp_path):
    """`tests/envs/test_envs.py` of a Gymnasium checkout, unmodified, over the ids of rlsuite."""
    source = os.environ.get("GYMNASIUM_SOURCE")
    if not source:
        pytest.skip("GYMNASIUM_SOURCE names no Gymnasium checkout; wheels carry no tests")
    suite = Path(source).resolve() / "tests" / "envs" / "test_envs.py"
    assert suite.is_file(), f"GYMNASIUM_SOURCE={source} has no tests/envs/test_envs.py"
    plugins = Path(__file__).parent / "upstream"
    report = tmp_path / "report.xml"
    flags = ["-p", "rlsuite_specs", "-p", "no:cacheprovider", "--import-mode=prepend"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, f"--junitxml={report}", str(suite)],
        cwd=tmp_path,
        env={
            **os.environ,
            "GYMNASIUM_SOURCE": str(Path(source).resolve()),
            "PYTHONPATH": os.pathsep.join([str(plugins), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = [case.attrib["name"] for case in ElementTree.parse(report).iter("testcase")]
    for test in (
        "test_all_env_api",
        "test_all_env_passive_env_checker",
        "test_env_determinism_rollout",
        "test_pickle_env",
    ):
        assert {f"{test}[{identifier}]" for identifier in IDS} <= set(names)
