"""Policy evaluation: the book's figure, a linear solve, files of policies."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the environments
from registry.errors import SettingError
from rlsuite_agents.planning.policy_evaluation import PolicyEvaluation, PolicyEvaluationConfig
from rlsuite_envs.tabular.mdp import TabularMDP

CORNER = [[0, 1, 2, 3], [4, 5, 6, 7]]
"""Figure 4.1 is symmetric: its upper half says all."""

FIGURE = {
    1: [[0, -1, -1, -1], [-1, -1, -1, -1]],
    2: [[0, -1.75, -2, -2], [-1.75, -2, -2, -2]],
    3: [[0, -2.4375, -2.9375, -3], [-2.4375, -2.875, -3, -2.9375]],
    10: [[0, -6.1, -8.4, -9.0], [-6.1, -7.7, -8.4, -8.4]],
}


def evaluated(env, sweeps=20_000, **settings):
    agent = PolicyEvaluation(env, PolicyEvaluationConfig(**settings), seed=0).learn(sweeps)
    assert agent.converged
    return agent


@pytest.mark.parametrize("k", FIGURE)
def test_the_sweeps_of_figure_4_1(small_grid, k):
    """With k steps left the values are those of the k-th synchronous sweep."""
    v = evaluated(small_grid(limit=k), horizon="limit").state_values()
    digits = 1 if k == 10 else 12  # the book prints one
    np.testing.assert_allclose(v[CORNER], FIGURE[k], atol=0.5 * 10.0**-digits + 1e-9)
    np.testing.assert_allclose(v, v[::-1], atol=1e-12)


def test_the_values_of_example_4_1(small_grid):
    v = evaluated(small_grid(), tolerance=1e-11).state_values()
    wanted = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    np.testing.assert_allclose(v.reshape(4, 4), wanted, atol=1e-8)


@pytest.mark.parametrize("seed", range(50))
def test_it_is_a_linear_solve(seed, tmp_path):
    """V = (I - γ P_π)^-1 r_π for a random policy on random MDPs, to 1e-9."""
    env = gym.make("rlsuite/Garnet-v0", mdp_seed=seed)
    model, gamma, rng = env.unwrapped.model, 0.95, np.random.default_rng(seed)
    states, actions = model.next_state.shape[:2]
    pi = rng.dirichlet(np.ones(actions), size=states)
    np.savez(tmp_path / "pi.npz", pi=pi)
    p = np.zeros((states, states))
    going = np.where(model.terminal, 0.0, model.probability) * pi[:, :, None]
    np.add.at(p, (np.arange(states)[:, None, None], model.next_state), going)
    r = np.einsum("sa,sak,sak->s", pi, model.probability, model.reward)
    exact = np.linalg.solve(np.eye(states) - gamma * p, r)
    path = str(tmp_path / "pi.npz")
    agent = evaluated(env, policy=path, gamma=gamma, horizon="none")
    np.testing.assert_allclose(agent.state_values(), exact, atol=1e-9)
    np.testing.assert_allclose(agent.action_probabilities([3], deterministic=False)[0], pi[3])


@pytest.mark.parametrize("identifier", ["rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0"])
def test_an_epsilon_soft_policy_is_worth_what_the_oracle_says(identifier, tmp_path):
    env = gym.make(identifier)
    oracle = env.unwrapped.oracle()
    optimal = oracle.optimal_policy()[0]
    np.save(tmp_path / "pi.npy", optimal)
    agent = evaluated(env, policy=str(tmp_path / "pi.npy"), epsilon=0.1, horizon="limit")
    soft = 0.9 * optimal + 0.1 / optimal.shape[1]
    start = env.unwrapped.model.start
    assert start @ agent.state_values() == pytest.approx(oracle.policy_return(soft), abs=1e-9)


def test_predictions_are_judged_exact():
    """A prediction task asks for the values without the time limit, as the default gives them."""
    env = gym.make("rlsuite/RandomWalk-v0")
    oracle = TabularMDP.from_gymnasium(env).oracle()
    start = env.unwrapped.model.start
    assert start @ evaluated(env).v == pytest.approx(oracle.baseline_return, abs=1e-9)


def test_values_of_a_batch_and_of_all_states(small_grid):
    agent = evaluated(small_grid(limit=2), horizon="limit")
    np.testing.assert_array_equal(agent.state_values([5, 0, 1]), agent.v[[5, 0, 1]])


def test_a_policy_that_never_ends_does_not_settle(make_model):
    """-1 for ever has no finite value, and it is not claimed to have one."""
    env = make_model([[[(1.0, 0, -1.0, False)]]])
    agent = PolicyEvaluation(env, seed=0).learn(500)
    assert not agent.converged
    assert agent.v[0] == -500.0


def test_files_that_hold_no_policy_are_refused(small_grid, tmp_path):
    path = tmp_path / "pi.npz"
    with pytest.raises(SettingError, match="must be 'uniform' or a file of NumPy with an array"):
        PolicyEvaluation(small_grid(), PolicyEvaluationConfig(policy=str(path)), seed=0)
    np.savez(path, other=np.eye(4))
    with pytest.raises(SettingError, match="must be 'uniform' or a file of NumPy with an array"):
        PolicyEvaluation(small_grid(), PolicyEvaluationConfig(policy=str(path)), seed=0)
    np.savez(path, pi=np.full((16, 4), 0.3))
    with pytest.raises(SettingError, match=r"probabilities of the shape \(16, 4\)"):
        PolicyEvaluation(small_grid(), PolicyEvaluationConfig(policy=str(path)), seed=0)


def test_a_checkpoint_holds_the_policy_itself(small_grid, tmp_path):
    np.save(tmp_path / "pi.npy", np.full((16, 4), 0.25))
    config = PolicyEvaluationConfig(policy=str(tmp_path / "pi.npy"))
    agent = PolicyEvaluation(small_grid(limit=9), config, seed=0).learn(5)
    agent.save(tmp_path / "agent")
    (tmp_path / "pi.npy").unlink()
    loaded = PolicyEvaluation.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.pi, agent.pi)
    np.testing.assert_array_equal(loaded.state_values(), agent.state_values())
    with pytest.raises(SettingError, match="loaded without an environment"):
        loaded.learn(1)
