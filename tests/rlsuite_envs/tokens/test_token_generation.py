"""The environment: its dynamics by hand, the checkers, state, and what it refuses."""

from __future__ import annotations

import copy
import json
import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import rlsuite  # noqa: F401  (registers the environments)
from registry.contracts import HasOracle
from registry.errors import InvalidActionError, InvalidObservationError, SettingError
from rlsuite_envs.tokens.scoring import WIDTH
from rlsuite_envs.tokens.tables import BIGRAM, EOS, PAD, POSITION, REFERENCE_WEIGHTS
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.tokens.tree import prefix_tree

ID = "rlsuite/TokenGeneration-v0"
NO_C = tuple((*row[:2], 0, *row[3:]) for row in REFERENCE_WEIGHTS)  # the letter c is masked
KEYWORDS = [
    {},
    {"reward": "learned"},
    {"reward": {"abc": 1.0, "": -0.5}},
    {"reward": "rlsuite/LearnedReward-v0", "reference": "rlsuite/MarkovReference-v0"},
    {"reference": [list(row) for row in NO_C], "no_eos": 0.0, "beta": 0.1},
    {"max_new_tokens": 2},
    {"max_new_tokens": 1},
]
INFO_TYPES = {"action_mask": np.ndarray, "ref_logprob": float, "no_eos": bool} | {
    "score": float,
    "gold": float,
}


def play(env, *tokens):
    """Steps through tokens; returns the last step's answer."""
    answer = None
    for token in tokens:
        answer = env.step(token)
    return answer


def equal(a, b):
    return all(np.array_equal(a[key], b[key]) for key in a.keys() | b.keys())


def test_a_text_by_hand():
    """Prompt ab, then c, a, EOS."""
    env = TokenGeneration()
    observation, info = env.reset(seed=0, options={"prompt": (0, 1)})
    assert observation["tokens"].tolist() == [0, 1, PAD, PAD, PAD, PAD, PAD]
    assert (observation["length"], observation["prompt_length"]) == (2, 2)
    assert info.keys() == {"action_mask"}

    observation, reward, terminated, truncated, info = env.step(2)
    assert observation["tokens"].tolist() == [0, 1, 2, PAD, PAD, PAD, PAD]
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["ref_logprob"] == pytest.approx(math.log(8 / 35))
    assert (info["no_eos"], info["score"], info["gold"]) == (False, 0.0, 0.0)

    observation, reward, terminated, _, info = env.step(0)
    assert (reward, terminated) == (0.0, False)
    assert info["ref_logprob"] == pytest.approx(math.log(6 / 28))

    observation, reward, terminated, truncated, info = env.step(EOS)
    assert observation["tokens"].tolist() == [0, 1, 2, 0, EOS, PAD, PAD]
    assert observation["length"] == 5
    assert (terminated, truncated) == (True, False)
    assert info["ref_logprob"] == pytest.approx(math.log(5 / 31))
    assert reward == pytest.approx(-0.25 + 0.25 - 0.05 - 0.5 + 0.0 - 0.05)
    assert (info["no_eos"], info["score"], info["gold"]) == (False, reward, reward)


def test_the_fifth_letter_ends_the_text_and_costs_no_eos():
    env = TokenGeneration()
    env.reset(seed=0, options={"prompt": (3, 4)})
    observation, reward, terminated, truncated, info = play(env, 0, 0, 0, 0, 0)
    assert observation["tokens"].tolist() == [3, 4, 0, 0, 0, 0, 0]
    assert observation["length"] == 7
    assert (terminated, truncated, info["no_eos"]) == (True, False, True)
    score = sum(POSITION[t][0] for t in range(5)) + BIGRAM[4][0] + 4 * BIGRAM[0][0] - 0.25
    assert info["score"] == pytest.approx(score)
    assert reward == pytest.approx(score - 0.5)
    assert info["gold"] == reward


def test_eos_as_the_fifth_token_is_an_end_like_any_other():
    env = TokenGeneration()
    env.reset(seed=0)
    _, reward, terminated, _, info = play(env, 0, 0, 0, 0, EOS)
    assert terminated
    assert not info["no_eos"]
    assert reward == info["score"]


def test_no_eos_is_added_to_every_reward_models_score():
    env = TokenGeneration(reward=lambda tokens, lengths: np.full(len(tokens), 3.0), no_eos=-2.0)
    env.reset(seed=0)
    observation, reward, _, _, info = play(env, 0, 0, 0, 0, 0)
    assert (reward, info["score"]) == (1.0, 3.0)
    text = observation["tokens"][None], np.array([observation["length"]])
    assert info["gold"] == TokenGeneration(no_eos=-2.0).score(*text)[0]


def test_gold_is_kept_apart_where_the_reward_is_a_proxy():
    env, gold = TokenGeneration(reward="learned"), TokenGeneration()
    for env_ in (env, gold):
        env_.reset(seed=3)
    _, reward, _, _, info = play(env, 1, 2, EOS)
    _, gold_reward, _, _, _ = play(gold, 1, 2, EOS)
    assert info["gold"] == gold_reward
    assert reward == info["score"] != gold_reward


