"""Models that agents save are reference policies of environments, by their path."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import rlsuite  # noqa: F401  (registers the environments)
from rlsuite_agents.parts.text_models import save_text_model, starting_policy

ID = "rlsuite/TokenGeneration-v0"


@pytest.fixture(scope="module")
def policy():
    return starting_policy(
        "random",
        gym.make(ID).unwrapped,
        layers=1,
        width=16,
        heads=2,
        rng=np.random.default_rng(0),
        device="cpu",
    )


def test_a_saved_policy_is_the_reference(policy, tmp_path):
    task = gym.make(ID, max_new_tokens=3).unwrapped
    save_text_model(policy, tmp_path, task.vocabulary)
    env = gym.make(ID, reference=str(tmp_path), max_new_tokens=3).unwrapped
    assert env.world.has_gold
    oracle = env.oracle()
    assert oracle.policy_metrics(policy)["kl"] == pytest.approx(0.0, abs=1e-9)
    assert oracle.policy_return(policy) == pytest.approx(oracle.baseline_return, abs=1e-6)


def test_a_transformer_writes_at_once_what_it_writes_step_by_step(policy):
    task = gym.make(ID).unwrapped
    batch = task.rollout(policy, 64, rng=np.random.default_rng(1))
    plain = task.rollout(policy.log_probs, 64, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(batch.tokens, plain.tokens)
    np.testing.assert_allclose(batch.log_probs, plain.log_probs, atol=1e-5)
    np.testing.assert_array_equal(batch.rewards, plain.rewards)
