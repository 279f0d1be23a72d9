"""Whole runs of bandit policies: in one compiled loop, or of any agent in plain Python.

What a run meets and draws depends on the root seed and on its number alone; see
`registry.bandit_runs.RunsBandits`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, arm_reward
from registry.bandit_runs import BanditBlock
from registry.contracts import Transition
from registry.errors import InvalidObservationError, SettingError
from registry.seeding import Stream, generator
from rlsuite_agents.parts import pcg64
from rlsuite_agents.parts.compiled import bound
from rlsuite_agents.parts.pcg64 import one_of_next, ways_ahead
from rlsuite_agents.parts.spaces import Detached
from rlsuite_agents.parts.tables import member_rule, stacked

__all__ = [
    "add_run",
    "block_of",
    "check_runs",
    "compiled_runs",
    "empty_record",
    "mark_steps",
    "plain_runs",
    "runs_loop",
]

RULES = ("choose", "update", "best")
"""Of a policy, bound by name into the loop."""

CHUNK = 1_000
"""Runs whose beliefs are held at once."""

Floats = NDArray[np.float64]


class Problem(NamedTuple):
    """Bandit models as arrays; M is 1 where all runs have the same, else the number of runs."""

    means: Any  # [M, P, K]
    gaps: Any  # [M, P, K]
    sd: Any  # [M, K]
    binary: bool


class Record(NamedTuple):
    """What the loop writes: sums over runs for each step, and a row for each run."""

    regret_sum: Any  # [T]
    regret_squares: Any  # [T]
    optimal_sum: Any  # [T]
    reward_sum: Any  # [T]
    reward_squares: Any  # [T]
    regret_at: Any  # [R, C]
    simple_regret_at: Any  # [R, C]
    reward_total: Any  # [R]
    optimal_total: Any  # [R]


# `bound` puts other functions in the place of these, by their names; as they stand they only tell
# the type checker and the reader what is called.


def choose(x: Any, mask: Any, rng: Any) -> int:
    """Stands for the policy's rule."""
    raise NotImplementedError


def update(x: Any, arm: int, reward: float) -> None:
    """Stands for the policy's rule."""
    raise NotImplementedError


def best(x: Any, mask: Any) -> int:
    """Stands for the policy's rule."""
    raise NotImplementedError


def member(many: Any, k: int) -> Any:
    """The beliefs of run k; stands for the rule that picks them out of stacked ones."""
    return many[k]


def its_own(rngs: Any, k: int) -> Any:
    """The generator of run k, one of many."""
    return rngs[k]


def the_only_one(rngs: Any, k: int) -> Any:
    """The generator of the only run."""
    return rngs


generator_of = its_own  # stands for one of the two


def borrowed(array: Any) -> Any:
    """Stands for `parts.borrowed.borrowed`, which imports numba."""
    raise NotImplementedError


def runs_loop(
    first: int,
    problem: Problem,
    many: Any,
    luck: Any,
    ways: Any,
    rngs: Any,
    marks: Any,
    record: Record,
) -> None:
    """Plays n runs, one after the other, each with beliefs and generators of its own.

    At each step the draws of `choose`, and one uniform for every arm, in their order.

    Args:
        first: which row of the record, and of several problems, is that of the first run.
        problem: what the arms pay.
        many: the beliefs of the runs.
        luck: generators of what the arms pay, n.
        ways: room for their `ways_ahead`, a row for each arm: uint64 [K, 4].
        rngs: generators of the policy, n.
        marks: steps, counted from 1, rising; the last is T.
        record: written to.
    """
    means, gaps, sds = borrowed(problem.means), borrowed(problem.gaps), borrowed(problem.sd)
    regret_sum, regret_squares = borrowed(record.regret_sum), borrowed(record.regret_squares)
    reward_sum, reward_squares = borrowed(record.reward_sum), borrowed(record.reward_squares)
    optimal_sum, ways = borrowed(record.optimal_sum), borrowed(ways)
    for k in range(len(luck)):
        x, rng, chances, r = member(many, k), generator_of(rngs, k), borrowed(luck[k]), first + k
        instance = r if means.shape[0] > 1 else 0
        ways_ahead(chances, ways)
        regret, rewards, optimal, mark = 0.0, 0.0, 0.0, 0
        for t in range(len(regret_sum)):
            row = t if means.shape[1] > 1 else 0
            arm = choose(x, None, rng)
            u = one_of_next(chances, ways, arm)
            reward = arm_reward(problem.binary, means[instance, row, arm], sds[instance, arm], u)
            update(x, arm, reward)
            gap = gaps[instance, row, arm]
            regret += gap
            rewards += reward
            if gap <= 0.0:  # below 0 where another arm than the one of hindsight pays more
                optimal += 1.0
                optimal_sum[t] += 1.0
            regret_sum[t] += regret
            regret_squares[t] += regret * regret
            reward_sum[t] += reward
            reward_squares[t] += reward * reward
            if t + 1 == marks[mark]:
                record.regret_at[r, mark] = regret
                record.simple_regret_at[r, mark] = gaps[instance, row, best(x, None)]
                mark += 1
        record.reward_total[r] = rewards
        record.optimal_total[r] = optimal


