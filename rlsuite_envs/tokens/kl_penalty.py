"""The half of a KL penalty that an environment can know."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from registry.errors import SettingError
from rlsuite_envs.checks import check_real

__all__ = ["KLPenalty"]

LARGEST_PENALTY = 100.0
"""Nats that a token costs which the reference policy never writes: rewards have to be finite."""


class KLPenalty(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds β log ref(a | s) to the reward of each step of a token task.

    A KL penalty costs β (log π(a | s) - log ref(a | s)) per token. An environment never sees log π,
    so this is half of it, for agents without a setting like `kl_beta`. The other half, -β log π, is
    an entropy bonus; an agent that has one (`ent_coef` of Stable-Baselines3) set to β maximises
    something close to the objective, but not the same: the bonus of most agents belongs to the
    states it has visited, not to its return, so they do not look ahead to it. Without one the
    penalty drives the policy to the reference's likeliest texts. Agents with `kl_beta` need no
    wrapper, and with one would count the reference twice.

    `info["kl_penalty"]` is what was added, and `info["task_reward"]` the reward without it. A token
    that the reference never writes costs 100 β.

    Args:
        env: A token task, whose steps tell `ref_logprob`.
        beta: β, at least 0.

    Raises:
        SettingError: `beta` is outside its range, or a step tells no `ref_logprob`.
    """

    def __init__(self, env: gym.Env[Any, Any], *, beta: float) -> None:
        RecordConstructorArgs.__init__(self, beta=beta)
        super().__init__(env)
        self._beta = check_real("beta", beta, "a finite number of at least 0", 0.0, float("inf"))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps, and adds β log ref of the action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "ref_logprob" not in info:
            raise SettingError(
                "KLPenalty needs an environment whose steps tell info['ref_logprob'], such as "
                f"rlsuite/TokenGeneration-v0; {self.env} does not."
            )
        penalty = self._beta * max(float(info["ref_logprob"]), -LARGEST_PENALTY)
        told = {**info, "kl_penalty": penalty, "task_reward": float(reward)}
        return observation, float(reward) + penalty, terminated, truncated, told
