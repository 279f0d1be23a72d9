"""What else the oracle answers: regret by state, the best of n, the frontier, abilities kept."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from registry.errors import OracleError, SettingError
from registry.texts import ExtendsPrefixes
from rlsuite_envs.tokens.capability import TEXTS, distinct, expected_distinct, perplexity
from rlsuite_envs.tokens.proxies import fit_reward
from rlsuite_envs.tokens.sampling import completions_of
from rlsuite_envs.tokens.soft import best_of_n
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.token_generation import TokenGeneration

ENV = TokenGeneration(max_new_tokens=3)
ORACLE = ENV.oracle()


def random_policy(seed, oracle=ORACLE):
    weights = np.random.default_rng(seed).exponential(size=oracle.reference_policy().shape)
    return weights / weights.sum(axis=1, keepdims=True)


class Table:
    """A table of probabilities as a sequence policy."""

    def __init__(self, pi, oracle=ORACLE):
        tokens = oracle.observations()["tokens"]
        self.state_of = {row.tobytes(): s for s, row in enumerate(tokens)}
        self.logs = np.log(pi)
        self.width = tokens.shape[1]

    def log_probs(self, tokens, lengths):
        rows = np.full((len(tokens), self.width), 7)
        for row, text, length in zip(rows, tokens, lengths, strict=True):
            row[:length] = text[:length]
        return self.logs[[self.state_of[row.tobytes()] for row in rows]]


class RememberedTable(Table):
    """The same, one token at a time."""

    def start(self, prompts, lengths):
        rows = [row[:n].tolist() for row, n in zip(prompts, lengths, strict=True)]
        return self._look(rows), rows

    def extend(self, state, parents, tokens):
        rows = [[*state[i], int(token)] for i, token in zip(parents, tokens, strict=True)]
        return self._look(rows), rows

    def _look(self, rows):
        return self.log_probs(np.array(rows), np.array([len(row) for row in rows]))


@pytest.mark.parametrize("kind", [Table, RememberedTable])
def test_a_sequence_policy_is_asked_level_by_level(kind):
    pi = random_policy(0)
    policy = kind(pi)
    assert isinstance(policy, ExtendsPrefixes) == (kind is RememberedTable)
    table = tabulate(policy, "mine", ENV.world.tree)
    np.testing.assert_allclose(np.exp(table).reshape(pi.shape), pi, rtol=1e-12)
    assert ORACLE.policy_return(policy) == pytest.approx(ORACLE.policy_return(pi), abs=1e-12)


def test_a_sequence_policy_that_writes_what_the_reference_never_does():
    masked = np.ones((6, 7))
    masked[:, 2] = 0
    oracle = TokenGeneration(reference=masked, max_new_tokens=3).oracle()
    with pytest.raises(OracleError, match="gives the masked token 2 probability"):
        oracle.policy_return(Table(random_policy(0)))


@pytest.mark.parametrize("seed", range(3))
def test_regret_is_where_it_arises(seed):
    pi = random_policy(seed)
    parts = ORACLE.regret_by_state(pi)
    assert parts.min() >= 0
    assert parts.sum() == pytest.approx(ORACLE.optimal_return - ORACLE.policy_return(pi), abs=1e-12)
    # a policy that is wrong in one state alone loses there alone
    one = ORACLE.optimal_policy()
    one[17] = pi[17]
    assert np.flatnonzero(ORACLE.regret_by_state(one) > 1e-15).tolist() == [17]
    with pytest.raises(OracleError, match="only for β above 0"):
        ENV.oracle(beta=0).regret_by_state(pi)


def test_values_of_a_policy():
    pi = random_policy(4)
    n = ENV.world.tree.n_prefixes
    values = ORACLE.policy_values(pi)
    assert values[::n].mean() == pytest.approx(ORACLE.policy_return(pi), abs=1e-12)
    best = ORACLE.policy_values(ORACLE.optimal_policy())
    np.testing.assert_allclose(best, ORACLE.soft_values(), atol=1e-12)
    assert np.all(values <= best + 1e-12)


def test_chances_of_states_and_texts():
    pi = random_policy(5)
    texts = ORACLE.text_probabilities(pi)
    np.testing.assert_allclose(texts.sum(axis=1), 1.0, rtol=1e-12)
    assert (texts * ORACLE._rewards).sum(axis=1).mean() == pytest.approx(
        ORACLE.policy_metrics(pi)["expected_reward"], abs=1e-12
    )
    reach = ORACLE.state_distribution(pi)
    # as many tokens are written as states are passed
    assert reach.sum() == pytest.approx(ORACLE.policy_metrics(pi)["mean_length"], abs=1e-12)


def test_best_of_n_by_hand():
    """Scores 1, 2, 2 of probability 1/2, 1/4, 1/4; of two, the 1 wins only against itself."""
    found = best_of_n(np.array([[0.5, 0.25, 0.25]]), np.array([[1.0, 2.0, 2.0]]), 2)
    np.testing.assert_allclose(found, [[0.25, 0.375, 0.375]])


@pytest.mark.parametrize("n", [1, 2, 16, 1000])
def test_the_best_of_n_answers(n):
    pi = ORACLE.best_of_n_policy(n)
    metrics = ORACLE.policy_metrics(pi)
    assert metrics["kl"] <= math.log(n) - (n - 1) / n + 1e-12
    texts = best_of_n(ORACLE.text_probabilities(ORACLE.reference_policy()), ORACLE._rewards, n)
    np.testing.assert_allclose(ORACLE.text_probabilities(pi), texts, atol=1e-12)
    if n == 1:
        np.testing.assert_allclose(pi, ORACLE.reference_policy(), atol=1e-12)


def test_the_best_of_n_answers_is_what_sampling_finds():
    """Within 4 standard errors of the mean of 4,000 draws."""
    batch = ENV.rollout(ENV.reference_model, 16_000, rng=np.random.default_rng(0), group_size=4)
    best = batch.rewards.reshape(-1, 4).max(axis=1)
    wanted = ORACLE.policy_metrics(ORACLE.best_of_n_policy(4))["expected_reward"]
    assert abs(best.mean() - wanted) < 4 * best.std() / math.sqrt(len(best))


def test_nothing_lies_above_the_frontier():
    for n in (2, 8, 64):
        found = ORACLE.policy_metrics(ORACLE.best_of_n_policy(n))
        low, high = 1e-3, 1e3  # the β of the frontier's point at this KL
        for _ in range(60):
            middle = math.sqrt(low * high)
            (point,) = ORACLE.frontier([middle])
            low, high = (middle, high) if point.kl > found["kl"] else (low, middle)
        assert point.kl == pytest.approx(found["kl"], abs=1e-6)
        assert found["expected_reward"] <= point.expected_reward + 1e-9


def test_the_slope_of_the_frontier_is_beta():
    before, at, after = ORACLE.frontier([0.4004, 0.4, 0.3996])
    slope = (after.expected_reward - before.expected_reward) / (after.kl - before.kl)
    assert slope == pytest.approx(0.4, abs=1e-5)
    assert at.objective == pytest.approx(ORACLE.optimal_return, abs=1e-12)
    assert at.gold is None


def test_a_wrong_proxy_has_a_hump_and_gold_has_none():
    """Gold is a random number per text, of which positions and pairs of letters say little."""
    rng = np.random.default_rng(0)
    words = ["".join(word) for n in range(5) for word in itertools.product("abcdef", repeat=n)]
    gold = dict(zip(words, rng.normal(size=len(words)).tolist(), strict=True))
    task = TokenGeneration(reward=gold, max_new_tokens=4)
    pairs = task.preferences(2000, rng=np.random.default_rng(1), source="reward")
    proxy = fit_reward("learned", pairs, task.world.shape)
    learned, oracle = TokenGeneration(reward=proxy, max_new_tokens=4), task.oracle()
    betas, worth, kl = np.geomspace(10, 0.02, 12), [], []
    for beta in betas:
        found = oracle.policy_metrics(learned.oracle(beta=beta).optimal_policy())
        worth.append(found["expected_reward"])
        kl.append(found["kl"])
    top = int(np.argmax(worth))
    assert 0 < top < len(betas) - 1
    assert worth[-1] < worth[0] < worth[top]
    own = oracle.frontier(betas)
    rewards = [point.expected_reward for point in own]
    assert rewards == sorted(rewards)
    frontier = np.interp(kl, [point.kl for point in own], rewards)  # concave: below it at most
    assert np.all(np.array(worth) <= frontier + 1e-9)


@pytest.mark.parametrize("n", [0, 1.5, True])
def test_n_is_a_count(n):
    with pytest.raises(SettingError, match="n must be a whole number of at least 1"):
        ORACLE.best_of_n_policy(n)


@pytest.mark.parametrize("beta", [-1.0, math.nan])
def test_a_frontier_needs_betas(beta):
    with pytest.raises(SettingError, match="a β is a finite number of at least 0"):
        ORACLE.frontier([beta])


# What is left of the reference's abilities ------------------------------------------------------


def test_the_perplexity_of_the_reference_is_its_entropy_rate():
    reference = ORACLE.reference_policy()
    local = -np.sum(reference * np.log(reference), axis=1)
    reach = ORACLE.state_distribution(reference)
    wanted = math.exp(float(reach @ local) / float(reach.sum()))
    assert ORACLE.policy_metrics(reference)["perplexity"] == pytest.approx(wanted, rel=1e-12)
    others = [ORACLE.policy_metrics(random_policy(s))["perplexity"] for s in range(5)]
    assert min(others) > wanted
    uniform = np.full_like(reference, 1 / 7)
    assert ORACLE.policy_metrics(uniform)["perplexity"] == pytest.approx(7.0)


def test_a_policy_that_cannot_write_the_references_texts_has_no_perplexity():
    never = ENV.oracle(beta=0).optimal_policy()
    assert "perplexity" not in ORACLE.policy_metrics(never)
    assert perplexity(-1e6, 10) == math.inf


def test_distinct_by_hand():
    """Letters abba, ab: 2 of 6 letters, and ab, bb, ba, ab: 3 of 4 pairs differ."""
    texts = np.array([[0, 1, 1, 0, 6], [0, 1, 6, 7, 7]])
    assert distinct(texts, 1, 7, 6) == pytest.approx(2 / 6)
    assert distinct(texts, 2, 7, 6) == pytest.approx(3 / 4)
    assert distinct(texts[:, 2:3], 2, 7, 6) is None


def test_expected_distinct_of_a_deterministic_policy():
    """100 times the same text of 3 letters: 3 kinds of 300 letters, 2 of 200 pairs."""
    tree = ENV.world.tree
    chances = np.zeros((4, tree.n_texts))
    chances[:, tree.number_of(np.array([0, 1, 2]))] = 1.0
    assert expected_distinct(tree, chances, 1) == pytest.approx(3 / 300)
    assert expected_distinct(tree, chances, 2) == pytest.approx(2 / 200)


def test_expected_distinct_is_what_sampling_finds():
    """The ratio of expectations, over 60 bodies of 100 texts; within 2 %."""
    reference = ORACLE.text_probabilities(ORACLE.reference_policy())
    batch = ENV.rollout(ENV.reference_model, 60 * TEXTS, rng=np.random.default_rng(1))
    new = completions_of(batch.tokens, batch.prompt_lengths, 3)
    for n in (1, 2):
        found = distinct(new, n, 7, 6)
        assert found == pytest.approx(expected_distinct(ENV.world.tree, reference, n), rel=0.02)


def test_estimates_agree_with_the_exact_figures():
    """Within 4 standard errors, or 5 % where none is told."""
    pi = random_policy(8)
    found = ENV.sampled_metrics(Table(pi), 4000, rng=np.random.default_rng(2))
    exact = ORACLE.policy_metrics(pi)
    assert abs(found["objective"] - ORACLE.policy_return(pi)) < 4 * found["objective_error"]
    assert "expected_gold" not in found
    for name in ("kl", "eos_rate", "mean_length", "perplexity", "distinct_1", "distinct_2"):
        assert found[name] == pytest.approx(exact[name], rel=0.05), name
    proxy = TokenGeneration(reward="linear", max_new_tokens=3)
    found = proxy.sampled_metrics(proxy.reference_model, 500, rng=np.random.default_rng(2))
    assert {"expected_gold", "expected_reward"} <= found.keys()
    assert found["kl"] == pytest.approx(0.0, abs=1e-12)
