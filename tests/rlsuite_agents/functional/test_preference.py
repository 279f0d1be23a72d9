"""Preference losses and group advantages: every option by hand, then the properties they share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import SettingError
from rlsuite_agents.functional.preference import (
    bradley_terry_loss,
    decoupled_group_advantages,
    dpo_loss,
    group_relative_advantages,
    kl_estimate,
    leave_one_out_advantages,
    shaped_rewards,
    token_policy_loss,
)

LOG3 = math.log(3.0)
BAD = 99.0  # stands in the padding: any leak shows


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


# --- reward models ------------------------------------------------------------------------------


def test_bradley_terry_by_hand():
    """Differences log 3 and 0: -log ¾ and -log ½; their mean is ½ log(8/3)."""
    chosen, rejected = tensor([LOG3, 1.0], True), tensor([0.0, 1.0], True)
    loss = bradley_terry_loss(chosen, rejected)
    assert loss.item() == pytest.approx(0.5 * math.log(8 / 3))
    loss.backward()
    # d/dr_w = -(1 - σ(d)) / B: -¼/2 and -½/2.
    np.testing.assert_allclose(chosen.grad, [-0.125, -0.25])
    np.testing.assert_allclose(rejected.grad, [0.125, 0.25])


def test_bradley_terry_margin_and_center_by_hand():
    """A margin of log 3 turns the first difference into 0; the centre adds ½ (log²3 + 4) · 0.1."""
    chosen, rejected = tensor([LOG3, 1.0]), tensor([0.0, 1.0])
    margins = tensor([LOG3, 0.0])
    assert bradley_terry_loss(chosen, rejected, margins).item() == pytest.approx(math.log(2))
    whole = bradley_terry_loss(chosen, rejected, 0.0, 0.1).item()
    assert whole == pytest.approx(0.5 * math.log(8 / 3) + 0.05 * (LOG3**2 + 4))
    shifted = bradley_terry_loss(chosen, rejected, margin=LOG3).item()
    assert shifted == pytest.approx(0.5 * (math.log(2) + math.log(4)))


def test_bradley_terry_refuses():
    with pytest.raises(SettingError, match="center weighs a squared error"):
        bradley_terry_loss(torch.zeros(2), torch.zeros(2), center=-1.0)
    with pytest.raises(SettingError, match="one shape"):
        bradley_terry_loss(torch.zeros(2), torch.zeros(3))


# --- DPO ----------------------------------------------------------------------------------------

# h = (-1 - (-3)) - (-2 - (-2)) = 2 and (-4 - (-3)) - (-2 - (-3)) = -2; with β = ½, βh = ±1.
DPO_ROWS = (
    tensor([-1.0, -4.0]),
    tensor([-3.0, -3.0]),
    tensor([-2.0, -2.0]),
    tensor([-2.0, -3.0]),
)
L_PLUS, L_MINUS = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))  # -log σ(±1)


@pytest.mark.parametrize(
    ("variant", "smoothing", "rows"),
    [
        ("sigmoid", 0.0, (L_PLUS, L_MINUS)),
        ("sigmoid", 0.1, (0.9 * L_PLUS + 0.1 * L_MINUS, 0.9 * L_MINUS + 0.1 * L_PLUS)),
        ("robust", 0.0, (L_PLUS, L_MINUS)),
        (
            "robust",
            0.1,
            ((0.9 * L_PLUS - 0.1 * L_MINUS) / 0.8, (0.9 * L_MINUS - 0.1 * L_PLUS) / 0.8),
        ),
        ("hinge", 0.0, (0.0, 2.0)),
        ("ipo", 0.0, (1.0, 9.0)),  # (±2 - 1)²
    ],
)
def test_dpo_by_hand(variant, smoothing, rows):
    loss = dpo_loss(*DPO_ROWS, beta=0.5, variant=variant, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(sum(rows) / 2)


def test_dpo_is_log_2_at_the_reference_and_only_the_policy_learns():
    """π = ref: h = 0. The gradient of each chosen log-probability is -β/2 per row, mean of two."""
    rows = [tensor([-1.0, -4.0], True) for _ in range(2)]
    reference = [tensor([-1.0, -4.0], True) for _ in range(2)]
    loss = dpo_loss(*rows, *reference, beta=0.1)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    np.testing.assert_allclose(rows[0].grad, [-0.025, -0.025])
    np.testing.assert_allclose(rows[1].grad, [0.025, 0.025])
    assert reference[0].grad is None
    assert reference[1].grad is None


def test_dpo_swapping_chosen_and_rejected_flips_h():
    """-log σ(x) + log σ(-x) = -x: the two losses differ by the mean of βh, which is 1."""
    win, lose, ref_win, ref_lose = (row[:1] for row in DPO_ROWS)
    one = dpo_loss(win, lose, ref_win, ref_lose, beta=0.5)
    other = dpo_loss(lose, win, ref_lose, ref_win, beta=0.5)
    assert (one - other).item() == pytest.approx(-1.0)


@pytest.mark.parametrize("variant", ["sigmoid", "robust", "hinge"])
@pytest.mark.parametrize("difference", [1e5, -1e5])
def test_dpo_stays_finite_far_out(variant, difference):
    chosen = torch.tensor([difference], requires_grad=True)
    loss = dpo_loss(chosen, *(torch.zeros(1),) * 3, beta=1.0, variant=variant)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(chosen.grad).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"variant": "simpo"}, "variant is one of 'sigmoid'.*got 'simpo'"),
        ({"beta": 0.0}, "beta must be above 0, got 0.0"),
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\), got 0.5"),
        ({"label_smoothing": -0.1}, "label_smoothing must be in"),
        ({"variant": "ipo", "label_smoothing": 0.1}, "'ipo' does not read label_smoothing"),
        ({"variant": "hinge", "label_smoothing": 0.1}, "'hinge' does not read label_smoothing"),
    ],
)
def test_dpo_refuses(options, sentence):
    with pytest.raises(SettingError, match=sentence):
        dpo_loss(*DPO_ROWS, **{"beta": 0.5, **options})


def test_dpo_refuses_unlike_shapes():
    with pytest.raises(SettingError, match=r"reference_rejected \(1,\)"):
        dpo_loss(*DPO_ROWS[:3], torch.zeros(1), beta=0.5)


# --- groups -------------------------------------------------------------------------------------

REWARDS = tensor([1.0, 2.0, 6.0, 4.0, 4.0, 4.0])  # mean 3, centred (-2, -1, 3), squares 14; dead


@pytest.mark.parametrize(
    ("std", "scale"),
    [("unbiased", math.sqrt(7.0)), ("biased", math.sqrt(14 / 3)), ("none", 1.0)],
)
def test_group_relative_advantages_by_hand(std, scale):
    got = group_relative_advantages(REWARDS, 3, std=std, eps=0.0)
    np.testing.assert_allclose(got, [-2 / scale, -1 / scale, 3 / scale, 0, 0, 0], atol=1e-12)


def test_group_relative_eps_is_added_to_the_standard_deviation():
    got = group_relative_advantages(tensor([0.0, 2.0]), 2, eps=1.0)  # std √2
    np.testing.assert_allclose(got, [-1 / (1 + math.sqrt(2)), 1 / (1 + math.sqrt(2))])
    default = group_relative_advantages(tensor([0.0, 2.0]), 2)
    np.testing.assert_allclose(default[1], 1 / (1e-4 + math.sqrt(2)))


@pytest.mark.parametrize(("std", "scale"), [("unbiased", 15.5 / 5), ("biased", 15.5 / 6)])
def test_the_standard_deviation_of_the_batch_by_hand(std, scale):
    """Mean 3.5: squares 6.25 + 2.25 + 6.25 + 3 · ¼ = 15.5; the groups are centred one by one."""
    got = group_relative_advantages(REWARDS, 3, std=std, eps=0.0, over="batch")
    np.testing.assert_allclose(got, np.array([-2, -1, 3, 0, 0, 0]) / math.sqrt(scale), atol=1e-12)


def test_leave_one_out_by_hand():
    """1 - (2 + 6)/2 = -3, 2 - 3.5 = -1.5, 6 - 1.5 = 4.5."""
    got = leave_one_out_advantages(REWARDS, 3)
    np.testing.assert_allclose(got, [-3.0, -1.5, 4.5, 0, 0, 0])


def test_whole_numbers_are_rewards_too():
    got = leave_one_out_advantages(torch.tensor([1, 2, 6]), 3)
    np.testing.assert_allclose(got, [-3.0, -1.5, 4.5])


def test_decoupled_advantages_by_hand():
    """Two groups of two, two rewards. Unbiased std of (0, 2) is √2 and of (0, 20) is 10 √2.

    z_1 = ∓1/√2 in group 1 and 0 in group 2; z_2 = ±1/√2 in group 1, ∓1/√2 in group 2.
    Weights (2, 1): A = ∓1/√2, then ∓1/√2; over the batch: mean 0, unbiased std √(4·½/3) = √(2/3).
    """
    rewards = tensor([[0.0, 20.0], [2.0, 0.0], [1.0, 0.0], [1.0, 20.0]])
    half = math.sqrt(0.5)
    raw = decoupled_group_advantages(rewards, 2, weights=[2.0, 1.0], eps=0.0, whiten="none")
    np.testing.assert_allclose(raw, [-half, half, -half, half])
    white = decoupled_group_advantages(rewards, 2, weights=[2.0, 1.0], eps=0.0)
    np.testing.assert_allclose(white, np.array([-1, 1, -1, 1]) * half / math.sqrt(2 / 3))
    plain = decoupled_group_advantages(rewards, 2, eps=0.0, whiten="none")
    np.testing.assert_allclose(plain, [0.0, 0.0, -half, half], atol=1e-12)  # equal weights cancel


def test_whitening_over_tokens_by_hand():
    """A = ±√½; the first text counts thrice: mean -√½ / 2, squares 3 · ⅛ + 9/8 = 1.5, std √½."""
    rewards, half = tensor([[0.0], [2.0]]), math.sqrt(0.5)
    got = decoupled_group_advantages(
        rewards, 2, eps=0.0, whiten="token", lengths=torch.tensor([3, 1])
    )
    np.testing.assert_allclose(got, [-0.5, 1.5])  # symmetric texts, and yet
    even = decoupled_group_advantages(rewards, 2, eps=0.0)
    np.testing.assert_allclose(even, [-half, half])


def test_decoupled_without_standard_deviations_is_centred_and_weighted():
    rewards = tensor([[0.0, 20.0], [2.0, 0.0]])
    got = decoupled_group_advantages(rewards, 2, weights=[1.0, 0.5], std="none", whiten="none")
    np.testing.assert_allclose(got, [-1.0 + 5.0, 1.0 - 5.0])
    biased = decoupled_group_advantages(rewards[:, :1], 2, std="biased", eps=0.0, whiten="none")
    np.testing.assert_allclose(biased, [-1.0, 1.0])


def test_decoupled_with_one_group_and_one_reward_is_group_relative():
    """The batch's std of standardised rewards is 1: the last line changes nothing then."""
    rewards = REWARDS[:3]
    np.testing.assert_allclose(
        decoupled_group_advantages(rewards[:, None], 3, eps=0.0),
        group_relative_advantages(rewards, 3, eps=0.0),
    )


