"""The racetrack by hand, its known answers, and the promises of the Monte-Carlo agent."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from rlsuite_racetrack.agent import MonteCarlo, MonteCarloConfig
from rlsuite_racetrack.track import CRASH, FINISH, MAPS, Track, accelerate

import rlsuite
from registry.errors import SettingError
from rlsuite.testing import ENV_CHECKS, check_agent, env_subject

BEND = """
    ##.F
    ...F
    S.##
"""


def test_moves_by_hand():
    """`S` is at row 2, column 0; a velocity is 5 * up + right."""
    track = Track.parse(BEND)
    cell = {place: i for i, place in enumerate(track.cells)}
    start = cell[2, 0]
    assert track.starts == (start,)
    assert track.arrival[start, 0] == start  # at rest
    assert track.arrival[start, 5 * 1 + 1] == cell[1, 1]  # up and to the right
    assert track.arrival[start, 5 * 0 + 2] == CRASH  # (2, 1) is track, (2, 2) is not
    assert track.arrival[start, 5 * 1 + 3] == FINISH  # (2, 1), (1, 2), then (1, 3): the line
    assert track.arrival[cell[1, 2], 5 * 1 + 4] == FINISH  # what lies behind the line is nobody's
    assert track.arrival[cell[1, 1], 5 * 1 + 0] == CRASH


def test_velocities_stay_in_range_and_a_moving_car_never_rests():
    slower, faster = 0, 8  # accelerations (-1, -1) and (+1, +1)
    assert accelerate(0, faster) == 5 + 1
    assert accelerate(5 * 4 + 4, faster) == 5 * 4 + 4
    assert accelerate(5 * 1 + 0, slower) == 5 * 1 + 0  # would rest: the velocity is kept
    assert accelerate(5 * 2 + 1, slower) == 5 * 1 + 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("S.x.F", r"consists of '#', '\.', 'S' and 'F'; got \['x'\]"),
        ("....F", "needs a start line"),
        ("S....", "and a finish line"),
    ],
)
def test_a_map_without_sense_is_refused(text, said):
    with pytest.raises(SettingError, match=said):
        Track.parse(text)


def test_keywords_are_checked():
    with pytest.raises(SettingError, match="no track 'oval'"):
        gym.make("racetrack/Racetrack-v0", track="oval")
    with pytest.raises(SettingError, match=r"noise must be in \[0, 1\], got 2"):
        gym.make("racetrack/Racetrack-v0", noise=2)


@pytest.mark.parametrize(("track", "optimal"), [("small", -4.675867), ("left", -11.694577)])
def test_the_answer_key(track, optimal):
    """Values of an independent backward induction over 200 steps."""
    oracle = gym.make("racetrack/Racetrack-v0", track=track).unwrapped.oracle()
    assert oracle.optimal_return == pytest.approx(optimal, abs=1e-6)


def test_without_noise_the_best_drive_can_be_counted():
    """From (2, 0) to (1, 1) with velocity (1, 1), then with (0, 2) over the line at (1, 3)."""
    env = gym.make("racetrack/Racetrack-v0", track=BEND, noise=0.0)
    assert env.unwrapped.oracle().optimal_return == -2.0


def test_gymnasium_finds_nothing_to_complain_about():
    check_env(gym.make("racetrack/Racetrack-v0", track="small").unwrapped, skip_render_check=True)


def test_sampled_episodes_agree_with_the_answer_key():
    """The uniform policy: 2,000 episodes against the exact value, within 4 standard errors."""
    env = gym.make("racetrack/Racetrack-v0", track="small")
    env.reset(seed=0)
    rng = np.random.default_rng(1)
    returns = []
    for _ in range(400):
        env.reset()
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(int(rng.integers(9)))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    exact = env.unwrapped.oracle().baseline_return
    assert abs(np.mean(returns) - exact) < 4 * np.std(returns) / np.sqrt(len(returns))


def test_one_episode_by_hand():
    """S -(+1, 0)-> ... one update of the first visits, backwards, with α = 1/2 and γ = 1."""
    env = gym.make("racetrack/Racetrack-v0", track=BEND, noise=0.0)
    agent = MonteCarlo(env, MonteCarloConfig(step_size=0.5), seed=0)
    agent.trajectory = [(0, 1, -1.0), (0, 1, -1.0), (2, 3, -1.0)]
    agent._learn_from_episode(0.0)
    # G_2 = -1, G_1 = -2 (a second visit: skipped), G_0 = -3
    assert agent.q[2, 3] == -0.5
    assert agent.q[0, 1] == -1.5
    assert np.count_nonzero(agent.q) == 2


def test_an_episode_that_was_cut_off_bootstraps():
    env = gym.make("racetrack/Racetrack-v0", track=BEND, noise=0.0)
    agent = MonteCarlo(env, MonteCarloConfig(step_size=1.0, gamma=0.5), seed=0)
    agent.trajectory = [(0, 1, -1.0)]
    agent._learn_from_episode(-4.0)
    assert agent.q[0, 1] == -1.0 + 0.5 * -4.0


@pytest.mark.parametrize("setting", [{"step_size": 0.0}, {"epsilon": 1.5}, {"gamma": -0.1}])
def test_settings_are_checked(setting):
    with pytest.raises(SettingError, match=f"MonteCarloConfig.{next(iter(setting))} must be in"):
        MonteCarloConfig(**setting)


def small():
    return gym.make("racetrack/Racetrack-v0", track="small")


def test_the_agent_learns_to_drive():
    """A score near 1, exactly evaluated: at random a drive takes about 105 steps, at best 4.68."""
    env = small()
    agent = rlsuite.make_agent("racetrack/MonteCarlo-v0", env, seed=0, step_size=0.2)
    agent.learn(100_000)
    found = rlsuite.evaluate(agent, env, seed=0)
    assert found.method == "exact"
    assert found.score > 0.9


def test_learning_in_parts_and_after_a_restart_is_learning_in_one_go(tmp_path):
    whole = MonteCarlo(small(), seed=3).learn(3_000)
    parts = MonteCarlo(small(), seed=3).learn(1_234)
    parts.save(tmp_path / "half.safetensors")
    again = MonteCarlo.load(tmp_path / "half.safetensors", small()).learn(1_766)
    assert again.num_timesteps == 3_000
    np.testing.assert_array_equal(again.q, whole.q)
    np.testing.assert_array_equal(parts.learn(1_766).q, whole.q)


def test_predict_answers_in_kind():
    agent = MonteCarlo(small(), seed=0)
    action, _ = agent.predict(3, deterministic=True)
    assert np.ndim(action) == 0
    actions, _ = agent.predict(np.array([3, 4, 5]), deterministic=True)
    assert actions.shape == (3,)
    assert set(MAPS) == {"left", "small"}


@pytest.mark.parametrize("check", ENV_CHECKS, ids=str)
def test_the_environment_passes_rlsuites_conformance_kit(check):
    result = check.run(env_subject("racetrack/Racetrack-v0", {"track": "small"}))
    assert result.status != "failed", result


def test_the_agent_passes_rlsuites_conformance_kit():
    report = check_agent("racetrack/MonteCarlo-v0", env="racetrack/SmallTrack-v0")
    assert report.ok, str(report)
