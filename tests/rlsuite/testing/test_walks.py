"""Where two values differ, and how actions are chosen."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlsuite.testing.report import Failure
from rlsuite.testing.walks import (
    Player,
    difference,
    mask_of,
    plain,
    require_same,
    rows,
    seeded_walk,
)


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        (1, 1, ""),
        (float("nan"), float("nan"), ""),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), ""),
        ({"a": (1, [2])}, {"a": (1, [2])}, ""),
        (1, 1.0, "x is 1 (int) against 1.0 (float)"),
        (1.0, 2.0, "x is 1.0 against 2.0"),
        (True, np.True_, "x is True (bool) against np.True_ (bool)"),
        ({"a": 1}, {"b": 1}, "x has the keys ['a'] against ['b']"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "x['a'][1] is 2 against 3"),
        ((1, 2), (1,), "x has 2 entries against 1"),
        (np.zeros(2), np.zeros(3), "float64 array of shape (2,) against float64 array of sh"),
        (np.zeros(2), np.zeros(2, np.float32), "float64 array of shape (2,) against float32"),
        (np.zeros(1), np.ones(1), "x is array([0.]) against array([1.])"),
        (np.array([None, 1], object), np.array([None, 2], object), "x[1] is 1 against 2"),
    ],
)
def test_differences(one, other, sentence):
    assert (difference(one, other, "x") == "") == (sentence == "")
    assert sentence in difference(one, other, "x")


def test_a_player_keeps_to_the_mask():
    player = Player(Discrete(3), 0)
    assert {player.choose(np.array([0, 1, 0])) for _ in range(20)} == {1}
    assert len({int(player.choose(np.zeros(3))) for _ in range(50)}) == 3  # nothing allowed: all
    assert Player(Box(-1, 1, (2,)), 0).choose(np.ones(2)).shape == (2,)


def test_a_player_does_not_seed_the_environments_space():
    space = Discrete(5, seed=0)
    Player(space, 1).choose()
    assert space.sample() == Discrete(5, seed=0).sample()


class Masked(gym.Env):
    def action_masks(self):
        return np.array([1, 0])


def test_where_masks_are_looked_for():
    env = Masked()
    assert mask_of(env, 0, {"action_mask": "info"}) == "info"
    assert mask_of(env, {"action_mask": "observation"}, {}) == "observation"
    assert mask_of(env, 0, {}).tolist() == [1, 0]
    assert mask_of(gym.make("CartPole-v1"), 0, {}) is None


def test_walks_that_part():
    env = gym.make("FrozenLake-v1")
    require_same(seeded_walk(env, 30, 0), seeded_walk(gym.make("FrozenLake-v1"), 30, 0), "same")
    with pytest.raises(Failure, match=r"seeds: event \d+ differs, "):
        require_same(
            seeded_walk(env, 300, 0), seeded_walk(gym.make("FrozenLake-v1"), 300, 1), "seeds"
        )


def test_rows_and_plain_values():
    batch = {"a": np.array([1, 2]), "b": (np.array([3, 4]),)}
    assert [plain(row) for row in rows(batch)] == [
        (("a", 1), ("b", (3,))),
        (("a", 2), ("b", (4,))),
    ]
    assert plain(np.float32([1, 2])) == (1.0, 2.0)
