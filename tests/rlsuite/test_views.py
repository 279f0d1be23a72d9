"""The recorder counts, the view hides, and nothing else changes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from registry.contracts import HasModel, HasOracle
from registry.errors import InvalidObservationError
from rlsuite.training import MAX_WINDOWS, TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder


class Counting(gym.Env):
    """Episodes of three steps that pay 1, 2, 3; `info` holds the answer key."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.infos = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {"optimal_action": 1, "seen": seed}

    def step(self, action):
        self.t += 1
        info = {"regret": 0.5, "expected_reward": 1.0, "optimal_action": 0, "other": self.t}
        self.infos.append(info)
        return self.t, float(self.t), self.t == 3, False, info

    def oracle(self, horizon=None):
        raise AssertionError("nobody may ask")

    model = "the table"

    def action_masks(self):
        return np.ones(2, np.int8)


def training(env=None, **keywords):
    log = TrainingLog()
    return AgentView(EpisodeRecorder(env or Counting(), log, **keywords)), log


def test_the_answer_key_is_hidden_and_the_inner_info_left_alone():
    view, _ = training()
    _, info = view.reset()
    assert info == {"seen": None}
    *_, info = view.step(0)
    assert info == {"other": 1}
    inner = view.env.env.infos[0]
    assert inner == {"regret": 0.5, "expected_reward": 1.0, "optimal_action": 0, "other": 1}


def test_neither_oracle_nor_model_is_to_be_found():
    view, _ = training()
    assert view.unwrapped is view
    assert not isinstance(view.unwrapped, HasOracle | HasModel)
    for name in ("oracle", "model"):
        assert not view.has_wrapper_attr(name)
        with pytest.raises(AttributeError, match=r"answer key"):
            view.get_wrapper_attr(name)
        with pytest.raises(AttributeError, match=r"has no attribute"):
            getattr(view, name)


def test_planners_see_the_model_and_still_no_oracle():
    view = AgentView(Counting(), model=True)
    assert view.model == view.get_wrapper_attr("model") == "the table"
    assert not view.has_wrapper_attr("oracle")


def test_masks_and_state_are_passed_on_where_there_are_any():
    view, _ = training()
    assert view.has_wrapper_attr("action_masks")
    np.testing.assert_array_equal(view.action_masks(), [1, 1])
    assert not hasattr(view, "get_state")
    bandit, _ = training(gym.make("rlsuite/BernoulliBandit-v0"))
    bandit.reset(seed=1)
    state = bandit.get_state()
    bandit.step(0)
    bandit.set_state(state)
    assert bandit.get_wrapper_attr("get_state")() == state


def test_the_spec_is_still_there():
    view, _ = training(gym.make("CartPole-v1"))
    assert view.spec.max_episode_steps == 500


def test_both_say_that_they_hold_no_state():
    assert AgentView.stateless
    assert EpisodeRecorder.stateless


def test_the_first_reset_is_seeded_and_no_other():
    view, _ = training(first_seed=7)
    assert view.reset()[1]["seen"] == 7
    assert view.reset()[1]["seen"] is None
    view, _ = training(first_seed=7)
    assert view.reset(seed=3)[1]["seen"] == 3
    assert view.reset()[1]["seen"] is None


def test_every_step_and_episode_is_counted():
    view, log = training()
    for _ in range(2):
        view.reset()
        for _ in range(3):
            view.step(0)
    view.reset()
    view.step(0)
    assert (log.steps, log.episodes, log.regret) == (7, 2, 3.5)
    curve = log.curve()
    np.testing.assert_array_equal(curve.step, [1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(curve.episodes, [0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(curve.mean, [np.nan, np.nan, 6, np.nan, np.nan, 6, np.nan])
    np.testing.assert_array_equal(curve.length[[2, 5]], [3, 3])
    np.testing.assert_array_equal(curve.regret, 0.5 * np.arange(1, 8))


def test_an_episode_that_was_broken_off_is_not_counted():
    view, log = training()
    view.reset()
    view.step(0)
    view.reset()
    for _ in range(3):
        view.step(0)
    assert (log.steps, log.episodes) == (4, 1)
    assert log.curve().mean[-1] == 6


def test_a_vector_of_environments_shares_a_log():
    log = TrainingLog()
    makers = [lambda: AgentView(EpisodeRecorder(Counting(), log)) for _ in range(2)]
    env = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset()
    for _ in range(6):
        env.step(np.zeros(2, int))
    assert (log.steps, log.episodes) == (12, 4)
    env.close()


def test_a_listener_hears_every_step():
    heard = []
    log = TrainingLog(heard.append)
    env = EpisodeRecorder(Counting(), log)
    env.reset()
    env.step(0)
    env.step(0)
    assert heard == [1, 2]


def test_without_regret_only_windows_with_an_episode_are_kept():
    log = TrainingLog()
    for _ in range(5):
        for _ in range(10):
            log.count(None)
        log.finish(2.0, 10)
    curve = log.curve()
    np.testing.assert_array_equal(curve.step, [10, 20, 30, 40, 50])
    assert np.isnan(curve.regret).all()


def test_nothing_is_an_empty_curve():
    curve = TrainingLog().curve()
    assert all(len(getattr(curve, name)) == 0 for name in ("step", "mean", "regret", "episodes"))


@pytest.mark.parametrize("steps", [MAX_WINDOWS, MAX_WINDOWS + 1, 2 * MAX_WINDOWS + 1, 23_457])
@pytest.mark.parametrize("tells_regret", [True, False])
def test_windows_are_at_most_2000_and_lose_nothing(steps, tells_regret):
    """Every figure of the curve agrees with the plain list of all episodes."""
    rng = np.random.default_rng(steps)
    log = TrainingLog()
    ends, returns = [], []
    for step in range(1, steps + 1):
        log.count(0.25 if tells_regret else None)
        if rng.random() < 0.7:
            ends.append(step)
            returns.append(float(rng.normal()))
            log.finish(returns[-1], 1)
    curve = log.curve()
    assert len(curve.step) <= MAX_WINDOWS
    assert int(curve.episodes.sum()) == len(returns) == log.episodes
    assert (np.diff(curve.step) > 0).all()
    where = np.searchsorted(curve.step, ends)  # the first window that ends at or after the episode
    for k in range(len(curve.step)):
        inside = np.array(returns)[where == k]
        assert len(inside) == curve.episodes[k]
        if len(inside):
            np.testing.assert_allclose(curve.mean[k], inside.mean(), rtol=1e-9, atol=1e-12)
            assert (curve.minimum[k], curve.maximum[k]) == (inside.min(), inside.max())
    if tells_regret:
        np.testing.assert_allclose(curve.regret, 0.25 * curve.step)
        assert curve.step[-1] == steps


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_ends_the_training_with_a_sentence(bad):
    class BadReward(Counting):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, bad, *rest

    class BadObservation(Counting):
        def step(self, action):
            _, *rest = super().step(action)
            return {"x": (0, np.array([0.0, bad]))}, *rest

    view, _ = training(BadReward())
    view.reset()
    with pytest.raises(
        InvalidObservationError, match=r"paid (nan|inf) in training episode 0 after"
    ):
        view.step(0)
    view, _ = training(BadObservation())
    view.reset()
    with pytest.raises(InvalidObservationError, match="observation in training episode 0 after 1"):
        view.step(0)
