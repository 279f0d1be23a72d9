"""The answer key of a token task: soft dynamic programming on the tree of all texts.

    J_β(π) = E_π[r] - β KL(π ‖ ref),    J* = max_π J_β(π) = mean over prompts x of β log Z(x),
    Z(x) = E_ref[exp(r / β) | x],       π*(y | x) = ref(y | x) exp(r(x, y) / β) / Z(x)

Level by level from the longest texts back, in log space and float64:

    Q(s, a) = r(text) if a ends it, else V(s a)
    V(s)    = β log Σ_a ref(a|s) exp(Q(s, a) / β)
    π*(a|s) = ref(a|s) exp((Q(s, a) - V(s)) / β)

β = 0 is the plain reward: V(s) = max_a Q(s, a) over the tokens that the reference can write.
Arrays are [P, N, ...]: prompts, then prefixes as `tree` counts them. Source: the closed form is
that of Ziebart (2010, ch. 5) and of Rafailov et al. (2023, eq. 4 and 5), written per token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import OracleProvenance
from registry.errors import OracleError
from rlsuite_envs.tokens.tables import EOS, N_LETTERS, N_TOKENS, PROMPT_LENGTH
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = ["TokenOracle", "soft_maximum"]

ROW_SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may be from summing to 1: float32 policies are let in."""

Floats = NDArray[np.float64]


