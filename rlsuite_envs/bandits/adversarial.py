"""The adversarial bandit: all rewards are written down before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel
from registry.errors import SettingError
from rlsuite_envs.bandits.base import Bandit
from rlsuite_envs.bandits.worlds import ChangingArms
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.arms import Bounds

__all__ = ["AdversarialBandit", "phased_rewards"]

N_ARMS, GAP, HORIZON = 5, 0.1, 1000
GROWTH = 1.6


class AdversarialBandit(Bandit):
    """Rewards in [0, 1] that an oblivious adversary has fixed beforehand (Auer et al. 2002).

    Row t of a table tells what each arm pays at step t. Nothing is drawn, at resets or at steps:
    whoever is to do well against every table must draw by himself. Without `rewards`, the table is
    the stochastically constrained adversary of `phased_rewards`.

    Regret is measured against the arm whose column has the largest sum, the best fixed arm in
    hindsight, at every step; so the regret of one step may be negative, and only sums tell.

    The observation is always `[1.0]`, float32. An episode has `horizon` steps and is then
    truncated; it never terminates. The `info` of a step holds `regret` (the reward of that arm
    minus the one received, a float), `expected_reward` (the reward, a float) and `optimal_action`
    (that arm, the first of several, an int). The `info` of a reset is empty.

    Args:
        rewards: The table, [T, A], numbers in [0, 1]; None for `phased_rewards`.
        n_arms: Arms of `phased_rewards`, at least 2; 5 unless given. Not together with `rewards`.
        gap: How much better arm 0 is there, in (0, 1]; 0.1 unless given. Not together with
            `rewards`.
        table_seed: Seed of `phased_rewards`; 0 unless given. Not together with `rewards`.
        horizon: Steps of an episode, at least 1; at most T. None: T, or 1000 without `rewards`.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or does not go with the others.
    """

    compares_with_one_arm = True
    """The regret of a single step may be negative; the conformance kit is told so."""

    def __init__(
        self,
        rewards: Sequence[Sequence[float]] | NDArray[np.floating] | None = None,
        *,
        n_arms: int | None = None,
        gap: float | None = None,
        table_seed: int | None = None,
        horizon: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        steps = None if horizon is None else check_count("horizon", horizon)
        if rewards is None:
            table = phased_rewards(
                HORIZON if steps is None else steps,
                N_ARMS if n_arms is None else n_arms,
                GAP if gap is None else gap,
                0 if table_seed is None else table_seed,
            )
        else:
            _check_given(n_arms=n_arms, gap=gap, table_seed=table_seed)
            table = _check_table(rewards, steps)[:steps]
        best = int(table.sum(axis=0).argmax())
        self._model = BanditModel(
            kind="table",
            means=table,
            sd=np.zeros(table.shape[1]),
            horizon=len(table),
            best=np.full(len(table), best),
        )
        world = ChangingArms(self._model, one_arm=True)
        bounds = Bounds(low=0.0, high=1.0, binary=False)
        super().__init__(world, horizon=len(table), render_mode=render_mode, bounds=bounds)

    def bandit_model(self, rng: np.random.Generator) -> BanditModel:
        """The table; nothing is drawn. See `registry.bandit_models`."""
        return self._model


def phased_rewards(horizon: int, n_arms: int, gap: float, seed: int) -> NDArray[np.float64]:
    """Rewards of 0 and 1 from a stochastically constrained adversary, [horizon, n_arms].

    The level of all arms jumps, but arm 0 is better by `gap` at every step: its mean is m + gap,
    that of the others m, where m is (1 - gap) / 8 in phases of even number (the first is 0) and
    7 (1 - gap) / 8 in the others. Phase k has floor(1.6^k) steps. Whoever compares sample means
    from unequal times is misled. After the experiments of Zimmert & Seldin (2021).

    Args:
        horizon: Number of rows, at least 1.
        n_arms: Number of arms, at least 2.
        gap: In (0, 1].
        seed: Of the uniforms, one `random()` from `np.random.default_rng(seed)` for each entry, row
            by row.

    Raises:
        SettingError: a number is outside its range.
    """
    steps, arms = check_count("horizon", horizon), check_count("n_arms", n_arms, low=2)
    between = "a number above 0 and at most 1"
    better = check_real("gap", gap, between, 0.0, 1.0)
    if better == 0.0:
        raise SettingError(f"gap must be {between}, got {gap!r}.")
    high: list[bool] = []
    k = 0
    while len(high) < steps:
        high += [k % 2 == 1] * int(GROWTH**k)
        k += 1
    level = np.where(high[:steps], 7.0, 1.0) * (1.0 - better) / 8.0
    means = level[:, None] + better * (np.arange(arms) == 0)
    rng = np.random.default_rng(check_count("table_seed", seed, low=0))
    return (rng.random((steps, arms)) < means).astype(np.float64)


def _check_given(**settings: Any) -> None:
    for name, value in settings.items():
        if value is not None:
            raise SettingError(
                f"{name}={value!r} is for the table that is drawn: it does not go with rewards, "
                "which gives one."
            )


def _check_table(rewards: object, horizon: int | None) -> NDArray[np.float64]:
    """The table as an array; raises `SettingError` unless it is [T, A] in [0, 1], T enough."""
    try:
        table = np.array(rewards, np.float64)
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != 2 or 0 in table.shape:
        raise SettingError(
            "rewards must be a table of numbers in [0, 1] with a row for each step and a column "
            f"for each arm, got {rewards!r:.200}."
        )
    outside = np.argwhere(~((table >= 0.0) & (table <= 1.0)))  # NaN is found as well
    if len(outside):
        t, a = outside[0].tolist()
        raise SettingError(
            f"rewards must be in [0, 1], but step {t} pays {table[t, a]} for arm {a}"
            f"{f', and {len(outside) - 1} more are outside' if len(outside) > 1 else ''}."
        )
    if horizon is not None and horizon > len(table):
        raise SettingError(
            f"horizon must be at most {len(table)}, the number of rows of rewards; got {horizon}."
        )
    return table