def compiled_runs(
    policy: Any,
    models: BanditModel | Sequence[BanditModel],
    *,
    seed: int,
    runs: range,
    config: Any = None,
    marks: Sequence[int] | None = None,
) -> BanditBlock:
    """Runs of a `BanditPolicy` class; see `registry.bandit_runs.RunsBandits`.

    Raises:
        SettingError: there are no runs, the models do not fit together, or a mark is no step.
        InvalidObservationError: the arms pay what the policy does not take.
    """
    problem, horizon, steps = _checked(policy, models, runs, marks)
    record = empty_record(horizon, len(runs), len(steps))
    settings = policy.config_type() if config is None else config
    fresh = policy.rules.start(settings, problem.means.shape[2])
    loop, ways = _loop_of(policy, fresh), np.empty((problem.means.shape[2], 4), np.uint64)
    size = CHUNK if policy.draws_uniforms_alone else 1
    for first in range(0, len(runs), size):
        block = runs[first : first + size]
        many = stacked([fresh, *[fresh] * len(block)])  # a copy, with a row too many
        luck = np.stack([pcg64.words(generator(seed, Stream.ENVIRONMENT, r)) for r in block])
        rngs: Any = [generator(seed, Stream.AGENT, r) for r in block]
        rngs = np.stack([pcg64.words(g) for g in rngs]) if size > 1 else rngs[0]
        loop(first, problem, many, luck, ways, rngs, steps, record)
    return block_of(record, horizon, runs, steps, compiled=True)


def plain_runs(
    make_agent: Callable[[Any], Any],
    models: BanditModel | Sequence[BanditModel],
    *,
    seed: int,
    runs: range,
    marks: Sequence[int] | None = None,
) -> BanditBlock:
    """The same runs, of any `StepAgent`, in plain Python; for a `BanditPolicy` the same numbers.

    Args:
        make_agent: makes a fresh agent from an environment that only has spaces; what it draws in
            `act` comes from the generator of the run.
        models: as in `compiled_runs`, and so are the others.
        seed: root of all streams.
        runs: numbers of the runs.
        marks: steps at which single runs are looked at.
    """
    problem, horizon, steps = _checked(None, models, runs, marks)
    record, n_arms = empty_record(horizon, len(runs), len(steps)), problem.means.shape[2]
    env, seen = Detached(Box(0.0, 1.0, (1,), np.float32), Discrete(n_arms)), np.ones(1, np.float32)
    for k, r in enumerate(runs):
        agent, rng = make_agent(env), generator(seed, Stream.AGENT, r)
        luck = generator(seed, Stream.ENVIRONMENT, r).random((horizon, n_arms))
        instance = k % len(problem.means)
        gaps = np.broadcast_to(problem.gaps[instance], (horizon, n_arms))
        means = np.broadcast_to(problem.means[instance], (horizon, n_arms))
        regret, rewards = np.zeros(horizon), np.zeros(horizon)
        for t in range(horizon):
            arm, extras = agent.act(seen, None, rng)
            sd, u = float(problem.sd[instance, arm]), float(luck[t, arm])
            rewards[t] = arm_reward(problem.binary, float(means[t, arm]), sd, u)
            end = t + 1 == horizon
            reward = float(rewards[t])
            agent.observe(Transition(seen, arm, reward, seen, False, end, extras=extras))
            regret[t] = gaps[t, arm]
            for c in np.flatnonzero(steps == t + 1):
                believed = int(agent.predict(seen, deterministic=True)[0])
                record.simple_regret_at[k, c] = gaps[t, believed]
        add_run(record, k, regret, rewards, steps)
    return block_of(record, horizon, runs, steps, compiled=False)


