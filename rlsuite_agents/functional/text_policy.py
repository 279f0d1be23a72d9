"""What policies that write texts learn from, token by token.

Tensors in, tensors out; no model, no trainer. B texts of at most T tokens each are right-padded
rows `[B, T]` with a boolean `mask` of the completion's tokens, EOS included; whatever stands in the
padding is never read. Losses are to be minimised. Advantages and the log-probabilities of an old or
a reference policy are constants: no gradient flows into them.

Losses come as terms, one per token [B, T], and as weights of the tokens: the loss of a batch is
Σ weight · term, in one piece or in parts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import SettingError
from rlsuite_agents.functional.policy_gradient import bounded_exp, clipped_objective, same_shape
from rlsuite_agents.functional.returns import generalized_advantages

__all__ = [
    "adaptive_beta",
    "kl_estimate",
    "kl_terms",
    "policy_terms",
    "shaped_rewards",
    "text_advantages",
    "token_policy_loss",
    "token_weights",
    "value_terms",
    "whitened",
]


def kl_estimate(
    log_prob: Tensor, reference_log_prob: Tensor, kind: Literal["k1", "k2", "k3"] = "k1"
) -> Tensor:
    """Estimates of KL(π‖ref) from samples of π, elementwise; ℓ = log π - log ref.

    k1 = ℓ, k2 = ℓ²/2, k3 = e^(-ℓ) - 1 + ℓ (Schulman 2020). As values k1 and k3 are unbiased. As
    losses they are not the gradient of the KL: k1's expected gradient is 0 and k3's is that of
    KL(ref‖π). The right place of the KL is the reward: see `shaped_rewards`. No clamp is applied,
    but e^(-ℓ) saturates beyond ℓ = -80.

    Args:
        log_prob: log π(a|s), any shape; the gradient flows into it.
        reference_log_prob: log ref(a|s), the same shape.
        kind: which estimate.

    Raises:
        SettingError: an unknown `kind`, or unlike shapes.
    """
    one_of("kind", kind, ("k1", "k2", "k3"))
    same_shape(log_prob=log_prob, reference_log_prob=reference_log_prob)
    difference = log_prob - reference_log_prob.detach()
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference**2 / 2
    return bounded_exp(-difference) - 1 + difference


def shaped_rewards(
    scores: Tensor,
    log_prob: Tensor,
    reference_log_prob: Tensor,
    mask: Tensor,
    *,
    beta: float,
    kl: Literal["k1", "k2", "k3"] = "k1",
) -> Tensor:
    """The reward of each token: -β · KL estimate, and the text's score on its last token.

    Stiennon et al. 2020 (eq. 2), per token. With k1 and γ = 1 the return is r - β log(π/ref) of the
    text, whose expectation is the KL-regularised objective.

    Args:
        scores: r(x, y) of each text, shape [B].
        log_prob: log π(a_t|s_t) of the policy that sampled the tokens, shape [B, T].
        reference_log_prob: log ref(a_t|s_t), shape [B, T].
        mask: True at the completion's tokens, EOS included, shape [B, T].
        beta: β ≥ 0.
        kl: the estimate, as in `kl_estimate`.

    Returns:
        Rewards [B, T], 0 in the padding, without gradient.

    Raises:
        SettingError: a negative β, an unknown estimate, unlike shapes or a row without a token.
    """
    if not beta >= 0:
        raise SettingError(f"beta weighs the KL term and is at least 0, got {beta!r}.")
    valid = valid_mask(mask, log_prob)
    same_shape(log_prob=log_prob, reference_log_prob=reference_log_prob)
    _per_sequence("scores", scores, log_prob)
    penalty = kl_estimate(
        log_prob.detach().masked_fill(~valid, 0.0),
        reference_log_prob.detach().masked_fill(~valid, 0.0),
        kl,
    )
    rewards = -beta * penalty
    rows = torch.arange(len(rewards), device=rewards.device)
    columns = torch.arange(valid.shape[1], device=rewards.device)
    last = torch.where(valid, columns, -1).amax(dim=1)
    rewards[rows, last] += scores.detach()
    return rewards


def token_policy_loss(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_range: float | tuple[float, float],
    ratio: Literal["token", "sequence_mean", "sequence"] = "token",
    aggregate: Literal["token", "sequence", "constant"] = "token",
    max_length: int | None = None,
) -> Tensor:
    """The clipped policy loss of PPO, GRPO, GSPO and RLOO on texts.

    ℓ_t = -min(ρ A, clip(ρ, 1 - ε_low, 1 + ε_high) A), where with d_t = log π(a_t) - log π_old(a_t)

        ratio "token"           ρ_t = exp d_t                PPO, GRPO, DAPO
        ratio "sequence_mean"   ρ = exp mean_t d_t           GSPO (Zheng et al. 2025, eq. 7)
        ratio "sequence"        ρ = exp Σ_t d_t              RLOO

    and over the N texts, with L_i tokens each,

        aggregate "token"       Σ_i Σ_t ℓ / Σ_i L_i          DAPO: each token counts once
        aggregate "sequence"    (1/N) Σ_i (1/L_i) Σ_t ℓ      GRPO, GSPO, RLOO: each text counts once
        aggregate "constant"    Σ_i Σ_t ℓ / (N · max_length) Dr. GRPO

    Under "token", a loss that is one per text counts as often as the text has tokens.

    Args:
        log_prob: log π(a_t|s_t), shape [B, T]; the gradient flows into it alone.
        old_log_prob: log π_old(a_t|s_t) of the policy that sampled, shape [B, T].
        advantages: one per text [B], or per token [B, T] where the ratio is.
        mask: True at the completion's tokens, EOS included, shape [B, T].
        clip_range: ε, or (ε_low, ε_high); positive.
        ratio: the level at which π is compared with π_old.
        aggregate: how tokens become one number.
        max_length: the divisor L_max of "constant", a number of the task and not of the batch's
            padded width, which would let the longest sample set the step size.

    Raises:
        SettingError: an unknown option, a value out of range, unlike shapes, a row without a token,
            per-token advantages with a ratio per text, or `max_length` where it is not read.
    """
    terms = policy_terms(
        log_prob, old_log_prob, advantages, mask, clip_range=clip_range, ratio=ratio
    )
    return (terms * token_weights(mask, aggregate, max_length, like=terms)).sum()


def policy_terms(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_range: float | tuple[float, float],
    ratio: Literal["token", "sequence_mean", "sequence"] = "token",
) -> Tensor:
    """ℓ of `token_policy_loss`, one per token [B, T], 0 in the padding; the arguments are its."""
    one_of("ratio", ratio, ("token", "sequence_mean", "sequence"))
    low, high = clip_range if isinstance(clip_range, tuple) else (clip_range, clip_range)
    positive("clip_range", low)
    positive("clip_range", high)
    valid = valid_mask(mask, log_prob)
    same_shape(log_prob=log_prob, old_log_prob=old_log_prob)
    difference = log_ratio(log_prob, old_log_prob, valid, ratio)
    if ratio != "token":
        _per_sequence("advantages", advantages, log_prob)
    per_token = advantages.detach()
    if per_token.ndim == 1:
        _per_sequence("advantages", advantages, log_prob)
        per_token = per_token[:, None]
    else:
        same_shape(log_prob=log_prob, advantages=advantages)
        per_token = per_token.masked_fill(~valid, 0.0)
    loss = -clipped_objective(difference, per_token, low, high)
    return loss.expand(valid.shape).masked_fill(~valid, 0.0)


def log_ratio(log_prob: Tensor, old_log_prob: Tensor, valid: Tensor, level: str) -> Tensor:
    """Log of the ratio at a level: d_t [B, T], 0 in the padding, or one per text [B, 1]."""
    difference = (log_prob - old_log_prob.detach()).masked_fill(~valid, 0.0)
    if level == "token":
        return difference
    total = difference.sum(dim=1, keepdim=True)
    return total if level == "sequence" else total / valid.sum(dim=1, keepdim=True)


def token_weights(
    mask: Tensor,
    aggregate: Literal["token", "sequence", "constant"],
    max_length: int | None = None,
    *,
    like: Tensor,
) -> Tensor:
    """What each token counts in the loss of these N texts [N, T], 0 in the padding.

    The loss is Σ weight · ℓ: in parts of the batch too, with the weights of the whole of it, so
    that the gradient does not depend on how a batch is cut.

    Args:
        mask: True at the completion's tokens, shape [N, T].
        aggregate: as in `token_policy_loss`.
        max_length: L_max of "constant".
        like: of the dtype that is wanted.

    Raises:
        SettingError: an unknown option, or `max_length` where it is not read.
    """
    one_of("aggregate", aggregate, ("token", "sequence", "constant"))
    _divisor(aggregate, max_length)
    counted = mask.to(like.dtype)
    if aggregate == "token":
        return counted / counted.sum()
    if aggregate == "sequence":
        return counted / (counted.sum(dim=1, keepdim=True) * len(mask))
    return counted / (len(mask) * float(max_length or 1))


def kl_terms(
    log_prob: Tensor,
    old_log_prob: Tensor,
    reference_log_prob: Tensor,
    mask: Tensor,
    *,
    kind: Literal["k1", "k2", "k3"],
    level: Literal["token", "sequence"] = "token",
    corrected: bool = False,
) -> Tensor:
    """A KL estimate as a term of the loss, one per token [B, T], 0 in the padding.

    What its expected gradient is, on-policy, beside ∇KL(π‖ref) of whole texts:

        k1                         0: pure noise
        k2, "sequence"             right
        k3, "sequence"             ∇KL(ref‖π)
        k3, "sequence", corrected  right
        k2 or corrected k3, "token"    without what early tokens change in later states
        k3, "token"                without that, and the other divergence

    Args:
        log_prob: log π(a_t|s_t), shape [B, T]; the gradient flows into it alone.
        old_log_prob: log π_old(a_t|s_t) of the policy that sampled, shape [B, T].
        reference_log_prob: log ref(a_t|s_t), shape [B, T].
        mask: True at the completion's tokens, EOS included, shape [B, T].
        kind: the estimate, as in `kl_estimate`.
        level: of each token, or of the text as a whole (then each of its tokens holds it).
        corrected: times the differentiable ratio π / π_old at that level.

    Raises:
        SettingError: an unknown option, unlike shapes or a row without a token.
    """
    one_of("level", level, ("token", "sequence"))
    valid = valid_mask(mask, log_prob)
    same_shape(log_prob=log_prob, old_log_prob=old_log_prob, reference_log_prob=reference_log_prob)
    difference = log_ratio(log_prob, reference_log_prob, valid, level)
    terms = kl_estimate(difference, torch.zeros_like(difference), kind)
    if corrected:
        terms = terms * bounded_exp(log_ratio(log_prob, old_log_prob, valid, level))
    return terms.expand(valid.shape).masked_fill(~valid, 0.0)


def text_advantages(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    gamma: float,
    lambda_: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generalised advantages of texts, and the returns A + v (Schulman et al. 2016, eq. 16).

    A finished text is terminal: nothing is added after its last token.

    Args:
        rewards: of each token [B, T].
        values: v(s_t) before each token [B, T].
        mask: True at the completion's tokens, from the first column on [B, T].
        gamma: γ.
        lambda_: λ.

    Returns:
        Advantages and returns, [B, T] each, 0 in the padding.
    """
    v = np.where(mask, values, 0.0)
    ahead = np.zeros_like(v)
    ahead[:, :-1] = v[:, 1:]
    goes_on = np.zeros_like(v)
    goes_on[:, :-1] = mask[:, 1:]
    r = np.where(mask, rewards, 0.0)
    advantages = generalized_advantages(r.T, gamma * goes_on.T, v.T, ahead.T, lambda_).T
    return advantages, advantages + v


