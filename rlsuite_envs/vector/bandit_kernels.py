"""The kernels of the bandits' vector environments."""

from __future__ import annotations

import math

from registry.bandit_models import arm_reward, normal_quantile
from rlsuite_envs.bandits.wheel import SD, TREASURE, TREASURE_SD, TURN, region_of
from rlsuite_envs.compiled import compiled
from rlsuite_envs.vector.base import RESET, SKIP
from rlsuite_envs.vector.pcg64 import uniform

__all__ = ["BINARY", "EXACT", "NORMAL", "UNIFORM", "pull", "pull_in_context", "pull_in_disc"]

EXACT, BINARY, UNIFORM, NORMAL = 0, 1, 2, 3
"""How rewards are drawn."""


@compiled
def pull(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    limit,
    reward,
    truncated,
    regret,
    expected_reward,
    optimal_action,
    means,
    best_arm,
    sd,
    kind,
):
    """Pulls the arms; returns how many of the rows stepped have ended."""
    ended = 0
    own = len(means) == len(clock)  # a table for each row
    last = means.shape[1] - 1
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            clock[i] = 0
            continue
        table, row, arm = i if own else 0, min(clock[i], last), actions[i]
        mean = means[table, row, arm]
        if kind == EXACT:
            reward[i] = mean
        else:
            reward[i] = arm_reward(kind == BINARY, mean, sd[arm], uniform(rng, i))
        best = best_arm[table, row]
        regret[i] = means[table, row, best] - mean
        expected_reward[i] = mean
        optimal_action[i] = best
        clock[i] += 1
        late = clock[i] >= limit
        truncated[i] = late
        ended += late
    return ended


@compiled
def pull_in_context(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    limit,
    reward,
    truncated,
    regret,
    expected_reward,
    optimal_action,
    context,
    means,
    best_arm,
    noise,
    kind,
):
    """Pulls the arms and draws the next contexts; returns how many rows stepped have ended."""
    ended = 0
    n_contexts = len(means)
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            clock[i] = 0
        else:
            now = context[i]
            mean = means[now, actions[i]]
            best = best_arm[now]
            regret[i] = means[now, best] - mean
            expected_reward[i] = mean
            optimal_action[i] = best
            if kind == EXACT:
                reward[i] = mean
            elif kind == BINARY:
                reward[i] = 1.0 if uniform(rng, i) < mean else 0.0
            else:
                reward[i] = mean + noise * (2.0 * uniform(rng, i) - 1.0)
            clock[i] += 1
            late = clock[i] >= limit
            truncated[i] = late
            ended += late
        context[i] = int(n_contexts * uniform(rng, i))
    return ended


@compiled
def pull_in_disc(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    limit,
    reward,
    truncated,
    regret,
    expected_reward,
    optimal_action,
    points,
    means,
    best_arm,
    delta,
):
    """Pulls the arms and draws the next points; returns how many rows stepped have ended."""
    ended = 0
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        if todo[i] == RESET:
            clock[i] = 0
        else:
            where = region_of(points[i, 0], points[i, 1], delta)
            mean = means[where, actions[i]]
            best = best_arm[where]
            regret[i] = means[where, best] - mean
            expected_reward[i] = mean
            optimal_action[i] = best
            sd = TREASURE_SD if mean == TREASURE else SD
            reward[i] = mean + sd * normal_quantile(uniform(rng, i))
            clock[i] += 1
            late = clock[i] >= limit
            truncated[i] = late
            ended += late
        radius = math.sqrt(uniform(rng, i))
        angle = TURN * uniform(rng, i)
        points[i, 0] = radius * math.cos(angle)
        points[i, 1] = radius * math.sin(angle)
    return ended
