"""How an agent with a policy and a value network answers: actions, probabilities, values.

An agent has `networks`, `encoder`, `head`, `collector` (whose normalisation is applied), `env` and
`prediction_rng`. Rows are computed one by one, so that an answer is the same in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import UnsupportedSpaceError
from rlsuite_agents.parts.heads import Gaussian
from rlsuite_agents.parts.predict import mask_rows, per_row, predict_actions

__all__ = [
    "action_probabilities",
    "gaussian_actions",
    "predict",
    "softmax_probabilities",
    "state_values",
]

Floats = NDArray[np.float32]


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
        deterministic: the likeliest action instead of a drawn one.
        mask: allowed `Discrete` actions, [A] or [B, A].
        rngs: one generator a row; otherwise the agent's own for predictions.
    """
    if not isinstance(agent.head, Gaussian):
        return predict_actions(agent, observation, deterministic, mask, rngs), state
    rows, single = agent.encoder.rows(observation)
    means = agent.networks.outputs_by_row(agent.collector.scaled(rows))
    if not deterministic:
        log_std = agent.networks.parameters.values["log_std"]
        means = gaussian_actions(means, log_std, per_row(rngs, agent.prediction_rng, len(rows)))
    actions = agent.head.played(means)
    return (actions[0] if single else actions), state


def gaussian_actions(means: Floats, log_std: Floats, rngs: Any) -> Floats:
    """Draws from N(μ, σ), [B, D], each row from a generator of its own."""
    noise = [rng.standard_normal(means.shape[1], dtype=np.float32) for rng in rngs]
    drawn: Floats = means + np.exp(log_std) * np.stack(noise)
    return drawn


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
    if isinstance(agent.head, Gaussian):
        raise UnsupportedSpaceError(
            f"only Discrete actions have action probabilities, these are {agent.head.space}."
        )
    rows, _ = agent.encoder.rows(observations)
    logits = agent.networks.outputs_by_row(agent.collector.scaled(rows))
    return softmax_probabilities(logits, mask_rows(observations, mask), deterministic)


def softmax_probabilities(
    logits: Floats, allowed: NDArray[np.bool_] | None, deterministic: bool
) -> NDArray[np.float64]:
    """π = softmax(logits) over what is allowed, [B, A], or all probability on the likeliest."""
    logits = logits.astype(np.float64)
    if allowed is not None:
        logits[~allowed] = -np.inf
    if deterministic:
        return np.eye(logits.shape[1])[logits.argmax(axis=1)]
    pi = np.exp(logits - logits.max(axis=1, keepdims=True))
    return pi / pi.sum(axis=1, keepdims=True)


def state_values(agent: Any, observations: Any) -> NDArray[np.float64]:
    """v̂(s) of a batch, [B]; of normalised rewards, where that is set."""
    rows, _ = agent.encoder.rows(observations)
    return agent.networks.values_by_row(agent.collector.scaled(rows)).astype(np.float64)
