"""The tiny tasks: their known answers, by hand and by play."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3.common.env_checker import check_env

from rlsuite.testing.sanity import (
    ConstantReward,
    OneStep,
    OneTransition,
    TinyTask,
    TwoDoors,
    TwoSteps,
    Walk,
    limited,
)

TASKS = [Walk, OneTransition, OneStep, TwoSteps, TwoDoors, ConstantReward]
FORMS = ["Discrete", "Box", "Dict"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_in_every_form(task, form):
    check_env(limited(task(form)))
    env = task(form)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    every = env.every()
    first = {key: part[0] for key, part in every.items()} if form == "Dict" else every[0]
    np.testing.assert_equal(first, observation)


@pytest.mark.parametrize("task", TASKS)
def test_states_go_on_identically(task):
    one, other = task(), task()
    one.reset(seed=1)
    other.reset(seed=2)
    other.set_state(one.get_state())
    for action in (1, 0, 1, 1):
        a, b = one.step(action), other.step(action)
        assert data_equivalence(a, b, exact=True)
        if a[2]:
            assert data_equivalence(one.reset(), other.reset(), exact=True)


def test_the_walk_by_hand():
    env = Walk(masked=True)
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1, 1]
    env.step(0)
    assert env.violations == 1
    env.s = 3
    outcomes = {env.step(2)[:3] for _ in range(50) if not setattr(env, "s", 3)}
    assert outcomes == {(4, 1.0, True), (3, 0.0, False)}
    model = env.model
    np.testing.assert_allclose(model.probability.sum(axis=2), 1.0)
    assert model.next_state[3, 2].tolist() == [4, 3]
    assert model.reward[3, 2].tolist() == [1.0, 0.0]


def test_one_step_and_one_transition_by_hand():
    env = OneStep(best=3)
    env.reset(seed=0)
    assert [env.step(a)[1:3] for a in range(4)] == [(-0.1, True)] * 3 + [(1.0, True)]
    assert OneTransition().step(0)[1:3] == (0.7, True)


@pytest.mark.parametrize("best", [0, 1])
def test_two_steps_by_hand(best):
    env = TwoSteps(best=best)
    for first in (0, 1):
        env.reset(seed=0)
        assert env.step(first)[:3] == (2 if first == best else 1, 0.0, False)
        assert env.step(0)[1:3] == (float(first == best), True)


@pytest.mark.parametrize(
    ("pi", "value"),
    [
        ([0.5, 0.5, 0, 0, 0, 0], -1.998046875),  # (1 - 2⁻¹⁰) / ½
        ([1, 0, 0, 0, 0, 0], -5.5),
        ([0, 0, 1, 0, 0, 0], -10.0),
        (np.full(6, 1 / 6), -5.030966562),
    ],
)
def test_two_doors_by_hand_and_by_play(pi, value):
    assert TwoDoors.value(pi) == pytest.approx(value)
    env, rng = limited(TwoDoors(), TwoDoors.LIMIT), np.random.default_rng(0)
    returns = []
    for episode in range(1_000):
        env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(rng.choice(6, p=pi))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    # five standard errors; where every episode is alike, equality
    assert np.mean(returns) == pytest.approx(value, abs=5 * np.std(returns) / 1_000**0.5 + 1e-9)


def test_a_task_has_to_say_how_it_moves():
    with pytest.raises(NotImplementedError):
        TinyTask(1, 1).step(0)


@pytest.mark.parametrize("task", [OneTransition, OneStep, TwoSteps, ConstantReward])
def test_the_model_is_what_is_played(task):
    env = task()
    env.reset(seed=0)
    model = env.model
    assert env.s == 0  # looking at it moves nothing
    for s, a in np.ndindex(model.next_state.shape[:2]):
        env.s = s
        observation, reward, terminated, _, _ = env.step(a)
        assert observation == model.next_state[s, a, 0]
        assert (reward, terminated) == (model.reward[s, a, 0], model.terminal[s, a, 0])


def test_two_doors_has_no_model():
    assert not hasattr(TwoDoors(), "model")