def add_run(record: Record, k: int, regret: Floats, rewards: Floats, steps: Any) -> None:
    """Adds a run to the record; cumulative sums go in the order of the compiled loop."""
    summed, optimal = np.cumsum(regret), (regret <= 0.0).astype(np.float64)
    record.regret_sum[:] += summed
    record.regret_squares[:] += summed * summed
    record.optimal_sum[:] += optimal
    record.reward_sum[:] += rewards
    record.reward_squares[:] += rewards * rewards
    record.regret_at[k] = summed[steps - 1]
    record.reward_total[k] = np.cumsum(rewards)[-1]
    record.optimal_total[k] = optimal.sum()


def _checked(
    policy: Any, models: Any, runs: range, marks: Sequence[int] | None
) -> tuple[Problem, int, NDArray[np.int64]]:
    """The problem as arrays, its horizon, and the marks with the horizon."""
    each = [models] if isinstance(models, BanditModel) else list(models)
    check_runs(runs)
    if not isinstance(models, BanditModel) and len(each) != len(runs):
        raise SettingError(f"one model for each of the {len(runs)} runs, got {len(each)}.")
    first = each[0]
    if any(m.horizon != first.horizon or m.kind != first.kind for m in each):
        raise SettingError("the models of one block of runs must have one horizon and one kind.")
    if any(m.means.shape != first.means.shape for m in each):
        raise SettingError("the models of one block of runs must have one shape.")
    steps = mark_steps(marks, first.horizon)
    problem = Problem(
        means=np.stack([m.means for m in each]),
        gaps=np.stack([m.gaps for m in each]),
        sd=np.stack([m.sd for m in each]),
        binary=first.binary,
    )
    if policy is not None and policy.unit_rewards:
        _check_unit_rewards(policy, first.kind, problem)
    return problem, first.horizon, steps


def check_runs(runs: range) -> None:
    """Raises `SettingError` unless these are numbers of runs, at least one."""
    if not runs or runs.start < 0 or runs.step < 1:
        raise SettingError(f"runs must be a rising range of at least one number, got {runs!r}.")


def mark_steps(marks: Sequence[int] | None, horizon: int) -> NDArray[np.int64]:
    """The marks and the horizon, rising; raises `SettingError` where one is no step."""
    steps = np.unique(np.array([*(marks or ()), horizon], np.int64))
    if steps[0] < 1 or steps[-1] > horizon:
        raise SettingError(f"marks are steps from 1 to {horizon}, got {list(marks or ())!r}.")
    return steps


def _check_unit_rewards(policy: Any, kind: str, problem: Problem) -> None:
    low, high = problem.means.min(), problem.means.max()
    if problem.sd.any() or low < 0.0 or high > 1.0:
        raise InvalidObservationError(
            f"{policy.__name__} takes rewards in [0, 1]; these arms are of the kind {kind!r}, with "
            f"means from {low:.6g} to {high:.6g} and noise up to {problem.sd.max():.6g}."
        )


def empty_record(horizon: int, runs: int, marks: int) -> Record:
    """Zeros for R runs of T steps with C marks."""
    sums = (np.zeros(horizon) for _ in range(5))
    rows = ((runs, marks), (runs, marks), (runs,), (runs,))
    return Record(*sums, *(np.zeros(shape) for shape in rows))


def block_of(
    record: Record, horizon: int, runs: range, marks: NDArray[np.int64], *, compiled: bool
) -> BanditBlock:
    """A record that is full."""
    return BanditBlock(
        runs=len(runs), horizon=horizon, marks=marks, compiled=compiled, **record._asdict()
    )


_loops: dict[Any, Any] = {}


def _loop_of(policy: Any, fresh: Any) -> Any:
    """The compiled loop of a policy's rules."""
    key = policy.rules, type(fresh)
    if key not in _loops:
        from rlsuite_agents.parts.borrowed import borrowed

        names: dict[str, Any] = {name: getattr(policy.rules, name) for name in RULES}
        names |= {"borrowed": borrowed, "member": member_rule(fresh, borrowed)}
        if policy.draws_uniforms_alone:
            names |= {"random": pcg64.random, "generator_of": its_own}
        else:
            names["generator_of"] = the_only_one
        _loops[key] = bound(runs_loop, keep=True, **names)
    return _loops[key]
