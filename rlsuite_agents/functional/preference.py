"""Losses and advantages of learning from preferences and from scored texts (RLHF).

Tensors in, tensors out; no model, no trainer. B texts of at most T tokens each are right-padded
rows `[B, T]` with a boolean `mask` of the completion's tokens, EOS included; whatever stands in the
padding is never read. Texts of one prompt stand next to each other: rows 0..G-1 are the first
group. Losses are means to be minimised. Rewards, advantages and the log-probabilities of an old or
a reference policy are constants: no gradient flows into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from registry.errors import SettingError
from rlsuite_agents.functional.policy_gradient import bounded_exp, clipped_objective, same_shape

__all__ = [
    "bradley_terry_loss",
    "decoupled_group_advantages",
    "dpo_loss",
    "group_relative_advantages",
    "kl_estimate",
    "leave_one_out_advantages",
    "shaped_rewards",
    "token_policy_loss",
]


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margin: float | Tensor = 0.0, center: float = 0.0
) -> Tensor:
    """Reward-model loss: mean of -log σ(r_w - r_l - margin) + center · (r_w + r_l)².

    Bradley & Terry 1952; the margin is that of Touvron et al. 2023 (Llama 2, eq. 2), the centring
    term, which pins the otherwise free offset, that of Eisenstein et al. 2023.

    Args:
        chosen: r_w, scores of the preferred texts, shape [B].
        rejected: r_l, scores of the others, shape [B].
        margin: how far apart they should be, one number or shape [B].
        center: weight of the centring term, at least 0.

    Raises:
        SettingError: the shapes differ, or `center` is negative.
    """
    same_shape(chosen=chosen, rejected=rejected)
    if not center >= 0:
        raise SettingError(f"center weighs a squared error and is at least 0, got {center!r}.")
    return (-logsigmoid(chosen - rejected - margin) + center * (chosen + rejected) ** 2).mean()


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float,
    variant: Literal["sigmoid", "robust", "hinge", "ipo"] = "sigmoid",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7) and its relatives.

    With h = log(π/ref)(y_w) - log(π/ref)(y_l) and e = `label_smoothing`, the mean of

        "sigmoid"   -(1 - e) log σ(βh) - e log σ(-βh)                  e > 0: conservative DPO
        "robust"    (-(1 - e) log σ(βh) + e log σ(-βh)) / (1 - 2e)     Chowdhury et al. 2024
        "hinge"     max(0, 1 - βh)                                     Zhao et al. 2023 (SLiC)
        "ipo"       (h - 1/(2β))²                                      Azar et al. 2023, eq. 17

    Summed log-probabilities make the optimum over all pairs the KL-regularised one. "ipo" here is
    on sums too, as in the paper; some libraries divide by the length first. Zeros as reference give
    the reference-free loss.

    Args:
        policy_chosen: log π(y_w|x), summed over the completion's tokens, EOS included, shape [B].
        policy_rejected: log π(y_l|x), shape [B].
        reference_chosen: log ref(y_w|x), shape [B].
        reference_rejected: log ref(y_l|x), shape [B].
        beta: β > 0, the weight of the KL term whose optimum is sought.
        variant: which loss.
        label_smoothing: e in [0, ½), the chance that a label is wrong; read by "sigmoid" and
            "robust" only.

    Raises:
        SettingError: unlike shapes, a value out of range, or label smoothing where it is not read.
    """
    same_shape(
        policy_chosen=policy_chosen,
        policy_rejected=policy_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    _one_of("variant", variant, ("sigmoid", "robust", "hinge", "ipo"))
    _positive("beta", beta)
    if not 0 <= label_smoothing < 0.5:
        raise SettingError(f"label_smoothing must be in [0, 0.5), got {label_smoothing!r}.")
    if label_smoothing and variant in ("hinge", "ipo"):
        raise SettingError(
            f"variant {variant!r} does not read label_smoothing, got {label_smoothing!r}; "
            "'sigmoid' and 'robust' do."
        )
    h = (policy_chosen - policy_rejected) - (reference_chosen - reference_rejected).detach()
    if variant == "hinge":
        return relu(1 - beta * h).mean()
    if variant == "ipo":
        return ((h - 1 / (2 * beta)) ** 2).mean()
    right = -(1 - label_smoothing) * logsigmoid(beta * h)
    wrong = label_smoothing * logsigmoid(-beta * h)
    if variant == "sigmoid":
        return (right - wrong).mean()
    return ((right + wrong) / (1 - 2 * label_smoothing)).mean()


def group_relative_advantages(
    rewards: Tensor,
    group_size: int,
    *,
    std: Literal["unbiased", "biased", "none"] = "unbiased",
    eps: float = 1e-4,
) -> Tensor:
    """GRPO: (r_i - mean_g) / (std_g + ε) within each group (Shao et al. 2024, section 4.1.2).

    `std="none"` only centres (Liu et al. 2025, Dr. GRPO). A group whose rewards are all equal
    gets zeros.

    Args:
        rewards: shape [B], B a multiple of `group_size`.
        group_size: G, texts a prompt, at least 2.
        std: divide by the standard deviation with G - 1, with G, or not at all.
        eps: ε ≥ 0; not read where `std` is "none".

    Returns:
        Advantages [B]; each group sums to 0.

    Raises:
        SettingError: an unknown `std`, a negative ε, or rewards that do not form such groups.
    """
    _one_of("std", std, ("unbiased", "biased", "none"))
    groups = _groups(rewards, group_size, 1)
    centred = groups - groups.mean(dim=1, keepdim=True)
    if std == "none":
        return centred.reshape(-1)
    return (centred / _spread(groups, 1, eps, unbiased=std == "unbiased")).reshape(-1)


def leave_one_out_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """RLOO: r_i minus the mean of the others in its group (Kool et al. 2019, Ahmadian et al. 2024).

    The baseline does not depend on text i, so the policy gradient stays unbiased; it equals
    G/(G - 1) times the centred reward.

    Args:
        rewards: shape [B], B a multiple of `group_size`.
        group_size: G, texts a prompt, at least 2.

    Returns:
        Advantages [B]; each group sums to 0.

    Raises:
        SettingError: rewards that do not form such groups.
    """
    groups = _groups(rewards, group_size, 1)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).reshape(-1)


