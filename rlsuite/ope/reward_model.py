"""Predicted rewards q(x, a), always by a model that has not seen the decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError, did_you_mean
from registry.seeding import Stream, generator
from rlsuite.ope.log import BanditLog

__all__ = ["MODELS", "cross_fitted", "greedy", "make_model"]

Floats = NDArray[np.float64]

FEWEST = 5
"""Decisions with an action below which it is given the mean reward of all, not a model."""


def _ridge(seed: int) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(alpha=1.0))


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=100, min_samples_leaf=5, random_state=seed)


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=100, random_state=seed)


FOLDS = 1
"""Number of the folds' own stream, beside that of the resamples."""

MODELS: dict[str, Callable[[int], Any]] = {
    "ridge": _ridge,
    "forest": _forest,
    "boosting": _boosting,
}
"""Reward models by name: functions of a seed."""


def make_model(model: Any, seed: int) -> Any:
    """A scikit-learn regressor: `model` itself, or by its name in `MODELS`.

    Raises:
        SettingError: no such name, no regressor, or scikit-learn is not installed.
    """
    if not isinstance(model, str):
        if callable(getattr(model, "fit", None)) and callable(getattr(model, "predict", None)):
            return model
        raise SettingError(
            f"a reward model has fit(X, y) and predict(X), as scikit-learn's regressors do; got "
            f"{type(model).__name__}."
        )
    if model not in MODELS:
        raise SettingError(
            f"there is no reward model {model!r}.{did_you_mean(model, MODELS)} There are "
            f"{', '.join(MODELS)}."
        )
    _clone()  # whose sentence says what to install
    return MODELS[model](seed)


def cross_fitted(
    log: BanditLog,
    model: Any = "ridge",
    *,
    folds: int = 3,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> Floats:
    """q(x, a) [N, K], each row predicted by models that were fitted without its fold.

    One model for each action, of the contexts in which it was taken. An action with fewer than
    5 decisions in the other folds is given their mean reward, whatever the context.

    Args:
        log: the decisions.
        model: any scikit-learn regressor, or a name in `MODELS`.
        folds: how many, at least 2 and at most N; 3 is customary.
        seed: of the folds, and of the model if it draws.
        bounds: between which predictions are kept; default: the smallest and largest reward.

    Raises:
        SettingError: a number of folds outside of its range, or what `make_model` refuses.
    """
    whole = isinstance(folds, int | np.integer) and not isinstance(folds, bool)
    if not whole or not 2 <= folds <= len(log):
        raise SettingError(
            f"folds must be a whole number from 2 to the number of decisions, {len(log)}; got "
            f"{folds!r}."
        )
    regressor = make_model(model, seed)
    fold = generator(seed, Stream.BOOTSTRAP, FOLDS).permutation(len(log)) % folds
    q = np.empty((len(log), log.n_actions))
    for k in range(folds):
        inside = fold == k
        for a in range(log.n_actions):
            train = ~inside & (log.action == a)
            if train.sum() < FEWEST or not log.context.shape[1]:
                near = train if train.sum() >= FEWEST else ~inside
                q[inside, a] = log.reward[near].mean()
            else:
                q[inside, a] = _predicted(regressor, log, train, inside)
    low, high = bounds or (float(log.reward.min()), float(log.reward.max()))
    return np.clip(q, low, high)


def greedy(q: Floats, log: BanditLog) -> NDArray[np.int64]:
    """The allowed action with the largest predicted reward in each context, [N]."""
    return np.asarray(np.where(log.allowed, q, -np.inf).argmax(axis=1))


def _predicted(
    regressor: Any, log: BanditLog, train: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> Floats:
    """What a fresh model says of some decisions after it was fitted on others."""
    fresh = _clone()(regressor)
    fresh.fit(log.context[train], log.reward[train])
    return np.asarray(fresh.predict(log.context[inside]), np.float64)


def _clone() -> Callable[[Any], Any]:
    try:
        from sklearn.base import clone
    except ImportError as error:
        raise SettingError(
            "reward models need scikit-learn: install it with `pip install 'rlsuite[ope]'`, or ask "
            "for estimators without one: replay, ipw and snipw."
        ) from error
    found: Callable[[Any], Any] = clone
    return found
