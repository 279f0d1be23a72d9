"""What contextual bandit policies have in common: contexts, and a model that decides in them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from registry.bandit_models import BanditModel, ContextualModel
from registry.bandit_runs import BanditBlock
from registry.errors import InvalidObservationError
from rlsuite_agents.functional.exploration import greedy
from rlsuite_agents.parts.checkpoint import Checkpoint
from rlsuite_agents.parts.predict import mask_rows
from rlsuite_agents.parts.spaces import box_size

__all__ = ["Contextual", "warn_of_scales"]

Row = NDArray[np.float64]

LOOK = 100
"""After so many contexts the scales of their features are looked at, once."""

LARGEST, APART = 100.0, 1_000.0


class Contextual:
    """Lets a `BanditPolicy` see contexts; a policy derives from this and from `BanditPolicy`.

    The policy's `build()` returns a model with `choose(x, mask, rng)`, `update(x, arm, reward)`,
    `row(x, mask)` (the true chances [K]), `values(x)` (expected rewards [K]), `grow()`, which
    returns by how many numbers contexts are longer with the new arm, `arrays()` and
    `restore(checkpoint)`; x is a context, float64 [n_inputs].

    Attributes:
        model: What the policy knows.
        n_inputs: Numbers in a context.
    """

    n_arms: int
    env: Any
    config: Any
    pending: dict[int, tuple[int, Mapping[str, Any]]]
    _rows: dict[bytes | None, Row]
    _allowed: Callable[[Any], Any]
    build: Callable[[], Any]  # each policy's own: a model that knows nothing yet
    linear: ClassVar[bool] = True  # its model is a `LinearModel`: its runs are compiled

    def forget(self) -> None:
        """Starts over with other arms; what was decided about the old ones no longer counts."""
        self.n_inputs = box_size(
            self.env.observation_space, f"{type(self).__name__}'s observation space"
        )
        self.model = self.build()
        self.pending.clear()
        self._rows = {}
        self._squares, self._seen = np.zeros(self.n_inputs), 0

    def decide(self, observation: Any = None, mask: Any = None) -> tuple[int, int]:
        """A decision whose reward comes later: its number, for `feedback`, and the arm."""
        decision, arm = super().decide(observation, mask)  # type: ignore[misc]
        _, extras = self.pending[decision]
        self.pending[decision] = arm, {**extras, "context": self.context(observation).tolist()}
        return decision, arm

    def context(self, observation: Any) -> Row:
        """The observation as float64 [n_inputs].

        Raises:
            InvalidObservationError: it has another size, or holds NaN or infinity.
        """
        x = np.asarray(observation, np.float64).ravel()
        if x.size != self.n_inputs or not math.isfinite(x @ x):
            raise InvalidObservationError(
                f"a context is {self.n_inputs} finite numbers, got {observation!r:.120}."
            )
        return x

    def action_probabilities(
        self, observations: Any, *, deterministic: bool, mask: Any = None
    ) -> Row:
        """π(a|x): [B, A], the true chances of `act`; or 1 for the arm of the best expected reward.

        They are marginal: over whatever `act` draws.
        """
        masks = mask_rows(observations, mask)
        rows = [
            self._row(x, None if masks is None else self._allowed(masks[k]), deterministic)
            for k, x in enumerate(observations)
        ]
        return np.array(rows)

    def _choose(self, observation: Any, mask: Any, rng: np.random.Generator) -> int:
        return int(self.model.choose(self.context(observation), mask, rng))

    def _row(self, observation: Any, mask: Any, deterministic: bool) -> Row:
        x = self.context(observation)
        if deterministic:
            return np.eye(self.n_arms)[greedy(self.model.values(x), mask)]
        return np.array(self.model.row(x, mask), np.float64)

    def _learn(self, observation: Any, arm: Any, reward: float, extras: Mapping[str, Any]) -> None:
        seen = observation
        if seen is None:  # arms may have been added since, which have features of their own
            seen = [*extras["context"], *[0.0] * (self.n_inputs - len(extras["context"]))]
        super()._learn(seen, arm, reward, extras)  # type: ignore[misc]

    def _update(self, observation: Any, arm: int, reward: float) -> None:
        x = self.context(observation)
        self.model.update(x, arm, reward)
        if self._seen < LOOK:
            self._squares += x * x
            self._seen += 1
            if self._seen == LOOK:
                warn_of_scales(self._squares / LOOK, type(self).__name__)

    def _grow(self) -> None:
        self.n_arms += 1
        if more := self.model.grow():  # features that have not been looked at
            self.n_inputs += more
            self._squares, self._seen = np.zeros(self.n_inputs), 0

    def saved(self) -> dict[str, NDArray[Any]]:
        """What has been learned, as arrays by name."""
        seen = np.array(self._seen, np.int64)
        return {"scales.squares": self._squares, "scales.seen": seen, **self.model.arrays()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Fills in what `saved` gave."""
        self._squares = checkpoint.array("scales.squares", (self.n_inputs,))
        self._seen = int(checkpoint.array("scales.seen", (), np.int64))
        self.model.restore(checkpoint)

    @classmethod
    def run_contextual(
        cls,
        draw: Callable[[np.random.Generator], ContextualModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Many whole runs; see `registry.bandit_runs.RunsContextual`."""
        from rlsuite_agents.parts.contextual_runs import contextual_runs

        return contextual_runs(cls, draw, seed=seed, runs=runs, config=config, marks=marks)

    @classmethod
    def run_bandits(
        cls,
        models: BanditModel | Sequence[BanditModel],
        *,
        seed: int,
        runs: range,
        config: Any = None,
        marks: Sequence[int] | None = None,
    ) -> BanditBlock:
        """Many whole runs of arms without contexts, which is [1.0] then; see `RunsBandits`."""
        from rlsuite_agents.parts.contextual_runs import runs_without_contexts

        return runs_without_contexts(cls, models, seed=seed, runs=runs, config=config, marks=marks)


def warn_of_scales(mean_squares: Row, name: str) -> None:
    """Warns where features are large, or some of them a thousand times as large as others.

    `mean_squares`: of each feature, [n_inputs].
    """
    sizes = np.sqrt(mean_squares[mean_squares > 0.0])
    if sizes.size and (sizes.max() > LARGEST or sizes.max() > APART * sizes.min()):
        warnings.warn(
            f"{name}: the features of the contexts have sizes (root mean squares) from "
            f"{sizes.min():.3g} to {sizes.max():.3g}; the prior treats all alike, so bring them "
            "to about 1, for example with gymnasium.wrappers.TransformObservation.",
            stacklevel=2,
        )
