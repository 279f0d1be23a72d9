"""What is computed token by token: by hand, and the expected gradient of every placement of the KL.

The tree of the second half has four letters and EOS, texts of at most four tokens: 341 of them. The
policy is a table of logits, so that sums over all texts are exact expectations.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from registry.errors import SettingError
from rlsuite_agents.functional.preference import (
    group_relative_advantages,
    leave_one_out_advantages,
)
from rlsuite_agents.functional.text_policy import (
    adaptive_beta,
    kl_terms,
    policy_terms,
    shaped_rewards,
    text_advantages,
    token_policy_loss,
    token_weights,
    value_terms,
    whitened,
)

BAD = 99.0  # stands in the padding: any leak shows
MASK = torch.tensor([[True, True, True], [True, False, False]])


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


# --- by hand ------------------------------------------------------------------------------------

REFERENCE = tensor([[-2.0, -1.0, -1.0], [-1.5, BAD, BAD]])
POLICY = tensor([[-1.0, -2.0, -1.0], [-0.5, -BAD, -BAD]])  # ℓ = 1, -1, 0 | 1
OLD = POLICY - tensor([[math.log(2), math.log(0.5), 0.0], [math.log(3), 0.0, 0.0]])
K3 = (math.exp(-1), math.e - 2, 0.0, math.exp(-1))


@pytest.mark.parametrize(
    ("options", "row", "other"),
    [
        ({"kind": "k1"}, (1.0, -1.0, 0.0), 1.0),
        ({"kind": "k2"}, (0.5, 0.5, 0.0), 0.5),
        ({"kind": "k3"}, K3[:3], K3[3]),
        ({"kind": "k3", "corrected": True}, (2 * K3[0], 0.5 * K3[1], 0.0), 3 * K3[3]),
        ({"kind": "k1", "level": "sequence"}, (0.0, 0.0, 0.0), 1.0),
        ({"kind": "k2", "level": "sequence", "corrected": True}, (0.0, 0.0, 0.0), 1.5),
    ],
)
def test_kl_terms_by_hand(options, row, other):
    """Ratios 2, ½, 1 | 3; of the first text ℓ sums to 0 and the ratios multiply to 1."""
    got = kl_terms(POLICY, OLD, REFERENCE, MASK, **options)
    np.testing.assert_allclose(got, [row, (other, 0.0, 0.0)], atol=1e-12)


def test_kl_terms_refuse():
    with pytest.raises(SettingError, match="level is one of 'token', 'sequence', got 'word'"):
        kl_terms(POLICY, OLD, REFERENCE, MASK, kind="k1", level="word")
    with pytest.raises(SettingError, match="one shape"):
        kl_terms(POLICY, OLD, REFERENCE[:1], MASK, kind="k1")


def test_text_advantages_by_hand():
    """γ = λ = ½, one text of three tokens and one of one.

    δ = 1 + ½·4 - 2 = 1, 2 + ½·6 - 4 = 1, 10 - 6 = 4; A_3 = 4, A_2 = 1 + ¼·4 = 2, A_1 = 1 + ¼·2.
    """
    rewards = np.array([[1.0, 2.0, 10.0], [3.0, BAD, BAD]])
    values = np.array([[2.0, 4.0, 6.0], [1.0, BAD, BAD]])
    advantages, returns = text_advantages(rewards, values, MASK.numpy(), gamma=0.5, lambda_=0.5)
    np.testing.assert_allclose(advantages, [[1.5, 2.0, 4.0], [2.0, 0.0, 0.0]])
    np.testing.assert_allclose(returns, [[3.5, 6.0, 10.0], [3.0, 0.0, 0.0]])


def test_whitened_by_hand():
    """1, 2, 6 | 3: mean 3, squares 4 + 1 + 9 + 0 = 14."""
    given = tensor([[1.0, 2.0, 6.0], [3.0, BAD, BAD]])
    unbiased = whitened(given, MASK, eps=0.0)
    std = math.sqrt(14 / 3)
    np.testing.assert_allclose(unbiased, [[-2 / std, -1 / std, 3 / std], [0, 0, 0]], atol=1e-12)
    scaled = whitened(given, MASK, shift=False, unbiased=False, eps=0.5)
    std = math.sqrt(14 / 4) + 0.5
    np.testing.assert_allclose(scaled, [[1 / std, 2 / std, 6 / std], [3 / std, 0, 0]], atol=1e-12)


def test_value_terms_by_hand():
    """Old 0, ε = 1, v = 3, G = 2: ½ max(1, (1 - 2)²); G = 0: ½ max(9, 1); unclipped 9/2 too."""
    values = tensor([[3.0, 3.0, 0.5], [2.0, BAD, BAD]], grad=True)
    returns = tensor([[2.0, 0.0, 1.0], [0.0, BAD, BAD]])
    got = value_terms(values, torch.zeros_like(returns), returns, MASK, clip_range=1.0)
    np.testing.assert_allclose(got.detach(), [[0.5, 4.5, 0.125], [2.0, 0.0, 0.0]])
    got.sum().backward()
    np.testing.assert_allclose(values.grad[1], [2.0, 0.0, 0.0])
    free = value_terms(values, torch.zeros_like(returns), returns, MASK, clip_range=math.inf)
    np.testing.assert_allclose(free.detach()[0], [0.5, 4.5, 0.125])
    with pytest.raises(SettingError, match="clip_range must be above 0, got 0"):
        value_terms(values, returns, returns, MASK, clip_range=0.0)


def test_value_terms_that_are_clipped_do_not_pull():
    """v = 3 went beyond old + ε = 1 while G = -1: (3 + 1)² is the worse; for G = 9 the held one."""
    values = tensor([[3.0]], grad=True)
    one = torch.ones(1, 1)
    terms = value_terms(values, tensor([[0.0]]), tensor([[9.0]]), one, clip_range=1.0)
    assert terms.item() == pytest.approx(32.0)  # ½ (1 - 9)²
    terms.sum().backward()
    assert values.grad.item() == 0.0


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(6.0, 0.1), (6.6, 0.1 * (1 + 0.1 * 0.5)), (60.0, 0.1 * 1.1), (0.0, 0.1 * 0.9)],
)
def test_adaptive_beta_by_hand(kl, expected):
    """Target 6, 100 texts of a horizon of 200: at most a tenth at a time."""
    got = adaptive_beta(0.1, kl, target=6.0, horizon=200.0, texts=100)
    assert got == pytest.approx(expected)


def test_adaptive_beta_refuses():
    with pytest.raises(SettingError, match="target must be above 0, got 0"):
        adaptive_beta(0.1, 1.0, target=0.0, horizon=1.0, texts=1)
    with pytest.raises(SettingError, match="horizon must be above 0"):
        adaptive_beta(0.1, 1.0, target=1.0, horizon=0.0, texts=1)


@pytest.mark.parametrize(
    ("aggregate", "length", "first", "second"),
    [("token", None, 1 / 4, 1 / 4), ("sequence", None, 1 / 6, 1 / 2), ("constant", 5, 0.1, 0.1)],
)
def test_token_weights_by_hand(aggregate, length, first, second):
    got = token_weights(MASK, aggregate, length, like=OLD)
    np.testing.assert_allclose(got, [[first] * 3, [second, 0.0, 0.0]])


@pytest.mark.parametrize("aggregate", ["token", "sequence", "constant"])
@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_a_batch_has_one_gradient_however_it_is_cut(aggregate, parts):
    """Eight texts of 1 to 6 tokens: 1 x 8, 2 x 4, 4 x 2 and 8 x 1."""
    rng = np.random.default_rng(0)
    lengths = torch.from_numpy(rng.integers(1, 7, 8))
    mask = torch.arange(6) < lengths[:, None]
    log_prob, old = (torch.from_numpy(-rng.random((8, 6))) for _ in range(2))
    advantages = torch.from_numpy(rng.normal(size=8))
    length = 6 if aggregate == "constant" else None
    log_prob.requires_grad_()
    options = {"clip_range": 0.2, "aggregate": aggregate, "max_length": length}
    token_policy_loss(log_prob, old, advantages, mask, **options).backward()
    whole, log_prob.grad = log_prob.grad, None
    weights = token_weights(mask, aggregate, length, like=old)
    for rows in torch.arange(8).chunk(parts):
        terms = policy_terms(
            log_prob[rows], old[rows], advantages[rows], mask[rows], clip_range=0.2
        )
        (weights[rows] * terms).sum().backward()
    torch.testing.assert_close(log_prob.grad, whole, rtol=1e-12, atol=0)


# --- the tree of 341 texts: expected gradients, exactly -----------------------------------------

V, T, EOS = 5, 4, 4


class Tree:
    """All texts, the states they pass, and a policy near a reference, as tables of logits."""

    def __init__(self, seed=0, apart=1.0):
        texts = [
            [*letters, EOS] if len(letters) < T else list(letters)
            for n in range(T + 1)
            for letters in itertools.product(range(EOS), repeat=n)
        ]
        states: dict[tuple[int, ...], int] = {}
        self.tokens = torch.zeros(len(texts), T, dtype=torch.int64)
        self.states = torch.zeros_like(self.tokens)
        self.mask = torch.zeros(len(texts), T, dtype=torch.bool)
        for i, text in enumerate(texts):
            for t, token in enumerate(text):
                self.states[i, t] = states.setdefault(tuple(text[:t]), len(states))
                self.tokens[i, t], self.mask[i, t] = token, True
        rng = np.random.default_rng(seed)
        reference = tensor(rng.normal(size=(len(states), V)))
        self.theta = (reference + apart * tensor(rng.normal(size=(len(states), V)))).detach()
        self.theta.requires_grad_()
        self.reference = self.log_probs(reference)
        self.scores = tensor(rng.normal(size=len(texts)))

    def log_probs(self, logits):
        rows = torch.log_softmax(logits, 1)[self.states, self.tokens]
        return rows.masked_fill(~self.mask, 0.0)

    def gradient(self, value):
        return torch.autograd.grad(value, self.theta)[0]

    def chance(self):
        return self.log_probs(self.theta).sum(1).exp()

    def divergence(self):
        """KL(π‖ref) of whole texts, differentiable."""
        difference = (self.log_probs(self.theta) - self.reference).sum(1)
        return (self.chance() * difference).sum()

    def objective(self, beta):
        return (self.chance() * self.scores).sum() - beta * self.divergence()

    def expected(self, terms):
        """Gradient of E[Σ_t term] with the texts' chances held: what a sampler estimates."""
        return self.gradient((self.chance().detach()[:, None] * terms).sum())


