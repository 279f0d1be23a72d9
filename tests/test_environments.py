"""The contract of every environment that rlsuite registers: one test per promise, over all ids."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry
from registry.contracts import ANSWER_KEY_INFO, HasOracle
from registry.errors import InvalidActionError

IDS = [e.id for e in registry.entries("env") if e.provenance.distribution == "rlsuite"]
UNIFORM_BASELINE = [i for i in IDS if registry.task_spec(i).metric != "objective"]
LONGEST = 1000  # steps within which every episode of a default environment ends

every_id = pytest.mark.parametrize("identifier", IDS)


def actions_for(env: gym.Env, count: int, seed: int = 1) -> list[Any]:
    """Actions drawn blindly from the space: masks are no reason to fail."""
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def walk(env: gym.Env, actions: list[Any]) -> Iterator[tuple[Any, ...]]:
    """What `step` returns for each action; after an end, what the unseeded `reset` returns too."""
    for action in actions:
        outcome = env.step(action)
        yield outcome
        if outcome[2] or outcome[3]:
            yield env.reset()


def assert_same_walk(left: gym.Env, right: gym.Env, actions: list[Any]) -> None:
    """Both environments go the same way, in values and types, and end in the same state."""
    for one, other in zip(walk(left, actions), walk(right, actions), strict=True):
        assert data_equivalence(one, other, exact=True), f"{one!r} is not {other!r}"
    assert left.unwrapped.get_state() == right.unwrapped.get_state()


def limit(identifier: str) -> int | None:
    return gym.spec(identifier).max_episode_steps


def test_there_are_environments_of_every_family():
    assert {
        "rlsuite/BernoulliBandit-v0",
        "rlsuite/CliffWalk-v0",
        "rlsuite/ContextualBandit-v0",
        "rlsuite/GridWorld-v0",
        "rlsuite/TokenGeneration-v0",
    } <= set(IDS)


@every_id
def test_gymnasiums_checker_has_nothing_to_say(identifier):
    """Warnings are errors here."""
    check_env(gym.make(identifier).unwrapped)


@every_id
def test_stable_baselines3s_checker_has_nothing_to_say(identifier):
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    sb3_check_env(gym.make(identifier))
    sb3_check_env(gym.make(identifier).unwrapped)


@every_id
def test_the_passive_checker_has_nothing_to_say_in_three_episodes(identifier):
    env = gym.make(identifier)
    ends = 0
    env.reset(seed=0)
    for action in actions_for(env, 3 * LONGEST):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            ends += 1
            env.reset()
        if ends == 3:
            break
    assert ends == 3


@every_id
def test_one_seed_one_course(identifier):
    """Whole episodes, and the unseeded episodes after them."""
    left, right = gym.make(identifier), gym.make(identifier)
    first = left.reset(seed=5)
    assert data_equivalence(first, right.reset(seed=5), exact=True)
    assert_same_walk(left, right, actions_for(left, LONGEST + 50))


@every_id
def test_a_seeded_reset_forgets_what_was_before(identifier):
    used, fresh = gym.make(identifier), gym.make(identifier)
    used.reset(seed=1)
    list(walk(used, actions_for(used, 37)))
    assert data_equivalence(used.reset(seed=2), fresh.reset(seed=2), exact=True)
    assert_same_walk(used, fresh, actions_for(used, 200))


@every_id
def test_another_seed_moves_the_generator_elsewhere(identifier):
    left, right = gym.make(identifier).unwrapped, gym.make(identifier).unwrapped
    left.reset(seed=1)
    right.reset(seed=2)
    assert left.get_state() != right.get_state()


@every_id
def test_python_types_come_out(identifier):
    env = gym.make(identifier).unwrapped
    observation, info = env.reset(seed=0)
    outcomes = [env.step(action) for action in actions_for(env, 1)]
    for value in (observation, outcomes[0][0]):
        assert value in env.observation_space
        if isinstance(env.observation_space, gym.spaces.Discrete):
            assert type(value) is int
    _, reward, terminated, truncated, step_info = outcomes[0]
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert type(info) is type(step_info) is dict


def schema(value: Any) -> Any:
    """Types all the way down: of arrays also dtype and shape."""
    if isinstance(value, Mapping):
        return {key: schema(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return (value.dtype, value.shape)
    return type(value)


@every_id
def test_info_keeps_its_keys_and_types(identifier):
    """Vector environments make one array per key, of the type they see first."""
    env = gym.make(identifier)
    resets, steps = [schema(env.reset(seed=0)[1])], []
    for outcome in walk(env, actions_for(env, LONGEST + 200)):
        (resets if len(outcome) == 2 else steps).append(schema(outcome[-1]))
    assert len(resets) > 1
    assert all(one == resets[0] for one in resets)
    assert all(one == steps[0] for one in steps)


@every_id
def test_the_answer_key_in_info_is_typed_and_true_to_itself(identifier):
    env = gym.make(identifier)
    env.reset(seed=0)
    *_, info = env.step(actions_for(env, 1)[0])
    types = {"regret": float, "expected_reward": float, "optimal_action": int, "gold": float}
    assert set(types) == set(ANSWER_KEY_INFO)
    assert all(type(info[key]) is kind for key, kind in types.items() if key in info)
    assert info.get("regret", 0.0) >= 0.0


@every_id
@pytest.mark.parametrize("after", [0, 1, 3, 30])
def test_get_state_and_set_state_go_on_identically(identifier, after):
    env, twin = gym.make(identifier).unwrapped, gym.make(identifier).unwrapped
    env.reset(seed=4)
    list(walk(env, actions_for(env, after)))
    state = env.get_state()
    twin.set_state(json.loads(json.dumps(state)))
    assert twin.get_state() == state
    assert_same_walk(env, twin, actions_for(env, 120, seed=2))


@every_id
@pytest.mark.parametrize("go_on", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_and_pickles_go_on_identically(identifier, go_on):
    env = gym.make(identifier).unwrapped
    env.reset(seed=4)
    list(walk(env, actions_for(env, 3)))
    assert_same_walk(env, go_on(env), actions_for(env, 120, seed=2))


@every_id
def test_the_spec_survives_json(identifier):
    spec = EnvSpec.from_json(gym.spec(identifier).to_json())
    assert spec == gym.spec(identifier)
    made, again = gym.make(spec), gym.make(identifier)
    assert json.loads(made.spec.to_json()) == json.loads(again.spec.to_json())
    made.reset(seed=0)
    again.reset(seed=0)
    assert_same_walk(made, again, actions_for(made, 20))


@every_id
def test_global_generators_are_left_alone(identifier):
    def generators() -> list[Any]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002  the state is only looked at
        states = [random.getstate(), kind, keys.tolist(), *rest]
        if "torch" in sys.modules:
            states.append(sys.modules["torch"].get_rng_state().tolist())
        return states

    before = generators()
    env = gym.make(identifier)
    env.reset(seed=0)
    list(walk(env, actions_for(env, 200)))
    env.unwrapped.oracle(horizon=limit(identifier))
    assert generators() == before


class OnlyRandom:
    """A generator that can draw one uniform at a time and nothing else."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def random(self) -> float:
        return self._rng.random()


