"""Where the agents end up, against the exact optimum of the token task; and what they promise.

A gap is J* - J(π) in parts of J* - J(ref): 0 at the optimum, 1 at the reference.
"""

from __future__ import annotations

import gymnasium as gym
import pytest

import rlsuite
from rlsuite.testing import check_agent

TASK = "rlsuite/TokenGeneration-v0"
BUDGETS = {"RLOO": 120_000, "RLHFPPO": 160_000, "GRPO": 120_000}


def gap(agent):
    found = rlsuite.evaluate(agent, TASK)
    assert found.method == "exact"
    return found.regret / (found.optimal_return - found.baseline_return)


def trained(name, tokens, seed=0, **settings):
    agent = rlsuite.make_agent(f"rlsuite/{name}-v0", TASK, seed=seed, **settings)
    return agent.learn(tokens)


@pytest.mark.parametrize("name", ["RLOO", "GRPO"])
def test_the_exact_preset_comes_near_the_optimum(name):
    assert gap(trained(name, 40_000)) < 0.1


def test_k3_in_the_loss_and_a_standard_deviation_stop_short():
    """The same β, texts and steps; what is left is no question of training longer."""
    assert gap(trained("GRPO", 40_000, preset="paper", beta=0.4)) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize("seed", range(10))
def test_the_exact_presets_reach_the_optimum_on_every_seed(name, seed):
    assert gap(trained(name, BUDGETS[name], seed)) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_grpo_as_in_the_paper_does_not_reach_it_in_three_times_as_long(seed):
    assert gap(trained("GRPO", 360_000, seed, preset="paper", beta=0.4)) > 0.1


@pytest.mark.slow
def test_dpo_approaches_the_optimum_with_many_pairs():
    settings = {"n_pairs": 100_000, "learning_rate": "lin_0.003", "total_timesteps": 200_000}
    assert gap(trained("DPO", 200_000, **settings)) < 0.05


@pytest.mark.slow
def test_best_of_n_imitates_the_exact_best_of_n():
    """Not three, not five: reward and KL are nearer to those of the best of four.

    And KL(P ‖ π) is below d / 2m, which maximum likelihood of m texts exceeds the truth by in the
    mean where all d weights count (Wilks 1938); here there are more weights than that.
    """
    oracle = gym.make(TASK).unwrapped.oracle()
    three, four, five = (oracle.policy_metrics(oracle.best_of_n_policy(n)) for n in (3, 4, 5))
    settings = {"group_size": 4, "learning_rate": "lin_0.005", "total_timesteps": 2_000_000}
    agent = trained("BestOfN", 2_000_000, **settings)
    pi = agent.action_probabilities(oracle.observations(), deterministic=False)
    found = oracle.policy_metrics(pi)
    for name in ("expected_reward", "kl"):
        assert three[name] + four[name] < 2 * found[name] < four[name] + five[name]
    weights = sum(w.numel() for w in agent.policy.parameters())
    texts = agent.episodes.count / 4
    assert oracle.text_divergence(oracle.best_of_n_policy(4), pi) < weights / (2 * texts)


UPDATES_OFTEN = {
    "RLOO": {"n_groups": 3, "group_size": 4},
    "GRPO": {"n_groups": 3, "group_size": 4, "preset": "paper", "minibatches": 2},
    "GDPO": {"n_groups": 3, "group_size": 4, "preset": "paper"},
    "RLHFPPO": {"n_texts": 12, "kl_control": "adaptive", "minibatches": 2},
    "BestOfN": {"n_groups": 3, "group_size": 4},
    "DPO": {"n_pairs": 100, "batch_size": 10},
}


@pytest.mark.parametrize("name", UPDATES_OFTEN)
def test_promises_are_kept_where_the_weights_change_often(name):
    """The kit's runs are 240 steps long: several updates with these settings."""
    report = check_agent(f"rlsuite/{name}-v0", settings=UPDATES_OFTEN[name])
    assert report.ok, str(report)
