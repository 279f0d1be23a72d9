"""What all bandit policies have in common: everything but their rules.

A policy is a NamedTuple of arrays and numbers, its beliefs, and five functions over it
(`BanditRules`). The agent keeps rows as lists, which are faster one number at a time; compiled runs
(`parts.bandit_runs`) hand the same functions arrays, and get the same bits.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel
from registry.bandit_runs import BanditBlock
from registry.contracts import Callback, Transition
from registry.errors import (
    CheckpointError,
    InvalidActionError,
    InvalidObservationError,
    SettingError,
)
from registry.seeding import Stream, generator
from rlsuite_agents.loops import Session, learn_online
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.predict import context_free, predict
from rlsuite_agents.parts.spaces import discrete_size, on_cpu
from rlsuite_agents.parts.tables import arrays_of

__all__ = ["BanditPolicy", "BanditRules"]

Row = NDArray[np.float64]


class BanditRules(NamedTuple):
    """A context-free policy. `choose`, `update` and `best` also run compiled.

    x are the beliefs, `mask` [K] the allowed arms or None.
    """

    start: Callable[[Any, int], Any]  # (config, n_arms) -> x, a NamedTuple of arrays and numbers
    choose: Callable[[Any, Any, Any], int]  # (x, mask, rng) -> arm
    update: Callable[[Any, int, float], None]  # (x, arm, reward)
    probabilities: Callable[[Any, Any], Row]  # (x, mask) -> chance of each arm in `choose`, [K]
    best: Callable[[Any, Any], int]  # (x, mask) -> the arm believed to be the best, lowest index


class BanditPolicy:
    """An agent that learns which of K arms pays best, whatever it observes.

    Attributes:
        beliefs: What the policy knows and its settings; rows are lists.
        logs: Whether `act` reports the `probability` of the arm it took, in its extras. It is the
            true marginal one, before any draw; for Thompson sampling it costs a quadrature.
        pending: Decisions whose reward has not come yet, by number: the arm and what `update` needs
            to know of the moment of the decision.
    """

    id: ClassVar[str]
    config_type: ClassVar[type]
    rules: ClassVar[BanditRules]
    unit_rewards: ClassVar[bool] = False  # rewards outside [0, 1] are refused
    remembers: ClassVar[tuple[str, ...]] = ()  # rows that `choose` writes and `update` reads
    draws_uniforms_alone: ClassVar[bool] = True  # False where a rule needs a whole Generator

    predict = predict

    def __init__(self, env: Any, config: Any = None, *, seed: int, device: str = "cpu") -> None:
        name = type(self).__name__
        on_cpu(device, name)
        self.n_arms = discrete_size(env.action_space, f"{name}'s action space")
        self.env, self.num_timesteps = env, 0
        self.config = self.config_type() if config is None else config
        self.rng, self.prediction_rng = (generator(seed, Stream.AGENT, k) for k in (0, 1))
        self.session = Session(env, seed)
        self.logs = False
        self.pending: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self.decisions = 0
        self.forget()

    def forget(self) -> None:
        """Starts over with other arms; what was decided about the old ones no longer counts."""
        self.beliefs = _with_lists(self.rules.start(self.config, self.n_arms))
        self.pending.clear()
        self._rows: dict[bytes | None, Row] = {}

    def act(
        self, observation: Any, mask: Any, rng: np.random.Generator
    ) -> tuple[int, dict[str, Any]]:
        """An arm, and what `observe` needs to know about the moment it was chosen.

        Raises:
            InvalidObservationError: `mask` is not [K], or allows no arm.
        """
        mask = self._allowed(mask)
        row = self._row(observation, mask, False) if self.logs else None
        arm = self._choose(observation, mask, rng)
        extras: dict[str, Any] = {
            name: list(getattr(self.beliefs, name)) for name in self.remembers
        }
        if row is not None:
            extras["probability"] = float(row[arm])
        return arm, extras

    def observe(self, transition: Transition) -> None:
        """Learns from one pull, or from the late rewards that `info["feedback"]` brings instead.

        Raises:
            InvalidActionError: the arm is none of the agent's.
            InvalidObservationError: the reward is not finite, or outside [0, 1] where it must not
                be, or `extras` are not what `act` returned.
        """
        t, info = transition, transition.info
        if "feedback" not in info:
            self._learn(t.observation, t.action, t.reward, t.extras)
            return
        # numbers of the environment start anew in each episode: kept apart from those of `decide`
        self.pending[-1 - int(info["decision_id"])] = int(t.action), t.extras
        late = info["feedback"]
        columns = (late["decision_id"], late["reward"], late["observation"])
        for decision, reward, observation in zip(*columns, strict=True):
            arm, extras = self.pending.pop(-1 - int(decision))
            self._learn(observation, arm, float(reward), extras)
        if t.terminated or t.truncated:
            self._give_up()

    def _give_up(self) -> None:
        """An episode is over, and rewards that have not come by now never will."""
        lost = [number for number in self.pending if number < 0]
        for number in lost:
            del self.pending[number]
        if lost:
            warnings.warn(
                f"{type(self).__name__}: an episode ended before {len(lost)} of its late rewards "
                "had come; put a TimeLimit inside DelayedFeedback or BatchedFeedback, not around.",
                stacklevel=3,
            )

    def decide(self, observation: Any = None, mask: Any = None) -> tuple[int, int]:
        """A decision whose reward comes later: its number, for `feedback`, and the arm.

        Raises:
            InvalidObservationError: the mask does not say of each arm whether it is allowed, or
                allows none.
        """
        arm, extras = self.act(observation, mask, self.rng)
        decision, self.decisions = self.decisions, self.decisions + 1
        self.pending[decision] = arm, extras
        return decision, arm

    def feedback(self, decision: int, reward: float) -> None:
        """Learns from the reward of a decision, in any order, once for each.

        Raises:
            InvalidObservationError: no decision of that number waits for a reward, or the reward
                is not one.
        """
        if decision not in self.pending:
            raise InvalidObservationError(
                f"no decision {decision!r} waits for its reward: {type(self).__name__} has made "
                f"{self.decisions}, and each is rewarded once."
            )
        arm, extras = self.pending[decision]
        self._learn(None, arm, reward, extras)
        del self.pending[decision]

    def add_arm(self, env: Any = None) -> int:
        """Adds an arm of which nothing is known, and returns its number; the others keep theirs.

        Args:
            env: An environment that has the new arm too, to learn in from now on. Without it the
                agent decides and learns by hand.

        Raises:
            SettingError: `env` has another number of arms.
        """
        if env is not None:
            size = discrete_size(env.action_space, f"{type(self).__name__}'s action space")
            if size != self.n_arms + 1:
                raise SettingError(
                    f"after add_arm there are {self.n_arms + 1} arms, but the environment has "
                    f"{size}."
                )
            self.env, self.session = env, Session(env, int(self.rng.integers(2**31)))
        self._grow()
        return self.n_arms - 1

    def _grow(self) -> None:
        self.n_arms += 1
        fresh = self.rules.start(self.config, self.n_arms)
        self.beliefs = _with_lists(fresh, self.beliefs)
        self._rows.clear()

    def learn(self, total_timesteps: int, callback: Callback | None = None) -> Self:
        """Takes exactly `total_timesteps` further steps; may be called again.

        Raises:
            SettingError: the environment lacks an arm that was added.
        """
        if self.env.action_space.n != self.n_arms:
            raise SettingError(
                f"{type(self).__name__} has {self.n_arms} arms, but its environment has "
                f"{self.env.action_space.n}: hand add_arm an environment that has the new one."
            )
        learn_online(self, total_timesteps, callback)
        return self

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> Row:
        """π(a): [B, A], the true chances of `act`; or 1 for the arm believed to be the best."""
        return context_free(
            observations, mask, lambda row: self._row(None, self._allowed(row), deterministic)
        )

    def _choose(self, observation: Any, mask: Any, rng: np.random.Generator) -> int:
        return int(self.rules.choose(self.beliefs, mask, rng))

    def _row(self, observation: Any, mask: Any, deterministic: bool) -> Row:
        if deterministic:
            return np.eye(self.n_arms)[self.rules.best(self.beliefs, mask)]
        key = None if mask is None else np.asarray(mask, bool).tobytes()
        if key not in self._rows:
            self._rows[key] = self.rules.probabilities(self.beliefs, mask)
        return self._rows[key]

    def _learn(self, observation: Any, arm: Any, reward: float, extras: Mapping[str, Any]) -> None:
        if not 0 <= arm < self.n_arms:
            raise InvalidActionError(
                f"{type(self).__name__} has the arms 0 to {self.n_arms - 1}, got {arm!r}."
            )
        self._check_reward(arm, reward)
        for name in self.remembers:
            if name not in extras:
                raise InvalidObservationError(
                    f"{type(self).__name__} learns from a pull with the chances it was made with: "
                    f"hand observe the extras that act returned, got {sorted(extras)}."
                )
            row, ours = extras[name], getattr(self.beliefs, name)
            ours[:] = [*row, *[0.0] * (len(ours) - len(row))]  # arms may have been added since
        self._update(observation, int(arm), reward)
        self._rows.clear()

    def _update(self, observation: Any, arm: int, reward: float) -> None:
        self.rules.update(self.beliefs, arm, reward)

    def _allowed(self, mask: Any) -> Any:
        if mask is not None and (np.shape(mask) != (self.n_arms,) or not np.any(mask)):
            raise InvalidObservationError(
                f"a mask allows at least one of the {self.n_arms} arms, got {mask!r:.80}."
            )
        return mask

    def _check_reward(self, arm: int, reward: float) -> None:
        try:
            finite = math.isfinite(reward)
        except TypeError as error:
            raise InvalidObservationError(
                f"a reward is a number, got {reward!r:.80} from arm {arm}."
            ) from error
        if self.unit_rewards and not 0.0 <= reward <= 1.0:
            raise InvalidObservationError(
                f"{type(self).__name__} takes rewards in [0, 1], got {reward!r} from arm {arm}; "
                "rescale them with gymnasium.wrappers.TransformReward."
            )
        if not finite:
            raise InvalidObservationError(f"arm {arm} paid {reward!r}, which is not finite.")

    def saved(self) -> dict[str, NDArray[Any]]:
        """What has been learned, as arrays by name."""
        types = arrays_of(self.rules.start(self.config, self.n_arms))
        return {
            name: np.array(getattr(self.beliefs, name), like.dtype) for name, like in types.items()
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Fills in what `saved` gave."""
        for name, like in arrays_of(self.rules.start(self.config, self.n_arms)).items():
            row = checkpoint.array(name, like.shape, like.dtype).tolist()
            getattr(self.beliefs, name)[:] = row

    def save(self, path: str | PathLike[str]) -> None:
        """Writes all that is needed to go on bit for bit; see `parts.agent_checkpoint`."""
        own = {
            "n_arms": self.n_arms,
            "logs": self.logs,
            "decisions": self.decisions,
            "pending": [[k, arm, dict(extras)] for k, (arm, extras) in self.pending.items()],
        }
        save_agent_checkpoint(self, path, self.saved(), own)

    @classmethod
    def load(cls, path: str | PathLike[str], env: Any = None, device: str = "cpu") -> Self:
        """Reads a checkpoint; without `env` the agent can decide and predict, but not learn."""
        agent, checkpoint = load_agent_checkpoint(cls, path, env, device)
        while agent.n_arms < checkpoint.value("n_arms", int):
            agent._grow()
        agent.restore(checkpoint)
        agent.logs = checkpoint.value("logs", bool)
        agent.decisions = checkpoint.value("decisions", int)
        try:
            agent.pending = {
                int(k): (int(arm), dict(extras))
                for k, arm, extras in checkpoint.value("pending", list)
            }
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: the pending decisions are not readable.") from error
        return agent

    @classmethod
    def run_bandits(
        cls,
        models: BanditModel | Sequence[BanditModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Many whole runs, compiled, with the bits of the plain loop; see `RunsBandits`."""
        from rlsuite_agents.parts.bandit_runs import compiled_runs

        return compiled_runs(cls, models, seed=seed, runs=runs, config=config, marks=marks)


def _with_lists(fresh: Any, old: Any = None) -> Any:
    """Beliefs whose rows are lists; those of `old` are kept, and are shorter where arms are new."""
    values = []
    for name, value in fresh._asdict().items():
        if isinstance(value, np.ndarray):
            row = value.tolist()
            if old is not None:
                kept = getattr(old, name)
                row[: len(kept)] = kept
            value = row
        values.append(value)
    return type(fresh)(*values)
