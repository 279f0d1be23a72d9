"""Where other objectives than J_β lead on the token tree: exact answers, nothing is sampled.

GRPO with the KL term in its loss climbs no objective of whole texts: the advantages that it sees
and the states that it visits are its own policy's. Its fixed point is known all the same. With
a text's expected advantage A and weight w, and Q(s, a) = E_π[w A | s, a], W(s, a) = E_π[w | s, a],
the expected gradient by the logits of a state is 0 where, with one λ for all its tokens,

    Q(a) - β W(a) (1 - ref(a) / π(a)) = λ       k3: the gradient of KL(ref ‖ π) in each state
    Q(a) - β W(a) log(π(a) / ref(a)) = λ        k2, or k3 times the ratio: that of KL(π ‖ ref)

so that π(a) = ref(a) h((Q(a) - λ) / (β W(a))) with h(x) = 1 / (1 - x) or e^x. Given mean and
standard deviation of the rewards of each prompt this is solved from the longest texts back, as
soft dynamic programming is; and these two are iterated until they are the policy's own. That
π = ref / (1 - A / β) is what GRPO optimises was found by Vojnovic & Yun (2025, arXiv:2502.18548).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import OracleError
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = ["dpo_excess", "grpo_fixed_point"]

Floats = NDArray[np.float64]

HALVINGS = 60
SWEEPS = 500
STILL = 1e-10
"""Change of the moments of rewards below which they are the policy's own."""

ROWS = 256


def grpo_fixed_point(
    tree: PrefixTree,
    log_reference: Floats,
    rewards: Floats,
    *,
    beta: float,
    group_size: float,
    scaled: bool,
    per_text: bool,
    corrected: bool,
) -> Floats:
    """π(a|s), [P, N, A], at which GRPO's expected gradient on-policy is 0.

    Args:
        tree: All texts.
        log_reference: log ref(a|s), [P, N, A].
        rewards: r of finished texts, [P, M].
        beta: β, above 0.
        group_size: G: a mean that contains the text itself makes advantages (G - 1)/G as large. For
            `scaled` that is exact in the limit of large groups, else for every G.
        scaled: Whether advantages are divided by the standard deviation of the prompt's rewards.
        per_text: Whether tokens weigh 1/length of their text, else 1/T.
        corrected: Whether k3 is times the ratio.

    Raises:
        OracleError: mean and standard deviation of the rewards do not settle.
    """
    ended = np.arange(tree.n_texts) < tree.n_prefixes
    lengths = tree.depths + ended
    weights = 1.0 / lengths if per_text else np.full(tree.n_texts, 1.0 / tree.max_new_tokens)
    moments = np.stack([np.zeros(tree.n_prompts), np.ones(tree.n_prompts)])
    for sweep in range(SWEEPS):
        mean, spread = moments[..., None]
        advantages = (rewards - mean) / (spread if scaled else 1.0) * (1.0 - 1.0 / group_size)
        policy, found = _swept(
            tree, log_reference, rewards, advantages * weights, weights, beta, corrected
        )
        change = np.abs(found - moments).max()
        if change < STILL:
            return policy
        moments = found if sweep == 0 else (moments + found) / 2
        if scaled and not moments[1].all():  # the rewards of a prompt have become one
            break
    raise OracleError(
        f"GRPO's fixed point was not found for β = {beta:.6g}: after {sweep + 1} sweeps mean and "
        f"standard deviation of the rewards still change by {change:.3g}. Take a larger β."
    )


def _swept(
    tree: PrefixTree,
    log_reference: Floats,
    rewards: Floats,
    gains: Floats,
    weights: Floats,
    beta: float,
    corrected: bool,
) -> tuple[Floats, Floats]:
    """The policy that answers given advantages, and mean and std of its rewards, [2, P]."""
    policy = np.empty_like(log_reference)
    of_texts = np.stack([gains, np.broadcast_to(weights, gains.shape), rewards, rewards**2])
    values = of_texts.copy()  # under the policy, of what begins with each text
    for t in reversed(range(tree.max_new_tokens)):
        first, last = tree.level(t)
        q = np.empty((4, tree.n_prompts, last - first, tree.n_tokens))
        children = values[:, :, slice(*tree.level(t + 1))]
        q[..., tree.letters] = children.reshape(4, tree.n_prompts, last - first, -1)
        q[..., tree.shape.eos] = of_texts[:, :, first:last]
        here = slice(first, last)
        policy[:, here] = _balanced(np.exp(log_reference[:, here]), q[0], beta * q[1], corrected)
        values[:, :, here] = np.sum(policy[:, here] * q, axis=-1)
    mean, square = values[2:, :, 0]
    return policy, np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0.0))])


def _balanced(reference: Floats, q: Floats, penalty: Floats, corrected: bool) -> Floats:
    """π = ref h((q - λ) / penalty), [..., A], with the λ at which it sums to 1."""
    inside = reference > 0
    low = np.where(inside, q, np.inf).min(axis=-1, keepdims=True)
    high = np.where(inside, q, -np.inf).max(axis=-1, keepdims=True)
    if not corrected:  # h has a pole at 1
        pole = np.where(inside, q - penalty, -np.inf).max(axis=-1, keepdims=True)
        low = np.maximum(low, pole)

    def policy(level: Floats) -> Floats:
        x = np.where(inside, (q - level) / penalty, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return reference * (np.exp(x) if corrected else 1.0 / np.maximum(1.0 - x, 0.0))

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = policy(middle).sum(axis=-1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    found = policy(high)
    normalised: Floats = found / found.sum(axis=-1, keepdims=True)
    return normalised


def dpo_excess(log_ratio: Floats, reference: Floats, rewards: Floats, beta: float) -> float:
    """The loss of DPO over all pairs, less its minimum, averaged over the prompts; in nats.

    Two answers of the reference are compared, and the first is preferred with probability
    p = σ(r(y) - r(y')), where the policy says q = σ(β h): the excess is the mean of KL(p ‖ q), and
    0 only at the optimal policy.

    Args:
        log_ratio: log(π/ref) of finished texts, [P, M]; finite where `reference` is above 0.
        reference: ref(y | x), [P, M].
        rewards: r, [P, M].
        beta: β.
    """
    total = 0.0
    for ratios, chances, scores in zip(beta * log_ratio, reference, rewards, strict=True):
        able = np.flatnonzero(chances > 0)
        for first in range(0, len(able), ROWS):
            rest = able[first:]
            wanted, said = _differences(scores[rest]), _differences(ratios[rest])
            twice = np.where(np.arange(len(rest)) < ROWS, 1.0, 2.0)  # (y, y') is as (y', y)
            excess = _logistic_excess(wanted, said) @ (twice * chances[rest])
            total += float(chances[rest[:ROWS]] @ excess)
    return total / len(rewards)


def _differences(values: Floats) -> NDArray[np.float32]:
    """Of the first rows from all, [ROWS, M]."""
    found: NDArray[np.float32] = (values[:ROWS, None] - values).astype(np.float32)
    return found


def _logistic_excess(wanted: Any, said: Any) -> Any:
    """KL(σ(u) ‖ σ(v)) = σ(u) (u - v) + log(1 + e^v) - log(1 + e^u), elementwise."""
    p = 1.0 / (1.0 + np.exp(-wanted))
    return p * (wanted - said) + _softplus(said) - _softplus(wanted)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
