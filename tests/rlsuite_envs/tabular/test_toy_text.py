"""Gymnasium's own tables get an answer key; the numbers are known from elsewhere."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.errors import SettingError
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.toy_text import toy_text_oracle


def oracle_of(identifier, horizon=None, **keywords):
    return toy_text_oracle(gym.make(identifier, **keywords), horizon)


def test_frozen_lake_with_its_limit():
    oracle = oracle_of("FrozenLake-v1", 100)
    assert oracle.optimal_return == pytest.approx(0.744190, abs=5e-7)
    assert oracle.best_stationary_return == pytest.approx(0.740165, abs=5e-7)
    assert oracle.baseline_return == pytest.approx(0.013940, abs=5e-7)


def test_frozen_lake_without_a_limit():
    oracle = oracle_of("FrozenLake-v1")
    assert oracle.optimal_return == pytest.approx(14 / 17, abs=1e-12)
    assert oracle.policy_return(oracle.optimal_policy()) == pytest.approx(14 / 17, abs=1e-12)
    assert oracle.baseline_return == pytest.approx(0.013940, abs=5e-7)
    assert oracle.best_stationary_return is None
    discounted = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1")).oracle(gamma=0.99)
    assert discounted.optimal_return == pytest.approx(0.542026, abs=5e-7)


def test_the_stationary_optimum_of_the_unlimited_lake_within_the_limit():
    endless, limited = oracle_of("FrozenLake-v1"), oracle_of("FrozenLake-v1", 100)
    assert limited.policy_return(endless.optimal_policy()) == pytest.approx(0.740165, abs=5e-7)


def test_a_lake_without_ice_is_a_shortest_path():
    oracle = oracle_of("FrozenLake-v1", 100, is_slippery=False)
    assert oracle.optimal_return == 1.0
    assert oracle.best_stationary_return is None
    assert oracle_of("FrozenLake-v1", 5, is_slippery=False).optimal_return == 0.0
    assert oracle_of("FrozenLake-v1", 6, is_slippery=False).optimal_return == 1.0


def test_cliff_walking_has_no_limit_and_still_an_answer():
    oracle = oracle_of("CliffWalking-v1")
    assert oracle.optimal_return == -13.0
    assert np.isfinite(oracle.baseline_return)
    up = np.zeros((48, 4))
    up[:, 0] = 1.0
    assert oracle.policy_return(up) == -np.inf


def test_taxi_is_averaged_over_its_starts():
    """Without rain every start has a shortest path, and the limit does not bind."""
    oracle = oracle_of("Taxi-v4", 200)
    assert oracle.optimal_return == pytest.approx(oracle_of("Taxi-v4").optimal_return, abs=1e-10)
    assert oracle.optimal_return == pytest.approx(7.93, abs=1e-10)
    every_action = np.full((500, 6), 1 / 6)
    assert oracle.baseline_return > oracle.policy_return(every_action)
    mask = oracle.mask
    masked = mask / mask.sum(axis=1, keepdims=True)
    assert oracle.baseline_return == pytest.approx(oracle.policy_return(masked), abs=1e-10)
    rainy = oracle_of("Taxi-v4", 200, is_rainy=True)
    assert rainy.optimal_return < oracle.optimal_return


def test_taxi_by_shortest_paths():
    """J* again, by breadth-first search over the table: 20 at the end, -1 for every step before."""
    env = gym.make("Taxi-v4").unwrapped
    steps = {}
    for s in np.flatnonzero(env.initial_state_distrib).tolist():
        seen, edge, n = {s}, [s], 0
        while s not in steps:
            n += 1
            ways = [env.P[e][a][0] for e in edge for a in range(6)]
            if any(ends for *_, ends in ways):
                steps[s] = n
            edge = list({int(way[1]) for way in ways} - seen)
            seen.update(edge)
    mean = sum(env.initial_state_distrib[s] * (20 - (n - 1)) for s, n in steps.items())
    assert oracle_of("Taxi-v4", 200).optimal_return == pytest.approx(mean, abs=1e-10)


def test_wrappers_do_not_hide_the_table():
    env = gym.wrappers.TransformReward(gym.make("FrozenLake-v1"), lambda r: r)
    assert toy_text_oracle(env, 100).optimal_return == pytest.approx(0.744190, abs=5e-7)


@pytest.mark.parametrize("identifier", ["CartPole-v1", "Blackjack-v1", "rlsuite/CliffWalk-v0"])
def test_other_environments_are_left_to_others(identifier):
    assert oracle_of(identifier, 100) is None


def test_a_fickle_passenger_has_no_exact_answer():
    assert oracle_of("Taxi-v4", 200, fickle_passenger=True) is None


def test_a_horizon_is_checked():
    with pytest.raises(SettingError, match="horizon must be a whole number of at least 1"):
        oracle_of("FrozenLake-v1", 0)


@pytest.mark.slow
def test_the_uniform_policy_on_frozen_lake_by_sampling():
    env = gym.make("FrozenLake-v1").unwrapped
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    episodes, wins = 20_000, 0.0
    for _ in range(episodes):
        env.reset()
        for action in rng.integers(4, size=100).tolist():
            _, reward, terminated, _, _ = env.step(action)
            wins += reward
            if terminated:
                break
    p = oracle_of("FrozenLake-v1", 100).baseline_return
    assert abs(wins / episodes - p) <= 4 * np.sqrt(p * (1 - p) / episodes)
