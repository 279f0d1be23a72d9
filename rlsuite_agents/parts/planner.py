"""What planning agents have in common on the outside: budget, clock, policy, checkpoints.

A planning agent offers `config` (with `gamma` and `horizon`), `plan`, `sweep()`, `converged`,
`memoryless`, and `pi_rows(states, left)`: its policy [B, A] in these states, `left` [B] steps
before the time limit. It takes no step in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.errors import CheckpointError, SettingError
from rlsuite_agents.loops import check_steps
from rlsuite_agents.parts.agent_checkpoint import load_agent_checkpoint, save_agent_checkpoint
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.model import read_table, time_limit
from rlsuite_agents.parts.plan import Floats, Ints, Limited, Unlimited
from rlsuite_agents.parts.predict import predict_actions
from rlsuite_agents.parts.settings import check_range
from rlsuite_agents.parts.spaces import Detached, table_rows, table_sizes

__all__ = [
    "check_planning",
    "clocked",
    "is_converged",
    "learn_by_sweeps",
    "load_planner",
    "make_plan",
    "make_sweeps",
    "memoryless",
    "predict_planned",
    "read_policy",
    "save_planner",
    "state_values",
]


def check_planning(config: Any) -> None:
    """Raises `SettingError` unless gamma, horizon and tolerance are in their ranges."""
    check_range(config, "gamma", "[0, 1]")
    check_range(config, "tolerance", "(0, 1]")
    horizon = config.horizon
    steps = isinstance(horizon, int) and not isinstance(horizon, bool) and horizon >= 1
    if not steps and horizon not in ("limit", "none"):
        raise SettingError(
            f"{type(config).__name__}.horizon must be 'limit' (the time limit of the environment), "
            f"'none', or a whole number of steps of at least 1; got {horizon!r}."
        )


def make_plan(
    env: gym.Env[Any, Any], config: Any, device: str, agent: str, *, greedy: bool = True
) -> Limited | Unlimited:
    """The values to be swept, for the horizon that the settings ask for.

    Raises:
        UnsupportedSpaceError, SettingError: the environment has no model that can be read.
    """
    shape = table_sizes(env, device, agent)
    table = None if isinstance(env, Detached) else read_table(env, agent)
    horizon = time_limit(env) if config.horizon == "limit" else config.horizon
    if horizon in (None, "none"):
        return Unlimited(table, shape, config.gamma, greedy=greedy)
    return Limited(table, shape, config.gamma, horizon, greedy=greedy)


def is_converged(agent: Any) -> bool:
    """Whether the values of a plan that is swept have settled, or are there for every step."""
    plan = agent.plan
    if isinstance(plan, Limited):
        return plan.complete
    return bool(plan.settled(agent.config.tolerance))


def learn_by_sweeps(agent: Any, total: int, callback: Callback | None) -> Any:
    """Makes `total` further sweeps, or as many as are needed; those after that cost nothing.

    `num_timesteps` counts them all. `callback(agent)` follows each; False stops.

    Raises:
        SettingError: `total` is no whole number of at least 0, or the agent was loaded without an
            environment.
    """
    agent.plan.needed_table()
    return make_sweeps(agent, total, callback)


def make_sweeps(agent: Any, total: int, callback: Callback | None) -> Any:
    """The sweeps of `learn_by_sweeps`, of any agent with `sweep()` and `converged`."""
    total = check_steps(total)
    done = agent.converged
    for _ in range(total):
        if not done:
            agent.sweep()
            done = agent.converged
        agent.num_timesteps += 1
        if callback is not None and callback(agent) is False:
            break
    return agent


def memoryless(agent: Any) -> Any:
    """`action_probabilities` of the agent; an `AttributeError` where its policy needs the clock."""
    if not agent.memoryless:
        raise AttributeError(
            "this policy looks at the clock: it has clocked_probabilities instead of "
            "action_probabilities, or ask predict(observation, state)."
        )
    return partial(_probabilities, agent, None)


def clocked(agent: Any) -> Any:
    """`clocked_probabilities` of the agent; an `AttributeError` where it needs no clock."""
    if agent.memoryless:
        raise AttributeError("this policy needs no clock: it has action_probabilities.")

    def clocked_probabilities(
        observations: Any, *, horizon: int, deterministic: bool, mask: Any = None
    ) -> NDArray[np.float64]:
        """π_t(a|s) for the first `horizon` steps of an episode and B observations: [H, B, A]."""
        size = len(observations)
        steps = (np.full(size, agent.plan.horizon - t) for t in range(horizon))
        rows = [
            _probabilities(agent, left, observations, deterministic=deterministic, mask=mask)
            for left in steps
        ]
        return np.array(rows)

    return clocked_probabilities


def predict_planned(
    agent: Any,
    observation: Any,
    state: Any,
    episode_start: Any,
    deterministic: bool,
    mask: Any,
    rngs: Any,
) -> tuple[Any, Any]:
    """Actions, and the state: of a policy that looks at the clock, the steps gone by, int64 [B].

    No state means the start of an episode, and so does `episode_start` [B] where it is True.
    """
    if agent.memoryless:
        return predict_actions(agent, observation, deterministic, mask, rngs), state
    size = np.size(observation)
    clock = np.zeros(size, np.int64) if state is None else np.array(state, np.int64).reshape(size)
    if episode_start is not None:
        clock[np.broadcast_to(episode_start, size)] = 0
    stated = SimpleNamespace(
        env=agent.env,
        prediction_rng=agent.prediction_rng,
        action_probabilities=partial(_probabilities, agent, agent.plan.horizon - clock),
    )
    return predict_actions(stated, observation, deterministic, mask, rngs), clock + 1


def state_values(agent: Any, observations: Any) -> NDArray[np.float64]:
    """v(s) of B observations at the start of an episode, or of all states: [B]."""
    v: Floats = agent.plan.v
    return v.copy() if observations is None else v[_states(agent, observations)]


def read_policy(env: gym.Env[Any, Any], config: Any, name: str, shape: tuple[int, int]) -> Floats:
    """The policy [S, A] that a setting names: `"uniform"`, or a NumPy file with an array `pi`.

    Raises:
        SettingError: there is no such file, or it holds no probabilities of this shape.
    """
    source = getattr(config, name)
    where = f"{type(config).__name__}.{name}"
    if source == "uniform" or isinstance(env, Detached):  # a checkpoint holds the policy itself
        return np.full(shape, 1.0 / shape[1])
    try:
        found = np.load(Path(source), allow_pickle=False)
        pi = np.asarray(found["pi"] if hasattr(found, "files") else found, np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise SettingError(
            f"{where} must be 'uniform' or a file of NumPy with an array 'pi', got {source!r} "
            f"({' '.join(str(error).split())})."
        ) from error
    sums = pi.sum(axis=-1, keepdims=True)
    if pi.shape != shape or not (np.all(pi >= 0) and np.all(np.abs(sums - 1) <= 1e-6)):
        raise SettingError(
            f"{where}: {source!r} must hold probabilities of the shape {shape}, at least 0 and "
            f"summing to 1 over the actions; got the shape {pi.shape}."
        )
    return pi / sums


def save_planner(
    agent: Any,
    path: str | PathLike[str],
    arrays: Mapping[str, NDArray[Any]] | None = None,
    own: Mapping[str, Any] | None = None,
) -> None:
    """Writes values, counters and generators; of the model only a digest."""
    plan = agent.plan
    state = {
        "plan": plan.state(),
        "horizon": getattr(plan, "horizon", None),
        "model": plan.digest if plan.table is None else plan.table.digest(),
        **(own or {}),
    }
    save_agent_checkpoint(agent, path, {**plan.arrays(), **(arrays or {})}, state)


def load_planner(
    agent_type: Any, path: str | PathLike[str], env: gym.Env[Any, Any] | None, device: str
) -> tuple[Any, Checkpoint]:
    """The agent of a checkpoint; without an environment it can predict, but not plan.

    Raises:
        CheckpointError: `env` has another model or time limit than the one that was planned with,
            or the file is damaged.
    """
    agent, found = load_agent_checkpoint(agent_type, path, env, device)
    horizon, digest = found.value("horizon", (int, type(None))), found.value("model", str)
    if env is None:
        agent.plan = _empty_plan(agent.plan, horizon)
        agent.plan.digest = digest
    elif agent.plan.table.digest() != digest or getattr(agent.plan, "horizon", None) != horizon:
        raise CheckpointError(
            f"{found.path} was planned with another model or time limit than this environment has."
        )
    agent.plan.restore(found, found.value("plan", dict))
    return agent, found


def _empty_plan(plan: Limited | Unlimited, horizon: int | None) -> Limited | Unlimited:
    if horizon is None:
        return Unlimited(None, plan.shape, plan.gamma, greedy=plan.greedy)
    return Limited(None, plan.shape, plan.gamma, horizon, greedy=plan.greedy)


def _probabilities(
    agent: Any, left: Ints | None, observations: Any, *, deterministic: bool, mask: Any = None
) -> Floats:
    """π(a|s) [B, A]; where a mask leaves nothing of it, the allowed action of the largest q."""
    plan = agent.plan
    states = _states(agent, observations)
    pi = agent.pi_rows(states, left)
    if mask is not None:
        pi = np.where(np.asarray(mask, bool), pi, 0.0)
        lost = pi.sum(axis=1) <= 0.0
        if lost.any():
            rest = None if left is None else left[lost]
            q = np.where(np.asarray(mask, bool)[lost], plan.q_rows(states[lost], rest), -np.inf)
            pi[lost] = np.eye(plan.shape[1])[q.argmax(axis=1)]
        pi = pi / pi.sum(axis=1, keepdims=True)
    return np.eye(plan.shape[1])[pi.argmax(axis=1)] if deterministic else pi


def _states(agent: Any, observations: Any) -> Ints:
    """Observations [B] as numbers of states; raises `InvalidObservationError`."""
    return np.array(table_rows(range(agent.plan.shape[0]), observations), np.int64)
