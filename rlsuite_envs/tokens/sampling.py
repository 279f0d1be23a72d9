"""Writes whole texts: by a policy's own sampler, by its memory of prefixes, or token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import SettingError
from registry.texts import ExtendsPrefixes, SampledTexts, SamplesTexts, ScoresTokens
from rlsuite_envs.tokens.reference_models import checked_rows
from rlsuite_envs.tokens.shapes import TextShape

__all__ = ["completions_of", "new_token_mask", "pick", "sample_texts", "token_log_probs"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def pick(log_probs: Floats, uniforms: Floats) -> Ints:
    """Tokens [B] by inverse CDF: the first whose cumulative probability is above its uniform.

    The cumulative probabilities are divided by the last of them, so a token of probability 0 is
    never taken.

    Args:
        log_probs: [B, V].
        uniforms: In [0, 1), [B].
    """
    cumulative = np.cumsum(np.exp(log_probs), axis=-1)
    cumulative /= cumulative[:, -1:]
    tokens: Ints = (cumulative <= uniforms[:, None]).sum(axis=1)
    return tokens


def sample_texts(
    policy: Any, prompts: Ints, prompt_lengths: Ints, uniforms: Floats, shape: TextShape
) -> SampledTexts:
    """Finished texts of a policy; see `registry.texts.SamplesTexts.sample` for the rule.

    Args:
        policy: A `SequencePolicy`, or a function like its `log_probs`.
        prompts: Right-padded, [B, P].
        prompt_lengths: [B].
        uniforms: One per new token, [B, T].
        shape: The tokens that there are.

    Raises:
        SettingError: the policy answers with something malformed.
    """
    if isinstance(policy, SamplesTexts):
        found = policy.sample(prompts, prompt_lengths, uniforms, eos=shape.eos, pad=shape.size)
        return _checked(found, prompts, prompt_lengths, uniforms, shape)
    if isinstance(policy, ExtendsPrefixes):
        return _write(_Remembered(policy), prompts, prompt_lengths, uniforms, shape)
    ask = getattr(policy, "log_probs", policy)
    if not callable(ask):
        raise SettingError(
            "a policy that writes texts has log_probs(tokens, lengths), or is such a function; got "
            f"{type(policy).__name__}."
        )
    return _write(_Whole(ask), prompts, prompt_lengths, uniforms, shape)


class _Whole:
    """Asks for the prefixes that are still being written, each of them whole."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask

    def __call__(self, tokens: Ints, lengths: Ints, writing: Ints) -> Any:
        return self._ask(tokens[writing], lengths[writing])


class _Remembered:
    """Hands in the last token of each prefix alone."""

    def __init__(self, policy: ExtendsPrefixes) -> None:
        self._policy = policy
        self._state: Any = None
        self._rows = np.empty(0, np.int64)

    def __call__(self, tokens: Ints, lengths: Ints, writing: Ints) -> Any:
        if self._state is None:
            answer, self._state = self._policy.start(tokens.copy(), lengths.copy())
        else:
            parents = np.searchsorted(self._rows, writing)
            last = tokens[writing, lengths[writing] - 1]
            answer, self._state = self._policy.extend(self._state, parents, last)
        self._rows = writing
        return answer


def _write(
    ask: Any, prompts: Ints, prompt_lengths: Ints, uniforms: Floats, shape: TextShape
) -> SampledTexts:
    count, limit = uniforms.shape
    tokens = np.full((count, prompts.shape[1] + limit), shape.size, np.int64)
    inside = np.arange(prompts.shape[1]) < prompt_lengths[:, None]
    tokens[:, : prompts.shape[1]][inside] = prompts[inside]
    lengths, log_probs = prompt_lengths.astype(np.int64), np.zeros((count, limit))
    writing = np.arange(count)
    for t in range(limit):
        answer = ask(tokens, lengths, writing)
        rows = checked_rows(answer, (len(writing), shape.size), "the policy")
        chosen = pick(rows, uniforms[writing, t])
        log_probs[writing, t] = rows[np.arange(len(writing)), chosen]
        tokens[writing, lengths[writing]] = chosen
        lengths[writing] += 1
        writing = writing[chosen != shape.eos]
        if not len(writing):
            break
    return SampledTexts(tokens, lengths, log_probs)


