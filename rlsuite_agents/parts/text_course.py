"""Where an agent gets its texts: batches written by its policy, whose tokens are the steps.

The task writes a whole batch at once. Its tokens are then counted one after the other, text by
text, so that `learn(n)` takes n steps wherever that cuts a batch; the rest is counted by the next
call. Where a wrapper may change what a step does, or somebody waits for each step, the same tokens
are taken through `env.step`, and the rewards are those that come back from there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.wrappers import TimeLimit

from registry.errors import CheckpointError, InvalidObservationError, SettingError
from registry.seeding import Stream, integer_seed
from registry.texts import TextBatch, TokenTask
from rlsuite_agents.parts.checkpoint import generator_state, restore_generator
from rlsuite_agents.parts.env_state import layers
from rlsuite_agents.parts.world import changes_nothing

__all__ = ["TextCourse"]


class TextCourse:
    """A task in which a policy writes batches of texts.

    Attributes:
        unrestored: what a checkpoint says of a batch that has not been written again yet, or None.
    """

    def __init__(self, env: Any, task: TokenTask, seed: int, n: int, group_size: int) -> None:
        """Writes nothing yet.

        Args:
            env: the environment, wrappers included.
            task: what is inside them.
            seed: of the environment, where it is stepped.
            n: texts of a batch.
            group_size: texts of a prompt.
        """
        self.env, self.task, self.n, self.group_size = env, task, n, group_size
        self.unrestored: Any = None
        self._seed: int | None = integer_seed(seed, Stream.ENVIRONMENT)  # of the first reset
        self._batch: TextBatch | None = None
        self._before: Any = None  # the generator's state before the batch was written
        self._taken = 0  # tokens of it that were counted
        self._ends = np.zeros(0, np.int64)  # tokens up to the end of each text
        self._stepped = False  # whether its tokens are taken through `env.step`
        self._rewards: list[float] = []  # of the texts taken by steps, and of the running one
        *wrappers, _ = layers(env)
        self._recorders = [w for w in wrappers if callable(getattr(type(w), "record", None))]
        self._plain = all(_leaves_texts_alone(w, task.max_new_tokens) for w in wrappers)

    def take(self, budget: int, agent: Any) -> int:
        """Counts up to `budget` tokens of the batch, at least one; returns how many.

        Where there is no batch, `agent.writer`, a policy, writes one with `agent.rng`.

        Raises:
            SettingError: a wrapper ends a text before its end, or goes on after it.
        """
        if self._batch is None:
            self._write(agent)
        first, last = self._taken, min(self._taken + budget, int(self._ends[-1]))
        if not self._stepped:
            self._record(first, last)
        for k in range(first, last if self._stepped else first):
            self._step(k)
        self._taken = last
        return last - first

    def finished(self) -> TextBatch | None:
        """The batch if all its tokens were counted, and then it is handed out once; else None."""
        batch = self._batch
        if batch is None or self._taken < self._ends[-1]:
            return None
        self._batch = None
        if self._stepped:
            batch = dataclasses.replace(batch, rewards=np.array(self._rewards))
        return batch

    def capture(self) -> dict[str, Any]:
        """Where it stands, as JSON can hold it: the batch itself is written again from there."""
        state: dict[str, Any] = {"seed": self._seed}
        if self._batch is not None:
            state |= {"before": self._before, "taken": self._taken, "rewards": self._rewards}
        return state

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Keeps a `capture` for `resume`; what is malformed raises KeyError or TypeError."""
        self.unrestored = {"seed": saved["seed"], **saved}

    def resume(self, agent: Any) -> None:
        """Goes on from what was restored, once the policy is what it was.

        Raises:
            CheckpointError: this task does not write the same batch.
        """
        saved, self.unrestored = self.unrestored, None
        if "before" not in saved:
            self._seed = saved["seed"]
            return
        after = generator_state(agent.rng)
        restore_generator(agent.rng, saved["before"])
        self._write(agent)
        taken = int(saved["taken"])
        if generator_state(agent.rng) != after or not 0 <= taken <= self._ends[-1]:
            raise CheckpointError(
                "the checkpoint stands within a batch of texts that this environment does not "
                "write again: it is not the one that the agent was trained in."
            )
        self._taken = taken
        assert self._batch is not None
        if self._stepped:
            text = int(np.searchsorted(self._ends, taken, side="right"))
            rewards = saved["rewards"] or np.asarray(self._batch.rewards).tolist()
            self._rewards = rewards[:text]
            for k in range(taken - self._place(taken), taken):
                self._step(k)
        else:
            self._record(taken, taken)
        self._seed = saved["seed"]

    def _write(self, agent: Any) -> None:
        self._before = generator_state(agent.rng)
        rng, size = agent.rng, self.group_size
        batch = self.task.rollout(agent.writer, self.n, rng=rng, group_size=size)
        self._batch, self._taken, self._rewards = batch, 0, []
        self._ends = np.cumsum(batch.mask.sum(axis=1))
        self._stepped = not (self._plain and all(r.takes_blocks for r in self._recorders))

    def _place(self, k: int) -> int:
        """How many tokens of its text stand before token k of the batch."""
        text = int(np.searchsorted(self._ends, k, side="right"))
        return k - (int(self._ends[text - 1]) if text else 0)

    def _record(self, first: int, last: int) -> None:
        """Tells the recorders of the tokens from `first` on, as a block."""
        if not self._recorders:
            return
        assert self._batch is not None
        ended = (self._ends > first) & (self._ends <= last)
        ends, lengths = self._ends[ended] - first, self._batch.mask.sum(axis=1)[ended]
        rewards = np.asarray(self._batch.rewards, np.float64)[ended]
        for recorder in self._recorders:
            recorder.record(last - first, ends, rewards, lengths)
            recorder.restore((0.0, self._place(last)))

    def _step(self, k: int) -> None:
        """Takes token k of the batch through the environment."""
        assert self._batch is not None
        batch, text = self._batch, int(np.searchsorted(self._ends, k, side="right"))
        place = self._place(k)
        if place == 0:
            prompt = self.task.prompts[int(batch.prompts[text])]
            self.env.reset(seed=self._seed, options={"prompt": prompt})
            self._seed = None
            self._rewards.append(0.0)
        token = batch.tokens[text, int(batch.prompt_lengths[text]) + place]
        _, reward, terminated, truncated, _ = self.env.step(np.int64(token))
        self._rewards[-1] += float(reward)
        if not math.isfinite(self._rewards[-1]):
            raise InvalidObservationError(
                f"the environment paid {reward!r} for token {place + 1} of a text: a reward must "
                "be finite."
            )
        if bool(terminated or truncated) != (k + 1 == self._ends[text]):
            raise SettingError(
                f"a wrapper of the environment {'ends' if terminated or truncated else 'goes on'} "
                f"after token {place + 1} of a text of {int(batch.mask[text].sum())}: texts are "
                "written as a whole, so only the task itself can end them (max_new_tokens)."
            )


def _leaves_texts_alone(wrapper: Any, longest: int) -> bool:
    """Whether a wrapper changes neither a step nor where a text ends."""
    if type(wrapper) is TimeLimit:
        return bool(wrapper._max_episode_steps >= longest)
    return changes_nothing(type(wrapper))
