"""Token generation: bit for bit what `SyncVectorEnv` gives, in all three modes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import OracleError, SettingError
from rlsuite_envs.tokens.scoring import WIDTH
from rlsuite_envs.tokens.tables import EOS
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.vector.tokens import token_generation

modes = st.sampled_from(("NextStep", "SameStep", "Disabled"))
every_mode = pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])

NO_SUCH_LETTER = np.ones((6, 7))
NO_SUCH_LETTER[:, 2] = 0.0
TASKS = [
    {},
    {"reward": "learned", "no_eos": -1.25},
    {"reward": {"abc": 1.0, "bc:a": -2.0, "": 0.5}, "max_new_tokens": 3},
    {"reference": NO_SUCH_LETTER.tolist(), "max_new_tokens": 1},
    {"reward": lambda tokens, lengths: tokens.sum(axis=1) / lengths, "max_new_tokens": 2},
]

WIDER = [
    {"prompts": ["a", "fed"], "max_new_tokens": 3, "reward": "mlp"},
    {
        "prompts": ["a", "fed"],
        "max_new_tokens": 9,
        "reward": lambda tokens, lengths: tokens.sum(axis=1) / lengths,
        "reference": NO_SUCH_LETTER.tolist(),
    },
    {
        "reward": ["gold", "rlsuite/FormatVerifier-v0", lambda t, n: t.sum(axis=1) / 7.0],
        "reward_scales": [1.0, -0.5, 3.0],
    },
]


@every_mode
@pytest.mark.parametrize("keywords", WIDER, ids=["unlike prompts", "asked", "several rewards"])
def test_wider_tasks_equal_sync(side_by_side, keywords, mode):
    ours = token_generation(3, max_episode_steps=7, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: TokenGeneration(**keywords), 3, 7, mode)
    side_by_side.drive(ours, theirs, seed=4)


@settings(max_examples=40, deadline=None)
@given(
    keywords=st.sampled_from(TASKS),
    mode=modes,
    limit=st.none() | st.integers(1, 20),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_texts_equal_sync(side_by_side, keywords, mode, limit, n, seed):
    ours = token_generation(n, max_episode_steps=limit, autoreset_mode=mode, **keywords)
    theirs = side_by_side.sync(lambda: TokenGeneration(**keywords), n, limit, mode)
    side_by_side.drive(ours, theirs, seed=seed)


class Network:
    """A reward model of torch, float32, that remembers how many texts it was given at once."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.first = torch.randn(7 * 8, 64, generator=generator)
        self.second = torch.randn(64, 1, generator=generator)
        self.widths = set()

    def score(self, tokens, lengths):
        self.widths.add(len(tokens))
        hot = torch.nn.functional.one_hot(torch.as_tensor(tokens), 8).float().flatten(1)
        return (torch.tanh(hot @ self.first) @ self.second)[:, 0]


@every_mode
def test_a_network_is_called_at_one_width_and_equals_sync(side_by_side, mode):
    network = Network()
    ours = token_generation(40, autoreset_mode=mode, reward=network)
    at_the_door = network.widths.copy()
    network.widths.clear()
    theirs = SyncVectorEnv([lambda: TokenGeneration(reward=network)] * 40, autoreset_mode=mode)
    network.widths.clear()
    side_by_side.drive(ours, theirs, seed=2, steps=30)
    assert network.widths == {WIDTH}
    assert at_the_door == {4}


def test_each_text_is_scored_once():
    asked = []

    def reward(tokens, lengths):
        asked.extend({tuple(row) for row in tokens.tolist()})
        return np.zeros(len(tokens))

    envs = token_generation(20, reward=reward)
    asked.clear()
    for _ in range(3):
        envs.reset(seed=0)
        envs.step(np.full(20, EOS))
    assert len(asked) == len(set(asked)) == 4


def test_a_prompt_for_all(side_by_side):
    ours = token_generation(3, autoreset_mode="SameStep")
    theirs = side_by_side.sync(TokenGeneration, 3, None, "SameStep")
    ours.reset(seed=0), theirs.reset(seed=0)
    for mask in (None, np.array([True, False, True])):
        options = {"prompt": (2, 3)} if mask is None else {"prompt": (2, 3), "reset_mask": mask}
        expected = theirs.reset(options=dict(options))
        side_by_side.same(ours.reset(options=options), expected)
        for _ in range(3):  # prompts are drawn again at the next reset
            actions = np.array([EOS, 1, EOS])
            side_by_side.same(ours.step(actions), theirs.step(actions))
    before = ours.get_state()
    with pytest.raises(SettingError, match="the only option of a reset is 'prompt'"):
        ours.reset(seed=5, options={"prompts": (0, 1)})
    assert ours.get_state() == before


def test_action_masks():
    envs = token_generation(2, reference=NO_SUCH_LETTER.tolist(), max_new_tokens=2)
    observations, infos = envs.reset(seed=0)
    assert (
        envs.action_masks().tolist() == infos["action_mask"].tolist() == [[1, 1, 0, 1, 1, 1, 1]] * 2
    )
    observations = envs.step(np.array([EOS, 2]))[0]
    assert observations["action_mask"].tolist() == [[1] * 7, [1, 1, 0, 1, 1, 1, 1]]


def test_oracle():
    envs = token_generation(2, max_new_tokens=2)
    single = TokenGeneration(max_new_tokens=2)
    assert envs.oracle().optimal_return == single.oracle().optimal_return
    assert envs.oracle(beta=0.0).optimal_return == single.oracle(beta=0.0).optimal_return
    with pytest.raises(OracleError, match="a time limit of 1 steps cuts texts"):
        token_generation(2, max_episode_steps=1).oracle()


def test_a_malformed_score_is_refused():
    envs = token_generation(
        2, reward=lambda tokens, lengths: np.where(tokens[:, 2] == 3, np.nan, 0.0)
    )
    envs.reset(seed=0)
    envs.step(np.array([3, 1]))
    with pytest.raises(SettingError, match="must return finite scores"):
        envs.step(np.array([EOS, EOS]))


def test_wrappers_of_gymnasium_work_on_it():
    envs = gym.wrappers.vector.RecordEpisodeStatistics(token_generation(4))
    envs.reset(seed=0)
    infos = envs.step(np.full(4, EOS))[-1]
    assert infos["episode"]["l"].tolist() == [1, 1, 1, 1]
