"""A random walk between two ends: a task of prediction. S&B 2nd ed., Examples 6.2 and 7.1."""

from __future__ import annotations

import numpy as np

from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.grid import Scene
from rlsuite_envs.rendering.tabular import digit_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["RandomWalk"]


class RandomWalk(TabularEnv):
    """Start in the middle of a row of states; every step goes left or right, a half each.

    There is one action, which does nothing: a Markov reward process, whose state values are to be
    predicted. Stepping off the row ends the episode and pays `left_reward` or `right_reward`; all
    other steps pay 0. The value of the i-th of n states is

        v(i) = left_reward + (right_reward - left_reward) i / (n + 1).

    The observation is 1 to n, from the left; 0 and n + 1 are the two ends.

    Each reset draws one uniform (the start is certain, and it is drawn all the same), each step
    draws one: left below a half. `info` holds `prob`, the probability of what was drawn.

    Args:
        states: n, at least 1. The start is the middle one, the left one of two.
        left_reward: What the step off the left end pays; 0 in Example 6.2, -1 in Example 7.1.
        right_reward: What the step off the right end pays.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        *,
        states: int = 19,
        left_reward: float = -1.0,
        right_reward: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        number = "a finite number"
        mdp = _mdp(
            check_count("states", states),
            check_real("left_reward", left_reward, number, -np.inf, np.inf),
            check_real("right_reward", right_reward, number, -np.inf, np.inf),
        )
        super().__init__(mdp, id="rlsuite/RandomWalk-v0", render_mode=render_mode)

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who watches: 0 is a step."""
        return digit_keys(self._n_actions)

    def scene(self) -> Scene:
        """A row of cells: the left end is striped, the right end has a flag."""
        columns = self._mdp.n_states
        return Scene(
            rows=1,
            columns=columns,
            starts=frozenset(np.flatnonzero(self._mdp.start).tolist()),
            goals=frozenset({columns - 1}),
            cliff=frozenset({0}),
        )


def _mdp(n: int, left_reward: float, right_reward: float) -> TabularMDP:
    state = np.arange(n + 2)
    next_state = np.stack([state - 1, state + 1], axis=-1).clip(0, n + 1)[:, None]
    left, right = next_state == 0, next_state == n + 1
    return absorbing_mdp(
        next_state=next_state,
        probability=np.full(next_state.shape, 0.5),
        reward=np.where(left, left_reward, np.where(right, right_reward, 0.0)),
        terminal=left | right,
        start=(n + 1) // 2,
        absorbing=frozenset({0, n + 1}),
    )
