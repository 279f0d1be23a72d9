"""An answer key holds for the environment as it stands, or says why it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward

import rlsuite
from registry.catalogue import registry
from registry.errors import OracleError
from rlsuite.answer_key import AnswerKey, find_answer_key, normalised, time_limit
from rlsuite.training import TrainingLog
from rlsuite.views import AgentView, EpisodeRecorder

GRID = "rlsuite/GridWorld-v0"


class Uniform:
    def __init__(self, n):
        self.n = n

    def action_probabilities(self, observations, *, deterministic, mask=None):
        return np.full((len(observations), self.n), 1 / self.n)


class AlwaysUp:
    def action_probabilities(self, observations, *, deterministic, mask=None):
        return np.tile([1.0, 0.0, 0.0, 0.0], (len(observations), 1))


@dataclass
class Answers:
    """An oracle by hand, of a task with one state and two actions that pay 0 and 1."""

    horizon: int | None
    provenance: str = "exact"
    scope: str = "task"
    optimal_return: float = 1.0
    baseline_return: float = 0.5
    best_stationary_return: None = None

    def observations(self):
        return np.zeros(1, np.int64)

    def policy_return(self, pi):
        if self.provenance != "exact":
            raise AssertionError("nobody may ask")
        return float(pi[0, 1])

    def policy_metrics(self, pi):
        return {}


class OneStep(gym.Env):
    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(2)
    answers: ClassVar = {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, float(action), True, False, {}

    def oracle(self, horizon=None):
        return Answers(horizon, **self.answers)


def answering(**answers):
    env = OneStep()
    env.answers = answers
    return env


def test_harmless_wrappers_keep_the_answer_key():
    log = TrainingLog()
    for wrap in (RecordEpisodeStatistics, lambda env: EpisodeRecorder(env, log)):
        assert rlsuite.evaluate(Uniform(4), wrap(gym.make(GRID))).method == "exact"


def test_a_view_hides_it():
    assert find_answer_key(AgentView(gym.make(GRID))) == AnswerKey()


def test_the_shortest_time_limit_counts():
    env = TimeLimit(TimeLimit(OneStep(), 9), 7)
    assert time_limit(env) == 7
    assert time_limit(TimeLimit(env, 99)) == 7
    assert time_limit(OneStep()) is None
    assert find_answer_key(env).oracle.horizon == 7


def test_a_wrapper_that_may_change_the_task_takes_the_answer_key_away():
    env = TransformReward(gym.make(GRID), lambda r: 2 * r)
    found = rlsuite.evaluate(Uniform(4), env, deterministic=False)
    assert (found.method, found.score, found.optimal_return) == ("sampled", None, None)
    assert "no answer key: the wrapper TransformReward may change the task" in found.notes
    frozen = TransformReward(gym.make("FrozenLake-v1"), lambda r: 2 * r)
    assert find_answer_key(frozen).why_not.startswith("no answer key")
    assert find_answer_key(TransformReward(gym.make("CartPole-v1"), lambda r: r)).why_not == ""


def test_a_wrapper_of_observations_leaves_the_optimal_return():
    env = gym.wrappers.TransformObservation(gym.make(GRID), lambda s: 0, gym.spaces.Discrete(1))
    found = rlsuite.evaluate(Uniform(4), env, deterministic=False)
    assert found.method == "sampled"
    assert found.optimal_return == pytest.approx(0.93)
    assert any("TransformObservation changes what is observed" in note for note in found.notes)


def test_without_a_time_limit_the_answers_are_those_of_the_endless_task():
    env = gym.make(GRID, max_episode_steps=-1)
    exact = rlsuite.evaluate(Uniform(4), env, deterministic=False)
    limited = rlsuite.evaluate(Uniform(4), GRID, deterministic=False)
    assert exact.method == "exact"
    assert exact.mean_return != limited.mean_return
    sampled = rlsuite.evaluate(Uniform(4), env, deterministic=False, exact=False, episodes=300)
    error = np.std([e.episode_return for e in sampled.episodes]) / np.sqrt(300)
    assert abs(sampled.mean_return - exact.mean_return) < 4 * error
    lake = gym.make("FrozenLake-v1", max_episode_steps=-1)
    assert rlsuite.evaluate(Uniform(4), lake, deterministic=False).optimal_return > 0.8


def test_play_that_never_ends_is_sampled_up_to_the_cap():
    env = gym.make(GRID, max_episode_steps=-1)
    found = rlsuite.evaluate(AlwaysUp(), env, episodes=2, max_steps=30)
    assert found.method == "sampled"
    assert found.mean_return == pytest.approx(-0.3)
    assert "sampled: without a time limit the exact return is infinite or undefined" in found.notes


def test_an_oracle_that_knows_only_its_registered_limit_has_none_without_it():
    gym.register("here/OneStep-v0", OneStep, max_episode_steps=5)
    try:
        assert find_answer_key(gym.make("here/OneStep-v0")).exact
        found = find_answer_key(gym.make("here/OneStep-v0", max_episode_steps=-1))
        assert found == AnswerKey(why_not="no answer key: its registered time limit was taken off")
    finally:
        del gym.registry["here/OneStep-v0"]


def test_an_oracle_that_refuses_and_an_infinite_one():
    class Refuses(OneStep):
        def oracle(self, horizon=None):
            raise OracleError("there is no answer to this.")

    assert find_answer_key(Refuses()).why_not == "no answer key: there is no answer to this"
    infinite = find_answer_key(answering(baseline_return=-np.inf))
    assert infinite.why_not == "no answer key: without a time limit the return is infinite"


def test_a_refusal_of_the_policy_is_shown_where_there_is_a_limit():
    class Short(Uniform):
        def action_probabilities(self, observations, *, deterministic, mask=None):
            return np.ones((3, 4)) / 4

    with pytest.raises(OracleError, match="a policy of this task has the shape"):
        rlsuite.evaluate(Short(4), GRID)


def test_a_bound_gives_a_score_and_says_so():
    found = rlsuite.evaluate(Uniform(2), answering(provenance="bound"), episodes=1)
    assert (found.method, found.optimal_return) == ("sampled", 1.0)
    assert "the optimal return is a bound, not exact" in found.notes
    assert find_answer_key(answering(provenance="none")) == AnswerKey()


def test_an_instance_gets_no_score():
    env = gym.make("rlsuite/BernoulliBandit-v0", n_arms=3)
    found = rlsuite.evaluate(Uniform(3), env)
    assert (found.method, found.score, found.regret) == ("sampled", None, None)
    assert any("only for the layout or arms of one episode" in note for note in found.notes)


def test_a_score_is_undefined_where_optimal_and_baseline_coincide():
    found = rlsuite.evaluate(Uniform(2), answering(baseline_return=1.0), deterministic=False)
    assert (found.method, found.mean_return, found.score, found.regret) == ("exact", 0.5, None, 0.5)
    assert normalised(3.0, 1.0, 5.0) == 0.5
    assert normalised(3.0, 1e9, 1e9 * (1 + 1e-14)) is None


def test_registered_providers_answer_for_strangers():
    assert {entry.id for entry in registry.entries("oracle")} >= {"gymnasium/ToyText-v0"}
    assert find_answer_key(gym.make("FrozenLake-v1")).exact
    assert find_answer_key(gym.make("CartPole-v1")) == AnswerKey()