def relative_error(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


def test_the_tree_has_341_texts_that_sum_to_one():
    tree = Tree()
    assert len(tree.tokens) == 341
    assert tree.chance().sum().item() == pytest.approx(1.0, abs=1e-12)


def in_reward(tree, kind, to_go):
    """The score-function gradient of KL in the reward, as returns of texts or to go."""
    log_prob = tree.log_probs(tree.theta)
    nothing = torch.zeros(len(tree.tokens), dtype=torch.float64)
    rewards = shaped_rewards(nothing, log_prob, tree.reference, tree.mask, beta=1.0, kl=kind)
    if to_go:
        weights = rewards.flip(1).cumsum(1).flip(1)
    else:
        weights = rewards.sum(1, keepdim=True).expand_as(rewards)
    return tree.expected(-log_prob * weights)


@pytest.mark.parametrize("to_go", [False, True])
@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_only_k1_in_the_reward_has_the_gradient_of_the_divergence(kind, to_go):
    tree = Tree(apart=0.3)
    error = relative_error(in_reward(tree, kind, to_go), tree.gradient(tree.divergence()))
    assert (error < 1e-12) if kind == "k1" else (error > 0.1)


def in_loss(tree, kind, level, corrected):
    log_prob = tree.log_probs(tree.theta)
    terms = kl_terms(
        log_prob, log_prob, tree.reference, tree.mask, kind=kind, level=level, corrected=corrected
    )
    return tree.expected(terms[:, :1] if level == "sequence" else terms)


EXACT = [("k2", "sequence", False), ("k1", "sequence", True), ("k3", "sequence", True)]
LATER_STATES_MISSING = [("k2", "token", False), ("k1", "token", True), ("k3", "token", True)]
OTHER = [("k3", "sequence", False), ("k3", "token", False), ("k2", "sequence", True)]


@pytest.mark.parametrize(("kind", "level", "corrected"), EXACT)
def test_right_places_of_the_divergence_in_the_loss(kind, level, corrected):
    tree = Tree(apart=0.3)
    wanted = tree.gradient(tree.divergence())
    assert relative_error(in_loss(tree, kind, level, corrected), wanted) < 1e-12


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_k1_as_a_loss_is_pure_noise(level):
    tree = Tree(apart=0.3)
    got = in_loss(tree, "k1", level, False)
    assert got.norm() < 1e-12 * tree.gradient(tree.divergence()).norm() + 1e-14


@pytest.mark.parametrize(("kind", "level", "corrected"), LATER_STATES_MISSING)
def test_token_level_losses_all_omit_what_early_tokens_change(kind, level, corrected):
    """They agree with each other and with the local divergences at frozen states."""
    tree = Tree(apart=0.3)
    wanted = tree.gradient(tree.divergence())
    got = in_loss(tree, kind, level, corrected)
    assert 0.001 < relative_error(got, wanted) < 0.5
    assert relative_error(got, in_loss(tree, "k2", "token", False)) < 1e-12


@pytest.mark.parametrize(("kind", "level", "corrected"), OTHER)
def test_wrong_places_of_the_divergence_in_the_loss(kind, level, corrected):
    tree = Tree(apart=0.3)
    wanted = tree.gradient(tree.divergence())
    assert relative_error(in_loss(tree, kind, level, corrected), wanted) > 0.02


def test_k3_of_texts_as_a_loss_is_the_other_divergence():
    tree = Tree(apart=0.3)
    log_prob = tree.log_probs(tree.theta)
    reference = tree.reference.sum(1)
    forward = (reference.exp() * (reference - log_prob.sum(1))).sum()
    got = in_loss(tree, "k3", "sequence", False)
    assert relative_error(got, tree.gradient(forward)) < 1e-12


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence_mean"])
def test_k1_in_the_reward_and_an_unclipped_ratio_climb_the_objective(ratio):
    """On-policy; the mean of a text's log-ratios is its sum over its length."""
    tree, beta = Tree(), 0.3
    log_prob = tree.log_probs(tree.theta)
    rewards = shaped_rewards(tree.scores, log_prob, tree.reference, tree.mask, beta=beta)
    terms = policy_terms(log_prob, log_prob, rewards.sum(1), tree.mask, clip_range=0.2, ratio=ratio)
    if ratio == "sequence":
        terms = terms / tree.mask.sum(1, keepdim=True)  # each text's term stands at all its tokens
    got = tree.expected(terms)
    assert relative_error(-got, tree.gradient(tree.objective(beta))) < 1e-12


def test_generalised_advantages_with_the_true_values_are_unbiased_at_any_lambda():
    """v = the soft value of the policy itself: γ = 1, λ = 0 and λ = 0.7 give ∇J exactly."""
    tree, beta = Tree(), 0.3
    log_prob = tree.log_probs(tree.theta).detach()
    rewards = shaped_rewards(tree.scores, log_prob, tree.reference, tree.mask, beta=beta)
    chance = tree.chance().detach()
    to_go = rewards.flip(1).cumsum(1).flip(1)
    n = len(tree.theta)
    weight, total = torch.zeros(n).double(), torch.zeros(n).double()
    weight.index_add_(0, tree.states[tree.mask], chance[:, None].expand_as(to_go)[tree.mask])
    total.index_add_(0, tree.states[tree.mask], (chance[:, None] * to_go)[tree.mask])
    values = (total / weight)[tree.states].numpy()
    wanted = tree.gradient(tree.objective(beta))
    for lambda_ in (0.0, 0.7, 1.0):
        advantages, _ = text_advantages(
            rewards.numpy(), values, tree.mask.numpy(), gamma=1.0, lambda_=lambda_
        )
        got = tree.expected(tree.log_probs(tree.theta) * torch.from_numpy(advantages))
        assert relative_error(got, wanted) < 1e-10


def test_a_discount_bends_the_gradient():
    tree, beta = Tree(), 0.3
    log_prob = tree.log_probs(tree.theta).detach()
    rewards = shaped_rewards(tree.scores, log_prob, tree.reference, tree.mask, beta=beta).numpy()
    wanted, nothing = tree.gradient(tree.objective(beta)), np.zeros(rewards.shape)
    for gamma, low, high in ((1.0, 0.0, 1e-12), (0.9, 0.01, 0.5), (0.0, 0.2, 2.0)):
        advantages, _ = text_advantages(
            rewards, nothing, tree.mask.numpy(), gamma=gamma, lambda_=1.0
        )
        got = tree.expected(tree.log_probs(tree.theta) * torch.from_numpy(advantages))
        assert low <= relative_error(got, wanted) < high


def pairs_gradient(tree, advantages_of, beta):
    """E of the gradient over all pairs of texts, a group of two: what a group method climbs."""
    log_prob = tree.log_probs(tree.theta)
    chance = tree.chance().detach()
    returns = tree.scores - beta * (log_prob.detach() - tree.reference).sum(1)
    n = len(returns)
    both = torch.stack([returns[:, None].expand(n, n), returns[None].expand(n, n)], 2)
    first = advantages_of(both.reshape(-1), 2).reshape(n, n, 2)[..., 0]  # of the row's text
    return tree.gradient((chance * (first @ chance) * log_prob.sum(1)).sum())


def test_leave_one_out_climbs_the_objective_and_a_standardised_group_another_one():
    tree, beta = Tree(), 0.3
    wanted = tree.gradient(tree.objective(beta))
    assert relative_error(pairs_gradient(tree, leave_one_out_advantages, beta), wanted) < 1e-10

    def centred(rewards, size):
        return group_relative_advantages(rewards, size, std="none")

    assert relative_error(pairs_gradient(tree, centred, beta), wanted / 2) < 1e-10  # (G - 1) / G
    got = pairs_gradient(tree, group_relative_advantages, beta)
    cosine = float((got * wanted).sum() / (got.norm() * wanted.norm()))
    assert cosine < 0.99
