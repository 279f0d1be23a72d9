"""Token generation as a vector environment: n texts, written together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlsuite_envs.compiled import compiled
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.prompts import chosen_prompt, saved_prompt
from rlsuite_envs.tokens.token_generation import TokenGeneration
from rlsuite_envs.vector.base import RESET, SKIP, STEP, Batch, NativeVectorEnv
from rlsuite_envs.vector.checks import Ints
from rlsuite_envs.vector.pcg64 import uniform

__all__ = ["TokenVectorEnv", "token_generation"]

NOT_STARTED: dict[str, Any] = {"prompt": None, "written": []}


class TokenVectorEnv(NativeVectorEnv):
    """n texts of `TokenGeneration`, written together.

    The texts that end in one step are scored together. Where the reference policy is a table, a
    compiled loop writes, each text is scored once, and the scores are kept for all rows. Elsewhere
    the reference policy is asked about all rows at once. Models of one's own are called at one
    fixed width, by the single environment too (see `scoring.Judge`), so that both have the same
    rewards.

    Args:
        single: The task; its keywords hold for every row.
        num_envs: n, at least 1.
        max_episode_steps: A limit beside `max_new_tokens`; a text that it cuts off is truncated
            and not scored.
        autoreset_mode: `"NextStep"`, `"SameStep"` or `"Disabled"`.

    Raises:
        SettingError: a keyword is outside its range.
    """

    def __init__(
        self,
        single: TokenGeneration,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        world = single.world
        mask = ((world.shape.size,), np.int8)
        step_info: dict[str, Any] = {
            "action_mask": mask,
            "ref_logprob": ((), np.float64),
            "no_eos": ((), np.bool_),
            "score": ((), np.float64),
        }
        if world.n_rewards > 1:
            step_info["scores"] = ((world.n_rewards,), np.float64)
        if world.has_gold:
            step_info["gold"] = ((), np.float64)
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info=step_info,
            reset_info={"action_mask": mask},
        )
        self._world, shape = world, world.shape
        self._prompts = shape.prompt_rows()
        self._starts = shape.prompt_lengths
        self._tokens = np.full((num_envs, shape.width), shape.size, np.int64)
        self._start = np.zeros(num_envs, np.int64)
        self._prompt = np.full(num_envs, -1, np.int64)
        self._mask = np.ones((num_envs, shape.size), np.int8)
        self._chosen: tuple[int, ...] | None = None
        self._texts = _Table(self) if world.tabulated else _Asked(self)

    def action_masks(self) -> NDArray[np.int8]:
        """1 for each token that the reference policy can write now, int8 [n, V]."""
        return self._mask.copy()

    def oracle(
        self, horizon: int | None = None, *, beta: float | None = None, row: int | None = None
    ) -> TokenOracle:
        """The answer key; see `TokenGeneration.oracle`.

        Args:
            horizon: A time limit; None: that of this vector environment.
            beta: β of the objective; None is the environment's own.
            row: Any sub-environment; the answers are the same for all.

        Raises:
            OracleError: a limit cuts texts off before they are scored, or there are too many texts.
            SettingError: a keyword is outside its range.
        """
        limit = self.max_episode_steps if horizon is None else horizon
        oracle: TokenOracle = self._single_of(row).oracle(limit, beta=beta)
        return oracle

    def _check_options(self, options: dict[str, Any]) -> None:
        self._chosen = chosen_prompt(options, self._world)

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        return self._texts.advance(todo, actions, batch)

    def _observations(self) -> dict[str, NDArray[Any]]:
        # in the order of the space, which is that of the alphabet
        return {
            "action_mask": self._mask.copy(),
            "length": self._start + self._clock,
            "prompt_length": self._start.copy(),
            "tokens": self._tokens.copy(),
        }

    def _observation(self, i: int) -> dict[str, Any]:
        return {
            "action_mask": self._mask[i].copy(),
            "length": self._start.item(i) + self._clock.item(i),
            "prompt_length": self._start.item(i),
            "tokens": self._tokens[i].copy(),
        }

    def _row(self, i: int) -> dict[str, Any]:
        start, length = self._start.item(i), self._start.item(i) + self._clock.item(i)
        if not start:
            return NOT_STARTED
        number = self._prompt.item(i)
        prompt = number if number >= 0 else self._tokens[i, :start].tolist()
        return {"prompt": prompt, "written": self._tokens[i, start:length].tolist()}

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        prompt, written = saved_prompt(state["prompt"], self._world), state["written"]
        self._begin_row(i, prompt)
        if prompt is None:
            return
        start = len(prompt)
        self._tokens[i, start : start + len(written)] = written
        self._clock[i] = len(written)
        shape = self._world.shape
        finished = len(written) == shape.max_new_tokens or written[-1:] == [shape.eos]
        self._texts.take_over(i, written, finished)

    def _begin_row(self, i: int, prompt: tuple[int, ...] | None) -> None:
        """A row with nothing written yet; None: one that was never reset."""
        known = self._world.shape.prompts
        self._tokens[i] = self._world.shape.size
        self._tokens[i, : len(prompt or ())] = prompt or ()
        self._start[i] = len(prompt or ())
        self._prompt[i] = known.index(prompt) if prompt in known else -1
        self._clock[i] = 0


class _Table:
    """Writes by a compiled loop over the table of the reference policy."""

    def __init__(self, owner: TokenVectorEnv) -> None:
        self._owner = owner
        self._tree = tree = owner._world.tree
        self._ref_logprob = owner._world.log_reference.reshape(-1, tree.n_tokens).copy()
        self._masks = (self._ref_logprob > -np.inf).astype(np.int8)
        # NaN where a text has not been scored yet
        count = tree.n_prompts * tree.n_texts
        self._parts = np.full((count, owner._world.n_rewards), np.nan)
        self._golds = np.full(count, np.nan)
        self._completion = np.zeros(owner.num_envs, np.int64)

    def advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        owner, tree, columns = self._owner, self._tree, batch.columns
        text = np.full(owner.num_envs, -1, np.int64)
        chosen = owner._chosen
        ended: int = _write(
            todo,
            actions,
            owner._rng,
            owner._clock,
            owner._tokens,
            owner._start,
            owner._prompt,
            self._completion,
            owner._mask,
            owner._prompts,
            owner._starts,
            -1 if chosen is None else tree.shape.prompts.index(chosen),
            tree.ranks,
            tree.shape.eos,
            self._ref_logprob,
            self._masks,
            tree.n_prefixes,
            tree.n_texts,
            owner._limit,
            text,
            batch.terminated,
            batch.truncated,
            columns["action_mask"],
            columns["ref_logprob"],
            columns["no_eos"],
        )
        if ended:
            self._score(np.flatnonzero(text >= 0), text, batch)
        return ended

    def take_over(self, i: int, written: list[int], finished: bool) -> None:
        owner, tree = self._owner, self._tree
        self._completion[i] = k = tree.number_of(np.array(written, np.int64))
        state = owner._prompt[i] * tree.n_prefixes + k
        owner._mask[i] = 1 if finished else self._masks[state]

    def _score(self, rows: Ints, text: Ints, batch: Batch) -> None:
        """Rewards of the texts finished in `rows`; those met for the first time are scored."""
        new, first = np.unique(text[rows], return_index=True)
        unknown = np.isnan(self._parts[new, 0])
        if unknown.any():
            new, first = new[unknown], rows[first[unknown]]
            self._parts[new], golds = _judged(self._owner, first)
            if golds is not None:
                self._golds[new] = golds
        finished = text[rows]
        _pay(self._owner, rows, self._parts[finished], self._golds[finished], batch)


class _Asked:
    """Writes row by row, and asks the reference policy about all of them at once."""

    def __init__(self, owner: TokenVectorEnv) -> None:
        self._owner = owner
        self._next = np.zeros(owner._mask.shape)

    def advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        owner, columns, shape = self._owner, batch.columns, self._owner._world.shape
        for i in np.flatnonzero(todo == RESET).tolist():
            drawn = shape.prompts[int(shape.n_prompts * uniform(owner._rng, i))]
            owner._begin_row(i, drawn if owner._chosen is None else owner._chosen)
        rows = np.flatnonzero(todo == STEP)
        tokens = actions[rows]
        columns["ref_logprob"][rows] = self._next[rows, tokens]
        owner._tokens[rows, owner._start[rows] + owner._clock[rows]] = tokens
        owner._clock[rows] += 1
        ended = tokens == shape.eos
        full = owner._clock[rows] == shape.max_new_tokens
        finished, late = ended | full, owner._clock[rows] >= owner._limit
        columns["no_eos"][rows] = full & ~ended
        batch.terminated[rows], batch.truncated[rows] = finished, late
        self._look(np.setdiff1d(np.flatnonzero(todo != SKIP), rows[finished]))
        owner._mask[rows[finished]] = 1
        touched = todo != SKIP
        columns["action_mask"][touched] = owner._mask[touched]
        if finished.any():
            parts, golds = _judged(owner, rows[finished])
            _pay(owner, rows[finished], parts, golds, batch)
        return int(np.count_nonzero(finished | late))

    def take_over(self, i: int, written: list[int], finished: bool) -> None:
        if finished:
            self._owner._mask[i] = 1
        else:
            self._look(np.array([i]))

    def _look(self, rows: Ints) -> None:
        """Log-probabilities and masks of the next token in rows that are being written."""
        owner = self._owner
        if len(rows):
            lengths = owner._start[rows] + owner._clock[rows]
            self._next[rows] = owner._world.next_log_probs(owner._tokens[rows], lengths)
            owner._mask[rows] = self._next[rows] > -np.inf


def _judged(
    owner: TokenVectorEnv, rows: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """What the reward models [B, K] and the gold reward [B] say about the texts in `rows`."""
    starts = owner._start[rows]
    return owner._world.judged(owner._tokens[rows], starts + owner._clock[rows], starts)


def _pay(
    owner: TokenVectorEnv,
    rows: Ints,
    parts: NDArray[np.float64],
    golds: NDArray[np.float64] | None,
    batch: Batch,
) -> None:
    """Fills in the rewards of finished texts."""
    world, columns = owner._world, batch.columns
    added = np.where(columns["no_eos"][rows], world.no_eos, 0.0)
    score = parts[:, 0].copy()
    for k in range(1, world.n_rewards):  # from left to right, as the single environment adds
        score += parts[:, k]
    columns["score"][rows] = score
    batch.reward[rows] = score + added
    if world.n_rewards > 1:
        columns["scores"][rows] = parts
    if world.has_gold:
        columns["gold"][rows] = golds + added


def token_generation(
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    **keywords: Any,
) -> TokenVectorEnv:
    """The vector form of `rlsuite/TokenGeneration-v0`; other keywords as for `TokenGeneration`."""
    return TokenVectorEnv(
        TokenGeneration(**keywords),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
    )


@compiled
def _write(  # type: ignore[no-untyped-def]  # numba infers the types
    todo,
    actions,
    rng,
    clock,
    tokens,
    start,
    prompt,
    completion,
    mask,
    prompts,
    starts,
    chosen,
    ranks,
    eos,
    ref_logprobs,
    masks,
    n_prefixes,
    n_texts,
    limit,
    text,
    terminated,
    truncated,
    action_mask,
    ref_logprob,
    no_eos,
):
    """Writes the tokens; returns how many of the rows stepped have ended.

    `text` becomes the number of the text in rows that have finished one.
    """
    ended = 0
    for i in range(len(clock)):
        if todo[i] == SKIP:
            continue
        finished = False
        if todo[i] == RESET:
            drawn = int(len(prompts) * uniform(rng, i))
            prompt[i] = drawn if chosen < 0 else chosen
            tokens[i, :] = prompts[prompt[i]]
            start[i] = starts[prompt[i]]
            completion[i] = clock[i] = 0
        else:
            token = actions[i]
            ref_logprob[i] = ref_logprobs[prompt[i] * n_prefixes + completion[i], token]
            tokens[i, start[i] + clock[i]] = token
            clock[i] += 1
            if token == eos:
                finished = True
            else:
                completion[i] = (len(ranks) - 1) * completion[i] + 1 + ranks[token]
                finished = no_eos[i] = completion[i] >= n_prefixes
            if finished:
                text[i] = prompt[i] * n_texts + completion[i]
            late = clock[i] >= limit
            terminated[i] = finished
            truncated[i] = late
            ended += finished | late
        if finished:
            mask[i] = 1
        else:
            mask[i] = masks[prompt[i] * n_prefixes + completion[i]]
        action_mask[i] = mask[i]
    return ended
