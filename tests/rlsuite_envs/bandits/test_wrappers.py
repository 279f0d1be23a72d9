"""Late rewards, missing arms, noise and scale; the answer key holds through each of them."""

from __future__ import annotations

import json
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit, TransformReward

import rlsuite
from registry.bandit_models import normal_quantile
from registry.errors import (
    InvalidActionError,
    InvalidObservationError,
    OracleError,
    SettingError,
)
from rlsuite.answer_key import find_answer_key
from rlsuite_envs.bandits.bernoulli import BernoulliBandit
from rlsuite_envs.bandits.contextual import ContextualBandit
from rlsuite_envs.bandits.drifting import DriftingBandit
from rlsuite_envs.bandits.gaussian import GaussianBandit
from rlsuite_envs.bandits.wrappers import (
    ArrivingArms,
    BatchedFeedback,
    DelayedFeedback,
    MaskedArms,
    RewardNoise,
    RewardScale,
)

EVEN_ODD = [[True, True, False, False, False], [False, True, True, True, True]]

ALL = {
    "delayed": lambda env: DelayedFeedback(env, delay=3),
    "geometric": lambda env: DelayedFeedback(env, delay=2.5, distribution="geometric"),
    "batched": lambda env: BatchedFeedback(env, every=4),
    "masked": lambda env: MaskedArms(env, available=EVEN_ODD),
    "arriving": lambda env: ArrivingArms(env, arrivals=[0, 0, 2, 3, 9]),
    "noise": lambda env: RewardNoise(env, sd=2.0),
    "scale": lambda env: RewardScale(env, scale=3.0, shift=-1.0),
    "stacked": lambda env: DelayedFeedback(
        RewardScale(MaskedArms(RewardNoise(env, sd=0.5), available=EVEN_ODD), scale=2.0), delay=1
    ),
}


def arm_of(env, info, t):
    """An arm that is there, in turn."""
    mask = info.get("action_mask", np.ones(env.action_space.n, np.int8))
    there = np.flatnonzero(mask)
    return int(there[t % len(there)])


def play(env, steps, info):
    """The steps of an episode, arms in turn."""
    seen = []
    for t in range(steps):
        seen.append(env.step(arm_of(env, info, t)))
        info = seen[-1][4]
    return seen


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "bandit",
    [BernoulliBandit, DriftingBandit, lambda horizon: ContextualBandit(3, horizon=horizon)],
)
def test_summed_regret_is_what_the_oracle_says_of_the_same_arms(name, bandit):
    """Every arm that was pulled, as a policy with a clock; contexts average out in 3,000 steps."""
    horizon = 3000 if bandit not in (BernoulliBandit, DriftingBandit) else 12
    env = ALL[name](bandit(horizon=horizon))
    _, info = env.reset(seed=0)
    steps = play(env, horizon, info)
    regret = sum(step[4]["regret"] for step in steps)
    oracle = env.oracle()
    pi = np.zeros((horizon, 1, 5))
    mask = info.get("action_mask")
    for t, step in enumerate(steps):
        pi[t, 0, arm_of(env, {} if mask is None else {"action_mask": mask}, t)] = 1
        mask = step[4].get("action_mask")
    pi = np.broadcast_to(pi, (horizon, *oracle.means.shape[-2:]))
    exact = oracle.optimal_return - oracle.policy_return(pi)
    tolerance = 1e-9 if horizon == 12 else 0.1 * oracle.optimal_return
    assert regret == pytest.approx(exact, abs=tolerance)
    assert oracle.regret_per_step(pi) * horizon == pytest.approx(exact)
    assert oracle.baseline_return < oracle.optimal_return


@pytest.mark.parametrize("name", ALL)
def test_goes_on_identically_from_a_saved_state(name):
    env, twin = (ALL[name](BernoulliBandit(horizon=15)) for _ in range(2))
    _, info = env.reset(seed=3)
    info = play(env, 6, info)[-1][4]
    twin.set_state(json.loads(json.dumps(env.get_state())))
    for left, right in zip(play(env, 9, info), play(twin, 9, info), strict=True):
        assert left[1:4] == right[1:4]
        assert str(left[4]) == str(right[4])
    assert env.get_state() == twin.get_state()


