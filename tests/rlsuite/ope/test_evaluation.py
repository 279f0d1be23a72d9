"""The whole of it: estimates, diagnostics, warnings, reward models."""

from __future__ import annotations

import json
import math
import sys
from functools import partial

import numpy as np
import pytest

from registry.errors import SettingError
from rlsuite.ope import (
    BanditLog,
    bernstein_interval,
    cross_fitted,
    dros,
    effective_sample_size,
    evaluate,
    from_frame,
    ipw,
    switch_dr,
)
from rlsuite.ope.diagnostics import diagnose, warnings_of
from rlsuite.ope.policies import target_of
from rlsuite.ope.reward_model import greedy
from rlsuite.ope.simulation import Problem
from rlsuite.ope.tuning import chosen, grid
from rlsuite.sessions import json_plain

pytest.importorskip("sklearn", reason="needs the extra ope")


def made(n=600, seed=0, known=True):
    """Rewards x . θ_a plus noise, three actions, logged with probabilities ½, ¼, ¼ in any order."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    means = x @ np.array([[1.0, -1.0, 0.0], [0.0, 0.5, 1.0]]) + [0.0, 0.5, 1.0]
    p = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])[(x[:, 0] > 0).astype(int)]
    action = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    rows = np.arange(n)
    log = BanditLog(
        context=x,
        action=action,
        reward=means[rows, action] + 0.1 * rng.normal(size=n),
        propensity=p[rows, action],
        probabilities=p if known else None,
    )
    return log, means


def test_all_estimators_agree_with_the_truth_where_the_log_is_good():
    log, means = made(3000)
    best = means.argmax(axis=1)
    found = evaluate(log, best, resamples=300)
    truth = means.max(axis=1).mean()
    for estimate in found.estimates:
        if estimate.name == "replay":
            assert estimate.setting == "biased: the log is not uniform"
            continue
        # 4 standard errors, of an interval of about ± 2
        half = (estimate.interval.high - estimate.interval.low) / 2
        assert abs(estimate.value - truth) < 2 * half, estimate.name
        assert estimate.gain.estimate == pytest.approx(estimate.value - log.reward.mean())
    assert found.warnings == ()
    assert found.logging.estimate == pytest.approx(log.reward.mean())
    # the model is right here, so it takes most of the noise away
    width = {e.name: e.interval.high - e.interval.low for e in found.estimates}
    assert width["dr"] < width["ipw"] / 2


def test_a_model_may_be_brought_along():
    log, means = made()
    found = evaluate(log, "uniform", q=means, estimators=["dm", "dr"])
    assert found["dm"].value == pytest.approx(means.mean())
    with pytest.raises(KeyError):
        found["ipw"]
    with pytest.raises(SettingError, match=r"q must be .*\(600, 3\); got the shape \(600,\)"):
        evaluate(log, "uniform", q=means[:, 0])
    with pytest.raises(SettingError, match="q must be"):
        evaluate(log, "uniform", q=np.full((600, 3), np.nan))


def test_without_the_other_probabilities_no_model_can_be_asked():
    log, _ = made(known=False)
    found = evaluate(log, np.full(600, 0.5))
    assert [e.name for e in found.estimates] == ["ipw", "snipw"]
    reasons = dict(found.left_out)
    assert reasons["dr"] == "only the probabilities of the logged actions are known"
    assert reasons["replay"] == "the policy is not deterministic"
    assert found.diagnostics.unsupported is None
    with pytest.raises(SettingError, match=r"no estimator is left for this policy .dr: only"):
        evaluate(log, np.full(600, 0.5), estimators=["dr"])
    nothing = dict(evaluate(log, np.zeros(600)).left_out)
    assert nothing["replay"] == "the policy never takes a logged action"
    assert nothing["snipw"] == nothing["sndr"].replace(reasons["dr"], "all weights are 0")


def test_greedy_is_fitted_without_the_decision():
    """Rewards that are noise: a policy that had seen them would look good."""
    rng = np.random.default_rng(1)
    n = 400
    log = BanditLog(
        context=rng.normal(size=(n, 2)),
        action=rng.integers(3, size=n),
        reward=rng.normal(size=n),
        propensity=np.full(n, 1 / 3),
    )
    from sklearn.tree import DecisionTreeRegressor

    found = evaluate(log, "greedy", model=DecisionTreeRegressor(random_state=0), resamples=200)
    assert found["dr"].interval.low < 0 < found["dr"].interval.high
    q = DecisionTreeRegressor(random_state=0)
    seen = np.stack(
        [
            q.fit(log.context[log.action == a], log.reward[log.action == a]).predict(log.context)
            for a in range(3)
        ],
        axis=1,
    )
    assert evaluate(log, greedy(seen, log), estimators=["snipw"]).estimates[0].value > 0.5


def test_cross_fitting_by_a_plain_loop():
    """Each row is predicted by a model of the other folds; rare actions by a mean."""
    from sklearn.linear_model import LinearRegression

    log, _ = made(90)
    q = cross_fitted(log, LinearRegression(), folds=2, bounds=(-100, 100), seed=5)
    for a in range(3):
        rows = log.action == a
        whole = LinearRegression().fit(log.context[rows], log.reward[rows]).predict(log.context)
        assert 0 < abs(q[:, a] - whole).max() < 0.5  # near it, and not it
    changed = log.reward.copy()
    changed[0] += 50.0
    other = BanditLog(
        context=log.context, action=log.action, reward=changed, propensity=log.propensity
    )
    again = cross_fitted(other, LinearRegression(), folds=2, bounds=(-100, 100), seed=5)
    assert (again[0] == q[0]).all()  # its own reward does not matter to a decision
    assert (again != q).any()


def test_rare_actions_and_missing_contexts_are_given_means():
    n = 40
    action = np.array([0] * (n - 1) + [1])
    log = BanditLog(
        context=np.arange(n)[:, None],
        action=action,
        reward=np.arange(n) * 1.0,
        propensity=np.full(n, 0.5),
    )
    q = cross_fitted(log, folds=4)
    assert len(np.unique(q[:, 1])) <= 4  # the mean of the other folds
    blind = BanditLog(
        context=np.zeros((n, 0)), action=action, reward=np.ones(n), propensity=np.full(n, 0.5)
    )
    np.testing.assert_array_equal(cross_fitted(blind), np.ones((n, 2)))


@pytest.mark.parametrize("model", ["ridge", "forest", "boosting"])
def test_models_by_name(model):
    log, means = made(300)
    assert np.corrcoef(cross_fitted(log, model).ravel(), means.ravel())[0, 1] > 0.7


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"estimators": ["ips"]}, "there is no estimator 'ips'. Did you mean 'ipw'"),
        ({"estimators": []}, "name at least one estimator of replay, ipw"),
        ({"clip": 0.0}, "clip must be a number above 0"),
        ({"threshold": -1.0}, "threshold must be a number above 0"),
        ({"model": "rigde"}, "there is no reward model 'rigde'. Did you mean 'ridge'"),
        ({"model": 3}, "a reward model has fit"),
        ({"folds": 1}, "folds must be a whole number from 2 to .*, 600; got 1"),
        ({"folds": 2.5}, "folds must be"),
        ({"level": 2.0}, "level must be in"),
        ({"reward_range": (0.0, 1.0)}, "reward_range must hold all rewards"),
        ({"reward_range": (1,)}, r"reward_range is two numbers.*got \(1,\)"),
        ({"reward_range": 1.0}, "reward_range is two numbers, the least and the largest reward"),
        ({"estimators": "ipw"}, "estimators is a list of names, .*; got the text 'ipw'"),
    ],
)
def test_settings_are_checked(keywords, sentence):
    with pytest.raises(SettingError, match=sentence):
        evaluate(made()[0], "uniform", **keywords)


def test_without_scikit_learn_weighting_goes_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    log, _ = made()
    with pytest.raises(SettingError, match=r"pip install 'rlsuite\[ope\]'"):
        evaluate(log, "uniform")
    assert len(evaluate(log, "uniform", estimators=["ipw", "snipw"]).estimates) == 2


def test_bernstein_rests_on_the_bounds_of_rewards_and_weights():
    log, _ = made()
    found = evaluate(log, "uniform", estimators=["ipw"], reward_range=(-10.0, 10.0))
    assert found.weight_bound == pytest.approx(4 / 3)
    terms = ipw(1 / 3 / log.propensity, log.reward)
    wanted = bernstein_interval(terms, -40 / 3, 40 / 3)
    assert found["ipw"].bernstein.low == pytest.approx(wanted.low)
    clipped = evaluate(log, "uniform", estimators=["ipw"], reward_range=(-10.0, 10.0), clip=0.5)
    wanted = bernstein_interval(ipw(1 / 3 / log.propensity, log.reward, 0.5), -5.0, 5.0)
    assert clipped["ipw"].bernstein.high == pytest.approx(wanted.high)
    assert clipped["ipw"].setting == "λ = 0.5"
    unknown = evaluate(made(known=False)[0], "uniform", estimators=["ipw"])
    assert unknown.weight_bound == pytest.approx(4 / 3)


def test_json_and_text_hold_everything():
    log, _ = made()
    found = evaluate(log, 0)
    plain = json.loads(json.dumps(json_plain(found.as_json()), allow_nan=False))
    assert [e["name"] for e in plain["estimates"]][:2] == ["replay", "ipw"]
    assert plain["diagnostics"]["coverage"][0]["count"] == int((log.action == 0).sum())
    lines = str(found).splitlines()
    assert lines[1].startswith("IPW ")
    assert lines[-1].startswith("n 600, ESS ")


def test_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == 7
    assert effective_sample_size(np.array([3.0, 0.0, 0.0])) == 1
    assert effective_sample_size(np.zeros(3)) == 0


def figures(log, policy, clip=math.inf):
    target = target_of(policy, log)
    return diagnose(log, target, target.taken / log.propensity, clip)


def test_diagnostics_by_hand():
    log = BanditLog(
        context=np.zeros((4, 0)),
        action=[0, 0, 1, 1],
        reward=[0, 1, 0, 1],
        propensity=[0.8, 0.8, 0.2, 0.2],
        n_actions=3,
    )
    d = figures(log, np.tile([0.4, 0.5, 0.1], (4, 1)), clip=2.0)  # weights ½, ½, 2½, 2½
    assert (d.n, d.max_weight, d.mean_weight, d.clipped_share) == (4, 2.5, 1.5, 0.5)
    assert d.ess == pytest.approx(36 / 13)
    assert d.mean_weight_error == pytest.approx(0.5)
    assert d.propensity_floor == 0.2
    assert d.unsupported == pytest.approx(0.1)
    assert d.unsupported_actions == (2,)
    first, second, third = d.coverage
    assert (first.count, first.logged, first.wanted, first.ess) == (2, 0.5, pytest.approx(0.4), 2)
    assert (second.count, third.count, third.ess) == (2, 0, 0)


def test_masks_and_zero_probabilities_are_unsupported():
    p = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    values = {"context": np.zeros((2, 0)), "action": [0, 2], "reward": [0, 1]}
    known = BanditLog(**values, propensity=[0.5, 0.5], probabilities=p)
    assert figures(known, 1).unsupported == 0.5
    masked = BanditLog(**values, propensity=[0.5, 0.5], action_mask=p > 0)
    assert figures(masked, 1).unsupported == 1.0  # never taken, and once not allowed
    assert figures(masked, 2).unsupported == 0.5


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([10.0] + [0.0] * 9, "the effective sample size is 1.0 decisions"),
        ([0.5, 0.5, 0.5, 0.5], "the mean weight is 0.5 and should be 1"),
        ([1.0] * 10, "the effective sample size is 10.0 decisions: below 50"),
    ],
)
def test_warnings_where_weights_are_bad(weights, sentence):
    n = len(weights)
    log = BanditLog(
        context=np.zeros((n, 0)),
        action=np.arange(n) % 2,
        reward=np.ones(n),
        propensity=np.full(n, 0.1),
    )
    target = target_of(np.clip(np.array(weights) / 10, 0, 1), log)
    said = " ".join(warnings_of(diagnose(log, target, np.array(weights), math.inf), log))
    assert sentence in said


def test_a_log_of_a_policy_that_draws_nothing_says_so():
    log = BanditLog(
        context=np.zeros((100, 0)),
        action=np.arange(100) % 2,
        reward=np.ones(100),
        propensity=np.ones(100),
    )
    found = evaluate(log, 0, estimators=["ipw"])
    assert any("drew nothing" in text for text in found.warnings)


def test_contexts_that_were_not_read_are_warned_of():
    rows = {"action": [0, 1], "reward": [0, 1], "propensity": [0.5, 0.5], "x0": [1, 2]}
    sentence = "the log has no context, and its columns x0 were not used"

    def said(**keywords):
        log = from_frame(rows, **keywords)
        return any(sentence in text for text in evaluate(log, 0, estimators=["ipw"]).warnings)

    assert said()
    assert not said(context=["x0"])
    assert not said(context=[])


def test_unsupported_actions_are_warned_of():
    log, _ = made()
    alone = BanditLog(
        context=log.context,
        action=log.action,
        reward=log.reward,
        propensity=log.propensity,
        n_actions=4,
    )
    found = evaluate(alone, "uniform", estimators=["ipw"])
    assert any("cannot speak of (3), with probability 0.25" in text for text in found.warnings)


def test_the_threshold_has_the_smallest_bound_of_its_error():
    """Weights 1, 1, 1, 9 and residuals ±1, so that cutting 9 takes 9 r / 4 from the estimate."""

    def made(w, residual):
        nothing = np.zeros(len(w))
        return lambda limit: switch_dr(w, residual, nothing, nothing, limit)

    w = np.array([1.0, 1.0, 1.0, 9.0])
    lone = made(w, np.array([1.0, -1.0, 1.0, 1.0]))
    taken = np.array([0.0, 0.0, 0.0, 9.0])
    bias = taken.mean() + 1.645 * taken.std() / 2
    assert lone(1.0).standard_error ** 2 + bias**2 > lone(math.inf).standard_error ** 2
    assert chosen(lone, (math.inf, 1.0)) == math.inf
    # many small weights that tell nothing of the value: a residual of 0 can be cut
    free = made(w, np.array([1.0, -1.0, 1.0, 0.0]))
    assert chosen(free, (math.inf, 1.0)) == math.inf  # equal bounds: the first
    # shrinking all weights a little costs less than it takes, where the residuals are noise
    noise = np.tile([1.0, -1.0], 50)
    shrunk = partial(dros, np.full(100, 3.0), noise, np.zeros(100), np.zeros(100))
    limits = (math.inf, 60.0, 30.0, 9.0, 1.0)
    factors = np.array([1.0, *(x / (x + 9) for x in limits[1:])])  # of the weights, ŵ / w
    errors = factors**2 + (1.645 * (1 - factors)) ** 2  # both in units of DR's
    assert chosen(shrunk, limits) == limits[int(errors.argmin())] == 30.0


@pytest.mark.parametrize("made", [switch_dr, dros])
def test_a_chosen_threshold_does_no_harm_where_the_model_is_wrong(made):
    """40 logs of a policy against the rewards: a model that overlooks the context has a large bias.

    Whatever the threshold trades, the error stays within a tenth of that of DR, whose own is known
    from as many logs only, but from the same ones.
    """
    problem, errors = Problem.of(4.0, 3.0), []
    for k in range(40):
        x, a, r = problem.draw(400, np.random.default_rng((3, k)))
        w, mean = problem.w[x, a], r.mean()
        make = partial(made, w, r, np.full(400, mean), np.full(400, mean))
        limit = chosen(make, grid(w, square=made is dros))
        errors.append([make(t).value - problem.value for t in (limit, math.inf)])
    tuned, plain = np.sqrt(np.square(errors).mean(axis=0))
    assert tuned < 1.1 * plain


def test_intervals_that_leave_out_a_bias_say_so():
    log, means = made(400)
    wanted = {"replay": True, "ipw": False, "snipw": False, "dm": True, "dr": False, "sndr": False}
    found = evaluate(log, means.argmax(axis=1), resamples=100, q=means)
    assert {name: found[name].biased for name in wanted} == wanted
    assert found["dm"].remark == "bias not covered"
    assert found["replay"].remark == "biased: the log is not uniform; bias not covered"
    # weights are 2 and 4 where the policy takes the logged action
    cut = evaluate(
        log, means.argmax(axis=1), resamples=100, q=means, clip=3.0, threshold=3.0, shrinkage=1e6
    )
    for name, setting in (("ipw", "λ = 3"), ("switch-dr", "λ = 3"), ("dros", "λ = 1e+06")):
        assert cut[name].biased
        assert cut[name].remark == f"{setting}; bias not covered"
        assert any(line.endswith(cut[name].remark) for line in str(cut).splitlines())
    whole = evaluate(log, means.argmax(axis=1), resamples=100, q=means, clip=4.0, threshold=4.0)
    assert not whole["ipw"].biased  # no weight can be larger
    assert whole["switch-dr"].remark == "λ = 4"


def test_the_grid_of_thresholds():
    w = np.concatenate([np.zeros(5), np.arange(1.0, 101.0)])
    limits = grid(w, square=False)
    assert limits[0] == math.inf
    assert limits[-1] == pytest.approx(np.median(np.arange(1, 101)))
    assert list(limits) == sorted(limits, reverse=True)
    np.testing.assert_allclose(grid(w, square=True)[1:], np.square(limits[1:]))
    assert grid(np.zeros(3), square=False) == (math.inf,)
