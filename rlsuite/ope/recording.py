"""Writes the log of an agent that acts, and learns while it does."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.contracts import Transition
from registry.errors import DataError, SettingError, UnsupportedSpaceError
from registry.seeding import Stream, check_seed, generator, integer_seed
from rlsuite.collecting import Watched
from rlsuite.episodes import Seat
from rlsuite.evaluation import MAX_STEPS, check_whole
from rlsuite.making import make_agent, make_environment
from rlsuite.ope.log import BanditLog
from rlsuite.views import AgentView

__all__ = ["record"]


def record(
    agent: Any,
    env: str | gym.Env[Any, Any],
    steps: int,
    *,
    seed: int = 0,
    learn: bool = True,
    **settings: Any,
) -> BanditLog:
    """Lets an agent act and keeps every decision with its true probability.

    Before each decision the agent is asked for the probabilities of all actions, then for its
    action; only then it learns. Every step counts as a decision for itself, as in a bandit.

    Args:
        agent: the id of an agent, which is made for `env`; or an agent with
            `action_probabilities`.
        env: the id of an environment, or one made by `gymnasium.make`; actions are `Discrete`,
            observations `Box` or `Discrete`. The agent does not see its answer key.
        steps: how many decisions, at least 1.
        seed: root of all that the environment draws, and an agent that is made here.
        learn: whether the agent learns from each decision; a `StepAgent` does.
        **settings: of an agent that is made here.

    Returns:
        The log. Where rewards come later (`info["feedback"]`), each stands beside its decision, and
        decisions whose reward has not arrived are left out.

    Raises:
        SettingError: a number out of range, settings for an agent that is there already, or one
            that states no probabilities or cannot learn step by step.
        UnsupportedSpaceError: other spaces.
        DataError: the agent took an action to which it had given the probability 0, or nothing
            was left in the log.
    """
    check_whole("steps", steps)
    check_seed(seed)
    with ExitStack() as stack:
        if isinstance(env, str):
            env = stack.enter_context(closing(make_environment(env)))
        view = AgentView(env)
        _check_spaces(view)
        if isinstance(agent, str):
            agent = make_agent(agent, view, seed=seed, **settings)
        elif settings:
            raise SettingError(
                f"{', '.join(settings)} cannot be set: the agent is there already. Settings are "
                "for an agent that is made here, from its id."
            )
        _check_agent(agent, learn)
        recorder = _Recorder(agent, view, seed, learn)
        for _ in range(steps):
            recorder.step()
        return recorder.log()


class _Recorder:
    """The columns of a log, and the loop that fills them."""

    def __init__(self, agent: Any, env: gym.Env[Any, Any], seed: int, learn: bool) -> None:
        self.agent, self.learn = agent, learn
        self.root = integer_seed(seed, Stream.DATA)
        self.rng = generator(seed, Stream.POLICY)
        self.watched = Watched(env)
        self.seat = Seat(self.watched)
        space: Any = env.action_space
        self.first, self.n_actions = int(space.start), int(space.n)
        self.over, self.episode = True, 0
        self.rows: list[tuple[Any, ...]] = []
        self.rewards: list[float] = []  # NaN until one has come
        self.masked = False

    def step(self) -> None:
        """One decision."""
        seat = self.seat
        if self.over:
            seat.start(self.episode, self.root)
            self.episode += 1
            self.start = len(self.rows)  # decisions are counted from 0 in every episode
            if self.learn and self.watched.info.get("new_instance"):
                getattr(self.agent, "forget", lambda: None)()
        before, mask = np.array(seat.observation), seat.mask
        pi = self._probabilities(before, mask)
        action, extras = self._action(before, mask, pi)
        self.masked |= mask is not None
        allowed = np.ones(self.n_actions, bool) if mask is None else np.array(mask, bool)
        index = int(action) - self.first
        if not pi[index] > 0:
            raise DataError(
                f"decision {len(self.rows)}: {type(self.agent).__name__} took action {index}, to "
                "which its action_probabilities had given the probability 0; such a log would be "
                "worth nothing."
            )
        self.rows.append((before.ravel(), index, min(float(pi[index]), 1.0), allowed, pi))
        self.over = seat.step(action, MAX_STEPS) is not None
        taken, reward, after, terminated, truncated = self.watched.last
        self._pay(reward)
        if self.learn:
            self.agent.observe(
                Transition(
                    before,
                    taken,
                    reward,
                    after,
                    terminated,
                    bool(truncated),
                    mask,
                    seat.mask,
                    self.watched.info,
                    extras,
                )
            )
            self.agent.num_timesteps = getattr(self.agent, "num_timesteps", 0) + 1

    def _probabilities(self, observation: Any, mask: Any) -> NDArray[np.float64]:
        keywords = {} if mask is None else {"mask": np.asarray(mask)[None]}
        pi = self.agent.action_probabilities(observation[None], deterministic=False, **keywords)
        return np.array(pi, np.float64)[0]

    def _action(self, observation: Any, mask: Any, pi: NDArray[np.float64]) -> tuple[Any, Any]:
        """The agent's own, where it learns; else drawn here, by inverse CDF from one uniform."""
        if self.learn:
            action, extras = self.agent.act(observation, mask, self.agent.rng)
            return action, extras
        chosen = np.searchsorted(pi.cumsum(), self.rng.random() * pi.sum(), side="right")
        return min(int(chosen), int(np.flatnonzero(pi)[-1])) + self.first, {}

    def _pay(self, reward: float) -> None:
        """Puts the reward, or those that arrive now, beside their decisions."""
        feedback = self.watched.info.get("feedback")
        self.rewards.append(float("nan") if feedback is not None else reward)
        if feedback is not None:
            for number, paid in zip(feedback["decision_id"], feedback["reward"], strict=True):
                self.rewards[self.start + int(number)] = float(paid)

    def log(self) -> BanditLog:
        """Every decision that was paid."""
        paid = np.flatnonzero(np.isfinite(self.rewards))
        if not len(paid):
            raise DataError(
                "no reward has arrived yet, so there is nothing to log: take more steps."
            )
        context, action, propensity, allowed, pi = (
            np.array([self.rows[i][column] for i in paid]) for column in range(5)
        )
        return BanditLog(
            context=context,
            action=action,
            reward=np.array(self.rewards)[paid],
            propensity=propensity,
            action_mask=allowed if self.masked else None,
            probabilities=pi / pi.sum(axis=1, keepdims=True),
            decision_id=paid,
            n_actions=self.n_actions,
        )


def _check_spaces(env: gym.Env[Any, Any]) -> None:
    for name, space, kinds in (
        ("observations", env.observation_space, (Box, Discrete)),
        ("actions", env.action_space, (Discrete,)),
    ):
        if not isinstance(space, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise UnsupportedSpaceError(
                f"a log of decisions holds {name} of {wanted}, got {space}."
            )


def _check_agent(agent: Any, learn: bool) -> None:
    name = type(agent).__name__
    if not callable(getattr(agent, "action_probabilities", None)):
        raise SettingError(
            f"{name} has no action_probabilities: without the probability of each action a log is "
            "of no use for evaluating other policies."
        )
    for method in ("act", "observe") if learn else ():
        if not callable(getattr(agent, method, None)):
            raise SettingError(
                f"{name} has no method {method}, so it cannot learn step by step; learn=False logs "
                "it as it is."
            )