@pytest.mark.parametrize("name", ["delayed", "geometric", "batched"])
def test_each_reward_arrives_once_and_the_return_stays(name):
    env, bare = ALL[name](BernoulliBandit(horizon=30)), BernoulliBandit(horizon=30)
    for seed in range(5):
        env.reset(seed=seed)
        steps = [env.step(t % 5) for t in range(30)]
        ids = np.concatenate([step[4]["feedback"]["decision_id"] for step in steps])
        assert sorted(ids.tolist()) == list(range(30))
        assert [step[4]["decision_id"] for step in steps] == list(range(30))
        for t, (_, reward, _, over, info) in enumerate(steps):
            late = info["feedback"]
            assert reward == late["reward"].sum()
            assert (late["decision_id"] <= t).all()
            assert late["action"].tolist() == [number % 5 for number in late["decision_id"]]
            assert late["observation"].shape == (len(late["reward"]), 1)
            assert over == (t == 29)
    if name != "geometric":  # which draws more
        env.reset(seed=4)
        bare.reset(seed=4)
        late, once = (sum(e.step(t % 5)[1] for t in range(30)) for e in (env, bare))
        assert late == once


def test_fixed_delays_by_hand():
    env = DelayedFeedback(BernoulliBandit([1.0, 0.0], horizon=5), delay=2)
    env.reset(seed=0)
    steps = [env.step(arm) for arm in (0, 1, 0, 0, 0)]
    assert [step[4]["feedback"]["decision_id"].tolist() for step in steps] == [
        [],
        [],
        [0],
        [1],
        [2, 3, 4],  # the last step brings what is still out
    ]
    assert [step[1] for step in steps] == [0.0, 0.0, 1.0, 0.0, 3.0]
    assert steps[0][4]["regret"] == 0.0  # at once
    assert steps[1][4]["regret"] == 1.0


def test_batches_by_hand():
    env = BatchedFeedback(BernoulliBandit([1.0], horizon=5), every=2)
    env.reset(seed=0)
    arrived = [env.step(0)[4]["feedback"]["decision_id"].tolist() for _ in range(5)]
    assert arrived == [[], [0, 1], [], [2, 3], [4]]


def test_what_was_seen_before_a_late_reward_is_told():
    env = DelayedFeedback(ContextualBandit(3, horizon=9), delay=4)
    contexts = [env.reset(seed=0)[0]]
    told = {}
    for t in range(9):
        observation, _, _, _, info = env.step(t % 5)
        contexts.append(observation)
        late = info["feedback"]
        told.update(zip(late["decision_id"].tolist(), late["observation"].tolist(), strict=True))
    assert told == {t: contexts[t].tolist() for t in range(9)}


def test_late_rewards_that_are_late_once_more():
    """Delays add up, and each reward stays with its decision."""
    means, arms = [0.0, 0.2, 0.4, 0.6, 1.0], [4, 0, 0, 0, 4, 0, 0, 0]
    env = DelayedFeedback(DelayedFeedback(BernoulliBandit(means, horizon=8), delay=2), delay=1)
    env.reset(seed=0)
    told = [env.step(arm)[4]["feedback"] for arm in arms]
    ids = [late["decision_id"].tolist() for late in told]
    assert ids == [[], [], [], [0], [1], [2], [3], [4, 5, 6, 7]]
    assert [late["action"].tolist() for late in told[3:7]] == [[4], [0], [0], [0]]
    assert [late["reward"].tolist() for late in told[3:]] == [[1.0], [0], [0], [0], [1.0, 0, 0, 0]]


@pytest.mark.parametrize("outer", ["delayed", "geometric", "batched"])
@pytest.mark.parametrize("inner", ["delayed", "geometric", "batched"])
def test_each_reward_arrives_once_through_two_mailboxes(outer, inner):
    env = ALL[outer](ALL[inner](ContextualBandit(3, horizon=40)))
    seen, told = [env.reset(seed=1)[0]], {}
    for t in range(40):
        observation, reward, _, _, info = env.step(t % 5)
        seen.append(observation)
        late = info["feedback"]
        assert (np.diff(late["decision_id"]) > 0).all()
        assert reward == pytest.approx(late["reward"].sum())
        told.update(zip(late["decision_id"].tolist(), late["action"].tolist(), strict=True))
        for number, context in zip(late["decision_id"], late["observation"], strict=True):
            assert context.tolist() == seen[number].tolist()
    assert told == {t: t % 5 for t in range(40)}


