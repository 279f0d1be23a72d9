"""Losses and advantages of learning from preferences and from scored texts (RLHF).

Tensors in, tensors out; no model, no trainer. Texts of one prompt stand next to each other: rows
0..G-1 are the first group. Losses are means to be minimised. Rewards and the log-probabilities of a
reference policy are constants: no gradient flows into them. What is computed token by token stands
in `functional.text_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from registry.errors import SettingError
from rlsuite_agents.functional.policy_gradient import same_shape
from rlsuite_agents.functional.text_policy import (
    kl_estimate,
    one_of,
    positive,
    shaped_rewards,
    token_policy_loss,
)

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
    one_of("variant", variant, ("sigmoid", "robust", "hinge", "ipo"))
    positive("beta", beta)
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
    over: Literal["group", "batch"] = "group",
) -> Tensor:
    """GRPO: (r_i - mean_g) / (std_g + ε) within each group (Shao et al. 2024, section 4.1.2).

    `std="none"` only centres (Liu et al. 2025, Dr. GRPO). A group whose rewards are all equal
    gets zeros.

    Args:
        rewards: shape [B], B a multiple of `group_size`.
        group_size: G, texts a prompt, at least 2.
        std: divide by the standard deviation with G - 1, with G, or not at all.
        eps: ε ≥ 0; not read where `std` is "none".
        over: of which rewards the standard deviation is taken: the group's, or all B of them
            (with B - 1 or B), so that a group of nearly equal rewards is not blown up.

    Returns:
        Advantages [B]; each group sums to 0.

    Raises:
        SettingError: an unknown `std`, a negative ε, or rewards that do not form such groups.
    """
    one_of("std", std, ("unbiased", "biased", "none"))
    one_of("over", over, ("group", "batch"))
    groups = _groups(rewards, group_size, 1)
    centred = (groups - groups.mean(dim=1, keepdim=True)).reshape(-1)
    if std == "none":
        return centred
    sets = groups if over == "group" else groups.reshape(1, -1)
    spread = _spread(sets, 1, eps, unbiased=std == "unbiased")
    return centred / spread.expand_as(sets).reshape(-1)


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
    whiten: Literal["sequence", "token", "none"] = "sequence",
    std: Literal["unbiased", "biased", "none"] = "unbiased",
    lengths: Tensor | None = None,
) -> Tensor:
    """GDPO: each reward is normalised in its group before they are summed (Liu et al. 2026).

        z_k = (r_k - mean_g r_k) / (std_g r_k + ε)        A = Σ_k w_k z_k
        A'  = (A - mean A) / (std A + ε)                  over the B texts of the batch (eq. 6)

    Every group's mean of A is 0, so the last line acts through the spread alone; with a single
    group in the batch it undoes what the decoupling kept, and `whiten="none"` is the better choice.

    Args:
        rewards: K rewards of each text, shape [B, K], B a multiple of `group_size`.
        group_size: G, texts a prompt, at least 2.
        weights: w_1..w_K; None is 1 each.
        eps: ε ≥ 0.
        whiten: the last line over texts, each counting once whatever its length; over tokens, where
            a text counts as often as it has tokens, so that symmetric texts of unlike lengths get
            advantages that are not; or not at all.
        std: of both lines; "none" only centres in the first and leaves the last one out, which
            then has to be said: `whiten="none"`.
        lengths: tokens of each text [B], for `whiten="token"` alone.

    Returns:
        Advantages [B].

    Raises:
        SettingError: an unknown option, a negative ε, weights of another number than K, rewards
            that do not form such groups, or options that do not go together.
    """
    one_of("whiten", whiten, ("sequence", "token", "none"))
    one_of("std", std, ("unbiased", "biased", "none"))
    if std == "none" and whiten != "none":
        raise SettingError(f"std 'none' leaves nothing to whiten by, got whiten={whiten!r}.")
    if (lengths is None) == (whiten == "token"):
        raise SettingError(f"lengths are read by whiten='token' and by it alone, got {whiten!r}.")
    groups = _groups(rewards, group_size, 2)
    w = _weights(weights, rewards)
    z = groups - groups.mean(dim=1, keepdim=True)
    if std != "none":
        z = z / _spread(groups, 1, eps, unbiased=std == "unbiased")
    advantages = (z @ w).reshape(-1)
    if whiten == "none":
        return advantages
    counted = advantages if lengths is None else advantages.repeat_interleave(lengths)
    return (advantages - counted.mean()) / _spread(counted, 0, eps, unbiased=std == "unbiased")


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
