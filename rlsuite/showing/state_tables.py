"""What a policy is worth, does and visits in each state of a finite task, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import Model
from registry.errors import SettingError
from rlsuite.answer_key import find_answer_key, layers
from rlsuite.isolation import global_streams
from rlsuite.making import make_environment
from rlsuite.sessions import task_with
from rlsuite.showing.playing import policy_for

__all__ = ["OPTIMAL", "Board", "Kind", "StateTable", "board_of", "expected_visits", "state_table"]

OPTIMAL = "optimal"
"""Instead of an agent: the optimal policy of the answer key."""

LONGEST = 100_000
"""Steps after which visits are no longer counted where the task has no limit."""

LEFT_OVER = 1e-12
"""Probability that an episode still goes on below which the rest is not counted."""

Kind = Literal["values", "policy", "visits"]
Floats = NDArray[np.float64]

UP, RIGHT, DOWN, LEFT = (0, -1), (1, 0), (0, 1), (-1, 0)
DIAGONALS_AND_STAYING = (1, -1), (1, 1), (-1, 1), (-1, -1), (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """A grid whose cells are the states, row by row.

    `moves`: (right, down) of each action. `pits`: cells that end or cost, such as cliffs and holes.
    """

    rows: int
    columns: int
    moves: tuple[tuple[int, int], ...]
    starts: frozenset[int] = frozenset()
    goals: frozenset[int] = frozenset()
    walls: frozenset[int] = frozenset()
    pits: frozenset[int] = frozenset()

    @property
    def closed(self) -> frozenset[int]:
        """Cells in which nothing is decided."""
        return self.goals | self.walls | self.pits


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StateTable:
    """One figure's numbers.

    Attributes:
        kind: What they are.
        numbers: [S], or [S, A] for a policy; NaN where there is none.
        board: Where the states lie; None where they are no places.
        who: Id of the agent, or `"optimal"`.
        task: Id of the task.
        note: How the numbers came about.
    """

    kind: Kind
    numbers: Floats
    board: Board | None
    who: str
    task: str
    note: str


def state_table(
    kind: Kind,
    agent: str,
    environment: str,
    *,
    seed: int = 0,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    env_settings: Mapping[str, Any] | None = None,
    deterministic: bool | None = None,
) -> StateTable:
    """The values, the policy, or the visits of an agent in every state.

    Args:
        kind: `"values"`: the agent's own estimates, max_a Q(s, a), where it has a table `q`, else
            the exact values of its policy. `"policy"`: π(a|s). `"visits"`: how often an episode
            comes to each state, expected exactly, its first state and its last one counted too.
        agent: A checkpoint, the id of an agent, which is then trained, or `"optimal"`.
        environment: Id of a task or an environment with finitely many states.
        seed: Root of the training's draws.
        steps: Steps of the training; None: those of the task.
        settings: Settings of the agent that is trained.
        env_settings: Keywords of the environment.
        deterministic: Whether the greedy policy is meant; None: as the task says.

    Raises:
        SettingError: the environment has no table of states, or the agent states no policy.
        RlsuiteError: whatever is refused.
    """
    task = task_with(environment, env_settings or {})
    env = make_environment(task)
    env.reset(seed=seed)
    oracle = _finite_oracle(env, task.id)
    greedy = task.deterministic if deterministic is None else deterministic
    if agent == OPTIMAL:
        _refuse_for_optimal(steps=steps, settings=settings, deterministic=deterministic)
        policy = None
        note = "" if oracle.horizon is None else f"with {oracle.horizon} steps left"
    else:
        path = Path(agent) if Path(agent).is_file() else None
        policy = policy_for(
            None if path else agent, path, task, settings or {}, steps=steps, seed=seed
        )
        note = _origin(policy)
    with global_streams():
        numbers, how = _numbers(kind, policy, oracle, greedy)
    who = agent if policy is None else str(getattr(policy, "id", None) or agent)
    return StateTable(
        kind=kind,
        numbers=numbers,
        board=board_of(env),
        who=who,
        task=task.id,
        note=f"{how}, {note}" if note else how,
    )


def board_of(env: gym.Env[Any, Any]) -> Board | None:
    """The grid of an environment: one that says `is_grid`, or Gymnasium's FrozenLake and cliff."""
    inner: Any = layers(env)[-1]
    if getattr(inner, "is_grid", False):
        scene = inner.scene()
        moves = (UP, RIGHT, DOWN, LEFT, *DIAGONALS_AND_STAYING)
        return Board(
            rows=scene.rows,
            columns=scene.columns,
            moves=moves[: int(inner.action_space.n)],
            starts=scene.starts,
            goals=scene.goals,
            walls=scene.obstacles,
            pits=scene.cliff,
        )
    name = type(inner).__name__
    if name == "FrozenLakeEnv":
        cells = inner.desc.astype("U1").ravel()
        return Board(
            rows=inner.desc.shape[0],
            columns=inner.desc.shape[1],
            moves=(LEFT, DOWN, RIGHT, UP),
            starts=_where(cells == "S"),
            goals=_where(cells == "G"),
            pits=_where(cells == "H"),
        )
    if name == "CliffWalkingEnv":
        rows, columns = inner.shape
        return Board(
            rows=rows,
            columns=columns,
            moves=(UP, RIGHT, DOWN, LEFT),
            starts=frozenset({int(inner.start_state_index)}),
            goals=frozenset({rows * columns - 1}),
            pits=_where(inner._cliff.ravel()),
        )
    return None


