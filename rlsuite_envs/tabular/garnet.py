"""Random MDPs: as many different tables as there are seeds. Archibald et al. 1995."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from rlsuite_envs.checks import check_count, check_real
from rlsuite_envs.rendering.grid import Scene, tiles
from rlsuite_envs.rendering.tabular import digit_keys
from rlsuite_envs.tabular.env import TabularEnv
from rlsuite_envs.tabular.layouts import absorbing_mdp
from rlsuite_envs.tabular.mdp import TabularMDP

__all__ = ["Garnet"]


class Garnet(TabularEnv):
    """A random MDP: each action of each state leads to a few states drawn from `mdp_seed`.

    The table is frozen: the same keywords give the same MDP in every episode and process. It is
    drawn from `np.random.default_rng(mdp_seed)`, uniforms alone, in this order:

    1. [S, A, b]: b different successors of each pair, each one uniform among those left.
    2. [S, A, b - 1]: cut points of [0, 1]; the b pieces are the probabilities.
    3. [S, A]: the reward of the pair, 2u - 1 for a uniform u.
    4. [S, A]: the pair pays that reward where this uniform is below `reward_density`, else 0.
    5. [S, A], unless `ending` is 0: the pair ends the episode with probability 2 u `ending`.

    An episode starts in one of the S states, each as likely. State S is where it ends; nobody acts
    there. With `ending=0` there is no such state, and the task goes on until its time limit.

    Each reset and each step draws one uniform. `info` holds `prob`, the probability of what was
    drawn.

    Args:
        states: S, at least 1.
        actions: A, at least 1.
        branching: b, from 1 to S.
        mdp_seed: Seed of the table, at least 0.
        reward_density: Share in [0, 1] of the pairs that pay.
        ending: Mean probability in [0, 0.5] that a step ends the episode; 0 is a continuing task.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        *,
        states: int = 20,
        actions: int = 4,
        branching: int = 3,
        mdp_seed: int = 0,
        reward_density: float = 1.0,
        ending: float = 0.05,
        render_mode: str | None = None,
    ) -> None:
        states, actions = check_count("states", states), check_count("actions", actions)
        branching = check_count("branching", branching)
        if branching > states:
            raise SettingError(
                f"branching counts different successors, so at most the {states} states there are; "
                f"got {branching}."
            )
        rng = np.random.default_rng(check_count("mdp_seed", mdp_seed, low=0))
        mdp = _mdp(
            rng,
            (states, actions, branching),
            check_real("reward_density", reward_density, "a share in [0, 1]", 0.0, 1.0),
            check_real("ending", ending, "a probability in [0, 0.5]", 0.0, 0.5),
        )
        super().__init__(mdp, id="rlsuite/Garnet-v0", render_mode=render_mode)
        self._ends = frozenset(range(states, mdp.n_states))

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the digit of an action, for the first ten."""
        return digit_keys(self._n_actions)

    def scene(self) -> Scene:
        """The states as numbered tiles; the one where the episode has ended has a flag."""
        return tiles(self._mdp.n_states, goals=self._ends)


def _mdp(
    rng: np.random.Generator, shape: tuple[int, int, int], reward_density: float, ending: float
) -> TabularMDP:
    states, actions, branching = shape
    next_state = _different(rng.random(shape), states)
    cuts = np.sort(rng.random((states, actions, branching - 1)), axis=-1)
    probability = np.diff(cuts, axis=-1, prepend=0.0, append=1.0)
    reward = 2.0 * rng.random((states, actions, 1)) - 1.0
    reward[rng.random((states, actions)) >= reward_density] = 0.0
    start = np.full(states, 1.0 / states)
    if ending == 0.0:
        return TabularMDP(
            next_state=next_state,
            probability=probability,
            reward=np.broadcast_to(reward, shape),
            terminal=np.zeros(shape, bool),
            start=start,
        )
    ends = 2.0 * ending * rng.random((states, actions, 1))
    next_state = _one_more_state(next_state, np.full_like(next_state[..., :1], states))
    return absorbing_mdp(
        next_state=next_state,
        probability=_one_more_state((1.0 - ends) * probability, ends),
        reward=_one_more_state(np.broadcast_to(reward, shape), reward),
        terminal=next_state == states,
        start=np.append(start, 0.0),
        absorbing=frozenset({states}),
    )


def _different(u: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Different numbers below n along the last axis, from uniforms: each among those left."""
    chosen = np.empty(u.shape, np.int64)
    for j in range(u.shape[-1]):
        drawn = (u[..., j] * (n - j)).astype(np.int64)
        # the drawn-th of the numbers left: step over those taken, from the smallest on
        for taken in np.moveaxis(np.sort(chosen[..., :j], axis=-1), -1, 0):
            drawn += drawn >= taken
        chosen[..., j] = drawn
    return chosen


def _one_more_state(outcomes: NDArray[Any], last: NDArray[Any]) -> NDArray[Any]:
    """[S, A, b] with one more outcome for each pair, and one more state, which is like the last."""
    return np.pad(np.concatenate([outcomes, last], axis=-1), ((0, 1), (0, 0), (0, 0)), "edge")