@every_id
def test_randomness_is_one_uniform_at_a_time(identifier):
    """So that blocks of uniforms drawn ahead give the same course."""
    env, plain = gym.make(identifier).unwrapped, gym.make(identifier).unwrapped
    env.reset(seed=0)
    plain.reset(seed=0)
    env._np_random = OnlyRandom(env.np_random)
    actions = actions_for(env, 200)
    for one, other in zip(walk(env, actions), walk(plain, actions), strict=True):
        assert data_equivalence(one, other, exact=True)


@every_id
@pytest.mark.parametrize("wrapped", [True, False])
def test_an_action_outside_the_space_is_refused(identifier, wrapped):
    env = gym.make(identifier)
    env = env if wrapped else env.unwrapped
    env.reset(seed=0)
    before = env.unwrapped.get_state()
    for action in (int(env.action_space.n), -1, 0.5, None, "0"):
        with pytest.raises(InvalidActionError, match="action"):
            env.step(action)
    assert env.unwrapped.get_state() == before


@every_id
def test_an_unknown_keyword_is_a_type_error(identifier):
    with pytest.raises(TypeError, match="no_such_keyword"):
        gym.make(identifier, no_such_keyword=1)


@every_id
def test_the_answer_key_is_exact(identifier):
    env = gym.make(identifier)
    assert isinstance(env.unwrapped, HasOracle)
    oracle = env.unwrapped.oracle(horizon=limit(identifier))
    assert (oracle.provenance, oracle.scope) == ("exact", "task")
    assert type(oracle.optimal_return) is type(oracle.baseline_return) is float
    assert np.isfinite([oracle.optimal_return, oracle.baseline_return]).all()
    assert oracle.optimal_return >= oracle.baseline_return
    stationary = oracle.best_stationary_return
    assert stationary is None or stationary <= oracle.optimal_return


