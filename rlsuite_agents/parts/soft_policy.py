"""How an agent with `SoftNetworks` answers: actions, probabilities, values.

Rows are computed one by one, so that an answer is the same in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.parts.actor_critic_policy import softmax_probabilities
from rlsuite_agents.parts.predict import mask_rows, per_row, predict_actions
from rlsuite_agents.parts.soft_networks import SquashedNetworks

__all__ = ["action_probabilities", "action_values", "predict", "state_values"]


def predict(
    agent: Any,
    observation: Any,
    state: Any = None,
    episode_start: Any = None,
    deterministic: bool = False,
    *,
    mask: Any = None,
    rngs: Any = None,
) -> tuple[Any, Any]:
    """Actions for one observation or a batch, in kind, and the state as it came: there is none.

    Args:
        agent: whose method this is.
        observation: one, or a batch.
        state: handed back.
        episode_start: not needed, the policy having no memory.
        deterministic: tanh(μ), or the likeliest action, instead of a drawn one.
        mask: allowed `Discrete` actions, [A] or [B, A].
        rngs: one generator a row; otherwise the agent's own for predictions.
    """
    networks = agent.networks
    if not isinstance(networks, SquashedNetworks):
        return predict_actions(agent, observation, deterministic, mask, rngs), state
    rows, single = agent.encoder.rows(observation)
    outputs = networks.outputs_by_row(rows)
    noise = np.zeros((len(rows), networks.size), np.float32)
    if not deterministic:
        for row, rng in zip(noise, per_row(rngs, agent.prediction_rng, len(rows)), strict=True):
            row[:] = rng.standard_normal(networks.size, np.float32)
    actions = networks.played(networks.squash(outputs, noise)[0])
    return (actions[0] if single else actions), state


def action_probabilities(
    agent: Any, observations: Any, *, deterministic: bool, mask: Any = None
) -> NDArray[np.float64]:
    """π(a|s), [B, A]; each row is computed as if it were alone.

    Args:
        agent: whose method this is.
        observations: a batch of B.
        deterministic: all probability on the best action, the lowest index among equals.
        mask: allowed actions, [B, A]; None is the observations' own `action_mask`, or all.

    Raises:
        UnsupportedSpaceError: the actions are not `Discrete`.
        InvalidObservationError: an observation is not one of the space.
    """
    _check_discrete(agent, "action probabilities")
    rows, _ = agent.encoder.rows(observations)
    logits = agent.networks.outputs_by_row(rows)
    return softmax_probabilities(logits, mask_rows(observations, mask), deterministic)


def action_values(agent: Any, observations: Any) -> NDArray[np.float64]:
    """min_k Q_k(s, ·) of a batch, [B, A]; raises `UnsupportedSpaceError` unless `Discrete`."""
    _check_discrete(agent, "a value for each action")
    rows, _ = agent.encoder.rows(observations)
    return agent.networks.smaller_by_row(rows).astype(np.float64)


def state_values(agent: Any, observations: Any) -> NDArray[np.float64]:
    """What a batch of states is worth, [B], by the smaller of both critics.

    Of `Discrete` actions the soft value, Σ_a π(a|s) (min_k Q_k(s, a) - α log π(a|s)); of `Box`
    actions the value of the deterministic one, min_k Q_k(s, tanh μ(s)).
    """
    rows, _ = agent.encoder.rows(observations)
    if isinstance(agent.networks, SquashedNetworks):
        means = agent.networks.outputs_by_row(rows)[:, : agent.networks.size]
        inputs = np.concatenate((rows, np.tanh(means)), axis=1)
        return agent.networks.smaller_by_row(inputs)[:, 0].astype(np.float64)
    pi = action_probabilities(agent, observations, deterministic=False)
    log_pi = np.log(np.where(pi > 0, pi, 1.0))
    q = agent.networks.smaller_by_row(rows)
    values: NDArray[np.float64] = (pi * (q - agent.alpha * log_pi)).sum(axis=1)
    return values


def _check_discrete(agent: Any, what: str) -> None:
    if isinstance(agent.networks, SquashedNetworks):
        raise UnsupportedSpaceError(
            f"only Discrete actions have {what}, these are {agent.networks.space}."
        )
