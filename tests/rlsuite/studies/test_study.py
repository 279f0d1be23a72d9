"""Studies: the figures of the textbook, the same whoever plays them, resumed and stopped."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import rlsuite
from registry.errors import SettingError, SuiteError, UnknownIdError
from registry.seeding import Stream, generator
from registry.specs import TaskSpec
from rlsuite.records import STUDY
from rlsuite.running.packing import from_bytes, to_bytes
from rlsuite.statistics import student_t_interval
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.wrappers import DelayedFeedback

BERNOULLI = "rlsuite/BernoulliBandit-v0"
UCB, UNIFORM = "rlsuite/UCB1-v0", "rlsuite/Random-v0"
TWO = {"UCB1": UCB, "uniform": UNIFORM}


def small(tmp_path, problems=BERNOULLI, **changes):
    how = {"policies": TWO, "runs": 30, "horizon": 40, "store": tmp_path / "s.sqlite", **changes}
    return rlsuite.study(problems, **how)


def test_uniform_play_costs_the_mean_gap(tmp_path):
    """Exactly 0.4 a decision on means 0.1, 0.3, 0.5, 0.7 and 0.9; three standard errors."""
    result = small(tmp_path, runs=2_000, policies=[UNIFORM])
    uniform = result[UNIFORM]
    error = uniform.block.regret_at[:, -1].std() / math.sqrt(2_000)
    assert abs(uniform.regret.estimate - 0.4 * 40) < 3 * error
    assert abs(uniform.optimal.estimate - 0.2) < 3 * 0.4 / math.sqrt(2_000 * 40)
    assert uniform.slope == pytest.approx(3.1207, abs=1e-3)
    assert uniform.block.compiled


def test_figures_are_those_of_the_runs(tmp_path):
    figures = small(tmp_path)["UCB1"]
    regret = figures.block.regret_at[:, -1]
    assert figures.median == np.median(regret)
    assert (figures.regret.low, figures.regret.high) == pytest.approx(
        (student_t_interval(regret).low, student_t_interval(regret).high)
    )
    curve = figures.curve
    assert curve.regret[-1] == pytest.approx(regret.mean())
    assert curve.high[-1] == pytest.approx(figures.regret.high)
    assert curve.reward.mean() * 40 == pytest.approx(figures.reward.estimate, rel=0.05)
    assert curve.regret[0] == pytest.approx(0.8)  # UCB1 begins with arm 0


def test_policies_share_their_luck_and_runs_do_not(tmp_path):
    """UCB1 twice is one policy: no difference. Runs differ."""
    result = small(tmp_path, policies={"one": UCB, "again": (UCB, {})})
    (pair,) = result.differences
    assert (pair.interval.estimate, pair.better) == (0.0, None)
    assert pair.correlation == pytest.approx(1.0)
    assert len(np.unique(result["one"].block.regret_at[:, -1])) > 10


def test_workers_and_blocks_change_nothing(tmp_path):
    here = small(tmp_path, runs=1_050)
    there = small(tmp_path, runs=1_050, store=tmp_path / "t.sqlite", workers=2)
    assert here.policies[0].runs == 1_050
    assert [r.key for r in here.records] == [r.key for r in there.records]
    for a, b in zip(here.policies, there.policies, strict=True):
        assert np.array_equal(a.block.regret_at, b.block.regret_at)
        assert np.array_equal(a.block.regret_sum, b.block.regret_sum)


def test_a_study_goes_on_after_what_is_stored(tmp_path):
    small(tmp_path, runs=1_000)
    more = small(tmp_path, runs=1_030)
    again = small(tmp_path, runs=1_030)
    anew = small(tmp_path, runs=1_030, store=tmp_path / "t.sqlite")
    assert (more.reused, again.reused, anew.reused) == (2, 4, 0)
    assert np.array_equal(more["UCB1"].block.regret_at, anew["UCB1"].block.regret_at)
    with rlsuite.Store(tmp_path / "s.sqlite") as store:
        records = list(store.records(lean=True))
    assert [r.metric for r in records] == [STUDY] * 4
    assert records[0].block is not None
    assert records[0].regret > 0.0


def test_a_block_survives_its_bytes(tmp_path):
    record = small(tmp_path).records[0]
    block, back = record.block, from_bytes(to_bytes(record)).block
    for name in block.__dataclass_fields__:
        assert np.array_equal(getattr(block, name), getattr(back, name)), name


def test_it_stops_when_the_interval_is_narrow(tmp_path):
    """Intervals are of 1 - 0.05 / 3 at three looks, so that they hold at all of them."""
    result = small(tmp_path, width=1.2, runs=4_000, horizon=60)
    ucb, uniform = result.policies
    assert result.looks == (1_000, 2_000, 4_000)
    assert ucb.regret.level == pytest.approx(1 - 0.05 / 3)
    for figures in (ucb, uniform):
        assert figures.regret.high - figures.regret.low <= 1.2
    assert ucb.runs == 1_000
    assert any("Bonferroni" in note for note in result.notes)


def test_the_plain_loop_meets_the_same_luck(tmp_path):
    """A class of one's own: always arm 4, whose rewards are those of the outcomes of each run."""
    result = small(tmp_path, policies={"best": Always, "uniform": UNIFORM}, runs=3)
    best = result["best"]
    luck = [generator(0, Stream.ENVIRONMENT, r).random((40, 5))[:, 4] for r in range(3)]
    assert best.block.reward_total.tolist() == [(u < 0.9).sum() for u in luck]
    assert (best.regret.estimate, best.optimal.estimate) == (0.0, 1.0)
    assert best.simple_regret.estimate == 0.0
    assert "best went through the plain loop" in str(result)


