"""What all native vector environments share, tried on tables and bandits."""

from __future__ import annotations

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

import rlsuite
from registry.errors import InvalidActionError, SettingError
from rlsuite_envs.tabular.grid_world import GridWorld
from rlsuite_envs.vector.checks import check_limit
from rlsuite_envs.vector.tabular import TabularVectorEnv, grid_world

IDS = sorted(i for i in gym.registry if i.startswith("rlsuite/"))
NATIVE = [i for i in IDS if gym.registry[i].vector_entry_point is not None]
every_id = pytest.mark.parametrize("identifier", NATIVE)
every_mode = pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])

KEYWORDS = [
    ("rlsuite/GridWorld-v0", {"redraw": True, "observation": "planes", "slip": 0.2}),
    ("rlsuite/GridWorld-v0", {"observation": "position"}),
    *((identifier, {}) for identifier in NATIVE),
]


def walk(envs, steps, seed=0):
    """Steps with random actions, resetting where the mode leaves it to the user."""
    results = []
    envs.action_space.seed(seed)
    for _ in range(steps):
        results.append(envs.step(envs.action_space.sample()))
        over = results[-1][2] | results[-1][3]
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and over.any():
            results.append(envs.reset(options={"reset_mask": over}))
    return results


def test_every_id_has_a_native_form():
    assert NATIVE == IDS


@every_id
def test_gymnasiums_make_vec_takes_it_without_a_warning(identifier):
    envs = gym.make_vec(identifier, num_envs=2)
    assert not isinstance(envs, gym.vector.SyncVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    again = gym.make_vec(envs.spec)
    assert (type(again), again.num_envs, again.max_episode_steps) == (
        type(envs),
        2,
        gym.spec(identifier).max_episode_steps,
    )
    assert again.spec == envs.spec
    read = gym.envs.registration.EnvSpec.from_json(envs.spec.to_json())
    assert gym.make_vec(read).num_envs == 2
    envs.close()


@every_id
@every_mode
def test_every_returned_array_is_fresh(side_by_side, identifier, mode):
    envs = rlsuite.make_vec(identifier, 3, autoreset_mode=mode, max_episode_steps=4)
    seen = [envs.reset(seed=0), *walk(envs, 12)]
    arrays = [side_by_side.arrays_of(result) for result in seen]
    flat = [array for result in arrays for array in result]
    for i, one in enumerate(flat):
        assert one.flags.writeable
        assert not any(np.shares_memory(one, other) for other in flat[i + 1 :])
    before = envs.get_state()
    for array in flat:
        if array.dtype != object:
            array[...] = 0
    assert envs.get_state() == before


@every_id
@pytest.mark.parametrize(
    "bad", [[0, -1, 0], [0, 0, 99], [0.0, 1.0, 0.0], [0, 1], [[0, 1, 0]], 0, [True, False, True]]
)
def test_a_bad_batch_of_actions_is_refused_before_anything_moves(identifier, bad):
    envs = gym.make_vec(identifier, num_envs=3)
    envs.reset(seed=0)
    before = envs.unwrapped.get_state()
    with pytest.raises(InvalidActionError, match=r"sub-environment"):
        envs.step(np.array(bad))
    assert envs.unwrapped.get_state() == before


def test_the_message_names_the_rows():
    envs = gym.make_vec("rlsuite/GridWorld-v0", num_envs=30)
    envs.reset(seed=0)
    actions = np.zeros(30, np.int64)
    actions[[4, 17]] = [7, -2]
    with pytest.raises(
        InvalidActionError,
        match=r"of sub-environments 4, 17 are not in the action space: they must be whole numbers "
        r"from 0 to 3, got 7, -2\. No sub-environment has moved\.",
    ):
        envs.step(actions)
    with pytest.raises(InvalidActionError, match=r"0, 1, 2, 3, 4, 5, 6, 7 and 22 more"):
        envs.step(np.full(30, 4))
    with pytest.raises(InvalidActionError, match="rows of different lengths"):
        envs.step([[0], [0, 1]])


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.uint8, np.uint64, ">i8"])
def test_actions_of_other_types(side_by_side, kind):
    envs, plain = (gym.make_vec("rlsuite/GridWorld-v0", num_envs=3) for _ in range(2))
    envs.reset(seed=0), plain.reset(seed=0)
    for actions in ([1, 2, 3], [1, 1, 1]):
        given = kind(actions) if isinstance(kind, type) and kind in (list, tuple) else None
        given = np.array(actions, kind) if given is None else given
        side_by_side.same(envs.step(given), plain.step(np.array(actions)))
    frozen = np.array([0, 1, 2, 3, 0, 1])[::2]
    frozen.setflags(write=False)
    side_by_side.same(envs.step(frozen), plain.step(np.array([0, 2, 0])))


def test_a_step_needs_a_reset():
    for identifier in NATIVE:
        envs = gym.make_vec(identifier, num_envs=2)
        with pytest.raises(ResetNeeded, match="call reset"):
            envs.step(np.zeros(2, np.int64))
        with pytest.raises(ResetNeeded, match="reset_mask leaves out sub-environment 1"):
            envs.reset(options={"reset_mask": np.array([True, False])})


