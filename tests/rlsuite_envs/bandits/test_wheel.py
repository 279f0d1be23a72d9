"""The wheel bandit: its geometry, its draws, the exact facts of its answer key."""

from __future__ import annotations

import json
import math
import re

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rlsuite
from registry.bandit_models import normal_quantile
from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.wheel import WheelBandit, region

deltas = st.floats(0.01, 0.99)


@pytest.mark.parametrize(
    ("x", "y", "arm"),
    [(0.8, 0.5, 0), (0.8, -0.5, 1), (0.9, 0.0, 1), (-0.8, 0.5, 2), (0.0, 0.9, 2), (-0.8, -0.5, 3)],
)
def test_the_quadrants(x, y, arm):
    assert region(x, y, 0.85) == 1 + arm
    assert region(x / 2, y / 2, 0.85) == 0


def test_the_rim_belongs_to_the_treasure():
    assert region(0.5, 0.0, 0.5) == 2
    assert region(0.49999, 0.0, 0.5) == 0


@given(deltas)
def test_regret_of_playing_blindly(delta):
    """At random 0.16 d² + 39.16 (1 - d²) a step; always the safe arm 48.8 (1 - d²)."""
    oracle = WheelBandit(delta).oracle()
    inside = delta * delta
    assert oracle.regret_per_step() == pytest.approx(0.16 * inside + 39.16 * (1 - inside))
    safe = np.eye(5)[[4] * 5]
    assert oracle.regret_per_step(safe) == pytest.approx(48.8 * (1 - inside))
    assert oracle.optimal_return == pytest.approx(1000 * (1.2 * inside + 50 * (1 - inside)))
    assert math.fsum(oracle.probabilities) == pytest.approx(1.0)


def test_draws_are_noise_then_the_next_point():
    env = WheelBandit(0.5)
    observation, info = env.reset(seed=21)
    assert info == {}
    u = np.random.Generator(np.random.PCG64(21)).random(2 + 3 * 60).tolist()

    def point(k):
        radius, angle = math.sqrt(u[k]), 2 * math.pi * u[k + 1]
        return radius * math.cos(angle), radius * math.sin(angle)

    x, y = point(0)
    for t in range(60):
        assert observation.tolist() == np.array([x, y], np.float32).tolist()
        treasure = region(x, y, 0.5) - 1
        arm = max(treasure, 0) if t % 2 else 4
        mean = 50.0 if arm == treasure else (1.2 if arm == 4 else 1.0)
        sd = 0.01 if mean == 50.0 else 0.05
        observation, reward, _, _, info = env.step(arm)
        assert reward == mean + sd * normal_quantile(u[2 + 3 * t])
        best = 50.0 if treasure >= 0 else 1.2
        assert info == {
            "regret": best - mean,
            "expected_reward": mean,
            "optimal_action": treasure if treasure >= 0 else 4,
        }
        x, y = point(3 + 3 * t)
    expected = np.random.Generator(np.random.PCG64(21))
    expected.random(2 + 3 * 60)
    assert env.np_random.bit_generator.state == expected.bit_generator.state


def test_a_run_drawn_beforehand_has_the_distribution_of_the_environment():
    """40,000 points: their share on the rim, and rewards, within 4 standard errors."""
    env = WheelBandit(0.8, horizon=40_000)
    run = env.contextual_model(np.random.default_rng(0))
    assert (run.contexts.shape, run.means.shape, run.horizon) == ((40_000, 2), (40_000, 5), 40_000)
    rim = run.means.max(axis=1) == 50.0
    share = 1 - 0.64
    assert abs(rim.mean() - share) <= 4 * math.sqrt(share * (1 - share) / 40_000)
    np.testing.assert_array_equal(rim, np.hypot(*run.contexts.T) >= 0.8)
    noise = run.rewards - run.means
    quiet = run.means == 50.0
    for part, sd in ((noise[quiet], 0.01), (noise[~quiet], 0.05)):
        assert abs(part.mean()) <= 4 * sd / math.sqrt(len(part))
        assert abs(part.std() - sd) <= 4 * sd / math.sqrt(2 * len(part))
    uniform = (run.means.max(axis=1, keepdims=True) - run.means).mean()
    assert uniform == pytest.approx(env.oracle().regret_per_step(), rel=0.03)


def test_agents_are_scored_by_playing():
    env = gym.make("rlsuite/WheelBandit-v0", horizon=20)
    agent = rlsuite.make_agent("rlsuite/Random-v0", env, seed=0)
    result = rlsuite.evaluate(agent, env, episodes=3, seed=0)
    assert result.method == "sampled"
    assert any("continuum" in note for note in result.notes)
    assert result.optimal_return == pytest.approx(env.unwrapped.oracle().optimal_return)


def test_observations_cannot_be_listed():
    oracle = WheelBandit().oracle()
    for ask in (oracle.observations, lambda: oracle.policy_return(lambda x: np.ones((5, 5)) / 5)):
        with pytest.raises(OracleError, match="a row for each of its 5 regions"):
            ask()


def test_goes_on_identically():
    env, twin = WheelBandit(), WheelBandit()
    env.reset(seed=9)
    env.step(3)
    twin.set_state(json.loads(json.dumps(env.get_state())))
    for arm in range(5):
        left, right = env.step(arm), twin.step(arm)
        assert left[0].tolist() == right[0].tolist()
        assert left[1:] == right[1:]


@pytest.mark.parametrize("context", [[0.1], [2.0, 0.0], "ab", 3, [float("nan"), 0.0]])
def test_a_bad_context_is_refused(context):
    env = WheelBandit()
    env.reset(seed=0)
    with pytest.raises(SettingError, match="'context' must be two numbers, a point of the unit"):
        env.set_state({**env.get_state(), "context": context})


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.5, 1.5, float("nan"), "0.5", True])
def test_delta_lies_strictly_between_0_and_1(delta):
    sentence = (
        f"delta must be a number strictly between 0 and 1, the radius of the hub, got {delta!r}"
    )
    with pytest.raises(SettingError, match=re.escape(sentence)):
        WheelBandit(delta)