def _checked(
    found: SampledTexts, prompts: Ints, starts: Ints, uniforms: Floats, shape: TextShape
) -> SampledTexts:
    """What a policy's own sampler returned, if it is what was asked for."""
    count, limit = uniforms.shape
    width = prompts.shape[1] + limit
    shapes = (found.tokens.shape, found.lengths.shape, found.log_probs.shape)
    wanted = ((count, width), (count,), (count, limit))
    if shapes != wanted:
        raise SettingError(
            f"the policy's sample() must return tokens, lengths and log_probs of shapes {wanted}; "
            f"it returned {shapes}."
        )
    written = found.lengths - starts
    inside = (written >= 1) & (written <= limit)
    if not inside.all():
        raise SettingError(
            f"the policy's sample() must write 1 to {limit} new tokens; row "
            f"{int(np.argmin(inside))} has {written[~inside][0]}."
        )
    new = completions_of(found.tokens, starts, limit)
    mask = np.arange(limit) < written[:, None]
    if np.any(mask & ((new < 0) | (new >= shape.size))):
        raise SettingError(
            f"the policy's sample() wrote tokens outside 0 to {shape.size - 1}, the vocabulary."
        )
    tokens = np.where(np.arange(width) < found.lengths[:, None], found.tokens, shape.size)
    return SampledTexts(
        tokens.astype(np.int64),
        found.lengths.astype(np.int64),
        np.where(mask, found.log_probs, 0.0),
        None if found.values is None else np.where(mask, found.values, 0.0),
    )


def completions_of(tokens: Ints, prompt_lengths: Ints, limit: int) -> Ints:
    """The new tokens of each row, right-padded as the rows are, [B, `limit`]."""
    places = prompt_lengths[:, None] + np.arange(limit)
    return np.take_along_axis(tokens, np.minimum(places, tokens.shape[1] - 1), axis=1)


def new_token_mask(lengths: Ints, prompt_lengths: Ints, limit: int) -> NDArray[np.bool_]:
    """Which of the `limit` places after the prompt hold a token, [B, `limit`]."""
    return np.arange(limit) < (lengths - prompt_lengths)[:, None]


def token_log_probs(
    policy: Any, tokens: Ints, lengths: Ints, prompt_lengths: Ints, shape: TextShape
) -> Floats:
    """Log π of each new token of given texts, 0 after the end: [B, T].

    Raises:
        SettingError: the policy answers with something malformed.
    """
    limit = shape.max_new_tokens
    mask = new_token_mask(lengths, prompt_lengths, limit)
    if isinstance(policy, ScoresTokens):
        found = np.asarray(policy.token_log_probs(tokens, lengths, prompt_lengths), np.float64)
        if found.shape != tokens.shape:
            raise SettingError(
                f"the policy's token_log_probs() must return the shape of the tokens, "
                f"{tokens.shape}; it returned {found.shape}."
            )
        places = np.minimum(prompt_lengths[:, None] + np.arange(limit), tokens.shape[1] - 1)
        return np.where(mask, np.take_along_axis(found, places, axis=1), 0.0)
    result, new = np.zeros(mask.shape), completions_of(tokens, prompt_lengths, limit)
    for t in range(limit):
        rows = np.flatnonzero(mask[:, t])
        if len(rows):
            answer = policy.log_probs(tokens[rows], prompt_lengths[rows] + t)
            logs = checked_rows(answer, (len(rows), shape.size), "the policy")
            result[rows, t] = logs[np.arange(len(rows)), new[rows, t]]
    return result
