"""What goes wrong in a training, seen in the numbers of its updates: one detector for each fault.

A detector is a frozen value, its settings; `sees(stream, facts)` answers from the latest updates
and from what is known of agent and task. Of updates that follow each other within 64 steps only the
first is looked at. None of them holds state, and none draws or changes anything.

    kind                looks at
    not a number        losses, Q values, entropy
    entropy collapse    entropy, episode_return
    growing Q values    q_mean and whatever else begins with q_, episode_return, episode_length
    swinging loss       policy_loss, entropy, advantage_mean, advantage_std
    constant length     episode_length, episode_return, episodes
    dead gradients      gradient_norm, and the gradients of the hidden layers' biases
    constant return     episode_return, episodes
    huge rewards        episode_return, episode_length

An agent that does not tell one of these numbers is not watched for that fault.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.errors import SettingError
from rlsuite.watching.stream import Facts, Stream, must_be_finite

__all__ = [
    "DETECTORS",
    "ConstantLength",
    "ConstantReturn",
    "DeadGradients",
    "Detector",
    "EntropyCollapse",
    "GrowingQ",
    "HugeRewards",
    "NotANumber",
    "SwingingLoss",
]


class Detector(Protocol):
    """Sees one fault."""

    @property
    def kind(self) -> str:
        """What the fault is called, in two or three words."""
        ...

    @property
    def sentence(self) -> str:
        """What was seen, its likely cause, and what helps."""
        ...

    @property
    def fatal(self) -> bool:
        """Whether the training is to stop."""
        ...

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NotANumber:
    """A loss, a Q value or the entropy is NaN or infinite."""

    kind = "not a number"
    fatal = True
    sentence = (
        "a loss, a Q value or the entropy is NaN or infinite: the training has diverged and stops; "
        "lower the learning rate, or scale rewards and observations."
    )

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        return any(
            must_be_finite(name) and not math.isfinite(value)
            for name, value in stream.latest.items()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EntropyCollapse:
    """Actions are all but certain while returns are no better than at first, or wholly certain."""

    share: float = 0.05  # of the largest entropy that the actions allow, in (0, 1)
    shrink: float = 50.0  # how much narrower a density got in every dimension, above 1
    certain: float = 1e-6  # share, and shrinkage, from which on returns do not matter, in (0, 1)
    updates: int = 3  # in a row, at most 20
    gain: float = 0.1  # of the first return by which it must have risen to be called better

    kind = "entropy collapse"
    fatal = False
    sentence = (
        "the entropy has all but vanished early: the policy became certain before it had learned, "
        "and explores no more; raise ent_coef (it must not be negative), or lower learning_rate."
    )

    def __post_init__(self) -> None:
        _check(self, share=(0, 1), shrink=(1, math.inf), certain=(0, 1), updates=(0, 21))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        found = stream.last("entropy", self.updates)
        if len(found) < self.updates:
            return False
        floor, certain = self._floors(stream.first["entropy"], facts)
        return max(found) < certain or (max(found) < floor and not self._better(stream))

    def _floors(self, first: float, facts: Facts) -> tuple[float, float]:
        """Entropies of actions that are all but certain, and of those that are wholly certain."""
        if facts.dimensions:
            narrower = math.log(self.shrink), -math.log(self.certain)
            return first - facts.dimensions * narrower[0], first - facts.dimensions * narrower[1]
        return self.share * facts.largest_entropy, self.certain * facts.largest_entropy

    def _better(self, stream: Stream) -> bool:
        """Whether returns have risen; where no episode has ended nobody knows, and they may."""
        first, now = stream.first.get("episode_return"), stream.latest.get("episode_return")
        return first is None or now is None or now > first + self.gain * abs(first)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowingQ:
    """Q values are far beyond any return, and grow."""

    factor: float = 10.0  # times the largest return that was seen or can be extrapolated, above 1
    updates: int = 5  # in a row, at most 20

    kind = "growing Q values"
    fatal = False
    sentence = (
        "the Q values are many times larger than any return and grow on: the targets chase "
        "themselves; raise target_update_interval (or lower tau), lower the learning rate, or "
        "scale the rewards down."
    )

    def __post_init__(self) -> None:
        _check(self, factor=(1, math.inf), updates=(1, 21))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update.

        The bound is the largest |mean return| so far, or, if that is more, the largest mean reward
        of a step kept up for 1 / (1 - γ) steps; but at least 1.
        """
        steps = 1.0 / (1.0 - facts.gamma) if facts.gamma < 1 else 0.0
        bound = max(stream.peak("episode_return"), stream.largest_reward * steps, 1.0)
        names = [name for name in stream.latest if name.startswith("q_")]
        return "episode_return" in stream.first and any(
            self._grows(stream.last(name, self.updates), self.factor * bound) for name in names
        )

    def _grows(self, values: Sequence[float], limit: float) -> bool:
        sizes = [abs(value) for value in values]
        return len(sizes) == self.updates and min(sizes) > limit and sizes[-1] > sizes[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class SwingingLoss:
    """The policy loss swings up and down, far more than noise makes it.

    In healthy runs of PPO on Gymnasium's classic control tasks, whose advantages are normalised,
    the standard deviation over 20 updates stayed below 0.02, of A2C below 0.5.
    """

    updates: int = 20  # looked at, at most 20
    swing: float = 0.6  # standard deviation of the loss in units of its scale, above 0
    normalized_swing: float = 0.04  # the same where advantages are normalised in each minibatch
    turns: float = 0.4  # share of updates at which it changes direction, in (0, 1)

    kind = "swinging loss"
    fatal = False
    sentence = (
        "the policy loss swings up and down far more than noise makes it: each update overshoots; "
        "lower the learning rate or clip_range, take larger batches or fewer epochs, or set "
        "target_kl."
    )

    def __post_init__(self) -> None:
        _check(self, updates=(2, 21), turns=(0, 1))
        _check(self, swing=(0, math.inf), normalized_swing=(0, math.inf))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update.

        The loss is a mean of -log π A, so its scale is that of the advantages, which is 1 where
        they are normalised, times 1 + |entropy|, because E[-log π] is the entropy. Where they are
        normalised and the ratio is about 1, the mean is about 0, whatever they are.
        """
        rows = stream.recent[-self.updates :]
        needed = {"policy_loss", "entropy", "advantage_mean", "advantage_std"}
        if len(rows) < self.updates or not needed <= rows[-1].keys():
            return False
        losses = [row["policy_loss"] / _loss_scale(row, facts) for row in rows]
        mean = sum(losses) / len(losses)
        spread = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / len(losses))
        steps = [b - a for a, b in itertools.pairwise(losses)]
        turned = sum(a * b < 0 for a, b in itertools.pairwise(steps))
        swing = self.normalized_swing if facts.normalized_advantages else self.swing
        return spread > swing and turned > self.turns * len(losses)


def _loss_scale(row: Mapping[str, float], facts: Facts) -> float:
    scale = 1.0
    if not facts.normalized_advantages:
        scale = max(abs(row["advantage_mean"]) + row["advantage_std"], 1e-12)
    return scale * (1.0 + abs(row["entropy"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantLength:
    """All episodes have the same length, and no time limit explains it."""

    episodes: int = 100  # of the same length, at least 100: the metric is a mean over so many

    kind = "constant length"
    fatal = False
    sentence = (
        "all episodes end after the same number of steps, which is no time limit: the agent or the "
        "environment fails at the same step each time; look at what ends its episodes, and if the "
        "task is of fixed length give it max_episode_steps or an attribute horizon."
    )

    def __post_init__(self) -> None:
        _check(self, episodes=(99, math.inf))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update.

        Lengths that varied before are a fault only while returns are no better than at first: who
        has solved a task may solve it in the same number of steps each time.
        """
        length = stream.latest.get("episode_length", math.nan)
        natural = length <= 1 or length in facts.natural_lengths
        if natural or not length.is_integer() or stream.same("episode_length") < self.episodes:
            return False
        first, now = stream.first.get("episode_return"), stream.latest.get("episode_return")
        better = first is not None and now is not None and now > first
        return not (better and stream.varied("episode_length"))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadGradients:
    """Next to nothing is left of the gradient, or all of it misses the hidden layers of a network.

    A unit without any gradient in its bias is one that no input of the minibatch reaches: a ReLU
    below 0, or a tanh that is saturated.
    """

    norm: float = 1e-9  # of the gradient, above 0
    updates: int = 10  # in a row, at most 20
    share: float = 0.98  # of the hidden units of one network, in (0, 1)
    looks: int = 8  # in a row, at most 20

    kind = "dead gradients"
    fatal = False
    sentence = (
        "hardly any gradient reaches the weights any more: units are dead (ReLU) or saturated "
        "(tanh), as after too large a step or from inputs that are too large; lower the learning "
        "rate, and normalise observations and rewards."
    )

    def __post_init__(self) -> None:
        _check(self, norm=(0, math.inf), updates=(0, 21), share=(0, 1), looks=(0, 21))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        norms, looks = stream.last("gradient_norm", self.updates), stream.looks[-self.looks :]
        return (len(norms) == self.updates and max(norms) < self.norm) or (
            len(looks) == self.looks and min(looks) >= self.share
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantReturn:
    """The mean return has never changed."""

    episodes: int = 500  # without any change since the first one, where no budget is known
    part: float = 0.25  # of the budget without any change, where it is known, in (0, 1)
    few: int = 20  # episodes that must have ended then

    kind = "constant return"
    fatal = False
    sentence = (
        "every episode so far has had the same return, so there was nothing to learn from: the "
        "reward is constant, or too rare to be met by chance; explore more, shape the reward, or "
        "check it."
    )

    def __post_init__(self) -> None:
        _check(self, episodes=(0, math.inf), few=(0, math.inf), part=(0, 1))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        if "episode_return" not in stream.first or stream.varied("episode_return"):
            return False
        episodes = stream.latest.get("episodes", 0.0)
        if math.isinf(facts.total_timesteps):
            return episodes >= self.episodes
        gone = stream.latest["num_timesteps"] / facts.total_timesteps
        return episodes >= self.few and gone >= self.part


@dataclass(frozen=True, kw_only=True, slots=True)
class HugeRewards:
    """Rewards of a size that no network comes to predict, and that hides all other faults.

    Adam moves each weight by about the learning rate a step, whatever the size of the error.
    """

    limit: float = 1e6  # of the |mean reward of a step|, above 0

    kind = "huge rewards"
    fatal = False
    sentence = (
        "rewards are so large that a network cannot follow them: values of this size lie out of "
        "reach of its steps, whatever the loss looks like; scale rewards to about 1 a step, or set "
        "normalize_rewards where the agent has it."
    )

    def __post_init__(self) -> None:
        _check(self, limit=(0, math.inf))

    def sees(self, stream: Stream, facts: Facts) -> bool:
        """Whether the fault is there after the latest update."""
        return stream.largest_reward > self.limit and not facts.normalized_rewards


def _check(detector: object, **ranges: tuple[float, float]) -> None:
    """Raises `SettingError` unless each setting lies strictly between its two bounds."""
    for name, (low, high) in ranges.items():
        value = getattr(detector, name)
        if isinstance(value, bool) or not low < value < high:
            raise SettingError(
                f"{type(detector).__name__}.{name} must be above {low:g} and below {high:g}, got "
                f"{value!r}."
            )


DETECTORS: tuple[Detector, ...] = (
    NotANumber(),
    EntropyCollapse(),
    GrowingQ(),
    SwingingLoss(),
    ConstantLength(),
    DeadGradients(),
    ConstantReturn(),
    HugeRewards(),
)
"""All of them."""
