"""The drifting bandit: arms that pay 0 or 1, whose means change with the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel
from registry.errors import SettingError
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.bernoulli import DEFAULT_MEANS
from rlsuite_envs.bandits.worlds import ChangingArms
from rlsuite_envs.checks import check_count
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["DriftingBandit", "drifting_means"]

DEFAULT_ROWS = (DEFAULT_MEANS, DEFAULT_MEANS[::-1])

Drift = Literal["abrupt", "gradual"]


class DriftingBandit(Bandit):
    """Arms that pay 1 with a probability that changes, abruptly or gradually, else 0.

    What arms pay follows `means`, a row of probabilities after the other. Abrupt: a row holds until
    the next one takes over, as in the switching bandits of Garivier & Moulines (2011). Gradual: the
    first row holds at the first step, and between two rows the means move on straight lines.

    The observation is always `[1.0]`, float32. An episode has `horizon` steps and is then
    truncated; it never terminates. Every step draws one uniform u, and the reward is 1 where u is
    less than the mean of the arm at this step. A reset draws nothing, and sets the clock back.

    The `info` of a step holds `regret` (the best mean at this step minus that of the arm, a float),
    `expected_reward` (a float) and `optimal_action` (the best arm at this step, the first of
    several, an int). The `info` of a reset is empty.

    Args:
        means: At least two rows of probabilities, each with one for each arm. The default is
            (0.1, 0.3, 0.5, 0.7, 0.9), then the same in reverse.
        drift: `"abrupt"` or `"gradual"`.
        changes: The steps, counted from 0, at which the second row and those after it hold; rising,
            from 1 to `horizon` - 1. None spaces them evenly: with S rows, abrupt, row s holds from
            step floor(s horizon / S); gradual, it is reached at floor(s (horizon - 1) / (S - 1)).
        horizon: Steps of an episode, at least the number of rows.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        means: Sequence[Sequence[float]] | None = None,
        *,
        drift: Drift = "abrupt",
        changes: Sequence[int] | None = None,
        horizon: int = 1000,
        render_mode: str | None = None,
    ) -> None:
        if drift not in ("abrupt", "gradual"):
            raise SettingError(f"drift must be 'abrupt' or 'gradual', got {drift!r}.")
        horizon = check_count("horizon", horizon)
        rows = _check_rows(DEFAULT_ROWS if means is None else means)
        steps = _check_changes(changes, len(rows), horizon, drift)
        table = drifting_means(rows, steps, horizon, drift)
        self._model = BanditModel(
            kind="bernoulli", means=table, sd=np.zeros(table.shape[1]), horizon=horizon
        )
        bounds = Bounds(low=0.0, high=1.0, binary=True)
        world = ChangingArms(self._model)
        super().__init__(world, horizon=horizon, render_mode=render_mode, bounds=bounds)

    def bandit_model(self, rng: np.random.Generator) -> BanditModel:
        """The table of means; nothing is drawn. See `registry.bandit_models`."""
        return self._model


def drifting_means(
    rows: NDArray[np.float64], steps: Sequence[int], horizon: int, drift: Drift
) -> NDArray[np.float64]:
    """The mean of each arm at each step, shape [horizon, K].

    Args:
        rows: Shape [S, K].
        steps: From where on each row holds, or when it is reached: S rising numbers, the first 0.
        horizon: Number of steps.
        drift: `"abrupt"` or `"gradual"`.
    """
    clock = np.arange(horizon)
    if drift == "abrupt":
        return rows[np.searchsorted(steps, clock, side="right") - 1]
    return np.stack([np.interp(clock, steps, column) for column in rows.T], axis=1)


def _check_rows(means: object) -> NDArray[np.float64]:
    """The rows as an array; raises `SettingError` unless they are at least two of probabilities."""
    wanted = "at least two rows of probabilities in [0, 1], with one for each arm"
    try:
        rows = np.array(means, np.float64)
    except (TypeError, ValueError):
        rows = np.empty(0)
    # written so that NaN is refused as well
    if (
        rows.ndim != 2
        or len(rows) < 2
        or rows.shape[1] < 1
        or not ((rows >= 0) & (rows <= 1)).all()
    ):
        raise SettingError(f"means must be {wanted}, got {means!r:.200}.")
    return rows


def _check_changes(changes: object, n_rows: int, horizon: int, drift: Drift) -> list[int]:
    """When each row holds, the first one at 0."""
    if horizon < n_rows:
        raise SettingError(
            f"horizon must be at least {n_rows}, a step for each row of means; got {horizon}."
        )
    if changes is None:
        if drift == "abrupt":
            return [s * horizon // n_rows for s in range(n_rows)]
        return [s * (horizon - 1) // (n_rows - 1) for s in range(n_rows)]
    if isinstance(changes, str) or not isinstance(changes, Sequence | np.ndarray):
        raise SettingError(f"changes must be a sequence of steps, got {changes!r}.")
    steps = [0, *(check_count("changes", step) for step in changes)]
    rising = all(a < b for a, b in zip(steps, [*steps[1:], horizon], strict=True))
    if len(steps) != n_rows or not rising:
        raise SettingError(
            f"changes must be {n_rows - 1} rising steps from 1 to {horizon - 1}, one for each row "
            f"of means but the first; got {list(changes)!r}."
        )
    return steps