GROUPS = st.lists(
    st.lists(st.integers(-20, 20).map(float), min_size=3, max_size=3), min_size=1, max_size=4
)


@given(GROUPS)
@settings(max_examples=40, deadline=None)
def test_properties_of_group_advantages(groups):
    rewards = tensor(groups).reshape(-1)
    for advantages in (
        group_relative_advantages(rewards, 3),
        leave_one_out_advantages(rewards, 3),
        decoupled_group_advantages(torch.stack([rewards, -2 * rewards], 1), 3, whiten="none"),
    ):
        np.testing.assert_allclose(advantages.reshape(-1, 3).sum(1), 0, atol=1e-9)  # sums to 0
    shifted = rewards + torch.arange(len(groups)).repeat_interleave(3) * 7  # per group
    np.testing.assert_allclose(
        group_relative_advantages(shifted, 3), group_relative_advantages(rewards, 3), atol=1e-9
    )
    np.testing.assert_allclose(  # scale invariance at ε = 0
        group_relative_advantages(rewards * 50, 3, eps=0.0),
        group_relative_advantages(rewards, 3, eps=0.0),
        atol=1e-9,
    )
    np.testing.assert_allclose(  # RLOO = G/(G-1) Dr. GRPO
        leave_one_out_advantages(rewards, 3),
        group_relative_advantages(rewards, 3, std="none") * 3 / 2,
        atol=1e-9,
    )


