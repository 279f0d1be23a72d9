"""Passes over a set of examples: minibatches in a new order each time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contracts import Callback
from registry.errors import CheckpointError
from rlsuite_agents.loops import check_steps
from rlsuite_agents.parts.checkpoint import generator_state, restore_generator
from rlsuite_agents.parts.device import single_thread

__all__ = ["Epochs", "learn_examples"]


class Epochs:
    """Where a learner stands in its examples; each epoch is a permutation drawn with `rng`.

    Args:
        n: Examples.
        batch_size: Of a minibatch; the last one of an epoch may be smaller.
        rng: Draws one permutation an epoch.

    Attributes:
        number: Of the running epoch, from 0.
    """

    def __init__(self, n: int, batch_size: int, rng: np.random.Generator) -> None:
        self._n, self._batch_size, self._rng = n, batch_size, rng
        self.number, self._first, self._seen = 0, 0, 0
        self._shuffle()

    def take(self, budget: int) -> tuple[int, NDArray[np.int64] | None]:
        """Sees up to `budget` examples, at least 1; how many, and the minibatch if it is whole."""
        rows = self._order[self._first : self._first + self._batch_size]
        taken = min(budget, len(rows) - self._seen)
        self._seen += taken
        if self._seen < len(rows):
            return taken, None
        self._first, self._seen = self._first + len(rows), 0
        if self._first == self._n:
            self.number, self._first = self.number + 1, 0
            self._shuffle()
        return taken, rows

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "before": self._before,
            "number": self.number,
            "first": self._first,
            "seen": self._seen,
        }

    def restore(self, state: Any) -> None:
        """Goes on from a `state` of as many examples; raises `CheckpointError`."""
        try:
            number, first, seen = (int(state[name]) for name in ("number", "first", "seen"))
            restore_generator(self._rng, state["before"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("where the agent stood in its examples is damaged.") from error
        if not (0 <= number and 0 <= first < self._n and 0 <= seen < self._batch_size):
            raise CheckpointError(
                f"where the agent stood in its {self._n} examples is damaged: {first} and {seen}."
            )
        self._shuffle()
        self.number, self._first, self._seen = number, first, seen

    def _shuffle(self) -> None:
        self._before = generator_state(self._rng)
        self._order = self._rng.permutation(self._n)


def learn_examples(agent: Any, total_timesteps: int, callback: Callback | None = None) -> Any:
    """Sees `total_timesteps` further examples, exactly; may be called again.

    A gradient step is made when a minibatch was seen whole.

    Args:
        agent: whose method this is; offers `epochs` and `update(rows)`.
        total_timesteps: examples, at least 0.
        callback: called with the agent after each example; False stops.

    Raises:
        SettingError: the number is not whole or is negative.
        DivergenceError: the loss has no finite gradient any more.
    """
    budget = check_steps(total_timesteps)
    with single_thread():
        while budget:
            taken, rows = agent.epochs.take(1 if callback else budget)
            agent.num_timesteps += taken
            budget -= taken
            if rows is not None:
                agent.update(rows)
            if callback is not None and callback(agent) is False:
                break
    return agent
