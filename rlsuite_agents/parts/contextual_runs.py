"""Whole runs of contextual policies: compiled for linear models, else in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, ContextualModel, arm_reward
from registry.bandit_runs import BanditBlock
from registry.contracts import Transition
from registry.errors import InvalidObservationError, SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.functional.linear_bandits import value_scores
from rlsuite_agents.parts.bandit_runs import (
    add_run,
    block_of,
    check_runs,
    empty_record,
    mark_steps,
    plain_runs,
)
from rlsuite_agents.parts.compiled import bound, kept
from rlsuite_agents.parts.contextual import LOOK, warn_of_scales
from rlsuite_agents.parts.linear_model import LinearRules
from rlsuite_agents.parts.spaces import Detached

__all__ = ["contextual_loop", "contextual_runs", "plain_contextual_runs", "runs_without_contexts"]

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator], ContextualModel]


# `bound` puts the rules of a policy in the place of these, by their names; as they stand they only
# tell the type checker and the reader what is called.


def draw(beliefs: Any, rng: Any) -> None:
    """Stands for the policy's rule."""
    raise NotImplementedError


def score(beliefs: Any, x: Any) -> None:
    """Stands for the policy's rule."""
    raise NotImplementedError


def pick(beliefs: Any, mask: Any, rng: Any) -> int:
    """Stands for the policy's rule."""
    raise NotImplementedError


def update(beliefs: Any, x: Any, arm: int, reward: float) -> None:
    """Stands for the policy's rule."""
    raise NotImplementedError


def contextual_loop(
    beliefs: Any, x: Any, model: Any, rng: Any, marks: Any, played: Any, simple: Any
) -> None:
    """Plays one run.

    Args:
        beliefs: of the policy; changed.
        x: room for a context, [d or d + 1]; the last number is the intercept, if there is one.
        model: contexts [T, d], means [T, K] and rewards [T, K].
        rng: of the policy.
        marks: steps, counted from 1, rising; the last is T.
        played: the arms are written here, int64 [T].
        simple: at each mark the regret of the arm believed to be the best is written here.
    """
    contexts, means, rewards = model
    mark = 0
    for t in range(len(contexts)):
        for i in range(contexts.shape[1]):
            x[i] = contexts[t, i]
        draw(beliefs, rng)
        score(beliefs, x)
        arm = pick(beliefs, None, rng)
        update(beliefs, x, arm, rewards[t, arm])
        played[t] = arm
        if t + 1 == marks[mark]:
            value_scores(beliefs, x)
            best = greedy(beliefs.values, None)
            simple[mark] = means[t, greedy(means[t], None)] - means[t, best]
            mark += 1


def contextual_runs(
    policy: Any,
    draw: Draw,
    *,
    seed: int,
    runs: range,
    config: Any = None,
    marks: Sequence[int] | None = None,
) -> BanditBlock:
    """Runs of a `Contextual` policy; see `registry.bandit_runs.RunsContextual`.

    Raises:
        SettingError: there are no runs, they differ in shape, or a mark is no step.
        InvalidObservationError: an arm pays what the policy does not take.
    """

    def make_agent(env: Any) -> Any:
        return policy(env, config, seed=seed)

    play = _compiled if policy.linear and not _shared(config) else _plain
    return _runs(make_agent, draw, seed, runs, marks, play)


def plain_contextual_runs(
    make_agent: Callable[[Any], Any],
    draw: Draw,
    *,
    seed: int,
    runs: range,
    marks: Sequence[int] | None = None,
) -> BanditBlock:
    """The same runs, of any `StepAgent`, in plain Python; for linear policies the same numbers.

    `make_agent` makes a fresh agent from an environment that only has spaces; what it draws in
    `act` comes from the generator of the run.
    """
    return _runs(make_agent, draw, seed, runs, marks, _plain)


def runs_without_contexts(
    policy: Any,
    models: BanditModel | Sequence[BanditModel],
    *,
    seed: int,
    runs: range,
    config: Any = None,
    marks: Sequence[int] | None = None,
) -> BanditBlock:
    """Runs of a `Contextual` policy where the context is always [1.0]; see `RunsBandits`.

    Raises:
        SettingError: there are no runs, or not as many models, or a mark is no step.
        InvalidObservationError: an arm pays what the policy does not take.
    """
    if not policy.linear or _shared(config):
        return plain_runs(
            lambda env: policy(env, config, seed=seed), models, seed=seed, runs=runs, marks=marks
        )
    each = [models] * len(runs) if isinstance(models, BanditModel) else list(models)
    if len(each) != len(runs):
        raise SettingError(f"one model for each of the {len(runs)} runs, got {len(each)}.")
    left = iter(each)
    return contextual_runs(
        policy,
        lambda rng: _with_a_one(next(left), rng),
        seed=seed,
        runs=runs,
        config=config,
        marks=marks,
    )


