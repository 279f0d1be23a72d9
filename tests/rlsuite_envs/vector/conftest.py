"""Two vector environments side by side: every number, dtype, key and mask must be the same."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

MODES = ("NextStep", "SameStep", "Disabled")


def same(ours, theirs, where=""):
    """Equal down to types and bits; arrays of objects and dictionaries entry by entry."""
    assert type(ours) is type(theirs), f"{where}: {type(ours)} {type(theirs)}"
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key in ours:
            same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(ours, tuple):
        assert len(ours) == len(theirs), where
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, f"{where}[{i}]")
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), where
        if ours.dtype == object:
            for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                same(one, other, f"{where}[{i}]")
        else:
            assert ours.tobytes() == theirs.tobytes(), f"{where}: {ours} {theirs}"
    else:
        assert ours == theirs, f"{where}: {ours!r} {theirs!r}"


def arrays_of(value):
    """All arrays in what a call returned."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        return [array for part in value for array in arrays_of(part)]
    return [value] if isinstance(value, np.ndarray) else []


def choices(rng, envs, over):
    """Random actions; where they are not looked at, sometimes invalid ones."""
    space = envs.single_action_space
    if isinstance(space, gym.spaces.Box):
        actions = rng.uniform(space.low, space.high, (envs.num_envs, *space.shape))
        if over is not None and rng.random() < 0.5:
            actions[over] = rng.choice([-2.0, np.nan, np.inf])
        return actions.astype(space.dtype)
    n = int(space.n)
    actions = rng.integers(n, size=envs.num_envs)
    if over is not None and rng.random() < 0.5:
        actions[over] = rng.choice([-1, n, 10**12])
    return actions


def drive(ours, theirs, *, seed, steps=40):
    """Walks both along, with resets in between: all, some, with seeds and without."""
    rng = np.random.default_rng(seed)
    n, mode = ours.num_envs, ours.autoreset_mode.value
    assert ours.autoreset_mode is theirs.autoreset_mode
    assert ours.metadata == theirs.metadata
    for name in ("observation_space", "action_space"):
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(ours, f"single_{name}") == getattr(theirs, f"single_{name}")
    same(ours.reset(seed=seed), theirs.reset(seed=seed), "first reset")
    over = np.zeros(n, bool)
    for t in range(steps):
        if rng.random() < 0.1:
            mask = rng.random(n) < 0.5
            mask[rng.integers(n)] = True
            seeds = (None, int(rng.integers(100)), [None, *range(n - 1)])[rng.integers(3)]
            options = {"reset_mask": mask}
            if rng.random() < 0.3:
                options, mask = None, np.ones(n, bool)
            result = ours.reset(seed=seeds, options=options)
            assert options is None or set(options) == {"reset_mask"}
            same(result, theirs.reset(seed=seeds, options=options), f"reset before {t}")
            over = over & ~mask
        if mode == "Disabled" and over.any():
            same(
                ours.reset(options={"reset_mask": over}),
                theirs.reset(options={"reset_mask": over}),
                f"reset before {t}",
            )
        actions = choices(rng, ours, over if mode == "NextStep" else None)
        kept = actions.copy()
        result = ours.step(actions)
        same(result, theirs.step(actions), f"step {t}")
        assert actions.tobytes() == kept.tobytes()
        if mode != "SameStep":
            over = result[2] | result[3]
    generators = [g.bit_generator.state for g in ours.np_random]
    assert generators == [g.bit_generator.state for g in theirs.np_random]
    assert ours.np_random_seed == theirs.np_random_seed


def sync(make, n, limit, mode):
    """`SyncVectorEnv` of n environments, each in a `TimeLimit`."""

    def limited():
        env = make()
        return env if limit is None else gym.wrappers.TimeLimit(env, limit)

    return SyncVectorEnv([limited] * n, autoreset_mode=mode)


@pytest.fixture(scope="session")
def side_by_side():
    return SimpleNamespace(
        same=same, arrays_of=arrays_of, choices=choices, drive=drive, sync=sync, modes=MODES
    )
