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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contracts import OracleProvenance
from registry.errors import OracleError, SettingError
from rlsuite_envs.tokens.capability import expected_distinct, perplexity
from rlsuite_envs.tokens.soft import best_of_n, soft_maximum, soft_policy
from rlsuite_envs.tokens.surrogates import dpo_excess, grpo_fixed_point
from rlsuite_envs.tokens.tabulation import tabulate
from rlsuite_envs.tokens.tree import PrefixTree

__all__ = ["FrontierPoint", "TokenOracle"]

ROW_SUM_TOLERANCE = 1e-6
"""How far the probabilities of a row may be from summing to 1: float32 policies are let in."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierPoint:
    """What the optimal policy of one β earns: no policy earns more at its divergence.

    `gold` is its expected gold reward where the reward is a proxy, else None.
    """

    beta: float
    expected_reward: float
    kl: float
    objective: float
    gold: float | None


class TokenOracle:
    """Exact returns of one task: its reward, its reference policy, one β. Nothing is sampled.

    S = P N decision states, in the order of `observations()`; A = V tokens. A policy `pi` is an
    array of probabilities [S, A], or [H, S, A] with the number of tokens written so far in front, a
    `SequencePolicy`, or a function from `observations()` to such an array.

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
        # a slice where it can be one: much faster than a list of columns
        last = tree.shape.eos == tree.n_letters
        self._letters = slice(tree.n_letters) if last else tree.letters
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
        return self._rows(self._solution[1])

    def optimal_policy(self) -> Floats:
        """π*(a|s), shape [S, A]; at β = 0 the first of the best tokens has probability 1."""
        return self._rows(soft_policy(self._log_reference, self._solution[1], self.beta))

    def reference_policy(self) -> Floats:
        """ref(a|s), shape [S, A]."""
        return self._rows(np.exp(self._log_reference))

    def best_of_n_policy(self, n: int) -> Floats:
        """π(a|s) of the best of n answers that the reference writes, shape [S, A].

            P_n(y) = ref(y) / ref(r = r(y)) · (F(r ≤ r(y))^n - F(r < r(y))^n)

        F is the distribution of rewards under the reference; equal rewards share in proportion to
        ref. Its KL from the reference is at most log n - (n - 1)/n.

        Args:
            n: How many answers, at least 1.

        Raises:
            SettingError: n is no whole number of at least 1.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise SettingError(f"n must be a whole number of at least 1, got {n!r}.")
        texts = best_of_n(self.text_probabilities(self.reference_policy()), self._rewards, int(n))
        reach = np.empty_like(self._log_reference)

        def back_up(t: int, q_level: Floats) -> Floats:
            reach[:, slice(*self._tree.level(t))] = q_level
            return np.sum(q_level, axis=-1)

        self._backwards(texts, back_up)
        mass = reach.sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):  # where no text passes, any policy will do
            policy = np.where(mass > 0, reach / mass, np.exp(self._log_reference))
        return self._rows(policy)

    def grpo_policy(
        self,
        *,
        group_size: int,
        scale_advantage: Literal["none", "group"] = "group",
        aggregate: Literal["sequence", "constant"] = "sequence",
        kl_corrected: bool = False,
    ) -> Floats:
        """π(a|s) at which GRPO comes to rest that has this β and k3 in its loss, shape [S, A].

        Its expected gradient, on-policy and by the logits of every state, is 0 there; see
        `surrogates`. Exact with `scale_advantage="none"`, and else for large groups: among few
        texts the expected standardised reward is not quite linear in the reward.

        Args:
            group_size: G, at least 2.
            scale_advantage: As in the agent's settings, and so the following.
            aggregate: Tokens weigh 1 / length of their text, or 1 / T.
            kl_corrected: Whether k3 is times the ratio.

        Raises:
            OracleError: β is 0, or the fixed point is not found.
            SettingError: G is no whole number of at least 2, or a choice is unknown.
        """
        if isinstance(group_size, bool) or not isinstance(group_size, int) or group_size < 2:
            raise SettingError(
                f"group_size must be a whole number of at least 2, got {group_size!r}."
            )
        for name, value, known in (
            ("scale_advantage", scale_advantage, ("none", "group")),
            ("aggregate", aggregate, ("sequence", "constant")),
        ):
            if value not in known:
                raise SettingError(f"{name} must be one of {known}, got {value!r}.")
        if self.beta == 0:
            raise OracleError("without a KL term GRPO comes to rest at the highest reward alone.")
        found = grpo_fixed_point(
            self._tree,
            self._log_reference,
            self._rewards,
            beta=self.beta,
            group_size=group_size,
            scaled=scale_advantage == "group",
            per_text=aggregate == "sequence",
            corrected=kl_corrected,
        )
        return self._rows(found)

    def dpo_excess(self, pi: Any) -> float:
        """The loss of DPO over all pairs of answers, less the least one possible; in nats.

        Pairs are drawn from the reference and preferred by the reward (Bradley-Terry): the mean of
        KL(σ(r - r') ‖ σ(β h)). 0 only for the optimal policy, infinite where π never writes what
        the reference does. Takes seconds: M² pairs a prompt.

        Raises:
            OracleError: as for `policy_return`.
        """
        reference = self.text_probabilities(self.reference_policy())
        able = reference > 0
        with np.errstate(divide="ignore"):
            log_policy = np.log(
                self.text_probabilities(pi), where=able, out=np.zeros_like(reference)
            )
        if not np.isfinite(log_policy).all():
            return math.inf
        log_ratio = log_policy - np.log(reference, where=able, out=np.zeros_like(reference))
        return dpo_excess(log_ratio, reference, self._rewards, self.beta)

    def text_divergence(self, pi: Any, other: Any) -> float:
        """KL(π ‖ other) of whole texts, in nats, the mean over prompts; both as `policy_return`.

        Of the optimal policy it is the regret divided by β.

        Raises:
            OracleError: as for `policy_return`.
        """
        with np.errstate(divide="ignore"):
            log_other = np.log(self._checked(other))
        policy = self._checked(pi)
        local = self._local_divergence(policy, log_other).ravel()
        reach = self.state_distribution(self._rows(policy))
        return float(reach @ np.where(reach > 0, local, 0.0))

    def frontier(self, betas: Sequence[float]) -> list[FrontierPoint]:
        """What can be had at which divergence: the optimal policies of several β, exactly.

        Along the frontier dE[r] / dKL = β (Rafailov et al. 2023 draw it from samples). Where the
        reward is a proxy, `gold` shows what the texts are really worth: over-optimisation without
        noise.

        Raises:
            SettingError: a β is negative or no finite number.
        """
        points = []
        for beta in betas:
            if not (beta >= 0 and math.isfinite(beta)):
                raise SettingError(f"a β is a finite number of at least 0, got {beta!r}.")
            other = TokenOracle(
                self._tree, self._log_reference, self._rewards, beta=float(beta), gold=self._gold
            )
            found = other.policy_metrics(other.optimal_policy())
            points.append(
                FrontierPoint(
                    beta=float(beta),
                    expected_reward=found["expected_reward"],
                    kl=found["kl"],
                    objective=other.optimal_return,
                    gold=found.get("expected_gold"),
                )
            )
        return points

    def observations(self) -> dict[str, NDArray[Any]]:
        """All S decision states as one batch in the environment's form of observation.

        Returns:
            `tokens` [S, W], `length` [S], `prompt_length` [S], all int64, and `action_mask`
            [S, A], int8: prompt by prompt, within a prompt the shorter texts first.
        """
        tokens, lengths = self._tree.prefixes()
        return {
            "tokens": tokens,
            "length": lengths,
            "prompt_length": np.repeat(self._tree.shape.prompt_lengths, self._tree.n_prefixes),
            "action_mask": self._rows(self._allowed).astype(np.int8),
        }

    def policy_return(self, pi: Any) -> float:
        """J_β(π) = E_π[r] - β KL(π ‖ ref), exactly.

        Raises:
            OracleError: the shape is another one, a row is no probability distribution, or a masked
                token has a positive probability.
        """
        policy = self._checked(pi)
        reward, divergence = self._expected(policy, self._rewards), self._divergence(policy)
        return reward - self.beta * divergence

    def policy_values(self, pi: Any) -> Floats:
        """J_π(s), the expected reward still to come less β times the divergence, shape [S].

        What a critic should predict where KL is in the reward. Raises as `policy_return` does.
        """
        policy = self._checked(pi)
        local = self._local_divergence(policy, self._log_reference)

        def back_up(t: int, q_level: Floats) -> Floats:
            level = slice(*self._tree.level(t))
            return np.sum(policy[:, level] * q_level, axis=-1) - self.beta * local[:, level]

        return self._backwards(self._rewards, back_up).ravel()

    def state_distribution(self, pi: Any) -> Floats:
        """d_π(s), the probability that a text passes through s, over all prompts: shape [S]."""
        return self._reach(self._checked(pi))[:, : self._tree.n_prefixes].ravel()

    def text_probabilities(self, pi: Any) -> Floats:
        """π(y | x) of all finished texts, [P, M]: those ended by EOS, then those cut off."""
        policy, tree = self._checked(pi), self._tree
        reach = self._reach(policy) * tree.n_prompts
        reach[:, : tree.n_prefixes] *= policy[..., tree.shape.eos]
        return reach

    def regret_by_state(self, pi: Any) -> Floats:
        """Where a policy loses: β d_π(s) KL(π(·|s) ‖ π*(·|s)), shape [S]; sums to J* - J(π).

        Raises:
            OracleError: as for `policy_return`, or β is 0, where regret is no divergence.
        """
        if self.beta == 0:
            raise OracleError("regret is a divergence from the optimal policy only for β above 0.")
        policy = self._checked(pi)
        with np.errstate(divide="ignore"):
            log_best = np.log(soft_policy(self._log_reference, self._solution[1], self.beta))
        local = self._local_divergence(policy, log_best)
        reach = self._reach(policy)[:, : self._tree.n_prefixes]
        return (self.beta * reach * local).ravel()

    def policy_metrics(self, pi: Any) -> Mapping[str, float]:
        """Further exact figures of a policy, which takes the forms of `policy_return`.

        Returns:
            `expected_reward`: E_π[r]. `kl`: KL(π ‖ ref) of whole texts, in nats. `eos_rate`: the
            probability that a text ends with EOS. `mean_length`: new tokens of a text, EOS counted.
            `expected_gold`: E_π[gold reward], only where the reward is a proxy. What is left of the
            reference's abilities: `perplexity`, of π per token of the reference's texts, and
            `distinct_1`, `distinct_2`, the share of different letters and pairs of neighbours among
            all of them in 100 texts of π; see `capability`.

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
        surprise = self._perplexity(policy)
        if math.isfinite(surprise):
            metrics["perplexity"] = surprise
        texts = self.text_probabilities(self._rows(policy))
        for n in (1, 2):
            share = expected_distinct(tree, texts, n)
            if share is not None:
                metrics[f"distinct_{n}"] = share
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

    def _rows(self, table: NDArray[Any]) -> NDArray[Any]:
        return table.reshape(-1, self._tree.n_tokens)

    def _reach(self, policy: Floats) -> Floats:
        """Probability of every completion as the beginning of a text, over all prompts: [P, M]."""
        tree = self._tree
        reach = np.empty((tree.n_prompts, tree.n_texts))
        reach[:, 0] = 1.0 / tree.n_prompts
        for t in range(tree.max_new_tokens):
            level, below = slice(*tree.level(t)), slice(*tree.level(t + 1))
            onwards = reach[:, level, None] * policy[:, level][..., self._letters]
            reach[:, below] = onwards.reshape(tree.n_prompts, -1)
        return reach

    def _perplexity(self, policy: Floats) -> float:
        """exp(-E_ref[log π(y)] / E_ref[length]) of texts y of the reference; inf is possible."""
        reference = np.exp(self._log_reference)
        reach = self._reach(reference)[:, : self._tree.n_prefixes]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_policy = np.where(reference > 0, np.log(policy), 0.0)
        log_pi = np.sum(reach * np.sum(reference * log_policy, axis=-1))
        return perplexity(log_pi, reach.sum())

    def _expected(self, policy: Floats, of_texts: Floats) -> float:
        """E_π of a quantity of finished texts [P, M]."""

        def back_up(t: int, q_level: Floats) -> Floats:
            return np.sum(policy[:, slice(*self._tree.level(t))] * q_level, axis=-1)

        return _mean(self._backwards(of_texts, back_up)[:, 0])

    def _divergence(self, policy: Floats) -> float:
        """KL(π ‖ ref) of whole texts: the expected sum of the divergences in the states passed."""
        local = self._local_divergence(policy, self._log_reference)

        def back_up(t: int, q_level: Floats) -> Floats:
            level = slice(*self._tree.level(t))
            return local[:, level] + np.sum(policy[:, level] * q_level, axis=-1)

        divergence = _mean(self._backwards(np.zeros_like(self._rewards), back_up)[:, 0])
        return max(divergence, 0.0)  # rounding can leave -1e-16 where π is the reference

    @staticmethod
    def _local_divergence(policy: Floats, log_other: Floats) -> Floats:
        """KL(π(·|s) ‖ other(·|s)), [P, N]."""
        log_ratio = np.zeros_like(policy)
        played = policy > 0
        log_ratio[played] = np.log(policy[played]) - log_other[played]
        return np.sum(policy * log_ratio, axis=-1)

    def _backwards(self, of_texts: Floats, back_up: Any) -> Floats:
        """Values [P, N] from the longest prefixes back: `back_up(t, Q [P, L^t, A]) -> V [P, L^t]`.

        Q(s, a) is the quantity `of_texts` [P, M] where a ends the text, else V(s a).
        """
        tree = self._tree
        values = np.array(of_texts, np.float64)  # beyond N they are those of the cut texts
        for t in reversed(range(tree.max_new_tokens)):
            first, last = tree.level(t)
            q_level = np.empty((tree.n_prompts, last - first, tree.n_tokens))
            children = values[:, slice(*tree.level(t + 1))]
            q_level[..., self._letters] = children.reshape(tree.n_prompts, -1, tree.n_letters)
            q_level[..., tree.shape.eos] = of_texts[:, first:last]
            values[:, first:last] = back_up(t, q_level)
        return values[:, : tree.n_prefixes]

    def _checked(self, pi: Any) -> Floats:
        """The policy as probabilities [P, N, A] whose rows sum to 1."""
        tree = self._tree
        if hasattr(pi, "log_probs"):
            policy = np.exp(tabulate(pi, "the policy", tree))
            self._refuse_masked(policy)
            return policy
        table = np.asarray(pi(self.observations()) if callable(pi) else pi)
        n_states, horizon = tree.n_prompts * tree.n_prefixes, tree.max_new_tokens
        shapes = ((n_states, tree.n_tokens), (horizon, n_states, tree.n_tokens))
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


def _mean(values: Floats) -> float:
    return math.fsum(values.tolist()) / len(values)
