"""Replay: transitions by hand, against a slow twin of n-step returns, drawn fairly, restored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from registry.errors import CheckpointError, SettingError
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.heads import EVERYTHING
from rlsuite_agents.parts.lanes import Stepped
from rlsuite_agents.parts.replay import Batch, Replay


def replay(capacity=100, **more):
    return Replay(capacity, 1, 3, **{"gamma": 0.5, **more})


def add(memory, state, reward, end="", after=None, mask=None, lanes=1, alive=True, **more):
    """One step in each lane, all alike; features of S' are `after`, or those of S plus 1."""
    ahead = state + 1 if after is None else after
    stepped = Stepped(
        np.full(lanes, float(reward)),
        np.full(lanes, end == "terminated"),
        np.full(lanes, end == "truncated"),
        np.full((lanes, 1), ahead, np.float32),
    )
    seen = np.full((lanes, 1), state, np.float32)
    actions = more.pop("actions", np.full(lanes, state % 3))
    allowed = EVERYTHING if mask is None else np.array([mask] * lanes, bool)
    memory.add(seen, actions, stepped, allowed, np.broadcast_to(alive, (lanes,)), **more)


def stored(memory):
    """(S, A, return, discount, S') of each transition."""
    n = len(memory)
    columns = (memory.features[:n, 0], memory.actions[:n], memory.rewards[:n])
    return list(zip(*columns, memory.discounts[:n], memory.ahead[:n, 0], strict=True))


def test_single_steps_by_hand():
    memory = replay()
    add(memory, 0, 1.0)
    add(memory, 1, 2.0, "terminated")
    add(memory, 5, 3.0, "truncated", after=9)
    assert stored(memory) == [(0, 0, 1, 0.5, 1), (1, 1, 2, 0.0, 2), (5, 2, 3, 0.5, 9)]


def test_several_steps_by_hand():
    """γ = ½, n = 3: rewards 1, 2, 4, 8, and then the end, which shortens the last ones."""
    memory = replay(n_steps=3)
    for state, reward in enumerate((1, 2, 4)):
        add(memory, state, reward)
    assert stored(memory) == [(0, 0, 3.0, 0.125, 3)]
    add(memory, 3, 8, "truncated", after=7)
    rest = [(1, 1, 6.0, 0.125, 7), (2, 2, 8.0, 0.25, 7), (3, 0, 8.0, 0.5, 7)]
    assert stored(memory)[1:] == rest
    add(memory, 6, 1, "terminated")
    assert stored(memory)[-1] == (6, 0, 1.0, 0.0, 7)  # nothing of it in the episode before


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_n_step_returns_equal_a_slow_twin(n):
    rng = np.random.default_rng(n)
    memory, rewards, ends, wanted = replay(n_steps=n), [], [], []
    for state in range(60):
        rewards.append(float(rng.normal()))
        ends.append(str(rng.choice(["", "", "", "terminated", "truncated"])))
        add(memory, state, rewards[-1], ends[-1])
    for t in range(60):
        last = next((i for i in range(t, min(t + n, 60)) if ends[i]), t + n - 1)
        if last < 60:
            total = sum(0.5 ** (i - t) * rewards[i] for i in range(t, last + 1))
            discount = 0.0 if ends[last] == "terminated" else 0.5 ** (last - t + 1)
            wanted.append((t, t % 3, total, discount, last + 1))
    np.testing.assert_allclose(stored(memory), wanted, rtol=1e-6)


def test_the_oldest_make_room():
    memory = replay(3)
    for state in range(5):
        add(memory, state, 0.0)
    assert sorted(row[0] for row in stored(memory)) == [2, 3, 4]
    assert (len(memory), memory.added) == (3, 5)


def test_lanes_that_are_not_alive_add_nothing():
    memory = replay(lanes=2, n_steps=2)
    add(memory, 0, 1.0, lanes=2, alive=[True, False])
    add(memory, 1, 1.0, lanes=2)
    assert stored(memory) == [(0, 0, 1.5, 0.25, 2)]


def test_masks_are_those_of_what_follows():
    memory = replay()
    add(memory, 0, 0.0)
    assert len(memory.masks) == 0
    add(memory, 1, 0.0, mask=[True, False, True])
    np.testing.assert_array_equal(memory.masks[:2], [[1, 1, 1], [1, 0, 1]])
    batch = memory.draw(8, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.mask[:, 1], batch.features[:, 0] == 0)


@pytest.mark.parametrize("n", [1, 3])
def test_masks_of_the_states_themselves_are_kept_for_who_asks(n):
    """The mask of state k allows action k % 3 alone; before the first mask everything was."""
    memory = replay(n_steps=n)
    add(memory, 0, 0.0)
    assert len(memory.masks_here) == 0
    for state in range(1, 7):
        here = np.eye(3, dtype=bool)[[state % 3]]
        add(memory, state, 0.0, "truncated" if state == 6 else "", mask_here=here)
    batch = memory.draw(20, np.random.default_rng(0))
    for state, mask in zip(batch.features[:, 0], batch.mask_here, strict=True):
        assert mask.tolist() == ([True] * 3 if state == 0 else np.eye(3)[int(state) % 3].tolist())


