"""One environment for every table: it draws what the model says."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete, Space

from registry.errors import InvalidActionError, OracleError, SettingError
from rlsuite_envs.checks import check_count, check_state, generator_from
from rlsuite_envs.rendering import grid
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.display import display_for, render, render_metadata
from rlsuite_envs.rendering.tabular import checked_overlay
from rlsuite_envs.tabular.mdp import TabularMDP
from rlsuite_envs.tabular.oracle import TabularOracle

__all__ = ["ObservationForm", "StateNumbers", "TabularEnv"]

Outcome = tuple[float, int, float, bool, float]
"""Cumulative probability up to and with this outcome, next state, reward, terminal, probability."""


class ObservationForm(Protocol):
    """How a state is shown to the agent."""

    space: Space[Any]

    def one(self, state: int) -> Any:
        """The observation of a state, a fresh object at each call."""
        ...

    def every(self) -> Any:
        """The observations of all states as one batch."""
        ...


class StateNumbers:
    """A state is shown as its number."""

    def __init__(self, n_states: int) -> None:
        self.space: Space[Any] = Discrete(n_states)
        self._n_states = n_states

    def one(self, state: int) -> int:
        """The number itself."""
        return state

    def every(self) -> Any:
        """0 to S - 1, int64 [S]."""
        return np.arange(self._n_states)


class TabularEnv(gym.Env[Any, np.int64]):
    """A finite MDP as an environment.

    Each reset draws one uniform for the state, each step one for the outcome, where there is only
    one possibility too. The first state (or outcome) whose cumulative probability is larger than
    the uniform is taken. The model knows no time limit; wrap the environment for one.

    `info` holds `prob`, a float: the probability of the state or outcome that was drawn.

    Args:
        mdp: The dynamics and the start distribution.
        form: How states are shown; their numbers, `Discrete(S)`, if None.
        id: The id whose registered time limit `oracle()` means, for an environment that was not
            made by `gymnasium.make`.
        render_mode: None, `"human"` (a window), `"rgb_array"` or `"ansi"`: the states as numbered
            tiles, where a subclass has nothing better to show.

    Raises:
        SettingError: there is no such render mode.
    """

    metadata: dict[str, Any] = render_metadata(fps=6)

    def __init__(
        self,
        mdp: TabularMDP,
        *,
        form: ObservationForm | None = None,
        id: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._display = display_for(self, render_mode)
        self._overlay = grid.Overlay()
        self._form = StateNumbers(mdp.n_states) if form is None else form
        self._id = id
        self.observation_space = self._form.space
        self.action_space = Discrete(mdp.n_actions)
        self._n_actions = mdp.n_actions
        self._state: int | None = None
        self._t = 0
        self._use(mdp)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Draws a state from the start distribution. There are no options."""
        super().reset(seed=seed)
        u = self.np_random.random()
        for drawn in self._starts:
            if u < drawn[0]:
                break
        _, state, probability = drawn
        self._state, self._t = state, 0
        if self._display is not None:
            self._display.show()
        return self._form.one(state), {"prob": probability}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Draws an outcome of the action.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: there is no state before the first reset.
        """
        # a plain int is told apart first: the full test costs as much as the rest of the step
        if type(action) is not int or not 0 <= action < self._n_actions:
            action = self._checked(action)
        s = self._state
        if s is None:
            raise ResetNeeded("there is no state before the first reset: call reset() first.")
        outcomes = self._outcomes[s] or self._outcomes_of(s)
        u = self.np_random.random()
        for drawn in outcomes[action]:
            if u < drawn[0]:
                break
        _, state, reward, terminated, probability = drawn
        self._state = state
        self._t += 1
        if self._display is not None:
            self._display.show()
        return self._form.one(state), reward, terminated, False, {"prob": probability}

    def render(self) -> Any:
        """The present state: pixels uint8 [height, width, 3], a text, or None after showing it."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def overlay(self, values: Any = None, policy: Any = None) -> None:
        """What is drawn over the cells from now on; without arguments nothing.

        Args:
            values: A number for each state, [S]: a heat map. NaN leaves a cell as it is.
            policy: Probabilities [S, A], or an action for each state [S]: arrows. Only where
                states are places of a grid.

        Raises:
            SettingError: they are no such arrays, or there is no grid for arrows.
        """
        shape = (self._mdp.n_states, self._mdp.n_actions)
        self._overlay = checked_overlay(values, policy, shape, places=self.is_grid)

    @property
    def model(self) -> TabularMDP:
        """The dynamics, without the time limit."""
        return self._mdp

    @property
    def follows_model(self) -> bool:
        """Whether a compiled loop may step it: states are shown as numbers, and nothing is drawn.

        False in a subclass with a `reset` or `step` of its own, unless it says otherwise.
        """
        kind = type(self)
        plain = kind.reset is TabularEnv.reset and kind.step is TabularEnv.step
        return plain and self._is_bare

    @property
    def _is_bare(self) -> bool:
        return isinstance(self._form, StateNumbers) and self._display is None

    @property
    def table(self) -> TabularMDP:
        """What is drawn from now: the `model`, or its like before the first layout is drawn."""
        return self._mdp

    @property
    def form(self) -> ObservationForm:
        """How states are shown."""
        return self._form

    def oracle(
        self, horizon: int | None = None, gamma: float = 1.0, *, limit: bool = True
    ) -> TabularOracle:
        """The answer key, with `observations()` in this environment's form.

        Args:
            horizon: The time limit, such as `env.spec.max_episode_steps` of the wrapped
                environment. None: the limit registered for the id, or none where none is.
            gamma: γ in [0, 1]. Returns are undiscounted sums unless it is below 1.
            limit: False for the task without a time limit.

        Raises:
            OracleError: the id is not registered, so that its limit is not known.
            SettingError: `horizon` or `gamma` is outside its range, or a horizon is given although
                there is to be no limit.
        """
        if not limit and horizon is not None:
            raise SettingError(f"give horizon or limit=False, not both; got horizon={horizon!r}.")
        if limit and horizon is None:
            horizon = self._registered_limit()
        mdp = self.model
        return TabularOracle(
            model=mdp.merged(), horizon=horizon, gamma=gamma, encode=self._form.every, mask=mdp.mask
        )

    def get_state(self) -> dict[str, Any]:
        """Generator, clock and state, as JSON can hold them."""
        return {"rng": self.np_random.bit_generator.state, "t": self._t, "state": self._state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or it is one of another model.
        """
        name = type(self).__name__
        check_state(name, state, ("rng", "t", "state"))
        t = check_count(f"{name}.set_state: 't'", state["t"], low=0)
        s = state["state"]
        if s is not None:
            s = check_count(f"{name}.set_state: 'state'", s, low=0)
            if s >= self._mdp.n_states:
                raise SettingError(
                    f"{name}.set_state: 'state' must be less than the number of states, "
                    f"{self._mdp.n_states}, or None before the first reset; got {s!r}."
                )
        self.np_random = generator_from(name, state["rng"])
        self._t, self._state = t, s

    is_grid = False
    """Whether states are the cells of a grid and actions 0 up, 1 right, 2 down, 3 left."""

    def scene(self) -> grid.Scene:
        """What the state is drawn in: here, numbered tiles."""
        starts = frozenset(np.flatnonzero(self._mdp.start).tolist())
        return grid.tiles(self._mdp.n_states, starts)

    def _frame(self) -> Frame:
        return grid.frame(self.scene(), self._state, f"step {self._t}", self._overlay)

    def _text(self) -> str:
        return grid.text(self.scene(), self._state, f"step {self._t}", self._overlay)

    def _use(self, mdp: TabularMDP) -> None:
        """Draws from this model from now on. Its rows are turned into lists when they are met."""
        self._mdp = mdp
        self._outcomes: list[list[list[Outcome]]] = [[] for _ in range(mdp.n_states)]
        states = np.flatnonzero(mdp.start)
        below = np.cumsum(mdp.start[states])
        below[-1] = 1.0
        self._starts = list(
            zip(below.tolist(), states.tolist(), mdp.start[states].tolist(), strict=True)
        )

    def _outcomes_of(self, s: int) -> list[list[Outcome]]:
        """The possible outcomes of every action in state s, in the order of the model."""
        mdp, rows = self._mdp, []
        for a in range(mdp.n_actions):
            k = np.flatnonzero(mdp.probability[s, a])
            below = np.cumsum(mdp.probability[s, a, k])
            # rounding may leave the sum short of 1, and then a uniform above it would find nothing
            below[-1] = 1.0
            columns = (mdp.next_state, mdp.reward, mdp.terminal, mdp.probability)
            lists = [column[s, a, k].tolist() for column in columns]
            rows.append(list(zip(below.tolist(), *lists, strict=True)))
        self._outcomes[s] = rows
        return rows

    def _checked(self, action: Any) -> Any:
        """The action as an int; whole numbers of NumPy and arrays of shape () are let in."""
        array = isinstance(action, np.ndarray) and action.shape == () and action.dtype.kind in "iu"
        if (array or isinstance(action, int | np.integer)) and 0 <= action < self._n_actions:
            return int(action)
        raise InvalidActionError(
            f"action {action!r} is not in the action space: it must be a whole number from 0 to "
            f"{self._n_actions - 1}."
        )

    def _registered_limit(self) -> int | None:
        # `self.spec` is told of no limit by gymnasium.make, so the registry is asked
        identifier = self._id if self.spec is None else self.spec.id
        if identifier is None:
            return None
        if identifier not in gym.registry:
            raise OracleError(
                f"the time limit of {identifier!r} is not known: no such id is registered here. "
                "Import rlsuite, or give horizon or limit=False."
            )
        return gym.registry[identifier].max_episode_steps