@pytest.mark.parametrize("name", ["delayed", "batched"])
def test_a_time_limit_around_late_rewards(name):
    """It cuts rewards off: no answer key, and agents warn; inside it all rewards arrive."""
    env = TimeLimit(ALL[name](BernoulliBandit([1.0], horizon=9)), 6)
    assert "a time limit of 6 steps around late rewards" in find_answer_key(env).why_not
    env.reset(seed=0)
    lost = 6 - int(sum(env.step(0)[1] for _ in range(6)))
    assert lost > 0
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", env, seed=0)
    with pytest.warns(UserWarning, match=f"an episode ended before {lost} of its late rewards"):
        agent.learn(6)
    assert not agent.pending
    inside = ALL[name](TimeLimit(BernoulliBandit([1.0], horizon=9), 6))
    assert find_answer_key(inside).oracle.optimal_return == 6.0
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", inside, seed=0).learn(12)  # no warning
    assert agent.beliefs.counts == [12]


@pytest.mark.parametrize("name", ["delayed", "geometric", "batched"])
def test_what_was_returned_may_be_overwritten(name):
    env = ALL[name](ContextualBandit(3, horizon=9))
    seen, told = env.reset(seed=0)[0], {}
    before = [seen.copy()]
    for t in range(9):
        seen[:] = 77.0
        seen, *_, info = env.step(t % 5)
        before.append(seen.copy())
        late = info["feedback"]
        told.update(zip(late["decision_id"].tolist(), late["observation"].tolist(), strict=True))
    assert told == {t: before[t].tolist() for t in range(9)}


def test_geometric_delays_have_the_mean_they_claim():
    """20,000 rewards: the mean delay lies within 4 standard errors of 3."""
    env = DelayedFeedback(BernoulliBandit([0.5], horizon=20_100), delay=3, distribution="geometric")
    env.reset(seed=0)
    delays = np.full(20_100, -1)
    for t in range(20_100):
        late = env.step(0)[4]["feedback"]["decision_id"]
        delays[late] = t - late
    kept = delays[:20_000]
    assert kept.min() == 0
    assert abs(kept.mean() - 3) <= 4 * np.sqrt(3 * 4 / 20_000)  # variance (1 - p) / p²


def test_a_vector_of_them_keeps_the_feedback_apart():
    def make():
        return DelayedFeedback(BernoulliBandit(horizon=9), delay=2)

    envs = gym.vector.SyncVectorEnv([make, make])
    envs.reset(seed=0)
    for _ in range(3):
        infos = envs.step(np.array([0, 4]))[4]
    assert [late["action"].tolist() for late in infos["feedback"]] == [[0], [4]]


def test_a_late_reward_teaches_the_same_in_the_end():
    """Thompson sampling's posterior counts each decision once, whenever its reward came."""
    env = DelayedFeedback(BernoulliBandit(horizon=40), delay=7)
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", env, seed=0)
    agent.learn(40)
    assert sum(agent.beliefs.counts) == 40


def test_masks_by_hand():
    env = MaskedArms(BernoulliBandit(horizon=4), available=EVEN_ODD)
    _, info = env.reset(seed=0)
    assert info["action_mask"].dtype == np.int8
    assert info["action_mask"].tolist() == [1, 1, 0, 0, 0]
    before = env.get_state()
    with pytest.raises(InvalidActionError, match=re.escape("arm 2 is not available at step 0;")):
        env.step(2)
    with pytest.raises(InvalidActionError, match="a whole number from 0 to 4"):
        env.step(5)
    assert env.get_state() == before
    info = env.step(0)[4]
    assert (info["regret"], info["optimal_action"]) == (pytest.approx(0.2), 1)
    assert info["action_mask"].tolist() == [0, 1, 1, 1, 1]
    assert env.action_masks().tolist() == EVEN_ODD[1]
    info = env.step(4)[4]
    assert (info["regret"], info["optimal_action"]) == (0.0, 4)


def test_two_masks_hold_together():
    inner = ArrivingArms(BernoulliBandit(horizon=7), arrivals=[0, 0, 0, 0, 5])
    env = MaskedArms(inner, available=[[False, True, True, True, True], [True, True] + [False] * 3])
    both = [[0, 1, 1, 1, 0], [1, 1, 0, 0, 0]] * 3 + [[0, 1, 1, 1, 1]]
    masks = [env.reset(seed=0)[1]["action_mask"].tolist()]
    masks += [env.step(1)[4]["action_mask"].tolist() for _ in range(6)]
    assert masks == both
    assert env.step(3)[4]["regret"] == pytest.approx(0.2)
    table = np.array(both, bool)
    np.testing.assert_array_equal(env.oracle().available[:, 0], table)
    assert env.oracle().optimal_return == pytest.approx(3 * (0.7 + 0.3) + 0.9)
    with pytest.raises(SettingError, match="at step 1 none is"):
        MaskedArms(env, available=[False, False, True, True, True])


