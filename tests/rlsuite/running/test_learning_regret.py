"""Tasks that are scored by the regret of learning: what counts, and what is not comparable."""

from __future__ import annotations

import pytest

import rlsuite
from registry.specs import TaskSpec
from rlsuite.reporting.leaderboard import leaderboards

BANDIT = "rlsuite/BernoulliBandit-v0"


class OnlyPredicts:
    def __init__(self, env, *, seed):
        pass

    def predict(self, observation):
        return 0, None


class SecondArm(OnlyPredicts):
    def predict(self, observation):
        return 1, None


@pytest.fixture
def run(tmp_path):
    return lambda **keywords: rlsuite.benchmark(**keywords, store=tmp_path / "s.sqlite")


def test_bandits_are_scored_by_the_regret_of_learning(run):
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[BANDIT], seeds=1).records
    assert (record.metric, record.steps_used, record.curve) == ("learning_regret", 500, ())
    assert record.regret == pytest.approx(record.training.regret[-1])
    assert record.mean_return == pytest.approx(450 - record.regret)
    assert record.score == pytest.approx(1 - record.regret / 200)  # uniform play loses 0.4 a step
    assert len(record.training.step) == 500


def test_regret_over_several_episodes_is_scored_per_episode(run):
    result = run(agents=["rlsuite/Random-v0"], tasks=[BANDIT], seeds=1, total_timesteps=1_250)
    (record,) = result.records
    assert record.mean_return == pytest.approx(450 - record.regret * 500 / 1_250)
    assert record.score == pytest.approx(1 - record.regret / 500)


def test_a_fixed_policy_plays_the_whole_budget(run):
    (record,) = run(agents={"p": OnlyPredicts}, tasks=[BANDIT], seeds=1).records
    assert (record.state, record.steps_used) == ("ok", 500)
    assert record.regret == pytest.approx(0.8 * 500)  # arm 0 pays 0.1, the best 0.9


def test_an_adversary_is_scored_against_the_best_fixed_arm(run):
    """Arm 0 earns 2 of 3, uniform play 1.75; a clairvoyant's 3 is nobody's measure."""
    task = TaskSpec(
        id="table",
        env_id="rlsuite/AdversarialBandit-v0",
        env_kwargs={"rewards": [[0.0, 1.0], [1.0, 0.0], [1.0, 0.5]]},
        metric="learning_regret",
        total_timesteps=3,
    )
    agents = {"arm 0": OnlyPredicts, "arm 1": SecondArm}
    first, second = run(agents=agents, tasks=[task], seeds=1).records
    assert (first.regret, first.mean_return, first.score) == (0.0, 2.0, 1.0)
    assert (second.regret, second.mean_return) == (0.5, 1.5)
    assert second.score == pytest.approx(-1.0)


def test_without_regret_in_info_the_cell_fails_with_a_sentence(run):
    task = TaskSpec(id="odd", env_id="CartPole-v1", metric="learning_regret", total_timesteps=9)
    (record,) = run(agents=["rlsuite/Random-v0"], tasks=[task], seeds=1).records
    assert record.state == "failed"
    assert "its environment puts no 'regret' into info" in record.error


def test_arms_drawn_anew_give_regret_but_no_score(run):
    task = TaskSpec(
        id="drawn",
        env_id=BANDIT,
        env_kwargs={"n_arms": 3},
        metric="learning_regret",
        total_timesteps=500,
    )
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[task], seeds=1).records
    assert record.regret > 0
    assert record.score is record.mean_return is None


class Half:
    """Takes half of its budget, always the best arm but one."""

    def __init__(self, env, *, seed, factor=0.5):
        self.env, self.factor = env, factor

    def learn(self, total_timesteps):
        self.env.reset()
        for _ in range(int(self.factor * total_timesteps)):
            *_, terminated, truncated, _ = self.env.step(0)
            if terminated or truncated:
                self.env.reset()

    def predict(self, observation):
        return 0, None


def test_regret_of_fewer_steps_than_the_budget_is_not_comparable(run):
    """Else the laziest would be the first: regret grows with every step."""
    result = run(agents={"half": Half, "u": "rlsuite/UCB1-v0"}, tasks=[BANDIT], seeds=1)
    half, ucb = result.records
    assert (half.state, half.steps_used, half.regret, half.score) == ("failed", 250, None, None)
    assert half.error == "took 250 steps of a budget of 500: its regret is not comparable"
    (board,) = leaderboards(result.records)
    assert [(row.agent, row.rank) for row in board.rows] == [("u", 1), ("half", None)]
    assert ucb.state == "ok"


def test_a_budget_of_no_steps_has_no_regret(run):
    (record,) = run(agents=["rlsuite/UCB1-v0"], tasks=[BANDIT], seeds=1, total_timesteps=0).records
    assert record.error == "took 0 steps of a budget of 0: its regret is not comparable"


def test_regret_is_counted_up_to_the_budget_and_no_further(run):
    (exact,) = run(agents={"x": (Half, {"factor": 1})}, tasks=[BANDIT], seeds=1).records
    (more,) = run(agents={"x": (Half, {"factor": 1.5})}, tasks=[BANDIT], seeds=1).records
    assert (exact.steps_used, more.steps_used) == (500, 750)
    assert more.regret == exact.regret == pytest.approx(0.8 * 500)
    assert more.score == exact.score
    assert more.training.regret[-1] == more.regret
    assert more.notes[-2:] == (
        "took 750 steps of a budget of 500",
        "its regret is counted over the first 500 steps",
    )
