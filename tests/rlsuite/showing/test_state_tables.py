"""What a policy is worth, does and visits: by hand, against simulation, against the oracle."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError, UnknownIdError
from rlsuite.answer_key import find_answer_key
from rlsuite.showing.state_tables import board_of, expected_visits, state_table

Q, GRID, CLIFF = "rlsuite/QLearning-v0", "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0"
CORRIDOR = {"map": "S.G"}


def oracle_of(identifier: str, **kwargs):
    env = gym.make(identifier, **kwargs)
    env.reset(seed=0)
    return find_answer_key(env).oracle


def test_values_are_the_agents_own_estimates(tmp_path):
    agent = rlsuite.make_agent(Q, CLIFF, seed=0)
    agent.learn(2000)
    agent.save(tmp_path / "q.safetensors")
    table = state_table("values", str(tmp_path / "q.safetensors"), CLIFF)
    np.testing.assert_array_equal(table.numbers, agent.q.max(axis=1))
    assert table.who == Q
    assert table.note == "the agent's estimates, max Q(s, a), after 2,000 steps"


def test_an_agent_named_by_its_id_is_trained_first():
    agent = rlsuite.make_agent(Q, gym.make(CLIFF), seed=3, epsilon=0.2)
    table = state_table("values", Q, CLIFF, seed=3, steps=0, settings={"epsilon": 0.2})
    np.testing.assert_array_equal(table.numbers, agent.q.max(axis=1))
    trained = state_table("values", Q, CLIFF, seed=3, steps=500)
    assert (trained.numbers < 0).any()


def test_an_agent_without_a_table_gets_the_exact_values_of_its_policy():
    table = state_table("values", "rlsuite/Random-v0", GRID, steps=0, deterministic=False)
    oracle = oracle_of(GRID)
    assert table.numbers[0] == pytest.approx(oracle.baseline_return)
    assert table.note.startswith("exact values of the sampled policy")


def test_the_optimal_policy_is_an_agent_too():
    oracle = oracle_of(GRID)
    values = state_table("values", "optimal", GRID)
    np.testing.assert_array_equal(values.numbers, oracle.optimal_values()[0])
    policy = state_table("policy", "optimal", GRID)
    np.testing.assert_array_equal(policy.numbers, oracle.optimal_policy()[0])


def test_visits_by_hand():
    """Three cells in a row, always to the right with slip ½: walls above and below stay put."""
    table = state_table("visits", "optimal", GRID, env_settings={**CORRIDOR})
    np.testing.assert_allclose(table.numbers, [1.0, 1.0, 1.0])
    slow = state_table("visits", "optimal", GRID, env_settings={**CORRIDOR, "slip": 0.5})
    # each of the two cells is left with probability ½ a step: 2 visits on average
    np.testing.assert_allclose(slow.numbers, [2.0, 2.0, 1.0], atol=1e-9)


def test_visits_of_the_goal_are_the_probability_of_success():
    """FrozenLake pays 1 at the goal and ends, so that is its optimal return."""
    table = state_table("visits", "optimal", "FrozenLake-v1")
    assert table.numbers[15] == pytest.approx(oracle_of("FrozenLake-v1").optimal_return)


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_visits_are_those_of_played_episodes(limit):
    oracle = oracle_of(GRID, slip=0.3)
    n_states, n_actions = oracle.model.next_state.shape[:2]
    pi = np.full((n_states, n_actions), 1 / n_actions)
    found = expected_visits(oracle.model, oracle.model.start, pi, limit)
    env = gym.make(GRID, slip=0.3, max_episode_steps=limit)
    rng, episodes = np.random.default_rng(0), 4000 // limit + 200
    counts = np.zeros((episodes, n_states))
    env.reset(seed=1)
    for k in range(episodes):
        state, _ = env.reset()
        over = False
        counts[k, state] += 1
        while not over:
            state, _, terminated, truncated, _ = env.step(int(rng.integers(4)))
            counts[k, state] += 1
            over = terminated or truncated
    # rare visits vary as their mean does, the others less than they are seen to
    spread = np.maximum(counts.var(axis=0, ddof=1), found)
    error = np.sqrt(spread / episodes) + 1 / episodes * (found > 0)
    assert (np.abs(counts.mean(axis=0) - found) <= 4.5 * error).all()
    assert found.sum() == pytest.approx(counts.sum(axis=1).mean(), rel=0.1)


def test_boards_of_grids_and_of_gymnasiums_own():
    grid = board_of(gym.make(GRID))
    assert (grid.rows, grid.columns, grid.walls) == (5, 5, {4, 12, 21})
    cliff, theirs = board_of(gym.make(CLIFF)), board_of(gym.make("CliffWalking-v1"))
    assert cliff == theirs
    lake = board_of(gym.make("FrozenLake-v1"))
    assert (lake.starts, lake.goals, lake.pits) == ({0}, {15}, {5, 7, 11, 12})
    assert lake.moves[0] == (-1, 0)
    assert board_of(gym.make("Taxi-v4")) is None


def test_boards_of_kings():
    king = board_of(gym.make("rlsuite/WindyGrid-v0", king_moves=True, stay=True))
    assert (king.rows, king.columns, king.goals) == (7, 10, {37})
    assert king.moves[4:] == ((1, -1), (1, 1), (-1, 1), (-1, -1), (0, 0))
    assert len(board_of(gym.make("rlsuite/WindyGrid-v0")).moves) == 4


@pytest.mark.parametrize("identifier", ["rlsuite/BernoulliBandit-v0", "CartPole-v1"])
def test_a_task_without_a_table_is_refused(identifier):
    with pytest.raises(SettingError, match="has no table of states to plot"):
        state_table("values", "optimal", identifier)


def test_training_means_nothing_for_the_optimal_policy():
    with pytest.raises(SettingError, match="steps means nothing for the optimal policy"):
        state_table("values", "optimal", GRID, steps=3)


def test_an_unknown_agent_is_refused():
    with pytest.raises(UnknownIdError, match="QLearnin"):
        state_table("values", "rlsuite/QLearnin-v0", GRID)


def test_an_agent_that_states_no_policy_is_refused(monkeypatch):
    class Silent:
        num_timesteps = 0

    monkeypatch.setattr("rlsuite.showing.state_tables.policy_for", lambda *a, **k: Silent())
    with pytest.raises(SettingError, match="Silent has no action_probabilities"):
        state_table("policy", Q, GRID)
