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
    leave_one_out_advantages,
)

LOG3 = math.log(3.0)


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
