"""The soft dynamic programme against full enumeration, closed forms and identities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import OracleError, SettingError
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.reference_models import MarkovReference, markov_reference
from rlsuite_envs.tokens.soft import soft_maximum
from rlsuite_envs.tokens.tables import (
    BIGRAM,
    EOS,
    LENGTH_COST,
    POSITION,
    PROMPTS,
    REFERENCE_WEIGHTS,
)
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.tokens.tree import prefix_tree

OPTIMAL_RETURN = 1.161046475249
BASELINE_RETURN = -0.031998398526
LEARNED_OPTIMAL_RETURN = 1.341561595834


def random_oracle(seed, limit=3, beta=0.4, masked=0.0):
    """Random rewards, a random history-dependent reference; some tokens may be masked."""
    rng = np.random.default_rng(seed)
    tree = prefix_tree(limit)
    shape = (tree.n_prompts, tree.n_prefixes, 7)
    weights = rng.random(shape) * (rng.random(shape) >= masked)
    weights[..., EOS] += 1e-3
    with np.errstate(divide="ignore"):
        log_reference = np.log(weights / weights.sum(axis=-1, keepdims=True))
    rewards = rng.normal(size=(tree.n_prompts, tree.n_texts))
    return TokenOracle(tree, log_reference, rewards, beta=beta)


def random_policy(oracle, seed):
    """Random probabilities of the tokens that are not masked, [S, A]."""
    mask = oracle.observations()["action_mask"]
    weights = mask * np.random.default_rng(seed).exponential(size=mask.shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def enumerate_texts(oracle, *policies):
    """Slow twin: (reward, log-probability under each policy) of all texts, per prompt.

    Walks from the observations alone: which prefix follows which is read from their tokens.
    """
    observations = oracle.observations()
    rows = zip(observations["tokens"].tolist(), observations["length"].tolist(), strict=True)
    state_of = {tuple(row[:length]): s for s, (row, length) in enumerate(rows)}
    tree = oracle._tree
    tokens, lengths = tree.texts()
    texts = zip(tokens.tolist(), lengths.tolist(), strict=True)
    with np.errstate(divide="ignore"):
        logs = [np.log(policy) for policy in policies]
    result = []
    for row, length in texts:
        path = [(state_of[tuple(row[:t])], row[t]) for t in range(2, length)]
        result.append([math.fsum(log[s, a] for s, a in path) for log in logs])
    shape = (tree.n_prompts, tree.n_texts)
    columns = np.array(result).T.reshape(len(policies), *shape)
    return oracle._rewards, columns


def expectation(log_probs, values):
    """Mean over prompts of Σ_y exp(log p(y)) value(y); texts of probability 0 count for nothing."""
    weights = np.exp(log_probs)
    terms = np.where(weights > 0, weights * np.where(weights > 0, values, 0.0), 0.0)
    return float(terms.sum(axis=1).mean())


def test_the_default_task():
    oracle = TokenGeneration().oracle()
    assert oracle.optimal_return == pytest.approx(OPTIMAL_RETURN, abs=1e-12)
    assert oracle.baseline_return == pytest.approx(BASELINE_RETURN, abs=1e-12)
    assert oracle.best_stationary_return is None
    assert (oracle.provenance, oracle.scope) == ("exact", "task")


def test_the_default_task_against_enumeration_from_the_tables_alone():
    """Every text with its reward and reference probability, written out without the library."""
    optimal = []
    for prompt in PROMPTS:
        total = []
        for n in range(6):
            for word in itertools.product(range(6), repeat=n):
                path = [prompt[1], *word] + ([EOS] if n < 5 else [])
                log_ref = sum(
                    math.log(REFERENCE_WEIGHTS[b][a] / sum(REFERENCE_WEIGHTS[b]))
                    for b, a in itertools.pairwise(path)
                )
                reward = sum(
                    POSITION[t][a] + BIGRAM[path[t]][a] - LENGTH_COST for t, a in enumerate(word)
                )
                total.append(math.exp(log_ref + (reward - 0.5 * (n == 5)) / 0.4))
        optimal.append(0.4 * math.log(math.fsum(total)))
    got = TokenGeneration().oracle().optimal_return
    assert got == pytest.approx(sum(optimal) / 4, abs=1e-10)


def test_the_learned_task_has_another_optimum():
    oracle = TokenGeneration(reward="learned").oracle()
    assert oracle.optimal_return == pytest.approx(LEARNED_OPTIMAL_RETURN, abs=1e-10)
    metrics = oracle.policy_metrics(oracle.optimal_policy())
    gold = TokenGeneration().oracle()
    best_gold = gold.policy_metrics(gold.optimal_policy())["expected_reward"]
    assert metrics["expected_gold"] < best_gold < metrics["expected_reward"]
    with_gold = gold.policy_metrics(oracle.optimal_policy())
    assert metrics["expected_gold"] == pytest.approx(with_gold["expected_reward"], abs=1e-12)
    assert gold.policy_return(oracle.optimal_policy()) < gold.optimal_return


def test_one_new_token_by_hand():
    """T = 1: a text is EOS (score 0) or a cut letter; J* = mean β log Σ ref exp(r / β)."""
    env = TokenGeneration(max_new_tokens=1)
    values = []
    for p in range(4):
        weights = REFERENCE_WEIGHTS[p + 1]
        rewards = [POSITION[0][a] + BIGRAM[p + 1][a] - 0.05 - 0.5 for a in range(6)] + [0.0]
        z = sum(w * math.exp(r / 0.4) for w, r in zip(weights, rewards, strict=True))
        values.append(0.4 * math.log(z / sum(weights)))
    oracle = env.oracle()
    np.testing.assert_allclose(oracle.soft_values(), values, rtol=1e-13)
    assert oracle.optimal_return == pytest.approx(sum(values) / 4, abs=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_the_recursion_is_the_enumeration(seed, masked):
    oracle = random_oracle(seed, masked=masked)
    policy = random_policy(oracle, seed)
    reward, (log_ref, log_pi) = enumerate_texts(oracle, oracle.reference_policy(), policy)
    j_star = float(np.mean(0.4 * np.log(np.exp(log_ref + reward / 0.4).sum(axis=1))))
    assert oracle.optimal_return == pytest.approx(j_star, abs=1e-10)
    assert oracle.baseline_return == pytest.approx(expectation(log_ref, reward), abs=1e-10)
    with np.errstate(invalid="ignore"):  # -inf - -inf where neither policy goes
        divergence = expectation(log_pi, log_pi - log_ref)
    expected = expectation(log_pi, reward)
    metrics = oracle.policy_metrics(policy)
    assert metrics["expected_reward"] == pytest.approx(expected, abs=1e-10)
    assert metrics["kl"] == pytest.approx(divergence, abs=1e-10)
    assert oracle.policy_return(policy) == pytest.approx(expected - 0.4 * divergence, abs=1e-10)
    lengths = oracle._tree.texts()[1].reshape(reward.shape) - 2
    assert metrics["mean_length"] == pytest.approx(expectation(log_pi, lengths), abs=1e-10)
    ended = np.arange(reward.shape[1]) < oracle._tree.n_prefixes
    eos_rate = expectation(log_pi, np.broadcast_to(ended, reward.shape))
    assert metrics["eos_rate"] == pytest.approx(eos_rate, abs=1e-10)
    assert "expected_gold" not in metrics


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), beta=st.floats(0.05, 20.0))
def test_regret_is_a_divergence(seed, beta):
    """J* - J(π) = β KL(π ‖ π*), for any policy: never negative, 0 at π*."""
    oracle = random_oracle(seed, limit=2, beta=beta, masked=0.2)
    policy, best = random_policy(oracle, seed + 1), oracle.optimal_policy()
    _, (log_pi, log_best) = enumerate_texts(oracle, policy, best)
    with np.errstate(invalid="ignore"):
        divergence = expectation(log_pi, log_pi - log_best)
    regret = oracle.optimal_return - oracle.policy_return(policy)
    assert regret == pytest.approx(beta * divergence, abs=1e-10)
    assert oracle.policy_return(best) == pytest.approx(oracle.optimal_return, abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_regret_is_a_divergence_on_the_default_task(seed):
    oracle = TokenGeneration().oracle()
    policy, best = random_policy(oracle, seed), oracle.optimal_policy()
    local = np.sum(policy * np.log(policy / best), axis=-1)
    # Σ_s d_π(s) KL(π(·|s) ‖ π*(·|s)), d_π forwards along the tree
    tree = prefix_tree(5)
    reach = np.full((tree.n_prompts, tree.n_prefixes), 0.25)
    pi = policy.reshape(tree.n_prompts, tree.n_prefixes, 7)
    for k in range(1, tree.n_prefixes):
        parent, letter = divmod(k - 1, 6)
        reach[:, k] = reach[:, parent] * pi[:, parent, letter]
    regret = oracle.optimal_return - oracle.policy_return(policy)
    assert regret == pytest.approx(0.4 * float(reach.ravel() @ local), abs=1e-10)


def test_the_optimal_policy_sums_to_one_and_is_consistent_along_every_path():
    """β Σ_t log(π*(a_t|s_t) / ref(a_t|s_t)) = r(y) - V(prompt), for every text y."""
    oracle = random_oracle(5)
    best = oracle.optimal_policy()
    np.testing.assert_allclose(best.sum(axis=-1), 1.0, rtol=1e-14)
    reward, (log_best, log_ref) = enumerate_texts(oracle, best, oracle.reference_policy())
    roots = oracle.soft_values().reshape(4, -1)[:, :1]
    np.testing.assert_allclose(0.4 * (log_best - log_ref), reward - roots, atol=1e-10)


def test_soft_values_are_the_soft_maximum_of_soft_q_values():
    oracle = random_oracle(6)
    q, reference = oracle.soft_q_values(), oracle.reference_policy()
    wanted = 0.4 * np.log(np.sum(reference * np.exp(q / 0.4), axis=-1))
    np.testing.assert_allclose(oracle.soft_values(), wanted, atol=1e-12)


def test_a_small_beta_leads_to_the_best_text():
    oracle = random_oracle(7, beta=0.0)
    best = float(oracle._rewards.max(axis=1).mean())
    assert oracle.optimal_return == pytest.approx(best, abs=1e-14)
    assert oracle.policy_return(oracle.optimal_policy()) == pytest.approx(best, abs=1e-14)
    for beta, tolerance in ((1e-3, 0.02), (1e-8, 1e-6), (1e-300, 1e-12)):
        small = random_oracle(7, beta=beta)
        assert 0 <= best - small.optimal_return < tolerance
        assert small.policy_return(small.optimal_policy()) == pytest.approx(
            small.optimal_return, abs=1e-10
        )


def test_beta_zero_keeps_to_the_support_of_the_reference():
    oracle = random_oracle(8, beta=0.0, masked=0.5)
    reward, (log_ref,) = enumerate_texts(oracle, oracle.reference_policy())
    best = np.where(log_ref > -np.inf, reward, -np.inf).max(axis=1).mean()
    assert best < reward.max(axis=1).mean()
    assert oracle.optimal_return == pytest.approx(best, abs=1e-14)


def test_beta_zero_is_the_plain_reward():
    oracle = TokenGeneration().oracle(beta=0)
    policy = random_policy(oracle, 0)
    assert oracle.policy_return(policy) == oracle.policy_metrics(policy)["expected_reward"]


@pytest.mark.parametrize("beta", [1e4, 1e8, 1e12])
def test_a_large_beta_leads_to_the_reference(beta):
    """J* = E_ref[r] + Var_ref[r] / 2β + O(β^-2)."""
    oracle = random_oracle(9, beta=beta)
    reward, (log_ref,) = enumerate_texts(oracle, oracle.reference_policy())
    mean = np.sum(np.exp(log_ref) * reward, axis=1)
    variance = np.sum(np.exp(log_ref) * reward**2, axis=1) - mean**2
    wanted = float(np.mean(mean + variance / (2 * beta)))
    assert oracle.optimal_return == pytest.approx(wanted, abs=2 / beta**2 + 1e-12)
    np.testing.assert_allclose(oracle.optimal_policy(), oracle.reference_policy(), atol=10 / beta)


def test_the_slope_of_the_optimum_in_beta_is_minus_the_divergence():
    """dJ*/dβ = -KL(π* ‖ ref), by central differences."""
    env = TokenGeneration()
    oracle, h = env.oracle(), 1e-4
    slope = (env.oracle(beta=0.4 + h).optimal_return - env.oracle(beta=0.4 - h).optimal_return) / (
        2 * h
    )
    assert slope == pytest.approx(-oracle.policy_metrics(oracle.optimal_policy())["kl"], abs=1e-5)


def test_the_gold_frontier_only_rises():
    """Along the frontier dE[r] / dKL = β: both grow as β falls."""
    env = TokenGeneration()
    points = []
    for beta in (3.0, 1.0, 0.4, 0.2, 0.1):
        metrics = env.oracle().policy_metrics(env.oracle(beta=beta).optimal_policy())
        points.append((metrics["kl"], metrics["expected_reward"]))
    assert points == sorted(points)
    assert [reward for _, reward in points] == sorted(reward for _, reward in points)


def test_the_reference_has_no_divergence_from_itself():
    oracle = TokenGeneration().oracle()
    metrics = oracle.policy_metrics(oracle.reference_policy())
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-14)
    assert metrics["expected_reward"] == pytest.approx(BASELINE_RETURN, abs=1e-12)


def test_policies_come_as_tables_as_functions_and_with_the_time():
    oracle = random_oracle(10)
    policy = random_policy(oracle, 0)
    wanted = oracle.policy_return(policy)

    def function(observations):
        assert observations["tokens"].shape == (len(policy), 5)
        return policy

    assert oracle.policy_return(function) == wanted
    assert oracle.policy_return(policy.astype(np.float32)) == pytest.approx(wanted, abs=1e-6)
    lengths = oracle.observations()["length"] - 2
    other = random_policy(oracle, 1)
    timed = np.stack([np.where((lengths == t)[:, None], policy, other) for t in range(3)])
    assert oracle.policy_return(timed) == wanted


def test_observations_are_those_of_the_environment():
    env = TokenGeneration(max_new_tokens=3)
    observations = env.oracle().observations()
    seen = {key: [] for key in observations}
    for p in range(4):
        for word in [[], *[[a] for a in range(6)]]:
            observation, _ = env.reset(seed=0, options={"prompt": PROMPTS[p]})
            for letter in word:
                observation = env.step(letter)[0]
            for key, value in observation.items():
                seen[key].append(value)
    chosen = np.flatnonzero(observations["length"] <= 3)
    for key, values in seen.items():
        np.testing.assert_array_equal(np.array(values), observations[key][chosen])
        assert np.array(values).dtype == observations[key].dtype
    one = {key: value[0] for key, value in observations.items()}
    one["length"], one["prompt_length"] = int(one["length"]), int(one["prompt_length"])
    assert one in env.observation_space


def test_observations_may_be_changed_by_whoever_asked():
    oracle = TokenGeneration().oracle()
    for value in oracle.observations().values():
        value[:] = 0
    assert oracle.observations()["tokens"].any()
    assert oracle.optimal_return == pytest.approx(OPTIMAL_RETURN, abs=1e-12)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.full((3, 7), 1 / 7), r"shape \(28, 7\) \(states, tokens\) or \(2, 28, 7\)"),
        (None, "got object of shape"),
        (np.full((28, 7), 1.0), "sums from 7 to 7"),
        (np.full((28, 7), np.nan), "entries from nan to nan"),
        (np.tile([2.0, -1.0, 0, 0, 0, 0, 0], (28, 1)), "entries from -1 to 2"),
    ],
)
def test_malformed_policies_are_refused(policy, message):
    oracle = TokenGeneration(max_new_tokens=2).oracle()
    with pytest.raises(OracleError, match=message):
        oracle.policy_return(policy)


def test_a_policy_must_keep_to_the_mask():
    weights = np.array(REFERENCE_WEIGHTS)
    weights[:, 2] = 0
    oracle = TokenGeneration(reference=weights, max_new_tokens=2).oracle()
    assert np.all(oracle.observations()["action_mask"][:, 2] == 0)
    with pytest.raises(OracleError, match=r"masked token 2 probability 0.142857 in state 0"):
        oracle.policy_return(np.full((28, 7), 1 / 7))
    assert np.all(oracle.optimal_policy()[:, 2] == 0)


@pytest.mark.parametrize("improbable", [1e-3, 1e-12, 1e-200])
def test_the_soft_maximum_where_the_best_token_is_improbable(improbable):
    """β log(ε e^{1/β} + (1 - ε)) for two tokens of values 1 and 0."""
    log_reference = np.log([improbable, 1 - improbable])
    got = soft_maximum(log_reference, np.array([1.0, 0.0]), 0.01)
    wanted = 0.01 * np.logaddexp(math.log(improbable) + 100, math.log1p(-improbable))
    assert got == pytest.approx(wanted, abs=1e-14)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=7, max_size=7),
    st.floats(0.05, 1e3),
    st.floats(-10, 10),
)
def test_the_soft_maximum_lies_between_mean_and_maximum_and_shifts(q, beta, shift):
    reference = np.array(REFERENCE_WEIGHTS[0]) / 31
    q = np.array(q)
    value = soft_maximum(np.log(reference), q, beta)
    assert reference @ q - 1e-9 <= value <= q.max() + 1e-9
    shifted = soft_maximum(np.log(reference), q + shift, beta)
    assert shifted == pytest.approx(value + shift, abs=1e-9)


def test_horizons():
    env = TokenGeneration(max_new_tokens=3)
    assert env.oracle(horizon=3).optimal_return == env.oracle().optimal_return
    assert env.oracle(500).optimal_return == env.oracle().optimal_return
    with pytest.raises(OracleError, match="a time limit of 2 steps cuts texts of up to 3 tokens"):
        env.oracle(horizon=2)
    with pytest.raises(SettingError, match="horizon must be a whole number of at least 1"):
        env.oracle(horizon=0)


def test_the_environments_own_beta_is_the_default():
    env = TokenGeneration(beta=1.5, max_new_tokens=2)
    assert env.oracle().optimal_return == env.oracle(beta=1.5).optimal_return
    assert env.oracle().optimal_return < env.oracle(beta=0.4).optimal_return
    with pytest.raises(SettingError, match="beta must be a finite number of at least 0, got -1"):
        env.oracle(beta=-1)


def test_another_reference_is_another_task():
    uniform = np.ones((6, 7))
    env = TokenGeneration(reference=uniform, max_new_tokens=2)
    np.testing.assert_allclose(env.oracle().reference_policy(), 1 / 7, rtol=1e-14)
    tokens, lengths = prefix_tree(2).prefixes()
    table = tabulate(markov_reference(), "'markov'", prefix_tree(2)).reshape(-1, 7)
    known = {row.tobytes(): s for s, row in enumerate(tokens)}

    class Stored:
        """Answers by look-up, as a network would by a forward pass."""

        def log_probs(self, asked, asked_lengths):
            assert set(asked_lengths) <= set(lengths)
            return table[[known[row.tobytes()] for row in asked]]

    stored = TokenGeneration(reference=Stored(), max_new_tokens=2)
    markov = TokenGeneration(max_new_tokens=2)
    assert isinstance(markov.reference_model, MarkovReference)
    assert stored.oracle().optimal_return == pytest.approx(markov.oracle().optimal_return)


def sampled_objective(env, policy, episodes, seed):
    """β-regularised returns of episodes played through the environment's own `step`."""
    observations = env.oracle().observations()
    state_of = {row.tobytes(): s for s, row in enumerate(observations["tokens"])}
    cumulative, logs = np.cumsum(policy, axis=1).tolist(), np.log(policy).tolist()
    rng = np.random.default_rng(seed)
    returns = np.empty(episodes)
    env.reset(seed=seed)
    for episode in range(episodes):
        observation, _ = env.reset()
        total, ended = 0.0, False
        while not ended:
            s = state_of[observation["tokens"].tobytes()]
            u, action = rng.random(), 0
            while action < 6 and cumulative[s][action] <= u:
                action += 1
            observation, reward, ended, truncated, info = env.step(action)
            assert not truncated
            total += reward - env.beta * (logs[s][action] - info["ref_logprob"])
        returns[episode] = total
    return returns


@pytest.mark.parametrize(
    "episodes", [4_000, pytest.param(100_000, marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("reward", ["gold", "learned"])
def test_policy_return_agrees_with_sampled_episodes(reward, episodes):
    """Within 4 standard errors of the mean."""
    env = TokenGeneration(reward=reward)
    policy = random_policy(env.oracle(), 11)
    returns = sampled_objective(env, policy, episodes, seed=12)
    error = returns.std(ddof=1) / math.sqrt(episodes)
    assert abs(returns.mean() - env.oracle().policy_return(policy)) < 4 * error
