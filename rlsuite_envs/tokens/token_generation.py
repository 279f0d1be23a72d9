"""Write a text token by token; a reward model scores it at its end."""

from __future__ import annotations

import math
import operator
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from registry.errors import (
    InvalidActionError,
    InvalidObservationError,
    OracleError,
    SettingError,
)
from rlsuite_envs.checks import check_count, check_real, check_state, generator_from
from rlsuite_envs.rendering import letters
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.display import display_for, render, render_metadata
from rlsuite_envs.rendering.grid import number
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.reference_models import resolve_reference, tabulate
from rlsuite_envs.tokens.reward_models import (
    GOLD,
    resolve_reward,
    scores_in_blocks,
    scores_of,
    scores_of_all_texts,
)
from rlsuite_envs.tokens.tables import (
    EOS,
    LETTERS,
    MAX_NEW_TOKENS,
    N_LETTERS,
    N_TOKENS,
    PAD,
    PROMPT_LENGTH,
    PROMPTS,
)
from rlsuite_envs.tokens.tree import check_tokens, prefix_tree, spell

__all__ = ["TokenGeneration", "chosen_prompt"]

Observation = dict[str, Any]

NAMES = (*LETTERS, letters.END)
"""What tokens are called in pictures."""


class TokenGeneration(gym.Env[Observation, np.int64]):
    """Append letters to a prompt, or end the text; its score comes at the end.

    The observation is a dictionary: `tokens` (prompt and everything written so far, right-padded
    with PAD, int64 [2 + T]), `length`, `prompt_length`, and `action_mask` (int8 [7], 1 for the
    tokens that the reference policy can write). An action is the next token: a letter 0 to 5, or
    EOS 6. EOS terminates the episode, and so does a letter as the last token allowed; no episode is
    ever truncated. A reset draws one uniform u, and prompt floor(4u) is taken; a step draws
    nothing.

    The reward is 0 until the text is finished, then the reward model's score, plus `no_eos` where
    the limit cut the text off. The objective is J = E[reward] - β KL(π ‖ ref): the divergence is
    the agent's business, and `beta` changes no reward.

    `info` always holds `action_mask`, as above. That of a step also holds `ref_logprob` (of the
    action under the reference policy, a float, -inf for a masked one), `no_eos` (whether the limit
    cut the text off, a bool), `score` (of the reward model, without the keyword `no_eos`, a float)
    and `gold` (the reward that the gold reward model would have given, a float); the last two are
    0 until the text is finished.

    Args:
        reward: `"gold"`, `"learned"` (a Bradley-Terry model of preferences sampled from gold), the
            id of a registered reward model, a table `{completion: score}`, a function
            `(tokens [B, 2 + T], lengths [B]) -> scores [B]`, or an object with such a `score`. It
            must be a function of the text alone: a text is scored once and the score remembered.
        reference: `"markov"`, the id of a registered reference model, a table of weights [6, 7]
            over (last letter, next token), or an object with
            `log_probs(tokens [B, 2 + T], lengths [B]) -> [B, 7]`, asked once for all prefixes.
        no_eos: What is added to the score of a text that the limit cut off.
        beta: β of the objective, at least 0.
        max_new_tokens: T, at most this many tokens after the prompt, EOS counted: 1 to 5.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or a model answers with something malformed.
        UnknownIdError: no reward or reference model has this id.
    """

    metadata: dict[str, Any] = render_metadata(fps=2)

    def __init__(
        self,
        *,
        reward: Any = "gold",
        reference: Any = "markov",
        no_eos: float = -0.5,
        beta: float = 0.4,
        max_new_tokens: int = MAX_NEW_TOKENS,
        render_mode: str | None = None,
    ) -> None:
        self.no_eos = check_real("no_eos", no_eos, "a finite number", -math.inf, math.inf)
        self.beta = _check_beta(beta)
        self.max_new_tokens = _check_limit(max_new_tokens)
        self._tree = tree = prefix_tree(self.max_new_tokens)
        self.reference_model, name = resolve_reference(reference)
        self._log_reference = tabulate(self.reference_model, name, tree)
        self.reward_model, self._reward_name = resolve_reward(reward, self._log_reference, tree)
        self._try_reward_model()
        self.action_space = Discrete(N_TOKENS)
        self.observation_space = Dict(
            {
                "tokens": MultiDiscrete([PAD + 1] * tree.width),
                "length": Discrete(tree.width + 1),
                "prompt_length": Discrete(tree.width + 1),
                "action_mask": MultiBinary(N_TOKENS),
            }
        )
        # what a step looks up, as lists: indexing them is several times faster than arrays
        rows = self._log_reference.reshape(-1, N_TOKENS)
        self._ref_logprob: list[list[float]] = rows.tolist()
        self._masks = list((rows > -np.inf).astype(np.int8))
        self._any_token = np.ones(N_TOKENS, np.int8)
        self._scores: dict[int, tuple[float, float]] = {}
        self._prompt: int | None = None
        self._begin(0)
        self._finished = True
        self.render_mode = render_mode
        self._display = display_for(self, render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts a text. Draws one uniform, with or without options.

        Args:
            seed: Seeds the generator; None goes on with it.
            options: `{"prompt": (p, p + 1)}` takes this one of the task's prompts instead of the
                drawn one.

        Raises:
            SettingError: another option, or no prompt of this task.
        """
        chosen = chosen_prompt(options)
        super().reset(seed=seed)
        drawn = int(len(PROMPTS) * self.np_random.random())
        self._prompt = drawn if chosen is None else chosen
        self._begin(self._prompt)
        if self._display is not None:
            self._display.show()
        mask = self.action_masks()
        return self._observation(mask), {"action_mask": mask}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Writes one token.

        Raises:
            InvalidActionError: the action is not in the action space.
            ResetNeeded: no text is being written.
            SettingError: the reward model answers with something else than a finite number.
        """
        token = _token(action)
        if self._finished:
            raise ResetNeeded("no text is being written: call reset() before step().")
        ref_logprob = self._ref_logprob[self._state][token]
        completion = self._write(token)
        reward = score = gold = 0.0
        cut = self._finished and token != EOS
        if self._finished:
            score, gold = self._scores_of(completion)
            added = self.no_eos if cut else 0.0
            reward, gold = score + added, gold + added
        if self._display is not None:
            self._display.show()
        mask = self.action_masks()
        info = {
            "action_mask": mask,
            "ref_logprob": ref_logprob,
            "no_eos": cut,
            "score": score,
            "gold": gold,
        }
        return self._observation(mask), reward, self._finished, False, info

    def render(self) -> Any:
        """The text so far: pixels uint8 [height, width, 3], a text, or None after showing it."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the letters, and Enter for the end of the text."""
        return {(key,): a for a, key in enumerate([*LETTERS, "\r"])}

    def action_masks(self) -> NDArray[np.int8]:
        """1 for each token that the reference policy can write now, int8 [7]; all 1 at the end."""
        return (self._any_token if self._finished else self._masks[self._state]).copy()

    def score(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Rewards [B] of whole finished texts: what stepping through them would have given.

        Args:
            tokens: Prompt and completion, EOS included, [B, 2 + T] or narrower.
            lengths: Tokens of each row without the padding, [B].

        Raises:
            InvalidObservationError: a row is no finished text of this task.
            SettingError: the reward model answers with something malformed.
        """
        tokens, lengths = check_tokens(tokens, lengths)
        rows = np.arange(len(tokens))
        cut = tokens[rows, lengths - 1] != EOS
        limit = PROMPT_LENGTH + self.max_new_tokens
        wrong = (lengths > limit) | (cut & (lengths != limit))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidObservationError(
                f"row {row} of length {lengths[row]} is no finished text: one ends with EOS "
                f"({EOS}) or has {self.max_new_tokens} letters after the prompt."
            )
        scores = scores_in_blocks(self.reward_model, self._reward_name, tokens, lengths)
        return scores + np.where(cut, self.no_eos, 0.0)

    def model_scores(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the reward model and the gold reward give finished texts, without `no_eos`.

        Args:
            tokens: Prompt and completion, EOS included, [B, 2 + T].
            lengths: Tokens of each row without the padding, [B].

        Raises:
            SettingError: the reward model answers with something malformed.
        """
        gold = GOLD.score(tokens, lengths)
        if self.reward_model is GOLD:
            return gold, gold
        scores = scores_in_blocks(self.reward_model, self._reward_name, tokens, lengths)
        return scores, gold

    @property
    def log_reference(self) -> NDArray[np.float64]:
        """The table log ref(a | s) in every decision state: prompts, prefixes, tokens [P, N, 7]."""
        return self._log_reference

    def oracle(self, horizon: int | None = None, *, beta: float | None = None) -> TokenOracle:
        """The answer key. All texts are scored at the first call, and kept.

        Args:
            horizon: A time limit around the environment, at least `max_new_tokens`, which ends
                every text before the limit can matter. None: no limit.
            beta: β of the objective; None is the environment's own, 0 the plain reward.

        Raises:
            OracleError: a limit below `max_new_tokens` would leave texts without a score.
            SettingError: a keyword is outside its range, or the reward model answers with something
                malformed.
        """
        if horizon is not None and check_count("horizon", horizon) < self.max_new_tokens:
            raise OracleError(
                f"a time limit of {horizon} steps cuts texts of up to {self.max_new_tokens} tokens "
                "off before they are scored, and there is no exact answer for that: use a limit of "
                f"at least {self.max_new_tokens}, or make the environment with max_new_tokens="
                f"{horizon}."
            )
        return TokenOracle(
            self._tree,
            self._log_reference,
            self._rewards[0],
            beta=self.beta if beta is None else _check_beta(beta),
            gold=self._rewards[1],
        )

    def get_state(self) -> dict[str, Any]:
        """Generator, prompt and text, as JSON can hold them."""
        written = self._tokens[PROMPT_LENGTH : self._length].tolist()
        return {
            "rng": self.np_random.bit_generator.state,
            "prompt": self._prompt,
            "written": written if self._prompt is not None else [],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or its text is longer than this task's.
        """
        check_state("TokenGeneration", state, ("rng", "prompt", "written"))
        prompt, written = state["prompt"], state["written"]
        if not _is_text(prompt, written, self.max_new_tokens):
            raise SettingError(
                f"TokenGeneration.set_state: 'prompt' is a number from 0 to {len(PROMPTS) - 1} and "
                f"'written' a list of at most {self.max_new_tokens} letters, EOS ({EOS}) only at "
                f"its end (None and an empty list before the first reset); got {prompt!r} and "
                f"{written!r}."
            )
        self.np_random = generator_from("TokenGeneration", state["rng"])
        self._prompt = prompt
        self._begin(0 if prompt is None else prompt)
        for token in written:
            self._write(token)
        self._finished = self._finished or prompt is None

    @cached_property
    def _rewards(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Reward of every finished text [P, M], and the gold reward where that is another one."""
        tree = self._tree
        added = np.where(np.arange(tree.n_texts) < tree.n_prefixes, 0.0, self.no_eos)
        scores = scores_of_all_texts(self.reward_model, self._reward_name, tree)
        if self.reward_model is GOLD:
            return scores + added, None
        return scores + added, scores_of_all_texts(GOLD, "'gold'", tree) + added

    def _try_reward_model(self) -> None:
        """Scores the empty completions, so that a malformed model is refused at the door."""
        rows = np.full((len(PROMPTS), self._tree.width), PAD, np.int64)
        rows[:, :PROMPT_LENGTH] = PROMPTS
        rows[:, PROMPT_LENGTH] = EOS
        lengths = np.full(len(rows), PROMPT_LENGTH + 1)
        scores_of(self.reward_model, self._reward_name, rows, lengths)

    def _frame(self) -> Frame:
        return letters.frame(*self._page())

    def _text(self) -> str:
        return letters.text(*self._page())

    def _page(self) -> tuple[letters.Page, str]:
        """What is drawn, all of it read off the text itself."""
        prompt = self._prompt or 0
        written = self._tokens[PROMPT_LENGTH : self._length].tolist()
        log_probs, k = [], 0
        for token in written:
            log_probs.append(self._ref_logprob[prompt * self._tree.n_prefixes + k][token])
            k = N_LETTERS * k + 1 + token
        rewards, caption = [0.0] * len(written), f"{len(written)} of {self.max_new_tokens} tokens"
        over = self._finished and bool(written)
        if over:
            cut = written[-1] != EOS
            score = self._scores_of(self._completion)[0]
            rewards[-1] = score + (self.no_eos if cut else 0.0)
            caption = f"finished   reward {number(rewards[-1])}"
            if cut:
                caption += f" = score {number(score)}, cut off {number(self.no_eos)}"
        page = letters.Page(
            prompt=spell(PROMPTS[prompt]) if self._prompt is not None else "  ",
            written=[NAMES[token] for token in written],
            limit=self.max_new_tokens,
            rewards=rewards,
            log_probs=log_probs,
            tokens=NAMES,
            next_probs=[]
            if self._finished
            else [math.exp(x) for x in self._ref_logprob[self._state]],
        )
        return page, caption

    def _begin(self, prompt: int) -> None:
        self._tokens = np.full(self._tree.width, PAD, np.int64)
        self._tokens[:PROMPT_LENGTH] = PROMPTS[prompt]
        self._length = PROMPT_LENGTH
        self._completion = 0  # the number of the letters written, as the tree counts
        self._state = prompt * self._tree.n_prefixes
        self._first_text = prompt * self._tree.n_texts
        self._finished = False

    def _write(self, token: int) -> int:
        """Appends a token and returns the number of the letters written."""
        self._tokens[self._length] = token
        self._length += 1
        if token == EOS:
            self._finished = True
            return self._completion
        step = (N_LETTERS - 1) * self._completion + 1 + token  # k becomes 6k + 1 + a
        self._completion += step
        self._state += step
        self._finished = self._completion >= self._tree.n_prefixes
        return self._completion

    def _observation(self, mask: NDArray[np.int8]) -> Observation:
        return {
            "tokens": self._tokens.copy(),
            "length": self._length,
            "prompt_length": PROMPT_LENGTH,
            "action_mask": mask.copy(),
        }

    def _scores_of(self, completion: int) -> tuple[float, float]:
        """Score and gold score of the text just finished."""
        text = self._first_text + completion
        if text not in self._scores:
            row, length = self._tokens[None].copy(), np.array([self._length])
            score, gold = self.model_scores(row, length)
            self._scores[text] = (float(score[0]), float(gold[0]))
        return self._scores[text]


def _token(action: Any) -> int:
    """The token that an action names."""
    try:
        token = operator.index(action)
    except TypeError:
        token = -1
    if 0 <= token < N_TOKENS:
        return token
    raise InvalidActionError(
        f"action {action!r} is not in the action space: it must be a whole number from 0 to "
        f"{N_TOKENS - 1}, a letter 0 to {N_LETTERS - 1} or EOS ({EOS}); PAD ({PAD}) is no action."
    )


def _check_beta(beta: object) -> float:
    return check_real("beta", beta, "a finite number of at least 0", 0.0, math.inf)


def _check_limit(limit: object) -> int:
    count = check_count("max_new_tokens", limit)
    if count > MAX_NEW_TOKENS:
        raise SettingError(
            f"max_new_tokens must be from 1 to {MAX_NEW_TOKENS}, the positions that the reward's "
            f"tables cover, got {limit!r}."
        )
    return count


def chosen_prompt(options: dict[str, Any] | None) -> int | None:
    """The number of the prompt named in the options of a reset, or None."""
    unknown = sorted(set(options or ()) - {"prompt"})
    if unknown:
        raise SettingError(f"the only option of a reset is 'prompt', got {unknown}.")
    if not options:
        return None
    given = options["prompt"]
    try:
        first, second = map(operator.index, given)
        return PROMPTS.index((first, second))
    except (TypeError, ValueError):
        raise SettingError(
            f"options['prompt'] must be one of this task's prompts, {list(PROMPTS)}, got {given!r}."
        ) from None


def _is_text(prompt: object, written: object, limit: int) -> bool:
    """Whether a saved state holds a prompt's number and what was written after it."""
    if not isinstance(written, list) or len(written) > limit:
        return False
    whole = all(isinstance(token, int) and 0 <= token < N_TOKENS for token in written)
    if not whole or EOS in written[:-1]:
        return False
    if prompt is None:
        return not written
    return isinstance(prompt, int) and 0 <= prompt < len(PROMPTS)
