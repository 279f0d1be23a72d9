"""The log of a training: blocks of steps are counted as if one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlsuite.training import MAX_WINDOWS, TrainingLog

BLOCKS = st.lists(
    st.tuples(st.integers(0, 3_000), st.sampled_from([0.0, 0.002, 0.1, 0.7, 1.0])),
    min_size=1,
    max_size=6,
)


def one_by_one(log, steps, ends, returns, lengths):
    episodes = iter(zip(ends.tolist(), returns.tolist(), lengths.tolist(), strict=True))
    end, *episode = next(episodes, (None, None, None))
    for step in range(1, steps + 1):
        log.count(None)
        if step == end:
            log.finish(*episode)
            end, *episode = next(episodes, (None, None, None))


def block(rng, steps, density):
    ends = np.flatnonzero(rng.random(steps) < density) + 1
    return steps, ends, rng.normal(size=len(ends)), rng.integers(1, 99, len(ends))


@settings(max_examples=30, deadline=None)
@given(blocks=BLOCKS, seed=st.integers(0, 99))
def test_blocks_are_counted_as_if_one_by_one(blocks, seed):
    rng = np.random.default_rng(seed)
    log, twin = TrainingLog(), TrainingLog()
    for steps, density in blocks:
        arguments = block(rng, steps, density)
        log.add_block(*arguments)
        one_by_one(twin, *arguments)
        assert log.state() == twin.state()


def test_windows_double_in_a_block_and_sums_are_exact_to_the_bit():
    """An episode at every step: 2,000 windows are full again and again."""
    rng = np.random.default_rng(0)
    log, twin = TrainingLog(), TrainingLog()
    log.finish(0.1, 1)
    twin.finish(0.1, 1)
    arguments = block(rng, 5 * MAX_WINDOWS, 1.0)
    log.add_block(*arguments)
    one_by_one(twin, *arguments)
    assert log.state() == twin.state()
    curve = log.curve()
    assert len(curve.step) <= MAX_WINDOWS
    assert curve.episodes.sum() == 5 * MAX_WINDOWS + 1


def test_a_log_goes_on_from_its_state():
    rng = np.random.default_rng(1)
    log = TrainingLog()
    log.add_block(*block(rng, 3_000, 0.3))
    twin = TrainingLog()
    twin.restore(log.state())
    arguments = block(rng, 3_000, 0.3)
    log.add_block(*arguments)
    twin.add_block(*arguments)
    assert log.state() == twin.state()