def _runs(
    make_agent: Any, draw: Draw, seed: int, runs: range, marks: Any, play: Callable[..., Any]
) -> BanditBlock:
    check_runs(runs)
    model = draw(generator(seed, Stream.ENVIRONMENT, runs[0]))
    steps = mark_steps(marks, model.horizon)
    record = empty_record(model.horizon, len(runs), len(steps))
    shape = model.means.shape
    for k, r in enumerate(runs):
        if k:
            model = draw(generator(seed, Stream.ENVIRONMENT, r))
        if model.means.shape != shape:
            raise SettingError(
                f"the runs of one block must have one shape: {shape}, got {model.means.shape}."
            )
        agent = make_agent(_spaces_of(model))
        _check_rewards(agent, model)
        rng = generator(seed, Stream.AGENT, r)
        played = play(agent, model, rng, steps, record.simple_regret_at[k])
        chosen = np.arange(model.horizon), played
        add_run(
            record, k, (model.means.max(axis=1) - model.means[chosen]), model.rewards[chosen], steps
        )
    return block_of(record, model.horizon, runs, steps, compiled=play is _compiled)


def _compiled(agent: Any, model: ContextualModel, rng: Any, steps: Any, simple: Any) -> Any:
    linear, played = agent.model, np.empty(model.horizon, np.int64)
    x, contexts = np.ones(len(linear.beliefs.ax)), model.contexts.reshape(model.horizon, -1)
    arrays = contexts, model.means, model.rewards
    _loop_of(linear.rules)(linear.beliefs, x, arrays, rng, steps, played, simple)
    if model.horizon >= LOOK:
        warn_of_scales((contexts[:LOOK] ** 2).mean(axis=0), type(agent).__name__)
    return played


def _plain(agent: Any, model: ContextualModel, rng: Any, steps: Any, simple: Any) -> Any:
    played = np.empty(model.horizon, np.int64)
    seen, marks = model.contexts.astype(np.float32), set(steps.tolist())
    for t, x in enumerate(seen):
        arm, extras = agent.act(x, None, rng)
        reward, end = float(model.rewards[t, arm]), t + 1 == model.horizon
        agent.observe(Transition(x, arm, reward, x, False, end, extras=extras))
        played[t] = arm
        if t + 1 in marks:
            believed = int(agent.predict(x, deterministic=True)[0])
            mark = int(np.searchsorted(steps, t + 1))
            simple[mark] = model.means[t].max() - model.means[t, believed]
    return played


_loops: dict[LinearRules, Any] = {}


def _loop_of(rules: LinearRules) -> Any:
    """The loop, bound to the rules of a policy and compiled."""
    if rules not in _loops:
        names = {name: getattr(rules, name) for name in ("draw", "score", "pick", "update")}
        _loops[rules] = bound(contextual_loop, keep=True, **names)
    return _loops[rules]


def _spaces_of(model: ContextualModel) -> Detached:
    """An environment that only has the spaces of a run."""
    shape = model.contexts.shape[1:]
    return Detached(Box(-np.inf, np.inf, shape, np.float32), Discrete(model.means.shape[1]))


def _shared(config: Any) -> bool:
    return getattr(config, "model", "disjoint") == "shared"


def _check_rewards(agent: Any, model: ContextualModel) -> None:
    low, high = float(model.rewards.min()), float(model.rewards.max())
    if agent.unit_rewards and not 0.0 <= low <= high <= 1.0:
        raise InvalidObservationError(
            f"{type(agent).__name__} takes rewards in [0, 1]; these arms pay from {low:.6g} to "
            f"{high:.6g}."
        )


def _with_a_one(model: BanditModel, rng: np.random.Generator) -> ContextualModel:
    """A run of arms without contexts, with the luck that it has in `bandit_runs`."""
    u = rng.random((model.horizon, model.n_arms))
    means = np.ascontiguousarray(np.broadcast_to(model.means, u.shape))
    rewards = np.empty_like(u)
    kept(outcomes)(model.binary, means, model.sd, u, rewards)
    return ContextualModel(contexts=np.ones((model.horizon, 1)), means=means, rewards=rewards)


def outcomes(binary: bool, means: Any, sd: Any, u: Any, out: Any) -> None:
    """What every arm would pay for its uniform, all [T, K]; `sd` [K]."""
    for t in range(u.shape[0]):
        for a in range(u.shape[1]):
            out[t, a] = arm_reward(binary, means[t, a], sd[a], u[t, a])
