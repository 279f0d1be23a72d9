"""Write a text token by token; a reward model scores it at its end."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from registry.errors import InvalidActionError, SettingError
from registry.texts import (
    PreferencePairs,
    ReferenceModel,
    SequencePolicy,
    TextBatch,
    Vocabulary,
)
from rlsuite_envs.checks import check_state, generator_from
from rlsuite_envs.rendering import letters
from rlsuite_envs.rendering.canvas import Frame
from rlsuite_envs.rendering.display import display_for, render, render_metadata
from rlsuite_envs.tokens.oracle import TokenOracle
from rlsuite_envs.tokens.pages import describe
from rlsuite_envs.tokens.prompts import NO_PROMPT, chosen_prompt, is_text, saved_prompt
from rlsuite_envs.tokens.tables import MAX_NEW_TOKENS
from rlsuite_envs.tokens.world import TokenWorld

__all__ = ["TokenGeneration"]

Observation = dict[str, Any]


class TokenGeneration(gym.Env[Observation, np.int64]):
    """Append tokens to a prompt, or end the text; its score comes at the end.

    The observation is a dictionary: `tokens` (prompt and everything written so far, right-padded
    with PAD, int64 [W], W the longest prompt and T), `length`, `prompt_length`, and `action_mask`
    (int8 [V], 1 for the tokens that the reference policy can write). An action is the next token.
    By default V = 7: the letters 0 to 5, and EOS 6. PAD is V. EOS terminates the episode, and so
    does another token as the last one allowed; no episode is ever truncated. A reset draws one
    uniform u, and prompt floor(P u) of P is taken; a step draws nothing.

    The reward is 0 until the text is finished, then the reward model's score, plus `no_eos` where
    the limit cut the text off. The objective is J = E[reward] - β KL(π ‖ ref): the divergence is
    the agent's business, and `beta` changes no reward.

    `info` always holds `action_mask`, as above. That of a step also holds `ref_logprob` (of the
    action under the reference policy, a float, -inf for a masked one), `no_eos` (whether the limit
    cut the text off, a bool), `score` (of the reward model, without the keyword `no_eos`, a float),
    `scores` (of several reward models, float64 [K], only where there are several) and `gold` (the
    reward that the gold reward model would have given, a float, only where that is defined); the
    last three are 0 until the text is finished.

    Args:
        reward: `"gold"`, a learned reward (`"learned"`, `"linear"`, `"mlp"`, `"tabular"`: fitted to
            preferences), the id of a registered reward model, the path of a model's folder, a table
            `{completion: score}`, a function `(tokens [B, W], lengths [B]) -> scores [B]`, an
            object with such a `score`, or a list of these, whose scores are added. It must be a
            function of the text alone: a text is scored once and the score remembered.
        reference: `"markov"`, the id of a registered reference model, the path of a model's folder,
            a table of weights [6, 7] over (last letter, next token), or an object with
            `log_probs(tokens [B, W], lengths [B]) -> [B, V]`. It brings its `vocabulary`, or else
            speaks in the six letters.
        no_eos: What is added to the score of a text that the limit cut off.
        beta: β of the objective, at least 0.
        max_new_tokens: T, at most this many tokens after the prompt, EOS counted, at least 1; at
            most 5 where the gold reward is needed.
        prompts: Texts or lists of tokens; None: ab, bc, cd and de.
        reward_scales: What the score of each reward model is multiplied by; None: nothing.
        preferences: What learned rewards are fitted to: a number of pairs sampled by the gold
            reward, or the path of a file of JSON lines; None: 1,000 pairs.
        render_mode: None, `"human"`, `"rgb_array"` or `"ansi"`.

    Raises:
        SettingError: a keyword is outside its range, or a model answers with something malformed.
        UnknownIdError: no reward or reference model has this id.
        CheckpointError: a folder holds no model that could be read.
        DataError: a file of preferences cannot be used.
    """

    beta: float
    """β of the objective."""
    no_eos: float
    """What is added to the score of a text that the limit cut off."""
    max_new_tokens: int
    """T."""
    n_rewards: int
    """K, the number of reward models."""
    metadata: dict[str, Any] = render_metadata(fps=2)

    def __init__(
        self,
        *,
        reward: Any = "gold",
        reference: Any = "markov",
        no_eos: float = -0.5,
        beta: float = 0.4,
        max_new_tokens: int = MAX_NEW_TOKENS,
        prompts: Sequence[Any] | None = None,
        reward_scales: Sequence[float] | None = None,
        preferences: int | str | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.world = world = TokenWorld(
            reward=reward,
            reward_scales=reward_scales,
            reference=reference,
            prompts=prompts,
            preferences=preferences,
            no_eos=no_eos,
            beta=beta,
            max_new_tokens=max_new_tokens,
        )
        self._shape = shape = world.shape
        self.beta, self.no_eos = world.beta, world.no_eos
        self.max_new_tokens = shape.max_new_tokens
        self.n_rewards = world.n_rewards
        self.action_space = Discrete(shape.size)
        self.observation_space = Dict(
            {
                "tokens": MultiDiscrete([shape.size + 1] * shape.width),
                "length": Discrete(shape.width + 1),
                "prompt_length": Discrete(shape.width + 1),
                "action_mask": MultiBinary(shape.size),
            }
        )
        self._any_token = np.ones(shape.size, np.int8)
        self._tabulated, self._growth = world.tabulated, shape.size - 2
        # what a step looks up, as lists: indexing them is several times faster than arrays
        self._ref_logprob: list[list[float]] = []
        self._masks: list[NDArray[np.int8]] = []
        if world.tabulated:
            rows = world.log_reference.reshape(-1, shape.size)
            self._ref_logprob = rows.tolist()
            self._masks = list((rows > -np.inf).astype(np.int8))
            self._ranks = world.tree.ranks.tolist()
        self._scores: dict[bytes, tuple[list[float], float]] = {}
        self._prompt: tuple[int, ...] | None = None
        self._begin(shape.prompts[0])
        self._finished = True
        self.render_mode = render_mode
        self._display = display_for(self, render_mode)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens; PAD is its `size`."""
        return self.world.vocabulary

    @property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """The prompts, equally likely."""
        return self._shape.prompts

    @property
    def reference_model(self) -> ReferenceModel:
        """The reference policy."""
        return self.world.reference_model

    @property
    def reward_names(self) -> tuple[str, ...]:
        """What the reward models are called."""
        return tuple(judge.name.strip("'") for judge in self.world.judges)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts a text. Draws one uniform, with or without options.

        Args:
            seed: Seeds the generator; None goes on with it.
            options: `{"prompt": prompt}` takes this prompt instead of the drawn one, a text or a
                list of tokens: one of the task's, or where the reference policy is no table any
                other that is not longer than the longest of them.

        Raises:
            SettingError: another option, or no prompt of this task.
        """
        chosen = chosen_prompt(options, self.world)
        super().reset(seed=seed)
        drawn = self.prompts[int(len(self.prompts) * self.np_random.random())]
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
            SettingError: a model answers with something malformed.
        """
        token = self._token(action)
        if self._finished:
            raise ResetNeeded("no text is being written: call reset() before step().")
        ref_logprob = self._write(token)
        score = gold = added = 0.0
        parts: list[float] | None = None
        cut = self._finished and token != self._shape.eos
        if self._finished:
            parts, gold = self._judged()
            score, added = sum(parts), self.no_eos if cut else 0.0
        if self._display is not None:
            self._display.show()
        mask = self.action_masks()
        info = {
            "action_mask": mask,
            "ref_logprob": ref_logprob,
            "no_eos": cut,
            "score": score,
        }
        if self.n_rewards > 1:
            info["scores"] = np.array(parts or [0.0] * self.n_rewards)
        if self.world.has_gold:
            info["gold"] = gold + added
        return self._observation(mask), score + added, self._finished, False, info

    def render(self) -> Any:
        """The text so far: pixels uint8 [height, width, 3], a text, or None after showing it."""
        return render(self._display)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._display is not None:
            self._display.close()

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], int]:
        """Keys for a person who plays: the letters, and Enter for the end of the text."""
        names = getattr(self.vocabulary, "letters", "")
        return {**{(key,): a for a, key in enumerate(names)}, ("\r",): self._shape.eos}

    def action_masks(self) -> NDArray[np.int8]:
        """1 for each token that the reference policy can write now, int8 [V]; all 1 at the end."""
        if self._finished:
            return self._any_token.copy()
        if self._tabulated:
            return self._masks[self._state].copy()
        return (np.array(self._next_log_probs()) > -np.inf).astype(np.int8)

    def score(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompt_lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Rewards [B] of whole finished texts: what stepping through them would have given.

        Args:
            tokens: Prompt and completion, EOS included, [B, W] or narrower.
            lengths: Tokens of each row without the padding, [B].
            prompt_lengths: Tokens of the prompts, [B]; needed where they are of unlike lengths.

        Raises:
            InvalidObservationError: a row is no finished text of this task.
            SettingError: the reward model answers with something malformed.
        """
        tokens, lengths, starts = self.world.check_finished(tokens, lengths, prompt_lengths)
        parts = self.world.parts(tokens, lengths, starts)
        return parts.sum(axis=1) + np.where(self.world.cut(tokens, lengths), self.no_eos, 0.0)

    def score_parts(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompt_lengths: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """What each reward model says about finished texts, without `no_eos`: [B, K].

        Raises as `score` does.
        """
        return self.world.parts(*self.world.check_finished(tokens, lengths, prompt_lengths))

    def rollout(
        self,
        policy: Any,
        n: int,
        *,
        rng: np.random.Generator,
        prompts: Sequence[int] | NDArray[np.int64] | None = None,
        group_size: int = 1,
    ) -> TextBatch:
        """Has n whole texts written at once, by the rule of `registry.texts.SamplesTexts`.

        The episode of this environment and its generator stay as they are. A policy that can sample
        by itself does; else one that remembers prefixes is asked for one token after another; else
        any is asked for whole prefixes.

        Args:
            policy: A `SequencePolicy`, or a function like its `log_probs`.
            n: How many texts, a multiple of `group_size`.
            rng: First draws one uniform u per group, and takes prompt floor(P u); then one per row
                and place, [n, T].
            prompts: Numbers of prompts, one per group, instead of the drawn ones.
            group_size: So many neighbouring rows share a prompt.

        Raises:
            SettingError: an argument is outside its range, or the policy or the reward model
                answers with something malformed.
        """
        return self.world.rollout(policy, n, rng=rng, prompts=prompts, group_size=group_size)

    def sampled_metrics(
        self, policy: SequencePolicy, n: int, *, rng: np.random.Generator
    ) -> Mapping[str, float]:
        """Estimates of the oracle's `policy_metrics` and of the objective from n texts.

        Args:
            policy: Its log-probabilities are believed.
            n: Texts of the policy, and as many of the reference policy for the perplexity.
            rng: Draws as two rollouts.

        Returns:
            `objective` and its standard error `objective_error`, `expected_reward`, `kl`,
            `eos_rate`, `mean_length`, `perplexity`, `distinct_1`, `distinct_2`, and with a proxy
            `expected_gold`; those that are no finite numbers are left out.

        Raises:
            SettingError: as `rollout`.
        """
        return self.world.sampled_metrics(policy, n, rng)

    def preferences(
        self, n: int = 1000, *, rng: np.random.Generator, source: str = "gold"
    ) -> PreferencePairs:
        """Pairs of answers, and which of the two is preferred.

        Args:
            n: How many are sampled: both answers by the reference policy, the first of them
                preferred with probability σ(r(first) - r(second)).
            rng: Draws as a `rollout` of 2 n texts in groups of 2 does, then one uniform per pair.
            source: r: `"gold"`, or `"reward"`, that of this task; or the path of a file of
                preferences, which is read whole.

        Raises:
            SettingError: there is no gold reward for this task, or `n` is no count.
            DataError: the file cannot be used; the message names the line.
        """
        return self.world.preferences(n, rng=rng, source=source)

    def oracle(self, horizon: int | None = None, *, beta: float | None = None) -> TokenOracle:
        """The answer key. All texts are scored at the first call, and kept.

        Args:
            horizon: A time limit around the environment, at least `max_new_tokens`, which ends
                every text before the limit can matter. None: no limit.
            beta: β of the objective; None is the environment's own, 0 the plain reward.

        Raises:
            OracleError: a limit below `max_new_tokens` would leave texts without a score, or there
                are more than 2,000,000 texts.
            SettingError: a keyword is outside its range, or the reward model answers with something
                malformed.
        """
        return self.world.oracle(horizon, beta)

    def get_state(self) -> dict[str, Any]:
        """Generator, prompt and text, as JSON can hold them.

        `prompt` is the number of the prompt, or the tokens of one that is not of the task.
        """
        known = self._prompt in self.prompts
        prompt = self.prompts.index(self._prompt) if known else self._prompt
        return {
            "rng": self.np_random.bit_generator.state,
            "prompt": list(prompt) if isinstance(prompt, tuple) else prompt,
            "written": self._written() if self._prompt is not None else [],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned, in an environment with the same keywords.

        Raises:
            SettingError: it is not such a state, or its text is longer than this task's.
        """
        check_state("TokenGeneration", state, ("rng", "prompt", "written"))
        written = state["written"]
        prompt = saved_prompt(state["prompt"], self.world)
        if prompt is NO_PROMPT or not is_text(prompt, written, self._shape):
            raise SettingError(
                f"TokenGeneration.set_state: 'prompt' is a number from 0 to "
                f"{len(self.prompts) - 1} and "
                f"'written' a list of at most {self.max_new_tokens} letters, EOS "
                f"({self._shape.eos}) only at its end (None and an empty list before the first "
                f"reset); got {state['prompt']!r} and {written!r}."
            )
        self.np_random = generator_from("TokenGeneration", state["rng"])
        self._prompt = prompt
        self._begin(self.prompts[0] if prompt is None else prompt)
        for token in written:
            self._write(token)
        self._finished = self._finished or prompt is None

    def _frame(self) -> Frame:
        return letters.frame(*self._page())

    def _text(self) -> str:
        return letters.text(*self._page())

    def _page(self) -> tuple[letters.Page, str]:
        """What is drawn, all of it read off the text itself."""
        over = self._finished and self._prompt is not None
        return describe(
            self.vocabulary,
            self._prompt or (),
            self._written(),
            limit=self.max_new_tokens,
            log_probs=self._log_probs_written,
            next_log_probs=[] if self._finished else self._next_log_probs(),
            score=sum(self._judged()[0]) if over else None,
            no_eos=self.no_eos,
        )

    def _begin(self, prompt: tuple[int, ...]) -> None:
        self._tokens = np.full(self._shape.width, self._shape.size, np.int64)
        self._tokens[: len(prompt)] = prompt
        self._start = self._length = len(prompt)
        self._completion = 0  # the number of the letters written, as the tree counts
        self._state = -1
        if self._tabulated:
            self._state = self.prompts.index(prompt) * self.world.tree.n_prefixes
        self._row: list[float] | None = None
        self._log_probs_written: list[float] = []
        self._finished = False

    def _write(self, token: int) -> float:
        """Appends a token; its log-probability under the reference policy."""
        ref_logprob = self._next_log_probs()[token]
        self._log_probs_written.append(ref_logprob)
        self._tokens[self._length] = token
        self._length += 1
        self._row = None
        ended = token == self._shape.eos
        self._finished = ended or self._length - self._start == self.max_new_tokens
        if self._tabulated and not ended:
            step = self._growth * self._completion + 1 + self._ranks[token]
            self._completion += step  # k becomes L k + 1 + a
            self._state += step
        return ref_logprob

    def _next_log_probs(self) -> list[float]:
        """Log ref(a | text so far)."""
        if self._tabulated:
            return self._ref_logprob[self._state]
        if self._row is None:
            rows = self.world.next_log_probs(self._tokens[None], np.array([self._length]))
            self._row = rows[0].tolist()
        return self._row

    def _observation(self, mask: NDArray[np.int8]) -> Observation:
        return {
            "tokens": self._tokens.copy(),
            "length": self._length,
            "prompt_length": self._start,
            "action_mask": mask.copy(),
        }

    def _written(self) -> list[int]:
        written: list[int] = self._tokens[self._start : self._length].tolist()
        return written

    def _judged(self) -> tuple[list[float], float]:
        """What the reward models and the gold reward say about the text just finished."""
        text = self._tokens.tobytes()
        known = self._scores.get(text)
        if known is None:
            row, length, start = self._tokens[None], [self._length], [self._start]
            given = (row.copy(), np.array(length), np.array(start))
            parts, gold = self.world.judged(*given)
            known = (parts[0].tolist(), 0.0 if gold is None else float(gold[0]))
            if self._tabulated:  # else there is no end of them
                self._scores[text] = known
        return known

    def _token(self, action: Any) -> int:
        """The token that an action names."""
        try:
            token = operator.index(action)
        except TypeError:
            token = -1
        size, eos = self._shape.size, self._shape.eos
        if 0 <= token < size:
            return token
        raise InvalidActionError(
            f"action {action!r} is not in the action space: it must be a whole number from 0 to "
            f"{size - 1}, a token of the vocabulary or EOS ({eos}); PAD ({size}) is no action."
        )
