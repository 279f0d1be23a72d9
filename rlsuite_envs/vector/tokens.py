"""Token generation as a vector environment: n texts, written together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlsuite_envs.compiled import compiled
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.tables import EOS, N_LETTERS, N_TOKENS, PAD, PROMPT_LENGTH, PROMPTS
from rlsuite_envs.tokens.token_generation import TokenGeneration, chosen_prompt
from rlsuite_envs.tokens.tree import prefix_tree
from rlsuite_envs.vector.base import RESET, SKIP, Batch, NativeVectorEnv
from rlsuite_envs.vector.checks import Ints
from rlsuite_envs.vector.pcg64 import uniform

__all__ = ["TokenVectorEnv", "token_generation"]

MASK = ((N_TOKENS,), np.int8)
DRAWN = -1
"""The prompt is the one drawn, not one that the options name."""


class TokenVectorEnv(NativeVectorEnv):
    """n texts of `TokenGeneration`, written together.

    The texts that end in one step are scored together, each text once; the scores are kept for all
    rows. A reward model of one's own is called at one fixed width, by the single environment too
    (see `reward_models.scores_in_blocks`), so that both have the same rewards.

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
        super().__init__(
            single,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            step_info={
                "action_mask": MASK,
                "ref_logprob": ((), np.float64),
                "no_eos": ((), np.bool_),
                "score": ((), np.float64),
                "gold": ((), np.float64),
            },
            reset_info={"action_mask": MASK},
        )
        self._tokens_env = single
        self._tree = tree = prefix_tree(single.max_new_tokens)
        self._prompts = np.array(PROMPTS, np.int64)
        self._ref_logprob = single.log_reference.reshape(-1, N_TOKENS).copy()
        self._masks = (self._ref_logprob > -np.inf).astype(np.int8)
        # NaN where a text has not been scored yet
        self._scores = np.full(tree.n_prompts * tree.n_texts, np.nan)
        self._golds = self._scores.copy()
        self._tokens = np.full((num_envs, tree.width), PAD, np.int64)
        self._prompt = np.full(num_envs, -1, np.int64)
        self._completion = np.zeros(num_envs, np.int64)
        self._mask = np.ones((num_envs, N_TOKENS), np.int8)
        self._chosen = DRAWN

    def action_masks(self) -> NDArray[np.int8]:
        """1 for each token that the reference policy can write now, int8 [n, 7]."""
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
            OracleError: a limit that cuts texts off before they are scored.
            SettingError: a keyword is outside its range.
        """
        limit = self.max_episode_steps if horizon is None else horizon
        oracle: TokenOracle = self._single_of(row).oracle(limit, beta=beta)
        return oracle

    def _check_options(self, options: dict[str, Any]) -> None:
        prompt = chosen_prompt(options)
        self._chosen = DRAWN if prompt is None else prompt

    def _advance(self, todo: NDArray[np.uint8], actions: Ints, batch: Batch) -> int:
        text = np.full(self.num_envs, -1, np.int64)
        columns = batch.columns
        ended: int = _write(
            todo,
            actions,
            self._rng,
            self._clock,
            self._tokens,
            self._prompt,
            self._completion,
            self._mask,
            self._prompts,
            self._chosen,
            self._ref_logprob,
            self._masks,
            self._tree.n_prefixes,
            self._tree.n_texts,
            self._limit,
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

    def _score(self, rows: Ints, text: Ints, batch: Batch) -> None:
        """Rewards of the texts finished in `rows`; those met for the first time are scored."""
        new, first = np.unique(text[rows], return_index=True)
        unknown = np.isnan(self._scores[new])
        if unknown.any():
            new, first = new[unknown], rows[first[unknown]]
            lengths = PROMPT_LENGTH + self._clock[first]
            self._scores[new], self._golds[new] = self._tokens_env.model_scores(
                self._tokens[first], lengths
            )
        finished, columns = text[rows], batch.columns
        added = np.where(columns["no_eos"][rows], self._tokens_env.no_eos, 0.0)
        columns["score"][rows] = self._scores[finished]
        batch.reward[rows] = self._scores[finished] + added
        columns["gold"][rows] = self._golds[finished] + added

    def _observations(self) -> dict[str, NDArray[Any]]:
        # in the order of the space, which is that of the alphabet
        return {
            "action_mask": self._mask.copy(),
            "length": PROMPT_LENGTH + self._clock,
            "prompt_length": np.full(self.num_envs, PROMPT_LENGTH),
            "tokens": self._tokens.copy(),
        }

    def _observation(self, i: int) -> dict[str, Any]:
        return {
            "action_mask": self._mask[i].copy(),
            "length": PROMPT_LENGTH + self._clock.item(i),
            "prompt_length": PROMPT_LENGTH,
            "tokens": self._tokens[i].copy(),
        }

    def _row(self, i: int) -> dict[str, Any]:
        prompt = self._prompt.item(i)
        written = self._tokens[i, PROMPT_LENGTH : PROMPT_LENGTH + self._clock[i]].tolist()
        return {"prompt": prompt, "written": written} if prompt >= 0 else NOT_STARTED

    def _set_row(self, i: int, state: Mapping[str, Any]) -> None:
        prompt, written = state["prompt"], state["written"]
        self._prompt[i] = -1 if prompt is None else prompt
        if prompt is None:
            return
        self._tokens[i] = PAD
        self._tokens[i, :PROMPT_LENGTH] = PROMPTS[prompt]
        self._tokens[i, PROMPT_LENGTH : PROMPT_LENGTH + len(written)] = written
        self._clock[i] = len(written)
        letters = [token for token in written if token != EOS]
        completion = 0
        for letter in letters:
            completion = N_LETTERS * completion + 1 + letter
        self._completion[i] = completion
        finished = len(letters) < len(written) or completion >= self._tree.n_prefixes
        self._mask[i] = 1 if finished else self._masks[prompt * self._tree.n_prefixes + completion]


NOT_STARTED: dict[str, Any] = {"prompt": None, "written": []}


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
    prompt,
    completion,
    mask,
    prompts,
    chosen,
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
            prompt[i] = drawn if chosen == DRAWN else chosen
            tokens[i, :] = PAD
            tokens[i, :PROMPT_LENGTH] = prompts[prompt[i]]
            completion[i] = clock[i] = 0
        else:
            token = actions[i]
            ref_logprob[i] = ref_logprobs[prompt[i] * n_prefixes + completion[i], token]
            tokens[i, PROMPT_LENGTH + clock[i]] = token
            clock[i] += 1
            if token == EOS:
                finished = True
            else:
                completion[i] = N_LETTERS * completion[i] + 1 + token
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
