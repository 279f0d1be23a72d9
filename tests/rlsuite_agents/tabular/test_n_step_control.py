"""n-step Sarsa and tree backup: episodes on the blackboard, twins, and the case n = 1."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.loops import learn_online
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.tabular.expected_sarsa import ExpectedSarsa
from rlsuite_agents.tabular.monte_carlo_control import MonteCarloControl
from rlsuite_agents.tabular.n_step_sarsa import NStepSarsa, NStepSarsaConfig
from rlsuite_agents.tabular.n_step_tree_backup import NStepTreeBackup, NStepTreeBackupConfig
from rlsuite_agents.tabular.off_policy_monte_carlo import OffPolicyMonteCarlo
from rlsuite_agents.tabular.q_learning import QLearning
from rlsuite_agents.tabular.sarsa import Sarsa

BOTH = [NStepSarsa, NStepTreeBackup]
SETTINGS = [
    {},
    {"exploration": "count_bonus(0.5)", "epsilon": "linear(1, 0.1, 900)", "gamma": 0.9},
    {"exploration": "ucb(1)", "step_size": "power(0.7)", "epsilon": 0.0},
    {"exploration": "boltzmann(0.5)", "initial_value": 2.0},
]


def table(n_states=4, n_actions=2):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    return env


def on_the_board(cls, **settings):
    """Four states, two actions; Q(1, ·) = (1, 3), Q(2, ·) = (4, 2), Q(3, ·) = (2, 0)."""
    usual = {"n": 2, "gamma": 0.5, "step_size": 0.5, "epsilon": 0.0}
    agent = cls(table(), cls.config_type(**{**usual, **settings}), seed=0)
    agent.tables.q[:] = [[0, -1], [1, 3], [4, 2], [2, 0]]
    return agent


def test_an_episode_of_n_step_sarsa_by_hand():
    """Two rewards a target; A' is the greedy action, and the last target has one reward."""
    agent = on_the_board(NStepSarsa)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    np.testing.assert_array_equal(agent.q, [[0, -1], [1, 3], [4, 2], [2, 0]])
    agent.observe(Transition(1, 1, 2.0, 2, False, False))
    assert agent.q[0, 0] == 1.5  # 0 + ½ [1 + ½ (2 + ½ · 4) - 0]
    agent.observe(Transition(2, 0, 8.0, 3, True, False))
    assert agent.q[1, 1] == 4.5  # 3 + ½ [2 + ½ · 8 - 3]
    assert agent.q[2, 0] == 6.0  # 4 + ½ [8 - 4]
    np.testing.assert_array_equal(agent.q, [[1.5, -1], [1, 4.5], [6, 2], [2, 0]])


@pytest.mark.parametrize("cls", BOTH)
def test_at_a_time_limit_the_value_of_the_last_state_follows(cls):
    """Both agents expect Q(3, 0) = 2 of state 3, which is not terminal."""
    agent = on_the_board(cls)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    agent.observe(Transition(1, 1, 2.0, 2, False, False))
    agent.observe(Transition(2, 0, 8.0, 3, False, True))
    assert agent.q[1, 1] == 4.75  # 3 + ½ [2 + ½ (8 + ½ · 2) - 3]
    assert agent.q[2, 0] == 6.5  # 4 + ½ [8 + ½ · 2 - 4]
    agent.observe(Transition(1, 0, 5.0, 0, True, False))  # nothing is left of the episode before
    assert agent.q[1, 0] == 3.0


def test_an_end_on_the_last_tick_is_an_end():
    for cls in BOTH:
        agent = on_the_board(cls, n=3)
        agent.observe(Transition(0, 0, 1.0, 3, True, True))
        assert agent.q[0, 0] == 0.5


def test_tree_backup_cuts_at_an_action_that_is_not_greedy():
    """(0, 0), then an action in state 1, where action 1 is the greedy one."""
    for action, target in ((1, 1 + 0.5 * (2 + 0.5 * 4)), (0, 1 + 0.5 * 3)):
        agent = on_the_board(NStepTreeBackup)
        agent.observe(Transition(0, 0, 1.0, 1, False, False))
        agent.observe(Transition(1, action, 2.0, 2, False, False))
        assert agent.q[0, 0] == 0.5 * target


