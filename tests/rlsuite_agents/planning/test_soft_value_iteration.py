"""Soft value iteration: two limits, an objective, and the messages of a graphical model."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from rlsuite_agents.planning.soft_value_iteration import (
    SoftValueIteration,
    SoftValueIterationConfig,
)
from rlsuite_agents.planning.value_iteration import ValueIteration


def soft(env, sweeps=20_000, **settings):
    agent = SoftValueIteration(env, SoftValueIterationConfig(**settings), seed=0).learn(sweeps)
    assert agent.converged
    return agent


def random_rows(rng, states, actions, outcomes):
    """A table in which outcomes are drawn at random, and may end."""
    return [
        [
            [
                (p, int(rng.integers(states)), float(rng.normal()), bool(rng.random() < 0.2))
                for p in rng.dirichlet(np.ones(outcomes))
            ]
            for _ in range(actions)
        ]
        for _ in range(states)
    ]


def message(model, pi, temperature, s, steps):
    """p(O_1 = 1, ..., O_H = 1 | s), by adding up every trajectory of actions and outcomes."""
    if steps == 0:
        return 1.0
    total = 0.0
    for a, k in np.ndindex(model.next_state.shape[1:]):
        rest = 1.0
        if not model.terminal[s, a, k]:
            rest = message(model, pi, temperature, model.next_state[s, a, k], steps - 1)
        chance = pi[s, a] * model.probability[s, a, k]
        total += chance * np.exp(model.reward[s, a, k] / temperature) * rest
    return total


def objective(model, pi_t, reference, temperature):
    """E[Σ r] - τ KL of a policy [H, S, A], by backward recursion: [S]."""
    v = np.zeros(len(reference))
    going = np.where(model.terminal, 0.0, model.probability)
    for pi in pi_t[::-1]:
        q = np.einsum("sak,sak->sa", model.probability, model.reward)
        q = q + np.einsum("sak,sak->sa", going, v[model.next_state])
        v = np.sum(pi * (q - temperature * np.log(pi / reference)), axis=1)
    return v


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_the_backward_messages_of_deterministic_dynamics(make_model, seed, temperature, tmp_path):
    """V = τ log p(O = 1 | s), and π is the posterior over actions."""
    rng = np.random.default_rng(seed)
    env = make_model(random_rows(rng, 4, 3, 1), limit=5)
    reference = rng.dirichlet(np.ones(3), size=4)
    np.savez(tmp_path / "pi.npz", pi=reference)
    agent = soft(env, temperature=temperature, reference=str(tmp_path / "pi.npz"))
    model = env.unwrapped.model
    messages = [message(model, reference, temperature, s, 5) for s in range(4)]
    np.testing.assert_allclose(agent.v, temperature * np.log(messages), atol=1e-12)
    pi = agent.clocked_probabilities(range(4), horizon=5, deterministic=False)[0]
    for s, a in np.ndindex(4, 3):
        rest = 1.0
        if not model.terminal[s, a, 0]:
            rest = message(model, reference, temperature, model.next_state[s, a, 0], 4)
        joint = reference[s, a] * np.exp(model.reward[s, a, 0] / temperature) * rest
        assert pi[s, a] == pytest.approx(joint / messages[s], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_stochastic_dynamics_are_held_fixed(make_model, seed):
    """The values are E[Σ r] - τ KL of the policy, the most there is; the messages promise more."""
    rng = np.random.default_rng(seed)
    env, tau = make_model(random_rows(rng, 4, 3, 2), limit=4), 0.7
    model, uniform = env.unwrapped.model, np.full((4, 3), 1 / 3)
    agent = soft(env, temperature=tau)
    pi = agent.clocked_probabilities(range(4), horizon=4, deterministic=False)
    np.testing.assert_allclose(objective(model, pi, uniform, tau), agent.v, atol=1e-12)
    for _ in range(20):
        other = rng.dirichlet(np.ones(3), size=(4, 4))
        assert np.all(objective(model, other, uniform, tau) <= agent.v + 1e-12)
    optimistic = [tau * np.log(message(model, uniform, tau, s, 4)) for s in range(4)]
    assert np.all(optimistic > agent.v + 1e-3)


def test_the_optimism_of_inference_by_hand(make_model):
    """One action, 1 or -1 with even chances: worth 0, while log E[exp r] = log cosh 1 = 0.4338."""
    env = make_model([[[(0.5, 0, 1.0, True), (0.5, 0, -1.0, True)]]], limit=1)
    assert soft(env).v[0] == pytest.approx(0.0, abs=1e-15)
    inferred = np.log(message(env.unwrapped.model, np.ones((1, 1)), 1.0, 0, 1))
    assert inferred == pytest.approx(np.log(np.cosh(1.0)))


def test_one_decision_by_hand(make_model):
    """Rewards 0 and τ log 3 from a uniform reference: π = (1/4, 3/4), V = τ log 2."""
    tau = 0.5
    env = make_model([[[(1.0, 0, 0.0, True)], [(1.0, 0, tau * np.log(3), True)]]], limit=1)
    agent = soft(env, temperature=tau)
    assert agent.v[0] == pytest.approx(tau * np.log(2), abs=1e-15)
    pi = agent.clocked_probabilities([0], horizon=1, deterministic=False)
    np.testing.assert_allclose(pi, [[[0.25, 0.75]]], atol=1e-15)


@pytest.mark.parametrize("horizon", ["limit", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_both_ends_of_the_temperature(seed, horizon, tmp_path):
    """τ -> 0 is the optimum; τ -> ∞ is the reference policy and what it is worth."""
    env = gym.make("rlsuite/Garnet-v0", mdp_seed=seed, max_episode_steps=30)
    settings = {"gamma": 0.9, "horizon": horizon}
    best = ValueIteration(env, ValueIteration.config_type(**settings), seed=0).learn(1_000)
    np.testing.assert_allclose(soft(env, temperature=1e-12, **settings).v, best.v, atol=1e-9)
    n = env.observation_space.n
    reference = np.random.default_rng(seed).dirichlet(np.ones(env.action_space.n), size=n)
    np.savez(tmp_path / "pi.npz", pi=reference)
    path = str(tmp_path / "pi.npz")
    hot = soft(env, temperature=1e12, reference=path, **settings)
    evaluated = rlsuite.make_agent("rlsuite/PolicyEvaluation-v0", env, policy=path, **settings)
    np.testing.assert_allclose(hot.v, evaluated.learn(1_000).v, atol=1e-9)
    np.testing.assert_allclose(hot.pi_rows(np.arange(n), np.full(n, 30)), reference, atol=1e-9)


def test_values_fall_with_the_temperature():
    env = gym.make("rlsuite/CliffWalk-v0")
    values = [soft(env, temperature=t).v[36] for t in (1e-6, 0.1, 1.0, 10.0)]
    assert values[0] == pytest.approx(-13.0, abs=1e-3)
    assert all(low > high for low, high in itertools.pairwise(values))


def test_a_checkpoint_holds_the_reference(small_grid, tmp_path):
    agent = soft(small_grid(limit=6), temperature=2.0)
    agent.save(tmp_path / "agent")
    loaded = SoftValueIteration.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.reference, agent.reference)
    one, other = (
        a.clocked_probabilities(range(16), horizon=6, deterministic=False) for a in (agent, loaded)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf")])
def test_temperatures_out_of_range(temperature):
    with pytest.raises(SettingError, match=r"temperature must be a number in \(0, inf\)"):
        SoftValueIterationConfig(temperature=temperature)
