"""Losses of tokens: one ragged batch, two rows of 3 and 1 tokens, every option by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from registry.errors import SettingError
from rlsuite_agents.functional.preference import kl_estimate, shaped_rewards, token_policy_loss

BAD = 99.0  # stands in the padding: any leak shows


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


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
