"""A log of decisions: what was seen, what was done, how likely that was, and what it paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from registry.errors import DataError
from registry.logged_data import LoggedData
from rlsuite.evaluation import check_whole

__all__ = ["BanditLog", "check_columns"]

Floats = NDArray[np.float64]

SUM_TOLERANCE = 1e-5
"""How far probabilities may be from a sum of 1, or from the propensity that they state again."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BanditLog:
    """N decisions among K actions, in the order in which they were made; arrays are read-only.

    Attributes:
        context: What was seen before each decision, float64 [N, d]; [N, 0] without contexts.
        action: What was done, whole numbers in [0, K), [N].
        reward: What it paid, float64 [N].
        propensity: Probability of that action under the policy that acted, before it drew, in
            (0, 1], [N].
        n_actions: K; 0 stands for the number that the arrays tell.
        action_mask: The actions that were allowed, bool [N, K], or None: all.
        probabilities: Those of all actions under the policy that acted, [N, K], or None. With them
            every action that it could not have taken is known.
        decision_id: A number for each decision, [N]; None becomes 0 ... N - 1.
        context_names: A name for each column of `context`; none stands for `context_0` and so on.
        extra: Further columns [N], such as probabilities of a policy that is to be evaluated.
        unused: Names of columns of the file or frame that are not in the log, where nobody named
            the context.

    Raises:
        DataError: no decisions, other shapes, NaN, or a number outside of its range; with the
            number of the decision, counted from 0. Also where the largest action alone tells K,
            and fewer than half of the actions up to it occur.
        SettingError: `n_actions` is no whole number of at least 0.
    """

    context: Floats
    action: NDArray[np.int64]
    reward: Floats
    propensity: Floats
    n_actions: int = 0
    action_mask: NDArray[np.bool_] | None = None
    probabilities: Floats | None = None
    decision_id: NDArray[np.int64] | None = None
    context_names: tuple[str, ...] = ()
    extra: Mapping[str, Floats] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ARRAYS}
        checked = check_columns(given, self.n_actions, lambda i: f"decision {i}")
        ids = np.arange(len(checked["action"])) if self.decision_id is None else self.decision_id
        checked["decision_id"] = _whole("decision_id", ids, lambda i: f"decision {i}")
        extra = {name: _floats(name, x) for name, x in self.extra.items()}
        sizes = {len(x) for x in (*extra.values(), checked["decision_id"])}
        if sizes != {len(self.action)}:
            raise DataError(
                f"decision_id and extra columns need an entry for each of the {len(self.action)} "
                f"decisions, got {sorted(sizes)}."
            )
        for array in (*checked.values(), *extra.values()):
            if array is not None:
                array.flags.writeable = False
        d = checked["context"].shape[1]
        names = self.context_names or tuple(f"context_{j}" for j in range(d))
        if len(names) != d:
            raise DataError(f"context has {d} columns, got {len(names)} names for them: {names}.")
        n_actions = _n_actions(checked, self.n_actions)
        for name, value in {
            **checked,
            "extra": extra,
            "context_names": tuple(names),
            "n_actions": n_actions,
        }.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.action)

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Which actions were allowed, [N, K]."""
        if self.action_mask is None:
            return np.ones((len(self), self.n_actions), bool)
        return self.action_mask

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each action was taken, [K]."""
        return np.bincount(self.action, minlength=self.n_actions).astype(np.int64)

    @classmethod
    def from_logged_data(cls, data: LoggedData, n_actions: int = 0) -> BanditLog:
        """The decisions of `rlsuite.collect`, each for itself: what they led to is not looked at.

        Masks are those that the data hold, of the state that followed the decision before; all
        actions count as allowed at the start of an episode.

        Raises:
            DataError: the data state no probabilities, or their actions are no whole numbers.
        """
        if data.probability is None:
            raise DataError(
                "these data hold no probability of the actions, so nothing can be estimated from "
                "them: collect with a policy that has action_probabilities."
            )
        mask = None
        if data.next_mask is not None:
            mask = np.ones_like(data.next_mask)
            inside = ~data.ends[:-1]
            mask[1:][inside] = data.next_mask[:-1][inside]
        return cls(
            context=np.asarray(data.observation, np.float64).reshape(len(data), -1),
            action=data.action,
            reward=data.reward,
            propensity=data.probability,
            action_mask=mask,
            n_actions=n_actions,
        )


ARRAYS = ("context", "action", "reward", "propensity", "action_mask", "probabilities")


def check_columns(
    given: Mapping[str, Any], n_actions: int, where: Callable[[int], str]
) -> dict[str, Any]:
    """The arrays of a log in their own types, copied. `where(i)` names decision i in a sentence.

    Raises:
        DataError: as `BanditLog`.
    """
    found: dict[str, Any] = {}
    found["action"] = _whole("action", given["action"], where)
    for name in ("context", "reward", "propensity"):
        found[name] = _floats(name, given[name], where)
    size = len(found["action"])
    if not size:
        raise DataError("the log is empty: it needs at least one decision.")
    found["action_mask"] = _mask(given["action_mask"], where)
    found["probabilities"] = _optional(given["probabilities"], np.float64)
    _check_shapes(found, size)
    _check_actions(found, n_actions, where)
    _check_masks(found, where)
    p = found["propensity"]
    refuse(
        ~((p > 0) & (p <= 1)),
        where,
        lambda i: (
            f"the propensity is {p[i]:g}; it must be in (0, 1], the probability of the action "
            "under the policy that took it"
        ),
    )
    _check_probabilities(found, where)
    return found


