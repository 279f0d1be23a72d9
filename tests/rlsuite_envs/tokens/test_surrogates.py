"""Fixed points of other objectives on the tree, against the losses themselves and by loops."""

from __future__ import annotations

import itertools
import math

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite  # noqa: F401  (registers the environments)
from registry.errors import OracleError, SettingError
from rlsuite_agents.functional.text_policy import kl_terms, policy_terms
from rlsuite_envs.tokens.surrogates import dpo_excess, grpo_fixed_point

BETA = 0.4


def small_task(**keywords):
    return gym.make("rlsuite/TokenGeneration-v0", max_new_tokens=2, **keywords).unwrapped


def gradient(oracle, policy, *, group_size, scaled, per_text, corrected):
    """Norm of the expected gradient of GRPO's loss by all logits, on-policy, text by text."""
    tree, states, tokens = oracle._tree, [], []
    for k in range(tree.n_texts):
        word = [int(t) for t in tree.completions[k] if t < tree.n_tokens]
        word += [tree.shape.eos] if k < tree.n_prefixes else []
        states.append([tree.number_of(word[:t]) for t in range(len(word))])
        tokens.append(word)
    lengths = np.array([len(word) for word in tokens])
    mask = torch.arange(2) < torch.from_numpy(lengths)[:, None]
    fill = ([[*row, 0][:2] for row in rows] for rows in (states, tokens))
    at, chosen = (torch.tensor(rows) for rows in fill)
    total = torch.zeros(())
    logits = torch.from_numpy(np.log(policy)).requires_grad_()
    for p in range(tree.n_prompts):
        log_pi = torch.log_softmax(logits[p], dim=-1)[at, chosen].masked_fill(~mask, 0.0)
        log_ref = torch.from_numpy(oracle._log_reference[p])[at, chosen].masked_fill(~mask, 0.0)
        old, chances = log_pi.detach(), log_pi.detach().sum(1).exp()
        rewards = torch.from_numpy(oracle._rewards[p])
        mean = (chances * rewards).sum()
        spread = (chances * (rewards - mean) ** 2).sum().sqrt() if scaled else 1.0
        advantages = (rewards - mean) / spread * (1 - 1 / group_size)
        terms = policy_terms(log_pi, old, advantages, mask, clip_range=0.2)
        divergence = kl_terms(log_pi, old, log_ref, mask, kind="k3", corrected=corrected)
        weights = 1 / torch.from_numpy(lengths) if per_text else torch.full((len(old),), 0.5)
        total = total + (chances * weights * (terms + BETA * divergence).sum(1)).sum()
    return float(torch.autograd.grad(total, logits)[0].norm())


@pytest.mark.parametrize(
    ("scaled", "per_text", "corrected"),
    [(True, True, False), (False, True, False), (True, False, False), (False, False, True)],
)
def test_the_gradient_of_grpos_own_loss_is_zero_there(scaled, per_text, corrected):
    oracle = small_task().oracle()
    settings = {
        "group_size": 8, "scaled": scaled, "per_text": per_text, "corrected": corrected
    }  # fmt: skip
    found = grpo_fixed_point(
        oracle._tree, oracle._log_reference, oracle._rewards, beta=BETA, **settings
    )
    at_reference = gradient(oracle, np.exp(oracle._log_reference), **settings)
    assert gradient(oracle, found, **settings) < 1e-8 * at_reference


def test_grpo_does_not_come_to_rest_at_the_optimum():
    """In percent of J* - J(ref), on the default task."""
    oracle = gym.make("rlsuite/TokenGeneration-v0").unwrapped.oracle()
    way = oracle.optimal_return - oracle.baseline_return
    corrected = {"scale_advantage": "none", "aggregate": "constant", "kl_corrected": True}
    for settings, gap in (({}, 11.6), (corrected, 2.1)):
        pi = oracle.grpo_policy(group_size=8, **settings)
        assert 100 * (oracle.optimal_return - oracle.policy_return(pi)) / way == pytest.approx(
            gap, abs=0.05
        )


def test_texts_of_one_token_have_the_closed_form():
    """k3 times the ratio, one token a text: π = ref exp(A / β) / Z, with A = (1 - 1/G) r."""
    oracle = gym.make("rlsuite/TokenGeneration-v0", max_new_tokens=1).unwrapped.oracle()
    found = oracle.grpo_policy(group_size=4, scale_advantage="none", kl_corrected=True)
    weights = oracle.reference_policy() * np.exp(0.75 * oracle.soft_q_values() / BETA)
    np.testing.assert_allclose(found, weights / weights.sum(1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"group_size": 1}, "group_size must be a whole number of at least 2, got 1"),
        ({"group_size": 8, "scale_advantage": "batch"}, "scale_advantage must be one of"),
        ({"group_size": 8, "aggregate": "token"}, "aggregate must be one of"),
    ],
)
def test_what_is_not_known_is_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        small_task().oracle().grpo_policy(**settings)


def test_without_a_kl_term_there_is_no_such_policy():
    with pytest.raises(OracleError, match="without a KL term"):
        small_task().oracle(beta=0.0).grpo_policy(group_size=8)


def test_a_fixed_point_that_is_not_found_is_said_so():
    oracle = gym.make("rlsuite/TokenGeneration-v0", max_new_tokens=3).unwrapped.oracle(beta=1e-3)
    with pytest.raises(OracleError, match=r"fixed point was not found for β = 0\.001"):
        oracle.grpo_policy(group_size=8, kl_corrected=True)


def test_the_excess_of_dpo_by_loops():
    rng = np.random.default_rng(0)
    ratios, rewards = rng.normal(size=(2, 2, 300))
    reference = rng.dirichlet(np.ones(300), size=2)

    def logistic(x):
        return 1 / (1 + math.exp(-x))

    slow = 0.0
    for p, i, j in itertools.product(range(2), range(300), range(300)):
        wanted = logistic(rewards[p, i] - rewards[p, j])
        said = logistic(BETA * (ratios[p, i] - ratios[p, j]))
        excess = wanted * math.log(wanted / said) + (1 - wanted) * math.log(
            (1 - wanted) / (1 - said)
        )
        slow += reference[p, i] * reference[p, j] * excess / 2
    assert dpo_excess(ratios, reference, rewards, BETA) == pytest.approx(slow, rel=1e-5)  # float32


def test_dpo_is_at_its_best_at_the_optimum():
    oracle = small_task().oracle()
    start = oracle.dpo_excess(oracle.reference_policy())
    assert oracle.dpo_excess(oracle.optimal_policy()) < 1e-7 * start  # float32, squared
    never = np.eye(oracle.reference_policy().shape[1])[oracle.reference_policy().argmax(axis=1)]
    assert oracle.dpo_excess(never) == math.inf


def test_regret_is_a_divergence_from_the_optimum():
    oracle = small_task().oracle()
    pi = oracle.best_of_n_policy(2)
    regret = oracle.optimal_return - oracle.policy_return(pi)
    assert BETA * oracle.text_divergence(pi, oracle.optimal_policy()) == pytest.approx(regret)
    assert oracle.text_divergence(pi, pi) == 0.0