def test_an_agent_plays_under_two_masks():
    inner = MaskedArms(BernoulliBandit(horizon=50), available=[True] * 4 + [False])
    env = MaskedArms(inner, available=[False] + [True] * 4)
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", env, seed=0).learn(100)
    assert [n > 0 for n in agent.beliefs.counts] == [False, True, True, True, False]


def test_the_answer_key_of_masks_by_hand():
    """Two steps with the best of 0.1 and 0.3, two with that of 0.3 ... 0.9."""
    oracle = MaskedArms(BernoulliBandit(horizon=4), available=EVEN_ODD).oracle()
    assert oracle.optimal_return == pytest.approx(2 * 0.3 + 2 * 0.9)
    assert oracle.baseline_return == pytest.approx(2 * 0.2 + 2 * 0.6)
    assert oracle.best_stationary_return == pytest.approx(4 * 0.3)  # arm 1 alone is always there
    with pytest.raises(OracleError, match="arms that are available alone"):
        oracle.policy_return(np.full((1, 5), 0.2))
    always = MaskedArms(BernoulliBandit(horizon=4), available=EVEN_ODD[0]).oracle()
    assert always.optimal_return == pytest.approx(4 * 0.3)


def test_arms_that_come_and_go():
    env = ArrivingArms(
        BernoulliBandit(horizon=4), arrivals=[0] * 4 + [2], departures=[3] + [None] * 4
    )
    _, info = env.reset(seed=0)
    seen = [info["action_mask"].tolist()]
    seen += [env.step(1)[4]["action_mask"].tolist() for _ in range(3)]
    assert seen == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1] * 5, [0, 1, 1, 1, 1]]
    assert env.oracle().optimal_return == pytest.approx(2 * 0.7 + 2 * 0.9)
    assert env.action_masks().tolist() == [False, True, True, True, True]


def test_noise_is_one_uniform_more():
    env = RewardNoise(BernoulliBandit([0.5]), sd=2.0)
    env.reset(seed=1)
    u = np.random.Generator(np.random.PCG64(1)).random(20).tolist()
    for t in range(10):
        _, reward, _, _, info = env.step(0)
        assert reward == float(u[2 * t] < 0.5) + 2.0 * normal_quantile(u[2 * t + 1])
        assert info == {"regret": 0.0, "expected_reward": 0.5, "optimal_action": 0}


def test_scale_by_hand():
    env = RewardScale(BernoulliBandit([1.0, 0.25]), scale=4.0, shift=1.0)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert (reward, info["expected_reward"], info["regret"]) == (5.0, 5.0, 0.0)
    assert env.step(1)[4]["regret"] == 3.0
    assert env.oracle().means.tolist() == [[5.0, 2.0]]
    assert env.oracle().lai_robbins == 0.0  # the best arm never fails
    bare = BernoulliBandit().oracle().lai_robbins
    scaled = RewardScale(BernoulliBandit(), scale=4.0, shift=1.0).oracle()
    assert scaled.lai_robbins == pytest.approx(4.0 * bare)


def test_the_slope_of_scaled_normal_arms():
    """Σ 2 sd² / gap: with twice the unit, gaps and standard deviations are twice as large."""
    plain = GaussianBandit([0.0, 1.0, 0.5], sd=0.5)
    doubled = GaussianBandit([3.0, 5.0, 4.0], sd=1.0)
    scaled = RewardScale(plain, scale=2.0, shift=3.0).oracle()
    assert scaled.lai_robbins == pytest.approx(doubled.oracle().lai_robbins)


@pytest.mark.parametrize("change", ["scale", "noise"])
@pytest.mark.parametrize("name", ["delayed", "geometric", "batched"])
def test_late_rewards_are_changed_like_those_that_come_at_once(name, change):
    """Scaled before the mailbox or after it, the same arrives; noise is drawn for each reward."""
    env = ALL[change](ALL[name](BernoulliBandit(horizon=30)))
    env.reset(seed=2)
    steps = [env.step(t % 5) for t in range(30)]
    rewards = np.zeros(30)
    for _, reward, _, _, info in steps:
        late = info["feedback"]
        rewards[late["decision_id"]] = late["reward"]
        assert reward == pytest.approx(late["reward"].sum())
    if change == "noise":
        assert len(set(rewards)) == 30
        return
    twin = ALL[name](ALL[change](BernoulliBandit(horizon=30)))
    twin.reset(seed=2)
    for t, (_, reward, _, _, info) in enumerate(steps):
        _, other, _, _, told = twin.step(t % 5)
        assert reward == pytest.approx(other)
        assert str(info) == str(told)


