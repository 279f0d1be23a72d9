"""What an update computes: advantages, losses, gradients of whole agents, against the formulas."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

import rlsuite
from registry.errors import CheckpointError, DataError, DivergenceError, SettingError
from rlsuite_agents.functional.preference import (
    decoupled_group_advantages,
    dpo_loss,
    leave_one_out_advantages,
    shaped_rewards,
    token_policy_loss,
)
from rlsuite_agents.functional.text_policy import kl_terms, token_weights
from rlsuite_agents.parts.text_update import Texts

TASK = "rlsuite/TokenGeneration-v0"
SMALL = {"n_groups": 3, "group_size": 4, "width": 16, "heads": 2, "layers": 1}


def make(name, task=TASK, **settings):
    return rlsuite.make_agent(f"rlsuite/{name}-v0", task, **settings)


def moved(agent):
    """The agent after a few updates, so that it is not its reference any more."""
    agent.learn(300)
    return agent


def written(agent, n=12, group_size=4, seed=3):
    rng = np.random.default_rng(seed)
    return agent.task.rollout(agent.policy, n, rng=rng, group_size=group_size)


def gradient_of(agent, batch):
    """The gradient of the agent's next step, and what its optimiser would have done is not done."""
    seen = []
    agent.optimizer.step = lambda: seen.append(
        torch.cat([p.grad.flatten() for p in agent.policy.parameters()]).clone()
    )
    agent.update(batch)
    del agent.optimizer.step
    return seen


def outputs_of(agent, batch):
    return agent.policy.evaluate(
        batch.tokens, batch.lengths, batch.prompt_lengths, batch.mask.shape[1]
    )


def gradient(agent, loss):
    grads = torch.autograd.grad(loss, list(agent.policy.parameters()), allow_unused=True)
    pairs = zip(agent.policy.parameters(), grads, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def test_a_new_agent_is_its_reference():
    """KL = 0 at step 0, exactly: each log-probability is the reference's."""
    agent = make("RLOO", **SMALL)
    batch = written(agent)
    out = outputs_of(agent, batch)
    rows = (batch.tokens, batch.lengths, batch.prompt_lengths)
    log_ref = torch.log_softmax(agent.policy.base_of(*rows, batch.mask.shape[1]), dim=-1)
    row, column = np.nonzero(batch.mask)
    wanted = log_ref[row, column, batch.tokens[row, batch.prompt_lengths[row] + column]]
    assert agent.policy.temperature == 1.0
    assert torch.equal(out.log_probs[row, column], wanted)
    evaluation = rlsuite.evaluate(agent, TASK)
    assert evaluation.metrics["kl"] == pytest.approx(0.0, abs=1e-12)
    assert evaluation.score == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["RLOO", "GRPO", "RLHFPPO"])
def test_the_trainer_has_the_sampler_s_probabilities(name):
    sizes = {"n_texts": 12, "width": 16, "heads": 2} if name == "RLHFPPO" else SMALL
    agent = moved(make(name, **sizes))
    batch = written(agent)
    out = outputs_of(agent, batch)
    np.testing.assert_allclose(out.log_probs.detach(), batch.log_probs, atol=1e-5)


@pytest.mark.parametrize("ratio_level", ["sequence", "token"])
def test_rloo_s_gradient(ratio_level):
    agent = moved(make("RLOO", ratio_level=ratio_level, max_grad_norm=1e9, **SMALL))
    batch = written(agent)
    texts = Texts(agent.policy, batch)
    returns = texts.rewards - 0.4 * (texts.log_probs - texts.reference).sum(dim=1)
    out = outputs_of(agent, batch)
    loss = token_policy_loss(
        out.log_probs,
        texts.log_probs,
        leave_one_out_advantages(returns, 4),
        texts.mask,
        clip_range=0.2,
        ratio=ratio_level,
        aggregate="sequence" if ratio_level == "sequence" else "constant",
        max_length=None if ratio_level == "sequence" else 5,
    )
    wanted = gradient(agent, loss)
    (got,) = gradient_of(agent, batch)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    assert agent.metrics.loss == pytest.approx(loss.item(), abs=1e-6)
    assert agent.metrics.gradient_norm == pytest.approx(wanted.norm().item(), rel=1e-4)


