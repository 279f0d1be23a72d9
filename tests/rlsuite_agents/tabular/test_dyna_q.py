"""Dyna-Q and Dyna-Q+: planning redone on paper, by an obvious twin, and where it is Q-learning."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts.checkpoint import generator_state
from rlsuite_agents.tabular.dyna_q import DynaQ, DynaQConfig
from rlsuite_agents.tabular.dyna_q_plus import DynaQPlus, DynaQPlusConfig
from rlsuite_agents.tabular.q_learning import QLearning, QLearningConfig

BOTH = pytest.mark.parametrize("cls", [DynaQ, DynaQPlus], ids=lambda cls: cls.__name__)


class Script:
    """A generator whose uniforms are written down."""

    def __init__(self, *uniforms):
        self.uniforms = list(uniforms)

    def random(self):
        return self.uniforms.pop(0)


def two_states(cls, *uniforms, n_actions=3, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(2), Discrete(n_actions)
    agent = cls(env, cls.config_type(**{"gamma": 0.5, **settings}), seed=0)
    agent.tables.q[0] = [1.0, 5.0, 2.0][:n_actions]
    agent.tables.q[1] = [3.0, 8.0, 4.0][:n_actions]
    agent.rng = Script(*uniforms)
    return agent


def test_the_step_is_learned_from_again_and_again():
    """The target is 2 + ½ · 8 = 6: from 5 to 5.5, then by the model to 5.75 and 5.875."""
    agent = two_states(DynaQ, *[0.9] * 4, planning_steps=2)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    np.testing.assert_array_equal(agent.q, [[1, 5.875, 2], [3, 8, 4]])
    assert agent.rng.uniforms == []  # two uniforms for each update by the model


def test_states_and_actions_of_the_past_are_drawn_evenly():
    """Three pairs in two states: 0.49 draws the first state, 0.5 the second; likewise actions."""
    steps = [(0, 2, 1.0, 1), (1, 0, 1.0, 0), (0, 1, 1.0, 1)]
    for drawn, pair in (((0.49, 0.49), (0, 1)), ((0.49, 0.5), (0, 2)), ((0.5, 0.99), (1, 0))):
        agent = two_states(DynaQ, *[0.0] * 4, *drawn, planning_steps=1)
        twin = two_states(DynaQ, *[0.0] * 6, planning_steps=1)
        for s, a, r, s_next in steps[:2]:
            agent.observe(Transition(s, a, r, s_next, False, False))
            twin.observe(Transition(s, a, r, s_next, False, False))
        s, a, r, s_next = steps[2]
        before = agent.q
        agent.observe(Transition(s, a, r, s_next, False, False))
        before[s, a] += 0.5 * (r + 0.5 * before[s_next].max() - before[s, a])
        r = 1.0
        s_next = {(0, 1): 1, (0, 2): 1, (1, 0): 0}[pair]
        before[pair] += 0.5 * (r + 0.5 * before[s_next].max() - before[pair])
        np.testing.assert_array_equal(agent.q, before)


def test_the_model_is_what_happened_last():
    agent = two_states(DynaQ, *[0.0] * 6, planning_steps=1, step_size=1.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    agent.observe(Transition(0, 1, 7.0, 0, True, False))  # now it pays 7 and ends
    assert agent.q[0, 1] == 7.0
    agent.observe(Transition(0, 1, 1.0, 1, False, True))  # a time limit is not an end
    assert agent.q[0, 1] == 1.0 + 0.5 * 8.0


@BOTH
def test_a_remembered_state_keeps_its_mask(cls):
    """Action 1, worth 8, is not allowed in state 1, in the step and in what is made of it."""
    agent = two_states(cls, 0.0, 0.4, 0.0, 0.4, planning_steps=2, step_size=1.0)
    mask = np.array([1, 0, 1])
    agent.observe(Transition(0, 1, 2.0, 1, False, False, np.array([0, 1, 0]), mask))
    assert agent.q[0, 1] == 2.0 + 0.5 * 4.0


def test_untried_actions_lead_back_and_pay_for_the_time():
    """Action 0 was never tried, so τ = 1 after one step: 1 + ½ [0 + 3 √1 + ½ · 5.5 - 1]."""
    agent = two_states(DynaQPlus, 0.0, 0.3, planning_steps=1, kappa=3.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    np.testing.assert_array_equal(agent.q, [[1 + 0.5 * (3 + 2.75 - 1), 5.5, 2], [3, 8, 4]])


def test_the_bonus_grows_with_the_root_of_the_time():
    """Step 5 draws what was tried in step 1: τ = 4. What is tried now has τ = 0: no bonus."""
    steps = [(0, 1, 2.0, 1)] + [(1, 1, 0.0, 1)] * 4
    draws = [0.0, 0.0] * 4 + [0.0, 0.4]
    agent = two_states(DynaQPlus, *draws, planning_steps=1, kappa=1.0, step_size=1.0)
    for k, (s, a, r, s_next) in enumerate(steps):
        before = agent.q
        agent.observe(Transition(s, a, r, s_next, False, False))
        if k == 4:
            value = 0.5 * before[1].max()  # the step itself comes first
            assert agent.q[1, 1] == value
            best = max(before[1, 0], value, before[1, 2])
            assert agent.q[0, 1] == 2.0 + math.sqrt(4) + 0.5 * best


def test_masked_actions_are_never_considered():
    agent = two_states(DynaQPlus, *[0.0, 0.99] * 50, planning_steps=50, kappa=1.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False, np.array([1, 1, 0]), None))
    assert agent.q[0, 2] == 2.0


def test_a_falling_step_size_where_an_action_was_never_tried():
    agent = two_states(DynaQPlus, 0.0, 0.0, planning_steps=1, step_size="power(0.5)", kappa=0.0)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 0] == 0.5 * agent.q[0].max()  # its first visit would have 1


class Twin:
    """Dyna-Q with dictionaries and lists, as the box reads."""

    def __init__(self, n_states, n_actions, n, rng):
        self.q, self.n, self.rng = np.zeros((n_states, n_actions)), n, rng
        self.model, self.states, self.actions = {}, [], {}

    def update(self, s, a):
        r, s_next, ends = self.model[s, a]
        target = r if ends else r + max(self.q[s_next])
        self.q[s, a] += 0.5 * (target - self.q[s, a])

    def observe(self, t):
        s, a = t.observation, t.action
        if s not in self.states:
            self.states.append(s)
        self.actions.setdefault(s, set()).add(a)
        self.model[s, a] = t.reward, t.next_observation, t.terminated
        self.update(s, a)
        for _ in range(self.n):
            s = self.states[int(self.rng.random() * len(self.states))]
            self.update(s, sorted(self.actions[s])[int(self.rng.random() * len(self.actions[s]))])


def walk(name, steps, seed, **kwargs):
    """Transitions of a random walk."""
    env, rng, over = gym.make(name, **kwargs), np.random.default_rng(seed), True
    for _ in range(steps):
        if over:
            s, _ = env.reset(seed=int(rng.integers(1000)))
        a = int(rng.integers(env.action_space.n))
        s_next, r, terminated, truncated, _ = env.step(a)
        yield Transition(s, a, float(r), s_next, terminated, truncated)
        s, over = s_next, terminated or truncated


def test_every_update_is_the_twins():
    env = gym.make("rlsuite/GridWorld-v0")
    agent = DynaQ(env, DynaQConfig(planning_steps=3), seed=0)
    agent.rng = np.random.default_rng(5)
    twin = Twin(*agent.q.shape, 3, np.random.default_rng(5))
    for t in walk("rlsuite/GridWorld-v0", 400, 1, slip=0.3):
        agent.observe(t)
        twin.observe(t)
        np.testing.assert_array_equal(agent.q, twin.q)


@BOTH
@pytest.mark.parametrize("name", ["rlsuite/CliffWalk-v0", "FrozenLake-v1"])
def test_without_planning_it_is_q_learning_bit_for_bit(cls, name):
    settings = {"gamma": 0.9, "step_size": "power(0.6)", "exploration": "count_bonus(0.1)"}
    agent = cls(gym.make(name), cls.config_type(planning_steps=0, **settings), seed=3)
    other = QLearning(gym.make(name), QLearningConfig(**settings), seed=3)
    agent.learn(3_000)
    other.learn(3_000)
    np.testing.assert_array_equal(agent.q, other.q)
    assert generator_state(agent.rng) == generator_state(other.rng)


def test_without_a_bonus_and_with_all_tried_dyna_q_plus_is_dyna_q_bit_for_bit():
    env = gym.make("rlsuite/GridWorld-v0")
    plus = DynaQPlus(env, DynaQPlusConfig(kappa=0.0, gamma=0.9), seed=0)
    plain = DynaQ(env, DynaQConfig(gamma=0.9), seed=0)
    for s, a in np.ndindex(*plain.q.shape):
        for agent in (plus, plain):
            agent.observe(Transition(s, a, -1.0, (s + a) % 7, False, False))
    assert not np.array_equal(plus.q, plain.q)  # until now the untried were considered
    plus.tables.q[...] = plain.q
    plus.rng, plain.rng = np.random.default_rng(2), np.random.default_rng(2)
    for t in walk("rlsuite/GridWorld-v0", 200, 3):
        plus.observe(t)
        plain.observe(t)
    np.testing.assert_array_equal(plus.q, plain.q)


def first_goals(seed, **settings):
    """Steps until the maze was solved ten times."""
    env = gym.make("rlsuite/DynaMaze-v0")
    agent, goals = DynaQ(env, DynaQConfig(gamma=0.95, **settings), seed=seed), 0
    observe = agent.observe

    def count(t):
        nonlocal goals
        goals += t.terminated
        observe(t)

    agent.observe = count
    agent.learn(50_000, callback=lambda agent: goals < 10)
    return agent.num_timesteps


def test_planning_saves_steps():
    """Figure 8.2: with 10 updates a step, ten goals come in less than half of the steps."""
    for seed in range(3):
        with_planning = first_goals(seed, planning_steps=10, step_size=0.1)
        without = first_goals(seed, planning_steps=0, step_size=0.1)
        assert 140 <= with_planning < 0.5 * without


def goals_after(cls, variant, change_at, steps, seed):
    """Goals reached between two steps of a run in a maze that changes."""
    env, found = gym.make("rlsuite/DynaMaze-v0", variant=variant), []
    settings = {"planning_steps": 5, "step_size": 1.0, "gamma": 0.95}
    agent = cls(env, cls.config_type(**settings), seed=seed)
    observe = agent.observe

    def note(t):
        found.append(t.reward)
        observe(t)

    agent.observe = note
    agent.learn(steps)
    return sum(found[change_at:])


@pytest.mark.slow
def test_the_changes_of_a_maze_are_found_out():
    """Figures 8.4 and 8.5: after the change, Dyna-Q+ reaches more goals; 20 seeds, z > 3."""
    for variant, change_at, steps in (("blocking", 1000, 3000), ("shortcut", 3000, 6000)):
        runs = {
            cls: np.array([goals_after(cls, variant, change_at, steps, k) for k in range(20)])
            for cls in (DynaQ, DynaQPlus)
        }
        gain = runs[DynaQPlus].mean() - runs[DynaQ].mean()
        error = math.sqrt(sum(found.var(ddof=1) / 20 for found in runs.values()))
        assert gain > 3 * error


def test_initial_value_epsilon_and_step_size():
    assert (
        DynaQ(gym.make("rlsuite/CliffWalk-v0"), DynaQConfig(initial_value=2), seed=0).q == 2
    ).all()
    p = two_states(DynaQPlus, epsilon=0.3).action_probabilities([0], deterministic=False)
    np.testing.assert_allclose(p, [[0.1, 0.8, 0.1]])
    agent = two_states(DynaQ, planning_steps=0, step_size=0.25)
    agent.observe(Transition(0, 1, 2.0, 1, False, False))
    assert agent.q[0, 1] == 5.25


@BOTH
@pytest.mark.parametrize(
    ("name", "bad", "sentence"),
    [
        ("planning_steps", -1, "must be a whole number of at least 0, got -1"),
        ("planning_steps", 2.5, "must be a whole number of at least 0, got 2.5"),
        ("gamma", 1.5, r"must be a number in \[0, 1\], got 1.5"),
        ("step_size", 0, r"must be a number in \(0, 1\], got 0"),
    ],
)
def test_settings_out_of_range(cls, name, bad, sentence):
    with pytest.raises(SettingError, match=rf"{cls.__name__}Config\.{name} {sentence}"):
        cls.config_type(**{name: bad})


def test_kappa_out_of_range():
    with pytest.raises(SettingError, match=r"\.kappa must be a number in \[0, inf\), got -0.1"):
        DynaQPlusConfig(kappa=-0.1)


@BOTH
@pytest.mark.parametrize("name", ["follows", "seen", "n_seen"])
def test_a_damaged_memory_is_refused(cls, name, tmp_path):
    agent = cls(gym.make("rlsuite/CliffWalk-v0"), seed=0).learn(50)
    getattr(agent.tables.model, name)[...] = 50
    agent.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"'{name}' should be in \[0, 4.\), or -1, but is"):
        cls.load(tmp_path / "a.ckpt")
