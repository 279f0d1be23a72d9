"""The Gaussian bandit: draws, arms, answer key."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from registry.bandit_models import normal_quantile
from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.gaussian import GaussianBandit


def test_the_testbed_is_ten_uniforms_then_one_a_step():
    env = GaussianBandit()
    assert env.reset(seed=7)[1] == {"new_instance": True}
    u = np.random.Generator(np.random.PCG64(7)).random(40).tolist()
    q = [normal_quantile(x) for x in u[:10]]
    assert env.oracle().means.tolist() == [q]
    for t in range(30):
        _, reward, _, _, info = env.step(t % 10)
        assert reward == q[t % 10] + normal_quantile(u[10 + t])
        assert info == {
            "regret": max(q) - q[t % 10],
            "expected_reward": q[t % 10],
            "optimal_action": q.index(max(q)),
        }


def test_known_answers():
    """2 sd² / gap, summed over the worse arms: 2 · 9 (1/2 + 1/1) = 27."""
    oracle = GaussianBandit([0.0, 1.0, 2.0], sd=3.0).oracle()
    assert oracle.lai_robbins == pytest.approx(27.0)
    assert (oracle.optimal_return, oracle.baseline_return) == (2000.0, 1000.0)
    assert oracle.scope == "task"


@pytest.mark.parametrize(("keywords", "constant"), [({"means": [1.0, 1.0]}, 0), ({"sd": 0.0}, 0)])
def test_there_is_nothing_to_learn_where_arms_are_equal_or_silent(keywords, constant):
    env = GaussianBandit(**keywords)
    env.reset(seed=0)
    assert env.oracle().lai_robbins == constant


def test_arms_stay_until_a_seed_or_an_episode():
    env, fresh = GaussianBandit(), GaussianBandit(redraw="episode")
    for one in (env, fresh):
        one.reset(seed=1)
    arms = env.oracle().means
    assert env.reset()[1] == {"new_instance": False}
    np.testing.assert_array_equal(env.oracle().means, arms)
    assert fresh.reset()[1] == {"new_instance": True}
    assert not np.array_equal(fresh.oracle().means, arms)


def test_the_model_is_what_a_seeded_reset_draws():
    env = GaussianBandit(prior=(4.0, 0.5), sd=2.0, horizon=7)
    env.reset(seed=3)
    before = env.get_state()
    model = env.bandit_model(np.random.Generator(np.random.PCG64(3)))
    assert env.get_state() == before
    np.testing.assert_array_equal(model.means, env.oracle().means)
    assert (model.kind, model.horizon, model.sd.tolist()) == ("gaussian", 7, [2.0] * 10)
    assert model.lai_robbins == env.oracle().lai_robbins


def test_rewards_have_the_distribution_they_claim():
    """20,000 pulls: mean and standard deviation within 4 standard errors."""
    env = GaussianBandit([5.0], sd=2.0, horizon=20_000)
    env.reset(seed=0)
    rewards = np.array([env.step(0)[1] for _ in range(20_000)])
    assert abs(rewards.mean() - 5.0) <= 4 * 2.0 / math.sqrt(20_000)
    assert abs(rewards.std() - 2.0) <= 4 * 2.0 / math.sqrt(2 * 20_000)


def test_goes_on_identically():
    env, twin = GaussianBandit(), GaussianBandit()
    env.reset(seed=9)
    env.step(3)
    twin.set_state(json.loads(json.dumps(env.get_state())))
    assert [env.step(a)[1:] for a in range(10)] == [twin.step(a)[1:] for a in range(10)]


def test_before_the_first_reset_there_is_no_answer():
    with pytest.raises(OracleError, match="no answer key before it"):
        GaussianBandit().oracle()


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"means": [0.0, math.nan]}, "at least one finite number, got nan"),
        ({"means": []}, "at least one finite number, got []"),
        ({"means": [0.0], "n_arms": 2}, "n_arms=2 is for arms that are drawn"),
        ({"means": [0.0], "prior": (0, 1)}, "prior=(0, 1) is for arms that are drawn"),
        ({"means": [0.0], "redraw": "episode"}, "redraw='episode' is for arms that are drawn"),
        ({"redraw": "never"}, "redraw must be 'seed' or 'episode', got 'never'"),
        ({"prior": (0.0, -1.0)}, "mean and standard deviation of a normal distribution"),
        ({"prior": 3.0}, "prior must be two finite numbers"),
        ({"sd": -1.0}, "sd must be a finite number of at least 0, got -1.0"),
        ({"n_arms": 0}, "n_arms must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_keywords_get_a_sentence(keywords, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        GaussianBandit(**keywords)