@pytest.mark.parametrize("n", [1, 3])
def test_continuous_actions_are_kept_and_restored(n):
    first, second = (Replay(8, 1, 2, continuous=True, n_steps=n, gamma=0.5) for _ in "ab")
    for state in range(5):
        add(first, state, 0.0, actions=np.array([[state, -state]], np.float32))
    batch = first.draw(20, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.actions, batch.features * [1, -1])
    assert batch.actions.dtype == np.float32
    arrays = first.arrays()
    second.restore(Checkpoint(path=Path("x"), config=None, arrays=arrays, state={}))
    for memory in (first, second):
        add(memory, 5, 0.0, "terminated", actions=np.array([[5, -5]], np.float32))
    np.testing.assert_array_equal(first.actions, second.actions)
    arrays["replay.actions"] = arrays["replay.actions"][:, :1]
    with pytest.raises(CheckpointError, match=r"replay\.actions"):
        second.restore(Checkpoint(path=Path("x"), config=None, arrays=arrays, state={}))


def test_even_draws_are_even():
    """10,000 draws of 10: a count has mean 1,000 and standard deviation 30."""
    memory = replay()
    for state in range(10):
        add(memory, state, 0.0)
    batch = memory.draw(10_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(batch.rows, minlength=10), 1_000, atol=5 * 30)
    np.testing.assert_array_equal(batch.weights, 1.0)
    np.testing.assert_array_equal(batch.features[:, 0], batch.rows)


def test_draws_follow_the_errors():
    """P ∝ |δ|^½ for errors 1, 4, 9: 1/6, 2/6, 3/6; one draw a stratum, so to within 2."""
    memory = replay(3, alpha=0.5)
    for state in range(3):
        add(memory, state, 0.0)
    memory.learned(np.arange(3), np.array([1, 4, 9], np.float32))
    batch = memory.draw(6_000, np.random.default_rng(0), beta=1.0)
    np.testing.assert_allclose(np.bincount(batch.rows), [1_000, 2_000, 3_000], atol=2)
    np.testing.assert_allclose(batch.weights, (1 / (1 + batch.rows)), rtol=1e-5)
    add(memory, 3, 0.0)  # takes the place of 0, with the largest weight so far
    weights = memory.tree[len(memory.tree) // 2 :][:3]
    np.testing.assert_allclose(weights, [3, 2, 3], rtol=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("mask", [None, [True, False, True]])
@pytest.mark.parametrize("steps", [0, 2, 5, 20])
def test_it_goes_on_from_its_arrays(alpha, mask, steps):
    first, second = (replay(8, n_steps=3, alpha=alpha) for _ in "ab")
    for state in range(steps):
        add(first, state, state / 7, mask=mask)
    if len(first):
        first.learned(np.arange(len(first)), np.linspace(0, 3, len(first), dtype=np.float32))
    second.restore(Checkpoint(path=Path("x"), config=None, arrays=first.arrays(), state={}))
    for memory in (first, second):
        for state in range(4):
            add(memory, state, 0.5, "terminated" if state == 2 else "", mask=mask)
    one, other = (memory.draw(50, np.random.default_rng(1), 0.4) for memory in (first, second))
    for field in dataclasses.fields(Batch):
        found = [getattr(drawn, field.name) for drawn in (one, other)]
        np.testing.assert_array_equal(*found, err_msg=field.name)


@pytest.mark.parametrize("name", ["actions", "open.actions", "open.lanes"])
def test_a_checkpoint_with_an_index_out_of_range_is_refused(name):
    first = replay(n_steps=2)
    for state in range(4):
        add(first, state, 0.0)
    arrays = first.arrays()
    arrays[f"replay.{name}"] = arrays[f"replay.{name}"] + 3
    found = Checkpoint(path=Path("x"), config=None, arrays=arrays, state={})
    with pytest.raises(CheckpointError, match=rf"'replay.{name}' should hold numbers in \[0, "):
        replay(n_steps=2).restore(found)


@pytest.mark.parametrize("capacity", [10**13, 10**30])
def test_more_than_the_memory_holds_is_refused(capacity):
    """10^13 x 2 x 4 numbers of 4 bytes are 320,000 GB."""
    gigabytes = f"{capacity * 32 // 10**9:,}" if capacity == 10**13 else ""
    with pytest.raises(SettingError, match=rf"buffer_size is {capacity}: .* {gigabytes}.* GB, and"):
        Replay(capacity, 4, 2, gamma=0.9)
