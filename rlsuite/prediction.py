"""How good are predicted values? Exactly, by the answer key, for the policy that they are of."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.contracts import HasOracle
from registry.errors import OracleError, SettingError
from rlsuite.answer_key import AnswerKey, layers

__all__ = ["VALUE_ERROR", "prediction_error"]

VALUE_ERROR = "value_error"
"""The name of the figure among an evaluation's metrics."""


def prediction_error(
    agent: Any, env: gym.Env[Any, Any], key: AnswerKey
) -> tuple[float, float | None, float]:
    """The error of an agent's values, its score, and the return of the policy they are of.

    The error is the root mean square over the states that the policy acts in. The true values are
    those of the task without its time limit, undiscounted: a limit ends no state's worth, and
    learners bootstrap there. The policy is the one that the agent states, or uniform play if it
    states none. The score is 1 for exact values and 0 for predicting 0 everywhere.

    Raises:
        SettingError: the agent predicts no values, or the environment cannot judge them.
    """
    predict = getattr(agent, "state_values", None)
    if not callable(predict):
        raise SettingError(
            "this task is scored by the error of predicted values, and "
            f"{type(agent).__name__} has no state_values(observations)."
        )
    oracle = _unlimited_oracle(env, key)
    observations = oracle.observations()
    pi = _policy_of(agent, observations, oracle.model.next_state.shape[:2])
    values = np.asarray(predict(observations), np.float64)
    try:
        error = oracle.value_error(values, pi)
        zero = oracle.value_error(np.zeros_like(values), pi)
        value = float(oracle.policy_return(pi))
    except OracleError as reason:
        raise SettingError(f"the predicted values cannot be judged: {reason}") from reason
    return error, 1.0 - error / zero if zero > 0.0 else None, value


def _unlimited_oracle(env: gym.Env[Any, Any], key: AnswerKey) -> Any:
    """The oracle without the time limit, where the answers of the environment hold."""
    inner = layers(env)[-1]
    if not key.exact or not isinstance(inner, HasOracle) or not hasattr(key.oracle, VALUE_ERROR):
        why = f" ({key.why_not})" if key.why_not else ""
        raise SettingError(
            f"predicted values are judged by the answer key of a table, and {env} has none{why}."
        )
    return inner.oracle(limit=False)


def _policy_of(agent: Any, observations: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    stated = getattr(agent, "action_probabilities", None)
    if callable(stated):
        return np.asarray(stated(observations, deterministic=False), np.float64)
    return np.full(shape, 1.0 / shape[1])