def test_a_reset_draws_one_uniform_and_a_step_none():
    env = TokenGeneration()
    twin = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7)))
    observation, _ = env.reset(seed=7)
    for _ in range(200):
        p = int(4 * twin.random())
        assert observation["tokens"][:2].tolist() == [p, p + 1]
        env.step(0)
        env.step(EOS)
        observation, _ = env.reset()


def test_a_chosen_prompt_takes_the_draw_too():
    env, other = TokenGeneration(), TokenGeneration()
    env.reset(seed=5, options={"prompt": [2, 3]})
    other.reset(seed=5)
    assert equal(env.reset()[0], other.reset()[0])


def test_prompts_are_equally_likely():
    """4 n p (1 - p) bound per prompt: 4 standard deviations of a binomial."""
    env, n = TokenGeneration(), 4000
    env.reset(seed=1)
    counts = np.bincount([env.reset()[0]["tokens"][0] for _ in range(n)], minlength=4)
    assert np.all(np.abs(counts - n / 4) < 4 * math.sqrt(n * 0.25 * 0.75))


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
def test_the_checkers_pass_without_a_warning(keywords):
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    env = gym.make(ID, **keywords)
    check_env(env.unwrapped)
    sb3.check_env(env.unwrapped)
    assert isinstance(env.unwrapped, HasOracle)


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
def test_episodes_stay_in_the_spaces_with_infos_of_one_shape(keywords):
    env = gym.make(ID, **keywords)
    rng = np.random.default_rng(0)
    observation, info = env.reset(seed=0)
    for _ in range(300):
        assert observation in env.observation_space
        assert type(observation["length"]) is type(observation["prompt_length"]) is int
        np.testing.assert_array_equal(observation["action_mask"], info["action_mask"])
        np.testing.assert_array_equal(env.unwrapped.action_masks(), info["action_mask"])
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        observation, reward, terminated, truncated, info = env.step(action)
        assert {key: type(value) for key, value in info.items()} == INFO_TYPES
        assert (type(reward), type(terminated), truncated) == (float, bool, False)
        assert info["ref_logprob"] > -math.inf
        if terminated:
            observation, info = env.reset()
            assert info.keys() == {"action_mask"}


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
def test_a_spec_survives_json(keywords):
    env = gym.make(ID, **keywords)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.oracle().optimal_return == env.unwrapped.oracle().optimal_return


@pytest.mark.parametrize("reward", ["gold", "learned"])
def test_stepping_gives_the_scores_of_the_batch(reward):
    """Every text of the tree with three new tokens, through `step` and through `score`."""
    env = TokenGeneration(reward=reward, max_new_tokens=3)
    tokens, lengths = prefix_tree(3).texts()
    stepped = []
    for text, length in zip(tokens, lengths, strict=True):
        env.reset(seed=0, options={"prompt": text[:2]})
        _, reward, terminated, _, _ = play(env, *text[2:length])
        assert terminated
        stepped.append(reward)
    np.testing.assert_array_equal(stepped, env.score(tokens, lengths))
    np.testing.assert_array_equal(stepped, env.oracle()._rewards.ravel())


def test_a_masked_token_is_written_all_the_same():
    env = TokenGeneration(reference=NO_C)
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [1, 1, 0, 1, 1, 1, 1]
    observation, _, terminated, _, info = env.step(2)
    assert (observation["length"], terminated) == (3, False)
    assert info["ref_logprob"] == -math.inf
    assert env.step(EOS)[4]["action_mask"].tolist() == [1] * 7


def test_returned_arrays_may_be_changed():
    env, twin = TokenGeneration(), TokenGeneration()
    for _ in range(2):
        observation, info = env.reset(seed=0)
        observation["tokens"][:] = 3
        observation["action_mask"][:] = 0
        info["action_mask"][:] = 0
        assert equal(env.step(1)[0], (twin.reset(seed=0), twin.step(1))[1][0])


def test_a_reward_model_is_asked_once_per_text():
    asked = []

    class Counting:
        def score(self, tokens, lengths):
            asked.append(tokens[:, : lengths[0]].tolist())
            return np.zeros(len(tokens))

    env = TokenGeneration(reward=Counting())
    assert len(asked) == 1  # tried at the door, on the four empty completions
    for _ in range(3):
        env.reset(seed=0, options={"prompt": (0, 1)})
        play(env, 3, EOS)
    # one call, at the width of all calls: the text is repeated
    assert asked[1:] == [[[0, 1, 3, EOS]] * WIDTH]


@pytest.mark.parametrize("written", [(), (1,), (1, 2, EOS), (0, 0, 0, 0, 0)], ids=str)
def test_state_survives_json(written):
    env = TokenGeneration()
    env.reset(seed=4)
    play(env, *written)
    state = json.loads(json.dumps(env.get_state()))
    other = TokenGeneration()
    other.set_state(state)
    assert other.get_state() == state
    np.testing.assert_array_equal(other.action_masks(), env.action_masks())
    if len(written) < 3:
        answer, again = env.step(5), other.step(5)
        assert equal(answer[0], again[0])
        assert answer[1:4] == again[1:4]
    else:
        with pytest.raises(ResetNeeded):
            other.step(0)
    assert [equal(env.reset()[0], other.reset()[0]) for _ in range(20)] == [True] * 20


