"""Runs one block of a study: many runs of a policy on a bandit, while it learns.

Where the environment tells its model and the policy plays many runs in one call, that is done
(`registry.bandit_runs`). Elsewhere each run is a training in plain Python; as far as the model is
known it meets the same potential outcomes, so that all policies share their luck.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, arm_reward
from registry.bandit_runs import BanditBlock
from registry.catalogue import registry
from registry.errors import SettingError
from registry.seeding import Stream, generator, integer_seed
from rlsuite.making import build_agent, make_config, make_environment
from rlsuite.records import STUDY, RunRecord
from rlsuite.suite import Cell
from rlsuite.views import AgentView

__all__ = ["SLOPE", "block_record", "marks_of", "model_teller", "play_block"]

HALVINGS = 6
"""Single runs are looked at when the horizon is reached, and half of it, and half of that, ..."""

SLOPE = "lai_robbins"
"""The metric of a block's record that is the asymptotic slope of regret in ln t."""

Floats = NDArray[np.float64]


def marks_of(horizon: int) -> list[int]:
    """The steps at which single runs are looked at, rising; the last is the horizon."""
    return sorted({max(1, horizon >> k) for k in range(HALVINGS + 1)})


def block_record(cell: Cell, blank: RunRecord) -> RunRecord:
    """Plays the block of a cell that has `runs`; `blank` is its record without figures."""
    start = time.perf_counter()
    block = play_block(cell)
    slope = _slope(cell)
    return replace(
        blank,
        metric=STUDY,
        metrics={} if slope is None else {SLOPE: slope},
        block=block,
        regret=float(block.regret_at[:, -1].mean()),
        steps_used=block.runs * block.horizon,
        train_seconds=time.perf_counter() - start,
        notes=() if block.compiled else ("played by the plain loop",),
    )


def play_block(cell: Cell) -> BanditBlock:
    """The runs of a cell."""
    assert cell.runs is not None
    runs = range(*cell.runs)
    with closing(make_environment(cell.task)) as env:
        compiled = _compiled(cell, env, runs)
        return _plain(cell, env, runs) if compiled is None else compiled


def _slope(cell: Cell) -> float | None:
    """Lai and Robbins' constant of the problem; None where it has none, or arms are drawn anew."""
    with closing(make_environment(cell.task)) as env:
        if (tell := model_teller(env, "bandit_model")) is None:
            return None
        model = _models(tell, cell.seed, range(2))
    return model.lai_robbins if isinstance(model, BanditModel) else None


def model_teller(env: gym.Env[Any, Any], method: str) -> Any:
    """The method `bandit_model` or `contextual_model` of an environment; None where it has none.

    It is asked under the wrappers of Gymnasium that change nothing; any other wrapper has to have
    the method itself.
    """
    while True:
        if callable(found := getattr(env, method, None)):
            return found
        if not isinstance(env, OrderEnforcing | PassiveEnvChecker):
            return None
        env = env.env


def _models(tell: Any, seed: int, runs: range) -> BanditModel | list[BanditModel]:
    """The problem of every run; one for all where they are the same."""
    models = [tell(generator(seed, Stream.INSTANCE, r)) for r in runs]
    first = models[0]
    if all(np.array_equal(first.means, m.means) for m in models[1:]):
        return first
    return models


def _compiled(cell: Cell, env: gym.Env[Any, Any], runs: range) -> BanditBlock | None:
    """The block by the policy's own method, or None where it has none for this problem."""
    if not isinstance(cell.choice.agent, str):
        return None
    spec = registry.agent_spec(cell.choice.agent)
    policy = spec.load()
    how: dict[str, Any] = {"seed": cell.seed, "runs": runs}
    how["config"] = make_config(spec, policy, cell.choice.settings)
    tell, draw = model_teller(env, "bandit_model"), model_teller(env, "contextual_model")
    if tell is not None and callable(getattr(policy, "run_bandits", None)):
        marks = marks_of(tell(generator(cell.seed, Stream.INSTANCE, runs[0])).horizon)
        block = policy.run_bandits(_models(tell, cell.seed, runs), marks=marks, **how)
    elif draw is not None and callable(getattr(policy, "run_contextual", None)):
        marks = marks_of(draw(generator(cell.seed, Stream.ENVIRONMENT, runs[0])).horizon)
        block = policy.run_contextual(draw, marks=marks, **how)
    else:
        return None
    assert isinstance(block, BanditBlock)
    return block


def _plain(cell: Cell, env: gym.Env[Any, Any], runs: range) -> BanditBlock:
    """The block by one training after the other."""
    problems = [_outcomes(env, cell.seed, run) for run in runs]
    horizon = problems[0].horizon if problems[0] is not None else cell.total_timesteps
    marks = marks_of(horizon)
    regrets, rewards = np.empty((2, len(runs), horizon))
    simple = np.full((len(runs), len(marks)), np.nan)
    for k, (run, outcomes) in enumerate(zip(runs, problems, strict=True)):
        watched = _Watched(
            env if outcomes is None else outcomes, integer_seed(cell.seed, Stream.ENVIRONMENT, run)
        )
        agent, parts = _agent(cell, watched, run, marks)
        done = 0
        for part in parts:
            _go_on(agent, watched, part - done)
            done = part
            if outcomes is not None:
                simple[k, marks.index(part)] = outcomes.simple_regret(agent, part)
        regrets[k], rewards[k] = watched.rows(horizon)
    return _block(regrets, rewards, marks, simple)