def test_grpo_s_gradient_with_everything_on():
    """Standardised, mean over texts, corrected k3 per token in the loss."""
    agent = moved(make("GRPO", preset="paper", kl_corrected=True, beta=0.3, **SMALL))
    batch = written(agent)
    texts = Texts(agent.policy, batch)
    groups = texts.rewards.reshape(3, 4)
    advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
    out = outputs_of(agent, batch)
    loss = token_policy_loss(
        out.log_probs,
        texts.log_probs,
        advantages.reshape(-1),
        texts.mask,
        clip_range=0.2,
        aggregate="sequence",
    )
    divergence = kl_terms(
        out.log_probs, texts.log_probs, texts.reference, texts.mask, kind="k3", corrected=True
    )
    weights = token_weights(texts.mask, "sequence", like=divergence)
    wanted = gradient(agent, loss + 0.3 * (weights * divergence).sum())
    if wanted.norm() > 1.0:
        wanted = wanted / wanted.norm()
    (got,) = gradient_of(agent, batch)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("RLOO", SMALL),
        ("GRPO", {**SMALL, "preset": "dapo"}),
        ("GRPO", {**SMALL, "preset": "paper", "minibatches": 2}),
        ("GDPO", SMALL),
        ("RLHFPPO", {"n_texts": 12, "width": 16, "heads": 2, "n_epochs": 1}),
        ("BestOfN", {**SMALL, "n_groups": 12}),
    ],
)
@pytest.mark.parametrize("parts", [2, 3])
def test_a_gradient_does_not_depend_on_microbatches(name, settings, parts):
    found = []
    for microbatches in (1, parts):
        agent = make(name, microbatches=microbatches, **settings)
        n, size = agent.course.n, agent.course.group_size
        found.append(gradient_of(agent, written(agent, n, size)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dpo_s_gradient_does_not_depend_on_microbatches():
    found = []
    for microbatches in (1, 3):
        agent = make("DPO", n_pairs=20, batch_size=10, microbatches=microbatches)
        seen = []
        agent.optimizer.step = lambda seen=seen, agent=agent: seen.append(
            torch.cat([p.grad.flatten() for p in agent.policy.parameters()]).clone()
        )
        agent.learn(10)
        found.append(seen[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_whole_groups_may_change_places():
    """Group ids really group: advantages move along with their groups, and with nothing else."""
    agent = moved(make("GRPO", preset="paper", **SMALL))
    batch = written(agent)
    texts = Texts(agent.policy, batch)
    plain = agent.advantages(texts)
    texts.rewards = texts.rewards.reshape(3, 4)[[2, 0, 1]].reshape(-1)
    moved_along = agent.advantages(texts)
    torch.testing.assert_close(moved_along, plain.reshape(3, 4)[[2, 0, 1]].reshape(-1))
    assert plain.reshape(3, 4).sum(1).abs().max() < 1e-5


def test_dead_groups_are_told_and_dropped():
    """The reward knows the prompt alone: nothing to learn in any group."""

    def of_prompt(tokens, lengths):
        return tokens[:, 0].astype(float)

    env = gym.make(TASK, reward=of_prompt, no_eos=0.0)
    kept = make("GRPO", env, preset="paper", beta=0.0, **SMALL)
    kept.update(written(kept))
    assert kept.metrics.dead_groups == 1.0
    assert kept.metrics.gradient_norm == pytest.approx(0.0, abs=1e-6)
    dropped = make("GRPO", env, preset="dapo", **SMALL)
    dropped.update(written(dropped))
    assert dropped.metrics.gradient_steps == 0
    assert math.isnan(dropped.metrics.gradient_norm)


def test_metrics_by_hand():
    agent = moved(make("RLOO", **SMALL))
    batch = written(agent)
    agent.update(batch)
    m = agent.metrics
    texts = (batch.log_probs - batch.ref_log_probs).sum(axis=1)
    assert m.reward == pytest.approx(batch.rewards.mean())
    assert m.gold == pytest.approx(batch.rewards.mean())
    assert m.kl == pytest.approx(texts.mean())
    assert m.kl_max == pytest.approx(texts.max())
    assert m.length == pytest.approx(batch.mask.sum(axis=1).mean())
    assert m.eos_rate == pytest.approx(1 - batch.no_eos.mean())
    assert m.beta == 0.4
    assert m.ratio_max == pytest.approx(1.0, abs=1e-4)
    assert m.clip_fraction == 0.0
    out = outputs_of(make("RLOO", **SMALL), batch)
    assert out.entropies.shape == batch.mask.shape


def test_several_steps_on_one_batch_move_the_ratio_and_are_clipped():
    agent = make("RLOO", n_epochs=8, clip_range=0.01, learning_rate=0.05, **SMALL)
    agent.update(written(agent))
    assert agent.metrics.gradient_steps == 8
    assert agent.metrics.ratio_max > 1.01
    assert agent.metrics.clip_fraction > 0.1


def test_gdpo_s_rewards_share_what_a_cut_text_costs():
    agent = make("GDPO", **SMALL)
    batch = written(agent)
    rewards = agent.rewards(batch).numpy()
    assert rewards.shape == (12, agent.task.n_rewards)
    np.testing.assert_allclose(rewards.sum(axis=1), batch.rewards, atol=1e-6)


def test_gdpo_on_two_rewards_of_unlike_scales():
    agent = make("GDPO", "rlsuite/TwoVerifiers-v0", preset="paper", **SMALL)
    batch = agent.task.rollout(agent.policy, 12, rng=np.random.default_rng(0), group_size=4)
    texts, rewards = Texts(agent.policy, batch), agent.rewards(batch)
    wanted = decoupled_group_advantages(rewards, 4, weights=[1.0, 1.0])
    torch.testing.assert_close(agent.advantages(texts, rewards), wanted)
    agent.update(batch)
    assert agent.metrics.reward_std_most > agent.metrics.reward_std_least
    assert -1.0 <= agent.metrics.correlation_least <= 1.0


def test_gdpo_tells_of_rewards_that_cancel():
    """Each text earns what the other reward loses."""

    def up(tokens, lengths):
        return lengths.astype(float)

    env = gym.make(TASK, reward=[up, lambda t, n: -up(t, n)], no_eos=0.0)
    agent = make("GDPO", env, preset="paper", **SMALL)
    agent.update(written(agent))
    assert agent.metrics.cancelled == 1.0
    assert agent.metrics.correlation_least == pytest.approx(-1.0, abs=1e-5)


def test_ppo_s_first_advantages_are_returns_to_go():
    """The value head starts at 0 and λ = 1."""
    agent = make("RLHFPPO", n_texts=12)
    batch = written(agent)
    texts = Texts(agent.policy, batch)
    values = agent._values(texts)
    assert values.abs().max() == 0.0
    advantages, returns = agent._advantages(texts, values)
    rewards = shaped_rewards(texts.rewards, texts.log_probs, texts.reference, texts.mask, beta=0.4)
    to_go = rewards.flip(1).cumsum(1).flip(1).masked_fill(~texts.mask, 0.0)
    torch.testing.assert_close(advantages, to_go)
    torch.testing.assert_close(returns, to_go)


def test_ppo_learns_values():
    agent = make("RLHFPPO", n_texts=64, learning_rate=0.005)
    agent.learn(20_000)
    assert agent.metrics.explained_variance > 0.3


def test_ppo_whitens_over_the_batch():
    agent = make("RLHFPPO", n_texts=12, preset="paper")
    batch = written(agent)
    texts = Texts(agent.policy, batch)
    advantages, _ = agent._advantages(texts, agent._values(texts))
    tokens = advantages[texts.mask]
    assert tokens.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert tokens.std().item() == pytest.approx(1.0, abs=1e-5)


def test_an_adaptive_beta_follows_and_is_saved(tmp_path):
    """Target far below and far above: a fifth of 12 / 24 either way."""
    for target, factor in ((1e-9, 1.1), (1e9, 0.9)):
        agent = moved(make("RLHFPPO", n_texts=12, learning_rate=0.05))
        settings = {"kl_control": "adaptive", "kl_target": target, "kl_horizon": 24.0}
        follower = make("RLHFPPO", n_texts=12, **settings)
        follower.policy = follower.writer = agent.policy
        follower.update(written(agent))
        assert follower.beta == pytest.approx(0.4 * factor)
    follower = make("RLHFPPO", n_texts=12, kl_control="adaptive", kl_target=1e9)
    follower.learn(200)
    assert follower.beta != 0.4
    follower.save(tmp_path / "agent")
    assert type(follower).load(tmp_path / "agent").beta == follower.beta


def test_best_of_n_imitates_the_best_of_each_group():
    agent = make("BestOfN", **SMALL)
    batch = written(agent)
    best = agent._best(batch)
    groups = batch.rewards.reshape(3, 4)
    np.testing.assert_array_equal(batch.rewards[best], groups.max(axis=1))
    wanted = -outputs_of(agent, batch).log_probs[best].sum() / (3 * 5)
    agent.update(batch)
    assert agent.metrics.loss == pytest.approx(wanted.item(), rel=1e-5)
    assert agent.metrics.best_reward == pytest.approx(groups.max(axis=1).mean())


def test_dpo_s_loss_and_metrics_from_its_pairs():
    agent = make("DPO", n_pairs=50, batch_size=10, beta=0.5)
    rows = np.arange(10)
    policy, reference = agent._log_probs(rows), agent._reference[:, :10]
    torch.testing.assert_close(policy.detach(), reference, rtol=1e-5, atol=1e-5)
    agent.update(rows)
    assert agent.metrics.loss == pytest.approx(math.log(2), abs=1e-5)  # π = ref
    policy = agent._log_probs(rows).detach()
    agent.update(rows)
    wanted = dpo_loss(*policy, *reference, beta=0.5)
    assert agent.metrics.loss == pytest.approx(wanted.item(), abs=1e-6)
    h = (policy[0] - policy[1]) - (reference[0] - reference[1])
    assert agent.metrics.margin == pytest.approx(h.mean().item(), abs=1e-5)
    assert agent.metrics.accuracy == pytest.approx((h > 0).float().mean().item())


def test_dpo_by_means_divides_by_the_tokens():
    whole, mean = (make("DPO", n_pairs=20, logp_reduce=reduce) for reduce in ("sum", "mean"))
    p = whole.pairs
    counts = torch.from_numpy(
        np.stack([p.chosen_lengths - p.prompt_lengths, p.rejected_lengths - p.prompt_lengths])
    )
    torch.testing.assert_close(mean._reference, whole._reference / counts)
    rows = np.arange(20)
    torch.testing.assert_close(mean._log_probs(rows), whole._log_probs(rows) / counts)


def test_preferences_from_a_file(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "ab", "chosen": "ab", "rejected": "c"}\n' * 3, encoding="utf-8")
    agent = make("DPO", preferences=str(file), batch_size=3)
    agent.learn(300)
    assert agent.metrics.accuracy == 1.0
    agent.save(tmp_path / "agent")
    file.write_text('{"prompt": "ab", "chosen": "c", "rejected": "ab"}\n' * 3, encoding="utf-8")
    with pytest.raises(CheckpointError, match="has learned from other preferences than these"):
        type(agent).load(tmp_path / "agent")


def test_a_gradient_that_is_not_finite_ends_the_training():
    agent = make("RLOO", **SMALL)
    batch = written(agent)
    before = agent.policy.arrays("policy")
    object.__setattr__(batch, "rewards", np.full(12, np.nan))
    with pytest.raises(DivergenceError, match="the training has diverged, and stops before"):
        agent.update(batch)
    for name, array in agent.policy.arrays("policy").items():
        np.testing.assert_array_equal(array, before[name])


def without_b():
    """The task whose reference never writes b."""
    return gym.make(TASK, reference=[[1, 0, 1, 1, 1, 1, 1]] * 6)


def test_a_token_that_the_reference_never_writes_is_named():
    """Where its divergence counts; a policy on the reference cannot write it."""
    settings = {**SMALL, "n_groups": 8}
    for name, more in (("RLOO", {}), ("GRPO", {"preset": "paper"})):
        agent = make(name, without_b(), start="random", **settings, **more)
        with pytest.raises(SettingError, match="its reference policy never writes it: KL"):
            agent.learn(500)
    free = make("RLOO", without_b(), start="random", kl_in="none", **settings).learn(500)
    assert free.metrics.kl == math.inf
    batch = written(make("RLOO", without_b(), **settings).learn(500), n=400)
    new = np.arange(batch.tokens.shape[1]) >= batch.prompt_lengths[:, None]
    assert not np.any(new & (batch.tokens == 1))


def test_a_preference_for_what_the_reference_never_writes_is_named(tmp_path):
    line = '{"prompt": "ab", "chosen": "%s", "rejected": "%s"}\n'
    file = tmp_path / "pairs.jsonl"
    file.write_text(line % ("c", "d") + "\n" + line % ("c", "fb"))
    with pytest.raises(DataError, match=r"preference 2 of .* never writes what was rejected"):
        make("DPO", without_b(), preferences=str(file))
