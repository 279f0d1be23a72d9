"""Whole texts at once: the same as stepping, for every way in which a policy can be asked."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import SettingError
from registry.texts import SampledTexts, TokenTask
from rlsuite_envs.tokens.sampling import pick, token_log_probs
from rlsuite_envs.tokens.shapes import TextShape
from rlsuite_envs.tokens.token_generation import TokenGeneration

OPEN = {
    "reward": lambda tokens, lengths: lengths * 0.5,
    "prompts": ["a", "fed"],
    "max_new_tokens": 9,
}
TASKS = [{}, {"reward": "learned"}, {"prompts": ["a", "fed"], "max_new_tokens": 3}, OPEN]


class Whole:
    """A policy that depends on the whole text; asked for whole prefixes."""

    weights = np.random.default_rng(0).normal(size=(12, 7))

    def log_probs(self, tokens, lengths):
        inside = np.arange(tokens.shape[1]) < lengths[:, None]
        ids = np.where(inside, tokens, 0)
        logits = np.einsum("bt,bta->ba", ids * inside, self.weights[None, : tokens.shape[1]])
        logits = np.tanh(logits)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


class Remembering(Whole):
    """The same, by states that hold the prefixes."""

    def start(self, prompts, lengths):
        rows = [row[:length].tolist() for row, length in zip(prompts, lengths, strict=True)]
        return self._answer(rows), rows

    def extend(self, state, parents, tokens):
        rows = [[*state[i], token] for i, token in zip(parents, tokens, strict=True)]
        return self._answer(rows), rows

    def _answer(self, rows):
        width = max(map(len, rows))
        tokens = np.array([[*row, *[99] * (width - len(row))] for row in rows])
        return self.log_probs(tokens, np.array([len(row) for row in rows]))


class Sampling(Whole):
    """The same, by a sampler of its own."""

    def sample(self, prompts, lengths, uniforms, *, eos, pad):
        tokens = np.full((len(prompts), prompts.shape[1] + uniforms.shape[1]), pad)
        log_probs, ends = np.zeros(uniforms.shape), lengths.copy()
        for i, (prompt, start) in enumerate(zip(prompts, lengths, strict=True)):
            tokens[i, :start] = prompt[:start]
            for t, u in enumerate(uniforms[i]):
                logs = self.log_probs(tokens[i : i + 1], ends[i : i + 1])
                tokens[i, ends[i]] = token = pick(logs, np.array([u]))[0]
                log_probs[i, t] = logs[0, token]
                ends[i] += 1
                if token == eos:
                    break
        return SampledTexts(tokens, ends, log_probs, np.ones(uniforms.shape))


POLICIES = [Whole(), Remembering(), Sampling()]


@pytest.mark.parametrize("keywords", TASKS, ids=["default", "proxy", "unlike prompts", "open"])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)
def test_stepping_writes_the_same_texts(keywords, policy):
    env = TokenGeneration(**keywords)
    n, limit = 24, env.max_new_tokens
    batch = env.rollout(policy, n, rng=np.random.default_rng(5))
    twin = np.random.default_rng(5)
    prompts = (len(env.prompts) * twin.random(n)).astype(int)
    uniforms = twin.random((n, limit))
    np.testing.assert_array_equal(batch.prompts, prompts)
    for i in range(n):
        observation, _ = env.reset(seed=0, options={"prompt": env.prompts[prompts[i]]})
        t, ended = 0, False
        while not ended:
            length = np.array([observation["length"]])
            logs = Whole().log_probs(observation["tokens"][None], length)
            token = pick(logs, uniforms[i, t : t + 1])[0]
            observation, reward, ended, _, info = env.step(token)
            assert batch.log_probs[i, t] == pytest.approx(logs[0, token], abs=1e-5)
            assert batch.ref_log_probs[i, t] == pytest.approx(info["ref_logprob"], abs=1e-12)
            t += 1
        np.testing.assert_array_equal(batch.tokens[i], observation["tokens"])
        assert (batch.lengths[i], batch.prompt_lengths[i]) == (
            observation["length"],
            observation["prompt_length"],
        )
        assert batch.mask[i].tolist() == [True] * t + [False] * (limit - t)
        assert batch.rewards[i] == reward
        assert batch.scores[i].tolist() == [info["score"]]
        assert batch.no_eos[i] == info["no_eos"]
        if batch.gold is not None:
            assert batch.gold[i] == info["gold"]
    assert not batch.log_probs[~batch.mask].any()
    assert not batch.ref_log_probs[~batch.mask].any()
    assert (batch.values is not None) == isinstance(policy, Sampling)


def test_a_bare_function_will_do_and_the_episode_stays():
    env = TokenGeneration()
    assert isinstance(env, TokenTask)
    env.reset(seed=0)
    env.step(1)
    before = env.get_state()
    batch = env.rollout(env.reference_model.log_probs, 8, rng=np.random.default_rng(0))
    np.testing.assert_allclose(batch.log_probs, batch.ref_log_probs, atol=1e-12)
    assert env.get_state() == before


def test_groups_share_a_prompt():
    env = TokenGeneration()
    batch = env.rollout(env.reference_model, 60, rng=np.random.default_rng(0), group_size=5)
    groups = batch.prompts.reshape(12, 5)
    assert np.all(groups == groups[:, :1])
    assert len(set(groups[:, 0])) > 1
    chosen = env.rollout(
        env.reference_model, 6, rng=np.random.default_rng(0), prompts=[3, 1], group_size=3
    )
    assert chosen.prompts.tolist() == [3, 3, 3, 1, 1, 1]
    assert chosen.tokens[:, :2].tolist() == [[3, 4]] * 3 + [[1, 2]] * 3


def test_several_rewards_stay_apart():
    env = gym.make("rlsuite/TwoVerifiers-v0", reward_scales=[1.0, 10.0]).unwrapped
    batch = env.rollout(env.reference_model, 200, rng=np.random.default_rng(0))
    assert batch.scores.shape == (200, 2)
    assert batch.gold is None
    assert set(batch.scores[:, 0]) == {0.0, 1.0}
    assert set(batch.scores[:, 1]) <= {-30.0, -10.0, 10.0, 30.0}
    np.testing.assert_array_equal(batch.rewards, batch.scores.sum(axis=1))
    np.testing.assert_array_equal(env.score_parts(batch.tokens, batch.lengths), batch.scores)
    np.testing.assert_array_equal(env.score(batch.tokens, batch.lengths), batch.rewards)


def test_the_reference_earns_its_exact_return():
    """Within 4 standard errors."""
    env = TokenGeneration()
    batch = env.rollout(env.reference_model, 20_000, rng=np.random.default_rng(3))
    error = batch.rewards.std() / math.sqrt(len(batch.rewards))
    assert abs(batch.rewards.mean() - env.oracle().baseline_return) < 4 * error


def test_inverse_cdf_by_hand():
    """Probabilities 0, 1/4, 3/4, 0."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([[0.0, 0.25, 0.75, 0.0]] * 4))
    assert pick(logs, np.array([0.0, 0.2499, 0.25, 1 - 2**-53])).tolist() == [1, 1, 2, 2]


