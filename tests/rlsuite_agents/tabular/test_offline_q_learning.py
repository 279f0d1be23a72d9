"""Q from logged data: by hand, the optimum where all is shown, its own twin where it is not."""

from __future__ import annotations

from collections import defaultdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite
from registry.errors import CheckpointError, DataError, SettingError
from registry.logged_data import LoggedData
from rlsuite_agents.planning.value_iteration import ValueIteration, ValueIterationConfig
from rlsuite_agents.random import Random
from rlsuite_agents.tabular.offline_q_learning import OfflineQLearning, OfflineQLearningConfig


class Spaces(gym.Env):
    """Says what the spaces are; whoever steps in it is no offline learner."""

    def __init__(self, n_states, n_actions):
        self.observation_space, self.action_space = Discrete(n_states), Discrete(n_actions)

    def reset(self, **keywords):
        raise AssertionError("an agent that learns from data takes no step")


def logged(rows, **more):
    """Rows of (S, A, R, S', terminated)."""
    s, a, r, s_next, terminated = zip(*rows, strict=True)
    return LoggedData(
        observation=s,
        action=a,
        reward=r,
        next_observation=s_next,
        terminated=terminated,
        truncated=[False] * len(rows),
        **more,
    )


def learned(data, shape, sweeps=5_000, **settings):
    config = OfflineQLearningConfig(**settings)
    return OfflineQLearning(Spaces(*shape), config, seed=0, data=data).learn(sweeps)


def pi(agent, mask=None, deterministic=True):
    states = np.arange(agent.counts.shape[0])
    return agent.action_probabilities(states, deterministic=deterministic, mask=mask)


ARMS = [(0, 0, 1.0, 1, True)] + [(0, 1, 0.9, 1, True)] * 9
"""One state, three arms: arm 0 paid 1 once, arm 1 paid 0.9 nine times, arm 2 was never tried."""


def test_two_steps_by_hand():
    """From 0, action 1 costs 1 and leads to 1; there, action 0 pays 4 or 2, then the end."""
    data = logged([(0, 1, -1.0, 1, False), (1, 0, 4.0, 1, True), (1, 0, 2.0, 1, True)])
    agent = learned(data, (2, 2), gamma=0.5)
    np.testing.assert_array_equal(agent.counts, [[0, 1], [2, 0]])
    np.testing.assert_allclose(agent.q, [[0.0, -1 + 0.5 * 3], [3.0, 0.0]])
    np.testing.assert_allclose(agent.state_values(), [0.5, 3.0])
    np.testing.assert_allclose(agent.state_values(np.array([1])), [3.0])
    np.testing.assert_array_equal(pi(agent), [[0, 1], [1, 0]])


def test_a_time_limit_is_no_end():
    """Reward 1 for ever, cut off after two steps: v = 1 / (1 - γ), not 1.5."""
    data = LoggedData(
        observation=[0, 0],
        action=[0, 0],
        reward=[1.0, 1.0],
        next_observation=[0, 0],
        terminated=[False, False],
        truncated=[False, True],
    )
    np.testing.assert_allclose(learned(data, (1, 1), gamma=0.5).q, [[2.0]])


def test_the_penalty_prefers_what_is_known_well():
    plain = learned(logged(ARMS), (2, 3))
    np.testing.assert_allclose(plain.q[0], [1.0, 0.9, 0.0])
    assert pi(plain)[0].argmax() == 0
    wary = learned(logged(ARMS), (2, 3), penalty=0.3)  # β / √n is 0.3 and 0.1
    np.testing.assert_allclose(wary.q[0], [0.7, 0.8, 0.0])
    assert pi(wary)[0].argmax() == 1


def test_what_is_shown_too_rarely_is_not_taken():
    for min_count, best in ((1, 0), (2, 1), (9, 1)):
        agent = learned(logged(ARMS), (2, 3), min_count=min_count)
        assert pi(agent)[0].argmax() == best
    ignorant = learned(logged(ARMS), (2, 3), min_count=10)
    assert not ignorant.supported.any()
    np.testing.assert_allclose(pi(ignorant, deterministic=False), 1 / 3)
    assert (ignorant.q == 0.0).all()


def test_the_value_of_the_unseen_decides_where_all_actions_count():
    hopeful = learned(logged(ARMS), (2, 3), min_count=0, unseen_value=2.0)
    assert pi(hopeful)[0].argmax() == 2
    assert hopeful.state_values()[0] == 2.0
    fearful = learned(logged(ARMS), (2, 3), min_count=0, unseen_value=-2.0)
    assert pi(fearful)[0].argmax() == 0
    # a state without data that the data lead to is worth the same
    data = logged([(0, 0, 1.0, 1, False)])
    for min_count in (0, 1):
        agent = learned(data, (2, 1), gamma=0.5, min_count=min_count, unseen_value=6.0)
        np.testing.assert_allclose(agent.q, [[1 + 0.5 * 6], [6.0]])