def test_regrouping_whole_groups_moves_the_advantages_along():
    flipped = torch.cat([REWARDS[3:], REWARDS[:3]])
    got = group_relative_advantages(flipped, 3)
    np.testing.assert_allclose(got, group_relative_advantages(REWARDS, 3).roll(3))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: group_relative_advantages(REWARDS, 1), "at least 2, got 1: a text alone"),
        (lambda: leave_one_out_advantages(REWARDS, 1), "at least 2, got 1"),
        (lambda: leave_one_out_advantages(REWARDS, 4), "6 rewards do not form groups of 4"),
        (lambda: leave_one_out_advantages(REWARDS[None], 3), r"must be \[B\], got shape \(1, 6\)"),
        (lambda: leave_one_out_advantages(REWARDS[:0], 3), "must be"),
        (lambda: group_relative_advantages(REWARDS, 3, std="batch"), "std is one of.*'batch'"),
        (lambda: group_relative_advantages(REWARDS, 3, eps=-1.0), "eps keeps a division finite"),
        (lambda: decoupled_group_advantages(REWARDS, 3), r"must be \[B, K\]"),
        (
            lambda: decoupled_group_advantages(REWARDS[:, None], 3, whiten="text"),
            "whiten is one of 'sequence', 'token', 'none', got 'text'",
        ),
        (
            lambda: decoupled_group_advantages(REWARDS[:, None], 3, whiten="token"),
            "lengths are read by whiten='token'.*got 'token'",
        ),
        (
            lambda: decoupled_group_advantages(REWARDS[:, None], 3, lengths=REWARDS),
            "lengths are read by whiten='token'.*got 'sequence'",
        ),
        (
            lambda: decoupled_group_advantages(REWARDS[:, None], 3, std="none"),
            "std 'none' leaves nothing to whiten by, got whiten='sequence'",
        ),
        (lambda: group_relative_advantages(REWARDS, 3, over="all"), "over is one of.*got 'all'"),
        (
            lambda: decoupled_group_advantages(REWARDS[:, None], 3, weights=[1.0, 2.0]),
            "one per reward, 1 of them",
        ),
    ],
)
def test_groups_refuse(call, sentence):
    with pytest.raises(SettingError, match=sentence):
        call()


