"""Predicted values are judged exactly, by the answer key without the time limit."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError
from registry.specs import TaskSpec
from rlsuite.evaluation import Evaluator
from rlsuite.making import make_environment

WALK = "rlsuite/RandomWalk-v0"
TRUTH = np.array([0.0, *np.arange(-9, 10) / 10, 0.0])


class Predictor:
    """Predicts the same values whatever it learns."""

    def __init__(self, env=None, *, seed=0, values=TRUTH):
        self.values = np.asarray(values)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 0, state

    def state_values(self, observations):
        return self.values[observations]


class Half(Predictor):
    """Halfway to the truth."""

    def __init__(self, env, *, seed=0):
        super().__init__(values=TRUTH / 2)


@pytest.mark.parametrize(
    ("values", "error", "score"),
    [
        (TRUTH, 0.0, 1.0),
        (np.zeros(21), np.sqrt(0.3), 0.0),
        (TRUTH / 2, np.sqrt(0.3) / 2, 0.5),
        (TRUTH + 0.1, 0.1, 1 - 0.1 / np.sqrt(0.3)),
        (np.where(np.arange(21) % 20 == 0, 99.0, TRUTH), 0.0, 1.0),  # ends do not count
    ],
)
def test_the_error_by_hand(values, error, score):
    """The mean of the squares of -0.9 to 0.9 is 0.3."""
    found = rlsuite.evaluate(Predictor(values=values), WALK)
    assert (found.method, found.episodes, found.metric) == ("exact", (), "value_error")
    assert found.metrics == {"value_error": pytest.approx(error, abs=1e-12)}
    assert found.score == pytest.approx(score, abs=1e-12)
    assert found.mean_return == pytest.approx(0.0, abs=1e-12)
    assert (found.regret, found.optimal_return) == (None, None)
    assert "score 1 is exact values, 0 is predicting 0 everywhere" in str(found)


def test_a_policy_that_states_itself_is_the_one_that_is_judged():
    """On a grid: the values of going down then right, and those of uniform play."""

    class Stated(Predictor):
        def action_probabilities(self, observations, *, deterministic, mask=None):
            assert deterministic is False
            return pi

    task = TaskSpec(id="test/Grid-v0", env_id="rlsuite/GridWorld-v0", metric="value_error")
    env = gym.make("rlsuite/GridWorld-v0").unwrapped
    oracle = env.oracle(limit=False)
    pi = np.full((25, 4), 0.05) + 0.8 * np.eye(4)[oracle.optimal_policy().argmax(axis=1)]
    uniform = np.full((25, 4), 0.25)
    with Evaluator(task, lambda: make_environment(task)) as evaluator:
        for kind, policy in ((Stated, pi), (Predictor, uniform)):
            agent = kind(values=np.nan_to_num(oracle.policy_values(policy)))
            found = evaluator(agent, episodes=1, seed=0)
            assert found.metrics["value_error"] == pytest.approx(0.0, abs=1e-10)
            assert found.mean_return == pytest.approx(oracle.policy_return(policy))


def test_a_benchmark_scores_and_ranks_predictors(tmp_path):
    results = rlsuite.benchmark(
        tasks=[WALK],
        agents={"half": Half, "exact": Predictor},
        seeds=2,
        store=tmp_path / "results.sqlite",
    )
    scores = {(r.agent, r.seed): (r.state, r.score, r.metrics) for r in results.records}
    for seed in range(2):
        assert scores["exact", seed][:2] == ("ok", pytest.approx(1.0))
        assert scores["half", seed][:2] == ("ok", pytest.approx(0.5))
        assert scores["half", seed][2]["value_error"] == pytest.approx(np.sqrt(0.3) / 2)
    text = str(results)
    assert "root mean squared error over states" in text
    assert text.index("| 1 | exact |") < text.index("| 2 | half |")


def test_what_cannot_be_judged_is_said():
    random = rlsuite.make_agent("rlsuite/Random-v0", gym.make(WALK), seed=0)
    with pytest.raises(SettingError, match=r"has no state_values\(observations\)"):
        rlsuite.evaluate(random, WALK)
    for values, message in (
        (np.full(21, np.nan), "must be finite where"),
        (np.zeros((21, 2)), r"must be 21 numbers, one for each state; got .* \(21, 2\)"),
    ):
        with pytest.raises(SettingError, match=message):
            rlsuite.evaluate(Predictor(values=values), WALK)
    task = TaskSpec(id="test/Pole-v0", env_id="CartPole-v1", metric="value_error")
    with (
        Evaluator(task, lambda: make_environment(task)) as evaluator,
        pytest.raises(SettingError, match="judged by the answer key of a table"),
    ):
        evaluator(Predictor(), episodes=1, seed=0)
