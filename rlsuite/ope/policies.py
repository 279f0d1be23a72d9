"""The policy that is to be evaluated, as probabilities of actions in every logged context."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from registry.errors import DataError, SettingError, did_you_mean
from rlsuite.ope.log import SUM_TOLERANCE, BanditLog, refuse

__all__ = ["Target", "target_of"]

Floats = NDArray[np.float64]


class Target:
    """π_e on a log: of the logged actions, and of all of them where they are known.

    Attributes:
        taken: π_e of the logged actions, [N].
        full: π_e of all actions, [N, K], or None: then no reward model can be asked.
    """

    def __init__(self, log: BanditLog, probabilities: Floats) -> None:
        self.full = probabilities if probabilities.ndim == 2 else None
        rows = np.arange(len(log))
        self.taken = probabilities if self.full is None else self.full[rows, log.action]

    @property
    def deterministic(self) -> bool:
        """Whether every decision takes one action for sure, as far as that is known."""
        known = self.taken if self.full is None else self.full
        return bool(((known == 0) | (known == 1)).all())


def target_of(policy: Any, log: BanditLog, *, deterministic: bool = False) -> Target:
    """The policy's probabilities on a log.

    Args:
        policy: `"uniform"` over what is allowed; the number of an action, taken always; an array:
            probabilities [N, K], or those of the logged actions alone (float [N]), or the actions
            that are taken (whole numbers [N]); a data frame or series of such numbers, row by row
            whatever its index, with columns that are ordered by the numbers at the ends of their
            names, or else stand in the order of the actions; the name of a column of `log.extra`
            with probabilities of the logged actions, or of K columns `<name>_0` and so on; an
            agent, or anything with `action_probabilities(observations, deterministic=...,
            mask=...)`; or a function of the contexts [N, d] that gives such an array.
        log: whose contexts the policy meets.
        deterministic: whether an agent is evaluated in its greedy form.

    Raises:
        SettingError: it is none of these.
        DataError: what it gives are no probabilities, or its contexts are of another width.
    """
    if isinstance(policy, str):
        return Target(log, _checked(_named(policy, log), log))
    if isinstance(policy, int | np.integer) and not isinstance(policy, bool):
        return Target(log, _checked(_fixed(int(policy), log), log))
    if callable(getattr(policy, "action_probabilities", None)):
        keywords = {} if log.action_mask is None else {"mask": log.action_mask}
        found = policy.action_probabilities(
            _observations(policy, log), deterministic=deterministic, **keywords
        )
        return Target(log, _checked(np.asarray(found), log))
    if callable(policy):
        return Target(log, _checked(np.asarray(policy(log.context)), log))
    if callable(getattr(policy, "to_numpy", None)):
        return Target(log, _checked(_framed(policy, log), log))
    if isinstance(policy, np.ndarray | list | tuple):
        return Target(log, _checked(np.asarray(policy), log))
    raise SettingError(
        "a policy to evaluate is 'uniform', the number of an action, an array or a data frame of "
        "probabilities, a column, an agent with action_probabilities, or a function of the "
        f"contexts; got {type(policy).__name__}."
    )


def _named(name: str, log: BanditLog) -> Floats:
    if name == "uniform":
        allowed = log.allowed.astype(np.float64)
        return np.asarray(allowed / allowed.sum(axis=1, keepdims=True))
    columns = [f"{name}_{a}" for a in range(log.n_actions)]
    if name in log.extra:
        return log.extra[name]
    if all(column in log.extra for column in columns):
        return np.stack([log.extra[column] for column in columns], axis=1)
    raise SettingError(
        f"the log holds neither a column {name!r} nor columns from {columns[0]!r} to "
        f"{columns[-1]!r}.{did_you_mean(name, (*log.extra, 'uniform'))}"
    )


def _fixed(action: int, log: BanditLog) -> NDArray[np.int64]:
    if not 0 <= action < log.n_actions:
        raise SettingError(
            f"there is no action {action}; the log has the {log.n_actions} actions from 0 to "
            f"{log.n_actions - 1}."
        )
    return np.full(len(log), action)


def _framed(frame: Any, log: BanditLog) -> NDArray[Any]:
    """The numbers of a data frame or series (pandas, polars), columns in the order of actions."""
    names = [re.search(r"\d+$", str(name)) for name in getattr(frame, "columns", ())]
    ends = [int(end[0]) for end in names if end]
    found = np.asarray(frame.to_numpy())
    numbered = len(ends) == len(names) and sorted(ends) == list(range(log.n_actions))
    return found[:, np.argsort(ends)] if numbered else found


def _observations(policy: Any, log: BanditLog) -> Any:
    """The contexts in the form of the agent's observations.

    Raises:
        DataError: another number of features than the agent was made for.
    """
    space = getattr(getattr(policy, "env", None), "observation_space", None)
    width = 1 if isinstance(space, Discrete) else None
    if isinstance(space, Box):
        width = int(np.prod(space.shape))
    if width is not None and width != log.context.shape[1]:
        raise DataError(
            f"the policy was made for observations of {width} numbers ({space}), and the contexts "
            f"of the log have {log.context.shape[1]}."
        )
    if isinstance(space, Discrete):
        return log.context[:, 0].astype(np.int64)
    if isinstance(space, Box):
        return log.context.reshape(-1, *space.shape).astype(space.dtype)
    return log.context


def _checked(found: NDArray[Any], log: BanditLog) -> Floats:
    """Probabilities, float64 [N, K] or [N]; raises `DataError` for what are none."""
    n, k = len(log), log.n_actions
    if found.shape not in ((n, k), (n,)) or found.dtype.kind not in "iuf":
        raise DataError(
            f"a policy's probabilities are numbers [{n}, {k}] for this log, or [{n}] of the logged "
            f"actions alone; got {found.dtype} of shape {found.shape}. Where the log shows fewer "
            "actions than there are, n_actions (--actions) tells."
        )
    if found.ndim == 1 and found.dtype.kind in "iu":
        outside = (found < 0) | (found >= k)
        refuse(outside, _place, lambda i: f"the policy takes action {found[i]}, of {k} actions")
        found = np.eye(k)[found]
    p = found.astype(np.float64)
    if p.ndim == 1:
        refuse(
            ~((p >= 0) & (p <= 1)),
            _place,
            lambda i: (
                f"the policy gives the logged action the probability {p[i]:g}; it must be in [0, 1]"
            ),
        )
        return p
    wrong = ~((p >= 0).all(axis=1) & (abs(p.sum(axis=1) - 1) <= SUM_TOLERANCE))
    refuse(
        wrong,
        _place,
        lambda i: (
            f"the policy's probabilities sum to {p[i].sum():g}, with a smallest of {p[i].min():g}; "
            "they must be at least 0 and sum to 1"
        ),
    )
    return p


def _place(i: int) -> str:
    return f"decision {i}"
