"""Rollouts: advantages by hand, time limits, steps that are no experience, episode totals."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlsuite_agents.parts.heads import EVERYTHING, head_of
from rlsuite_agents.parts.lanes import Stepped
from rlsuite_agents.parts.rollout import EpisodeTotals, Rollout

ALIVE = np.ones(1, bool)


def stepped(reward=0.0, terminated=False, truncated=False, ahead=0.0):
    return Stepped(
        np.array([reward]),
        np.array([terminated]),
        np.array([truncated]),
        np.array([[ahead]], np.float32),
    )


TWO = Discrete(2)


def filled(steps, alive=None, space=TWO):
    """A rollout of one lane whose features, and so its values, are those of `steps`."""
    head = head_of(space, "A")
    rollout = Rollout(len(steps), 1, 1, head)
    for t, (value, step) in enumerate(steps):
        action = np.full((1, *head.action_shape), t % 2)
        living = ALIVE if alive is None else np.array([alive[t]])
        rollout.add(np.array([[value]], np.float32), EVERYTHING, action, np.zeros(1), living)
        rollout.finish(step, step.rewards, step.features)
    assert rollout.full
    return rollout


def value(features):
    return features[..., 0]


def test_a_terminal_state_has_no_value_by_hand():
    """γ = ½, λ = 1: A_1 = 2 - 4 = -2, A_0 = 1 + ½·4 - 6 + ½·A_1 = -4; S' is 99, a trap."""
    rollout = filled([(6.0, stepped(1.0, ahead=4.0)), (4.0, stepped(2.0, True, ahead=99.0))])
    e = rollout.experience(value, gamma=0.5, gae_lambda=1.0)
    np.testing.assert_allclose(e.advantages, [-4.0, -2.0])
    np.testing.assert_allclose(e.returns, [2.0, 2.0])
    np.testing.assert_array_equal(e.values, [6.0, 4.0])
    assert rollout.filled == 0


@pytest.mark.parametrize("at", ["inside", "at the end"])
def test_a_time_limit_goes_on_with_the_last_value_by_hand(at):
    """γ = ½, λ = 1: A = 1 + ½·10 - 6 = 0 whatever follows; the 8 is the next episode's start."""
    cut = (6.0, stepped(1.0, truncated=True, ahead=10.0))
    after = (8.0, stepped(3.0, ahead=2.0))
    steps = [cut, after] if at == "inside" else [after, cut]
    e = filled(steps).experience(value, gamma=0.5, gae_lambda=1.0)
    k = steps.index(cut)
    assert e.advantages[k] == pytest.approx(0.0)
    if at == "inside":
        assert e.advantages[1] == pytest.approx(3 + 0.5 * 2 - 8)


def test_steps_that_only_reset_are_left_out():
    """The second step is dead: what comes before and after it is as if it were not there."""
    steps = [
        (6.0, stepped(1.0, True, ahead=99.0)),
        (99.0, stepped(0.0, ahead=5.0)),
        (5.0, stepped(2.0, ahead=4.0)),
    ]
    e = filled(steps, alive=[True, False, True]).experience(value, 0.5, 1.0)
    assert len(e) == 2
    np.testing.assert_allclose(e.advantages, [1 - 6, 2 + 0.5 * 4 - 5])
    np.testing.assert_array_equal(e.features[:, 0], [6.0, 5.0])
    assert len(e.mask) == 0


def test_masks_may_come_late_and_box_actions_keep_their_shape():
    head = head_of(Discrete(3), "A")
    rollout = Rollout(2, 1, 1, head)
    for mask in (EVERYTHING, np.array([[True, False, True]])):
        rollout.add(np.zeros((1, 1)), mask, np.zeros(1), np.zeros(1), ALIVE)
        rollout.finish(stepped(), np.zeros(1), np.zeros((1, 1)))
    assert rollout.experience(value, 0.9, 0.9).mask.tolist() == [[True] * 3, [True, False, True]]
    e = filled([(0.0, stepped())] * 3, space=Box(-1, 1, (2, 2))).experience(value, 0.9, 0.9)
    assert (e.actions.shape, e.actions.dtype) == ((3, 4), np.float32)


def test_episode_totals_by_hand():
    totals = EpisodeTotals(1)
    assert np.isnan(totals.means()).all()
    for reward, over in ((1.0, False), (2.0, True), (5.0, True), (7.0, False)):
        totals.add(stepped(reward, over), ALIVE)
    totals.add(stepped(9.0), ~ALIVE)
    assert list(totals.recent) == [(3.0, 2), (5.0, 1)]
    assert totals.means() == (4.0, 1.5)
    assert (totals.count, totals.returns[0], totals.lengths[0]) == (2, 7.0, 1)
    for _ in range(150):
        totals.add(stepped(1.0, True), ALIVE)
    assert (totals.count, len(totals.recent)) == (152, 100)
