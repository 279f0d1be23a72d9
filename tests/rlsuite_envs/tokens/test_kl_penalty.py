"""The half of the penalty that an environment knows, and the two verifiers."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import SettingError
from rlsuite_envs.tokens.kl_penalty import KLPenalty
from rlsuite_envs.tokens.verifiers import continuation, three_letters

ID = "rlsuite/TokenGeneration-v0"


def test_each_token_earns_beta_times_its_log_probability():
    env = KLPenalty(gym.make(ID), beta=0.5)
    env.reset(seed=0, options={"prompt": "ab"})
    _, reward, _, _, info = env.step(2)
    assert reward == info["kl_penalty"] == pytest.approx(0.5 * math.log(8 / 35))
    assert info["task_reward"] == 0.0
    _, reward, ended, _, info = env.step(6)
    assert ended
    assert reward == pytest.approx(info["score"] + 0.5 * info["ref_logprob"])
    assert info["task_reward"] == info["score"]


def test_the_return_lacks_the_agents_own_half():
    """E[return] = E[r] + β E[Σ log ref] = J + β E[Σ log π], so J - β·entropy of the text."""
    env = KLPenalty(gym.make(ID), beta=0.4)
    task, oracle = env.unwrapped, env.unwrapped.oracle()
    reference = oracle.reference_policy()
    local = -np.sum(reference * np.log(reference), axis=1)
    entropy = float(oracle.state_distribution(reference) @ local)
    wanted = oracle.policy_return(reference) - 0.4 * entropy
    rng, returns = np.random.default_rng(0), []
    for _ in range(1500):
        observation, _ = env.reset(seed=0 if not returns else None)
        total, ended = 0.0, False
        while not ended:
            lengths = np.array([observation["length"]])
            logs = task.reference_model.log_probs(observation["tokens"][None], lengths)[0]
            observation, reward, ended, _, _ = env.step(rng.choice(7, p=np.exp(logs)))
            total += reward
        returns.append(total)
    assert abs(np.mean(returns) - wanted) < 4 * np.std(returns) / math.sqrt(len(returns))


def test_a_token_that_the_reference_never_writes_costs_a_finite_amount():
    masked = [[1, 1, 0, 1, 1, 1, 1]] * 6
    env = KLPenalty(gym.make(ID, reference=masked), beta=0.1)
    env.reset(seed=0)
    assert env.step(2)[1] == pytest.approx(-10.0)


def test_where_nothing_tells_the_reference():
    env = KLPenalty(gym.make("rlsuite/GridWorld-v0"), beta=0.1)
    env.reset(seed=0)
    with pytest.raises(SettingError, match=r"needs an environment whose steps tell info\['ref_log"):
        env.step(0)
    with pytest.raises(SettingError, match="beta must be a finite number of at least 0, got -1"):
        KLPenalty(gym.make(ID), beta=-1)


def test_the_verifiers_by_hand():
    assert [three_letters("ab", text) for text in ("", "cde", "cdef")] == [0.0, 1.0, 0.0]
    assert continuation("ab", "cde") == 3.0
    assert continuation("ab", "cdef") == 3.0
    assert continuation("de", "fab") == 3.0
    assert continuation("de", "faf") == 1.0
    assert continuation("ab", "") == -3.0


def test_the_two_verifiers_make_a_task():
    env = gym.make("rlsuite/TwoVerifiers-v0")
    env.reset(seed=0, options={"prompt": "ab"})
    for letter in (2, 3, 4):
        _, reward, _, _, info = env.step(letter)
        assert info["scores"].tolist() == [0.0, 0.0]
    _, reward, ended, _, info = env.step(6)
    assert (reward, ended, info["scores"].tolist()) == (4.0, True, [1.0, 3.0])
    assert "gold" not in info
    oracle = env.unwrapped.oracle()
    assert env.unwrapped.reward_names == (
        "rlsuite/FormatVerifier-v0",
        "rlsuite/ContinuationVerifier-v0",
    )
    assert oracle.optimal_return > oracle.baseline_return
    page = gym.make("rlsuite/TwoVerifiers-v0", reward_scales=[1.0, 0.0]).unwrapped.oracle(beta=0)
    assert page.optimal_return == 1.0
