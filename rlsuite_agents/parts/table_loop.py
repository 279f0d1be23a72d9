"""`loops.learn_online` once more, for environments that are tables: compiled, with the same bits.

An agent that can be trained here has `tables`, a NamedTuple of what it learns (see `parts.tables`),
and its class names its two rules, `rules = Rules(act, observe)`:

    act(tables, s, mask, rng) -> a
    observe(tables, transition, rng)

Its methods `act` and `observe` call the same rules. What the loop hands to `observe` has the fields
of `registry.contracts.Transition` that a table can fill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlsuite_agents.functional.chance import random
from rlsuite_agents.parts import pcg64
from rlsuite_agents.parts.compiled import bound
from rlsuite_agents.parts.tables import member_rule, row_of, stacked, unstack
from rlsuite_agents.parts.world import Place, Stand, World, place_of, put_at, stand_of

__all__ = [
    "Rules",
    "can_learn_in_table",
    "is_compiled",
    "learn_in_tables",
    "stand_for",
    "table_loop",
]

CHUNK = 1 << 17
"""Steps between two looks at signals and recorders."""


class Rules(NamedTuple):
    """How an agent acts and learns: functions that run in Python and compiled."""

    act: Callable[..., Any]
    observe: Callable[..., Any]


class Step(NamedTuple):
    """A `Transition` in compiled code."""

    observation: Any
    action: Any
    reward: Any
    next_observation: Any
    terminated: Any
    truncated: Any
    mask: Any
    next_mask: Any


class Episodes(NamedTuple):
    """Episodes that ended in a block of steps."""

    ends: Any  # with which step, from 1; int64 [N]
    returns: Any  # float64 [N]
    lengths: Any  # int64 [N]


def act(tables: Any, s: int, mask: Any, rng: Any) -> int:
    """Stands for the agent's rule."""
    raise NotImplementedError


def observe(tables: Any, transition: Any, rng: Any) -> None:
    """Stands for the agent's rule."""
    raise NotImplementedError


def no_mask(masks: Any, s: Any) -> Any:
    """`mask_of` where nothing says which actions are allowed."""
    return None


def its_mask(masks: Any, s: Any) -> Any:
    """`mask_of` where each state has its own."""
    return borrowed(masks[s])


mask_of = no_mask  # stands for one of the two


def borrowed(array: Any) -> Any:
    """Stands for `parts.borrowed.borrowed`, which imports numba."""
    raise NotImplementedError


def member(many: Any, k: int) -> Any:
    """Stands for the rule that picks agent k out of many."""
    raise NotImplementedError


def table_loop(
    steps: int, owned: World, places: Place, many: Any, rngs: Any, rooms: Episodes, ended: Any
) -> None:
    """Lets n agents take steps, one after the other, each in a place of its own in one table.

    In the order of `learn_online` and of the environment: one uniform of the environment for a
    reset, the draws of `act`, one uniform for the outcome, the draws of `observe`.

    Args:
        steps: of each agent.
        owned: the table.
        places: where the environments stand, n rows; left where they have come.
        many: the `stacked` tables of the agents.
        rngs: their generators, uint64 [n, 4].
        rooms: for the episodes that end, [n, steps].
        ended: how many ended, int64 [n].
    """
    outcomes, starts = borrowed(owned.outcomes), borrowed(owned.starts)
    starts_below, masks = borrowed(owned.starts_below), borrowed(owned.masks)
    for k in range(len(rngs)):
        tables, rng, place_rng = member(many, k), borrowed(rngs[k]), borrowed(places.rng[k])
        ends, returns = borrowed(rooms.ends[k]), borrowed(rooms.returns[k])
        lengths, n = borrowed(rooms.lengths[k]), 0
        s, a, elapsed = places.state[k, 0], places.action[k, 0], places.elapsed[k, 0]
        over, total = places.over[k, 0], places.total[k, 0]
        for step in range(steps):
            if over:
                u, i = random(place_rng), 0
                while u >= starts_below[i]:
                    i += 1
                s, elapsed, total = starts[i], 0, 0.0
            mask = mask_of(masks, s)
            a = act(tables, s, mask, rng)
            row, u, i = s * owned.n_actions + a, random(place_rng), 0
            while u >= outcomes[row, i].below:
                i += 1
            r, s_next = outcomes[row, i].reward, np.int64(outcomes[row, i].next)
            elapsed, total = elapsed + 1, total + r
            terminated, truncated = outcomes[row, i].ends != 0, elapsed == owned.limit
            next_mask = mask_of(masks, s_next)
            observe(tables, Step(s, a, r, s_next, terminated, truncated, mask, next_mask), rng)
            s, over = s_next, terminated or truncated
            if over:
                ends[n], returns[n], lengths[n] = step + 1, total, elapsed
                n += 1
        places.state[k, 0], places.action[k, 0], places.elapsed[k, 0] = s, a, elapsed
        places.over[k, 0], places.total[k, 0] = over, total
        ended[k] = n


