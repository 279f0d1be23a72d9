"""Mazes that change: bit for bit what `SyncVectorEnv` gives, each row with its own clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import OracleError
from rlsuite_envs.tabular.dyna_maze import DynaMaze
from rlsuite_envs.vector.mazes import dyna_maze

UP = 0


@settings(max_examples=60, deadline=None)
@given(
    keywords=st.sampled_from(
        [{}, *({"variant": v, "change_at": n} for v in ("blocking", "shortcut") for n in (1, 7))]
    ),
    mode=st.sampled_from(("NextStep", "SameStep", "Disabled")),
    limit=st.none() | st.integers(1, 20),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_the_vector_form_equals_sync(side_by_side, keywords, mode, limit, n, seed):
    ours = dyna_maze(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: DynaMaze(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)
    states = ours.get_state()["envs"]
    assert states == [env.unwrapped.get_state() for env in theirs.envs]


def test_the_answer_key_of_a_row():
    envs = dyna_maze(2, variant="blocking", change_at=3, max_episode_steps=50)
    with pytest.raises(OracleError, match="name one of them, row=0 to 1"):
        envs.oracle()
    with pytest.raises(OracleError, match="name one of them, row=0 to 1"):
        _ = envs.model
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.array([UP, UP]))
    envs.reset(seed=0, options={"reset_mask": np.array([True, False])})
    values = [envs.oracle(row=row, gamma=0.95).optimal_return for row in range(2)]
    assert values == pytest.approx([0.95**9, 0.95**15])
    named = [envs.oracle(phase=phase, gamma=0.95).optimal_return for phase in range(2)]
    assert named == values
    assert envs.oracle(phase=0).horizon == 50
    saved = envs.get_state()
    envs.set_state(saved)
    assert envs.get_state() == saved
    assert dyna_maze(1, variant="shortcut").model.n_states == 54