# --- tokens: one ragged batch, two rows of 3 and 1 tokens ----------------------------------------

MASK = torch.tensor([[True, True, True], [True, False, False]])
OLD = tensor([[-1.0, -2.0, -1.0], [-0.5, BAD, BAD]])
REFERENCE = tensor([[-2.0, -1.0, -1.0], [-1.5, -BAD, -BAD]])
RATIOS = [[2.0, 0.5, 1.0], [0.5, 1.0, 1.0]]


def new_log_prob(grad=False):
    values = OLD + tensor(RATIOS).log()
    return values.masked_fill(~MASK, -BAD).requires_grad_(grad)


@pytest.mark.parametrize(
    ("kind", "at_one", "at_minus_one"),
    [("k1", 1.0, -1.0), ("k2", 0.5, 0.5), ("k3", math.exp(-1), math.e - 2)],
)
def test_kl_estimates_by_hand(kind, at_one, at_minus_one):
    """ℓ = 1, -1 and 0; k3(1) = 1/e - 1 + 1."""
    got = kl_estimate(tensor([-1.0, -2.0, -1.0]), tensor([-2.0, -1.0, -1.0]), kind)
    np.testing.assert_allclose(got, [at_one, at_minus_one, 0.0], atol=1e-12)


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(kind):
    """Weighted with π itself the mean is KL(π‖ref) exactly."""
    pi, ref = tensor([0.5, 0.3, 0.2]), tensor([0.2, 0.2, 0.6])
    mean = (pi * kl_estimate(pi.log(), ref.log(), kind)).sum()
    assert mean.item() == pytest.approx((pi * (pi / ref).log()).sum().item())


def test_kl_gradients_by_hand():
    """d/dℓ: 1, ℓ and 1 - e^(-ℓ), at ℓ = 2; none into the reference, none overflows."""
    for kind, slope in (("k1", 1.0), ("k2", 2.0), ("k3", 1 - math.exp(-2))):
        log_prob, reference = tensor([-1.0], True), tensor([-3.0], True)
        kl_estimate(log_prob, reference, kind).sum().backward()
        assert log_prob.grad.item() == pytest.approx(slope)
        assert reference.grad is None
    far = torch.tensor([-1e4], requires_grad=True)
    value = kl_estimate(far, torch.zeros(1), "k3")
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(far.grad).all()
    assert far.grad.item() < 0  # still pulls the policy back


def test_kl_refuses():
    with pytest.raises(SettingError, match="kind is one of 'k1', 'k2', 'k3', got 'k4'"):
        kl_estimate(OLD, REFERENCE, "k4")
    with pytest.raises(SettingError, match="one shape"):
        kl_estimate(OLD, REFERENCE[:1])


