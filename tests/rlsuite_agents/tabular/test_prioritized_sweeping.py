"""Prioritized sweeping: by hand, bit for bit by a twin with heapq, and against linear solves."""

from __future__ import annotations

import heapq

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts.table_loop import learn_in_tables
from rlsuite_agents.tabular.prioritized_sweeping import (
    PrioritizedSweeping,
    PrioritizedSweepingConfig,
)


def agent_of(n_states, n_actions, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    return PrioritizedSweeping(env, PrioritizedSweepingConfig(**settings), seed=0)


def step(s, a, r, s_next, terminated=False, truncated=False, **masks):
    return Transition(s, a, r, s_next, terminated, truncated, **masks)


def test_news_travel_backwards_in_one_step():
    """0 → 1 → 2 → end: once the end pays 8, all of it is known, halved at each step back."""
    agent = agent_of(3, 1, gamma=0.5, planning_steps=3)
    agent.observe(step(0, 0, 0.0, 1))
    agent.observe(step(1, 0, 0.0, 2))
    assert (agent.q == 0).all()
    agent.observe(step(2, 0, 8.0, 2, terminated=True))
    np.testing.assert_array_equal(agent.q[:, 0], [2.0, 4.0, 8.0])


def test_planning_steps_is_how_far_they_travel():
    agent = agent_of(3, 1, gamma=0.5, planning_steps=2)
    for t in (step(0, 0, 0.0, 1), step(1, 0, 0.0, 2), step(2, 0, 8.0, 2, terminated=True)):
        agent.observe(t)
    np.testing.assert_array_equal(agent.q[:, 0], [0.0, 4.0, 8.0])


def test_threshold_is_what_is_let_be():
    agent = agent_of(3, 1, gamma=0.5, threshold=4.0)
    for t in (step(0, 0, 0.0, 1), step(1, 0, 0.0, 2), step(2, 0, 8.0, 2, terminated=True)):
        agent.observe(t)
    np.testing.assert_array_equal(agent.q[:, 0], [0.0, 0.0, 8.0])  # 4 does not exceed 4


def test_updates_are_expected_ones():
    """Pays 1 and ends, pays 4 and goes to state 1, worth 6: ½ (1 + 4) + ½ · ½ · 6 = 4."""
    agent = agent_of(2, 1, gamma=0.5)
    agent.observe(step(1, 0, 6.0, 1, terminated=True))
    agent.observe(step(0, 0, 1.0, 1, terminated=True))
    assert agent.q[0, 0] == 1.0
    agent.observe(step(0, 0, 4.0, 1))
    assert agent.q[0, 0] == 4.0


def test_a_time_limit_is_not_an_end():
    agent = agent_of(2, 1, gamma=0.5)
    agent.observe(step(1, 0, 6.0, 1, terminated=True))
    agent.observe(step(0, 0, 1.0, 1, truncated=True))
    assert agent.q[0, 0] == 1.0 + 0.5 * 6.0


def test_the_largest_error_comes_first():
    """Two predecessors of state 2, of which one update is left: that of the larger reward."""
    agent = agent_of(3, 2, gamma=0.5, planning_steps=2)
    agent.observe(step(0, 0, 0.0, 2))
    agent.observe(step(1, 0, 0.0, 2))
    agent.tables.q[0, 0] = 3.0  # its error will be 1, that of (1, 0) 4
    agent.observe(step(2, 0, 8.0, 2, terminated=True))
    np.testing.assert_array_equal(agent.q[:, 0], [3.0, 4.0, 8.0])


def test_a_mask_that_changes_is_news():
    """State 1 is worth 8 by action 1, until only action 0 is allowed there, which pays 2."""
    agent = agent_of(2, 2, gamma=0.5)
    for t in (step(1, 0, 2.0, 1, True), step(1, 1, 8.0, 1, True), step(0, 0, 0.0, 1)):
        agent.observe(t)
    assert agent.q[0, 0] == 4.0
    agent.observe(step(0, 1, 0.0, 1, next_mask=np.array([1, 0])))
    np.testing.assert_array_equal(agent.q, [[1.0, 1.0], [2.0, 8.0]])


def test_the_maximum_is_over_the_allowed_actions():
    agent = agent_of(2, 2, gamma=0.5, initial_value=2.0)
    agent.observe(step(0, 0, 1.0, 1, next_mask=np.array([1, 0])))
    assert agent.q[0, 0] == 2.0
    agent.observe(step(1, 0, 0.0, 1, terminated=True))
    assert agent.q[0, 0] == 1.0  # the untried action 1, of value 2, is not allowed


def test_the_bonus_is_the_present_one():
    """Two visits: the mean reward 3, and β / √2 = 4 / √2, not the mean of 4 and 4 / √2."""
    agent = agent_of(1, 1, gamma=0.5, exploration="count_bonus(4)")
    agent.observe(step(0, 0, 2.0, 0, terminated=True))
    agent.observe(step(0, 0, 4.0, 0, terminated=True))
    assert agent.q[0, 0] == pytest.approx(3 + 4 / np.sqrt(2), rel=1e-15)


class Twin:
    """The box with dictionaries and heapq, whose outdated entries are thrown away."""

    def __init__(self, n_states, n_actions, n, theta, gamma):
        self.q, self.n, self.theta, self.gamma = np.zeros((n_states, n_actions)), n, theta, gamma
        self.seen, self.paid, self.leads_to = {}, {}, {}
        self.heap, self.priority = [], {}

    def error(self, s, a):
        n, expected = sum(self.seen[s, a].values()), 0.0
        for s_next, times in self.seen[s, a].items():
            if s_next != "end":
                expected += times / n * max(self.q[s_next])
        return self.paid[s, a] / n + self.gamma * expected - self.q[s, a]

    def consider(self, s, a):
        p = abs(self.error(s, a))
        if p > self.theta and p > self.priority.get((s, a), 0.0):
            self.priority[s, a] = p
            heapq.heappush(self.heap, (-p, s, a))

    def observe(self, t):
        s, a, goal = t.observation, t.action, "end" if t.terminated else t.next_observation
        outcomes = self.seen.setdefault((s, a), {})
        outcomes[goal] = outcomes.get(goal, 0) + 1
        self.paid[s, a] = self.paid.get((s, a), 0.0) + t.reward
        self.leads_to.setdefault(goal, set()).add((s, a))
        self.consider(s, a)
        for _ in range(self.n):
            while self.heap and self.priority.get(self.heap[0][1:]) != -self.heap[0][0]:
                heapq.heappop(self.heap)
            if not self.heap:
                break
            _, s, a = heapq.heappop(self.heap)
            del self.priority[s, a]
            self.q[s, a] += self.error(s, a)
            for before in self.leads_to.get(s, ()):
                self.consider(*before)


def walk(env, steps, seed):
    """Transitions of a random walk."""
    rng, over = np.random.default_rng(seed), True
    for _ in range(steps):
        if over:
            s, _ = env.reset(seed=int(rng.integers(1000)))
        a = int(rng.integers(env.action_space.n))
        s_next, r, terminated, truncated, _ = env.step(a)
        yield Transition(s, a, float(r), int(s_next), terminated, truncated)
        s, over = int(s_next), terminated or truncated


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("name", ["rlsuite/Garnet-v0", "FrozenLake-v1"])
def test_every_update_is_the_twins_bit_for_bit(name, n):
    env = gym.make(name)
    sizes = int(env.observation_space.n), int(env.action_space.n)
    agent = agent_of(*sizes, planning_steps=n, threshold=1e-3, gamma=0.9)
    twin = Twin(*sizes, n, 1e-3, 0.9)
    for t in walk(env, 300, n):
        agent.observe(t)
        twin.observe(t)
        np.testing.assert_array_equal(agent.q, twin.q)


def solved(transitions, sizes, gamma, q):
    """q of the greedy policy in the counted world, by a linear solve; untried pairs stay at 0."""
    n_states, n_actions = sizes
    n, r, p = np.zeros(sizes), np.zeros(sizes), np.zeros((*sizes, n_states))
    for t in transitions:
        n[t.observation, t.action] += 1
        r[t.observation, t.action] += t.reward
        p[t.observation, t.action, t.next_observation] += not t.terminated
    tried = np.maximum(n, 1)
    r, p = (r / tried).ravel(), (p / tried[:, :, None]).reshape(-1, n_states)
    best = np.zeros((n_states, n_states * n_actions))
    best[np.arange(n_states), np.arange(n_states) * n_actions + q.argmax(axis=1)] = 1.0
    return np.linalg.solve(np.eye(len(r)) - gamma * p @ best, r).reshape(sizes)


@pytest.mark.parametrize("seed", range(6))
def test_once_swept_q_is_the_solution_of_the_counted_world(seed):
    """No tried pair has an error above θ then, so q errs by at most θ / (1 - γ)."""
    ending = 0.1 if seed % 2 else 0.0
    env = gym.make("rlsuite/Garnet-v0", states=12, actions=3, mdp_seed=seed, ending=ending)
    sizes = int(env.observation_space.n), 3
    agent = agent_of(*sizes, gamma=0.8, threshold=1e-10, planning_steps=100_000)
    seen = list(walk(env, 150, seed))
    for t in seen:
        agent.observe(t)
    assert agent.tables.queue.n_queued[0] == 0
    np.testing.assert_allclose(agent.q, solved(seen, sizes, 0.8, agent.q), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_with_much_experience_it_is_near_the_optimum(seed):
    """Within 2% of the range of q*."""
    gamma, make = 0.9, lambda: gym.make("rlsuite/Garnet-v0", mdp_seed=seed, ending=0.0)
    config = PrioritizedSweepingConfig(gamma=gamma, epsilon=1.0, threshold=1e-3)
    agent = PrioritizedSweeping(make(), config, seed=seed).learn(1_000_000)
    q_star = make().unwrapped.oracle(gamma=gamma, limit=False).optimal_action_values()
    assert np.abs(agent.q - q_star).max() < 0.02 * np.ptp(q_star)


def test_more_outcomes_than_there_is_room_for():
    agent = agent_of(5, 1, max_outcomes=2)
    for s_next, terminated in ((1, False), (2, False), (1, False)):
        agent.observe(step(0, 0, 0.0, s_next, terminated))
    with pytest.raises(SettingError, match="more different outcomes than max_outcomes; raise it"):
        agent.observe(step(0, 0, 0.0, 3, terminated=True))
    agent = agent_of(5, 1, max_outcomes=3)
    for s_next, terminated in ((1, False), (2, False), (1, False), (3, True)):
        agent.observe(step(0, 0, 0.0, s_next, terminated))


def test_it_is_said_in_the_compiled_loop_too():
    config = PrioritizedSweepingConfig(max_outcomes=2)
    agent = PrioritizedSweeping(gym.make("rlsuite/Garnet-v0"), config, seed=0)
    with pytest.raises(SettingError, match="more different outcomes than max_outcomes; raise it"):
        learn_in_tables([agent], 10_000)


def test_epsilon_initial_value_and_gamma():
    agent = agent_of(2, 3, epsilon=0.3, initial_value=1.0, gamma=0.5)
    assert (agent.q == 1.0).all()
    agent.observe(step(0, 1, 2.0, 1))
    assert agent.q[0, 1] == 2.5
    p = agent.action_probabilities([0], deterministic=False)
    np.testing.assert_allclose(p, [[0.1, 0.8, 0.1]])


@pytest.mark.parametrize(
    ("name", "bad", "sentence"),
    [
        ("planning_steps", 0, "must be a whole number of at least 1, got 0"),
        ("max_outcomes", 0, "must be a whole number of at least 1, got 0"),
        ("threshold", -1e-9, r"must be a number in \[0, inf\), got -1e-09"),
        ("gamma", 1.5, r"must be a number in \[0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range(name, bad, sentence):
    with pytest.raises(SettingError, match=rf"PrioritizedSweepingConfig\.{name} {sentence}"):
        PrioritizedSweepingConfig(**{name: bad})


@pytest.mark.parametrize(
    "name",
    ["outcome", "n_outcomes", "latest_into", "earlier_into", "heap", "place", "n_queued"],
)
def test_damaged_counts_are_refused(name, tmp_path):
    agent = PrioritizedSweeping(gym.make("rlsuite/CliffWalk-v0"), seed=0).learn(50)
    x = agent.tables
    getattr(x.queue if name in x.queue._fields else x.model, name)[...] = 100_000
    agent.save(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"'{name}' should be in \[0, \d+\), or -1, but is"):
        PrioritizedSweeping.load(tmp_path / "a.ckpt")