def test_disabled_refuses_to_step_what_is_over():
    envs = grid_world(4, max_episode_steps=3, autoreset_mode="Disabled", map="SG")
    envs.reset(seed=0)
    _, _, terminated, _, _ = envs.step(np.array([1, 0, 1, 0]))
    assert terminated.tolist() == [True, False, True, False]
    before = envs.get_state()
    with pytest.raises(ResetNeeded, match=r"the episodes of sub-environments 0, 2 are over"):
        envs.step(np.zeros(4, np.int64))
    assert envs.get_state() == before
    envs.reset(options={"reset_mask": terminated})
    assert envs.step(np.zeros(4, np.int64))[0].tolist() == [0, 0, 0, 0]


def test_the_reset_mask_is_checked_and_left_alone():
    envs = grid_world(3)
    envs.reset(seed=0)
    for mask, error, text in (
        ([True, False, True], TypeError, "must be a NumPy array of bool, got list"),
        (np.array([1, 0, 1]), TypeError, "must be a NumPy array of bool, got int64 array"),
        (np.ones(2, bool), ValueError, r"must have the shape \(3,\) .* got shape \(2,\)"),
        (np.zeros(3, bool), ValueError, "be True somewhere"),
    ):
        with pytest.raises(error, match=text):
            envs.reset(options={"reset_mask": mask})
    mask = np.array([False, True, False])
    options = {"reset_mask": mask}
    _, infos = envs.reset(options=options)
    assert list(options) == ["reset_mask"]
    assert infos["_prob"].tolist() == [False, True, False]
    assert not np.shares_memory(infos["_prob"], mask)


def test_seeds():
    envs, others = (grid_world(3, slip=0.5, max_episode_steps=9) for _ in range(2))
    for one, same in ((5, [5, 6, 7]), (np.int64(5), (5, 6, 7)), (np.array([5, 6, 7]), 5)):
        envs.reset(seed=one), others.reset(seed=same)
        assert envs.get_state() == others.get_state()
        assert envs.np_random_seed == (5, 6, 7)
    envs.reset(seed=[1, None, 2**70])
    assert envs.np_random_seed == (1, 6, 2**70)
    # a masked reset goes by the number of the row, not by its rank among the masked
    envs.reset(seed=20, options={"reset_mask": np.array([False, False, True])})
    assert envs.np_random_seed == (1, 6, 22)
    for bad in (-1, 1.5, "3", [0, -2, 1], [0, "a", 1]):
        with pytest.raises(SettingError, match="a seed must be a whole number of at least 0"):
            envs.reset(seed=bad)
    with pytest.raises(SettingError, match="one for each of the 3 sub-environments, got 2"):
        envs.reset(seed=[1, 2])
    first, second = grid_world(2), grid_world(2)
    assert first.np_random_seed == (None, None)
    first.reset(), second.reset()
    assert len({*first.np_random_seed, *second.np_random_seed}) == 4


@pytest.mark.parametrize(("identifier", "keywords"), KEYWORDS)
@every_mode
def test_saved_states_pickles_and_copies_go_on_alike(side_by_side, identifier, keywords, mode):
    make = {"autoreset_mode": mode, "max_episode_steps": 6, **keywords}
    envs = rlsuite.make_vec(identifier, 3, **make)
    fresh = json.loads(json.dumps(envs.get_state()))  # before the first reset
    envs.set_state(fresh)
    envs.reset(seed=3)
    walk(envs, 17)
    state = json.loads(json.dumps(envs.get_state()))
    others = [pickle.loads(pickle.dumps(envs)), copy.deepcopy(envs)]
    others.append(rlsuite.make_vec(identifier, 3, **make))
    others[-1].set_state(state)
    assert others[-1].np_random_seed == (-1, -1, -1)
    expected = walk(envs, 15, seed=1)
    for other in others:
        for one, two in zip(walk(other, 15, seed=1), expected, strict=True):
            side_by_side.same(one, two)


@pytest.mark.parametrize(("identifier", "keywords"), KEYWORDS)
def test_states_of_rows_are_those_of_single_environments(identifier, keywords):
    envs = rlsuite.make_vec(identifier, 2, max_episode_steps=50, **keywords)
    singles = [gym.make(identifier, **keywords).unwrapped for _ in range(2)]
    envs.reset(seed=3)
    for i, single in enumerate(singles):
        single.reset(seed=3 + i)
    actions = np.zeros_like(envs.action_space.sample())
    actions[1] = min(1, getattr(envs.single_action_space, "n", 2) - 1)
    for _ in range(3):
        envs.step(actions)
        for single, action in zip(singles, actions, strict=True):
            single.step(action)
    states = envs.get_state()["envs"]
    assert states == [single.get_state() for single in singles]
    singles[0].set_state(states[1])
    envs.set_state({"started": True, "over": [False] * 2, "envs": [states[1], states[0]]})
    observation = singles[0].step(actions[1])[0]
    batch = envs.step(actions[::-1])[0]
    if isinstance(batch, dict):
        assert all(np.array_equal(observation[key], batch[key][0]) for key in batch)
    else:
        assert np.array_equal(observation, batch[0])


