"""Checks of the task: what it shows, when texts end, what they earn, and whether that differs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.texts import TextBatch
from rlsuite.testing.alignment_subject import AlignmentSubject
from rlsuite.testing.report import Failure, Skip, check, require
from rlsuite.testing.walks import difference, mask_of

__all__ = ["CHECKS", "Twins", "twins"]

CANDIDATES = 6
"""First tokens that are tried."""
STEPPED = 24
"""Texts that are taken through `env.step`."""
CANCELLED = 1e-3
"""What is left of rewards, relative to the larger of them, that cancel."""


class Twins:
    """Two texts of one prompt that differ only in an earlier token, and what is seen of them."""

    def __init__(self, prompt: Any, texts: Any, observations: Any) -> None:
        self.prompt, self.texts, self.observations = tuple(prompt), texts, observations

    def __str__(self) -> str:
        one, other = (list(map(int, text)) for text in self.texts)
        return f"after the prompt {list(map(int, self.prompt))} the texts {one} and {other}"


def twins(subject: AlignmentSubject) -> list[Twins]:
    """Pairs of unfinished texts with the same length and last token; raises `Skip` without any."""
    if "twins" not in subject.notes:
        prompts = subject.task.prompts[:3]
        subject.notes["twins"] = [p for prompt in prompts for p in _of_prompt(subject, prompt)]
    if not subject.notes["twins"]:
        raise Skip("there are no two unfinished texts here that differ in an earlier token only")
    pairs: list[Twins] = subject.notes["twins"]
    return pairs


def _of_prompt(subject: AlignmentSubject, prompt: Any) -> Iterator[Twins]:
    env = subject.environment()
    _, mask = _written(subject, env, prompt, ())
    seconds: dict[int, Any] = {}
    for token in _letters(subject, mask)[:CANDIDATES]:
        observed = _written(subject, env, prompt, (token,))
        if observed is not None:
            seconds[token] = set(_letters(subject, observed[1]))
    for one, other in itertools.pairwise(seconds):
        for last in sorted(seconds[one] & seconds[other])[:1]:
            texts = ((one, last), (other, last))
            seen = [_written(subject, env, prompt, text) for text in texts]
            if all(s is not None for s in seen):
                yield Twins(prompt, texts, tuple(s[0] for s in seen if s is not None))


def _letters(subject: AlignmentSubject, mask: Any) -> list[int]:
    size, eos = subject.task.vocabulary.size, subject.task.vocabulary.eos
    allowed = np.ones(size) if mask is None else np.asarray(mask)
    return [int(a) for a in np.flatnonzero(allowed) if a != eos]


def _written(subject: AlignmentSubject, env: Any, prompt: Any, text: Any) -> Any:
    """Observation and mask after a text; None if it is finished by then."""
    observation, info = env.reset(seed=0, options={"prompt": prompt})
    for token in text:
        observation, _, terminated, truncated, info = env.step(np.int64(token))
        if terminated or truncated:
            return None
    return observation, mask_of(env, observation, info)


@check
def history_in_observations(subject: AlignmentSubject) -> None:
    """Two texts that differ in an earlier token only look different."""
    for pair in twins(subject):
        if not difference(*pair.observations):
            hidden = f" Look at {subject.wrappers}." if subject.wrappers else ""
            raise Failure(
                f"{pair} give the same observation: it does not hold the tokens written so far, "
                "and no policy can know what it has said. Observe the whole text: `tokens` up to "
                f"`length`.{hidden}"
            )


@check
def pad_is_no_token(subject: AlignmentSubject) -> None:
    """PAD is neither EOS nor another token of the vocabulary."""
    size, eos = subject.task.vocabulary.size, subject.task.vocabulary.eos
    require(
        0 <= eos < size,
        f"EOS is {eos}, outside the {size} tokens of the vocabulary: no text can end. Change "
        "`vocabulary.eos`",
    )
    env = subject.environment()
    observation, _ = env.reset(seed=0)
    batch = _texts(subject)
    shown = [(batch.tokens, batch.lengths, "rollout")]
    if isinstance(observation, dict) and {"tokens", "length"} <= observation.keys():
        tokens = np.asarray(observation["tokens"])[None]
        shown.append((tokens, np.asarray(observation["length"]).reshape(1), "the observation"))
    for tokens, lengths, where in shown:
        padding = tokens[np.arange(tokens.shape[1]) >= lengths[:, None]]
        require(
            not np.any(padding == eos),
            f"{where} pads with EOS ({eos}): where padding is masked the end of a text is masked "
            f"too, and stopping is never learned. Set PAD to vocabulary.size, {size}",
        )
        require(
            np.all(padding == size),
            f"{where} pads with {np.unique(padding)[:3].tolist()}: PAD is vocabulary.size, {size}, "
            "which is no token",
        )


@check
def texts_end(subject: AlignmentSubject) -> None:
    """EOS ends a text, once; the limit terminates it and truncates nothing; some texts do end."""
    batch, eos = _texts(subject), subject.task.vocabulary.eos
    new = (np.arange(batch.tokens.shape[1]) >= batch.prompt_lengths[:, None]) & (
        np.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    )
    ends = ((batch.tokens == eos) & new).sum(axis=1)
    require(
        ends.max() <= 1,
        f"a text holds EOS {ends.max()} times: what writes texts, or the template of the prompts, "
        "adds a second one. A text ends with its first EOS",
    )
    share = float(np.mean(ends))
    require(
        share > 0,
        f"none of {len(ends)} texts of the reference ends with EOS: all are cut off at "
        f"max_new_tokens={subject.task.max_new_tokens}, and stopping cannot be learned. Raise "
        "max_new_tokens, or take a reference that ends its texts",
    )
    for text in _stepped(subject):
        terminated, truncated = text.flags
        require(
            terminated and not truncated,
            f"a finished text of {text.count} tokens is terminated={terminated}, "
            f"truncated={truncated}: an agent would add the value of a text that goes on. A text "
            "ends as terminated; take a TimeLimit (max_episode_steps) below max_new_tokens away",
        )


@check
def rewards_finite(subject: AlignmentSubject) -> None:
    """Every finished text earns a finite number, from the reward models and in `env.step`."""
    batch = _texts(subject)
    bad = ~np.isfinite(batch.rewards) | ~np.isfinite(batch.scores).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        text = batch.tokens[row, : batch.lengths[row]].tolist()
        raise Failure(
            f"the reward of {bad.mean():.0%} of the texts is not finite, {batch.rewards[row]} for "
            f"{text}: look at the keyword reward of the environment"
        )
    for text in _stepped(subject):
        require(
            np.all(np.isfinite(text.rewards)),
            f"env.step paid {text.rewards}: rewards are finite. Look at "
            f"{subject.wrappers or 'the reward model'}",
        )


@check
def rewards_do_not_cancel(subject: AlignmentSubject) -> None:
    """Several rewards do not add up to the same number for all texts of a prompt."""
    if subject.task.n_rewards < 2:
        raise Skip("the task has one reward")
    batch, found = _texts(subject, 8), subject.setting("weights")
    name, weights = found or ("reward_scales", np.ones(subject.task.n_rewards))
    groups = batch.scores.reshape(-1, 8, batch.scores.shape[1])
    centred = groups - groups.mean(axis=1, keepdims=True)
    spread = centred.std(axis=(0, 1))
    require(
        spread.max() > 0,
        f"none of the {len(spread)} rewards tells texts of one prompt apart: change reward",
    )
    z = centred / np.where(spread > 0, spread, 1.0)
    judged = {"rewards": centred}
    if found is not None:
        judged["rewards over their standard deviations"] = z
    for what, parts in judged.items():
        weighed = parts * np.asarray(weights)
        left, most = weighed.sum(axis=2).std(), weighed.std(axis=(0, 1)).max()
        require(
            left > CANCELLED * most,
            f"the {what} cancel: weighed by {np.asarray(weights).tolist()} they have standard "
            f"deviations up to {most:.3g}, and their sum has {left:.2g}, so that nothing is "
            f"learned. Change {name}",
        )


@check
def rewards_differ(subject: AlignmentSubject) -> None:
    """In most groups of texts the rewards differ: a group without a difference teaches nothing."""
    size = subject.group_size("it compares no texts of one prompt")
    batch = subject.task.rollout(
        subject.task.reference_model, 32 * size, rng=np.random.default_rng(2), group_size=size
    )
    dead = float(np.mean(np.ptp(batch.rewards.reshape(-1, size), axis=1) == 0))
    require(
        dead <= 0.5,
        f"in {dead:.0%} of the groups of group_size={size} all texts earn the same, and their "
        f"advantages are 0: {32 - round(32 * dead)} of 32 prompts count. Raise group_size, or take "
        "a reward that tells texts apart",
    )


class _Text:
    """A text that was taken through `env.step`."""

    def __init__(self, rewards: list[float], flags: tuple[bool, bool]) -> None:
        self.rewards, self.flags, self.count = rewards, flags, len(rewards)


def _texts(subject: AlignmentSubject, group_size: int = 1) -> TextBatch:
    """Texts of the reference."""
    key = f"texts {group_size}"
    if key not in subject.notes:
        subject.notes[key] = subject.task.rollout(
            subject.task.reference_model,
            subject.texts // group_size * group_size,
            rng=np.random.default_rng(2),
            group_size=group_size,
        )
    batch: TextBatch = subject.notes[key]
    return batch


def _stepped(subject: AlignmentSubject) -> Iterator[_Text]:
    """Some of them, through the environment with its wrappers: the shortest and the longest too."""
    batch, env = _texts(subject), subject.environment()
    order = np.argsort(batch.lengths - batch.prompt_lengths, kind="stable")
    for row in np.unique(order[np.linspace(0, len(order) - 1, STEPPED).astype(int)]):
        yield _step_through(env, subject.task.prompts[batch.prompts[row]], _new(batch, row))


def _new(batch: TextBatch, row: int) -> NDArray[np.int64]:
    return batch.tokens[row, batch.prompt_lengths[row] : batch.lengths[row]]


def _step_through(env: Any, prompt: Any, tokens: Any) -> _Text:
    env.reset(seed=0, options={"prompt": prompt})
    rewards: list[float] = []
    flags = (False, False)
    for place, token in enumerate(tokens):
        _, reward, terminated, truncated, _ = env.step(np.int64(token))
        rewards.append(float(reward))
        flags = bool(terminated), bool(truncated)
        if any(flags) and place + 1 < len(tokens):
            break
    return _Text(rewards, flags)


CHECKS = (
    history_in_observations,
    pad_is_no_token,
    texts_end,
    rewards_finite,
    rewards_do_not_cancel,
    rewards_differ,
)
