"""Linear control: bit for bit what `SyncVectorEnv` gives, in all three modes."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

import rlsuite  # noqa: F401  registers the ids
from registry.errors import InvalidActionError
from rlsuite_envs.control.lqr import LQR
from rlsuite_envs.vector.control import lqr

THREE_BY_TWO = {
    "A": [[0.9, 0.3, 0.0], [-0.2, 1.05, 0.1], [0.0, 0.4, 0.7]],
    "B": [[1.0, 0.2], [0.0, 0.5], [0.3, -0.7]],
    "Q": [[1.0, 0.1, 0.0], [0.1, 2.0, 0.3], [0.0, 0.3, 0.5]],
    "R": [[0.4, 0.05], [0.05, 0.2]],
    "noise": 0.3,
    "start": 2.0,
    "horizon": 7,
}


@settings(max_examples=60, deadline=None)
@given(
    keywords=st.sampled_from([{}, {"horizon": 4, "noise": 0.0}, {"horizon": 1}, THREE_BY_TWO]),
    mode=st.sampled_from(("NextStep", "SameStep", "Disabled")),
    limit=st.none() | st.integers(1, 20),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_the_vector_form_equals_sync(side_by_side, keywords, mode, limit, n, seed):
    ours = lqr(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: LQR(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)
    saved = ours.get_state()
    assert saved["envs"] == [env.unwrapped.get_state() for env in theirs.envs]
    twin = lqr(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    twin.set_state(saved)
    assert twin.get_state() == saved


def test_every_row_is_answered_alike():
    envs = lqr(3, max_episode_steps=20)
    assert envs.oracle().horizon == 20
    assert lqr(3).oracle().optimal_return == LQR().oracle().optimal_return


def test_actions_are_refused_before_anything_moves():
    envs = lqr(3)
    with pytest.raises(ResetNeeded, match="no episode before the first reset"):
        envs.step(np.zeros((3, 1)))
    envs.reset(seed=0)
    before = envs.get_state()
    for actions in (np.zeros(3), np.zeros((3, 2)), [["a"]] * 3, [[0.0], [0.0, 1.0], [0.0]]):
        with pytest.raises(InvalidActionError, match=r"numbers in \[-1, 1\], of shape \(3, 1\)"):
            envs.step(actions)
    with pytest.raises(InvalidActionError, match="actions of sub-environments 0, 2 are not in"):
        envs.step(np.array([[1.5], [1.0], [np.nan]]))
    assert envs.get_state() == before
