"""Monte-Carlo control, on and off policy: returns on the blackboard, the definitions as twins."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import Transition
from registry.errors import SettingError
from rlsuite_agents.tabular.monte_carlo_control import MonteCarloControl, MonteCarloControlConfig
from rlsuite_agents.tabular.off_policy_monte_carlo import (
    OffPolicyMonteCarlo,
    OffPolicyMonteCarloConfig,
)


def agent_of(cls, n_states=4, n_actions=1, **settings):
    env = gym.Env()
    env.observation_space, env.action_space = Discrete(n_states), Discrete(n_actions)
    return cls(env, cls.config_type(**settings), seed=0)


def live(agent, *steps):
    """Each step is acted before it is observed, whatever `act` has chosen."""
    for t in steps:
        agent.act(t.observation, t.mask, agent.rng)
        agent.observe(t)


TWICE = [
    Transition(0, 0, 1.0, 0, False, False),
    Transition(0, 0, 2.0, 1, False, False),
    Transition(1, 0, 4.0, 3, True, False),
]
"""State 0 comes twice; with γ = ½ the returns are 3, 4, 4."""


@pytest.mark.parametrize(
    ("visits", "step_size", "expected"),
    [
        ("first", 0.5, [1.5, 2.0]),  # ½ · 3, ½ · 4
        ("every", 0.5, [2.5, 2.0]),  # ½ · 4, then ½ (3 - 2) more
        ("first", "power(1)", [3.0, 4.0]),
        ("every", "power(1)", [3.5, 4.0]),  # the mean of 3 and 4
    ],
)
def test_an_episode_by_hand(visits, step_size, expected):
    agent = agent_of(MonteCarloControl, visits=visits, step_size=step_size, gamma=0.5)
    live(agent, *TWICE[:2])
    assert not agent.q.any()  # nothing is learned before the end
    live(agent, TWICE[2])
    np.testing.assert_array_equal(agent.q[:2, 0], expected)


def test_at_a_time_limit_the_value_of_the_last_state_follows():
    """Q(3) = 8: the returns are 1 + ½ (2 + ½ (4 + ½ · 8)) = 4 and 4 + ½ · 8 = 8."""
    for cls in (MonteCarloControl, OffPolicyMonteCarlo):
        agent = agent_of(cls, gamma=0.5)
        if cls is MonteCarloControl:
            agent = agent_of(cls, gamma=0.5, step_size=1.0)
        agent.tables.q[3] = 8.0
        live(agent, *TWICE[:2], Transition(1, 0, 4.0, 3, False, True))
        assert agent.q[1, 0] == 8.0
        if cls is MonteCarloControl:
            assert agent.q[0, 0] == 4.0
        agent.tables.q[3] = 99.0
        live(agent, Transition(2, 0, 4.0, 3, True, True))  # an end on the last tick is an end
        assert agent.q[2, 0] == 4.0


def test_the_value_at_a_time_limit_is_of_an_allowed_action():
    mask = np.array([1, 0])
    for cls in (MonteCarloControl, OffPolicyMonteCarlo):
        agent = agent_of(cls, 4, 2, initial_value=1.0)
        agent.tables.q[3] = [8.0, 99.0]
        live(agent, Transition(1, 0, 1.0, 3, False, True, mask, mask))
        assert 1.0 < agent.q[1, 0] <= 9.0


def test_an_episode_that_is_too_long_is_cut_into_pieces():
    """Pieces of two steps: the first one ends with Q(2) = 6 behind it."""
    for cls in (MonteCarloControl, OffPolicyMonteCarlo):
        agent = agent_of(cls, 4, longest_episode=2)
        agent.tables.q[2] = 6.0
        live(agent, Transition(0, 0, 1.0, 1, False, False), Transition(1, 0, 1.0, 2, False, False))
        share = 0.1 if cls is MonteCarloControl else 1.0
        np.testing.assert_allclose(agent.q[:2, 0], [share * 8, share * 7])
        live(agent, Transition(2, 0, 1.0, 3, True, False))
        assert agent.q[2, 0] == pytest.approx(6 + share * (1 - 6))


def episodes(rng, n_states, n_actions, count):
    for _ in range(count):
        s, steps = int(rng.integers(n_states)), []
        for _ in range(int(rng.integers(1, 10))):
            s_next = int(rng.integers(n_states))
            steps.append((s, int(rng.integers(n_actions)), float(rng.normal()), s_next))
            s = s_next
        yield steps


def shown(steps):
    last = len(steps) - 1
    return [Transition(*step, k == last, False) for k, step in enumerate(steps)]


@pytest.mark.parametrize("visits", ["first", "every"])
def test_means_of_returns_as_in_the_box(visits):
    """`Returns(s, a)` is a list, and Q(s, a) its average (S&B section 5.4)."""
    rng = np.random.default_rng(0)
    agent = agent_of(MonteCarloControl, 4, 2, visits=visits, step_size="power(1)", gamma=0.8)
    returns = {}
    for steps in episodes(rng, 4, 2, 60):
        live(agent, *shown(steps))
        pairs = [(s, a) for s, a, _, _ in steps]
        for t, pair in enumerate(pairs):
            if visits == "every" or pair not in pairs[:t]:
                g = sum(0.8**k * step[2] for k, step in enumerate(steps[t:]))
                returns.setdefault(pair, []).append(g)
        for pair, values in returns.items():
            assert agent.q[pair] == pytest.approx(np.mean(values))


def test_a_falling_step_size_counts_returns():
    """power(½): first-visit, so that two visits in an episode are one return."""
    agent = agent_of(MonteCarloControl, step_size="power(0.5)", gamma=0.5)
    live(agent, *TWICE)
    live(agent, Transition(0, 0, 0.0, 3, True, False))
    assert agent.q[0, 0] == pytest.approx(3 - 3 / 2**0.5)


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_weighted_importance_sampling_is_the_definition(epsilon):
    """Q(s, a) = Σ ρ G / Σ ρ over all returns of the pair, ρ the product of π/b after it (eq. 5.6).

    π is the greedy policy as it is when a return is weighed: the pass goes backwards, and may
    change it. b is ε-greedy in Q as it was while the episode was played.
    """
    rng = np.random.default_rng(1)
    agent = agent_of(OffPolicyMonteCarlo, 4, 3, epsilon=epsilon, gamma=0.8)
    q, weighed = np.zeros((4, 3)), {}
    for steps in episodes(rng, 4, 3, 150):
        played = q.copy()
        live(agent, *shown(steps))
        g, rho = 0.0, 1.0
        for s, a, r, _ in reversed(steps):
            g = r + 0.8 * g
            if rho > 0:
                pair = weighed.setdefault((s, a), [])
                pair.append((rho, g))
                rhos, returns = np.array(pair).T
                q[s, a] = rhos @ returns / rhos.sum()
            best = played[s] == played[s].max()
            b = (1 - epsilon) * best / best.sum() + epsilon / 3
            rho *= float(a == q[s].argmax()) / b[a]
        np.testing.assert_allclose(agent.q, q, atol=1e-9)
    assert max(len(pair) for pair in weighed.values()) > 10


def test_masked_actions_are_not_greedy():
    """Action 1 is worth more and forbidden, so that action 0 is greedy and the pass goes on."""
    for mask, learned in ((np.array([1, 0]), True), (np.array([1, 1]), False)):
        agent = agent_of(OffPolicyMonteCarlo, 4, 2)
        agent.tables.q[1] = [0.0, 99.0]
        steps = Transition(0, 0, 1.0, 1, False, False), Transition(1, 0, 1.0, 3, True, False, mask)
        live(agent, *steps)
        assert (agent.q[0, 0] != 0) == learned


def test_a_weight_that_nothing_can_stand_beside_is_the_last():
    """2,000 greedy steps of probability ½ would weigh 2²⁰⁰⁰."""
    agent = agent_of(OffPolicyMonteCarlo, 1, 2, epsilon=1.0)
    agent.tables.q[0] = [5.0, 0.0]
    steps = [Transition(0, 0, 0.0, 0, k == 1_999, False) for k in range(2_000)]
    agent.tables.weights[0, 0] = 1e250
    live(agent, *steps)
    assert np.isfinite(agent.q).all()
    assert np.isfinite(agent.tables.weights).all()


def test_first_and_every_are_the_visits_there_are():
    with pytest.raises(SettingError, match="visits must be one of 'first', 'every', got 'last'"):
        MonteCarloControlConfig(visits="last")
    for config in (MonteCarloControlConfig, OffPolicyMonteCarloConfig):
        with pytest.raises(
            SettingError, match="longest_episode must be a whole number of at least"
        ):
            config(longest_episode=0)


@pytest.mark.parametrize("epsilon", [0.0, "linear(1, 0, 100)", "exponential(1, 0, 9)"])
@pytest.mark.parametrize("exploration", ["greedy", "ucb(1)", "count_bonus(1)"])
def test_the_behaviour_has_to_stay_soft(epsilon, exploration):
    with pytest.raises(SettingError, match="epsilon must stay above 0, so that every action has"):
        OffPolicyMonteCarloConfig(epsilon=epsilon, exploration=exploration)
    OffPolicyMonteCarloConfig(epsilon=epsilon, exploration="boltzmann(1)")
    OffPolicyMonteCarloConfig(epsilon="linear(1, 0.1, 100)", exploration=exploration)


def test_there_is_no_step_size_off_policy():
    with pytest.raises(TypeError, match="step_size"):
        OffPolicyMonteCarloConfig(step_size=0.1)