def test_log_probabilities_of_given_texts():
    env = TokenGeneration()
    batch = env.rollout(Whole(), 30, rng=np.random.default_rng(1))
    given = (batch.tokens, batch.lengths, batch.prompt_lengths)

    class OnePass(Whole):
        def token_log_probs(self, tokens, lengths, prompt_lengths):
            result = np.zeros(tokens.shape)
            result[:, 2:] = batch.log_probs
            return result

    for policy in (Whole(), OnePass()):
        found = token_log_probs(policy, *given, TextShape())
        np.testing.assert_allclose(found, batch.log_probs, atol=1e-12)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"n": 5, "group_size": 2}, "n must be a multiple of group_size=2, got 5"),
        ({"n": 2, "prompts": [0, 4]}, "prompts are numbers from 0 to 3, one for each of the 2"),
        ({"n": 2, "prompts": [0]}, "one for each of the 2"),
        ({"n": 2, "rng": 3}, r"rng must be a generator of NumPy, such as .*, got 3"),
        (
            {"n": 2, "policy": 3},
            "or is such a function; got int",
        ),
        ({"n": 2, "policy": lambda t, n: np.zeros((2, 7))}, "the policy must return log-prob"),
        ({"n": 2, "policy": lambda t, n: np.zeros((2, 3))}, r"of shape \(2, 7\); it returned"),
    ],
)
def test_malformed_questions(keywords, message):
    policy = keywords.pop("policy", Whole())
    with pytest.raises(SettingError, match=message):
        TokenGeneration().rollout(policy, **{"rng": np.random.default_rng(0), **keywords})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n, p: (t[:, :-1], n, p), r"must return tokens, lengths and log_probs of shapes"),
        (lambda t, n, p: (t, n * 0 + 2, p), "must write 1 to 5 new tokens; row 0 has 0"),
        (lambda t, n, p: (t * 0 + 9, n, p), "wrote tokens outside 0 to 6"),
    ],
)
def test_a_malformed_sampler_is_refused(change, message):
    class Wrong(Sampling):
        def sample(self, *given, **named):
            found = super().sample(*given, **named)
            return SampledTexts(*change(found.tokens, found.lengths, found.log_probs))

    with pytest.raises(SettingError, match=message):
        TokenGeneration().rollout(Wrong(), 3, rng=np.random.default_rng(0))


def test_malformed_log_probabilities_of_texts_are_refused():
    class Wrong(Whole):
        def token_log_probs(self, tokens, lengths, prompt_lengths):
            return np.zeros(3)

    tokens, starts = np.zeros((2, 7), int), np.array([2, 2])
    with pytest.raises(SettingError, match="must return the shape of the tokens"):
        token_log_probs(Wrong(), tokens, starts + 1, starts, TextShape())