def refuse(
    wrong: NDArray[np.bool_], where: Callable[[int], str], sentence: Callable[[int], str]
) -> None:
    """Raises `DataError` about the first decision that is wrong, if one is."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        more = f" ({len(rows)} such decisions)" if len(rows) > 1 else ""
        raise DataError(f"{where(int(rows[0]))}: {sentence(int(rows[0]))}{more}.")


def _n_actions(found: Mapping[str, Any], n_actions: int) -> int:
    """K: as given, or the width of the tables, or the largest action."""
    if n_actions:
        return check_whole("n_actions", n_actions)
    for name in ("action_mask", "probabilities"):
        if found[name] is not None:
            return int(found[name].shape[1])
    return max(int(found["action"].max()), 0) + 1


def _floats(
    name: str, value: ArrayLike, where: Callable[[int], str] = lambda i: f"decision {i}"
) -> Floats:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers, got {value!r:.60}.") from error
    if array.ndim == 0:
        raise DataError(f"{name} must be an array with an entry for each decision, got a number.")
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1) if array.size else np.zeros(0)
    refuse(np.asarray(bad, bool), where, lambda i: f"{name} holds NaN or infinity")
    return array


def _whole(name: str, value: ArrayLike, where: Callable[[int], str]) -> NDArray[np.int64]:
    array = _floats(name, value, where)
    if array.ndim != 1:
        raise DataError(f"{name} is one entry for each decision, got the shape {array.shape}.")
    refuse(
        array != np.floor(array),
        where,
        lambda i: f"the {name} is {array[i]:g}; it must be a whole number",
    )
    return array.astype(np.int64)


def _optional(value: Any, dtype: Any) -> Any:
    return None if value is None else np.array(value, dtype)


def _mask(value: Any, where: Callable[[int], str]) -> NDArray[np.bool_] | None:
    """Booleans of a mask; raises `DataError` where an entry is neither 0 nor 1."""
    if value is None:
        return None
    array = np.atleast_1d(value)
    wrong = ~np.isin(array, (0, 1))
    refuse(
        np.asarray(wrong.any(axis=tuple(range(1, wrong.ndim)))),
        where,
        lambda i: (
            f"action_mask holds {array[i][wrong[i]][0]}; it must be 1 where the action was "
            "allowed, else 0"
        ),
    )
    return array.astype(np.bool_)


def _check_shapes(found: Mapping[str, Any], size: int) -> None:
    for name, array in found.items():
        wanted = 2 if name in ("context", "action_mask", "probabilities") else 1
        if array is not None and (array.ndim != wanted or len(array) != size):
            form = f"[{size}]" if wanted == 1 else f"[{size}, columns]"
            raise DataError(
                f"{name} has the shape {array.shape}, and there are {size} actions: it must be "
                f"{form}."
            )


def _check_actions(found: Mapping[str, Any], n_actions: int, where: Callable[[int], str]) -> None:
    action, k = found["action"], _n_actions(found, n_actions)
    refuse(
        (action < 0) | (action >= k),
        where,
        lambda i: (
            f"there is no action {action[i]}; the {k} actions are the whole numbers from 0 to "
            f"{k - 1}"
        ),
    )
    occur = len(np.unique(action))
    told = n_actions or any(found[name] is not None for name in ("action_mask", "probabilities"))
    refuse(
        (action == k - 1) & (not told and 2 * occur < k),
        where,
        lambda i: (
            f"the action is {k - 1}, and of the {k} actions from 0 to it only {occur} occur; "
            "n_actions (--actions) tells how many there are"
        ),
    )


def _check_masks(found: Mapping[str, Any], where: Callable[[int], str]) -> None:
    mask, action = found["action_mask"], found["action"]
    k = {
        array.shape[1]
        for name in ("action_mask", "probabilities")
        if (array := found[name]) is not None
    }
    if len(k) > 1 or (k and int(action.max()) >= min(k)):
        raise DataError(
            f"action_mask and probabilities need a column for each action, got {sorted(k)} "
            f"columns, and the largest action is {int(action.max())}."
        )
    if mask is not None:
        refuse(
            ~mask[np.arange(len(action)), action],
            where,
            lambda i: f"the mask does not allow action {action[i]}, which was taken",
        )


def _check_probabilities(found: Mapping[str, Any], where: Callable[[int], str]) -> None:
    p, action = found["probabilities"], found["action"]
    if p is None:
        return
    off = (p < 0).any(axis=1) | (abs(p.sum(axis=1) - 1) > SUM_TOLERANCE)
    refuse(
        off,
        where,
        lambda i: (
            f"the probabilities of the actions sum to {p[i].sum():g}, with a smallest of "
            f"{p[i].min():g}; they must be at least 0 and sum to 1"
        ),
    )
    stated = p[np.arange(len(action)), action]
    refuse(
        abs(stated - found["propensity"]) > SUM_TOLERANCE,
        where,
        lambda i: (
            f"the propensity is {found['propensity'][i]:g}, but the probability of action "
            f"{action[i]} is {stated[i]:g}; they are the same number"
        ),
    )