def test_agents_learn_what_is_paid_in_the_end():
    env = RewardScale(DelayedFeedback(BernoulliBandit(horizon=300), delay=2), scale=10.0)
    agent = rlsuite.make_agent("rlsuite/UCB1-v0", env, seed=0)
    agent.learn(300)
    assert set(np.round(np.array(agent.beliefs.means) * agent.beliefs.counts) % 10) == {0.0}
    assert max(agent.beliefs.means) > 5.0
    refuses = rlsuite.make_agent("rlsuite/ThompsonSampling-v0", env, seed=0)
    with pytest.raises(InvalidObservationError, match=re.escape("takes rewards in [0, 1]")):
        refuses.learn(300)


def test_evaluate_asks_the_wrapper():
    key = find_answer_key(
        TimeLimit(RewardScale(gym.make("rlsuite/BernoulliBandit-v0"), scale=2.0), 9)
    )
    assert key.exact
    assert key.oracle.optimal_return == pytest.approx(9 * 1.8)
    masked = find_answer_key(MaskedArms(BernoulliBandit(), available=EVEN_ODD))
    assert not masked.exact
    assert "available" in masked.why_not


def test_an_unknown_wrapper_below_leaves_no_answer():
    env = RewardScale(TransformReward(BernoulliBandit(), lambda r: r * r), scale=2.0)
    with pytest.raises(OracleError, match="the wrapper TransformReward may change the task"):
        env.oracle()
    assert find_answer_key(env).oracle is None


def test_time_limits_below_count():
    assert RewardScale(TimeLimit(BernoulliBandit([1.0]), 7)).oracle().optimal_return == 7.0
    assert RewardScale(TimeLimit(BernoulliBandit([1.0]), 7)).oracle(3).optimal_return == 3.0


@pytest.mark.parametrize(
    ("wrapper", "keywords", "sentence"),
    [
        (DelayedFeedback, {"delay": -1}, "delay must be a whole number of at least 0, got -1"),
        (DelayedFeedback, {"delay": 1.5}, "delay must be a whole number of at least 0, got 1.5"),
        (DelayedFeedback, {"delay": 1, "distribution": "normal"}, "must be 'fixed' or 'geometric'"),
        (
            DelayedFeedback,
            {"delay": 0.0, "distribution": "geometric"},
            "delay must be a number from 1e-9 to 1e9, got 0.0",
        ),
        (BatchedFeedback, {"every": 0}, "every must be a whole number of at least 1, got 0"),
        (MaskedArms, {"available": [True]}, "available must be bools, [5] or [S, 5]"),
        (MaskedArms, {"available": [1, 1, 1, 1, 1]}, "available must be bools"),
        (MaskedArms, {"available": [[True] * 5, [False] * 5]}, "at step 1 none is"),
        (ArrivingArms, {"arrivals": [0]}, "a step for each of the 5 arms, got 1 and 5"),
        (ArrivingArms, {"arrivals": [1] * 5}, "at step 0 none is"),
        (ArrivingArms, {"arrivals": 5}, "arrivals must be a list with a step for each arm, got 5"),
        (
            ArrivingArms,
            {"arrivals": [0] * 5, "departures": "9"},
            "departures must be a list with a step for each arm, got '9'",
        ),
        (
            ArrivingArms,
            {"arrivals": [-1] + [0] * 4},
            "arrivals must be a whole number of at least 0",
        ),
        (RewardNoise, {"sd": -1.0}, "sd must be a finite number of at least 0, got -1.0"),
        (RewardScale, {"scale": 0.0}, "scale must be a number from 1e-12 to 1e12, got 0.0"),
        (RewardScale, {"shift": float("nan")}, "shift must be a finite number, got nan"),
    ],
)
def test_bad_keywords_get_a_sentence(wrapper, keywords, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        wrapper(BernoulliBandit(), **keywords)


def test_they_wrap_bandits_alone():
    with pytest.raises(SettingError, match="RewardScale wraps the bandits of rlsuite"):
        RewardScale(gym.make("rlsuite/GridWorld-v0"), scale=2.0)
