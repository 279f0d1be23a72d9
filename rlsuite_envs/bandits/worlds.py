"""Worlds without contexts: arms that stay as they are, and arms that follow a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, arm_reward
from registry.errors import OracleError, SettingError
from rlsuite_envs.bandits.oracle import BanditOracle
from rlsuite_envs.checks import check_real

__all__ = ["Arms", "ChangingArms", "Means", "Redraw", "check_means", "check_redraw"]

Means = tuple[float, ...]
Redraw = Literal["seed", "episode"]

MEANINGLESS = Box(0.0, 1.0, (1,), np.float32)
"""Where there is nothing to see, the observation is always [1.0]."""


class Arms:
    """Arms with fixed means, given or drawn at resets.

    Args:
        build: The model of arms with these means.
        check: Means read from a state, checked; called as `check(setting, means)`.
        n_arms: Number of arms.
        means: Means that are given; None where they are drawn.
        draw: Draws the means; None where they are given.
        redraw: `"seed"` or `"episode"`.
    """

    observation_space = MEANINGLESS

    def __init__(
        self,
        build: Callable[[Means], BanditModel],
        check: Callable[[str, object], Means],
        *,
        n_arms: int,
        means: Means | None,
        draw: Callable[[np.random.Generator], Means] | None,
        redraw: Redraw,
    ) -> None:
        self.n_arms, self.draw, self.redraw = n_arms, draw, redraw
        self._build, self._check = build, check
        example = build((0.0,) * n_arms)
        self.binary, self.sd = example.binary, example.sd.tolist()
        self.restore(means)

    def begin(self, rng: np.random.Generator, seeded: bool) -> dict[str, Any]:
        """Draws the arms where it is time; the info then says whether it was."""
        if self.draw is None:
            return {}
        fresh = self.means is None or seeded or self.redraw == "episode"
        if fresh:
            self.restore(self.draw(rng))
        return {"new_instance": fresh}

    def payoffs(self, t: int) -> tuple[Means, int]:
        """The means and the best arm, the first of several."""
        if self.means is None:
            raise ResetNeeded("the arms are drawn at the first reset: call reset() before step().")
        return self.means, self.best

    def reward(self, arm: int, mean: float, rng: np.random.Generator) -> float:
        """One uniform, through the inverse distribution of the arm."""
        return arm_reward(self.binary, mean, self.sd[arm], rng.random())

    def move(self, rng: np.random.Generator) -> None:
        """Nothing changes."""

    def observation(self) -> NDArray[np.float32]:
        """[1.0]."""
        return np.ones(1, np.float32)

    def features(self) -> None:
        """None: there is no context."""

    def known(self) -> bool:
        """Whether the arms have been drawn."""
        return self.means is not None

    def model(self, rng: np.random.Generator) -> BanditModel:
        """An instance, drawn as a seeded reset draws it."""
        if self.draw is not None:
            return self._build(self.draw(rng))
        return self._build(self.payoffs(0)[0])

    def oracle(self, horizon: int) -> BanditOracle:
        """Exact for the present arms."""
        if self.means is None:
            raise OracleError(
                "the arms are drawn at the first reset, so there is no answer key before it: call "
                "reset(seed=...) first."
            )
        model = self._build(self.means)
        return BanditOracle(
            means=model.means,
            probabilities=np.ones(1),
            contexts=self.observation()[None],
            horizon=horizon,
            lai_robbins=model.lai_robbins,
            scope="task" if self.draw is None else "instance",
        )

    def state(self) -> dict[str, Any]:
        """The means."""
        return {"means": None if self.means is None else list(self.means)}

    def checked(self, name: str, state: Any) -> Means | None:
        """Means of as many arms, or None."""
        means = state["means"]
        if means is None:
            return None
        checked = self._check(f"{name}: 'means'", means)
        if len(checked) != self.n_arms:
            raise SettingError(
                f"{name}: the state has {len(checked)} arms, this environment has {self.n_arms}."
            )
        return checked

    def restore(self, checked: Means | None) -> None:
        """These arms from now on."""
        self.means = checked
        self.best = -1 if checked is None else checked.index(max(checked))


class ChangingArms:
    """Arms whose means follow a table with a row for each step; the last row holds beyond it.

    Args:
        model: The table.
        one_arm: Whether regret is measured against one arm throughout.
    """

    observation_space = MEANINGLESS

    def __init__(self, model: BanditModel, *, one_arm: bool = False) -> None:
        assert model.best is not None
        self.n_arms, self.table, self.one_arm = model.n_arms, model, one_arm
        self._rows, self._best = model.means.tolist(), model.best.tolist()

    def begin(self, rng: np.random.Generator, seeded: bool) -> dict[str, Any]:
        """Draws nothing."""
        return {}

    def payoffs(self, t: int) -> tuple[Sequence[float], int]:
        """The row of step t."""
        row = min(t, len(self._rows) - 1)
        return self._rows[row], self._best[row]

    def reward(self, arm: int, mean: float, rng: np.random.Generator) -> float:
        """The mean itself, or 0 or 1 by one uniform."""
        return arm_reward(True, mean, 0.0, rng.random()) if self.table.binary else mean

    def move(self, rng: np.random.Generator) -> None:
        """The clock moves by itself."""

    def observation(self) -> NDArray[np.float32]:
        """[1.0]."""
        return np.ones(1, np.float32)

    def features(self) -> None:
        """None: there is no context."""

    def known(self) -> bool:
        """True."""
        return True

    def oracle(self, horizon: int) -> BanditOracle:
        """Exact, of the first `horizon` rows."""
        means = self.table.means[:horizon]
        return BanditOracle(
            means=means[:, None].copy(),
            probabilities=np.ones(1),
            contexts=self.observation()[None],
            horizon=horizon,
            against=int(means.sum(axis=0).argmax()) if self.one_arm else None,
        )

    def state(self) -> dict[str, Any]:
        """Nothing but clock and generator."""
        return {}

    def checked(self, name: str, state: Any) -> None:
        """Nothing to check."""

    def restore(self, checked: None) -> None:
        """Nothing to restore."""


def check_redraw(redraw: object) -> Redraw:
    """When arms are drawn; raises `SettingError` unless it is `"seed"` or `"episode"`."""
    if redraw not in ("seed", "episode"):
        raise SettingError(f"redraw must be 'seed' or 'episode', got {redraw!r}.")
    return redraw


def check_means(setting: str, means: object, what: str, low: float, high: float) -> Means:
    """The means as floats.

    Raises:
        SettingError: they are not at least one finite number in [low, high]; `what` describes it.
    """
    wanted = f"a sequence of at least one {what}"
    if isinstance(means, str) or not isinstance(means, Sequence | np.ndarray) or len(means) == 0:
        raise SettingError(f"{setting} must be {wanted}, got {means!r}.")
    return tuple(check_real(setting, mean, wanted, low, high) for mean in means)
