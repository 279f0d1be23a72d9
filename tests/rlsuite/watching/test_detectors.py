"""Each detector on numbers written by hand: what it sees, and what it does not."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from registry.errors import SettingError
from rlsuite.running.packing import decoded, encoded
from rlsuite.watching.detectors import (
    DETECTORS,
    ConstantLength,
    ConstantReturn,
    DeadGradients,
    EntropyCollapse,
    GrowingQ,
    HugeRewards,
    NotANumber,
    SwingingLoss,
)
from rlsuite.watching.stream import Facts, Stream, facts_of

NAN, INF = math.nan, math.inf


def stream_of(updates=1, **columns):
    """Updates of which each number is a constant or a list."""
    stream = Stream()
    lists = {name: v for name, v in columns.items() if isinstance(v, list)}
    count = max([updates, *map(len, lists.values())])
    for k in range(count):
        row = {name: v[k] if isinstance(v, list) else v for name, v in columns.items()}
        stream.add({"num_timesteps": 10 * (k + 1), **row})
    return stream


@pytest.mark.parametrize(
    ("numbers", "seen"),
    [
        ({"loss": 1.0, "entropy": 0.5, "q_mean": 3.0}, False),
        ({"loss": NAN}, True),
        ({"policy_loss": INF}, True),
        ({"q_max": -INF}, True),
        ({"entropy": NAN}, True),
        ({"value_loss": [1.0, NAN]}, True),
        ({"value_loss": [NAN, NAN]}, False),  # an agent without values
        ({"episode_return": NAN, "explained_variance": NAN, "gradient_norm": NAN}, False),
    ],
)
def test_not_a_number(numbers, seen):
    assert NotANumber().sees(stream_of(**numbers), Facts()) is seen
    assert NotANumber().fatal


TWO = Facts(largest_entropy=math.log(2))


@pytest.mark.parametrize(
    ("entropy", "returns", "facts", "seen"),
    [
        ([0.69, 0.03, 0.03, 0.03], 20.0, TWO, True),  # below 0.05 log 2 = 0.0347
        ([0.69, 0.03, 0.04, 0.03], 20.0, TWO, False),  # not three times in a row
        ([0.03, 0.03], 20.0, TWO, False),
        (
            [0.69, 0.03, 0.03, 0.03],
            [20.0, 20.0, 20.0, 22.1],
            TWO,
            False,
        ),  # 10% better than at first
        ([0.69, 0.03, 0.03, 0.03], [20.0, 20.0, 20.0, 21.9], TWO, True),
        ([0.69, 0.03, 0.03, 0.03], [-20.0, -20.0, -20.0, -17.0], TWO, False),
        ([0.69, 0.03, 0.03, 0.03], NAN, TWO, False),  # no episode has ended: nobody knows
        ([0.0, 0.0, 0.0], [20.0, 30.0, 90.0], TWO, True),  # wholly certain, whatever it pays
        ([1.4, -2.6, -2.6, -2.6], 0.0, Facts(dimensions=1), True),  # 1.4 - log 50 = -2.51
        ([1.4, -2.4, -2.4, -2.4], 0.0, Facts(dimensions=1), False),
        ([2.8, -4.9, -4.9, -4.9], 0.0, Facts(dimensions=2), False),  # 2.8 - 2 log 50 = -5.02
        ([2.8, -5.1, -5.1, -5.1], 0.0, Facts(dimensions=2), True),
        ([2.8, -5.1, -5.1, -5.1], [0.0, 0.0, 0.0, 1.0], Facts(dimensions=2), False),
    ],
)
def test_entropy_collapse(entropy, returns, facts, seen):
    stream = stream_of(entropy=entropy, episode_return=returns)
    assert EntropyCollapse().sees(stream, facts) is seen


@pytest.mark.parametrize(
    ("q", "returns", "lengths", "gamma", "seen"),
    [
        ([300.0, 301.0, 302.0, 303.0, 304.0], 20.0, 20.0, 0.5, True),  # bound 10 * 20
        ([190.0, 301.0, 302.0, 303.0, 304.0], 20.0, 20.0, 0.5, False),
        ([305.0, 304.0, 303.0, 302.0, 301.0], 20.0, 20.0, 0.5, False),  # falling again
        ([-300.0, -301.0, -302.0, -303.0, -304.0], -20.0, 20.0, 0.5, True),
        ([300.0, 301.0, 302.0, 303.0, 304.0], 20.0, 20.0, 0.99, False),  # 1 a step for 100 steps
        ([9.0, 9.1, 9.2, 9.3, 9.4], 0.0, 20.0, 0.99, False),  # the bound is at least 10 * 1
        ([11.0, 11.1, 11.2, 11.3, 11.4], 0.0, 20.0, 0.99, True),
        ([300.0, 301.0, 302.0, 303.0, 304.0], [99.0, 20.0, 20.0, 20.0, 20.0], 20.0, 0.5, False),
        ([300.0, 301.0, 302.0, 303.0, 304.0], 20.0, 20.0, 1.0, True),
        ([300.0, 301.0, 302.0, 303.0, 304.0], NAN, NAN, 0.5, False),  # nothing to compare with
    ],
)
def test_growing_q(q, returns, lengths, gamma, seen):
    stream = stream_of(q_mean=q, episode_return=returns, episode_length=lengths)
    assert GrowingQ().sees(stream, Facts(gamma=gamma)) is seen


@pytest.mark.parametrize(
    ("losses", "normalized", "seen"),
    [
        ([0.1, -0.1] * 10, True, True),  # standard deviation 0.1 / (1 + 1) = 0.05
        ([0.07, -0.07] * 10, True, False),
        ([0.1, -0.1] * 9, True, False),  # not 20 updates yet
        ([k / 50 for k in range(20)], True, False),  # falls or rises, and does not turn
        ([3.0, -3.0] * 10, False, True),  # 3 / ((1 + 1)(1 + 1)) = 0.75
        ([2.0, -2.0] * 10, False, False),
    ],
)
def test_swinging_loss(losses, normalized, seen):
    stream = stream_of(policy_loss=losses, entropy=-1.0, advantage_mean=-1.0, advantage_std=1.0)
    facts = Facts(normalized_advantages=normalized)
    assert SwingingLoss().sees(stream, facts) is seen


def test_a_loss_without_advantages_has_no_scale():
    stream = stream_of(policy_loss=[9.0, -9.0] * 10, entropy=0.1)
    assert not SwingingLoss().sees(stream, Facts())


@pytest.mark.parametrize(
    ("lengths", "returns", "natural", "seen"),
    [
        (7.0, 1.0, (), True),
        (7.0, 1.0, (7,), False),  # a time limit
        (7.0, 1.0, (8,), True),
        (1.0, 1.0, (), False),  # bandits
        ([7.5, *[7.0] * 11], 1.0, (), True),  # varied once, and is no better now
        ([7.5, *[7.0] * 11], [1.0, *[2.0] * 11], (), False),  # solved, the same way each time
        (7.0, [1.0, *[2.0] * 11], (), True),  # never varied
        (7.5, 1.0, (), False),  # a mean of different lengths
        ([*[7.0] * 6, *[8.0] * 6], 1.0, (), False),
    ],
)
def test_constant_length(lengths, returns, natural, seen):
    """Ten episodes an update, so that the twelfth is the 120th."""
    episodes = [10.0 * (k + 1) for k in range(12)]
    stream = stream_of(episode_length=lengths, episode_return=returns, episodes=episodes)
    facts = Facts(natural_lengths=frozenset(natural))
    assert ConstantLength().sees(stream, facts) is seen


def test_dead_gradients():
    assert DeadGradients().sees(stream_of(10, gradient_norm=1e-10), Facts())
    assert not DeadGradients().sees(stream_of(9, gradient_norm=1e-10), Facts())
    assert not DeadGradients().sees(stream_of(10, gradient_norm=[*[0.0] * 9, 1e-3]), Facts())
    assert not DeadGradients().sees(stream_of(10, gradient_norm=NAN), Facts())
    for shares, seen in (
        ([0.99] * 8, True),
        ([0.99] * 7, False),
        ([*[0.99] * 4, 0.5, *[0.99] * 4], False),
        ([NAN] * 8, False),
    ):
        stream = stream_of(gradient_norm=1.0)
        for share in shares:
            stream.look(share)
        assert DeadGradients().sees(stream, Facts()) is seen


@pytest.mark.parametrize(
    ("returns", "episodes", "total", "seen"),
    [
        (0.0, [100.0, 300.0, 499.0], INF, False),
        (0.0, [100.0, 300.0, 500.0], INF, True),
        ([1.0, 0.0, 0.0], [100.0, 300.0, 500.0], INF, False),  # it has changed
        (NAN, [0.0, 0.0, 0.0], INF, False),
        (0.0, [10.0, 15.0, 20.0], 120, True),  # a quarter of the budget: 30 of 120 steps
        (0.0, [10.0, 15.0, 19.0], 120, False),
        (0.0, [100.0, 300.0, 500.0], 121, False),
    ],
)
def test_constant_return(returns, episodes, total, seen):
    stream = stream_of(episode_return=returns, episodes=episodes)
    assert ConstantReturn().sees(stream, Facts(total_timesteps=total)) is seen


@pytest.mark.parametrize(
    ("returns", "lengths", "normalized", "seen"),
    [
        (2.1e7, 20.0, False, True),  # more than a million a step
        (-2.1e7, 20.0, False, True),
        (1.9e7, 20.0, False, False),
        ([2.1e7, 20.0], 20.0, False, True),  # once is enough
        (2.1e7, 20.0, True, False),
        (NAN, NAN, False, False),
    ],
)
def test_huge_rewards(returns, lengths, normalized, seen):
    stream = stream_of(episode_return=returns, episode_length=lengths)
    assert HugeRewards().sees(stream, Facts(normalized_rewards=normalized)) is seen


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.kind)
def test_nothing_is_seen_before_the_first_update_or_without_the_numbers(detector):
    assert not detector.sees(Stream(), Facts())
    assert not detector.sees(stream_of(20, something=1.0), Facts())
    assert detector.sentence.endswith(".")
    assert detector.sentence.count(".") == 1  # one sentence


@pytest.mark.parametrize(
    ("detector", "setting", "said"),
    [
        (
            EntropyCollapse,
            {"share": 0.0},
            "EntropyCollapse.share must be above 0 and below 1, got 0",
        ),
        (GrowingQ, {"factor": 1.0}, "GrowingQ.factor must be above 1"),
        (SwingingLoss, {"updates": 21}, "SwingingLoss.updates must be above 2 and below 21"),
        (ConstantLength, {"episodes": 50}, "ConstantLength.episodes must be above 99"),
        (DeadGradients, {"looks": True}, "DeadGradients.looks must be"),
        (HugeRewards, {"limit": 0}, "HugeRewards.limit must be above 0"),
        (ConstantReturn, {"part": 2}, "ConstantReturn.part must be above 0 and below 1, got 2"),
    ],
)
def test_settings_are_checked(detector, setting, said):
    with pytest.raises(SettingError, match=said):
        detector(**setting)


def test_a_stream_that_goes_on_is_the_same():
    rows = {"episode_return": [NAN, 1.0, 1.0, 2.0], "episode_length": 3.0, "loss": [1, 2, NAN, 4]}
    whole, other = stream_of(**rows, episodes=5.0), Stream()
    other.restore(decoded(encoded(whole.state())))
    assert repr(other.state()) == repr(whole.state())


class Fixed(gym.Env):
    """Says that it ends after 9 steps."""

    horizon = 9
    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.MultiDiscrete([2, 5])


class Agent:
    """Only settings."""

    class config:
        gamma = 0.5
        normalize_advantage = True
        normalize_rewards = True


def test_facts_are_taken_from_agent_and_environment():
    facts = facts_of(Agent(), TimeLimit(Fixed(), 4), 100)
    assert facts.largest_entropy == pytest.approx(math.log(10))
    assert (facts.gamma, facts.normalized_advantages) == (0.5, True)
    assert facts.normalized_rewards
    assert facts.natural_lengths == {4, 9}
    assert (facts.dimensions, facts.total_timesteps) == (0, 100)
    pendulum = facts_of(object(), gym.make_vec("Pendulum-v1", 2, vectorization_mode="sync"))
    assert (pendulum.largest_entropy, pendulum.dimensions, pendulum.gamma) == (0.0, 1, 0.99)
    assert pendulum.natural_lengths == {200}
    assert pendulum.total_timesteps == INF