def test_tree_backup_of_the_exploring_policy_by_hand():
    """ε = ½ of two actions: π = ¾ for the greedy one. The action taken at state 1 is the other."""
    agent = on_the_board(NStepTreeBackup, target="exploring", epsilon=0.5)
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    agent.observe(Transition(1, 0, 2.0, 2, False, False))
    inner = 2 + 0.5 * (0.75 * 4 + 0.25 * 2)  # 3.75
    assert agent.q[0, 0] == 0.5 * (1 + 0.5 * (0.75 * 3 + 0.25 * inner))


def test_an_action_that_ties_for_the_largest_value_is_greedy():
    agent = on_the_board(NStepTreeBackup)
    agent.tables.q[1] = [3.0, 3.0]
    agent.observe(Transition(0, 0, 1.0, 1, False, False))
    agent.observe(Transition(1, 0, 20.0, 2, False, False))
    assert agent.q[0, 0] == 0.5 * (1 + 0.5 * (20 + 0.5 * 4))


def test_masked_actions_are_not_in_the_tree():
    """Action 1 of states 1 and 2 is forbidden, so that action 0 is the greedy one there."""
    only = np.array([1, 0])
    agent = on_the_board(NStepTreeBackup)
    agent.tables.q[2] = [4.0, 9.0]
    agent.observe(Transition(0, 0, 1.0, 1, False, False, None, only))
    agent.observe(Transition(1, 0, 2.0, 2, False, False, only, only))
    assert agent.q[0, 0] == 0.5 * (1 + 0.5 * (2 + 0.5 * 4))


def test_sarsas_next_action_is_an_allowed_one():
    agent = on_the_board(NStepSarsa, n=1)
    agent.observe(Transition(0, 0, 1.0, 1, False, False, next_mask=np.array([1, 0])))
    assert agent.q[0, 0] == 0.5 * (1 + 0.5 * 1)
    assert agent.act(1, None, agent.rng)[0] == 0  # and it is the one that is played
    agent.observe(Transition(1, 0, 1.0, 2, False, False))  # plans action 0 of state 2
    assert agent.act(2, np.array([0, 1]), agent.rng)[0] == 1


def episodes(rng, n_states, n_actions, masked):
    """Random transitions; each state allows the actions of its own mask, if there are masks."""
    masks = rng.random((n_states, n_actions)) < 0.6
    masks[np.arange(n_states), rng.integers(n_actions, size=n_states)] = True
    for _ in range(30):
        s, length = int(rng.integers(n_states)), int(rng.integers(1, 9))
        for step in range(length):
            a = int(rng.choice(np.flatnonzero(masks[s]) if masked else n_actions))
            s_next, last = int(rng.integers(n_states)), step == length - 1
            ends = (last, False) if rng.random() < 0.5 else (False, last)
            seen = (masks[s], masks[s_next]) if masked else (None, None)
            yield Transition(s, a, float(rng.normal()), s_next, *ends, *seen)
            s = s_next