@every_id
def test_the_oracle_knows_the_registered_limit(identifier):
    env = gym.make(identifier).unwrapped
    known, told = env.oracle(), env.oracle(horizon=limit(identifier))
    assert known.optimal_return == told.optimal_return
    assert known.baseline_return == told.baseline_return


def plain(observation: Any) -> Any:
    """Nested lists of Python numbers: scalars of NumPy and of Python compare equal."""
    if isinstance(observation, Mapping):
        return {key: plain(observation[key]) for key in sorted(observation)}
    return np.asarray(observation).tolist()


def rows(batch: Any) -> list[Any]:
    """The single observations of a batch."""
    if isinstance(batch, Mapping):
        parts = {key: rows(value) for key, value in batch.items()}
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
    return list(batch)


@every_id
def test_oracle_observations_are_the_environments_own(identifier):
    env = gym.make(identifier)
    singles = rows(env.unwrapped.oracle(horizon=limit(identifier)).observations())
    assert len(singles) > 0
    assert all(single in env.observation_space for single in singles[:200])
    seen, _ = env.reset(seed=0)
    assert any(plain(seen) == plain(one) for one in singles)


@every_id
def test_the_oracle_scores_functions_and_tables_alike(identifier):
    env = gym.make(identifier)
    oracle = env.unwrapped.oracle(horizon=limit(identifier))
    states, n = len(rows(oracle.observations())), int(env.action_space.n)
    table = np.random.default_rng(0).dirichlet(np.ones(n), size=states)
    value = oracle.policy_return(table)
    assert oracle.policy_return(lambda observations: table) == value
    assert value <= oracle.optimal_return + 1e-9
    assert isinstance(oracle.policy_metrics(table), Mapping)


@pytest.mark.parametrize("identifier", UNIFORM_BASELINE)
def test_the_baseline_is_the_uniform_policy(identifier):
    env = gym.make(identifier)
    oracle = env.unwrapped.oracle(horizon=limit(identifier))
    n = int(env.action_space.n)
    uniform = np.full((len(rows(oracle.observations())), n), 1.0 / n)
    assert oracle.policy_return(uniform) == pytest.approx(oracle.baseline_return, abs=1e-12)


@every_id
def test_vector_environments_run_fifty_steps(identifier):
    """In sync mode, each sub-environment as if it were alone with seed + its number."""
    envs = gym.make_vec(identifier, num_envs=3, vectorization_mode="sync")
    single = gym.make(identifier)
    observations, _ = envs.reset(seed=7)
    first, _ = single.reset(seed=7)
    assert plain(rows(observations)[0]) == plain(first)
    envs.action_space.seed(0)
    for _ in range(50):
        observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space
        assert np.isfinite(rewards).all()
        assert (rewards.shape, terminated.shape, truncated.shape) == ((3,), (3,), (3,))
    envs.close()


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