def test_masks_of_the_next_state_bound_the_maximum_and_masks_in_play_the_policy():
    rows = [(0, 0, 0.0, 1, False), (1, 0, 5.0, 1, True), (1, 1, 3.0, 1, True)]
    every, second = [[True, True]] * 3, [[False, True], [True, True], [True, True]]
    assert learned(logged(rows, next_mask=every), (2, 2)).q[0, 0] == 5.0
    agent = learned(logged(rows, next_mask=second), (2, 2))
    assert agent.q[0, 0] == 3.0
    mask = np.array([[0, 1], [0, 1]])
    np.testing.assert_array_equal(pi(agent, mask), [[0, 1], [0, 1]])  # nothing known of (0, 1)
    nothing = learned(logged(rows, next_mask=[[False, False]] * 3), (2, 2), unseen_value=-7.0)
    assert nothing.q[0, 0] == -7.0


def test_equals_share_the_probability_and_the_lowest_is_greedy():
    agent = learned(logged([(0, 0, 1.0, 0, True), (0, 2, 1.0, 0, True)]), (1, 3))
    np.testing.assert_allclose(pi(agent, deterministic=False), [[0.5, 0, 0.5]])
    np.testing.assert_allclose(pi(agent), [[1, 0, 0]])


def every_pair(model):
    """Each action once in each state, of a deterministic model."""
    s, a = (index.ravel() for index in np.indices(model.next_state.shape[:2]))
    outcome = model.next_state, model.reward, model.terminal
    s_next, r, ends = (array[s, a, model.probability[s, a].argmax(axis=1)] for array in outcome)
    return LoggedData(
        observation=s,
        action=a,
        reward=r,
        next_observation=s_next,
        terminated=ends,
        truncated=np.zeros(len(s), bool),
    )


@pytest.mark.parametrize("name", ["rlsuite/CliffWalk-v0", "rlsuite/GridWorld-v0", "Taxi-v4"])
def test_all_pairs_of_a_deterministic_task_give_its_optimum(name):
    env = gym.make(name)
    plan = ValueIteration(env, ValueIterationConfig(gamma=0.95, horizon="none"), seed=0)
    plan.learn(5_000)
    model = env.unwrapped.model if hasattr(env.unwrapped, "model") else read(env)
    data = every_pair(model)
    agent = OfflineQLearning(env, OfflineQLearningConfig(gamma=0.95), seed=0, data=data)
    agent.learn(5_000)
    assert agent.converged
    np.testing.assert_allclose(agent.q, plan.q, atol=1e-9)
    assert rlsuite.evaluate(agent, name).score == pytest.approx(1.0, abs=1e-9)


def read(env):
    from rlsuite_envs.tabular.mdp import TabularMDP

    return TabularMDP.from_gymnasium(env.unwrapped)


def twin(data, shape, gamma, penalty, min_count, unseen):
    """Policy iteration with linear solves in the empirical MDP, counted in dictionaries."""
    seen = defaultdict(list)
    rows = data.observation, data.action, data.reward, data.next_observation, data.terminated
    for s, a, r, s_next, ends in zip(*(x.tolist() for x in rows), strict=True):
        seen[s, a].append((r, s_next, ends))
    known = {pair: steps for pair, steps in seen.items() if len(steps) >= max(1, min_count)}
    states, actions = shape
    r, p = np.full(shape, unseen), np.zeros((*shape, states))
    for (s, a), steps in known.items():
        r[s, a] = sum(step[0] for step in steps) / len(steps) - penalty / len(steps) ** 0.5
        for _, s_next, ends in steps:
            p[s, a, s_next] += gamma * (not ends) / len(steps)
    usable = [
        [a for a in range(actions) if min_count == 0 or (s, a) in known] for s in range(states)
    ]
    chosen = [row[0] if row else None for row in usable]
    while True:
        lines = [np.zeros(states) if a is None else p[s, a] for s, a in enumerate(chosen)]
        pays = [unseen if a is None else r[s, a] for s, a in enumerate(chosen)]
        v = np.linalg.solve(np.eye(states) - np.array(lines), pays)
        q = r + p @ v
        better = [
            a if a is None or q[s, a] >= max(q[s, b] for b in usable[s]) - 1e-12
            else max(usable[s], key=lambda b: q[s, b])
            for s, a in enumerate(chosen)
        ]  # fmt: skip
        if better == chosen:
            return q, v
        chosen = better


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [60, 3_000])
@pytest.mark.parametrize(
    ("penalty", "min_count", "unseen"),
    [(0.0, 1, 0.0), (0.4, 1, -3.0), (0.0, 0, 0.0), (0.2, 4, 1.0)],
)
def test_garnets_equal_the_empirical_mdp_solved_exactly(seed, steps, penalty, min_count, unseen):
    env = gym.make("rlsuite/Garnet-v0", mdp_seed=seed)
    shape = env.observation_space.n, env.action_space.n
    data = rlsuite.collect(Random(env, seed=0), "rlsuite/Garnet-v0", steps=steps, seed=seed)
    settings = {"penalty": penalty, "min_count": min_count}
    agent = learned(data, shape, gamma=0.9, unseen_value=unseen, **settings)
    q, v = twin(data, shape, 0.9, penalty, min_count, unseen)
    enough = agent.counts >= max(1, min_count)
    np.testing.assert_allclose(agent.q[enough], q[enough], atol=1e-9)
    np.testing.assert_allclose(agent.state_values(), v, atol=1e-9)
    assert (agent.q[~enough] == unseen).all()


