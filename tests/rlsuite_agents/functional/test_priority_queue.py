"""The queue in arrays: by hand, and against a dictionary that is searched through."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlsuite_agents.functional.priority_queue import empty_queue, pop, push
from rlsuite_agents.parts.compiled import compiled

SIZE = 9
CALLS = st.lists(
    st.tuples(st.integers(-3, SIZE - 1), st.sampled_from([0.5, 1.0, 1.5, 2.0, 7.0])), max_size=60
)


def test_the_highest_first_and_of_equal_ones_the_lowest_number():
    queue = empty_queue(5)
    for number, priority in ((3, 1.0), (1, 2.0), (4, 2.0), (0, 0.5)):
        push(queue, number, priority)
    assert [pop(queue) for _ in range(4)] == [1, 4, 3, 0]
    assert queue.n_queued[0] == 0
    assert (queue.place == -1).all()


def test_a_priority_is_raised_and_never_lowered():
    queue = empty_queue(3)
    push(queue, 0, 2.0)
    push(queue, 1, 1.0)
    push(queue, 0, 0.1)
    assert queue.priority[0] == 2.0
    push(queue, 1, 3.0)
    assert [pop(queue), pop(queue)] == [1, 0]


@given(CALLS)
def test_it_is_the_obvious_queue(calls):
    """A negative number stands for a pop."""
    queue, twin = empty_queue(SIZE), {}
    for number, priority in calls:
        if number >= 0:
            push(queue, number, priority)
            twin[number] = max(priority, twin.get(number, 0.0))
        elif twin:
            first = min(twin, key=lambda one: (-twin[one], one))
            del twin[first]
            assert pop(queue) == first
        assert queue.n_queued[0] == len(twin)
        assert set(queue.heap[: len(twin)].tolist()) == set(twin)
        assert all(queue.heap[queue.place[one]] == one for one in twin)


def test_compiled_it_is_the_same():
    rng, one, two = np.random.default_rng(0), empty_queue(50), empty_queue(50)
    for _ in range(300):
        if rng.random() < 0.3 and one.n_queued[0]:
            assert pop(one) == compiled(pop)(two)
        else:
            number, priority = int(rng.integers(50)), float(rng.integers(9))
            push(one, number, priority)
            compiled(push)(two, number, priority)
        for ours, theirs in zip(one, two, strict=True):
            np.testing.assert_array_equal(ours, theirs)