class Always:
    """Pulls arm 4."""

    def __init__(self, env, seed):
        self.env = env

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return 4, state


def test_problems_with_contexts_and_wrapped_ones(tmp_path):
    result = small(
        tmp_path,
        ["rlsuite/ContextualBandit-v0", BERNOULLI],
        policies={"LinUCB": "rlsuite/LinUCB-v0", "uniform": UNIFORM},
        runs=4,
    )
    assert len(result.policies) == 4
    assert len(result.differences) == 2
    assert [f.block.horizon for f in result.policies] == [40] * 4
    linucb, uniform = result.policies[:2]
    assert linucb.regret.estimate < uniform.regret.estimate
    assert (linucb.block.compiled, uniform.block.compiled) == (True, False)


def late(delay=5, horizon=60):
    return DelayedFeedback(BernoulliBandit(horizon=horizon), delay=delay)


@pytest.fixture
def late_id():
    name = "test/LateBandit-v0"
    gym.register(name, entry_point=late)
    yield name
    gym.registry.pop(name)


def test_a_bandit_of_ones_own_that_is_wrapped(tmp_path, late_id):
    """Registered with Gymnasium or as a task with wrappers: each for its own horizon."""
    wrapper = "rlsuite_envs.bandits.wrappers:DelayedFeedback"
    task = TaskSpec(
        id="late", env_id=BERNOULLI, env_kwargs={"horizon": 60}, wrappers=((wrapper, {"delay": 5}),)
    )
    limited = replace(task, id="limited", env_kwargs={"max_episode_steps": 50})
    longer = (late_id, {"delay": 6, "horizon": 70})
    problems = [late_id, task, limited, longer]
    result = small(tmp_path, problems, policies={"UCB1": UCB}, runs=3, horizon=None)
    registered, listed, short, long = result.policies
    assert registered.regret == listed.regret
    assert [f.block.horizon for f in (registered, short, long)] == [60, 50, 70]
    assert small(tmp_path, late_id, policies=[UCB], runs=3).policies[0].block.horizon == 40


def test_a_policy_that_fails_is_named(tmp_path):
    result = small(
        tmp_path,
        "rlsuite/GaussianBandit-v0",
        policies={"TS": "rlsuite/ThompsonSampling-v0", "UCB1": UCB},
    )
    assert [f.policy for f in result.policies] == ["UCB1"]
    assert len(result.failed) == 1
    assert "TS failed on rlsuite/GaussianBandit-v0" in str(result)


def test_pictures_report_and_json(tmp_path):
    result = small(tmp_path)
    assert result.plot(tmp_path / "a.png").stat().st_size > 10_000
    page = result.report(tmp_path / "a.html").read_text(encoding="utf-8")
    for words in ("Studies", "asymptotic slope", "rlsuite.study("):
        assert words in page
    told = result.as_json()
    assert told["policies"][0]["quantiles"]["0.5"] == result.policies[0].median
    with pytest.raises(SettingError, match=r"a \.png or \.svg file"):
        result.plot(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"runs": 0}, SettingError, "runs is a whole number of at least 1, got 0"),
        ({"horizon": 0}, SettingError, "horizon is a whole number of at least 1, got 0"),
        ({"width": -1.0}, SettingError, "width is a number above 0, got -1.0"),
        ({"width": float("nan")}, SettingError, "width is a number above 0"),
        ({"level": 1.0}, SettingError, "level must be in"),
        ({"seed": -1}, SettingError, "a seed is a whole number"),
        ({"policies": ["rlsuite/UCB2-v0"]}, UnknownIdError, "UCB2"),
        ({"policies": {}}, SuiteError, "needs a policy"),
        ({"policies": {"a": (UCB, {"nothing": 1})}}, SettingError, "no setting 'nothing'"),
        ({"problems": []}, SuiteError, "needs a problem"),
        ({"problems": [BERNOULLI, BERNOULLI]}, SuiteError, "named twice"),
        ({"problems": 3}, SettingError, "a problem is the id of a bandit"),
        ({"problems": "rlsuite/GridWorld-v0"}, SettingError, "scored by the regret of learning"),
        ({"problems": (BERNOULLI, {"nothing": 1})}, SettingError, "no keyword 'nothing'"),
        ({"workers": 0}, SettingError, "workers is a whole number"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        small(tmp_path, **changes)


REFERENCE = {
    "uniform": (UNIFORM, {}, 199.90, 0.09),
    "Thompson": ("rlsuite/ThompsonSampling-v0", {}, 12.37, 0.08),
    "UCB1": (UCB, {}, 53.80, 0.09),
    "REINFORCE": ("rlsuite/GradientBandit-v0", {}, 38.3, 0.15),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values_at_20000_runs(tmp_path, name):
    """Within three standard errors of both, and at most 5 s of one core after the first runs."""
    agent, settings, value, half = REFERENCE[name]
    how = {"policies": {name: (agent, settings)}, "store": tmp_path / "s.sqlite", "seed": 1}
    rlsuite.study(runs=10, **{**how, "seed": 2})  # compiles
    start = time.process_time()
    figures = rlsuite.study(runs=20_000, **how)[name]
    assert time.process_time() - start < 5.0
    error = figures.block.regret_at[:, -1].std() / math.sqrt(20_000)
    assert abs(figures.regret.estimate - value) < 3 * math.hypot(error, half / 1.96)