def _agent(cell: Cell, env: _Watched, run: int, marks: list[int]) -> tuple[Any, Sequence[int]]:
    """A fresh agent, and after which steps its training may be interrupted to ask it."""
    seed = integer_seed(cell.seed, Stream.AGENT, run)
    choice, view = cell.choice, AgentView(env)
    if not isinstance(choice.agent, str):
        return choice.agent(view, seed=seed, **choice.settings), marks[-1:]
    spec = registry.agent_spec(choice.agent)
    agent_type = spec.load()
    config = make_config(spec, agent_type, choice.settings)
    agent = build_agent(spec, agent_type, config, view, seed=seed, device="cpu")
    return agent, marks if "split_learn" in spec.promises else marks[-1:]


def _go_on(agent: Any, env: _Watched, steps: int) -> None:
    """So many further decisions; an agent that only predicts is asked for each."""
    if callable(getattr(agent, "learn", None)):
        agent.learn(steps)
        return
    observation, _ = env.reset()
    for _ in range(steps):
        action, _ = agent.predict(observation, deterministic=False)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()


def _block(regrets: Floats, rewards: Floats, marks: list[int], simple: Floats) -> BanditBlock:
    """The sums of runs that are known step by step, [R, T]."""
    summed, optimal = np.cumsum(regrets, axis=1), regrets <= 0.0
    steps = np.array(marks, np.int64)
    return BanditBlock(
        runs=len(regrets),
        horizon=regrets.shape[1],
        regret_sum=summed.sum(axis=0),
        regret_squares=(summed**2).sum(axis=0),
        optimal_sum=optimal.sum(axis=0, dtype=np.float64),
        reward_sum=rewards.sum(axis=0),
        reward_squares=(rewards**2).sum(axis=0),
        marks=steps,
        regret_at=summed[:, steps - 1],
        simple_regret_at=simple,
        reward_total=rewards.sum(axis=1),
        optimal_total=optimal.sum(axis=1, dtype=np.float64),
        compiled=False,
    )


class _Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Notes regret and reward of every step, and seeds the first reset."""

    stateless = True
    changes_nothing = False  # a compiled loop would pass it by

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._seed: int | None = seed
        self._regrets: list[float] = []
        self._rewards: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """By the seed of the run the first time, and unseeded later, whatever the agent asks."""
        seed, self._seed = self._seed, None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step and notes it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "regret" not in info:
            raise SettingError(
                "a study needs a bandit, which tells the regret of every step in info['regret']; "
                f"{self.env} does not."
            )
        self._regrets.append(float(info["regret"]))
        self._rewards.append(float(reward))
        return observation, reward, terminated, truncated, info

    def rows(self, steps: int) -> tuple[list[float], list[float]]:
        """Regrets and rewards of so many steps.

        Raises:
            SettingError: the agent took another number of steps.
        """
        if len(self._regrets) != steps:
            raise SettingError(
                f"the agent was to take {steps} steps, and took {len(self._regrets)}: its runs "
                "cannot be compared step by step."
            )
        return self._regrets, self._rewards


class _Outcomes(gym.Env[Any, Any]):
    """One run whose potential outcomes are known beforehand; `pay(t, arm)` is one of them."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        contexts: Any,
        gaps: Floats,
        pay: Callable[[int, int], float],
    ) -> None:
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.horizon = len(gaps)
        self._contexts, self._gaps, self._pay, self._t = contexts, gaps, pay, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Goes back to the first decision."""
        self._t = 0
        return self._contexts[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Pays what was to be."""
        t, arm = self._t, int(action)
        self._t += 1
        end = self._t == self.horizon
        seen = self._contexts[min(self._t, self.horizon - 1)]
        return seen, self._pay(t, arm), False, end, {"regret": self._gaps[t, arm]}

    def simple_regret(self, agent: Any, step: int) -> float:
        """The regret at a step, from 1, of the arm that the agent then believes to be the best."""
        believed, _ = agent.predict(self._contexts[step - 1], deterministic=True)
        return float(self._gaps[step - 1, int(believed)])


def _outcomes(env: gym.Env[Any, Any], seed: int, run: int) -> _Outcomes | None:
    """The run as it is in compiled runs; None where the environment tells no model."""
    luck = generator(seed, Stream.ENVIRONMENT, run)
    if (draw := model_teller(env, "contextual_model")) is not None:
        model = draw(luck)
        gaps = model.means.max(axis=1, keepdims=True) - model.means
        contexts = model.contexts.astype(np.float32)
        return _Outcomes(env, contexts, gaps, lambda t, a: float(model.rewards[t, a]))
    if (tell := model_teller(env, "bandit_model")) is None:
        return None
    arms: BanditModel = tell(generator(seed, Stream.INSTANCE, run))
    shape = (arms.horizon, arms.n_arms)
    u, means = luck.random(shape), np.broadcast_to(arms.means, shape)
    space = env.observation_space
    seen = np.ones((arms.horizon, *(space.shape or ())), space.dtype)

    def pay(t: int, a: int) -> float:
        return arm_reward(arms.binary, float(means[t, a]), float(arms.sd[a]), float(u[t, a]))

    return _Outcomes(env, seen, np.broadcast_to(arms.gaps, shape), pay)
