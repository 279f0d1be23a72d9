"""Lanes: single environments and vectors in every autoreset mode give the same experience."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import rlsuite
from registry.errors import CheckpointError, InvalidObservationError, SettingError
from rlsuite_agents.parts.features import Encoder
from rlsuite_agents.parts.lanes import Members, Vector, lanes_of, members_of

GRID = "rlsuite/GridWorld-v0"
N = 5


class Counter(gym.Env):
    """Counts its steps; ends at 3 if `terminates`, else is cut off there."""

    def __init__(self, terminates=False, reward=1.0):
        self.observation_space, self.action_space = Box(0, 9, (1,), np.float32), Discrete(2)
        self.terminates, self.reward = terminates, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        over = self.t == 3
        ends = over and self.terminates, over and not self.terminates
        return np.full(1, self.t, np.float32), self.reward, *ends, {}


def played(lanes, steps):
    """For each lane, the rows (features, action, reward, flags, features of S') it lived."""
    rng, found = np.random.default_rng(0), [[] for _ in range(lanes.num_envs)]
    counts = np.zeros(lanes.num_envs, int)
    script = rng.integers(4, size=(lanes.num_envs, 1000))
    while counts.min() < steps:
        features, _ = lanes.observe()
        seen, alive = features.copy(), lanes.alive.copy()
        actions = script[np.arange(lanes.num_envs), counts]
        s = lanes.step(actions, 0)
        for k in np.flatnonzero(alive):
            row = seen[k].tolist(), actions[k], s.rewards[k], s.terminated[k], s.truncated[k]
            found[k].append((*row, s.features[k].tolist()))
        counts += alive
    return [rows[:steps] for rows in found]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_native_vectors_give_what_single_environments_give(mode):
    """Both kinds of end occur: the limit is 20 steps, the goal is near."""
    keywords = {"slip": 0.2, "max_episode_steps": 20}
    native = rlsuite.make_vec(GRID, N, autoreset_mode=mode, **keywords)
    encoder = Encoder(native.single_observation_space)
    vector = lanes_of(native, N, encoder, seed=0)
    assert isinstance(vector, Vector)
    members = Members([gym.make(GRID, **keywords) for _ in range(N)], encoder, seed=0)
    for k, session in enumerate(members.sessions):
        session.seed = vector.seed + k
    one, other = played(vector, 120), played(members, 120)
    assert one == other
    assert any(row[3] for rows in one for row in rows)
    assert any(row[4] for rows in one for row in rows)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_sync_vector_lends_its_members_in_every_mode(mode):
    env = rlsuite.make_vec(GRID, N, autoreset_mode=mode, vectorization_mode="sync")
    lanes = lanes_of(env, N, Encoder(env.single_observation_space), seed=0)
    assert isinstance(lanes, Members)
    assert [s.env for s in lanes.sessions] == env.envs


class Wrapped(gym.vector.VectorWrapper):
    """Hides that it is a `SyncVectorEnv`."""


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("terminates", [True, False])
def test_the_last_observation_is_reached_by_hand(mode, terminates):
    """S' of the third step is 3, in every mode; the next episode begins at 0."""
    inner = SyncVectorEnv([lambda: Counter(terminates)] * 2, autoreset_mode=mode)
    rows = played(lanes_of(Wrapped(inner), 2, Encoder(Counter().observation_space), seed=0), 7)[0]
    assert [row[0] for row in rows] == [[0], [1], [2], [0], [1], [2], [0]]
    assert [row[5] for row in rows] == [[1], [2], [3], [1], [2], [3], [1]]
    assert [row[3] for row in rows] == [False, False, terminates] * 2 + [False]
    assert [row[4] for row in rows] == [False, False, not terminates] * 2 + [False]


def test_an_end_that_is_both_is_terminal():
    env = gym.wrappers.TimeLimit(Counter(terminates=True), 3)
    lanes = Members([env], Encoder(env.observation_space), seed=0)
    lanes.observe()
    for _ in range(3):
        stepped = lanes.step(np.zeros(1, int), 0)
    assert stepped.terminated[0]
    assert not stepped.truncated[0]


def test_members_have_seeds_of_their_own():
    env = gym.make("CartPole-v1")
    lanes = Members(members_of(env, 3), Encoder(env.observation_space), seed=0)
    features, mask = lanes.observe()
    assert len(np.unique(features[:, 0])) == 3
    assert mask.shape == (0, 0)
    assert lanes.sessions[0].env is env


def test_dictionaries_and_masks():
    class Masked(Counter):
        def __init__(self, k):
            super().__init__()
            self.k = k
            part = Box(0, 1, (2,), np.int8)
            self.observation_space = Dict({"x": self.observation_space, "action_mask": part})

        def look(self, x):
            return {"x": x, "action_mask": np.array([1, self.k], np.int8)}

        def reset(self, *, seed=None, options=None):
            x, info = super().reset(seed=seed)
            return self.look(x), info

        def step(self, action):
            x, *rest = super().step(action)
            return self.look(x), *rest

    inner = SyncVectorEnv([lambda k=k: Masked(k) for k in (0, 1)], autoreset_mode="SameStep")
    encoder = Encoder(inner.single_observation_space)
    for lanes in (lanes_of(inner, 2, encoder, 0), lanes_of(Wrapped(inner), 2, encoder, 0)):
        _, mask = lanes.observe()
        assert mask.tolist() == [[True, False], [True, True]]
        for _ in range(3):
            stepped = lanes.step(np.zeros(2, int), 0)
        assert stepped.features[:, -1].tolist() == [3.0, 3.0]
        assert lanes.observe()[0][:, -1].tolist() == [0.0, 0.0]


def test_what_is_refused():
    env = Counter()
    with pytest.raises(
        SettingError, match=r"num_envs is 2, but .* has no spec to make copies from"
    ):
        members_of(env, 2)
    vector = SyncVectorEnv([Counter] * 3)
    encoder = Encoder(env.observation_space)
    for given in (vector, Wrapped(vector)):
        with pytest.raises(SettingError, match="num_envs is 2, but the environment brings 3"):
            lanes_of(given, 2, encoder, 0)
    bad = lanes_of(Wrapped(SyncVectorEnv([lambda: Counter(reward=np.nan)])), 1, encoder, 0)
    bad.observe()
    with pytest.raises(InvalidObservationError, match="step 8: the environments returned the rew"):
        bad.step(np.zeros(1, int), 7)


@pytest.mark.parametrize("place", ["info", "observation"])
@pytest.mark.parametrize("mode", [None, "NextStep", "SameStep", "Disabled"])
def test_the_mask_of_what_was_reached_is_not_that_of_the_next_episode(place, mode):
    """After step t action t % 2 alone is allowed; at a reset both are. Episodes have 3 steps."""

    class Masked(Counter):
        def __init__(self):
            super().__init__()
            if place == "observation":
                part = Box(0, 1, (2,), np.int8)
                self.observation_space = Dict({"x": self.observation_space, "action_mask": part})

        def told(self, x):
            mask = np.array([self.t % 2 == 0 or self.t == 0, self.t % 2 == 1 or self.t == 0])
            mask = mask.astype(np.int8)
            if place == "info":
                return x, {"action_mask": mask}
            return {"x": x, "action_mask": mask}, {}

        def reset(self, *, seed=None, options=None):
            return self.told(super().reset(seed=seed)[0])

        def step(self, action):
            x, *rest, _ = super().step(action)
            x, info = self.told(x)
            return x, *rest, info

    env = Masked()
    lanes = lanes_of(env, 1, Encoder(env.observation_space), 0)
    if mode:
        vector = gym.vector.VectorWrapper(SyncVectorEnv([Masked] * 2, autoreset_mode=mode))
        lanes = lanes_of(vector, 2, Encoder(env.observation_space), 0)
    found, actions = [], np.zeros(lanes.num_envs, np.int64)
    while len(found) < 6:
        lanes.observe()
        alive = lanes.alive.copy()
        lanes.step(actions, 0)
        if alive.all():
            found.append(lanes.reached_mask()[0].astype(int).tolist())
    assert found == [[0, 1], [1, 0], [0, 1]] * 2


class Asked(Counter):
    """Tells by `action_masks()` alone that after step t only action t % 2 is allowed."""

    def action_masks(self):
        return np.arange(2) == self.t % 2


class AskedVector(gym.vector.VectorWrapper):
    """Has the method itself."""

    def action_masks(self):
        return np.array([env.action_masks() for env in self.env.envs])


VECTORS = {
    "processes": lambda makers, mode: AsyncVectorEnv(makers, autoreset_mode=mode),
    "wrapped": lambda makers, mode: RecordEpisodeStatistics(
        SyncVectorEnv(makers, autoreset_mode=mode)
    ),
    "its own": lambda makers, mode: Wrapped(
        AskedVector(SyncVectorEnv(makers, autoreset_mode=mode))
    ),
}


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_a_vector_is_asked_for_its_masks(kind, mode):
    """The same as of single environments, at each state and in each state that is reached."""
    found = {}
    for name in (kind, "members"):
        env = VECTORS[name]([Asked] * 2, mode) if name == kind else SyncVectorEnv([Asked] * 2)
        try:
            lanes, rows = lanes_of(env, 2, Encoder(Counter().observation_space), 0), []
            assert isinstance(lanes, Vector) == (name == kind)
            while len(rows) < 7:
                mask, alive = lanes.observe()[1].tolist(), lanes.alive.all()
                lanes.step(np.zeros(2, int), 0)
                if alive:
                    rows.append((mask, lanes.reached_mask().tolist()))
        finally:
            env.close()
        found[name] = rows
    assert found[kind] == found["members"]
    assert found[kind][0] == ([[True, False]] * 2, [[False, True]] * 2)


@pytest.mark.parametrize("terminates", [True, False])
def test_masks_that_are_gone_are_not_made_up(terminates):
    """SAME_STEP: those of the running episode are asked for; of a state cut off nobody can tell."""

    class Ends(Asked):
        def __init__(self):
            super().__init__(terminates)

    env = VECTORS["wrapped"]([Ends] * 2, "SameStep")
    lanes = lanes_of(env, 2, Encoder(Counter().observation_space), 0)
    for t in range(3):
        assert lanes.observe()[1].tolist() == [[t != 1, t == 1]] * 2
        lanes.step(np.zeros(2, int), 0)
    assert lanes.observe()[1].tolist() == [[True, False]] * 2
    if terminates:
        assert lanes.reached_mask().all()  # nobody looks beyond an end
        return
    with pytest.raises(SettingError, match=r"begins the next episode within .*NEXT_STEP"):
        lanes.reached_mask()


class Misshapen(gym.vector.VectorEnv):
    """Two environments; what `broken` names is returned instead of the right thing."""

    def __init__(self, **broken):
        self.num_envs, self.broken = 2, broken
        self.single_observation_space = Box(-1, 1, (3,), np.float32)
        self.single_action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.broken.get("first", np.zeros((2, 3))), {}

    def step(self, actions):
        right = {
            "observations": np.zeros((2, 3)),
            "rewards": np.ones(2),
            "terminated": np.zeros(2, bool),
            "truncated": np.zeros(2, bool),
            "infos": {},
        }
        return tuple({**right, **self.broken}[name] for name in right)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"first": np.zeros(3)}, "2 observations, got one without a leading axis"),
        ({"first": np.zeros((3, 3))}, "2 observations, got 3"),
        ({"observations": np.zeros(3)}, "2 observations, got one without a leading axis"),
        ({"observations": np.zeros((3, 3))}, "2 observations, got 3"),
        ({"rewards": 1.0}, r"step 1: .* rewards of shape \(2,\), .*; got 1.0"),
        ({"rewards": None}, r"rewards of shape \(2,\), .*; got None"),
        ({"rewards": np.ones((2, 1))}, r"rewards of shape \(2,\)"),
        ({"rewards": np.ones(3)}, r"rewards of shape \(2,\)"),
        ({"terminated": np.zeros(3, bool)}, r"terminated of shape \(2,\)"),
        ({"truncated": False}, r"truncated of shape \(2,\)"),
        ({"infos": {"action_mask": np.ones((1, 2))}}, r"masks of shape \(2, 2\), got"),
        ({"infos": {"action_mask": np.ones((2, 3))}}, r"masks of shape \(2, 2\), got"),
    ],
    ids=str,
)
def test_what_is_not_one_for_each_environment_is_refused(broken, sentence):
    env = Misshapen(**broken)
    lanes = lanes_of(env, 2, Encoder(env.single_observation_space), 0)
    with pytest.raises(InvalidObservationError, match=sentence):
        played(lanes, 1)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: RecordEpisodeStatistics(rlsuite.make_vec(GRID, 2)), "in Tab.* without wrappers;"),
        (lambda: Wrapped(SyncVectorEnv([Counter] * 2)), "in a SyncVectorEnv; to predict, load wit"),
    ],
)
def test_what_cannot_be_put_back_says_how_to_resume(make, advice):
    """A wrapper may hold a state of its own, such as statistics of running episodes."""
    env = make()
    lanes = lanes_of(env, 2, Encoder(env.single_observation_space), 0)
    lanes.observe()
    with pytest.raises(CheckpointError, match=rf"offers no get_state\. To resume, train {advice}"):
        lanes.restore(lanes.capture())
