"""Figures of policies that write texts, estimated from samples where no exact answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.seeding import Stream, generator
from registry.texts import TokenTask
from rlsuite.answer_key import is_harmless, layers, time_limit

__all__ = ["text_figures"]


class _Stated:
    """The probabilities that a policy states for observations, as log-probabilities of prefixes."""

    def __init__(self, policy: Any, task: TokenTask, greedy: bool) -> None:
        self._policy, self._task, self._greedy = policy, task, greedy

    def log_probs(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Next-token log-probabilities [B, V] after prefixes [B, W]."""
        mask = np.asarray(self._task.reference_model.log_probs(tokens, lengths)) > -np.inf
        observations = {
            "tokens": tokens,
            "length": lengths,
            "prompt_length": self._prompt_lengths(tokens),
            "action_mask": mask.astype(np.int8),
        }
        pi = self._policy.action_probabilities(
            observations, deterministic=self._greedy, mask=observations["action_mask"]
        )
        with np.errstate(divide="ignore"):
            return np.log(np.asarray(pi, np.float64))

    def _prompt_lengths(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which prompt a row begins with: the longest of those that fit."""
        lengths = np.zeros(len(tokens), np.int64)
        for prompt in sorted(self._task.prompts, key=len):
            fits = (tokens[:, : len(prompt)] == prompt).all(axis=1)
            lengths[fits] = len(prompt)
        return lengths


def text_figures(
    policy: Any, env: gym.Env[Any, Any], *, greedy: bool, texts: int, seed: int
) -> tuple[Mapping[str, float], str]:
    """Estimates of objective, KL and what is left of the reference's abilities; and a note.

    Both are empty where the environment is no token task, a wrapper may change it, or the policy
    states no probabilities.

    Args:
        policy: With `action_probabilities`.
        env: Of the evaluation.
        greedy: Whether its greedy form is meant.
        texts: How many are sampled, from the policy and from the reference policy.
        seed: Root seed of the evaluation.
    """
    *wrappers, inner = layers(env)
    whole = isinstance(inner, TokenTask) and all(map(is_harmless, wrappers))
    if not whole or not callable(getattr(policy, "action_probabilities", None)):
        return {}, ""
    limit = time_limit(env)
    if limit is not None and limit < inner.max_new_tokens:
        return {}, ""
    rng = generator(seed, Stream.POLICY, texts)  # the episodes' own end at texts - 1
    found = inner.sampled_metrics(_Stated(policy, inner, greedy), texts, rng=rng)
    note = (
        f"the metrics are sample estimates from {texts} texts, which are not the episodes played: "
        "objective is their own expected_reward less beta times their kl, not the return above"
    )
    return found, note