@pytest.mark.parametrize(
    ("kl", "first"),
    [
        ("k1", [1.0, -1.0, 0.0, 1.0]),
        ("k2", [0.5, 0.5, 0.0, 0.5]),
        ("k3", [math.exp(-1), math.e - 2, 0.0, math.exp(-1)]),
    ],
)
def test_shaped_rewards_by_hand(kl, first):
    """β = ½; scores 10 and -4 on the third token of row 1 and the only one of row 2."""
    scores, log_prob = tensor([10.0, -4.0], True), OLD.clone().requires_grad_()
    got = shaped_rewards(scores, log_prob, REFERENCE, MASK, beta=0.5, kl=kl)
    a, b, c, d = (-0.5 * k for k in first)
    np.testing.assert_allclose(got, [[a, b, c + 10.0], [d - 4.0, 0.0, 0.0]], atol=1e-12)
    assert not got.requires_grad


def test_shaped_rewards_sum_to_the_objective_of_each_text():
    """γ = 1, k1: the return of a text is r - β log(π/ref)."""
    got = shaped_rewards(tensor([10.0, -4.0]), OLD, REFERENCE, MASK, beta=0.3)
    logs = (OLD - REFERENCE).masked_fill(~MASK, 0.0).sum(1)
    np.testing.assert_allclose(got.sum(1), tensor([10.0, -4.0]) - 0.3 * logs)


def test_shaped_rewards_refuse():
    scores = tensor([1.0, 2.0])
    with pytest.raises(SettingError, match="beta weighs the KL term and is at least 0, got -1"):
        shaped_rewards(scores, OLD, REFERENCE, MASK, beta=-1)
    with pytest.raises(SettingError, match=r"scores must be one per text, shape \(2,\)"):
        shaped_rewards(scores[:1], OLD, REFERENCE, MASK, beta=1.0)
    with pytest.raises(SettingError, match="every row of mask needs at least one token"):
        shaped_rewards(scores, OLD, REFERENCE, torch.zeros_like(MASK), beta=1.0)
    with pytest.raises(SettingError, match=r"must be \[B, T\]"):
        shaped_rewards(scores, OLD[0], REFERENCE[0], MASK[0], beta=1.0)
    with pytest.raises(SettingError, match="kind is one of"):
        shaped_rewards(scores, OLD, REFERENCE, MASK, beta=1.0, kl="k0")


# A = (1, -1); ε = 0.4. Row 1, r = 2, ½, 1 against [0.6, 1.4]: min(2, 1.4) = 1.4, min(½, .6) = ½, 1.
# Row 2, r = ½: min(-½, -0.6) = -0.6. So ℓ = (-1.4, -0.5, -1 | 0.6).
# Sequence ratios: product 2·½·1 = 1 and its mean exp(0) = 1 in row 1, ½ in row 2: ℓ = -1 | 0.6.
@pytest.mark.parametrize(
    ("ratio", "aggregate", "expected"),
    [
        ("token", "token", (-2.9 + 0.6) / 4),
        ("token", "sequence", (-2.9 / 3 + 0.6) / 2),
        ("token", "constant", (-2.9 + 0.6) / (2 * 5)),
        ("sequence", "token", (-3.0 + 0.6) / 4),
        ("sequence", "sequence", (-1.0 + 0.6) / 2),
        ("sequence", "constant", (-3.0 + 0.6) / (2 * 5)),
        ("sequence_mean", "token", (-3.0 + 0.6) / 4),
        ("sequence_mean", "sequence", (-1.0 + 0.6) / 2),
        ("sequence_mean", "constant", (-3.0 + 0.6) / (2 * 5)),
    ],
)
def test_token_policy_loss_by_hand(ratio, aggregate, expected):
    length = 5 if aggregate == "constant" else None
    options = {"ratio": ratio, "aggregate": aggregate, "max_length": length}
    advantages = tensor([1.0, -1.0])
    loss = token_policy_loss(new_log_prob(), OLD, advantages, MASK, clip_range=0.4, **options)
    assert loss.item() == pytest.approx(expected)
    pad = torch.nn.functional.pad
    wider = token_policy_loss(  # two more columns of padding change nothing
        pad(new_log_prob(), (0, 2), value=BAD),
        pad(OLD, (0, 2), value=-math.inf),
        advantages,
        pad(MASK, (0, 2), value=False),
        clip_range=0.4,
        **options,
    )
    assert wider.item() == pytest.approx(expected)