def decoupled_group_advantages(
    rewards: Tensor,
    group_size: int,
    *,
    weights: Sequence[float] | Tensor | None = None,
    eps: float = 1e-4,
    whiten: Literal["sequence", "none"] = "sequence",
) -> Tensor:
    """GDPO: each reward is normalised in its group before they are summed (Liu et al. 2026).

        z_k = (r_k - mean_g r_k) / (std_g r_k + ε)        A = Σ_k w_k z_k
        A'  = (A - mean A) / (std A + ε)                  over the B texts of the batch (eq. 6)

    All standard deviations are the unbiased ones. Every group's mean of A is 0, so the last line
    acts through the spread alone; with a single group in the batch it undoes what the decoupling
    kept, and `whiten="none"` is the better choice.

    Args:
        rewards: K rewards of each text, shape [B, K], B a multiple of `group_size`.
        group_size: G, texts a prompt, at least 2.
        weights: w_1..w_K; None is 1 each.
        eps: ε ≥ 0.
        whiten: the last line over texts, each counting once whatever its length, or not at all.

    Returns:
        Advantages [B].

    Raises:
        SettingError: an unknown `whiten`, a negative ε, weights of another number than K, or
            rewards that do not form such groups.
    """
    _one_of("whiten", whiten, ("sequence", "none"))
    groups = _groups(rewards, group_size, 2)
    w = _weights(weights, rewards)
    z = (groups - groups.mean(dim=1, keepdim=True)) / _spread(groups, 1, eps, unbiased=True)
    advantages = (z @ w).reshape(-1)
    if whiten == "none":
        return advantages
    return (advantages - advantages.mean()) / _spread(advantages, 0, eps, unbiased=True)


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
    _one_of("kind", kind, ("k1", "k2", "k3"))
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
    valid = _mask(mask, log_prob)
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
    _one_of("ratio", ratio, ("token", "sequence_mean", "sequence"))
    _one_of("aggregate", aggregate, ("token", "sequence", "constant"))
    low, high = clip_range if isinstance(clip_range, tuple) else (clip_range, clip_range)
    _positive("clip_range", low)
    _positive("clip_range", high)
    _divisor(aggregate, max_length)
    valid = _mask(mask, log_prob)
    same_shape(log_prob=log_prob, old_log_prob=old_log_prob)
    lengths = valid.sum(dim=1, keepdim=True)
    difference = (log_prob - old_log_prob.detach()).masked_fill(~valid, 0.0)
    if ratio != "token":
        _per_sequence("advantages", advantages, log_prob)
        difference = difference.sum(dim=1, keepdim=True)
        difference = difference / lengths if ratio == "sequence_mean" else difference
    per_token = advantages.detach()
    if per_token.ndim == 1:
        _per_sequence("advantages", advantages, log_prob)
        per_token = per_token[:, None]
    else:
        same_shape(log_prob=log_prob, advantages=advantages)
        per_token = per_token.masked_fill(~valid, 0.0)
    loss = -clipped_objective(difference, per_token, low, high)
    loss = loss.expand(valid.shape).masked_fill(~valid, 0.0)
    if aggregate == "token":
        return loss.sum() / lengths.sum()
    if aggregate == "sequence":
        return (loss.sum(dim=1, keepdim=True) / lengths).mean()
    return loss.sum() / (len(loss) * float(max_length or 1))


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}.")


def _positive(name: str, value: float) -> None:
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


def _mask(mask: Tensor, like: Tensor) -> Tensor:
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


def _groups(rewards: Tensor, group_size: int, ndim: int) -> Tensor:
    """Rewards as [B/G, G] or [B/G, G, K], as floats and without gradient."""
    shape = "[B]" if ndim == 1 else "[B, K]"
    if rewards.ndim != ndim or not len(rewards):
        raise SettingError(f"rewards must be {shape}, got shape {tuple(rewards.shape)}.")
    if group_size < 2:
        raise SettingError(
            f"group_size must be at least 2, got {group_size!r}: a text alone has no relatives."
        )
    if len(rewards) % group_size:
        raise SettingError(f"{len(rewards)} rewards do not form groups of {group_size}.")
    floats = rewards.detach() if rewards.is_floating_point() else rewards.detach().float()
    return floats.reshape(-1, group_size, *rewards.shape[1:])


def _spread(values: Tensor, dim: int, eps: float, *, unbiased: bool) -> Tensor:
    """Standard deviation + ε along `dim`; 1 where both are 0, which leaves the zeros zero."""
    if not eps >= 0:
        raise SettingError(f"eps keeps a division finite and is at least 0, got {eps!r}.")
    spread = values.std(dim=dim, keepdim=True, correction=int(unbiased)) + eps
    return torch.where(spread == 0, torch.ones_like(spread), spread)


def _weights(weights: Sequence[float] | Tensor | None, rewards: Tensor) -> Tensor:
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    if weights is None:
        return torch.ones(rewards.shape[1], dtype=dtype, device=rewards.device)
    w = torch.as_tensor(weights, dtype=dtype, device=rewards.device)
    if tuple(w.shape) != (rewards.shape[1],):
        raise SettingError(
            f"weights must be one per reward, {rewards.shape[1]} of them, got {tuple(w.shape)}."
        )
    return w
