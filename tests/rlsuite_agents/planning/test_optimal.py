"""Policy and value iteration: a linear program, the oracle's twin, ties, the clock."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit, TransformReward
from scipy.optimize import linprog

import rlsuite
from registry.errors import CheckpointError, SettingError, UnsupportedSpaceError
from rlsuite_agents.planning.policy_iteration import PolicyIteration, PolicyIterationConfig
from rlsuite_agents.planning.value_iteration import ValueIteration, ValueIterationConfig
from rlsuite_envs.tabular.mdp import TabularMDP

PLANNERS = [ValueIteration, PolicyIteration]
TABLES = [
    "rlsuite/GridWorld-v0",
    "rlsuite/CliffWalk-v0",
    "rlsuite/WindyGrid-v0",
    "rlsuite/RandomWalk-v0",
    "rlsuite/DeepSea-v0",
    "rlsuite/Garnet-v0",
    "FrozenLake-v1",
    "CliffWalking-v1",
    "Taxi-v4",
]


def planned(planner, env, sweeps=50_000, **settings):
    agent = planner(env, planner.config_type(**settings), seed=0).learn(sweeps)
    assert agent.converged
    return agent


def pi_of(agent, states, horizon):
    """[S, A], or [H, S, A] of a policy that looks at the clock."""
    if agent.memoryless:
        return agent.action_probabilities(states, deterministic=True)
    return agent.clocked_probabilities(states, horizon=horizon, deterministic=True)


def optimum_by_linear_program(model, gamma):
    """The smallest v with v(s) ≥ q(s, a) everywhere (Puterman 1994, section 6.9)."""
    states, actions = model.next_state.shape[:2]
    going = np.where(model.terminal, 0.0, model.probability)
    rows = np.zeros((states, actions, states))
    for s, a, k in np.ndindex(going.shape):
        rows[s, a, model.next_state[s, a, k]] += gamma * going[s, a, k]
    rows[np.arange(states), :, np.arange(states)] -= 1.0
    r = np.einsum("sak,sak->sa", model.probability, model.reward)
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        np.ones(states),
        rows.reshape(-1, states),
        -r.ravel(),
        bounds=(None, None),
        method="highs-ds",
        options=options,
    )
    assert found.success
    return found.x


@pytest.mark.parametrize("seed", range(50))
def test_both_are_a_linear_program(seed):
    env = gym.make("rlsuite/Garnet-v0", mdp_seed=seed)
    exact = optimum_by_linear_program(env.unwrapped.model, 0.95)
    for planner in PLANNERS:
        agent = planned(planner, env, gamma=0.95, horizon="none")
        np.testing.assert_allclose(agent.v, exact, atol=1e-9)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("identifier", TABLES)
@pytest.mark.parametrize(("horizon", "gamma"), [("limit", 1.0), ("none", 0.95), (7, 0.9)])
def test_the_oracles_solvers_agree(planner, identifier, horizon, gamma):
    """Two independent programs: values and policies, with a limit and discounted."""
    env = gym.make(identifier)
    mdp = TabularMDP.from_gymnasium(env)
    limit = {"limit": env.spec.max_episode_steps, "none": None}.get(horizon, horizon)
    oracle = mdp.oracle(horizon=limit, gamma=gamma)
    agent = planned(planner, env, gamma=gamma, horizon=horizon)
    assert mdp.start @ agent.v == pytest.approx(oracle.optimal_return, abs=1e-9)
    pi = pi_of(agent, np.arange(mdp.n_states), limit)
    assert oracle.policy_return(pi) == pytest.approx(oracle.optimal_return, abs=1e-9)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("identifier", ["rlsuite/GridWorld-v0", "FrozenLake-v1", "Taxi-v4"])
def test_a_stationary_policy_without_a_limit_is_the_best_stationary_one(planner, identifier):
    env = gym.make(identifier)
    agent = planned(planner, env, horizon="none")
    found = rlsuite.evaluate(agent, identifier)
    best = found.best_stationary_return or found.optimal_return
    assert found.method == "exact"
    assert found.mean_return == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("identifier", [t for t in TABLES if "RandomWalk" not in t])  # no choices
def test_the_default_scores_one(planner, identifier):
    agent = planned(planner, gym.make(identifier))
    found = rlsuite.evaluate(agent, identifier)
    assert found.method == "exact"
    assert found.score == pytest.approx(1.0, abs=1e-12)
    assert found.regret == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("planner", PLANNERS)
def test_ties_are_broken_towards_the_end(planner, make_model):
    """State 0: stay for nothing, or go on; state 1: back for nothing, or collect 1. All are tied.

    The lowest index stays in 0, and goes back from 1, for ever.
    """
    rows = [
        [[(1.0, 0, 0.0, False)], [(1.0, 1, 0.0, False)]],
        [[(1.0, 0, 0.0, False)], [(1.0, 1, 1.0, True)]],
    ]
    agent = planned(planner, make_model(rows))
    np.testing.assert_allclose(agent.q, [[1, 1], [1, 1]])
    assert agent.predict(np.array([0, 1]), deterministic=True)[0].tolist() == [1, 1]


@pytest.mark.parametrize("planner", PLANNERS)
def test_where_nothing_ends_ties_are_broken_towards_the_reward(planner, make_model):
    """No way ends. 1 is paid once on the way from 1 to 2, where it is quiet for ever."""
    rows = [
        [[(1.0, 0, 0.0, False)], [(1.0, 1, 0.0, False)]],
        [[(1.0, 0, 0.0, False)], [(1.0, 2, 1.0, False)]],
        [[(1.0, 2, 0.0, False)], [(1.0, 2, 0.0, False)]],
    ]
    agent = planned(planner, make_model(rows))
    np.testing.assert_allclose(agent.v, [1, 1, 0])
    assert agent.predict(np.array([0, 1]), deterministic=True)[0].tolist() == [1, 1]


@pytest.mark.parametrize("planner", PLANNERS)
def test_frozen_lake_without_slip_is_crossed(planner):
    """Every safe action is worth 1 there; the policy has to arrive all the same."""
    env = gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=-1)
    agent = planned(planner, env)
    s, _ = env.reset(seed=0)
    for _ in range(6):
        s, r, over, _, _ = env.step(int(agent.predict(s, deterministic=True)[0]))
    assert (r, over) == (1.0, True)


@pytest.mark.parametrize("planner", PLANNERS)
def test_the_policy_looks_at_the_clock(planner, make_model):
    """One step left: take 1. More: walk on for 3. By hand."""
    rows = [
        [[(1.0, 0, 1.0, True)], [(1.0, 1, 0.0, False)]],
        [[(1.0, 1, 3.0, True)], [(1.0, 1, 0.0, False)]],
    ]
    agent = planned(planner, make_model(rows, start=0, limit=2))
    assert agent.v.tolist() == [3, 3]
    action, state = agent.predict(0, deterministic=True)
    assert (action, state.tolist()) == (1, [1])
    assert agent.predict(0, state, deterministic=True)[0] == 0
    assert agent.predict(0, state, np.array([True]), deterministic=True)[0] == 1
    rows_ = agent.predict(np.array([0, 0]), np.array([0, 1]), deterministic=True)
    assert (rows_[0].tolist(), rows_[1].tolist()) == ([1, 0], [1, 2])
    assert not hasattr(agent, "action_probabilities")
    pi = agent.clocked_probabilities([0], horizon=2, deterministic=True)
    assert pi.tolist() == [[[0, 1]], [[1, 0]]]


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_mask_leaves_the_best_of_the_others(planner, small_grid):
    agent = planned(planner, small_grid(limit=20))
    best = int(agent.predict(1, deterministic=True)[0])
    mask = np.ones(4, bool)
    mask[best] = False
    action = int(agent.predict(1, deterministic=True, mask=mask)[0])
    assert agent.q[1, action] == max(agent.q[1, a] for a in range(4) if a != best)


def test_played_and_stated_returns_agree():
    """The clock goes along with each episode, sixteen of them side by side."""
    agent = planned(ValueIteration, gym.make("FrozenLake-v1"))
    played = rlsuite.evaluate(agent, "FrozenLake-v1", exact=False, episodes=1_000)
    assert played.method == "sampled"
    assert played.mean_return == pytest.approx(0.744190, abs=4 * (0.7442 * 0.2558 / 1_000) ** 0.5)


def test_the_error_bound_holds_after_every_sweep():
    env = gym.make("rlsuite/Garnet-v0")
    exact = optimum_by_linear_program(env.unwrapped.model, 0.9)
    agent = ValueIteration(env, ValueIterationConfig(gamma=0.9, horizon="none"), seed=0)
    for _ in range(60):
        before = agent.v
        agent.learn(1)
        assert np.abs(agent.v - exact).max() <= agent.plan.error + 1e-12
        assert np.all(agent.v >= before)  # from below, never down


def test_tolerance_says_when_to_stop():
    env = gym.make("rlsuite/Garnet-v0")
    sweeps = []
    for tolerance in (1e-2, 1e-8):
        agent = planned(ValueIteration, env, gamma=0.9, horizon="none", tolerance=tolerance)
        assert agent.plan.error <= tolerance
        sweeps.append(agent.plan.sweeps)
    assert sweeps[0] < sweeps[1]


def test_evaluation_sweeps_come_between_improvements():
    env = gym.make("rlsuite/Garnet-v0")
    for m in (1, 4):
        config = PolicyIterationConfig(gamma=0.9, horizon="none", evaluation_sweeps=m)
        agent = PolicyIteration(env, config, seed=0).learn(m)
        assert (agent.policy == -1).all()  # the uniform policy is still evaluated
        agent.learn(1)
        assert (agent.policy >= 0).all()
        assert agent.plan.sweeps == m


def test_nothing_is_learned_by_no_sweep_and_sweeps_are_counted(small_grid):
    agent = ValueIteration(small_grid(limit=5), seed=0).learn(0)
    assert agent.num_timesteps == 0
    assert agent.predict(7, deterministic=True)[0] == 0
    seen = []
    agent.learn(100, callback=lambda learner: seen.append(learner.num_timesteps) or len(seen) < 9)
    assert (seen, agent.num_timesteps) == (list(range(1, 10)), 9)
    assert len(agent.plan.q_of) <= 5


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("horizon", ["limit", "none"])
def test_it_goes_on_bit_for_bit(planner, horizon, tmp_path):
    env = gym.make("FrozenLake-v1")
    config = planner.config_type(horizon=horizon)
    whole = planner(env, config, seed=0).learn(60)
    planner(env, config, seed=0).learn(23).save(tmp_path / "agent")
    resumed = planner.load(tmp_path / "agent", env=env).learn(37)
    np.testing.assert_array_equal(resumed.v, whole.v)
    np.testing.assert_array_equal(resumed.q, whole.q)
    assert resumed.num_timesteps == whole.num_timesteps == 60
    resumed.save(tmp_path / "resumed")
    whole.save(tmp_path / "whole")
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_another_model_or_limit_is_refused(tmp_path):
    ValueIteration(gym.make("FrozenLake-v1"), seed=0).learn(3).save(tmp_path / "agent")
    for other in ({"is_slippery": False}, {"max_episode_steps": 50}):
        with pytest.raises(CheckpointError, match="planned with another model or time limit"):
            ValueIteration.load(tmp_path / "agent", env=gym.make("FrozenLake-v1", **other))


def test_what_cannot_be_planned_is_refused(small_grid):
    env = gym.Env()
    env.observation_space = env.action_space = gym.spaces.Discrete(2)
    with pytest.raises(UnsupportedSpaceError, match="this one has none"):
        ValueIteration(env, seed=0)
    with pytest.raises(SettingError, match="the wrapper TransformReward may change what it says"):
        ValueIteration(TransformReward(small_grid(), lambda r: -r), seed=0)
    with pytest.raises(SettingError, match="fickle_passenger=True is not its dynamics"):
        ValueIteration(gym.make("Taxi-v4", fickle_passenger=True), seed=0)
    env = small_grid()
    env.observation_space = gym.spaces.Discrete(9)
    with pytest.raises(UnsupportedSpaceError, match="the model is of shape"):
        ValueIteration(env, seed=0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gamma": 1.5}, r"gamma must be a number in \[0, 1\]"),
        ({"tolerance": 0.0}, r"tolerance must be a number in \(0, 1\]"),
        ({"horizon": "never"}, "horizon must be 'limit'"),
        ({"horizon": 0}, "horizon must be 'limit'"),
        ({"horizon": True}, "horizon must be 'limit'"),
    ],
)
@pytest.mark.parametrize("planner", PLANNERS)
def test_settings_out_of_range(planner, settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        planner.config_type(**settings)


def test_evaluation_sweeps_are_whole():
    with pytest.raises(SettingError, match="evaluation_sweeps must be a whole number of at least"):
        PolicyIterationConfig(evaluation_sweeps=-1)


def test_the_shortest_of_two_limits_counts(small_grid):
    agent = planned(ValueIteration, TimeLimit(small_grid(limit=9), 3))
    assert agent.plan.horizon == 3