def tree(steps, q, pi, gamma, t=0):
    """G of eq. 7.16 from step t on: the recursion of section 7.5, as it is printed."""
    step = steps[t]
    if t == len(steps) - 1:
        after = 0.0 if step.terminated else pi(step.next_observation) @ q[step.next_observation]
        return step.reward + gamma * after
    s, a = steps[t + 1].observation, steps[t + 1].action
    p = pi(s, a)
    others = sum(p[b] * q[s, b] for b in range(len(p)) if b != a)
    return step.reward + gamma * (others + p[a] * tree(steps, q, pi, gamma, t + 1))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("target", ["greedy", "exploring"])
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_tree_backup_equals_the_recursion_of_the_book(n, target, masked):
    rng = np.random.default_rng(n)
    config = NStepTreeBackupConfig(n=n, target=target, gamma=0.9, step_size=0.3, epsilon=0.4)
    agent = NStepTreeBackup(table(5, 3), config, seed=0)
    agent.tables.q[:] = twin = rng.normal(size=(5, 3))
    masks = {}

    def pi(s, taken=None):
        allowed = np.asarray(masks.get(s, np.ones(3, bool)))
        best = allowed & (twin[s] == twin[s][allowed].max())
        greedy = np.eye(3)[taken] if taken is not None and best[taken] else best / best.sum()
        return greedy if target == "greedy" else 0.6 * greedy + 0.4 * allowed / allowed.sum()

    recent = []
    for t in episodes(rng, 5, 3, masked):
        agent.observe(t)
        if masked:
            masks |= {t.observation: t.mask, t.next_observation: t.next_mask}
        recent.append(t)
        over = t.terminated or t.truncated
        while len(recent) == n or (over and recent):
            s, a = recent[0].observation, recent[0].action
            twin[s, a] += 0.3 * (tree(recent, twin, pi, 0.9) - twin[s, a])
            recent.pop(0)
        np.testing.assert_allclose(agent.q, twin, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_n_step_sarsa_equals_the_definition(n):
    """Eq. 7.4, term by term; ε = 0, so that A' is the greedy action."""
    rng = np.random.default_rng(n)
    config = NStepSarsaConfig(n=n, gamma=0.9, step_size=0.3, epsilon=0.0)
    agent = NStepSarsa(table(5, 3), config, seed=0)
    agent.tables.q[:] = twin = rng.normal(size=(5, 3))
    recent = []
    for t in episodes(rng, 5, 3, False):
        agent.observe(t)
        recent.append(t)
        over = t.terminated or t.truncated
        after = 0.0 if t.terminated else twin[t.next_observation].max()
        while len(recent) == n or (over and recent):
            g = sum(0.9**k * one.reward for k, one in enumerate(recent))
            s, a = recent[0].observation, recent[0].action
            twin[s, a] += 0.3 * (g + 0.9 ** len(recent) * after - twin[s, a])
            recent.pop(0)
        np.testing.assert_allclose(agent.q, twin, atol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    ("many", "own", "one"),
    [
        (NStepSarsa, {}, Sarsa),
        (NStepTreeBackup, {"target": "greedy"}, QLearning),
        (NStepTreeBackup, {"target": "exploring"}, ExpectedSarsa),
    ],
)
def test_one_step_is_the_agent_of_one_step(many, own, one, settings):
    """Bit for bit: tables and generators, on a grid that slips, with time limits."""
    task = {"slip": 0.2, "max_episode_steps": 30}
    settings = {"step_size": 0.5, **settings}
    agents = [
        cls(gym.make("rlsuite/GridWorld-v0", **task), cls.config_type(**settings, **more), seed=7)
        for cls, more in ((many, {"n": 1, **own}), (one, {}))
    ]
    for agent in agents:
        learn_online(agent, 3_000)
    assert agents[0].q.tobytes() == agents[1].q.tobytes()
    assert generator_state(agents[0].rng) == generator_state(agents[1].rng)


def test_n_is_how_far_a_reward_reaches():
    """A row of five states with a reward at its end: one episode tells n of them."""
    for cls in BOTH:
        for n in (1, 2, 4):
            agent = cls(table(6, 1), cls.config_type(n=n), seed=0)
            for s in range(5):
                agent.observe(Transition(s, 0, float(s == 4), s + 1, s == 4, False))
            assert np.count_nonzero(agent.q) == n


@pytest.mark.parametrize("cls", [*BOTH, MonteCarloControl, OffPolicyMonteCarlo])
@pytest.mark.parametrize(
    ("name", "bad", "limit"), [("states", 4, 4), ("actions", 2, 2), ("oldest", -2, "n")]
)
def test_a_checkpoint_with_an_index_that_is_none(cls, name, bad, limit, tmp_path):
    """Compiled rules would read outside their arrays."""
    agent = cls(table(), seed=0)
    limit = len(agent.tables.recent.states) if limit == "n" else limit
    agent.act(1, None, agent.rng)
    agent.observe(Transition(1, 1, 1.0, 2, False, False))
    getattr(agent.tables.recent, name)[0] = bad
    agent.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"'{name}' should be in \[0, {limit}\), or -1"):
        cls.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("cls", BOTH)
def test_settings_out_of_range(cls):
    for bad in (0, -1, 1.5, True):
        with pytest.raises(SettingError, match=r"\.n must be a whole number of at least 1, got"):
            cls.config_type(n=bad)


def test_targets_there_are():
    with pytest.raises(SettingError, match="target must be one of 'greedy', 'exploring', got 'x'"):
        NStepTreeBackupConfig(target="x")