class TokenOracle:
    """Exact returns of one task: its reward, its reference policy, one β. Nothing is sampled.

    S = P N decision states, in the order of `observations()`; A = 7 tokens.

    Args:
        tree: All texts of the task.
        log_reference: log ref(a|s), shape [P, N, A]; -inf where a token is masked.
        rewards: r of every finished text, what a cut text costs included, shape [P, M].
        beta: β, at least 0.
        gold: The gold reward of every finished text, shape [P, M], where `rewards` is a proxy;
            else None.
    """

    provenance: OracleProvenance = "exact"
    scope: Literal["task", "instance"] = "task"

    def __init__(
        self,
        tree: PrefixTree,
        log_reference: Floats,
        rewards: Floats,
        *,
        beta: float,
        gold: Floats | None = None,
    ) -> None:
        self.beta = beta
        self._tree = tree
        self._log_reference = log_reference
        self._rewards = rewards
        self._gold = gold

    @property
    def optimal_return(self) -> float:
        """J* = V at the prompts, averaged over the prompts after the logarithm."""
        return _mean(self._solution[0][:, 0])

    @property
    def baseline_return(self) -> float:
        """J of the reference policy: E_ref[r], its KL divergence being 0."""
        return self.policy_return(self.reference_policy())

    @property
    def best_stationary_return(self) -> None:
        """None: a state holds the whole text, so J* needs no clock."""
        return None

    def soft_values(self) -> Floats:
        """V(s), shape [S]."""
        return self._solution[0].ravel()

    def soft_q_values(self) -> Floats:
        """Q(s, a), shape [S, A]."""
        return self._solution[1].reshape(-1, N_TOKENS)

    def optimal_policy(self) -> Floats:
        """π*(a|s), shape [S, A]; at β = 0 the first of the best tokens has probability 1."""
        q = self._solution[1]
        if self.beta == 0:
            return np.eye(N_TOKENS)[self._supported(q).argmax(axis=-1)].reshape(-1, N_TOKENS)
        # Q - m instead of Q - V, m the maximum: the rows sum to 1 even for a tiny β
        best = self._supported(q).max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):  # -inf, whose exponential is 0, is right
            x = self._log_reference + np.minimum((q - best) / self.beta, 0.0)
        weights = np.exp(x - x.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).reshape(-1, N_TOKENS)

    def reference_policy(self) -> Floats:
        """ref(a|s), shape [S, A]."""
        return np.exp(self._log_reference).reshape(-1, N_TOKENS)

    def observations(self) -> dict[str, NDArray[Any]]:
        """All S decision states as one batch in the environment's form of observation.

        Returns:
            `tokens` [S, 2 + T], `length` [S], `prompt_length` [S], all int64, and `action_mask`
            [S, A], int8: prompt by prompt, within a prompt the shorter texts first.
        """
        tokens, lengths = self._tree.prefixes()
        return {
            "tokens": tokens,
            "length": lengths,
            "prompt_length": np.full_like(lengths, PROMPT_LENGTH),
            "action_mask": self._allowed.reshape(-1, N_TOKENS).astype(np.int8),
        }

    def policy_return(self, pi: Any) -> float:
        """J_β(π) = E_π[r] - β KL(π ‖ ref), exactly.

        Args:
            pi: Probabilities [S, A], or [H, S, A] with the number of tokens written so far in
                front, or a function from `observations()` to either.

        Raises:
            OracleError: the shape is another one, a row is no probability distribution, or a masked
                token has a positive probability.
        """
        policy = self._checked(pi)
        reward, divergence = self._expected(policy, self._rewards), self._divergence(policy)
        return reward - self.beta * divergence

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Further exact figures of a policy, which takes the forms of `policy_return`.

        Returns:
            `expected_reward`: E_π[r]. `kl`: KL(π ‖ ref) of whole texts, in nats. `eos_rate`: the
            probability that a text ends with EOS. `mean_length`: new tokens of a text, EOS counted.
            `expected_gold`: E_π[gold reward], only where the reward is a proxy.

        Raises:
            OracleError: as for `policy_return`.
        """
        policy = self._checked(pi)
        tree = self._tree
        ended = np.arange(tree.n_texts) < tree.n_prefixes
        everywhere = (tree.n_prompts, tree.n_texts)
        metrics = {
            "expected_reward": self._expected(policy, self._rewards),
            "kl": self._divergence(policy),
            "eos_rate": self._expected(policy, np.broadcast_to(ended.astype(float), everywhere)),
            "mean_length": self._expected(policy, np.broadcast_to(tree.depths + ended, everywhere)),
        }
        if self._gold is not None:
            metrics["expected_gold"] = self._expected(policy, self._gold)
        return metrics

    @cached_property
    def _allowed(self) -> NDArray[np.bool_]:
        return self._log_reference > -np.inf

    @cached_property
    def _solution(self) -> tuple[Floats, Floats]:
        """V [P, N] and Q [P, N, A]."""
        q = np.empty_like(self._log_reference)

        def back_up(t: int, q_level: Floats) -> Floats:
            level = slice(*self._tree.level(t))
            q[:, level] = q_level
            return soft_maximum(self._log_reference[:, level], q_level, self.beta)

        return self._backwards(self._rewards, back_up), q

    def _supported(self, q: Floats) -> Floats:
        return np.where(self._allowed, q, -np.inf)

    def _expected(self, policy: Floats, of_texts: Floats) -> float:
        """E_π of a quantity of finished texts [P, M]."""

        def back_up(t: int, q_level: Floats) -> Floats:
            return np.sum(policy[:, slice(*self._tree.level(t))] * q_level, axis=-1)

        return _mean(self._backwards(of_texts, back_up)[:, 0])

    def _divergence(self, policy: Floats) -> float:
        """KL(π ‖ ref) of whole texts: the expected sum of the divergences in the states passed."""
        log_ratio = np.zeros_like(policy)
        played = policy > 0
        log_ratio[played] = np.log(policy[played]) - self._log_reference[played]
        local = np.sum(policy * log_ratio, axis=-1)

        def back_up(t: int, q_level: Floats) -> Floats:
            level = slice(*self._tree.level(t))
            return local[:, level] + np.sum(policy[:, level] * q_level, axis=-1)

        divergence = _mean(self._backwards(np.zeros_like(self._rewards), back_up)[:, 0])
        return max(divergence, 0.0)  # rounding can leave -1e-16 where π is the reference

    def _backwards(self, of_texts: Floats, back_up: Any) -> Floats:
        """Values [P, N] from the longest prefixes back: `back_up(t, Q [P, 6^t, A]) -> V [P, 6^t]`.

        Q(s, a) is the quantity `of_texts` [P, M] where a ends the text, else V(s a).
        """
        tree = self._tree
        values = np.array(of_texts, np.float64)  # beyond N they are those of the cut texts
        for t in reversed(range(tree.max_new_tokens)):
            first, last = tree.level(t)
            q_level = np.empty((tree.n_prompts, last - first, N_TOKENS))
            children = values[:, N_LETTERS * first + 1 : N_LETTERS * last + 1]
            q_level[..., :N_LETTERS] = children.reshape(tree.n_prompts, -1, N_LETTERS)
            q_level[..., EOS] = of_texts[:, first:last]
            values[:, first:last] = back_up(t, q_level)
        return values[:, : tree.n_prefixes]

    def _checked(self, pi: Any) -> Floats:
        """The policy as probabilities [P, N, A] whose rows sum to 1."""
        table = np.asarray(pi(self.observations()) if callable(pi) else pi)
        tree = self._tree
        n_states, horizon = tree.n_prompts * tree.n_prefixes, tree.max_new_tokens
        shapes = ((n_states, N_TOKENS), (horizon, n_states, N_TOKENS))
        if table.dtype.kind not in "fiub" or table.shape not in shapes:
            raise OracleError(
                f"a policy of this task has the shape {shapes[0]} (states, tokens) or {shapes[1]} "
                "with the number of tokens written so far in front; got "
                f"{table.dtype} of shape {table.shape}."
            )
        table = table.astype(np.float64)
        if table.ndim == 3:  # the time is part of the state: take each state at its own
            times = np.tile(tree.depths[: tree.n_prefixes], tree.n_prompts)
            table = table[times, np.arange(n_states)]
        sums = table.sum(axis=-1, keepdims=True)
        # written so that NaN is refused as well
        if not (np.all(table >= 0) and np.all(np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE)):
            raise OracleError(
                "the rows of a policy are probabilities, at least 0 and summing to 1; got entries "
                f"from {table.min():.6g} to {table.max():.6g} and sums from {sums.min():.6g} to "
                f"{sums.max():.6g}."
            )
        policy = (table / sums).reshape(self._log_reference.shape)
        self._refuse_masked(policy)
        return policy

    def _refuse_masked(self, policy: Floats) -> None:
        masked = (policy > 0) & ~self._allowed
        if masked.any():
            prompt, prefix, token = np.argwhere(masked)[0]
            state = int(prompt) * self._tree.n_prefixes + int(prefix)
            raise OracleError(
                f"the policy gives the masked token {token} probability "
                f"{policy[prompt, prefix, token]:.6g} in state {state}: the reference policy never "
                "writes it there, so KL(π ‖ ref) is infinite. Use the action mask."
            )


def soft_maximum(log_reference: Floats, q: Floats, beta: float) -> Floats:
    """β log Σ_a ref(a) exp(q(a) / β) over the last axis; at β = 0 the maximum over ref's support.

    Computed around the maximum m: m + β log1p(Σ ref (exp((q - m)/β) - 1)) while that sum is above
    -1/2, which keeps full precision for a large β; else by log-sum-exp, which keeps it where the
    best tokens are improbable under the reference.

    Args:
        log_reference: log ref, [..., A]; the exponentials sum to 1, -inf outside the support.
        q: Finite, [..., A].
        beta: β, at least 0.
    """
    best = np.where(log_reference > -np.inf, q, -np.inf).max(axis=-1)
    if beta == 0:
        return best
    with np.errstate(over="ignore"):  # a tiny β: -inf, whose exponential is 0, is right
        z = np.minimum((q - best[..., None]) / beta, 0.0)  # > 0 only outside the support
    deficit = np.sum(np.exp(log_reference) * np.expm1(z), axis=-1)
    x = log_reference + z
    top = x.max(axis=-1)
    log_sum = top + np.log(np.sum(np.exp(x - top[..., None]), axis=-1))
    return best + beta * np.where(deficit > -0.5, np.log1p(np.maximum(deficit, -0.5)), log_sum)


def _mean(values: Floats) -> float:
    return math.fsum(values.tolist()) / len(values)