def test_sequence_mean_and_sequence_differ_by_the_length():
    """Row of two tokens, d = log 4 and 0: ratios 4 and 2; ε = 9 clips neither."""
    log_prob, old, mask = tensor([[math.log(4), 0.0]]), torch.zeros(1, 2).double(), torch.ones(1, 2)
    for ratio, value in (("sequence", 4.0), ("sequence_mean", 2.0)):
        loss = token_policy_loss(
            log_prob, old, tensor([1.0]), mask, clip_range=9.0, ratio=ratio, aggregate="sequence"
        )
        assert loss.item() == pytest.approx(-value)


def test_token_policy_loss_gradient_by_hand():
    """d(-r A)/d log π = -r A where unclipped; over four tokens. Padding gets exactly 0."""
    log_prob = new_log_prob(grad=True)
    token_policy_loss(log_prob, OLD, tensor([1.0, -1.0]), MASK, clip_range=0.4).backward()
    np.testing.assert_allclose(log_prob.grad, [[0, -0.5 / 4, -1 / 4], [0, 0, 0]], atol=1e-12)


def test_per_token_advantages_and_an_asymmetric_clip_range_by_hand():
    """ε = (0.6, 0.2): [0.4, 1.2]; A = (1, 2, -1 | -1): ℓ = -1.2, -1, 1, ½; no A of the padding."""
    advantages = tensor([[1.0, 2.0, -1.0], [-1.0, math.nan, math.inf]])
    loss = token_policy_loss(new_log_prob(), OLD, advantages, MASK, clip_range=(0.6, 0.2))
    assert loss.item() == pytest.approx((-1.2 - 1.0 + 1.0 + 0.5) / 4)


def test_on_policy_every_clip_is_inactive():
    """π = π_old: the gradient is the plain policy gradient, whatever ε and ratio level."""
    grads = []
    for ratio in ("token", "sequence", "sequence_mean"):
        for clip_range in (1e-6, 10.0):
            log_prob = OLD.clone().requires_grad_()
            token_policy_loss(
                log_prob, OLD, tensor([3.0, -2.0]), MASK, clip_range=clip_range, ratio=ratio
            ).backward()
            grads.append(log_prob.grad)
    for i in (1, 3, 5):
        torch.testing.assert_close(grads[i], grads[i - 1])
    np.testing.assert_allclose(grads[0], [[-0.75, -0.75, -0.75], [0.5, 0, 0]])


@pytest.mark.parametrize("far", [1e4, -1e4])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_token_policy_loss_stays_finite_far_out(far, advantage):
    log_prob = torch.tensor([[far, 0.0]], requires_grad=True)
    for ratio in ("token", "sequence", "sequence_mean"):
        loss = token_policy_loss(
            log_prob,
            torch.zeros(1, 2),
            torch.tensor([advantage]),
            torch.ones(1, 2),
            clip_range=0.2,
            ratio=ratio,
        )
        (grad,) = torch.autograd.grad(loss, log_prob)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ratio": "word"}, "ratio is one of 'token', 'sequence_mean', 'sequence', got 'word'"),
        ({"aggregate": "mean"}, "aggregate is one of 'token', 'sequence', 'constant'"),
        ({"clip_range": 0.0}, "clip_range must be above 0"),
        ({"clip_range": (0.2, -0.1)}, "clip_range must be above 0, got -0.1"),
        ({"aggregate": "constant"}, "divides by N times max_length.*got None"),
        ({"aggregate": "constant", "max_length": 0}, "at least 1, got 0"),
        ({"max_length": 5}, "only aggregate 'constant' reads max_length, got 5 with 'token'"),
        ({"mask": torch.zeros(2, 3)}, "every row of mask needs"),
        ({"mask": torch.ones(2, 4)}, "one shape"),
        ({"advantages": tensor([1.0])}, r"advantages must be one per text, shape \(2,\)"),
        (
            {"advantages": OLD, "ratio": "sequence"},
            r"advantages must be one per text, shape \(2,\), got \(2, 3\)",
        ),
        ({"advantages": OLD[:, :2]}, "one shape"),
        ({"old_log_prob": OLD[:, :2]}, "one shape"),
    ],
)
def test_token_policy_loss_refuses(options, sentence):
    given_ = {"old_log_prob": OLD, "advantages": tensor([1.0, -1.0]), "mask": MASK}
    with pytest.raises(SettingError, match=sentence):
        token_policy_loss(new_log_prob(), **{**given_, "clip_range": 0.2, **options})