def can_learn_in_table(agent: Any) -> bool:
    """Whether the compiled loop gives what `learn_online` would give.

    Not where a subclass or an instance has an `act` or `observe` of its own, where the environment
    is no bare table, or where a generator is not the one that the loop can step.
    """
    home = next((kind for kind in type(agent).__mro__ if "rules" in vars(kind)), None)
    for name in ("act", "observe"):
        own = getattr(getattr(agent, name, None), "__func__", None)
        if home is None or own is not vars(home).get(name):
            return False
    stand = stand_for(agent)
    return stand is not None and stand.ready and pcg64.can_step(agent.rng)


def stand_for(agent: Any) -> Stand | None:
    """The agent's environment for the loop, looked at once."""
    session = agent.session
    if not session.looked:
        session.stand, session.looked = stand_of(session.env), True
    stand: Stand | None = session.stand
    return stand


def is_compiled(agent: Any) -> bool:
    """Whether the loop of this kind of agent has been compiled, or found on disk, before."""
    return _key(agent) in _loops


def learn_in_tables(agents: Sequence[Any], steps: int) -> None:
    """Lets agents of one kind take steps, each in an environment of its own with the same table.

    All of them pass `can_learn_in_table`.
    """
    for agent in agents:
        if agent.session.over:
            agent.session.begin()
    stands: list[Any] = [stand_for(agent) for agent in agents]
    places: Place = stacked([place_of(stand) for stand in stands])
    many = stacked([agent.tables for agent in agents])
    rngs = np.stack([pcg64.words(agent.rng) for agent in agents])
    loop, world = _loop_of(agents[0]), stands[0].world
    size = min(steps, max(CHUNK // len(agents), 1_000))
    episodes, ended = _room(len(agents), size), np.zeros(len(agents), np.int64)
    try:
        for begin in range(0, steps, size):
            block = min(size, steps - begin)
            loop(block, world, places, many, rngs, episodes, ended)
            for k, agent in enumerate(agents):
                agent.num_timesteps += block
                if stands[k].recorder is not None:
                    n = int(ended[k])
                    stands[k].recorder.record(block, *(column[k, :n] for column in episodes))
    finally:  # an interrupt leaves everything where the last block has ended
        for k, agent in enumerate(agents):
            put_at(stands[k], row_of(places, k))
            pcg64.put_back(agent.rng, rngs[k])
            session, state = agent.session, int(places.state[k, 0])
            session.over, session.mask = bool(places.over[k, 0]), stands[k].mask(state)
            session.tape.observation = state
            session.tape.info = {} if session.mask is None else {"action_mask": session.mask}
        unstack(many, [agent.tables for agent in agents])


_loops: dict[Any, Any] = {}


def _key(agent: Any) -> Any:
    stand: Any = stand_for(agent)
    return type(agent).rules, type(agent.tables), stand.masked


def _loop_of(agent: Any) -> Any:
    """The compiled loop of an agent's rules: one for all agents of a kind."""
    key = _key(agent)
    if key not in _loops:
        from rlsuite_agents.parts.borrowed import borrowed

        rules: Rules = type(agent).rules
        names: dict[str, Any] = {"act": rules.act, "observe": rules.observe, "borrowed": borrowed}
        names["member"] = member_rule(agent.tables, borrowed)
        names["mask_of"] = its_mask if key[-1] else no_mask
        _loops[key] = bound(table_loop, keep=True, random=pcg64.random, **names)
    return _loops[key]


def _room(n: int, size: int) -> Episodes:
    """Space for as many episodes as there are steps: pages that are never written cost nothing."""
    return Episodes(
        np.empty((n, size), np.int64), np.empty((n, size)), np.empty((n, size), np.int64)
    )
