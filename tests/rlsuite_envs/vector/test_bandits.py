"""The bandits: bit for bit what `SyncVectorEnv` gives, in all three modes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import OracleError
from rlsuite_envs.bandits.adversarial import AdversarialBandit
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.classification import ClassificationBandit
from rlsuite_envs.bandits.contextual import ContextualBandit
from rlsuite_envs.bandits.drifting import DriftingBandit
from rlsuite_envs.bandits.gaussian import GaussianBandit
from rlsuite_envs.bandits.wheel import WheelBandit
from rlsuite_envs.vector.bandits import bernoulli_bandit, contextual_bandit, vector_of

pytestmark = pytest.mark.filterwarnings("ignore:episodes of one step")

modes = st.sampled_from(("NextStep", "SameStep", "Disabled"))
limits = st.none() | st.integers(1, 20)
widths = st.integers(1, 4)
seeds = st.integers(0, 2**40)
horizons = st.integers(1, 20)

ARMS = [
    {},
    {"means": [0.3, 0.9, 0.9, 0.0]},
    {"n_arms": 3},
    {"n_arms": 2, "prior": (0.5, 2.0), "redraw": "episode"},
    {"n_arms": 4, "prior": (3.0, 3.0), "redraw": "seed"},
]


@settings(max_examples=60, deadline=None)
@given(arms=st.sampled_from(ARMS), horizon=horizons, mode=modes, limit=limits, n=widths, seed=seeds)
def test_bernoulli_equals_sync(side_by_side, arms, horizon, mode, limit, n, seed):
    keywords = {**arms, "horizon": horizon}
    ours = bernoulli_bandit(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: BernoulliBandit(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


TABLE = [[0.5, 0.25, 1.0], [0.0, 0.75, 0.125]] * 10
FEATURES = [[0.0, 3.0], [1.0, 2.0], [0.5, -1.0]]

OTHERS = [
    (GaussianBandit, {}),
    (GaussianBandit, {"means": [0.0, 2.0, 2.0], "sd": 3.0}),
    (GaussianBandit, {"n_arms": 3, "prior": (4.0, 0.0), "sd": 0.0, "redraw": "episode"}),
    (AdversarialBandit, {}),
    (AdversarialBandit, {"rewards": TABLE}),
    (DriftingBandit, {"means": [[0.1, 0.9], [0.9, 0.1]], "changes": [1]}),
    (DriftingBandit, {"drift": "gradual"}),
    (WheelBandit, {"delta": 0.5}),
    (ClassificationBandit, {}),
    (ClassificationBandit, {"data": (FEATURES, list("aba")), "scale": "none"}),
    (ContextualBandit, {"d": 3, "payoff": "logistic", "nonzero": 2}),
    (ContextualBandit, {"d": 3, "payoff": "neural", "hidden": 4}),
    (ContextualBandit, {"d": 3, "features": "arms"}),
]


@settings(max_examples=150, deadline=None)
@given(
    other=st.sampled_from(OTHERS),
    horizon=st.integers(2, 20),
    mode=modes,
    limit=limits,
    n=widths,
    seed=seeds,
)
def test_the_others_equal_sync(side_by_side, other, horizon, mode, limit, n, seed):
    bandit, keywords = other[0], {**other[1], "horizon": horizon}
    ours = vector_of(bandit, n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: bandit(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


@settings(max_examples=40, deadline=None)
@given(
    d=st.integers(1, 5),
    noise=st.floats(0.0, 10.0),
    horizon=horizons,
    mode=modes,
    limit=limits,
    n=widths,
    seed=seeds,
)
def test_contextual_equals_sync(side_by_side, d, noise, horizon, mode, limit, n, seed):
    keywords = {"d": d, "n_arms": 3, "noise": noise, "horizon": horizon, "theta_seed": d}
    ours = contextual_bandit(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: ContextualBandit(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


def test_all_rows_over_at_once_leave_the_keys_of_a_step_to_final_info():
    envs = bernoulli_bandit(3, horizon=1, autoreset_mode="SameStep")
    envs.reset(seed=0)
    infos = envs.step(np.array([0, 4, 2]))[-1]
    assert sorted(infos) == ["_final_info", "_final_obs", "final_info", "final_obs"]
    assert infos["final_info"]["regret"].tolist() == pytest.approx([0.8, 0.0, 0.4])


@pytest.mark.filterwarnings("error:episodes of one step")
@pytest.mark.parametrize("limit", [{"horizon": 1}, {"max_episode_steps": 1}])
def test_episodes_of_one_step_are_warned_of(limit):
    """Every other call resets: rewards 1, 0, 1, 0."""
    with pytest.warns(UserWarning, match="every other call of step is a reset"):
        envs = bernoulli_bandit(1, means=[1.0], **limit)
    envs.reset(seed=0)
    assert [envs.step(np.zeros(1, int))[1][0] for _ in range(4)] == [1.0, 0.0, 1.0, 0.0]
    envs = bernoulli_bandit(1, means=[1.0], autoreset_mode="SameStep", **limit)
    envs.reset(seed=0)
    assert [envs.step(np.zeros(1, int))[1][0] for _ in range(4)] == [1.0] * 4


def test_oracles():
    fixed = bernoulli_bandit(3, horizon=10, max_episode_steps=4)
    assert fixed.oracle().optimal_return == pytest.approx(4 * 0.9)
    assert fixed.oracle(2).optimal_return == pytest.approx(2 * 0.9)
    contextual = contextual_bandit(2, horizon=7)
    assert contextual.oracle().optimal_return == ContextualBandit(horizon=7).oracle().optimal_return
    drawn = bernoulli_bandit(3, n_arms=4)
    with pytest.raises(OracleError, match="name one of them, row=0 to 2"):
        drawn.oracle()
    drawn.reset(seed=1)
    single = BernoulliBandit(n_arms=4)
    single.reset(seed=3)
    assert np.array_equal(drawn.oracle(row=2).means, single.oracle().means)