def whitened(
    advantages: Tensor,
    mask: Tensor,
    *,
    shift: bool = True,
    unbiased: bool = True,
    eps: float = 1e-8,
) -> Tensor:
    """Advantages over their standard deviation, taken over all tokens of the batch.

    Args:
        advantages: of each token [B, T].
        mask: True at the completion's tokens [B, T].
        shift: whether their mean is taken off.
        unbiased: the standard deviation with N - 1 instead of N.
        eps: added to the standard deviation.

    Returns:
        [B, T], 0 in the padding.
    """
    valid = valid_mask(mask, advantages)
    tokens = advantages[valid]
    centred = advantages - tokens.mean() if shift else advantages
    return (centred / (tokens.std(correction=int(unbiased)) + eps)).masked_fill(~valid, 0.0)


def value_terms(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip_range: float
) -> Tensor:
    """½ max((v - G)², (clip(v, v_old ± ε) - G)²), one per token [B, T], 0 in the padding.

    Args:
        values: v(s_t) [B, T]; the gradient flows into it alone.
        old_values: v_old(s_t) when the texts were sampled [B, T].
        returns: G_t [B, T].
        mask: True at the completion's tokens [B, T].
        clip_range: ε > 0; infinity clips nothing.

    Raises:
        SettingError: unlike shapes, a row without a token, or an ε that is not positive.
    """
    positive("clip_range", clip_range)
    valid = valid_mask(mask, values)
    same_shape(values=values, old_values=old_values, returns=returns)
    old, target = old_values.detach(), returns.detach()
    held = old + torch.clamp(values - old, -clip_range, clip_range)
    worse = torch.maximum((values - target) ** 2, (held - target) ** 2)
    return (0.5 * worse).masked_fill(~valid, 0.0)


