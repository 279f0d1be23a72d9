"""LQR: the Riccati answer by hand, by twins, and by episodes that were played."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.control.lqr import LQR

ONE = {"A": [[1.0]], "B": [[1.0]], "Q": [[1.0]], "R": [[1.0]]}
THREE_BY_TWO = {
    "A": [[0.9, 0.3, 0.0], [-0.2, 1.05, 0.1], [0.0, 0.4, 0.7]],
    "B": [[1.0, 0.2], [0.0, 0.5], [0.3, -0.7]],
    "Q": [[1.0, 0.1, 0.0], [0.1, 2.0, 0.3], [0.0, 0.3, 0.5]],
    "R": [[0.4, 0.05], [0.05, 0.2]],
}
KEYWORDS = [{}, ONE, {**THREE_BY_TWO, "noise": 0.3, "horizon": 12}, {"noise": 0.0}]


def make(**keywords):
    return gym.make("rlsuite/LQR-v0", **keywords)


def play(env, gains, episodes, seed=0):
    """Returns and sums of regret of a linear policy."""
    returns, regrets = [], []
    x, _ = env.reset(seed=seed)
    for _ in range(episodes):
        total, lost, t, over = 0.0, 0.0, 0, False
        while not over:
            action = np.clip(gains[t] @ x, -1.0, 1.0).astype(np.float32)
            x, reward, terminated, over, info = env.step(action)
            assert terminated is False
            total, lost, t = total + reward, lost + info["regret"], t + 1
        returns.append(total)
        regrets.append(lost)
        x, _ = env.reset()
    return np.array(returns), np.array(regrets)


def test_two_steps_of_one_coordinate_by_hand():
    """P_2 = 0, P_1 = 1, P_0 = 1 + 1 - 1/2 = 3/2; K_1 = 0, K_0 = -1/2.

    Start in [-1, 1]: variance 1/3, so J* = -(1.5 / 3 + noise^2 * (P_1 + P_2)) = -(0.5 + 0.04).
    """
    env = LQR(**ONE, noise=0.2, horizon=2)
    assert env.system.costs_to_go.ravel().tolist() == [1.5, 1.0, 0.0]
    assert env.force.tolist() == [0.5]  # the best controller pushes by at most half of a start of 1
    oracle = env.oracle()
    assert oracle.optimal_gains().ravel().tolist() == [-1.0, 0.0]
    assert oracle.optimal_return == pytest.approx(-0.54, abs=1e-12)
    # never acting: x_0^2 + x_1^2, so 1/3 + 1/3 + 0.04
    assert oracle.policy_return(np.zeros((1, 1))) == pytest.approx(-(2 / 3 + 0.04), abs=1e-12)
    # at random u is uniform in [-1/2, 1/2], of variance 1/12: paid twice, and once more in x_1
    baseline = -(2 / 3 + 0.04 + 3 / 12)
    assert oracle.baseline_return == pytest.approx(baseline, abs=1e-12)
    assert oracle.optimal_value([2.0]) == pytest.approx(-(1.5 * 4 + 0.04))
    assert oracle.optimal_value([2.0], t=1) == -4.0
    assert oracle.optimal_value([2.0], t=2) == 0.0


def test_a_step_by_hand():
    env = LQR(**ONE, noise=0.2, horizon=2)
    u = np.random.default_rng(5).random(3)
    x0 = 2 * u[0] - 1
    x, info = env.reset(seed=5)
    assert (x, info) == (np.float32(x0), {})
    x, reward, terminated, truncated, info = env.step(np.array([0.5], np.float32))
    assert reward == pytest.approx(-(x0**2 + 0.25**2), rel=1e-12)
    noise = 0.2 * np.sqrt(3) * (2 * u[1] - 1)
    assert x == np.float32(x0 + 0.25 + noise)
    # R + B'PB = 2, and the best input was -x0 / 2
    assert info == {"regret": pytest.approx(2 * (0.25 + x0 / 2) ** 2, rel=1e-12)}
    assert (terminated, truncated) == (False, False)
    assert env.step(np.zeros(1, np.float32))[3] is True
    with pytest.raises(ResetNeeded, match="no episode to step in"):
        env.step(np.zeros(1, np.float32))


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_the_recursion_equals_one_large_least_squares(keywords):
    """Without noise: all inputs at once, from the stacked dynamics, for many starts."""
    env = LQR(**{**keywords, "noise": 0.0, "horizon": 9})
    system, horizon = env.system, 9
    n, m = system.B.shape
    powers = [np.linalg.matrix_power(system.A, t) for t in range(horizon)]
    free = np.concatenate(powers)
    pushed = np.zeros((n * horizon, m * horizon))
    for t in range(horizon):
        for s in range(t):
            block = powers[t - s - 1] @ system.B
            pushed[t * n : (t + 1) * n, s * m : (s + 1) * m] = block
    q, r = np.kron(np.eye(horizon), system.Q), np.kron(np.eye(horizon), system.R)
    best = -np.linalg.solve(r + pushed.T @ q @ pushed, pushed.T @ q @ free)
    left = free + pushed @ best
    cost = left.T @ q @ left + best.T @ r @ best
    assert system.costs_to_go[0] == pytest.approx(cost, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_the_optimum_is_the_exact_return_of_its_gains(keywords):
    """Backwards by Riccati, forwards by second moments: two sums with nothing in common."""
    oracle = LQR(**keywords).oracle()
    gains = oracle.optimal_gains()
    assert oracle.policy_return(gains) == pytest.approx(oracle.optimal_return, rel=1e-10)
    rng, inside = np.random.default_rng(0), 0
    for _ in range(20):
        other = 0.8 * gains + 0.02 * rng.normal(size=gains.shape)
        needed = oracle.system.largest(other * oracle.force[:, None])[0]
        if np.all(needed <= oracle.force):
            inside += 1
            assert oracle.policy_return(other) < oracle.optimal_return
    assert inside > 0
    stationary = oracle.best_stationary_return
    assert stationary is not None
    assert oracle.baseline_return < stationary < oracle.optimal_return


@pytest.mark.parametrize("keywords", [{}, {**THREE_BY_TWO, "noise": 0.3, "horizon": 12}])
def test_the_answers_are_those_of_played_episodes(keywords):
    """Optimal, lazy and random play within four standard errors, and the regret with them."""
    env = LQR(**keywords)
    oracle = env.oracle()
    best = oracle.optimal_gains()
    returns, regrets = play(env, best, 1_000)
    error = returns.std() / np.sqrt(1_000)
    assert abs(returns.mean() - oracle.optimal_return) < 4 * error
    # observations are float32, and so are actions: what that costs is of second order
    assert np.abs(regrets).max() < 1e-9
    lazy = 0.6 * best
    returns, regrets = play(env, lazy, 1_000, seed=1)
    value = oracle.policy_return(lazy)
    assert abs(returns.mean() - value) < 4 * returns.std() / np.sqrt(1_000)
    lost = oracle.optimal_return - value
    assert abs(regrets.mean() - lost) < 4 * regrets.std() / np.sqrt(1_000)


def test_the_baseline_is_that_of_random_episodes():
    env = LQR()
    rng = np.random.default_rng(0)
    returns = []
    env.reset(seed=0)
    for _ in range(1_000):
        total, over = 0.0, False
        while not over:
            _, reward, _, over, _ = env.step(rng.uniform(-1, 1, 1))
            total += reward
        returns.append(total)
        env.reset()
    error = np.std(returns) / np.sqrt(1_000)
    assert abs(np.mean(returns) - env.oracle().baseline_return) < 4 * error


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), noise=st.sampled_from((0.0, 0.3)))
def test_no_draw_leaves_the_bounds(seed, noise):
    """Not the best controller, and not the worst course of actions; both bounds are attained."""
    env = LQR(**THREE_BY_TWO, noise=noise, horizon=6)
    gains = env.oracle().optimal_gains()
    x, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for t in range(6):
        assert np.abs(gains[t] @ x).max() <= 1.0 + 1e-6
        x = env.step(np.clip(gains[t] @ x, -1, 1))[0]
    env.reset()
    for _ in range(6):
        assert env.step(rng.choice([-1.0, 1.0], 2))[0] in env.observation_space
    # the bounds by enumeration: every corner of start and noise, without the noise for speed
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1)
    if noise == 0.0:
        most, state = np.zeros(2), corners
        for gain in env.system.gains:
            most = np.maximum(most, np.abs(gain @ state).max(axis=1))
            state = (env.system.A + env.system.B @ gain) @ state
        assert most == pytest.approx(env.force, rel=1e-12)


def test_gains_that_may_leave_the_bounds_have_no_exact_return():
    oracle = make().unwrapped.oracle()
    with pytest.raises(OracleError, match=r"may ask for an action of size [\d.]+, outside"):
        oracle.policy_return(3.0 * oracle.optimal_gains())
    with pytest.raises(OracleError, match=r"its gains, of shape \(1, 2\) or \(50, 1, 2\)"):
        oracle.policy_return(np.zeros((2, 1)))
    with pytest.raises(OracleError, match="must be finite"):
        oracle.policy_return(np.full((1, 2), np.nan))
    with pytest.raises(OracleError, match="a continuum, so they cannot be listed"):
        oracle.observations()
    with pytest.raises(SettingError, match="t must be at most the number of steps, 50; got 51"):
        oracle.optimal_value([0.0, 0.0], t=51)
    with pytest.raises(SettingError, match=r"state must have the shape \(2,\)"):
        oracle.optimal_value([0.0])
    assert oracle.policy_metrics(np.zeros((1, 2))) == {}


def test_a_shorter_limit_has_answers_of_its_own():
    env = make().unwrapped
    short = env.oracle(10)
    assert short.horizon == 10
    assert short.optimal_return > env.oracle().optimal_return
    assert env.oracle(80).horizon == 50
    returns, _ = play(gym.wrappers.TimeLimit(LQR(), 10), short.optimal_gains(), 1_000)
    assert abs(returns.mean() - short.optimal_return) < 4 * returns.std() / np.sqrt(1_000)


def test_saved_states_go_on_exactly():
    env, other = LQR(), LQR()
    env.reset(seed=3)
    env.step(np.array([0.25], np.float32))
    other.set_state(json.loads(json.dumps(env.get_state())))
    for action in (0.5, -1.0, 0.125):
        one, two = (e.step(np.array([action])) for e in (env, other))
        assert one[0].tolist() == two[0].tolist()
        assert one[1:] == two[1:]
    for key, value, message in (
        ("x", [1.0], "'x' must be a list of 2 numbers"),
        ("action", [None], "'action' must be a finite number"),
        ("t", -1, "'t' must be a whole number of at least 0"),
        ("rng", {}, "'rng' must be the state of a PCG64"),
    ):
        with pytest.raises(SettingError, match=message):
            other.set_state({**env.get_state(), key: value})


@pytest.mark.parametrize("action", [[2.0], [np.nan], [0.0, 0.0], 0.0, "0", None, [[0.0], [0, 1]]])
def test_actions_outside_the_space_are_refused(action):
    env = LQR()
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InvalidActionError, match=r"of shape \(1,\) with numbers in \[-1, 1\]"):
        env.step(action)
    assert env.get_state() == before


def test_pictures_show_state_and_action():
    env = make(render_mode="ansi")
    env.reset(seed=0)
    env.unwrapped.set_state(
        {**env.unwrapped.get_state(), "x": [0.0, 100.0], "action": [-0.5], "t": 7}
    )
    lines = env.render().splitlines()
    assert lines[0].strip() == "x1 " + "-" * 20 + "o" + "-" * 20 + " 0"
    assert lines[1].strip() == "x2 " + "-" * 20 + "|" + "-" * 19 + "o 100"
    assert lines[2].strip() == "a1 " + "-" * 10 + "<" + "-" * 9 + "|" + "-" * 20 + " −0.50"
    assert lines[3] == "step 7 of 50"
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.array([0.9], np.float32))
    after = env.render()
    assert before.shape == after.shape == (12 + 3 * 48 + 36, 584, 3)
    assert (before != after).any()


@pytest.mark.parametrize("keywords", KEYWORDS)
def test_both_checkers_have_nothing_to_say(keywords):
    """Warnings are errors here."""
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(make(**keywords).unwrapped)
    sb3_check_env(make(**keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"A": [[1.0]]}, "give all of A, B, Q and R, or none of them; missing: B, Q, R."),
        ({**ONE, "A": [[1.0, 2.0]]}, r"A must have the shape \(1, 1\), as B has \(1, 1\)"),
        ({**ONE, "R": [[1.0, 0.0], [0.0, 1.0]]}, r"R must have the shape \(1, 1\)"),
        ({**ONE, "Q": [[-1.0]]}, "Q must be symmetric with all eigenvalues at least 0"),
        ({**ONE, "R": [[0.0]]}, "R must be symmetric with all eigenvalues above 0"),
        ({**ONE, "B": [[1.0], [1.0, 2.0]]}, "B must be rows of finite numbers"),
        ({**ONE, "B": [[np.nan]]}, "B must be rows of finite numbers, .* got NaN"),
        ({**ONE, "A": [[1e30]]}, "A makes states grow beyond what float32 can hold"),
        ({"noise": -0.1}, "noise must be a finite number of at least 0"),
        ({"start": 0.0}, "start must be a finite number above 0"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1"),
    ],
)
def test_keywords_outside_their_range_are_refused(keywords, message):
    with pytest.raises(SettingError, match=message):
        LQR(**keywords)