def test_the_state_before_the_first_reset():
    env = TokenGeneration()
    state = env.get_state()
    assert (state["prompt"], state["written"]) == (None, [])
    env.reset(seed=0)
    env.set_state(json.loads(json.dumps(state)))
    with pytest.raises(ResetNeeded):
        env.step(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": 4}, "'prompt' is a number from 0 to 3"),
        ({"prompt": "ab"}, "got 'ab'"),
        ({"prompt": None}, "None and an empty list before the first reset"),
        ({"written": [7]}, "at most 5 letters"),
        ({"written": [6, 0]}, r"EOS \(6\) only at its end"),
        ({"written": [0] * 6}, "at most 5 letters"),
        ({"written": "ab"}, "a list"),
        ({"rng": 3}, "'rng' must be the state of a PCG64 generator"),
        ({"clock": 3}, "a dictionary with the keys prompt, rng, written"),
    ],
)
def test_malformed_states_are_refused_and_change_nothing(change, message):
    env = TokenGeneration()
    env.reset(seed=0)
    env.step(1)
    before = env.get_state()
    with pytest.raises(SettingError, match=message):
        env.set_state({**before, **change})
    assert env.get_state() == before


def test_copies_go_their_own_way():
    env = TokenGeneration()
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    env.step(0)
    assert twin.get_state()["written"] == []


def test_global_generators_end_as_they_were_found():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the test is about this state)
    env = TokenGeneration(reward="learned")
    env.reset(seed=0)
    play(env, 0, EOS)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("action", [7, -1, 2.0, "a", None, np.array([1]), 10**30])
def test_actions_outside_the_space_are_refused_and_write_nothing(action):
    env = TokenGeneration()
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match=r"whole number from 0 to 6, .* PAD \(7\) is no"):
        env.step(action)
    assert env.get_state()["written"] == []


@pytest.mark.parametrize("action", [2, np.int64(2), np.int32(2), np.array(2)])
def test_whole_numbers_of_any_kind_are_actions(action):
    env = TokenGeneration()
    env.reset(seed=0)
    assert env.step(action)[0]["tokens"][2] == 2


def test_a_step_needs_a_text():
    env = TokenGeneration()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    env.step(EOS)
    with pytest.raises(ResetNeeded, match="no text is being written"):
        env.step(0)


@pytest.mark.parametrize("prompt", [(0, 2), (0, 1, 2), (4, 5), "ac", "xy", 3, None, (0.0, 1.0)])
def test_prompts_of_another_task_are_refused(prompt):
    with pytest.raises(SettingError, match=r"options\['prompt'\] must be one of this task's"):
        TokenGeneration().reset(seed=0, options={"prompt": prompt})


def test_unknown_options_are_refused():
    with pytest.raises(SettingError, match=r"the only option of a reset is 'prompt', got \['tex"):
        TokenGeneration().reset(seed=0, options={"text": (0, 1)})


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"beta": -0.1}, "beta must be a finite number of at least 0, got -0.1"),
        ({"beta": math.nan}, "beta must be a finite number"),
        ({"beta": "0.4"}, "beta must be a finite number"),
        ({"no_eos": math.inf}, "no_eos must be a finite number, got inf"),
        ({"no_eos": None}, "no_eos must be a finite number, got None"),
        ({"max_new_tokens": 6}, "max_new_tokens must be from 1 to 5"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1"),
        (
            {"reward": "silver"},
            "reward must be 'gold', 'learned', 'linear', 'mlp', 'tabular', the id",
        ),
        ({"reference": "gpt"}, "reference must be 'markov'"),
        ({"reference": [[1.0] * 7] * 5}, r"a table of weights of shape \(6, 7\)"),
        ({"reward": lambda tokens, lengths: 0.0}, r"one number per text, shape \(4,\)"),
    ],
)
def test_keywords_outside_their_range(keywords, message):
    with pytest.raises(SettingError, match=message):
        TokenGeneration(**keywords)


def test_a_reward_model_that_fails_later_is_named():
    def score(tokens, lengths):
        return np.where(lengths > 3, np.nan, 0.0)

    env = TokenGeneration(reward=score)
    env.reset(seed=0, options={"prompt": (0, 1)})
    message = "the reward model score must return finite scores; it scored the completion 'd' of "
    with pytest.raises(SettingError, match=message):
        play(env, 3, EOS)
    with pytest.raises(SettingError, match="the reward model score"):
        env.oracle()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ([0, 1, 2], "row 0 of length 3 is no finished text"),
        ([0, 1, 2, 2, 2, EOS], "row 0 of length 6 is no finished text"),
        ([0, 1, 2, 8], "token 8 at place 3 of row 0"),
    ],
)
def test_only_finished_texts_are_scored(text, message):
    env = TokenGeneration(max_new_tokens=3)
    with pytest.raises(InvalidObservationError, match=message):
        env.score(np.array([text]), np.array([len(text)]))