def adaptive_beta(beta: float, kl: float, *, target: float, horizon: float, texts: int) -> float:
    """The next β of a controller that holds the divergence (Ziegler et al. 2019, section 2.2).

        β (1 + clip(KL / target - 1, ±0.2) · texts / horizon)

    Args:
        beta: β of the update that was made.
        kl: its divergence, in the unit of `target`: of whole texts, or of a token on average.
        target: above 0.
        horizon: texts over which β may change by a fifth, above 0.
        texts: in the update.
    """
    positive("target", target)
    positive("horizon", horizon)
    return beta * (1.0 + float(np.clip(kl / target - 1.0, -0.2, 0.2)) * texts / horizon)


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}.")


def positive(name: str, value: float) -> None:
    if not value > 0:
        raise SettingError(f"{name} must be above 0, got {value!r}.")


def _divisor(aggregate: str, max_length: int | None) -> None:
    if aggregate != "constant" and max_length is not None:
        raise SettingError(
            f"only aggregate 'constant' reads max_length, got {max_length!r} with {aggregate!r}."
        )
    if aggregate == "constant" and (max_length is None or max_length < 1):
        raise SettingError(
            "aggregate 'constant' divides by N times max_length, the task's longest completion: "
            f"a whole number of at least 1, got {max_length!r}."
        )


def valid_mask(mask: Tensor, like: Tensor) -> Tensor:
    """The mask as booleans [B, T], with a token in every row."""
    if like.ndim != 2:
        raise SettingError(f"log_prob must be [B, T], got shape {tuple(like.shape)}.")
    same_shape(log_prob=like, mask=mask)
    valid = mask.bool()
    if not bool(valid.any(dim=1).all()):
        raise SettingError("every row of mask needs at least one token; an answer holds its EOS.")
    return valid


def _per_sequence(name: str, values: Tensor, like: Tensor) -> None:
    if tuple(values.shape) != (len(like),):
        raise SettingError(
            f"{name} must be one per text, shape ({len(like)},), got {tuple(values.shape)}."
        )