def test_sweeps_end_where_the_error_is_within_the_tolerance():
    data = logged([(0, 0, 1.0, 0, False)])  # v = 10
    used = []
    for tolerance in (1e-2, 1e-6):
        agent = OfflineQLearning(
            Spaces(1, 1), OfflineQLearningConfig(gamma=0.9, tolerance=tolerance), seed=0, data=data
        )
        while not agent.converged:
            agent.sweep()
            used.append(agent.q[0, 0])
        assert abs(agent.q[0, 0] - 10) <= 10 * tolerance
    assert agent.learn(50).num_timesteps == 50
    assert agent.q[0, 0] == used[-1]


def test_the_file_and_the_data_in_memory_teach_the_same(tmp_path):
    env = gym.make("rlsuite/CliffWalk-v0")
    data = rlsuite.collect(Random(env, seed=0), "rlsuite/CliffWalk-v0", steps=300)
    data.save(tmp_path / "cliff.npz")
    name = str(tmp_path / "cliff.npz")
    one = rlsuite.make_agent("rlsuite/OfflineQLearning-v0", env, data=name, gamma=0.9).learn(9)
    other = OfflineQLearning(env, OfflineQLearningConfig(gamma=0.9), seed=0, data=data).learn(9)
    np.testing.assert_array_equal(one.q, other.q)
    assert rlsuite.evaluate(one, "rlsuite/CliffWalk-v0").method == "exact"


def test_saved_and_loaded_with_data_in_memory_it_goes_on(tmp_path):
    data = logged([(0, 0, 1.0, 1, False), (1, 0, 0.5, 0, False)])
    whole = learned(data, (2, 1), 9, gamma=0.9)
    learned(data, (2, 1), 4, gamma=0.9).save(tmp_path / "a")
    path = tmp_path / "a"
    half = OfflineQLearning.load(path, env=Spaces(2, 1), data=data).learn(5)
    np.testing.assert_array_equal(half.q, whole.q)
    assert half.num_timesteps == 9
    bare = OfflineQLearning.load(path)
    with pytest.raises(SettingError, match="was loaded without an environment, so it can predict"):
        bare.learn(1)
    bare.save(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == path.read_bytes()
    with pytest.raises(SettingError, match="learns from logged data: name a file"):
        OfflineQLearning.load(path, env=Spaces(2, 1))
    changed = logged([(0, 0, 1.0, 1, False), (1, 0, 0.6, 0, False)])
    with pytest.raises(CheckpointError, match="has learned from other data than these"):
        OfflineQLearning.load(path, env=Spaces(2, 1), data=changed)


def test_what_is_refused(tmp_path):
    data = logged(ARMS)
    with pytest.raises(SettingError, match=r"OfflineQLearning learns from logged data: name a fi"):
        OfflineQLearning(Spaces(2, 3), seed=0)
    twice = OfflineQLearningConfig(data="x.npz")
    with pytest.raises(SettingError, match=r"is given data twice: the setting data='x.npz' too"):
        OfflineQLearning(Spaces(2, 3), twice, seed=0, data=data)
    with pytest.raises(DataError, match=r"there is no data set .*x.npz"):
        OfflineQLearning(Spaces(2, 3), twice, seed=0)
    with pytest.raises(DataError, match=r"action must be whole numbers in \[0, 1\), got 1"):
        OfflineQLearning(Spaces(2, 1), seed=0, data=data)
    with pytest.raises(SettingError, match="runs on the CPU"):
        OfflineQLearning(Spaces(2, 3), seed=0, data=data, device="cuda")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"data": 3}, r"OfflineQLearningConfig.data must be the path of a data set, got 3"),
        ({"gamma": 1.1}, r"gamma must be a number in \[0, 1\], got 1.1"),
        ({"penalty": -1}, r"penalty must be a number in \[0, inf\), got -1"),
        ({"min_count": -1}, r"min_count must be a whole number of at least 0, got -1"),
        ({"unseen_value": np.inf}, r"unseen_value must be a number in \(-inf, inf\), got inf"),
        ({"tolerance": 0}, r"tolerance must be a number in \(0, 1\], got 0"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        OfflineQLearningConfig(**settings)
