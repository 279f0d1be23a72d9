"""Batches of texts as steps: counted exactly, the same through `env.step`, told to recorders."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import rlsuite  # noqa: F401  (registers everything)
from registry.errors import CheckpointError, InvalidObservationError, SettingError
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder
from rlsuite_agents.parts.text_course import TextCourse
from rlsuite_agents.parts.text_models import text_task

N, GROUP = 6, 3


class Louder(gym.RewardWrapper):
    """Twice the reward, and 1 more for each token."""

    def reward(self, reward):
        return 2 * reward + 1


class Noted(gym.Wrapper):
    """What is done to the environment."""

    def __init__(self, env):
        super().__init__(env)
        self.resets, self.texts = [], []

    def reset(self, *, seed=None, options=None):
        self.resets.append((seed, options["prompt"]))
        self.texts.append([])
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        self.texts[-1].append(int(action))
        return self.env.step(action)


class Stops(gym.Wrapper):
    """Ends every text after its first token."""

    def step(self, action):
        observation, reward, _, truncated, info = self.env.step(action)
        return observation, reward, True, truncated, info


class Broken(gym.RewardWrapper):
    """Pays NaN."""

    def reward(self, reward):
        return float("nan")


def made(wrap=lambda env: env, seed=0):
    """A course, and the agent that it asks for texts: the reference itself writes."""
    env = wrap(gym.make("rlsuite/TokenGeneration-v0"))
    task = text_task(env, "Tester")
    agent = SimpleNamespace(writer=task.reference_model, rng=np.random.default_rng(seed))
    return TextCourse(env, task, seed, N, GROUP), agent


def batches(course, agent, budgets):
    found = []
    for budget in budgets:
        while budget:
            taken = course.take(budget, agent)
            assert 0 < taken <= budget
            budget -= taken
            batch = course.finished()
            if batch is not None:
                found.append(batch)
    return found


def test_tokens_are_counted_one_by_one_and_batches_handed_out_once():
    course, agent = made()
    first = batches(course, agent, [1] * 100)
    course, agent = made()
    (whole, *_) = batches(course, agent, [100])
    assert len(first) >= 3
    np.testing.assert_array_equal(first[0].tokens, whole.tokens)
    assert course.finished() is None
    tokens = int(first[0].mask.sum())
    course, agent = made()
    assert course.take(tokens - 1, agent) == tokens - 1
    assert course.finished() is None
    assert course.take(10, agent) == 1  # never beyond the batch
    assert course.finished() is not None


def test_steps_are_the_same_texts_with_the_same_rewards():
    course, agent = made()
    fast = batches(course, agent, [60])
    course, agent = made(Noted)
    slow = batches(course, agent, [60])
    assert len(slow) == len(fast) >= 1
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_allclose(one.rewards, other.rewards, rtol=0, atol=1e-12)
    noted, batch = course.env, slow[0]
    assert [seed is None for seed, _ in noted.resets] == [False] + [True] * (len(noted.texts) - 1)
    for row in range(N):
        assert noted.resets[row][1] == course.task.prompts[batch.prompts[row]]
        start, end = batch.prompt_lengths[row], batch.lengths[row]
        assert noted.texts[row] == batch.tokens[row, start:end].tolist()


def test_a_wrapper_s_rewards_are_learned_from():
    course, agent = made()
    plain = batches(course, agent, [30])[0]
    course, agent = made(Louder)
    louder = batches(course, agent, [30])[0]
    np.testing.assert_allclose(louder.rewards, 2 * plain.rewards + plain.mask.sum(axis=1))


def test_a_limit_that_cuts_no_text_leaves_the_fast_path():
    course, agent = made(lambda env: TimeLimit(env, 5))
    batches(course, agent, [30])
    assert not course._stepped
    course, agent = made(lambda env: TimeLimit(env, 2))
    with pytest.raises(SettingError, match="a wrapper of the environment ends after token 2 of"):
        batches(course, agent, [60])


@pytest.mark.parametrize(
    ("wrap", "error", "sentence"),
    [
        (Stops, SettingError, "ends after token 1 of a text of"),
        (Broken, InvalidObservationError, "paid nan for token 1 of a text"),
    ],
)
def test_wrappers_that_break_texts_are_refused(wrap, error, sentence):
    course, agent = made(wrap)
    with pytest.raises(error, match=sentence):
        batches(course, agent, [60])


def recorded(on_step=None):
    log = TrainingLog(on_step=on_step)
    return log, lambda env: AgentView(EpisodeRecorder(env, log))


@pytest.mark.parametrize("budgets", [[60], [7, 1, 30, 22], [1] * 60])
def test_a_recorder_is_told_of_every_token_and_text(budgets):
    """In blocks, and one by one where somebody waits for each step."""
    counted = []
    for listener in (None, lambda steps: None):
        log, wrap = recorded(listener)
        course, agent = made(wrap)
        whole = batches(course, agent, budgets)
        assert course._stepped is (listener is not None)
        assert log.steps == 60
        assert log.episodes >= N * len(whole)
        counted.append((log.episodes, [w[0] for w in log.state()["windows"]]))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("wrap", [lambda env: env, Louder, Noted], ids=["fast", "louder", "noted"])
@pytest.mark.parametrize("taken", [0, 1, 9, 20])
def test_a_course_goes_on_where_it_stood(wrap, taken):
    course, agent = made(wrap)
    whole = batches(course, agent, [taken, 80 - taken])
    course, agent = made(wrap)
    before = batches(course, agent, [taken])
    saved, state = course.capture(), agent.rng.bit_generator.state
    course, agent = made(wrap, seed=5)
    agent.rng.bit_generator.state = state
    course.restore(saved)
    course.resume(agent)
    assert course.unrestored is None
    assert course.capture() == saved
    after = batches(course, agent, [80 - taken])
    assert len(whole) == len(before) + len(after)
    for one, other in zip(whole, before + after, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.rewards, other.rewards)


def test_another_task_is_noticed():
    course, agent = made()
    batches(course, agent, [3])
    saved = course.capture()
    course, agent = made()
    agent.rng.random(3)
    course.restore(saved)
    with pytest.raises(CheckpointError, match="does not write again"):
        course.resume(agent)