def test_a_malformed_state_changes_nothing():
    envs = grid_world(2)
    envs.reset(seed=0)
    state = envs.get_state()
    worse = copy.deepcopy(state)
    worse["envs"][1]["state"] = 99
    half = copy.deepcopy(state)
    half["envs"][1]["rng"]["has_uint32"] = 1
    for bad, text in (
        ({}, "takes what get_state"),
        ({**state, "over": [False]}, "for each of the 2 sub-environments"),
        ({**state, "envs": 3}, "for each of the 2 sub-environments"),
        ({**state, "started": "yes"}, "'started' True or False"),
        ({**state, "over": "ab"}, "those of 'over' and 'started' True or False"),
        ({**state, "over": [2, "x"]}, "those of 'over' and 'started' True or False"),
        (worse, "'state' must be less than the number of states"),
        (half, "holds back half of a 64-bit draw"),
    ):
        with pytest.raises(SettingError, match=text):
            envs.set_state(bad)
        assert envs.get_state() == state


@pytest.mark.parametrize(("identifier", "keywords"), KEYWORDS)
def test_a_started_state_needs_rows_that_were_reset(identifier, keywords):
    envs = rlsuite.make_vec(identifier, 2, **keywords)
    fresh = envs.get_state()
    if not any(value is None for value in fresh["envs"][1].values()):
        pytest.skip("the entry of an environment that was never reset looks like any other")
    envs.reset(seed=0)
    state = envs.get_state()
    half = {**state, "envs": [state["envs"][0], fresh["envs"][1]]}
    with pytest.raises(SettingError, match=r"reset; in the entry of sub-environment 1, '\w+' is"):
        envs.set_state(half)
    assert envs.get_state() == state


@every_id
def test_same_step_refuses_a_state_with_an_episode_over(identifier):
    """Nothing would ever reset that row: it would stand still for good."""
    envs = rlsuite.make_vec(identifier, 2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    state = envs.get_state()
    with pytest.raises(SettingError, match=r"'SameStep', where .* is True for sub-environment 1"):
        envs.set_state({**state, "over": [False, True]})
    assert envs.get_state() == state


def test_np_random_are_copies():
    envs = grid_world(2)
    envs.reset(seed=4)
    before = envs.get_state()
    assert envs.np_random[0].random() == envs.np_random[0].random()
    assert envs.get_state() == before


@pytest.mark.parametrize("limit", [None, -1])
def test_no_limit(limit):
    envs = grid_world(1, max_episode_steps=limit, map="S.G")
    envs.reset(seed=0)
    assert envs.max_episode_steps is None
    assert not any(envs.step(np.array([3]))[3][0] for _ in range(500))


def test_settings_are_checked():
    for bad in (0, -2, 1.5, True, "9"):
        with pytest.raises(SettingError, match="max_episode_steps must be a whole number"):
            check_limit(bad)
        with pytest.raises(SettingError, match="num_envs must be a whole number"):
            TabularVectorEnv(GridWorld(), bad)
    with pytest.raises(SettingError, match=r"autoreset_mode must be one of 'NextStep', .* 'next'"):
        grid_world(2, autoreset_mode="next")


@every_id
@pytest.mark.parametrize("render_mode", ["rgb_array", "ansi"])
def test_frames_are_those_of_sync(side_by_side, identifier, render_mode):
    ours, theirs = (
        rlsuite.make_vec(
            identifier,
            3,
            autoreset_mode="SameStep",
            max_episode_steps=3,
            render_mode=render_mode,
            vectorization_mode=way,
        )
        for way in ("vector_entry_point", "sync")
    )
    assert ours.render_mode == render_mode
    ours.reset(seed=2), theirs.reset(seed=2)
    theirs.action_space.seed(0)
    for t in range(4):
        actions = theirs.action_space.sample()
        side_by_side.same(ours.step(actions), theirs.step(actions))
        side_by_side.same(ours.render(), theirs.render(), f"frames {t}")
    ours.set_state(ours.get_state())
    assert len(ours.render()) == 3
    ours.close()


def test_there_is_no_window():
    with pytest.raises(SettingError, match="has no window: use render_mode='rgb_array'"):
        grid_world(2, render_mode="human")


def test_goal_on_the_last_allowed_step_is_both():
    envs = grid_world(2, max_episode_steps=2, map="S.G")
    envs.reset(seed=0)
    envs.step(np.array([1, 1]))
    _, rewards, terminated, truncated, _ = envs.step(np.array([1, 0]))
    assert rewards.tolist() == [1.0, -0.01]
    assert terminated.tolist() == [True, False]
    assert truncated.tolist() == [True, True]