def expected_visits(model: Model, start: Floats, pi: Floats, horizon: int | None) -> Floats:
    """How often an episode comes to each state, E[#{t : S_t = s}], t = 0 to its end: [S].

    Args:
        model: The dynamics.
        start: Distribution of the first state, [S].
        pi: Probabilities [S, A], or [H, S, A] for a policy that looks at the clock.
        horizon: Time limit, or None.
    """
    states = len(model.next_state)
    reach: Floats = np.asarray(start, np.float64)
    visits = reach.copy()
    for t in range(LONGEST if horizon is None else horizon):
        now = pi[t] if pi.ndim == 3 else pi
        flow = reach[:, None, None] * now[:, :, None] * model.probability
        to = model.next_state.ravel()
        visits += np.bincount(to, flow.ravel(), minlength=states)
        going_on = np.where(model.terminal, 0.0, flow).ravel()
        reach = np.bincount(to, going_on, minlength=states).astype(np.float64)
        if reach.sum() < LEFT_OVER:
            break
    return visits


def _where(cells: Any) -> frozenset[int]:
    return frozenset(np.flatnonzero(cells).tolist())


def _finite_oracle(env: gym.Env[Any, Any], task: str) -> Any:
    """The answer key over a table; raises `SettingError` where there is none."""
    key = find_answer_key(env)
    if key.oracle is None or not hasattr(key.oracle, "model"):
        why = f" ({key.why_not})" if key.why_not else ""
        raise SettingError(
            f"{task!r} has no table of states to plot{why}: plots are for finite tasks with a "
            "model, such as rlsuite/GridWorld-v0, rlsuite/CliffWalk-v0, FrozenLake-v1 or Taxi-v4."
        )
    return key.oracle


def _numbers(kind: Kind, policy: Any, oracle: Any, greedy: bool) -> tuple[Floats, str]:
    """The numbers of the figure, and how they came about."""
    if kind == "values" and policy is None:
        values = oracle.optimal_values()
        return (values if values.ndim == 1 else values[0]), "optimal values, exact"
    q = _own_q(policy, oracle)
    if kind == "values" and q is not None:
        return q.max(axis=1), "the agent's estimates, max Q(s, a)"
    pi = oracle.optimal_policy() if policy is None else _probabilities(policy, oracle, greedy)
    which = "optimal" if policy is None else "greedy" if greedy else "sampled"
    if kind == "values":
        return np.asarray(oracle.policy_values(pi)), f"exact values of the {which} policy"
    if kind == "policy":
        return (pi if pi.ndim == 2 else pi[0]), f"probabilities of the {which} policy"
    visits = expected_visits(oracle.model, oracle.model.start, pi, oracle.horizon)
    return visits, f"expected visits of an episode under the {which} policy, exact"


def _own_q(policy: Any, oracle: Any) -> Floats | None:
    """The agent's table of action values, if it has one of the right shape."""
    q = getattr(policy, "q", None)
    shape = oracle.model.next_state.shape[:2]
    return q if isinstance(q, np.ndarray) and q.shape == shape else None


def _probabilities(policy: Any, oracle: Any, greedy: bool) -> Floats:
    stated = getattr(policy, "action_probabilities", None)
    clocked = getattr(policy, "clocked_probabilities", None)
    if callable(clocked) and oracle.horizon is not None:
        stated = partial(clocked, horizon=oracle.horizon)
    if not callable(stated):
        raise SettingError(
            f"{type(policy).__name__} has no action_probabilities, so its policy cannot be plotted."
        )
    return np.asarray(stated(oracle.observations(), deterministic=greedy), np.float64)


def _origin(policy: Any) -> str:
    steps = getattr(policy, "num_timesteps", None)
    return "" if steps is None else f"after {steps:,} steps"


def _refuse_for_optimal(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and value != {}:
            raise SettingError(f"{name} means nothing for the optimal policy: it is not trained.")
